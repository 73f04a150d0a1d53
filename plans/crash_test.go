package plans_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"switchback/offsets"
	"switchback/plans"
	"switchback/storage/catalog"
)

// story is what an operator does in the crash tests: everything once.
func story(ctx context.Context, r *plans.Runner) error {
	topics := []string{"orders"}
	if _, err := r.Flip(ctx, topics, plans.Options{}, nil); err != nil {
		return err
	}
	if _, err := r.Relocate(ctx, topics, nil); err != nil {
		return err
	}
	_, err := r.Rollback(ctx, topics, plans.Options{}, nil)
	return err
}

// settled demands that what a crash left behind works: records are at rest,
// produce flows, and a topic can be moved to the other side and back.
func (s *system) settled(p *process) error {
	if err := s.mustFlow(200 * time.Millisecond); err != nil {
		return err
	}
	home := offsets.Legacy
	for _, r := range s.records() {
		if r.Move != nil {
			return fmt.Errorf("unit %s is left in phase %s", r.Unit, r.Phase())
		}
		home = r.Home
	}
	moves := []func() error{
		func() error { return second(p.runner.Flip(s.t.Context(), []string{"orders"}, plans.Options{}, nil)) },
		func() error {
			return second(p.runner.Rollback(s.t.Context(), []string{"orders"}, plans.Options{}, nil))
		},
	}
	if home == offsets.Target {
		moves[0], moves[1] = moves[1], moves[0]
	}
	for _, move := range moves {
		if err := move(); err != nil {
			return err
		}
	}
	return s.mustFlow(50 * time.Millisecond)
}

// crashAt tells the story, kills the process at step n, starts another one, and
// judges. It says whether the process lived long enough to be killed.
func crashAt(t *testing.T, n int64, after bool) (killed bool, err error) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, map[string]int32{"orders": 2})
		p := s.process()
		p.killAt, p.after = n, after
		s.boot(p)
		s.produceAll()
		time.Sleep(20 * time.Millisecond)
		_ = story(t.Context(), p.runner)
		killed = p.dead.Load()
		s.bury(p)
		time.Sleep(50 * time.Millisecond)

		next := s.process()
		s.boot(next)
		err = errors.Join(s.settled(next), s.finish())
		s.bury(next)
	})
	return killed, err
}

// TestKilledAtEveryStep kills the server before and after each of its calls of
// the catalog, the clusters and the data plane, one after the other, until the
// whole story passes without being killed.
func TestKilledAtEveryStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		n := int64(1)
		for ; ; n++ {
			killed, err := crashAt(t, n, after)
			if err != nil {
				t.Fatalf("killed at step %d (after its effect: %v): %v", n, after, err)
			}
			if !killed {
				break
			}
		}
		if n < 30 {
			t.Fatalf("the whole story takes %d steps: what was tested?", n)
		}
		t.Logf("%d steps", n-1)
	}
}

// TestKilledAtEveryFailpoint does the same at the named states.
func TestKilledAtEveryFailpoint(t *testing.T) {
	for _, name := range plans.Failpoints() {
		reached := false
		synctest.Test(t, func(t *testing.T) {
			s := newSystem(t, map[string]int32{"orders": 2})
			p := s.process()
			plans.Failpoint = func(at string) {
				if at == name && !p.dead.Load() {
					reached = true
					p.kill()
				}
			}
			defer func() { plans.Failpoint = nil }()
			s.boot(p)
			s.produceAll()
			if name == "flip.expired" || name == "rollback.expired" {
				p.gate.stall.Store(false)
				s.cluster.set("orders", func(st *part) { st.hwBehind = 1 })
			}
			time.Sleep(20 * time.Millisecond)
			if name == "rollback.expired" {
				s.cluster.set("orders", func(st *part) { st.hwBehind = 0 })
				_, _ = p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
				s.cluster.set("orders", func(st *part) { st.hwBehind = 1 })
				_, _ = p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil)
			}
			_ = story(t.Context(), p.runner)
			if name == plans.AtTookBack {
				_, _ = p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
				_, _ = p.runner.Relocate(t.Context(), []string{"orders"}, nil)
				_, _ = p.runner.TakeBack(t.Context(), []string{"orders"}, nil)
			}
			s.bury(p)
			plans.Failpoint = nil
			s.cluster.set("orders", func(st *part) { st.hwBehind = 0 })
			time.Sleep(50 * time.Millisecond)
			next := s.process()
			s.boot(next)
			if err := errors.Join(s.settled(next), s.finish()); err != nil {
				t.Errorf("killed at %s: %v", name, err)
			}
			s.bury(next)
		})
		if !reached {
			t.Errorf("failpoint %s was never reached", name)
		}
	}
}

