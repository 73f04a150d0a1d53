package wire

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

const (
	minFetch, maxFetch = 4, 18
	flexibleFetch      = 12
	idsFetch           = 13 // topics are named by id from here on (KIP-516)
	tagFetchLeader     = 1  // CurrentLeader of a partition's answer
	tagFetchDiverging  = 0  // DivergingEpoch of a partition's answer (KIP-595)
	tagFetchSnapshot   = 2  // SnapshotId of a partition's answer (KIP-630)
	tagFetchEndpoints  = 0  // NodeEndpoints of an answer (KIP-951)
	// Tagged fields of requests, which only followers set.
	tagFetchDirectory     = 0 // of a partition (KIP-853)
	tagFetchHighWatermark = 1 // of a partition (KIP-1166)
	tagFetchCluster       = 0 // of the request (KIP-595)
	tagFetchReplicaState  = 1 // of the request (KIP-903)
)

// FetchHead is the part of a Fetch request before its topics.
type FetchHead struct {
	ReplicaID     int32 // -1 from version 15 on
	MaxWaitMillis int32
	MinBytes      int32
	MaxBytes      int32
	Isolation     int8  // 1 is read_committed
	SessionID     int32 // 0 before version 7
	SessionEpoch  int32 // -1 before version 7
}

// FetchPartition is one partition of a Fetch request.
type FetchPartition struct {
	Topic              []byte          // versions 4 to 12; aliases the frame
	TopicID            offsets.TopicID // version 13 and later
	Partition          int32
	CurrentLeaderEpoch int32 // -1 before version 9
	EpochAt            int   // where it stands in the frame; 0 when absent
	Offset             int64
	LastFetchedEpoch   int32 // -1 before version 12
	LastFetchedAt      int   // where it stands in the frame; 0 when absent
	MaxBytes           int32
}

// WalkFetch calls each for every partition of a Fetch request of version 4 to
// 18, in order; each may be nil. Partitions that a session forgets are stepped
// over. An error may come after some calls.
func WalkFetch(h Header, frame []byte, each func(FetchPartition)) (FetchHead, error) {
	if err := h.is(kmsg.Fetch, minFetch, maxFetch); err != nil {
		return FetchHead{}, err
	}
	flexible, ids := h.Version >= flexibleFetch, h.Version >= idsFetch
	c := cursor{b: frame, at: h.Body}
	head := c.fetchHead(h.Version)
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		var p FetchPartition
		p.Topic, p.TopicID = c.topic(flexible, ids)
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			c.fetchPartition(h.Version, &p)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	if h.Version >= 7 { // KIP-227: what the session forgets
		for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
			c.topic(flexible, ids)
			for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
				c.int32()
			}
			c.tags(flexible)
		}
	}
	if h.Version >= 11 { // KIP-392
		c.text(flexible)
	}
	if flexible {
		c.tagged(func(tag uint32, value []byte, _ int) {
			switch inner := (cursor{b: value}); tag {
			case tagFetchCluster:
				inner.nullableText(true)
				c.adopt(&inner)
			case tagFetchReplicaState:
				c.structure(value, 12)
			}
		})
	}
	return head, c.err(h.Key, h.Version)
}

func (c *cursor) fetchHead(version int16) FetchHead {
	head := FetchHead{ReplicaID: -1, SessionEpoch: -1}
	if version <= 14 {
		head.ReplicaID = c.int32()
	}
	head.MaxWaitMillis, head.MinBytes, head.MaxBytes, head.Isolation = c.int32(), c.int32(), c.int32(), c.int8()
	if version >= 7 {
		head.SessionID, head.SessionEpoch = c.int32(), c.int32()
	}
	return head
}

func (c *cursor) fetchPartition(version int16, p *FetchPartition) {
	p.CurrentLeaderEpoch, p.EpochAt, p.LastFetchedEpoch, p.LastFetchedAt = -1, 0, -1, 0
	p.Partition = c.int32()
	if version >= 9 {
		p.EpochAt = c.at
		p.CurrentLeaderEpoch = c.int32()
	}
	p.Offset = c.int64()
	if version >= 12 {
		p.LastFetchedAt = c.at
		p.LastFetchedEpoch = c.int32()
	}
	if version >= 5 {
		c.int64() // the log start of a follower
	}
	p.MaxBytes = c.int32()
	if version >= flexibleFetch {
		c.tagged(func(tag uint32, value []byte, _ int) {
			c.bad = c.bad || tag == tagFetchDirectory && len(value) < 16 || tag == tagFetchHighWatermark && len(value) < 8
		})
	}
}

// FetchAnswerHead is the part of a Fetch response that is not about a partition.
type FetchAnswerHead struct {
	ThrottleMillis int32
	ErrorCode      int16 // 0 before version 7
	SessionID      int32 // 0 before version 7
	Endpoints      bool  // KIP-951 node endpoints are present
}

// FetchAnswer is one partition of a Fetch response.
type FetchAnswer struct {
	Topic            []byte          // versions 4 to 12; aliases the frame
	TopicID          offsets.TopicID // version 13 and later
	Partition        int32
	ErrorCode        int16
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64  // -1 before version 5
	Records          []byte // aliases the frame; nil when null
	LeaderAt         int    // where CurrentLeader's leader id, then its epoch, stand in the frame (KIP-951); 0 when absent
}

// WalkFetchAnswer calls each for every partition of a Fetch response of version
// 4 to 18; each may be nil. Record bytes are stepped over.
func WalkFetchAnswer(version int16, frame []byte, each func(FetchAnswer)) (FetchAnswerHead, error) {
	h := Header{Key: int16(kmsg.Fetch), Version: version}
	if err := h.is(kmsg.Fetch, minFetch, maxFetch); err != nil {
		return FetchAnswerHead{}, err
	}
	flexible := version >= flexibleFetch
	c := cursor{b: frame}
	c.answerHeader(flexible)
	head := FetchAnswerHead{ThrottleMillis: c.int32()}
	if version >= 7 {
		head.ErrorCode, head.SessionID = c.int16(), c.int32()
	}
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		var p FetchAnswer
		p.Topic, p.TopicID = c.topic(flexible, version >= idsFetch)
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			c.fetchAnswer(version, &p)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	if flexible {
		c.tagged(func(tag uint32, value []byte, _ int) {
			if tag == tagFetchEndpoints {
				head.Endpoints = c.endpoints(value) > 0
			}
		})
	}
	return head, c.err(h.Key, version)
}

func (c *cursor) fetchAnswer(version int16, p *FetchAnswer) {
	flexible := version >= flexibleFetch
	p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset = c.int32(), c.int16(), c.int64(), c.int64()
	p.LogStartOffset, p.LeaderAt = -1, 0
	if version >= 5 {
		p.LogStartOffset = c.int64()
	}
	for n := c.count(flexible); n > 0 && !c.bad; n-- { // aborted transactions
		c.skip(16)
		c.tags(flexible)
	}
	if version >= 11 {
		c.int32() // preferred read replica
	}
	p.Records = c.nullableBytes(flexible)
	if flexible {
		c.tagged(func(tag uint32, value []byte, at int) {
			switch tag {
			case tagFetchLeader:
				p.LeaderAt = at
				c.structure(value, 8)
			case tagFetchDiverging, tagFetchSnapshot:
				c.structure(value, 12)
			}
		})
	}
}
