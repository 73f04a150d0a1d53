package proxy

import (
	"bytes"
	"context"
	"fmt"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords, key 21, versions 0 to 2.
//
// The log start moves on both clusters, or a flip would bring records back. Where
// the home is the target: the target first, then the copy has to bring legacy to
// that offset, then legacy, then the answer. Where it is legacy the request goes
// on, and the mirror follows legacy's log start. One request at a time, as on a
// broker: the connection waits.

// deletion is one partition of a DeleteRecords request.
type deletion struct {
	topic string
	index int32
	id    offsets.Partition
	state *partition
	to    int64 // the offset asked for; what the target made of it
	code  int16
	low   int64
}

// deleteRecords is the guard of DeleteRecords.
func (c *conn) deleteRecords(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return way{}, err
	}
	req := msg.(*kmsg.DeleteRecordsRequest)
	all, moved, names := c.scanDeletions(req)
	if !moved && !c.servesData() {
		return r.pass(), nil
	}
	denied, err := c.authorized(names, opDelete)
	if err != nil {
		return way{}, err
	}
	var onTarget, onLegacy []*deletion
	for _, d := range all {
		switch {
		case denied[d.topic]:
			d.code = codeTopicForbidden
		case d.state != nil && d.state.now().Home == offsets.Target:
			onTarget = append(onTarget, d)
			onLegacy = append(onLegacy, d)
		case d.state == nil && c.servesData():
			d.code = codeNotLeader
		default:
			onLegacy = append(onLegacy, d)
		}
	}
	if err := c.deleteOnTarget(r, req.TimeoutMillis, onTarget); err != nil {
		return way{}, err
	}
	if err := c.deleteOnLegacy(r, req.TimeoutMillis, onLegacy); err != nil {
		return way{}, err
	}
	return way{}, c.answer(r, deletionsAnswer(r.Version, all))
}

func (c *conn) scanDeletions(req *kmsg.DeleteRecordsRequest) (all []*deletion, moved bool, names []string) {
	routes := c.p.routes.load()
	for _, t := range req.Topics {
		names = append(names, t.Topic)
		id, _ := c.p.topicID(t.Topic)
		for _, p := range t.Partitions {
			d := &deletion{topic: t.Topic, index: p.Partition, to: p.Offset, low: -1}
			d.id = offsets.Partition{Topic: id, Index: p.Partition}
			d.state = routes.parts[d.id]
			moved = moved || d.state != nil && d.state.maybeMoved()
			all = append(all, d)
		}
	}
	return all, moved, names
}

// deletionsRequest names the given partitions.
func deletionsRequest(version int16, timeout int32, ds []*deletion) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, timeout
	for _, d := range ds {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != d.topic {
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = d.topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = d.index, d.to
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return req
}

func deletionsAnswer(version int16, ds []*deletion) *kmsg.DeleteRecordsResponse {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	resp.Version = version
	for _, d := range ds {
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != d.topic {
			t := kmsg.NewDeleteRecordsResponseTopic()
			t.Topic = d.topic
			resp.Topics = append(resp.Topics, t)
		}
		p := kmsg.NewDeleteRecordsResponseTopicPartition()
		p.Partition, p.LowWatermark, p.ErrorCode = d.index, d.low, d.code
		t := &resp.Topics[len(resp.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return resp
}

// takeDeletions enters what was answered.
func takeDeletions(ds []*deletion, resp *kmsg.DeleteRecordsResponse) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, d := range ds {
				if d.topic == t.Topic && d.index == p.Partition {
					d.code, d.low = p.ErrorCode, p.LowWatermark
				}
			}
		}
	}
}

// deleteOnTarget has the target delete, and waits until legacy holds what was
// deleted: only then it can delete it too.
func (c *conn) deleteOnTarget(r request, timeout int32, ds []*deletion) error {
	if len(ds) == 0 {
		return nil
	}
	answered := make(chan *kmsg.DeleteRecordsResponse, 1)
	c.p.target.Submit(c.caller(r.Header), deletionsRequest(r.Version, timeout, ds), func(reply Reply) {
		resp, _ := reply.Message.(*kmsg.DeleteRecordsResponse)
		answered <- resp
		if reply.Release != nil {
			reply.Release()
		}
	})
	var resp *kmsg.DeleteRecordsResponse
	err := c.wait(func() {
		select {
		case resp = <-answered:
		case <-c.ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	if resp == nil {
		return fmt.Errorf("delete records: the target gave no answer")
	}
	takeDeletions(ds, resp)
	var wait []wanted
	for _, d := range ds {
		if d.code == 0 {
			d.to = d.low
			wait = append(wait, wanted{d.state, d.low})
		}
	}
	return c.awaitCopies(wait)
}

// deleteOnLegacy has each partition's leader delete, each behind the other: on a
// legacy node that is its broker, elsewhere the leader by a connection of our own.
// What the client may do has been asked before.
func (c *conn) deleteOnLegacy(r request, timeout int32, ds []*deletion) error {
	byNode := make(map[int32][]*deletion)
	for _, d := range ds {
		if d.code != 0 {
			continue
		}
		node := c.node
		if c.servesData() {
			leader, _, ok := c.p.topo.Leader(d.id)
			if !ok {
				d.code = codeNotLeader
				continue
			}
			node = leader
		}
		byNode[node] = append(byNode[node], d)
	}
	for node, part := range byNode {
		req := deletionsRequest(r.Version, timeout, part)
		var resp kmsg.Response
		var err error
		if c.servesData() {
			resp, err = c.ask(node, req)
		} else {
			resp, err = c.askPinned(req)
		}
		if err != nil {
			return fmt.Errorf("delete records on broker %d: %w", node, err)
		}
		takeDeletions(part, resp.(*kmsg.DeleteRecordsResponse))
	}
	return nil
}

// askPinned asks the client's own broker and waits. sending is held, but given up
// to wait.
func (c *conn) askPinned(req kmsg.Request) (resp kmsg.Response, err error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	type result struct {
		resp kmsg.Response
		err  error
	}
	answered := make(chan result, 1)
	c.pinned.inject(req, func(resp kmsg.Response, err error) { answered <- result{resp, err} })
	werr := c.wait(func() {
		select {
		case a := <-answered:
			resp, err = a.resp, a.err
		case <-c.ctx.Done():
		}
	})
	if werr != nil {
		return nil, werr
	}
	return resp, err
}

// ask asks a broker on a connection of our own and waits.
func (c *conn) ask(node int32, req kmsg.Request) (resp kmsg.Response, err error) {
	werr := c.wait(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.p.cfg.DialTimeout+c.p.cfg.CopyStopped)
		defer cancel()
		broker, derr := c.p.topo.Dial(ctx, node)
		if derr != nil {
			err = derr
			return
		}
		defer func() { _ = broker.Close() }()
		resp, err = broker.Request(ctx, req)
	})
	if werr != nil {
		return nil, werr
	}
	return resp, err
}
