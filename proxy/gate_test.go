package proxy_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// noGone is for a target in which nothing waits.
type noGone struct{}

func (noGone) Gone(uint64) {}

// targetFunc is a proxy.Target.
type targetFunc func(c proxy.Caller, req kmsg.Request, done func(proxy.Reply))

func (targetFunc) Gone(uint64) {}

func (f targetFunc) Submit(c proxy.Caller, req kmsg.Request, done func(proxy.Reply)) { f(c, req, done) }

// noTarget is the target of a test in which nothing may be asked of one.
func noTarget(t *testing.T) proxy.Target {
	return targetFunc(func(_ proxy.Caller, req kmsg.Request, _ func(proxy.Reply)) {
		t.Errorf("%s went to the target", kmsg.NameForKey(req.Key()))
	})
}

// produced answers every partition of a Produce with a base offset and a code.
func produced(req kmsg.Request, base int64, code int16) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.(*kmsg.ProduceRequest).Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.BaseOffset, sp.ErrorCode = rp.Partition, base, code
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

// equalCopy is a proxy.Copy of two sides that are always equal.
type equalCopy struct{}

func (equalCopy) Confirmed(offsets.Partition) (int64, bool) { return math.MaxInt64, true }
func (equalCopy) Await(context.Context, offsets.Partition, int64) error {
	return nil
}
func (equalCopy) HomeEnd(context.Context, offsets.Partition) (int64, error) { return 0, nil }
func (equalCopy) Pace(offsets.Partition) <-chan struct{}                    { return nil }
func (equalCopy) Epochs(offsets.Partition) (offsets.Epochs, int64, bool)    { return nil, 0, false }

// gated is a stub broker whose Produce waits for the test, with a proxy in front.
type gated struct {
	t     *testing.T
	b     *stubBroker
	p     *proxy.Proxy
	node  string
	parts []offsets.Partition
	seen  atomic.Int64 // Produce that reached the broker
	gate  chan struct{}
	lost  atomic.Int32
}

func newGated(t *testing.T, target proxy.Target) *gated {
	t.Helper()
	g := &gated{t: t, b: newStubBroker(t), gate: make(chan struct{})}
	g.b.handle = func(nc net.Conn, h wire.Header, frame []byte) (answer, end bool) {
		if h.Key != 0 {
			return true, false
		}
		acks, _ := wire.ProduceAcks(h, frame)
		g.seen.Add(1)
		if _, open := <-g.gate; open { // an element: end the connection
			return false, true
		}
		if acks != 0 {
			req, err := wire.DecodeRequest(h, frame)
			if err == nil {
				_, _ = nc.Write(wire.AppendResponse(nil, h.Correlation, produced(req, 100, 0)))
			}
		}
		return false, false
	}
	g.b.start()
	t.Cleanup(g.b.stop)
	g.p, g.node = startProxy(t, g.b.ln.Addr().String(), target, equalCopy{}, func(c *proxy.Config) {
		c.OnLostUpstream = func(int32, time.Time) { g.lost.Add(1) }
	})
	for i := range int32(4) {
		g.parts = append(g.parts, offsets.Partition{Topic: g.b.id, Index: i})
	}
	return g
}

func (g *gated) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	g.t.Cleanup(cancel)
	return ctx
}

func (g *gated) reached(n int64) {
	g.t.Helper()
	eventually(g.t, "produce reaches the broker", func() bool { return g.seen.Load() >= n })
}

// short is long enough for something wrong to happen and to be seen.
const short = 100 * time.Millisecond

// within tells whether ch is closed or has something in a moment.
func within(ch <-chan error, d time.Duration) (error, bool) {
	select {
	case err := <-ch:
		return err, true
	case <-time.After(d):
		return nil, false
	}
}

