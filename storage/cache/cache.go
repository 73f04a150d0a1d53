package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"switchback/storage/object"
)

// Reads is how many requests to the store are under way at most.
const Reads = 16

// Blocks that follow each other in an object come in one request up to this size.
const requestBytes = 4 << 20

// A Cache reads from one store. All methods may be called from any goroutine.
type Cache struct {
	store   object.Store
	ctx     context.Context
	cancel  context.CancelFunc
	slots   *semaphore.Weighted
	running sync.WaitGroup
	blocks  *otter.Cache[place, []byte]
	indexes *otter.Cache[string, *object.Index]

	mu       sync.Mutex
	flights  map[place]*flight
	openings map[string]*opening
	closed   bool
}

// A place is where a block begins.
type place struct {
	key string
	at  int64
}

// A flight is a block that is under way.
type flight struct {
	done chan struct{}
	b    []byte
	err  error
}

// An opening is an index that is under way.
type opening struct {
	done  chan struct{}
	index *object.Index
	err   error
}

// ErrClosed: the cache was closed.
var ErrClosed = errors.New("cache is closed")

// New opens a cache of that many bytes, a quarter of them for indexes.
func New(store object.Store, bytes int64) (*Cache, error) {
	blocks, err := otter.New(&otter.Options[place, []byte]{
		MaximumWeight: uint64(bytes / 4 * 3),
		Weigher:       func(p place, b []byte) uint32 { return uint32(len(p.key) + len(b) + 64) },
	})
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	indexes, err := otter.New(&otter.Options[string, *object.Index]{
		MaximumWeight: uint64(bytes / 4),
		Weigher:       func(key string, x *object.Index) uint32 { return uint32(len(key) + x.Memory() + 64) },
	})
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Cache{
		store: store, ctx: ctx, cancel: cancel, slots: semaphore.NewWeighted(Reads),
		blocks: blocks, indexes: indexes,
		flights: make(map[place]*flight), openings: make(map[string]*opening),
	}, nil
}

// Close gives up what is under way and waits for it.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

// Index opens an object. Errors: those of object.ReadIndex, ErrClosed.
func (c *Cache) Index(key string) (*object.Index, error) {
	if x, ok := c.indexes.GetIfPresent(key); ok {
		return x, nil
	}
	c.mu.Lock()
	o := c.openings[key]
	if o == nil {
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		o = &opening{done: make(chan struct{})}
		c.openings[key] = o
		c.running.Add(1)
		go c.open(key, o)
	}
	c.mu.Unlock()
	<-o.done
	return o.index, o.err
}

func (c *Cache) open(key string, o *opening) {
	defer c.running.Done()
	if o.err = c.acquire(); o.err == nil {
		o.index, o.err = object.ReadIndex(c.ctx, c.store, key)
		c.slots.Release(1)
	}
	if o.err == nil {
		c.indexes.Set(key, o.index)
	}
	c.mu.Lock()
	delete(c.openings, key)
	c.mu.Unlock()
	close(o.done)
}

func (c *Cache) acquire() error {
	if c.slots.Acquire(c.ctx, 1) != nil {
		return ErrClosed
	}
	return nil
}

// Block is the first of blocks, which are some of one object, in its order. Of
// the others those are fetched ahead that follow within ahead bytes; nobody waits
// for them. Errors: those of object.ReadBlocks, ErrClosed.
func (c *Cache) Block(key string, blocks []object.Block, ahead int64) ([]byte, error) {
	first := place{key, blocks[0].Pos}
	b, hit := c.blocks.GetIfPresent(first)
	c.mu.Lock()
	f := c.flights[first]
	if !hit && f == nil {
		b, hit = c.blocks.GetIfPresent(first) // it may have landed just now
	}
	if !hit && f == nil && !c.closed {
		f = c.fetch(key, blocks[:c.missing(key, blocks, ahead)], true)[0]
	}
	c.ahead(key, blocks, ahead)
	c.mu.Unlock()
	if hit {
		return b, nil
	}
	if f == nil {
		return nil, ErrClosed
	}
	<-f.done
	return f.b, f.err
}