// TestEveryWriteEndsUnknown lets the n-th write end unknown, for every n, with
// its effect and without. Nothing may be lost, and the story must succeed.
func TestEveryWriteEndsUnknown(t *testing.T) {
	for _, v := range []verdictOf{lostBefore, lostAfter} {
		for n := 1; ; n++ {
			writes := 0
			synctest.Test(t, func(t *testing.T) {
				s := newSystem(t, map[string]int32{"orders": 2})
				p := s.process()
				p.cat.fault = func([]catalog.Op) verdictOf {
					s.mu.Lock()
					defer s.mu.Unlock()
					if writes++; writes == n {
						return v
					}
					return fine
				}
				s.boot(p)
				s.produceAll()
				time.Sleep(20 * time.Millisecond)
				if err := story(t.Context(), p.runner); err != nil {
					t.Errorf("write %d ended unknown (%d): %v", n, v, err)
				}
				if err := errors.Join(s.settled(p), s.finish()); err != nil {
					t.Errorf("write %d ended unknown (%d): %v", n, v, err)
				}
				s.bury(p)
			})
			if t.Failed() || writes < n {
				break
			}
		}
	}
}

// TestAnyFaults mixes everything: writes that end unknown with some probability,
// failing acts, several kills, stalled requests.
func TestAnyFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kills := rapid.SliceOfN(rapid.Int64Range(1, 120), 0, 3).Draw(rt, "kills")
		unknown := rapid.SliceOfN(rapid.SampledFrom([]verdictOf{fine, fine, fine, lostBefore, lostAfter}), 1, 40).Draw(rt, "writes")
		unknown = append(unknown, fine)
		failing := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(rt, "failing acts")
		after := rapid.Bool().Draw(rt, "after the effect")
		synctest.Test(t, func(t *testing.T) {
			s := newSystem(t, map[string]int32{"orders": 2})
			s.cluster.lenient = true // acts fail at start too
			s.cluster.set("orders", func(st *part) { st.perCopy = 2 })
			started := false
			for _, n := range append(kills, 0) {
				p := s.process()
				p.killAt, p.after = n, after
				writes, calls := 0, 0
				p.cat.fault = func([]catalog.Op) verdictOf {
					s.mu.Lock()
					defer s.mu.Unlock()
					writes++
					return unknown[writes%len(unknown)]
				}
				p.world.intercept(func(_ context.Context, method string) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					if calls++; failing[calls%len(failing)] && calls < 100 && method != "Resolve" {
						return errors.New("planted: " + method)
					}
					return nil
				})
				s.boot(p)
				if !started {
					started = true
					s.produceAll()
				}
				time.Sleep(20 * time.Millisecond)
				_ = story(t.Context(), p.runner)
				if n != 0 {
					s.bury(p)
					time.Sleep(50 * time.Millisecond)
					continue
				}
				s.mu.Lock()
				unknown, failing = []verdictOf{fine}, []bool{false}
				s.mu.Unlock()
				s.cluster.set("orders", func(st *part) { st.perCopy = 0 })
				time.Sleep(5 * time.Second) // Tend finishes what acts that failed left
				if err := errors.Join(s.settled(p), s.finish()); err != nil {
					rt.Errorf("%v", err)
				}
				s.bury(p)
			}
		})
	})
}
