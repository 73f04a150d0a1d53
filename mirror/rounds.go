package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// minProduce is the lowest Produce version that takes every codec (KIP-110).
const minProduce int16 = 7

// A round is the head batch of every partition with a backlog, in one Produce.
// The next one begins when it has been answered: more than one batch of a
// partition under way can end in another log (measured, with every window above
// one), and rounds make up for the speed.

// take reserves the twin's head batch for a round of w and copies it into w's
// buffer. Nil: there is none, or it must not be sent.
func (t *twin) take(now time.Time, w *writer) *flight {
	t.mu.Lock()
	if t.home != offsets.Target || !t.settled || t.stop != nil || t.flight != nil || t.leader != w.b.node || now.Before(t.due) {
		t.mu.Unlock()
		return nil
	}
	b := t.log.Bounds()
	if b.Leading && b.Epoch < t.epoch && t.led != t.epoch {
		t.lead(b) // it was opened with an older epoch than legacy has by now
	}
	if b.Durable <= t.confirmed {
		t.mu.Unlock()
		return nil
	}
	f := &flight{t: t, era: t.era, base: t.confirmed}
	t.flight = f
	log := t.log
	t.mu.Unlock()

	err := f.load(log, w)
	if err == nil {
		return f
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight = nil
	if errors.Is(err, errUnreadable) {
		t.refuse(now, false, err.Error(), "what stands in objects is read again until the object store answers; roll back waits for it")
		return nil
	}
	t.refuse(now, true, err.Error(), "this batch cannot be replayed by this version: roll back is not possible while it stands")
	return nil
}

// errUnreadable: the target holds the batch and cannot read it now.
var errUnreadable = errors.New("target cannot read a batch of its own")

// load reads the batch at f.base into the buffer of w.
func (f *flight) load(log Log, w *writer) error {
	b, ok, err := log.Batch(f.base)
	if err != nil {
		return fmt.Errorf("%w: at %d: %w", errUnreadable, f.base, err)
	}
	if !ok {
		return fmt.Errorf("read target at %d: no durable batch there", f.base)
	}
	if b.Release != nil {
		defer b.Release()
	}
	switch h := b.Header; {
	case h.BaseOffset != f.base:
		return fmt.Errorf("replay batch at %d: the target's next batch begins at %d, and a gap cannot be made on legacy", f.base, h.BaseOffset)
	case h.Control() || h.Transactional():
		return fmt.Errorf("replay batch at %d: it belongs to a transaction", f.base)
	}
	f.t.mu.Lock() // the flight is in place already, and drain looks at it
	f.end, f.size, f.appended = b.Header.LastOffset()+1, len(b.Raw), b.At
	f.t.mu.Unlock()
	f.from = len(w.buffer)
	w.buffer = append(w.buffer, b.Raw...)
	clear(w.buffer[f.from : f.from+8]) // base offset: legacy assigns it, and refuses any but 0
	return nil
}

// putBack gives up batches that were not sent.
func putBack(heads []*flight) {
	for _, f := range heads {
		f.t.mu.Lock()
		if f.t.flight == f {
			f.t.flight = nil
		}
		f.t.mu.Unlock()
	}
}

// round sends one and takes in its answer. False: the connection is gone.
func (w *writer) round(ctx context.Context, conn Conn, heads []*flight) bool {
	defer func() { w.buffer = w.buffer[:0] }()
	req, roll := w.produce(heads)
	rctx, cancel := context.WithTimeout(ctx, w.b.m.cfg.RoundWait+requestTimeout/2)
	defer cancel()
	sent := time.Now()
	for _, f := range heads {
		f.sent = sent
	}
	resp, err := send[*kmsg.ProduceResponse](rctx, conn, req)
	if err == nil && req.Version < minProduce {
		err = fmt.Errorf("request Produce: legacy speaks version %d, %d is needed", req.Version, minProduce)
	}
	if err != nil {
		w.failed(ctx, err)
		now := time.Now()
		for _, f := range heads {
			f.t.lose(f, now, err)
		}
		return false
	}
	w.b.reachable()
	w.answers(resp, roll, heads)
	return true
}

// produce makes the request of a round.
func (w *writer) produce(heads []*flight) (*kmsg.ProduceRequest, *roll) {
	refs := make([]ref, len(heads))
	for i, f := range heads {
		f.t.mu.Lock()
		refs[i] = ref{t: f.t, name: f.t.name}
		f.t.mu.Unlock()
	}
	roll := newRoll(refs)
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	req.TimeoutMillis = int32(w.b.m.cfg.RoundWait.Milliseconds())
	for i, x := range refs {
		topic, fresh := roll.place(i)
		if fresh {
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = x.name, x.t.id.Topic
			req.Topics = append(req.Topics, rt)
		}
		f := heads[i]
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition = x.t.id.Index
		rp.Records = w.buffer[f.from : f.from+f.size : f.from+f.size]
		req.Topics[topic].Partitions = append(req.Topics[topic].Partitions, rp)
	}
	return req, roll
}

// answers gives each batch of a round its answer.
func (w *writer) answers(resp *kmsg.ProduceResponse, roll *roll, heads []*flight) {
	now := time.Now()
	flights := make(map[*twin]*flight, len(heads))
	for _, f := range heads {
		flights[f.t] = f
	}
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			x, ok := roll.find(rt.Topic, rt.TopicID, rt.Partitions[j].Partition)
			if !ok || flights[x.t] == nil {
				continue
			}
			x.t.answered(flights[x.t], &rt.Partitions[j], now)
			delete(flights, x.t)
		}
	}
	for t, f := range flights {
		t.lose(f, now, fmt.Errorf("legacy did not answer for this partition"))
	}
	for _, f := range heads {
		f.t.mark(now)
	}
}

