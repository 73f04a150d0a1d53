package wire

import "github.com/twmb/franz-go/pkg/kmsg"

const (
	minLeaderEpoch, maxLeaderEpoch = 2, 4
	flexibleLeaderEpoch            = 4
)

// LeaderEpochPartition is one partition of an OffsetForLeaderEpoch request.
type LeaderEpochPartition struct {
	Topic              []byte // aliases the frame
	Partition          int32
	CurrentLeaderEpoch int32
	EpochAt            int // where it stands in the frame
	LeaderEpoch        int32
}

// WalkOffsetForLeaderEpoch calls each for every partition of an
// OffsetForLeaderEpoch request of version 2 to 4, in order; each may be nil. An
// error may come after some calls.
func WalkOffsetForLeaderEpoch(h Header, frame []byte, each func(LeaderEpochPartition)) error {
	if err := h.is(kmsg.OffsetForLeaderEpoch, minLeaderEpoch, maxLeaderEpoch); err != nil {
		return err
	}
	flexible := h.Version >= flexibleLeaderEpoch
	c := cursor{b: frame, at: h.Body}
	if h.Version >= 3 {
		c.int32() // replica id
	}
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		p := LeaderEpochPartition{Topic: c.text(flexible)}
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			p.Partition = c.int32()
			p.EpochAt = c.at
			p.CurrentLeaderEpoch = c.int32()
			p.LeaderEpoch = c.int32()
			c.tags(flexible)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	c.tags(flexible)
	return c.err(h.Key, h.Version)
}
