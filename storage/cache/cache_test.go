package cache_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchback/storage/cache"
	"switchback/storage/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// A counting store counts reads, and holds them while it is shut.
type counting struct {
	object.Store
	gets, tails atomic.Int64
	bytes       atomic.Int64
	mu          sync.Mutex
	shut        chan struct{}
	fail        error
}

func (c *counting) before(ctx context.Context) error {
	c.mu.Lock()
	shut, err := c.shut, c.fail
	c.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (c *counting) Get(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	c.gets.Add(1)
	c.bytes.Add(n)
	if err := c.before(ctx); err != nil {
		return nil, err
	}
	return c.Store.Get(ctx, key, offset, n)
}

func (c *counting) Tail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	c.tails.Add(1)
	if err := c.before(ctx); err != nil {
		return nil, 0, err
	}
	return c.Store.Tail(ctx, key, n)
}

func (c *counting) set(shut chan struct{}, fail error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut, c.fail = shut, fail
}

const (
	key       = "data/x"
	blockSize = 300 << 10
)

var part = object.Part{Topic: [16]byte{1}}

// filled is a store with one object of count blocks, block n full of n.
func filled(t *testing.T, count int) *counting {
	t.Helper()
	dir, err := object.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := object.NewWriter(&b, [16]byte{1}, time.Now())
	w.Begin(part)
	for n := range count {
		if err := w.Append(bytes.Repeat([]byte{byte(n)}, blockSize), object.Batch{Base: int64(n), Last: int64(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Section("s", []byte("section")), w.Finish()); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Put(t.Context(), key, &b); err != nil {
		t.Fatal(err)
	}
	return &counting{Store: dir}
}

func open(t *testing.T, s object.Store, size int64) *cache.Cache {
	t.Helper()
	c, err := cache.New(s, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func blocks(t *testing.T, c *cache.Cache) []object.Block {
	t.Helper()
	x, err := c.Index(key)
	if err != nil {
		t.Fatal(err)
	}
	return x.Blocks(part)
}

func get(t *testing.T, c *cache.Cache, all []object.Block, n int, ahead int64) {
	t.Helper()
	b, err := c.Block(key, all[n:], ahead)
	if err != nil || len(b) != blockSize || b[0] != byte(n) || b[blockSize-1] != byte(n) {
		t.Fatalf("block %d: %d bytes, %v", n, len(b), err)
	}
}

// eventually waits for a condition that goroutines of the cache bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestOneReadForAll: many who want the same block, index or section at once cost
// one read, and the next ones none.
func TestOneReadForAll(t *testing.T) {
	s := filled(t, 3)
	c := open(t, s, 64<<20)
	shut := make(chan struct{})
	s.set(shut, nil)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			x, err := c.Index(key)
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := c.Block(key, x.Blocks(part)[1:], 0); err != nil || b[0] != 1 {
				t.Error(err)
			}
		})
	}
	eventually(t, "a read of the index", func() bool { return s.tails.Load() == 1 })
	close(shut)
	all.Wait()
	if s.tails.Load() != 1 || s.gets.Load() != 1 {
		t.Fatalf("%d reads of the index, %d of the block", s.tails.Load(), s.gets.Load())
	}
	get(t, c, blocks(t, c), 1, 0)
	for range 3 {
		if b, err := c.Section(key, "s"); err != nil || string(b) != "section" {
			t.Fatalf("section %q, %v", b, err)
		}
	}
	if b, err := c.Section(key, "none"); err != nil || b != nil {
		t.Fatalf("section %q, %v", b, err)
	}
	if s.tails.Load() != 1 || s.gets.Load() != 2 {
		t.Fatalf("%d reads of the index, %d of block and section", s.tails.Load(), s.gets.Load())
	}
}

// TestReadAhead: what follows is there before it is asked for, in few requests,
// and nothing is read twice.
func TestReadAhead(t *testing.T) {
	const count = 40
	s := filled(t, count)
	c := open(t, s, 64<<20)
	all := blocks(t, c)
	for n := range all {
		get(t, c, all, n, 8<<20)
	}
	if got := s.bytes.Load(); got != count*blockSize {
		t.Errorf("%d bytes were read of %d", got, count*blockSize)
	}
	if got := s.gets.Load(); got > count/5 {
		t.Errorf("%d requests for %d blocks", got, count)
	}
	// A single look reads a single block.
	s = filled(t, count)
	c = open(t, s, 64<<20)
	get(t, c, blocks(t, c), 7, 0)
	if got := s.bytes.Load(); got != blockSize {
		t.Errorf("%d bytes were read for one block", got)
	}
}

// TestAheadGivesWay: with all slots taken nothing is fetched ahead, and what is
// asked for waits for its turn only.
func TestAheadGivesWay(t *testing.T) {
	s := filled(t, 2*cache.Reads)
	c := open(t, s, 64<<20)
	all := blocks(t, c)
	shut := make(chan struct{})
	s.set(shut, nil)
	var asked sync.WaitGroup
	for n := range cache.Reads {
		asked.Go(func() { get(t, c, all, 2*n, 0) })
	}
	eventually(t, "all slots taken", func() bool { return s.gets.Load() == cache.Reads })
	c.Ahead(key, all[1:2], 1<<20)
	asked.Go(func() { get(t, c, all, 3, 0) })
	if got := s.gets.Load(); got != cache.Reads {
		t.Errorf("%d reads at a time, at most %d are allowed", got, cache.Reads)
	}
	close(shut)
	asked.Wait()
	if got := s.gets.Load(); got != cache.Reads+1 {
		t.Errorf("%d reads, want %d", got, cache.Reads+1)
	}
}

// TestErrorsAreNotKept: who waited is told, who comes later tries again.
func TestErrorsAreNotKept(t *testing.T) {
	s := filled(t, 3)
	c := open(t, s, 64<<20)
	broken := errors.New("store is down")
	s.set(nil, broken)
	if _, err := c.Index(key); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s.set(nil, nil)
	all := blocks(t, c)
	s.set(nil, broken)
	if _, err := c.Block(key, all, 1<<20); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := c.Section(key, "s"); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s.set(nil, nil)
	get(t, c, all, 0, 0)
	get(t, c, all, 1, 0)
	if _, err := c.Index("data/none"); !errors.Is(err, object.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestCloseGivesUpWhatIsUnderWay, and refuses everything afterwards.
func TestCloseGivesUpWhatIsUnderWay(t *testing.T) {
	s := filled(t, 3)
	c := open(t, s, 64<<20)
	all := blocks(t, c)
	s.set(make(chan struct{}), nil)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Block(key, all, 1<<20)
		failed <- err
	}()
	eventually(t, "a read under way", func() bool { return s.gets.Load() == 1 })
	c.Close()
	if err := <-failed; err == nil {
		t.Fatal("a block of a closed cache")
	}
	_, block := c.Block(key, all[1:], 0)
	_, index := c.Index("data/other")
	if !errors.Is(block, cache.ErrClosed) || !errors.Is(index, cache.ErrClosed) {
		t.Fatalf("after Close: %v, %v", block, index)
	}
}

// TestMemoryIsBounded: blocks beyond the budget are read again.
func TestMemoryIsBounded(t *testing.T) {
	const count = 40
	s := filled(t, count)
	c := open(t, s, 4*blockSize*4/3) // room for four
	all := blocks(t, c)
	for n := range all {
		get(t, c, all, n, 0)
	}
	before := s.gets.Load()
	for n := range all {
		get(t, c, all, n, 0)
	}
	if again := s.gets.Load() - before; again < count-8 {
		t.Errorf("%d of %d blocks were read again, with room for four", again, count)
	}
}
