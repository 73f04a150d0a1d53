package proxy

import (
	"fmt"
	"net"
	"time"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// resendAfter is how long a batch that was overtaken waits before it is sent
	// again, and maxResends how often: together well above the longest wait of the
	// path that it has overtaken (see Copy.Pace). Time in a hold doesn't count. A
	// client that sees the error after the earlier batch was acknowledged takes it
	// for a loss, and the Java producer then begins a new epoch under batches that
	// are still in flight, from which it does not recover.
	resendAfter = 15 * time.Millisecond
	maxResends  = 200
)

// fromLegacy takes a broker's answer. B calls it.
func (call *produceCall) fromLegacy(parts []int, frame []byte, err error) {
	var resp *kmsg.ProduceResponse
	if err == nil {
		var msg kmsg.Response
		if _, msg, err = wire.DecodeResponse(call.header.Key, call.header.Version, frame); err == nil {
			resp = msg.(*kmsg.ProduceResponse)
		}
	}
	call.take(parts, resp, err)
}

// fromTarget takes the target's answer.
func (call *produceCall) fromTarget(parts []int, reply Reply) {
	resp, _ := reply.Message.(*kmsg.ProduceResponse)
	if resp == nil && call.silent {
		resp = kmsg.NewPtrProduceResponse()
	}
	var err error
	if resp == nil {
		err = fmt.Errorf("serve produce: the target gave no answer")
	}
	call.take(parts, resp, err)
	if reply.Release != nil {
		reply.Release()
	}
}

// take enters what was answered for the given parts. Without an answer the
// outcome is unknown, and the client's connection ends.
func (call *produceCall) take(parts []int, resp *kmsg.ProduceResponse, err error) {
	call.mu.Lock()
	if resp != nil {
		call.throttle = max(call.throttle, resp.ThrottleMillis)
		call.brokers = append(call.brokers, resp.Brokers...)
		for _, t := range resp.Topics {
			for _, answer := range t.Partitions {
				call.match(parts, t.Topic, t.TopicID, answer)
			}
		}
	}
	for _, i := range parts {
		p := &call.parts[i]
		if !p.done && err == nil && !call.silent {
			err = fmt.Errorf("serve produce: no answer for partition %d of %q", p.answer.Partition, p.topic)
		}
		if p.done && p.answer.ErrorCode == 0 && p.state != nil && p.answer.BaseOffset >= 0 {
			p.state.ack(p.answer.BaseOffset, p.answer.BaseOffset+p.count)
		}
		p.done = true
		call.leave(p)
	}
	call.mu.Unlock()
	if err != nil {
		call.c.close(err)
	}
	call.answered()
}

// match enters the answer for one partition. call.mu is held.
func (call *produceCall) match(parts []int, topic string, id [16]byte, answer kmsg.ProduceResponseTopicPartition) {
	for _, i := range parts {
		p := &call.parts[i]
		if !p.done && p.topic == topic && p.id == id && p.p.Partition == answer.Partition {
			p.answer, p.done = answer, true
			return
		}
	}
}

// leave leaves the state of a part, once per entering. call.mu is held.
func (call *produceCall) leave(p *producePart) {
	if p.inside {
		p.inside = false
		p.state.leave()
	}
}

// answered counts an answer; the last one ends the call, or sends again what was
// overtaken.
func (call *produceCall) answered() {
	call.mu.Lock()
	call.left--
	if call.left > 0 {
		call.mu.Unlock()
		return
	}
	var again []int
	for i := range call.parts {
		p := &call.parts[i]
		if p.answer.ErrorCode == codeOutOfOrder && p.moved && p.sends < maxResends {
			again = append(again, i)
		}
	}
	first := len(again) > 0 && !call.resent
	call.resent = call.resent || first
	call.mu.Unlock()
	if first {
		call.c.resending(1)
	}
	if len(again) == 0 {
		call.finish()
		return
	}
	// Not spawned: the connection is closed, and the client asks again.
	call.c.wg.spawn(func() { call.resend(again) })
}

// resend sends parts again after a moment, to where their home is by then.
func (call *produceCall) resend(parts []int) {
	c := call.c
	timer := time.NewTimer(resendAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
		return
	}
	for {
		c.sending.Lock()
		if c.ctx.Err() != nil {
			c.sending.Unlock()
			return
		}
		h := call.enter(parts)
		if h == nil {
			call.send(parts)
			c.sending.Unlock()
			return
		}
		c.sending.Unlock()
		select {
		case <-h.released:
			if h.abandoned {
				c.close(errAbandoned)
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// enter enters the states of the parts anew, all or none.
func (call *produceCall) enter(parts []int) *hold {
	call.mu.Lock()
	defer call.mu.Unlock()
	for at, i := range parts {
		p := &call.parts[i]
		var h *hold
		if p.route, p.moved, h = p.state.enter(); h != nil {
			p.moved = true
			for _, j := range parts[:at] {
				call.leave(&call.parts[j])
			}
			return h
		}
		p.inside = true
	}
	for _, i := range parts {
		p := &call.parts[i]
		p.done = false
		p.answer = kmsg.NewProduceResponseTopicPartition()
		p.answer.Partition, p.answer.BaseOffset = p.p.Partition, -1
	}
	return nil
}

// finish hands the merged answer in.
func (call *produceCall) finish() {
	c := call.c
	if call.resent {
		defer c.resending(-1) // after complete
	}
	if call.silent {
		for i := range call.parts {
			if code := call.parts[i].answer.ErrorCode; code != 0 {
				c.close(fmt.Errorf("produce without acks failed with code %d", code)) // as a broker does
				return
			}
		}
		return
	}
	c.complete(call.slot, net.Buffers{wire.AppendResponse(nil, call.header.Correlation, call.merged())}, nil)
}

// merged is the answer in the order of the request.
func (call *produceCall) merged() *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version, resp.ThrottleMillis, resp.Brokers = call.header.Version, call.throttle, call.brokers
	for i := range call.parts {
		p := &call.parts[i]
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != p.topic || resp.Topics[n-1].TopicID != p.id {
			t := kmsg.NewProduceResponseTopic()
			t.Topic, t.TopicID = p.topic, p.id
			resp.Topics = append(resp.Topics, t)
		}
		t := &resp.Topics[len(resp.Topics)-1]
		t.Partitions = append(t.Partitions, p.answer)
	}
	rewriteProduceEndpoints(resp, call.c.p)
	return resp
}

// resending counts calls that wait to be sent again: meanwhile B must not wait for
// the turn of answers behind them, or it could not read theirs.
func (c *conn) resending(n int) {
	c.mu.Lock()
	c.resends += n
	if n > 0 {
		c.turn.Broadcast()
	}
	c.mu.Unlock()
}

// refuseTransaction refuses a whole transactional Produce: half a transaction is
// of no use to anybody.
func (c *conn) refuseTransaction(r request, head wire.ProduceHead) error {
	if head.Acks == 0 {
		return fmt.Errorf("transactional produce to a moved topic: %w", errRefused)
	}
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = r.Version
	for _, t := range msg.(*kmsg.ProduceRequest).Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.BaseOffset, rp.ErrorCode = p.Partition, -1, codePolicy
			rp.ErrorMessage = kmsg.StringPtr(transactionsRefused)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	c.log.Warn("transactional produce to a moved topic refused", "transactional_id", string(head.TransactionalID))
	return c.answer(r, resp)
}
