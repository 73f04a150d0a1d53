package proxy_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// scriptedCopy is a proxy.Copy that says what a test wants.
type scriptedCopy struct {
	equalCopy
	epochs offsets.Epochs
	end    int64
	differ bool
	pace   chan struct{}
	asked  chan struct{} // told of each Pace, if there is room
}

func (s *scriptedCopy) Epochs(offsets.Partition) (offsets.Epochs, int64, bool) {
	return s.epochs, s.end, s.differ
}

func (s *scriptedCopy) Pace(offsets.Partition) <-chan struct{} {
	if s.pace == nil {
		return nil
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return s.pace
}

// seen is what a stub broker got of one API.
type seen struct {
	fetch  atomic.Pointer[kmsg.FetchRequest]
	epochs atomic.Pointer[kmsg.OffsetForLeaderEpochRequest]
}

func newSeen(t *testing.T, copies proxy.Copy, target proxy.Target) (*seen, *stubBroker, *proxy.Proxy, string) {
	t.Helper()
	s, b := &seen{}, newStubBroker(t)
	b.inspect = func(h wire.Header, frame []byte) {
		req, err := wire.DecodeRequest(h, append([]byte(nil), frame...))
		if err != nil {
			t.Errorf("the broker can't read a request of ours: %v", err)
			return
		}
		switch req := req.(type) {
		case *kmsg.FetchRequest:
			s.fetch.Store(req)
		case *kmsg.OffsetForLeaderEpochRequest:
			s.epochs.Store(req)
		}
	}
	b.start()
	t.Cleanup(b.stop)
	p, node := startProxy(t, b.ln.Addr().String(), target, copies, nil)
	return s, b, p, node
}

// Shown epochs of requests are put into legacy's domain; log epochs stay, and are
// blanked where the logs' epoch lists differ.
func TestEpochsOfRequests(t *testing.T) {
	copies := &scriptedCopy{epochs: offsets.Epochs{{Epoch: 3, Start: 0}, {Epoch: 5, Start: 40}}, end: 60}
	s, b, p, node := newSeen(t, copies, noTarget(t))
	at := func(i int32) offsets.Partition { return offsets.Partition{Topic: b.id, Index: i} }
	p.Apply(map[offsets.Partition]proxy.Route{
		at(0): {Home: offsets.Legacy, Epoch: 1, Shown: offsets.Shown{Shift: 4, Relocated: offsets.NotRelocated}},
		at(1): {Home: offsets.Target, Epoch: 1},
	})
	c := dialRaw(t, node)
	fetch := func() *kmsg.FetchRequest {
		req := kmsg.NewPtrFetchRequest()
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic, ft.TopicID = "orders", b.id
		for i := range int32(3) {
			fp := kmsg.NewFetchRequestTopicPartition()
			fp.Partition, fp.CurrentLeaderEpoch, fp.LastFetchedEpoch = i, 6, 2
			ft.Partitions = append(ft.Partitions, fp)
		}
		req.Topics = append(req.Topics, ft)
		c.ask(req, 12)
		return s.fetch.Load()
	}
	want := func(got *kmsg.FetchRequest, current, last [3]int32) {
		t.Helper()
		for i, p := range got.Topics[0].Partitions {
			if p.CurrentLeaderEpoch != current[i] || p.LastFetchedEpoch != last[i] {
				t.Errorf("partition %d: current %d, last fetched %d, want %d and %d", i, p.CurrentLeaderEpoch, p.LastFetchedEpoch, current[i], last[i])
			}
		}
	}
	want(fetch(), [3]int32{2, 6, 6}, [3]int32{2, 2, 2})
	copies.differ = true
	want(fetch(), [3]int32{2, 6, 6}, [3]int32{2, -1, 2})
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	et := kmsg.NewOffsetForLeaderEpochRequestTopic()
	et.Topic = "orders"
	for i := range int32(2) {
		ep := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		ep.Partition, ep.CurrentLeaderEpoch, ep.LeaderEpoch = i, 6, 3
		et.Partitions = append(et.Partitions, ep)
	}
	epochs.Topics = append(epochs.Topics, et)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	resp.Version = 3
	rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
	rt.Topic = "orders"
	for i := range int32(2) {
		rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		rp.Partition, rp.LeaderEpoch, rp.EndOffset = i, 3, 1000
		rt.Partitions = append(rt.Partitions, rp)
	}
	resp.Topics = append(resp.Topics, rt)
	b.setCanned(23, wire.AppendResponse(nil, 0, resp))
	got := c.ask(epochs, 3).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions
	if e := s.epochs.Load().Topics[0].Partitions[0].CurrentLeaderEpoch; e != 2 {
		t.Errorf("current leader epoch %d reached legacy, want 2", e)
	}
	if got[0].EndOffset != 1000 {
		t.Errorf("home legacy: end %d, want legacy's own answer", got[0].EndOffset)
	}
	if got[1].LeaderEpoch != 3 || got[1].EndOffset != 40 {
		t.Errorf("lists differ: epoch %d ends at %d, want 3 and 40 from the home's list", got[1].LeaderEpoch, got[1].EndOffset)
	}
}

// A produce to a partition whose replay is behind is not appended before its
// time, is not in flight meanwhile, and meets a hold that has begun since.
func TestPacedProduce(t *testing.T) {
	copies := &scriptedCopy{pace: make(chan struct{}), asked: make(chan struct{}, 1)}
	target := &countingTarget{}
	_, b, p, node := newSeen(t, copies, target)
	part := offsets.Partition{Topic: b.id}
	home := proxy.Route{Home: offsets.Target, Epoch: 1}
	p.Apply(map[offsets.Partition]proxy.Route{part: home})
	c := dialRaw(t, node)
	c.write(produceFrame(t, 9, -1, b.id, nil, 0))
	answered := async(func() error { _, err := c.next(); return err })
	select {
	case <-copies.asked:
	case <-time.After(patience):
		t.Fatal("nobody asked for the pace")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.Hold([]offsets.Partition{part}, "x")
	if _, err := p.Drain(ctx, []offsets.Partition{part}); err != nil {
		t.Errorf("drain waits for a produce that only waits itself: %v", err)
	}
	close(copies.pace)
	if _, done := within(answered, short); done || target.asked.Load() != 0 {
		t.Fatal("appended in spite of the hold")
	}
	p.Apply(map[offsets.Partition]proxy.Route{part: home})
	if err, done := within(answered, patience); !done || err != nil {
		t.Fatal(err)
	}
	if n := target.asked.Load(); n != 1 {
		t.Errorf("the target was asked %d times, want once", n)
	}
}

// fetchWaits notes the wait of fetches.
type fetchWaits struct {
	noGone
	last atomic.Int32
}

func (f *fetchWaits) Submit(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
	f.last.Store(req.(*kmsg.FetchRequest).MaxWaitMillis)
	done(proxy.Reply{Message: req.ResponseKind()})
}

// longPolls is a target without data: a fetch waits until its client is gone.
type longPolls struct {
	mu      sync.Mutex
	waiting map[uint64][]func()
}

func (l *longPolls) Submit(c proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[c.Connection] = append(l.waiting[c.Connection], func() { done(proxy.Reply{Message: req.ResponseKind()}) })
}

func (l *longPolls) Gone(connection uint64) {
	l.mu.Lock()
	all := l.waiting[connection]
	delete(l.waiting, connection)
	l.mu.Unlock()
	for _, answer := range all {
		answer()
	}
}

func (l *longPolls) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// A client that goes away in a long poll leaves nothing waiting at the target, and
// nobody else's wait ends with it.
func TestTheTargetHearsWhoIsGone(t *testing.T) {
	target := &longPolls{waiting: make(map[uint64][]func())}
	b := newStubBroker(t)
	b.start()
	t.Cleanup(b.stop)
	p, _ := startProxy(t, b.ln.Addr().String(), target, equalCopy{}, nil)
	p.Apply(map[offsets.Partition]proxy.Route{{Topic: b.id}: {Home: offsets.Target, Epoch: 1}})
	req := fetchOrders(b, 0, math.MaxInt32)
	req.SetVersion(16)
	poll := wire.AppendRequest(nil, 1, kmsg.StringPtr("reader"), req)
	first, second := dialRaw(t, p.Addr()), dialRaw(t, p.Addr())
	first.write(poll)
	second.write(poll)
	eventually(t, "both wait at the target", func() bool { return target.connections() == 2 })
	_ = first.nc.Close()
	eventually(t, "one has gone", func() bool { return target.connections() == 1 })
	_ = second.nc.Close()
	eventually(t, "nobody waits", func() bool { return target.connections() == 0 })
}

// fetchOrders asks for a partition of the stub's topic.
func fetchOrders(b *stubBroker, index, maxWaitMillis int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = maxWaitMillis
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID = "orders", b.id
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.Partition, fp.FetchOffset = index, math.MaxInt32
	ft.Partitions = append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	return req
}

// After a relocation long polls on the target's node are short for a while, and
// partitions that the target has never been shown for are refused at once.
func TestFetchOnTheTargetsNode(t *testing.T) {
	target := &fetchWaits{}
	b := newStubBroker(t)
	b.start()
	t.Cleanup(b.stop)
	p, _ := startProxy(t, b.ln.Addr().String(), target, equalCopy{}, func(c *proxy.Config) { c.ShortPoll = 300 * time.Millisecond })
	part := offsets.Partition{Topic: b.id}
	p.Apply(map[offsets.Partition]proxy.Route{part: {Home: offsets.Target, Epoch: 1}})
	c := dialRaw(t, p.Addr())
	fetch := func(index int32) *kmsg.FetchResponse {
		return c.ask(fetchOrders(b, index, 500), 16).(*kmsg.FetchResponse)
	}
	fetch(0)
	if got := target.last.Load(); got != 500 {
		t.Errorf("wait %d ms before any relocation", got)
	}
	p.Apply(map[offsets.Partition]proxy.Route{part: {Home: offsets.Target, Epoch: 2, Shown: offsets.Shown{}.Relocate(0)}})
	fetch(0)
	if got := target.last.Load(); got != 40 {
		t.Errorf("wait %d ms right after a relocation, want 40", got)
	}
	eventually(t, "long polls are long again", func() bool { fetch(0); return target.last.Load() == 500 })
	refused := fetch(1)
	got := refused.Topics[0].Partitions[0]
	if got.ErrorCode != 6 || got.CurrentLeader.LeaderID != 1 || len(refused.Brokers) != 1 {
		t.Errorf("partition that is not the target's: %+v with endpoints %+v, want 6 and the way to node 1", got, refused.Brokers)
	}
}
