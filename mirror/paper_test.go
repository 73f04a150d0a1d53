package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"switchback/mirror"
	"switchback/offsets"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A paper cluster is a Kafka cluster with nothing in it but what decides whether
// a mirror is exact: partitions with two replicas, high watermarks, leader epochs,
// elections clean and unclean, and requests that are lost before, after or long
// after they were handled. It has no sockets, so it runs in virtual time.
type paper struct {
	mu      sync.Mutex
	rng     *rand.Rand
	topics  []*paperTopic
	down    map[int32]bool
	changed chan struct{} // of what Topics answers
	moved   chan struct{} // of any log
	faults  paperFaults
	seen    map[string]int // requests by API
}

// paperFaults are probabilities, per request or per partition of a produce.
type paperFaults struct {
	lostBefore, lostAfter, late float64 // the connection dies
	refused                     float64 // an error that passes, nothing written
	timedOut                    float64 // an error that passes, written
	delay                       time.Duration
	stuck                       chan struct{} // a produce waits for its end before it is handled
	duplicate                   bool          // a produce is taken for a duplicate of the batch at 0
}

type paperTopic struct {
	name    string
	id      offsets.TopicID
	configs map[string]string
	parts   []*paperPart
}

type paperPart struct {
	topic    *paperTopic
	replicas [2]*paperLog
	nodes    [2]int32
	leader   int // index of replicas, -1 none
	epoch    int32
	high     int64
	start    int64
	paused   bool // the follower doesn't fetch
}

type paperLog struct {
	batches [][]byte
	end     int64
	epochs  offsets.Epochs
}

func (l *paperLog) append(raw []byte, epoch int32) int64 {
	b := append([]byte(nil), raw...)
	base := l.end
	batch.SetBaseOffset(b, base)
	batch.SetLeaderEpoch(b, epoch)
	l.batches = append(l.batches, b)
	l.end = base + int64(header(b).LastOffsetDelta) + 1
	return base
}

func (l *paperLog) truncate(end int64) {
	for len(l.batches) > 0 && header(l.batches[len(l.batches)-1]).LastOffset() >= end {
		l.batches = l.batches[:len(l.batches)-1]
	}
	l.end = min(l.end, end)
	if n := len(l.batches); n > 0 {
		l.end = header(l.batches[n-1]).LastOffset() + 1
	}
	l.epochs = l.epochs.TruncateEnd(l.end)
}

func header(raw []byte) batch.Header {
	h, err := batch.Parse(raw)
	if err != nil {
		panic(err) // the test made it
	}
	return h
}

func newPaper(seed uint64, nodes int32, topic string, partitions int) *paper {
	p := &paper{
		rng: rand.New(rand.NewPCG(seed, seed)), down: make(map[int32]bool), changed: make(chan struct{}), moved: make(chan struct{}),
		seen: make(map[string]int),
	}
	t := &paperTopic{name: topic, id: offsets.TopicID{1, byte(seed)}, configs: map[string]string{"cleanup.policy": "delete", "message.timestamp.after.max.ms": "9223372036854775807"}}
	for i := range partitions {
		pp := &paperPart{topic: t, nodes: [2]int32{int32(i) % nodes, int32(i+1) % nodes}, epoch: 3}
		for r := range pp.replicas {
			pp.replicas[r] = &paperLog{epochs: offsets.Epochs{{Epoch: 3, Start: 0}}}
		}
		t.parts = append(t.parts, pp)
	}
	p.topics = []*paperTopic{t}
	return p
}

func (p *paper) partition(i int) offsets.Partition {
	return offsets.Partition{Topic: p.topics[0].id, Index: int32(i)}
}

// The mirror's Legacy.

func (p *paper) Topics() []mirror.LegacyTopic {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []mirror.LegacyTopic
	for _, t := range p.topics {
		lt := mirror.LegacyTopic{Name: t.name, ID: t.id}
		for _, pp := range t.parts {
			lp := mirror.LegacyPartition{Leader: -1, Epoch: pp.epoch}
			if pp.leader >= 0 {
				lp.Leader = pp.nodes[pp.leader]
			}
			lt.Partitions = append(lt.Partitions, lp)
		}
		all = append(all, lt)
	}
	return all
}

func (p *paper) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *paper) Refresh(context.Context) error { return nil }

