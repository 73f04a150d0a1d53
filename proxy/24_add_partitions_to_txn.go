package proxy

import (
	"fmt"
	"time"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId (22), AddPartitionsToTxn (24, versions 0 to 3 for clients) and
// WriteTxnMarkers (27).
//
// They tell which topics have transactional producers, which keeps such topics
// from being moved, and keep transactions away from topics that are.

const codeNotAttempted = 55 // OPERATION_NOT_ATTEMPTED: another partition of the request was refused

// initProducerID notes the transactional id of a producer.
func (c *conn) initProducerID(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	if id := msg.(*kmsg.InitProducerIDRequest).TransactionalID; id != nil {
		c.session.note(func(s *session) { s.transactional = *id })
	}
	return c.passOrOffline(r)
}

// addPartitionsToTxn notes the topics and refuses moved ones, and the whole
// request with them: legacy adds all partitions or none.
func (c *conn) addPartitionsToTxn(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	req := msg.(*kmsg.AddPartitionsToTxnRequest)
	routes := c.p.routes.load()
	c.session.note(func(s *session) { s.transactional = req.TransactionalID })
	refuse := false
	for _, t := range req.Topics {
		if id, ok := c.p.topicID(t.Topic); ok {
			c.p.facts.transaction(id, time.Now())
		}
		refuse = refuse || routes.topic(&t.Topic, [16]byte{}).moved()
	}
	if !refuse {
		return c.passOrOffline(r)
	}
	c.log.Warn("transaction on a moved topic refused", "transactional_id", req.TransactionalID)
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	resp.Version = r.Version
	for _, t := range req.Topics {
		rt := kmsg.NewAddPartitionsToTxnResponseTopic()
		rt.Topic = t.Topic
		code := int16(codeNotAttempted)
		if routes.topic(&t.Topic, [16]byte{}).moved() {
			code = codePolicy
		}
		for _, p := range t.Partitions {
			rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return way{}, c.answer(r, resp)
}

// writeTxnMarkers refuses to write a marker into the log of a moved topic:
// kafka-transactions abort sends it to the leader it sees.
func (c *conn) writeTxnMarkers(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	routes := c.p.routes.load()
	for _, m := range msg.(*kmsg.WriteTxnMarkersRequest).Markers {
		for _, t := range m.Topics {
			if routes.topic(&t.Topic, [16]byte{}).moved() {
				return way{}, fmt.Errorf("write transaction marker to moved topic %q: %w", t.Topic, errRefused)
			}
		}
	}
	return c.passOrOffline(r)
}
