package plans_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"switchback/storage/catalog"
)

// memory is a catalog in memory: what survives a crash of a process. Processes
// reach it through a door.
type memory struct {
	mu       sync.Mutex
	rev      int64
	kvs      map[string]catalog.KV
	watchers map[*watcher]bool
	writes   int
}

type watcher struct {
	prefix string
	ch     chan struct{}
}

func newMemory() *memory {
	return &memory{kvs: make(map[string]catalog.KV), watchers: make(map[*watcher]bool)}
}

func (m *memory) Get(_ context.Context, key string) (catalog.KV, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kv, ok := m.kvs[key]; ok {
		return kv, nil
	}
	return catalog.KV{Key: key}, nil
}

func (m *memory) List(_ context.Context, prefix string) ([]catalog.KV, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kvs []catalog.KV
	for key, kv := range m.kvs {
		if strings.HasPrefix(key, prefix) {
			kvs = append(kvs, kv)
		}
	}
	sort.Slice(kvs, func(i, j int) bool { return kvs[i].Key < kvs[j].Key })
	return kvs, nil
}

func (m *memory) Txn(_ context.Context, cmps []catalog.Compare, ops []catalog.Op) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cmps {
		if have := m.kvs[c.Key].Rev; have != c.Rev {
			return 0, fmt.Errorf("%s is at %d, want %d: %w", c.Key, have, c.Rev, catalog.ErrConflict)
		}
	}
	m.rev++
	m.writes++
	for _, op := range ops {
		if op.Delete {
			delete(m.kvs, op.Key)
		} else {
			m.kvs[op.Key] = catalog.KV{Key: op.Key, Value: op.Value, Rev: m.rev}
		}
		for w := range m.watchers {
			if strings.HasPrefix(op.Key, w.prefix) {
				select {
				case w.ch <- struct{}{}:
				default:
				}
			}
		}
	}
	return m.rev, nil
}

func (m *memory) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	w := &watcher{prefix, make(chan struct{}, 1)}
	w.ch <- struct{}{}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[w] = true
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, w)
		close(w.ch)
	})
	return w.ch, nil
}

func (m *memory) Close() error { return nil }

// errDead is what everything answers to a process that was killed.
var errDead = errors.New("this process is dead")

// A door is how one process reaches the catalog: faults happen here.
type door struct {
	catalog.Catalog
	proc *process
	// fault decides about a write, before it happens: refuse makes it fail without
	// an effect, unknown makes it end unknown, with the effect or without.
	fault func(ops []catalog.Op) verdictOf
	// away makes the catalog unreachable; calls end with their context.
	away atomic.Bool
	disk time.Duration // what a write takes
}

type verdictOf int

const (
	fine verdictOf = iota
	lostBefore
	lostAfter
)

func (d *door) pass(ctx context.Context) error {
	if d.proc.dead.Load() {
		return errDead
	}
	if d.away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (d *door) Get(ctx context.Context, key string) (kv catalog.KV, err error) {
	if err := d.pass(ctx); err != nil {
		return kv, err
	}
	return d.Catalog.Get(ctx, key)
}

func (d *door) List(ctx context.Context, prefix string) ([]catalog.KV, error) {
	if err := d.pass(ctx); err != nil {
		return nil, err
	}
	return d.Catalog.List(ctx, prefix)
}

func (d *door) Txn(ctx context.Context, cmps []catalog.Compare, ops []catalog.Op) (rev int64, err error) {
	if err := d.pass(ctx); err != nil {
		return 0, err
	}
	time.Sleep(d.disk)
	v := fine
	if d.fault != nil {
		v = d.fault(ops)
	}
	if v == lostBefore {
		return 0, catalog.ErrUnknown
	}
	err = d.proc.step(func() error {
		rev, err = d.Catalog.Txn(ctx, cmps, ops)
		return err
	})
	if v == lostAfter && err == nil {
		return 0, catalog.ErrUnknown
	}
	return rev, err
}

func (d *door) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	if err := d.pass(ctx); err != nil {
		return nil, err
	}
	return d.Catalog.Watch(ctx, prefix)
}
