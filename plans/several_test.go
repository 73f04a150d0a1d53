package plans_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// TestTwoRunners: two controllers on one catalog and one pair of clusters. At most
// one of them moves a unit at a time, and a topic is never in two moves.
func TestTwoRunners(t *testing.T) {
	run(t, map[string]int32{"a": 1, "b": 1}, func(t *testing.T, s *system, p *process) {
		other := plans.NewRunner(p.cat, p.world, s.cfg)
		for range 5 {
			var wg sync.WaitGroup
			var mu sync.Mutex
			done := 0
			for i, r := range []*plans.Runner{p.runner, other, p.runner, other} {
				topics := []string{"a"}
				if i >= 2 {
					topics = []string{"b", "a"}
				}
				wg.Go(func() {
					_, err := r.Flip(t.Context(), topics, plans.Options{}, nil)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						done++
					} else if !errors.Is(err, plans.ErrBusy) && !errors.Is(err, plans.ErrMoved) {
						t.Errorf("flip %v: %v", topics, err)
					}
				})
			}
			wg.Wait()
			if done != 1 {
				t.Errorf("%d flips of the same topic succeeded", done)
			}
			for _, r := range s.records() {
				if r.Home == offsets.Target {
					if _, err := other.Rollback(t.Context(), r.Topics(), plans.Options{}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

// TestStalledRunnerIsFenced: a runner stops between COMMIT and the opening of the
// target. Another one finishes, and rolls back. When the first one wakes up its
// order to open comes to nothing.
func TestStalledRunnerIsFenced(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		stalledWorld := &world{cluster: s.cluster, proc: p}
		wakeUp, asleep := make(chan struct{}), make(chan struct{})
		var once sync.Once
		stalledWorld.intercept(func(_ context.Context, method string) error {
			if method == "OpenTarget" {
				once.Do(func() { close(asleep) })
				<-wakeUp
			}
			return nil
		})
		stalled := plans.NewRunner(p.cat, stalledWorld, s.cfg)
		done := make(chan error)
		go func() {
			_, err := stalled.Flip(context.WithoutCancel(t.Context()), []string{"orders"}, plans.Options{}, nil)
			done <- err
		}()
		<-asleep
		time.Sleep(time.Second) // Tend of the other runner finishes the move
		if _, err := p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Fatal(err)
		}
		close(wakeUp)
		if err := <-done; !errors.Is(err, plans.ErrBusy) {
			t.Errorf("the stalled runner says %v", err)
		}
		if st := s.cluster.part(offsets.Partition{Topic: topicID("orders")}); st.leading {
			t.Error("the stalled runner opened the target")
		}
		if err := s.mustFlow(50 * time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

// TestEveryInstanceMustHold: a second data plane with produce in flight delays
// the COMMIT, and no produce of it is forwarded to the old home afterwards.
func TestEveryInstanceMustHold(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		other := newGate(s.cluster, p)
		agent := plans.NewAgent(p.cat, other, "second", s.cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- agent.Run(ctx) }()
		time.Sleep(10 * time.Millisecond)

		part := offsets.Partition{Topic: topicID("orders")}
		other.mu.Lock()
		other.at(part).inflight++ // as if it had one under way
		other.mu.Unlock()
		_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if !errors.Is(err, plans.ErrGivenUp) {
			t.Errorf("flip with produce in flight: %v", err)
		}
		other.mu.Lock()
		other.at(part).inflight--
		other.at(part).change()
		other.mu.Unlock()
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Error(err)
		}
		if r := other.route(part); r.Home != offsets.Target {
			t.Errorf("the second instance has %+v", r)
		}

		// An instance that is gone is not forgotten: nobody has proven that it is dead.
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil); !errors.Is(err, plans.ErrGivenUp) {
			t.Errorf("rollback without the second instance: %v", err)
		}
		// Its next incarnation takes its place.
		again := plans.NewAgent(p.cat, newGate(s.cluster, p), "second", s.cfg)
		ctx, cancel = context.WithCancel(t.Context())
		go func() { ended <- again.Run(ctx) }()
		if _, err := p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// edge is a data plane in a process of its own.
func (s *system) edge(t *testing.T) (p *process, start func()) {
	p = &process{killed: make(chan struct{})}
	p.cat = &door{Catalog: s.cat, proc: p, disk: time.Millisecond}
	p.gate = newGate(s.cluster, p)
	p.agent = plans.NewAgent(p.cat, p.gate, "edge", s.cfg)
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel = cancel
	return p, func() {
		if err := p.agent.Restore(ctx); err != nil {
			t.Error(err)
		}
		p.tasks.Go(func() { _ = p.agent.Run(ctx) })
	}
}

func (p *process) end() {
	p.kill()
	p.cancel()
	p.tasks.Wait()
}

// TestInstanceRestartsInTheHold: its new incarnation takes up the hold, and what
// the old one acknowledged counts for nothing, even when the runner has seen it.
func TestInstanceRestartsInTheHold(t *testing.T) {
	t.Run("while the ends are read", func(t *testing.T) {
		restartInTheHold(t, func(p *process, held func() bool, restart func()) {
			p.world.intercept(func(_ context.Context, method string) error {
				if method == "Ends" && held() {
					time.Sleep(5 * time.Millisecond) // the first incarnation acknowledges
					restart()
				}
				return nil
			})
		})
	})
	t.Run("after its acknowledgement was seen", func(t *testing.T) {
		restartInTheHold(t, func(_ *process, _ func() bool, restart func()) {
			plans.Failpoint = func(at string) {
				if at == "rollback."+plans.AtHeld {
					restart()
				}
			}
		})
	})
}

// restartInTheHold gives plant the means to restart an instance, once, on the
// runner's goroutine.
func restartInTheHold(t *testing.T, plant func(p *process, held func() bool, restart func())) {
	defer func() { plans.Failpoint = nil }()
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Fatal(err)
		}
		part := offsets.Partition{Topic: topicID("orders")}
		first, start := s.edge(t)
		start()
		second, startSecond := s.edge(t)
		defer second.end()
		second.gate.mu.Lock()
		second.gate.at(part).inflight++ // it will not drain for a while
		second.gate.mu.Unlock()
		var once sync.Once
		var restarted atomic.Bool
		plant(p, func() bool { return first.gate.isHeld(part) }, func() {
			once.Do(func() {
				first.end()
				startSecond()
				if held, r := second.gate.isHeld(part), second.gate.route(part); !held || r.Home != offsets.Target {
					t.Errorf("restored into a hold: held %v, %+v", held, r)
				}
				restarted.Store(true)
			})
		})
		done := make(chan error)
		go func() {
			_, err := p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil)
			done <- err
		}()
		time.Sleep(250 * time.Millisecond)
		if r := s.records()[0]; r.Home != offsets.Target || r.Phase() != plans.Holding {
			t.Errorf("committed on the word of a dead incarnation: home %s, phase %s", r.Home, r.Phase())
		}
		if !restarted.Load() {
			t.Error("nothing restarted")
		}
		second.gate.mu.Lock()
		second.gate.at(part).inflight--
		second.gate.at(part).change()
		second.gate.mu.Unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r := second.gate.route(part); r.Home != offsets.Legacy {
			t.Errorf("the second incarnation has %+v", r)
		}
	})
}

func TestSupersededAgentEnds(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		first := plans.NewAgent(p.cat, newGate(s.cluster, p), "x", s.cfg)
		ended := make(chan error, 1)
		go func() { ended <- first.Run(t.Context()) }()
		time.Sleep(10 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		second := plans.NewAgent(p.cat, newGate(s.cluster, p), "x", s.cfg)
		secondEnded := make(chan error, 1)
		go func() { secondEnded <- second.Run(ctx) }()
		time.Sleep(10 * time.Millisecond)
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, plans.ErrSuperseded) {
				t.Errorf("the first incarnation ended with %v", err)
			}
		case <-time.After(time.Second):
			t.Error("the first incarnation goes on")
		}
		cancel()
		if err := <-secondEnded; err != nil {
			t.Error(err)
		}
	})
}