// lose notes that the outcome of a flight is unknown and may be decided later.
func (t *twin) lose(f *flight, now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != f {
		return
	}
	t.flight = nil
	t.lost = &loss{end: f.end}
	t.refuse(now, false, fmt.Sprintf("replay batch at %d: outcome unknown: %v", f.base, err), "")
	t.due, t.tries = time.Time{}, 0
	t.wakeLeader()
}

// answered takes in legacy's answer to a flight.
func (t *twin) answered(f *flight, p *kmsg.ProduceResponseTopicPartition, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != f {
		return
	}
	t.flight = nil
	if t.era != f.era || !t.settled {
		// It has been handled, whatever the answer: nothing can arrive late. What came
		// of it is found out by settling, which waits for this.
		t.unsettle()
		t.wakeLeader()
		return
	}
	if p.ErrorCode != 0 {
		t.notTaken(f, p, now)
		return
	}
	if p.BaseOffset != f.base {
		// Written elsewhere: settling finds a difference. Taken for a duplicate of
		// another batch: nothing was written, and never will be.
		t.refuse(now, true, fmt.Sprintf("replay batch at %d: legacy answered offset %d", f.base, p.BaseOffset),
			"legacy takes the batch for one that it has, which passes when it forgets the producer; run verify")
		t.m.cfg.Logger.Warn("legacy answered another offset", "topic", t.name, "partition", t.id.Index, "offset", f.base, "answered", p.BaseOffset)
		return
	}
	if p.LogAppendTime != -1 && !t.policy.logAppendTime {
		t.counts.Duplicates++
	}
	if t.doubt != nil {
		t.doubt, t.tries = nil, 0
	}
	t.confirmed = f.end
	if t.batches >= 0 {
		t.batches++
	}
	t.counts.ReplayedBatches++
	t.counts.ReplayedBytes += int64(f.size)
	t.speed.confirmed(now, now.Sub(f.sent), now.Sub(later(f.appended, t.speed.last)), f.size)
	t.notify()
	t.release(false)
}

// notTaken sorts out an error of legacy about one batch. mu is held.
func (t *twin) notTaken(f *flight, p *kmsg.ProduceResponseTopicPartition, now time.Time) {
	c := classOf(p.ErrorCode)
	err := describe(fmt.Sprintf("replay batch at %d", f.base), p.ErrorCode)
	if p.ErrorMessage != nil && *p.ErrorMessage != "" {
		err += ": " + *p.ErrorMessage
	}
	fresh := t.doubt == nil || !t.doubt.sending
	t.refuse(now, c == refused, err, remedies[p.ErrorCode])
	if c == moved {
		t.m.wantRefresh()
	}
	if fresh && (c == refused || p.ErrorCode != kerr.NotLeaderForPartition.Code) {
		t.m.cfg.Logger.Warn("legacy did not take a batch", "topic", t.name, "partition", t.id.Index, "err", err)
	}
}

// wakeLeader pokes the writer that may go on now. mu is held.
func (t *twin) wakeLeader() {
	if t.broker != nil {
		poke(t.broker.wakeWriter)
	}
}
