package broker_test

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/storage"
	"switchback/storage/broker"
	"switchback/storage/object"
)

// A gate is a store whose reads wait as long as it is shut.
type gate struct {
	object.Store
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) Get(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	if err := g.wait(ctx); err != nil {
		return nil, err
	}
	return g.Store.Get(ctx, key, offset, n)
}

func (g *gate) Tail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := g.wait(ctx); err != nil {
		return nil, 0, err
	}
	return g.Store.Tail(ctx, key, n)
}

// close shuts the gate and returns what opens it.
func (g *gate) close() (open func()) {
	shut := make(chan struct{})
	g.mu.Lock()
	g.shut = shut
	g.mu.Unlock()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.shut = nil
		g.mu.Unlock()
		close(shut)
	})
}

// coldHouse has partition 0 of orders in objects, at offsets 0 to 4 with times
// 1000 to 1004, and partition 1 in the WAL.
func coldHouse(t *testing.T) (*house, *gate) {
	dir := t.TempDir()
	under, err := object.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Store: under}
	cfg := storage.Config{Store: g, KeepBytes: -1}
	h := openOver(t, dir, broker.Config{}, cfg)
	h.mustImport(orders)
	h.replicate(orders, 0, spec{records: 2, time: 1000})
	h.replicate(orders, 0, spec{at: 2, records: 3, time: 1002})
	if err := h.engine.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.close()
	h = openOver(t, dir, broker.Config{}, cfg)
	h.replicate(orders, 1, spec{records: 1, time: 1000})
	if h.logOf(orders, 0).Hot(0) || !h.logOf(orders, 1).Hot(0) {
		t.Fatal("the wrong partition is cold")
	}
	return h, g
}

// TestFetchFromObjects: what stands in objects is fetched and found as if it did
// not.
func TestFetchFromObjects(t *testing.T) {
	h, _ := coldHouse(t)
	for offset := range int64(5) {
		p := ask[*kmsg.FetchResponse](h, fetchFrom(12, orders, 0, offset)).Topics[0].Partitions[0]
		want := []int64{0, 2}
		if offset >= 2 {
			want = want[1:]
		}
		same(t, "batches", bases(t, p.RecordBatches), want)
		same(t, "watermark", p.HighWatermark, int64(5))
		same(t, "by time", h.list(listAt(7, orders.Name, 0, 1000+offset)), found{0, offset, 1000 + offset, 0})
	}
	same(t, "latest time", h.list(listAt(7, orders.Name, 0, -3)), found{0, 4, 1004, 0})
	same(t, "too late", h.list(listAt(7, orders.Name, 0, 2000)), found{0, -1, -1, -1})
}

// TestColdReadsHoldNobodyUp: while the object store does not answer, requests of
// the same connection behind a cold fetch and a cold search are answered.
func TestColdReadsHoldNobodyUp(t *testing.T) {
	h, g := coldHouse(t)
	open := g.close()
	defer open()
	c := broker.Caller{Connection: 7}
	waiting := fetchFrom(12, orders, 0, 0)
	waiting.MaxWaitMillis, waiting.MinBytes = 60_000, 1<<20 // they are there: it is not waited for more
	cold := []<-chan broker.Reply{
		h.start(c, fetchFrom(12, orders, 0, 0)), h.start(c, waiting), h.start(c, listAt(7, orders.Name, 0, 1003)),
	}
	hot := h.decoded(h.await(h.start(c, fetchFrom(12, orders, 1, 0)))).(*kmsg.FetchResponse)
	same(t, "hot", bases(t, hot.Topics[0].Partitions[0].RecordBatches), []int64{0})
	for _, answer := range cold {
		select {
		case r := <-answer:
			t.Fatalf("answered without the store: %+v", r)
		default:
		}
	}
	open()
	for _, answer := range cold[:2] {
		f := h.decoded(h.await(answer)).(*kmsg.FetchResponse)
		same(t, "cold", bases(t, f.Topics[0].Partitions[0].RecordBatches), []int64{0, 2})
	}
	list := h.decoded(h.await(cold[2])).(*kmsg.ListOffsetsResponse)
	same(t, "by time", list.Topics[0].Partitions[0].Offset, int64(3))
}
