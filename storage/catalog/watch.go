package catalog

import (
	"context"
	"strings"
	"sync"
)

// watchers hands wake-ups to those who asked for a prefix. The zero value is ready.
type watchers struct {
	mu     sync.Mutex
	all    map[*watcher]struct{}
	closed bool
}

type watcher struct {
	prefix string
	ch     chan struct{}
	stop   func() bool // takes the context's callback back
}

func (w *watchers) add(ctx context.Context, prefix string) (<-chan struct{}, error) {
	one := &watcher{prefix: prefix, ch: make(chan struct{}, 1)}
	one.ch <- struct{}{}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if w.all == nil {
		w.all = make(map[*watcher]struct{})
	}
	w.all[one] = struct{}{}
	one.stop = context.AfterFunc(ctx, func() { w.drop(one) })
	return one.ch, nil
}

func (w *watchers) drop(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.all[one]; ok {
		delete(w.all, one)
		close(one.ch)
	}
}

func (w *watchers) wake(ops []Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		for _, op := range ops {
			if !strings.HasPrefix(op.Key, one.prefix) {
				continue
			}
			select {
			case one.ch <- struct{}{}:
			default: // a wake-up is waiting already
			}
			break
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for one := range w.all {
		one.stop()
		delete(w.all, one)
		close(one.ch)
	}
}