// TestRelocatesByItself: a moved topic whose copy stops is relocated after a
// while, at once when a data plane has met it, and not at all when it is well.
func TestRelocatesByItself(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		orders := offsets.Partition{Topic: topicID("orders")}
		relocated := func() bool { return s.records()[0].Relocated }
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Fatal(err)
		}
		p.runner.CopyStopped(orders)
		time.Sleep(5 * time.Second)
		if relocated() {
			t.Fatal("relocated though the copy is well")
		}
		s.cluster.set("orders", func(st *part) { st.stuck = plans.Unreachable })
		time.Sleep(time.Second)
		if relocated() {
			t.Error("relocated after a second")
		}
		time.Sleep(2 * time.Second)
		if !relocated() {
			t.Error("not relocated though the copy has stopped")
		}
		if last := s.records()[0].Last; last.Reason == "" {
			t.Errorf("outcome %+v does not say why", last)
		}
		if _, err := p.runner.TakeBack(t.Context(), []string{"orders"}, nil); !errors.Is(err, plans.ErrLegacyAway) {
			t.Errorf("took back to a cluster that is away: %v", err)
		}
		s.cluster.set("orders", func(st *part) { st.stuck = "" })
		if _, err := p.runner.TakeBack(t.Context(), []string{"orders"}, nil); err != nil {
			t.Error(err)
		}
		s.cluster.set("orders", func(st *part) { st.stuck = plans.Stopped })
		p.runner.CopyStopped(orders)
		time.Sleep(50 * time.Millisecond)
		if !relocated() {
			t.Error("a data plane met a stopped copy, and nothing happened at once")
		}
		s.cluster.set("orders", func(st *part) { st.stuck = "" })
		if err := s.settled(p); err != nil {
			t.Error(err)
		}
	})
}

// TestStaleMoveIsUndone: a runner's move stands still because the runner is gone,
// but the server lives.
func TestStaleMoveIsUndone(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		gone := &process{killed: make(chan struct{})}
		gone.cat = &door{Catalog: s.cat, proc: gone, disk: time.Millisecond}
		gone.world = &world{cluster: s.cluster, proc: gone}
		gone.world.intercept(func(_ context.Context, method string) error {
			if method == "Claim" {
				gone.kill()
			}
			return nil
		})
		_, err := plans.NewRunner(gone.cat, gone.world, s.cfg).Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if err == nil || s.records()[0].Phase() != plans.Watching {
			t.Fatalf("phase %q, %v", s.records()[0].Phase(), err)
		}
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); !errors.Is(err, plans.ErrBusy) {
			t.Errorf("flip over a move that stands: %v", err)
		}
		time.Sleep(3 * time.Minute)
		if err := s.settled(p); err != nil {
			t.Error(err)
		}
	})
}
