package proxy

import (
	"bytes"
	"fmt"
	"sync"

	"switchback/offsets"
	"switchback/proxy/wire"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A produceCall is a Produce that is not just passed on: parts of it go to the
// target and to brokers, and their answers become one. It owns a copy of the
// frame, because parts may have to be sent again.
//
// Two paths of one producer id (an old connection and one to the other node) may
// overtake each other: the later batch arrives first and is refused with
// OUT_OF_ORDER_SEQUENCE_NUMBER. On partitions that have ever moved that is
// absorbed here.
type produceCall struct {
	c        *conn
	slot     uint64 // unless silent
	header   wire.Header
	clientID *string
	caller   Caller
	sized    []byte // our copy of the frame with its size
	req      *kmsg.ProduceRequest
	silent   bool // acks 0

	mu       sync.Mutex
	parts    []producePart // in the order of the request
	left     int           // answers that are awaited
	resent   bool          // counts in c.resends
	throttle int32
	brokers  []kmsg.ProduceResponseBroker
}

// A producePart is one partition of the call.
type producePart struct {
	topic  string
	id     [16]byte // as requested; zero where the version names topics
	p      *kmsg.ProduceRequestTopicPartition
	state  *partition // nil: clean
	route  Route
	moved  bool
	count  int64
	inside bool // state is entered
	sends  int
	answer kmsg.ProduceResponseTopicPartition
	done   bool
}

// callProduce makes a call of an entered Produce and sends its parts.
func (c *conn) callProduce(r request, head wire.ProduceHead, n *produceNeeds) error {
	call := &produceCall{c: c, header: r.Header, caller: c.caller(r.Header), silent: head.Acks == 0}
	call.sized = bytes.Clone(r.sized)
	call.header.ClientID = bytes.Clone(r.ClientID)
	if r.ClientID != nil {
		call.clientID = kmsg.StringPtr(string(r.ClientID))
	}
	if err := call.decode(c.scan); err != nil {
		c.leaveScanned()
		return err
	}
	err := c.flush()
	if err == nil && !call.silent {
		call.slot, err = c.reserve()
	}
	if err != nil {
		c.leaveScanned()
		return err
	}
	all := make([]int, len(call.parts))
	for i := range call.parts {
		all[i] = i
		if p := &call.parts[i]; p.route.Home == offsets.Target && n.denied[c.nameOf(&c.scan[i])] {
			p.answer.ErrorCode = codeTopicForbidden
			p.done = true
		}
	}
	call.send(all)
	return nil
}

// decode makes parts of the request; scan has its partitions in the same order.
func (call *produceCall) decode(scan []scanned) error {
	msg, err := wire.DecodeRequest(call.header, call.sized[4:])
	if err != nil {
		return err
	}
	call.req = msg.(*kmsg.ProduceRequest)
	for i := range call.req.Topics {
		t := &call.req.Topics[i]
		for j := range t.Partitions {
			if len(call.parts) == len(scan) {
				return fmt.Errorf("decode produce: %w: more partitions than were walked", wire.ErrMalformed)
			}
			s := &scan[len(call.parts)]
			p := producePart{topic: t.Topic, id: t.TopicID, p: &t.Partitions[j],
				state: s.state, route: s.route, moved: s.moved, count: s.count, inside: s.state != nil}
			p.answer = kmsg.NewProduceResponseTopicPartition()
			p.answer.Partition, p.answer.BaseOffset = p.p.Partition, -1
			call.parts = append(call.parts, p)
		}
	}
	if len(call.parts) != len(scan) {
		return fmt.Errorf("decode produce: %w: fewer partitions than were walked", wire.ErrMalformed)
	}
	return nil
}

// send sends the given parts, which are entered, to their homes. sending is held
// and everything flushed; the answers come to answered, perhaps before send
// returns.
func (call *produceCall) send(parts []int) {
	c := call.c
	var target []int
	legacy := make(map[*upstream][]int)
	var order []*upstream
	for _, i := range parts {
		p := &call.parts[i]
		if p.done {
			continue
		}
		p.sends++
		if p.route.Home == offsets.Target {
			target = append(target, i)
			continue
		}
		u := call.upstreamOf(p)
		if u == nil {
			call.notLeader(p)
			continue
		}
		if legacy[u] == nil {
			order = append(order, u)
		}
		legacy[u] = append(legacy[u], i)
	}
	call.mu.Lock()
	call.left += len(order) + 1 // one is ours, so that nothing finishes early
	if len(target) > 0 {
		call.left++
	}
	call.mu.Unlock()
	if len(target) > 0 {
		c.stats.byTarget.Add(1)
		c.p.target.Submit(call.caller, call.request(target), func(reply Reply) { call.fromTarget(target, reply) })
	}
	for _, u := range order {
		call.toLegacy(u, legacy[u])
	}
	call.mu.Lock()
	for _, i := range parts {
		if p := &call.parts[i]; p.done {
			call.leave(p)
		}
	}
	call.mu.Unlock()
	call.answered()
}

// upstreamOf is where a part goes whose home is legacy: on a legacy node to its
// broker, on the target's node to the leader. nil: nowhere. sending is held.
func (call *produceCall) upstreamOf(p *producePart) *upstream {
	c := call.c
	if !c.local {
		if c.pinned == nil || c.pinned.gone() {
			return nil
		}
		return c.pinned
	}
	if p.state == nil { // the target's node was never shown as its leader
		return nil
	}
	leader, _, ok := c.p.topo.Leader(p.state.id)
	if !ok {
		return nil
	}
	return c.side(leader)
}

// notLeader answers a part that can't be served here, with the hint of KIP-951
// (which leaves with versions that have it only).
func (call *produceCall) notLeader(p *producePart) {
	p.answer.ErrorCode, p.done = codeNotLeader, true
	id, ok := idOf(call.c.p, p.topic, p.id)
	if !ok {
		return
	}
	leader, epoch, ok := call.c.p.leaderHint(offsets.Partition{Topic: id, Index: p.p.Partition}, call.c.node)
	if ok {
		p.answer.CurrentLeader.LeaderID, p.answer.CurrentLeader.LeaderEpoch = leader, epoch
	}
}

// request is a request with the given parts only. Topics whose partitions follow
// each other stay together.
func (call *produceCall) request(parts []int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.TransactionID = call.req.Version, call.req.TransactionID
	req.Acks, req.TimeoutMillis = call.req.Acks, call.req.TimeoutMillis
	for _, i := range parts {
		p := &call.parts[i]
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.topic || req.Topics[n-1].TopicID != p.id {
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = p.topic, p.id
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, *p.p)
	}
	return req
}

// toLegacy sends parts to one broker.
func (call *produceCall) toLegacy(u *upstream, parts []int) {
	request := call.sized
	if len(parts) != len(call.parts) || call.parts[parts[0]].sends > 1 {
		for _, i := range parts {
			if raw := call.parts[i].p.Records; call.parts[i].sends > 1 && len(raw) >= batch.HeaderSize {
				batch.SetBaseOffset(raw, 0) // the target may have stamped it; a broker takes no other
			}
		}
		request = wire.AppendRequest(nil, call.header.Correlation, call.clientID, call.request(parts))
	}
	if call.silent {
		u.sendSilent(request)
		call.mu.Lock()
		for _, i := range parts {
			call.parts[i].done = true
			if state := call.parts[i].state; state != nil {
				state.noteSilent()
			}
			call.leave(&call.parts[i])
		}
		call.mu.Unlock()
		call.answered()
		return
	}
	u.send(request, expect{
		correlation: call.header.Correlation, key: call.header.Key, version: call.header.Version,
		then: func(frame []byte, err error) bool {
			call.fromLegacy(parts, frame, err)
			return false
		},
	})
}