func (p *paper) Dial(_ context.Context, node int32) (mirror.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down[node] {
		return nil, errors.New("connection refused")
	}
	return &paperConn{p: p, node: node, turn: make(chan struct{}, 1), gone: make(chan struct{})}, nil
}

// What a test does to it. Callers don't hold mu.

func (p *paper) do(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	p.advance()
}

// advance lets followers fetch and high watermarks follow, and wakes who waits.
func (p *paper) advance() {
	for _, t := range p.topics {
		for _, pp := range t.parts {
			pp.follow()
		}
	}
	close(p.moved)
	p.moved = make(chan struct{})
}

func (pp *paperPart) follow() {
	if pp.leader < 0 {
		return
	}
	l, f := pp.replicas[pp.leader], pp.replicas[1-pp.leader]
	if !pp.paused {
		// Shared until one of them appends: the capacity ends here.
		f.batches = l.batches[:len(l.batches):len(l.batches)]
		f.end, f.epochs = l.end, l.epochs
	}
	pp.high = max(min(l.end, f.end), pp.high)
}

// elect makes the other replica leader. A clean election needs a follower that
// has everything below the high watermark, which it has here unless wipe cut it.
func (p *paper) elect(i int) {
	p.do(func() { p.electLocked(p.topics[0].parts[i]) })
}

func (p *paper) electLocked(pp *paperPart) {
	other := 1
	if pp.leader >= 0 {
		other = 1 - pp.leader
	}
	if p.down[pp.nodes[other]] {
		return
	}
	pp.leader = other
	pp.epoch++
	l := pp.replicas[other]
	l.epochs = l.epochs.Assign(pp.epoch, l.end)
	pp.high = min(pp.high, l.end)
	pp.paused = false
	p.topology()
}

func (p *paper) topology() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// wipe elects a replica that lost everything from end on: an unclean election.
func (p *paper) wipe(i int, end int64) {
	p.do(func() {
		pp := p.topics[0].parts[i]
		pp.replicas[1-pp.leader].truncate(end)
		p.electLocked(pp)
	})
}

// produce is a client's own, with acks=-1 unless a follower is paused.
func (p *paper) produce(i int, raw []byte) (base int64) {
	p.do(func() {
		pp := p.topics[0].parts[i]
		base = pp.replicas[pp.leader].append(raw, pp.epoch)
	})
	return base
}

// log is what a consumer of the leader could ever read, committed or not.
func (p *paper) log(i int) (batches [][]byte, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pp := p.topics[0].parts[i]
	l := pp.replicas[max(pp.leader, 0)]
	return append([][]byte(nil), l.batches...), l.end
}

// A paperConn handles one request at a time, as a broker does. turn is a channel
// because virtual time stands still for who waits for a mutex.
type paperConn struct {
	p    *paper
	node int32
	turn chan struct{} // one request at a time
	once sync.Once
	gone chan struct{}
}

func (c *paperConn) Close() error { c.Abort(); return nil }
func (c *paperConn) Abort()       { c.once.Do(func() { close(c.gone) }) }

var errLost = errors.New("connection lost")

func (c *paperConn) alive() error {
	select {
	case <-c.gone:
		return errLost
	default:
	}
	if c.p.down[c.node] {
		return errLost
	}
	return nil
}

func (c *paperConn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.alive(); err != nil {
		return nil, err
	}
	c.p.seen[kmsg.NameForKey(req.Key())]++
	req.SetVersion(req.MaxVersion())
	if d := c.p.faults.delay; d > 0 {
		c.p.mu.Unlock()
		time.Sleep(d)
		c.p.mu.Lock()
	}
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return c.produce(ctx, r)
	case *kmsg.FetchRequest:
		return c.fetch(ctx, r)
	case *kmsg.OffsetForLeaderEpochRequest:
		return c.epochEnds(r)
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(r)
	case *kmsg.DescribeConfigsRequest:
		return c.describe(r)
	}
	return nil, fmt.Errorf("paper broker does not speak %T", req)
}

func (p *paper) find(name string, id offsets.TopicID, index int32) *paperPart {
	for _, t := range p.topics {
		if (t.id == id || t.name == name && id == (offsets.TopicID{})) && int(index) < len(t.parts) {
			return t.parts[index]
		}
	}
	return nil
}