func async(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

func TestWatchWaitsForProduceFromBefore(t *testing.T) {
	for _, acks := range []int16{-1, 0} {
		g := newGated(t, noTarget(t))
		c := dialRaw(t, g.node)
		c.write(produceFrame(t, 9, acks, g.b.id, nil, 0))
		g.reached(1)
		watched := async(func() error { return g.p.Watch(g.ctx(patience), g.parts[:1]) })
		if err, done := within(watched, short); done {
			t.Fatalf("acks %d: watch returned (%v) with produce in flight", acks, err)
		}
		close(g.gate)
		if err, done := within(watched, patience); !done || err != nil {
			t.Fatalf("acks %d: watch: %v", acks, err)
		}
	}
}

func TestDrainWaitsForWhatEnteredBeforeTheHold(t *testing.T) {
	for _, acks := range []int16{-1, 1, 0} {
		g := newGated(t, noTarget(t))
		if err := g.p.Watch(g.ctx(patience), g.parts[:1]); err != nil {
			t.Fatal(err)
		}
		c := dialRaw(t, g.node)
		c.write(produceFrame(t, 9, acks, g.b.id, nil, 0))
		g.reached(1)
		g.p.Hold(g.parts[:1], "x")
		var acked map[offsets.Partition]int64
		drained := async(func() (err error) {
			acked, err = g.p.Drain(g.ctx(patience), g.parts[:1])
			return err
		})
		if err, done := within(drained, short); done {
			t.Fatalf("acks %d: drained (%v) with produce in flight", acks, err)
		}
		close(g.gate)
		if err, done := within(drained, patience); !done || err != nil {
			t.Fatalf("acks %d: drain: %v", acks, err)
		}
		if want := int64(100); acks != 0 && acked[g.parts[0]] != want {
			t.Errorf("acks %d: acked %d, want %d", acks, acked[g.parts[0]], want)
		}
	}
}

func TestHeldProduceWaitsAndKeepsItsOrder(t *testing.T) {
	g := newGated(t, noTarget(t))
	close(g.gate)
	g.p.Hold(g.parts[:1], "x")
	if _, err := g.p.Drain(g.ctx(patience), g.parts[:1]); err != nil {
		t.Fatal(err)
	}
	held, other := dialRaw(t, g.node), dialRaw(t, g.node)
	held.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	held.write(produceFrame(t, 9, -1, g.b.id, nil, 1)) // not held, but behind it
	other.write(produceFrame(t, 9, -1, g.b.id, nil, 1))
	if _, err := other.next(); err != nil {
		t.Fatal(err)
	}
	if n := g.seen.Load(); n != 1 {
		t.Fatalf("%d produce requests reached the broker, want that of the other connection only", n)
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 0}})
	for i := range int32(2) {
		frame, err := held.next()
		if err != nil {
			t.Fatal(err)
		}
		_, resp, err := wire.DecodeResponse(0, 9, frame)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].Partition; got != i {
			t.Errorf("answer %d is about partition %d", i, got)
		}
	}
}

func TestOlderRouteIsIgnored(t *testing.T) {
	g := newGated(t, noTarget(t))
	close(g.gate)
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 5}})
	g.p.Hold(g.parts[:1], "x")
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 4}})
	c := dialRaw(t, g.node)
	c.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	answered := async(func() error { _, err := c.next(); return err })
	if _, done := within(answered, short); done {
		t.Fatal("an older route has released the hold")
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 5}})
	if err, done := within(answered, patience); !done || err != nil {
		t.Fatal(err)
	}
}

func TestAbandonClosesWhatIsHeldUntilApply(t *testing.T) {
	g := newGated(t, noTarget(t))
	close(g.gate)
	g.p.Hold(g.parts[:1], "x")
	held := dialRaw(t, g.node)
	held.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	eventually(t, "the request is read", func() bool {
		return slices.ContainsFunc(g.p.Clients(), func(c proxy.Client) bool { return c.Produces == 1 })
	})
	g.p.Abandon(g.parts[:1])
	late := dialRaw(t, g.node)
	late.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	for _, c := range []*rawClient{held, late} {
		if _, err := c.next(); err == nil {
			t.Error("a produce of unknown outcome was answered")
		}
	}
	if n := g.seen.Load(); n != 0 {
		t.Errorf("%d produce requests reached the broker", n)
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 1}})
	again := dialRaw(t, g.node)
	again.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	if _, err := again.next(); err != nil {
		t.Errorf("after Apply: %v", err)
	}
}

func TestLostUpstreamClosesTheClientAndIsTold(t *testing.T) {
	for _, watched := range []bool{false, true} {
		g := newGated(t, noTarget(t))
		if watched {
			if err := g.p.Watch(g.ctx(patience), g.parts[:1]); err != nil {
				t.Fatal(err)
			}
		}
		c := dialRaw(t, g.node)
		c.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
		g.reached(1)
		if watched {
			g.p.Hold(g.parts[:1], "x")
		}
		g.gate <- struct{}{} // the broker ends the connection
		if _, err := c.next(); !errors.Is(err, io.EOF) {
			t.Errorf("answer to a lost produce: %v, want the end of the connection", err)
		}
		eventually(t, "the loss is told", func() bool { return g.lost.Load() == 1 && !g.p.LostUpstream(1).IsZero() })
		if watched {
			if _, err := g.p.Drain(g.ctx(patience), g.parts[:1]); err != nil {
				t.Errorf("drain after a loss: %v", err)
			}
		}
	}
}

