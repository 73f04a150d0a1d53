package wire

import "github.com/twmb/franz-go/pkg/kmsg"

const (
	minListOffsets, maxListOffsets = 1, 11
	flexibleListOffsets            = 6
)

// ListOffsetsPartition is one partition of a ListOffsets request.
type ListOffsetsPartition struct {
	Topic              []byte // aliases the frame
	Partition          int32
	CurrentLeaderEpoch int32 // -1 before version 4
	EpochAt            int   // where it stands in the frame; 0 when absent
	Timestamp          int64
}

// WalkListOffsets calls each for every partition of a ListOffsets request of
// version 1 to 11, in order; each may be nil. An error may come after some
// calls.
func WalkListOffsets(h Header, frame []byte, each func(ListOffsetsPartition)) error {
	if err := h.is(kmsg.ListOffsets, minListOffsets, maxListOffsets); err != nil {
		return err
	}
	flexible := h.Version >= flexibleListOffsets
	c := cursor{b: frame, at: h.Body}
	c.int32() // replica id
	if h.Version >= 2 {
		c.int8() // isolation level
	}
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		p := ListOffsetsPartition{Topic: c.text(flexible)}
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			p.Partition, p.CurrentLeaderEpoch, p.EpochAt = c.int32(), -1, 0
			if h.Version >= 4 {
				p.EpochAt = c.at
				p.CurrentLeaderEpoch = c.int32()
			}
			p.Timestamp = c.int64()
			c.tags(flexible)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	if h.Version >= 10 { // KIP-1075
		c.int32()
	}
	c.tags(flexible)
	return c.err(h.Key, h.Version)
}