// check is the error of a request that names a leader epoch, 0 for none.
func (c *paperConn) check(pp *paperPart, epoch int32) int16 {
	switch {
	case pp == nil:
		return kerr.UnknownTopicOrPartition.Code
	case epoch >= 0 && epoch < pp.epoch:
		return kerr.FencedLeaderEpoch.Code
	case epoch > pp.epoch:
		return kerr.UnknownLeaderEpoch.Code
	case pp.leader < 0 || pp.nodes[pp.leader] != c.node:
		return kerr.NotLeaderForPartition.Code
	}
	return 0
}

func (p *paper) chance(f float64) bool { return f > 0 && p.rng.Float64() < f }

func (c *paperConn) produce(ctx context.Context, req *kmsg.ProduceRequest) (kmsg.Response, error) {
	p := c.p
	switch {
	case p.chance(p.faults.lostBefore):
		c.Abort()
		return nil, errLost
	case p.chance(p.faults.late):
		// It sits in the broker's queue, and the connection dies over it.
		later := time.Duration(p.rng.Int64N(int64(700 * time.Millisecond)))
		c.Abort()
		for i := range req.Topics { // what was sent is not the caller's any more
			for j := range req.Topics[i].Partitions {
				rp := &req.Topics[i].Partitions[j]
				rp.Records = append([]byte(nil), rp.Records...)
			}
		}
		go func() {
			time.Sleep(later)
			p.do(func() { c.append(req) })
		}()
		return nil, errLost
	}
	if stuck := p.faults.stuck; stuck != nil {
		p.mu.Unlock()
		<-stuck
		p.mu.Lock()
	}
	resp, ends := c.append(req)
	p.advance()
	if p.chance(p.faults.lostAfter) {
		c.Abort()
		return nil, errLost
	}
	deadline := time.After(time.Duration(req.TimeoutMillis) * time.Millisecond)
	for {
		waits := false
		for pp, end := range ends {
			if pp.high < end.end && pp.epoch == end.epoch {
				waits = true
			}
		}
		if !waits {
			break
		}
		if over, err := c.sleep(ctx, deadline); err != nil {
			return nil, err
		} else if over {
			break
		}
	}
	for pp, end := range ends {
		switch {
		case pp.epoch != end.epoch:
			end.answer.ErrorCode = kerr.NotLeaderForPartition.Code
		case pp.high < end.end:
			end.answer.ErrorCode = kerr.RequestTimedOut.Code
		}
	}
	for i := range resp.Topics {
		for j, rp := range resp.Topics[i].Partitions {
			if end, ok := ends[p.find("", resp.Topics[i].TopicID, rp.Partition)]; ok {
				resp.Topics[i].Partitions[j].ErrorCode = end.answer.ErrorCode
			}
		}
	}
	return resp, nil
}

type paperAppend struct {
	end    int64
	epoch  int32
	answer *kmsg.ProduceResponseTopicPartition
}