// A client that goes away with Produce on its way: the upstream stays until it is
// answered, so that nothing is appended unseen.
func TestClientGoneProduceIsWaitedFor(t *testing.T) {
	for _, acks := range []int16{-1, 0} {
		g := newGated(t, noTarget(t))
		c := dialRaw(t, g.node)
		c.write(produceFrame(t, 9, acks, g.b.id, nil, 0))
		g.reached(1)
		_ = c.nc.Close()
		watched := async(func() error { return g.p.Watch(g.ctx(patience), g.parts[:1]) })
		if _, done := within(watched, short); done {
			t.Fatalf("acks %d: watch returned with produce of a gone client in flight", acks)
		}
		close(g.gate)
		if err, done := within(watched, patience); !done || err != nil {
			t.Fatalf("acks %d: %v", acks, err)
		}
		if n := g.lost.Load(); n != 0 {
			t.Errorf("acks %d: %d losses were told", acks, n)
		}
	}
}

// Requests that the target, the broker and the proxy answer, on one connection.
func TestAnswersComeInTheOrderOfRequests(t *testing.T) {
	var mu sync.Mutex
	var waiting []func()
	g := newGated(t, targetFunc(func(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
		mu.Lock()
		defer mu.Unlock()
		waiting = append(waiting, func() { done(proxy.Reply{Message: produced(req, 7, 0)}) })
	}))
	close(g.gate)
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
	c := dialRaw(t, g.node)
	var frames []byte
	add := func(corr int32, req kmsg.Request, version int16) {
		req.SetVersion(version)
		frames = append(frames, wire.AppendRequest(nil, corr, nil, req)...)
	}
	produce := func(corr int32, parts ...int32) {
		frame, _, _ := wire.Split(produceFrame(t, 9, -1, g.b.id, nil, parts...))
		h, _ := wire.ParseHeader(frame)
		req, err := wire.DecodeRequest(h, frame)
		if err != nil {
			t.Fatal(err)
		}
		add(corr, req, 9)
	}
	produce(1, 0) // target
	produce(2, 1) // legacy
	add(3, kmsg.NewPtrMetadataRequest(), 5)
	produce(4, 0, 2)                            // both
	add(5, kmsg.NewPtrApiVersionsRequest(), 99) // the proxy
	produce(6, 3)
	c.write(frames)
	eventually(t, "the target was asked twice", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(waiting) == 2
	})
	answered := async(func() error { _, err := c.next(); return err })
	if _, done := within(answered, short); done {
		t.Fatal("an answer before the first is there")
	}
	mu.Lock()
	waiting[1]()
	waiting[0]()
	mu.Unlock()
	if err, _ := within(answered, patience); err != nil {
		t.Fatal(err)
	}
	for want := int32(2); want <= 6; want++ {
		frame, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := wire.PeekCorrelation(frame); got != want {
			t.Errorf("answer %d where %d was due", got, want)
		}
	}
}

// Two paths of one producer overtake each other: 45 is absorbed, bounded.
func TestOvertakenProduceIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		refusals int64
		want     int16
	}{{0, 0}, {3, 0}, {1 << 30, 45}} {
		var asked atomic.Int64
		g := newGated(t, targetFunc(func(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
			code := int16(0)
			if asked.Add(1) <= c.refusals {
				code = 45
			}
			done(proxy.Reply{Message: produced(req, 7, code)})
		}))
		close(g.gate)
		g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
		client := dialRaw(t, g.node)
		client.write(produceFrame(t, 9, -1, g.b.id, nil, 0, 1))
		frame, err := client.next()
		if err != nil {
			t.Fatal(err)
		}
		_, resp, err := wire.DecodeResponse(0, 9, frame)
		if err != nil {
			t.Fatal(err)
		}
		parts := resp.(*kmsg.ProduceResponse).Topics[0].Partitions
		if parts[0].ErrorCode != c.want || parts[1].ErrorCode != 0 {
			t.Errorf("%d refusals: codes %d and %d, want %d and 0", c.refusals, parts[0].ErrorCode, parts[1].ErrorCode, c.want)
		}
	}
}

// A resent produce that meets a hold waits in it and goes where the home is then.
func TestOvertakenProduceFollowsItsHome(t *testing.T) {
	var refused atomic.Int64
	g := newGated(t, targetFunc(func(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
		refused.Add(1)
		done(proxy.Reply{Message: produced(req, 7, 45)})
	}))
	close(g.gate)
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
	client := dialRaw(t, g.node)
	client.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	eventually(t, "the target refuses", func() bool { return refused.Load() > 0 })
	g.p.Hold(g.parts[:1], "back")
	if _, err := g.p.Drain(g.ctx(patience), g.parts[:1]); err != nil {
		t.Fatal(err)
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 2}})
	frame, err := client.next()
	if err != nil {
		t.Fatal(err)
	}
	_, resp, err := wire.DecodeResponse(0, 9, frame)
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 100 {
		t.Errorf("answer code %d offset %d, want legacy's", p.ErrorCode, p.BaseOffset)
	}
}
