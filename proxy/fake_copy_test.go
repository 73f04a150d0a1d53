package proxy_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/proxy/wire"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var errCopyEnded = errors.New("copy ended")

// rawCopy copies one partition in whichever direction its home asks for: legacy
// to target by raw Fetch, target to legacy by raw Produce, one batch at a time.
type rawCopy struct {
	topo  *proxy.Topology
	topic string
	id    offsets.Partition
	log   *memLog

	mu        sync.Mutex
	home      offsets.Side
	confirmed int64 // end of the side that is not home
	turn      uint64
	paused    bool
	pause     time.Duration // before every batch that is replayed
	changed   chan struct{}
	differ    bool
}

func (r *rawCopy) touch(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
	close(r.changed)
	r.changed = make(chan struct{})
}

type copyState struct {
	home      offsets.Side
	confirmed int64
	turn      uint64
	paused    bool
	pause     time.Duration
	changed   <-chan struct{}
	differ    bool
}

func (r *rawCopy) state() copyState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copyState{r.home, r.confirmed, r.turn, r.paused, r.pause, r.changed, r.differ}
}

// setHome turns the copy round; both ends are equal at that moment.
func (r *rawCopy) setHome(side offsets.Side) {
	r.touch(func() { r.home, r.turn, r.confirmed = side, r.turn+1, r.log.end() })
}

func (r *rawCopy) run(ctx context.Context) {
	var conn *wire.Conn
	var at int32
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for ctx.Err() == nil {
		s := r.state()
		node, _, ok := r.topo.Leader(r.id)
		if ok && (conn == nil || at != node) {
			if conn != nil {
				_ = conn.Close()
			}
			var err error
			if conn, err = r.topo.Dial(ctx, node); err != nil {
				conn, ok = nil, false
			}
			at = node
		}
		switch {
		case !ok || s.paused:
			select {
			case <-s.changed:
			case <-time.After(20 * time.Millisecond): // no leader now: a test's retry
			case <-ctx.Done():
			}
		case s.home == offsets.Legacy:
			ok = r.forward(ctx, conn)
		default:
			ok = r.back(ctx, conn, s)
		}
		if !ok && conn != nil {
			conn.Abort()
			conn = nil
		}
	}
}

// forward takes what legacy has beyond the target's end.
func (r *rawCopy) forward(ctx context.Context, conn *wire.Conn) bool {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 20, 1, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.topic, r.id.Topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.id.Index, r.log.end(), 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	msg, err := conn.Request(ctx, req)
	if err != nil {
		return false
	}
	for _, t := range msg.(*kmsg.FetchResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return false
			}
			_ = batch.Walk(p.RecordBatches, func(_ batch.Header, raw []byte) error {
				r.log.follow(raw)
				return nil
			})
		}
	}
	r.touch(func() {
		if r.home == offsets.Legacy {
			r.confirmed = r.log.end()
		}
	})
	return true
}

// back replays one batch that legacy doesn't have.
func (r *rawCopy) back(ctx context.Context, conn *wire.Conn, s copyState) bool {
	changed := r.log.change()
	next := r.log.after(s.confirmed)
	if next == nil {
		select {
		case <-changed:
		case <-s.changed:
		case <-ctx.Done():
		}
		return true
	}
	if s.pause > 0 {
		select {
		case <-time.After(s.pause): // replay slowed down on purpose
		case <-ctx.Done():
			return true
		}
	}
	raw := append([]byte(nil), next...)
	h, _ := batch.Parse(raw)
	batch.SetBaseOffset(raw, 0)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = r.topic, r.id.Topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = r.id.Index, raw
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	msg, err := conn.Request(ctx, req)
	if err != nil {
		return false
	}
	got := msg.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 || got.BaseOffset != h.BaseOffset {
		return false
	}
	r.touch(func() {
		if r.turn == s.turn {
			r.confirmed = h.BaseOffset + int64(h.LastOffsetDelta) + 1
		}
	})
	return true
}

// copies implements proxy.Copy.
type copies struct {
	mu  sync.Mutex
	all map[offsets.Partition]*rawCopy
}

func (c *copies) get(p offsets.Partition) *rawCopy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[p]
}

func (c *copies) Confirmed(p offsets.Partition) (int64, bool) {
	r := c.get(p)
	if r == nil {
		return 0, false
	}
	return r.state().confirmed, true
}

func (c *copies) Await(ctx context.Context, p offsets.Partition, offset int64) error {
	r := c.get(p)
	if r == nil {
		return errCopyEnded
	}
	for {
		s := r.state()
		if s.confirmed >= offset {
			return nil
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *copies) HomeEnd(ctx context.Context, p offsets.Partition) (int64, error) {
	r := c.get(p)
	if r == nil {
		return 0, errCopyEnded
	}
	if r.state().home == offsets.Target {
		return r.log.end(), nil
	}
	return legacyEnd(ctx, r)
}

// legacyEnd asks legacy.
func legacyEnd(ctx context.Context, r *rawCopy) (int64, error) {
	node, _, ok := r.topo.Leader(r.id)
	if !ok {
		return 0, errors.New("no leader")
	}
	conn, err := r.topo.Dial(ctx, node)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = r.topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = r.id.Index, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	msg, err := conn.Request(ctx, req)
	if err != nil {
		return 0, err
	}
	return msg.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset, nil
}

func (c *copies) Pace(offsets.Partition) <-chan struct{} { return nil }

func (c *copies) Epochs(p offsets.Partition) (offsets.Epochs, int64, bool) {
	r := c.get(p)
	if r == nil {
		return nil, 0, false
	}
	return offsets.Epochs{{Epoch: 0, Start: 0}}, r.log.end(), r.state().differ
}
