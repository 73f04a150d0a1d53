package broker

import (
	"context"
	"fmt"
	"sync"
)

// polls is what runs beside Submit: the waiting fetches, and the few requests
// that have to wait for the disk. Each is one goroutine.
type polls struct {
	idle chan struct{} // closed when closed and nothing runs any more

	mu      sync.Mutex
	max     int
	closed  bool                          // guarded by mu
	running map[*poll]struct{}            // guarded by mu
	by      map[uint64]map[*poll]struct{} // guarded by mu; by connection, waiting ones only
}

// A poll is one of them. end is closed when it should stop to wait.
type poll struct {
	connection uint64
	ended      bool // guarded by polls.mu
	end        chan struct{}
}

func (p *polls) init(max int) {
	p.idle = make(chan struct{})
	p.max = max
	p.running = map[*poll]struct{}{}
	p.by = map[uint64]map[*poll]struct{}{}
}

// run starts f on a goroutine of its own and says whether it did: not after
// close, and not when too many run already. f returns soon after end is closed.
func (p *polls) run(connection uint64, f func(end <-chan struct{})) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.running) >= p.max {
		return false
	}
	w := &poll{connection: connection, end: make(chan struct{})}
	p.running[w] = struct{}{}
	if p.by[connection] == nil {
		p.by[connection] = map[*poll]struct{}{}
	}
	p.by[connection][w] = struct{}{}
	go func() {
		defer p.gone(w)
		f(w.end)
	}()
	return true
}

func (p *polls) gone(w *poll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, w)
	delete(p.by[w.connection], w)
	if len(p.by[w.connection]) == 0 {
		delete(p.by, w.connection)
	}
	if p.closed && len(p.running) == 0 {
		close(p.idle)
	}
}

// forget ends the waits of one connection.
func (p *polls) forget(connection uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	endAll(p.by[connection])
}

func endAll(waiting map[*poll]struct{}) {
	for w := range waiting {
		if !w.ended {
			w.ended = true
			close(w.end)
		}
	}
}

// close ends every wait, refuses new ones, and returns when all goroutines have
// ended or ctx has. It may be called again.
func (p *polls) close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		endAll(p.running)
		if len(p.running) == 0 {
			close(p.idle)
		}
	}
	left := len(p.running)
	p.mu.Unlock()
	select {
	case <-p.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close broker, %d requests were waiting: %w", left, ctx.Err())
	}
}
