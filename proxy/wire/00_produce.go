package wire

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

const (
	minProduce, maxProduce = 3, 13
	flexibleProduce        = 9
	idsProduce             = 13 // topics are named by id from here on (KIP-516)
	tagProduceLeader       = 0  // CurrentLeader of a partition's answer (KIP-951)
	tagProduceEndpoints    = 0  // NodeEndpoints of an answer (KIP-951)
)

// ProduceHead is the part of a Produce request before its topics.
type ProduceHead struct {
	TransactionalID []byte // nil when null; aliases the frame
	Acks            int16
	TimeoutMillis   int32
}

// ProducePartition is one partition of a Produce request.
type ProducePartition struct {
	Topic     []byte          // versions 3 to 12; aliases the frame
	TopicID   offsets.TopicID // version 13 and later
	Partition int32
	Records   []byte // aliases the frame; nil when null
	At        int    // where Records starts in the frame; 0 when null
}

// ReadProduceHead reads the fields before the topics, of versions 3 to 13.
func ReadProduceHead(h Header, frame []byte) (ProduceHead, error) {
	if err := h.is(kmsg.Produce, minProduce, maxProduce); err != nil {
		return ProduceHead{}, err
	}
	c := cursor{b: frame, at: h.Body}
	head := c.produceHead(h.Version)
	return head, c.err(h.Key, h.Version)
}

func (c *cursor) produceHead(version int16) ProduceHead {
	return ProduceHead{
		TransactionalID: c.nullableText(version >= flexibleProduce),
		Acks:            c.int16(),
		TimeoutMillis:   c.int32(),
	}
}

// ProduceAcks reads a Produce request's acks; ok is false when it is malformed.
func ProduceAcks(h Header, frame []byte) (acks int16, ok bool) {
	head, err := ReadProduceHead(h, frame)
	return head.Acks, err == nil
}

// WalkProduce calls each for every partition of a Produce request of version 3
// to 13, in order; each may be nil. An error may come after some calls.
func WalkProduce(h Header, frame []byte, each func(ProducePartition)) (ProduceHead, error) {
	if err := h.is(kmsg.Produce, minProduce, maxProduce); err != nil {
		return ProduceHead{}, err
	}
	flexible := h.Version >= flexibleProduce
	c := cursor{b: frame, at: h.Body}
	head := c.produceHead(h.Version)
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		var p ProducePartition
		p.Topic, p.TopicID = c.topic(flexible, h.Version >= idsProduce)
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			p.Partition = c.int32()
			p.Records, p.At = c.nullableBytes(flexible), 0
			if p.Records != nil {
				p.At = c.at - len(p.Records)
			}
			c.tags(flexible)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	c.tags(flexible)
	return head, c.err(h.Key, h.Version)
}

// ProduceAnswer is one partition of a Produce response.
type ProduceAnswer struct {
	Topic          []byte          // versions 3 to 12; aliases the frame
	TopicID        offsets.TopicID // version 13 and later
	Partition      int32
	ErrorCode      int16
	BaseOffset     int64
	LogAppendTime  int64 // -1 when the records' own times count
	LogStartOffset int64 // -1 before version 5
	LeaderAt       int   // where CurrentLeader's leader id, then its epoch, stand in the frame (KIP-951); 0 when absent
}

// WalkProduceAnswer calls each for every partition of a Produce response of
// version 3 to 13; each may be nil. endpoints tells whether the answer carries
// KIP-951 node endpoints. The answer's throttle time is not looked at.
func WalkProduceAnswer(version int16, frame []byte, each func(ProduceAnswer)) (endpoints bool, err error) {
	h := Header{Key: int16(kmsg.Produce), Version: version}
	if err := h.is(kmsg.Produce, minProduce, maxProduce); err != nil {
		return false, err
	}
	flexible := version >= flexibleProduce
	c := cursor{b: frame}
	c.answerHeader(flexible)
	for topics := c.count(flexible); topics > 0 && !c.bad; topics-- {
		var p ProduceAnswer
		p.Topic, p.TopicID = c.topic(flexible, version >= idsProduce)
		for partitions := c.count(flexible); partitions > 0 && !c.bad; partitions-- {
			c.produceAnswer(version, &p)
			if !c.bad && each != nil {
				each(p)
			}
		}
		c.tags(flexible)
	}
	c.int32() // throttle
	if flexible {
		c.tagged(func(tag uint32, value []byte, _ int) {
			if tag == tagProduceEndpoints {
				endpoints = c.endpoints(value) > 0
			}
		})
	}
	return endpoints, c.err(h.Key, version)
}

func (c *cursor) produceAnswer(version int16, p *ProduceAnswer) {
	flexible := version >= flexibleProduce
	p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime = c.int32(), c.int16(), c.int64(), c.int64()
	p.LogStartOffset, p.LeaderAt = -1, 0
	if version >= 5 {
		p.LogStartOffset = c.int64()
	}
	if version >= 8 { // KIP-467: which records were refused, and why
		for n := c.count(flexible); n > 0 && !c.bad; n-- {
			c.int32()
			c.nullableText(flexible)
			c.tags(flexible)
		}
		c.nullableText(flexible)
	}
	if flexible {
		c.tagged(func(tag uint32, value []byte, at int) {
			if tag == tagProduceLeader {
				p.LeaderAt = at
				c.structure(value, 8)
			}
		})
	}
}