func (c *paperConn) append(req *kmsg.ProduceRequest) (*kmsg.ProduceResponse, map[*paperPart]*paperAppend) {
	p := c.p
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	ends := make(map[*paperPart]*paperAppend)
	for _, rt := range req.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.TopicID = rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.BaseOffset = rp.Partition, -1
			pp := p.find("", rt.TopicID, rp.Partition)
			h, err := batch.Parse(rp.Records)
			switch {
			case c.check(pp, -1) != 0:
				sp.ErrorCode = c.check(pp, -1)
			case err != nil || h.BaseOffset != 0 || h.Size() != len(rp.Records) || batch.CheckCRC(rp.Records) != nil:
				sp.ErrorCode = kerr.InvalidRecord.Code
			case pp.topic.configs["max.message.bytes"] == "1":
				sp.ErrorCode = kerr.MessageTooLarge.Code
			case p.faults.duplicate:
				sp.BaseOffset, sp.LogAppendTime = 0, time.Now().UnixMilli()
			case p.chance(p.faults.refused):
				sp.ErrorCode = []int16{kerr.NotLeaderForPartition.Code, kerr.NotEnoughReplicas.Code, kerr.RequestTimedOut.Code}[p.rng.IntN(3)]
			default:
				sp.BaseOffset = pp.replicas[pp.leader].append(rp.Records, pp.epoch)
				if p.chance(p.faults.timedOut) {
					sp.ErrorCode = kerr.NotEnoughReplicasAfterAppend.Code
				} else {
					ends[pp] = &paperAppend{end: pp.replicas[pp.leader].end, epoch: pp.epoch, answer: &sp}
				}
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp, ends
}

// sleep gives up mu until something moves; over when the deadline is.
func (c *paperConn) sleep(ctx context.Context, deadline <-chan time.Time) (over bool, err error) {
	moved := c.p.moved
	c.p.mu.Unlock()
	defer c.p.mu.Lock()
	select {
	case <-moved:
	case <-deadline:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.gone:
		return false, errLost
	}
	return false, nil
}

func (c *paperConn) fetch(ctx context.Context, req *kmsg.FetchRequest) (kmsg.Response, error) {
	deadline := time.After(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	for {
		if err := c.alive(); err != nil {
			return nil, err
		}
		resp, ready := c.fetchNow(req)
		if ready || req.MaxWaitMillis == 0 {
			return resp, nil
		}
		over, err := c.sleep(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if over {
			resp, _ := c.fetchNow(req)
			return resp, nil
		}
	}
}

func (c *paperConn) fetchNow(req *kmsg.FetchRequest) (resp *kmsg.FetchResponse, ready bool) {
	resp = req.ResponseKind().(*kmsg.FetchResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewFetchResponseTopic()
		st.TopicID = rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewFetchResponseTopicPartition()
			sp.Partition = rp.Partition
			pp := c.p.find("", rt.TopicID, rp.Partition)
			if sp.ErrorCode = c.check(pp, rp.CurrentLeaderEpoch); sp.ErrorCode == 0 {
				sp.HighWatermark, sp.LogStartOffset = pp.high, pp.start
				l := pp.replicas[pp.leader]
				if rp.FetchOffset < pp.start || rp.FetchOffset > l.end {
					sp.ErrorCode = kerr.OffsetOutOfRange.Code
				}
				first := sort.Search(len(l.batches), func(i int) bool { return header(l.batches[i]).LastOffset() >= rp.FetchOffset })
				for _, b := range l.batches[first:] {
					if sp.ErrorCode != 0 || header(b).LastOffset() >= pp.high || len(sp.RecordBatches) >= int(rp.PartitionMaxBytes) {
						break
					}
					sp.RecordBatches = append(sp.RecordBatches, b...)
				}
			}
			ready = ready || sp.ErrorCode != 0 || len(sp.RecordBatches) > 0
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp, ready
}

func (c *paperConn) epochEnds(req *kmsg.OffsetForLeaderEpochRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewOffsetForLeaderEpochResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			sp.Partition = rp.Partition
			pp := c.p.find(rt.Topic, offsets.TopicID{}, rp.Partition)
			if sp.ErrorCode = c.check(pp, rp.CurrentLeaderEpoch); sp.ErrorCode == 0 {
				l := pp.replicas[pp.leader]
				sp.LeaderEpoch, sp.EndOffset = l.epochs.End(rp.LeaderEpoch, l.end)
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp, nil
}

func (c *paperConn) listOffsets(req *kmsg.ListOffsetsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewListOffsetsResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewListOffsetsResponseTopicPartition()
			sp.Partition = rp.Partition
			pp := c.p.find(rt.Topic, offsets.TopicID{}, rp.Partition)
			if sp.ErrorCode = c.check(pp, rp.CurrentLeaderEpoch); sp.ErrorCode == 0 {
				sp.Offset = pp.high
				if rp.Timestamp == -2 {
					sp.Offset = pp.start
				}
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp, nil
}

func (c *paperConn) describe(req *kmsg.DescribeConfigsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, rr := range req.Resources {
		sr := kmsg.NewDescribeConfigsResponseResource()
		sr.ResourceType, sr.ResourceName = rr.ResourceType, rr.ResourceName
		for _, t := range c.p.topics {
			if t.name != rr.ResourceName {
				continue
			}
			for k, v := range t.configs {
				sc := kmsg.NewDescribeConfigsResponseResourceConfig()
				sc.Name, sc.Value = k, kmsg.StringPtr(v)
				sr.Configs = append(sr.Configs, sc)
			}
		}
		resp.Resources = append(resp.Resources, sr)
	}
	return resp, nil
}

// committed says whether the high watermark has passed an offset.
func (p *paper) committed(i int, offset int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topics[0].parts[i].high > offset
}
