package plans_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// gate is a data plane: producers block in it.
type gate struct {
	cluster *cluster
	proc    *process
	flight  time.Duration // how long a request is under way
	stall   atomic.Bool   // requests in flight are not answered

	mu     sync.Mutex
	routes map[offsets.Partition]*gateRoute
}

type gateRoute struct {
	route     plans.Route
	held      bool
	abandoned bool
	watched   bool
	inflight  int
	acked     int64
	changed   chan struct{} // closed and replaced at every change
}

func newGate(c *cluster, proc *process) *gate {
	return &gate{cluster: c, proc: proc, flight: 2 * time.Millisecond, routes: make(map[offsets.Partition]*gateRoute)}
}

// at is the state of a partition. Called with mu.
func (g *gate) at(p offsets.Partition) *gateRoute {
	r := g.routes[p]
	if r == nil {
		r = &gateRoute{acked: -1, changed: make(chan struct{})}
		g.routes[p] = r
	}
	return r
}

func (r *gateRoute) change() {
	close(r.changed)
	r.changed = make(chan struct{})
}

var errClosed = errors.New("connection closed")

// produce is a client's request: it returns once it is answered, or with an error
// when the connection was closed. waited is how long it was held.
func (g *gate) produce(p offsets.Partition, number int) (waited time.Duration, err error) {
	began := time.Now()
	g.mu.Lock()
	r := g.at(p)
	for {
		if g.proc.dead.Load() || r.abandoned {
			g.mu.Unlock()
			return time.Since(began), errClosed
		}
		if !r.held {
			break
		}
		changed := r.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-g.proc.killed:
		}
		g.mu.Lock()
	}
	home := r.route.Home
	r.inflight++
	g.mu.Unlock()
	waited = time.Since(began)

	select {
	case <-time.After(g.flight):
	case <-g.proc.killed: // it is under way to a broker, and arrives
		if home == offsets.Legacy {
			g.zombie(p, number)
		}
		return waited, errClosed
	}
	next, err := g.cluster.write(g.proc, home, p, number)
	for g.stall.Load() && !g.proc.dead.Load() {
		time.Sleep(time.Millisecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && r.watched {
		r.acked = max(r.acked, next)
	}
	r.inflight--
	r.change()
	return waited, err
}

func (g *gate) inflight(p offsets.Partition) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at(p).inflight
}

func (g *gate) route(p offsets.Partition) plans.Route {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at(p).route
}

func (g *gate) isHeld(p offsets.Partition) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at(p).held
}

// zombie is a request of a dead connection that arrives late.
func (g *gate) zombie(p offsets.Partition, number int) {
	g.cluster.mu.Lock()
	g.cluster.part(p).writers++
	g.cluster.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	_, _ = g.cluster.write(g.proc, offsets.Legacy, p, number)
	g.cluster.mu.Lock()
	g.cluster.part(p).writers--
	g.cluster.mu.Unlock()
}

func (g *gate) each(parts []offsets.Partition, fn func(p offsets.Partition, r *gateRoute)) {
	_ = g.proc.step(func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range parts {
			fn(p, g.at(p))
		}
		return nil
	})
}

func (g *gate) Hold(parts []offsets.Partition, _ string) {
	g.each(parts, func(_ offsets.Partition, r *gateRoute) { r.held = true; r.change() })
}

func (g *gate) Abandon(parts []offsets.Partition) {
	g.each(parts, func(_ offsets.Partition, r *gateRoute) { r.abandoned = true; r.change() })
}

func (g *gate) Apply(routes map[offsets.Partition]plans.Route) {
	parts := make([]offsets.Partition, 0, len(routes))
	for p := range routes {
		parts = append(parts, p)
	}
	g.each(parts, func(p offsets.Partition, r *gateRoute) {
		if routes[p].Epoch < r.route.Epoch {
			return
		}
		r.route = routes[p]
		r.held, r.abandoned, r.watched = false, false, false
		r.change()
	})
}

func (g *gate) Watch(ctx context.Context, parts []offsets.Partition) error {
	g.each(parts, func(_ offsets.Partition, r *gateRoute) { r.watched = true })
	return g.quiet(ctx, parts)
}

func (g *gate) Drain(ctx context.Context, parts []offsets.Partition) (map[offsets.Partition]int64, error) {
	if err := g.quiet(ctx, parts); err != nil {
		return nil, err
	}
	acked := make(map[offsets.Partition]int64)
	g.each(parts, func(p offsets.Partition, r *gateRoute) {
		if !r.watched {
			g.cluster.mu.Lock()
			g.cluster.violate("%v: drained without being watched", p)
			g.cluster.mu.Unlock()
		}
		acked[p] = r.acked
	})
	return acked, nil
}

// quiet waits until nothing is in flight at one instant per partition.
func (g *gate) quiet(ctx context.Context, parts []offsets.Partition) error {
	for _, p := range parts {
		for {
			g.mu.Lock()
			r := g.at(p)
			inflight, changed := r.inflight, r.changed
			if inflight == 0 || !r.held && r.watched && inflight <= 1 {
				// Watch only waits for what was before it; one request at a time is
				// what the producers of these tests send.
				g.mu.Unlock()
				break
			}
			g.mu.Unlock()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-g.proc.killed:
				return errDead
			case <-changed:
			}
		}
	}
	return nil
}