// Ahead fetches blocks of one object that will be wanted soon, up to that many
// bytes of them.
func (c *Cache) Ahead(key string, blocks []object.Block, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead(key, blocks, bytes)
}

// ahead does nothing while half of what it is asked for is here or under way: a
// reader that goes on in steps then costs few large requests. Callers hold mu.
func (c *Cache) ahead(key string, blocks []object.Block, bytes int64) {
	least := bytes / 2
	for len(blocks) > 0 && bytes > 0 && c.missing(key, blocks[:1], bytes) == 0 {
		bytes -= int64(blocks[0].Length)
		blocks = blocks[1:]
	}
	if bytes <= least {
		return
	}
	for len(blocks) > 0 && bytes > 0 && !c.closed {
		n := c.missing(key, blocks, bytes)
		if n > 0 && c.fetch(key, blocks[:n], false) == nil {
			return // the store is busy with what somebody waits for
		}
		n = max(n, 1)
		for _, b := range blocks[:n] {
			bytes -= int64(b.Length)
		}
		blocks = blocks[n:]
	}
}

// missing is how many blocks from the first on are neither here nor under way and
// make one request of at most that many bytes, but for the first. Callers hold mu.
func (c *Cache) missing(key string, blocks []object.Block, bytes int64) int {
	size := int64(0)
	for n, b := range blocks {
		at := place{key, b.Pos}
		_, here := c.blocks.GetIfPresent(at)
		size += int64(b.Length)
		apart := n > 0 && b.Pos != blocks[n-1].Pos+int64(blocks[n-1].Length)
		if here || c.flights[at] != nil || apart || n > 0 && size > min(bytes, requestBytes) {
			return n
		}
	}
	return len(blocks)
}

// fetch begins one request. With urgent it waits for its turn, otherwise it is
// nil when there are too many. Callers hold mu.
func (c *Cache) fetch(key string, blocks []object.Block, urgent bool) []*flight {
	if !urgent && !c.slots.TryAcquire(1) {
		return nil
	}
	flights := make([]*flight, len(blocks))
	for n, b := range blocks {
		flights[n] = &flight{done: make(chan struct{})}
		c.flights[place{key, b.Pos}] = flights[n]
	}
	c.running.Add(1)
	go c.fly(key, blocks, flights, urgent)
	return flights
}

func (c *Cache) fly(key string, blocks []object.Block, flights []*flight, urgent bool) {
	defer c.running.Done()
	var err error
	if urgent {
		err = c.acquire()
	}
	var got [][]byte
	if err == nil {
		got, err = object.ReadBlocks(c.ctx, c.store, key, blocks)
		c.slots.Release(1)
	}
	for n, b := range blocks {
		at := place{key, b.Pos}
		if flights[n].err = err; err == nil {
			flights[n].b = got[n]
			c.blocks.Set(at, got[n])
		}
		c.mu.Lock()
		delete(c.flights, at)
		c.mu.Unlock()
		close(flights[n].done)
	}
}

// Section is opaque bytes of an object, nil when it has none of that name.
// Errors: those of Index.ReadSection, ErrClosed.
func (c *Cache) Section(key, name string) ([]byte, error) {
	x, err := c.Index(key)
	if err != nil {
		return nil, err
	}
	pos, _, ok := x.Section(name)
	if !ok {
		return nil, nil
	}
	at := place{key, pos}
	if b, hit := c.blocks.GetIfPresent(at); hit {
		return b, nil
	}
	if err := c.acquire(); err != nil {
		return nil, err
	}
	defer c.slots.Release(1)
	b, err := x.ReadSection(c.ctx, c.store, key, name)
	if err == nil {
		c.blocks.Set(at, b)
	}
	return b, err
}
