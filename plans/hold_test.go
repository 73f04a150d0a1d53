package plans_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// A hindrance keeps a flip from being sealed until it is removed.
type hindrance struct {
	name   string
	plant  func(s *system, p *process)
	remove func(s *system, p *process)
	want   string
}

var hindrances = []hindrance{
	{"a follower is paused",
		func(s *system, p *process) { s.cluster.set("orders", func(st *part) { st.hwBehind = 1 }) },
		func(s *system, p *process) { s.cluster.set("orders", func(st *part) { st.hwBehind = 0 }) },
		"above its high watermark"},
	{"the copy is slow",
		func(s *system, p *process) {
			s.cluster.set("orders", func(st *part) { st.stuck = plans.Copying; st.look = caughtUp })
		},
		func(s *system, p *process) {
			s.cluster.set("orders", func(st *part) { st.stuck = ""; st.look = nil })
		},
		"the logs end at different offsets"},
	{"produce is not answered",
		func(s *system, p *process) {
			// After the watch, nothing that is sent is answered any more.
			p.world.intercept(func(_ context.Context, method string) error {
				if method != "Claim" {
					return nil
				}
				p.gate.stall.Store(true)
				for p.gate.inflight(offsets.Partition{Topic: topicID("orders")}) == 0 {
					time.Sleep(time.Millisecond)
				}
				return nil
			})
		},
		func(s *system, p *process) { p.world.intercept(nil); p.gate.stall.Store(false) },
		"in flight"},
	{"ends cannot be read",
		func(s *system, p *process) {
			p.world.intercept(func(_ context.Context, method string) error {
				if method == "Ends" {
					return errors.New("broker 2 does not answer")
				}
				return nil
			})
		},
		func(s *system, p *process) { p.world.intercept(nil) },
		"broker 2 does not answer"},
	{"ends take forever",
		func(s *system, p *process) {
			p.world.intercept(func(ctx context.Context, method string) error {
				if method == "Ends" {
					<-ctx.Done()
				}
				return ctx.Err()
			})
		},
		func(s *system, p *process) { p.world.intercept(nil) },
		"read the ends"},
}

// TestGivenUpHonestly: a flip that cannot be sealed gives up by itself, says what
// stood in the way, and leaves traffic where it was.
func TestGivenUpHonestly(t *testing.T) {
	for _, c := range hindrances {
		t.Run(c.name, func(t *testing.T) {
			run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
				c.plant(s, p)
				_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
				c.remove(s, p)
				if !errors.Is(err, plans.ErrGivenUp) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one that says %q", err, c.want)
				}
				if s.waited() > 400*time.Millisecond {
					t.Errorf("a producer waited %s", s.waited())
				}
				if last := s.records()[0].Last; last == nil || last.Done || last.Attempts != 5 && c.want != "in flight" {
					t.Errorf("outcome %+v", last)
				}
				if err := s.settled(p); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func caughtUp(l *plans.Look) { l.State = plans.CaughtUp }

// TestRetrySucceeds: what stood in the way goes away, and the next attempt does it.
func TestRetrySucceeds(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		s.cluster.set("orders", func(st *part) { st.hwBehind = 1 })
		var waited []string
		report, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, func(l plans.Line) {
			if strings.Contains(l.Text, "was given up") {
				waited = append(waited, l.Text)
				s.cluster.set("orders", func(st *part) { st.hwBehind = 0 })
			}
		})
		if err != nil || report.Attempts != 2 || len(waited) == 0 {
			t.Errorf("report %+v, %v, said %q", report, err, waited)
		}
	})
}

// TestDeadlineIsTheAgents: the runner dies in the hold and nothing else happens.
func TestDeadlineIsTheAgents(t *testing.T) {
	run(t, map[string]int32{"orders": 2}, func(t *testing.T, s *system, p *process) {
		hang := make(chan struct{})
		p.world.intercept(func(_ context.Context, method string) error {
			if method == "Ends" {
				<-hang // not even its context ends this call
			}
			return nil
		})
		done := make(chan error)
		go func() { done <- second(p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)) }()
		time.Sleep(time.Second)
		if r := s.records()[0]; r.Phase() != plans.Expired || !strings.Contains(r.Move.Reason, "nothing was decided within 300ms") {
			t.Errorf("phase %q, %+v", r.Phase(), r.Move)
		}
		if err := s.mustFlow(50 * time.Millisecond); err != nil {
			t.Error(err)
		}
		if s.waited() > 400*time.Millisecond {
			t.Errorf("a producer waited %s", s.waited())
		}
		p.world.intercept(nil)
		close(hang)
		if err := <-done; err != nil {
			t.Errorf("the runner came back, and the next attempt failed: %v", err)
		}
	})
}

// TestCatalogAwayInTheHold: the agent may neither release nor expire; at the hard
// stop it abandons, and when the catalog is back traffic goes on.
func TestCatalogAwayInTheHold(t *testing.T) {
	run(t, map[string]int32{"orders": 2}, func(t *testing.T, s *system, p *process) {
		part := offsets.Partition{Topic: topicID("orders")}
		state := func() gateRoute { p.gate.mu.Lock(); defer p.gate.mu.Unlock(); return *p.gate.at(part) }
		p.world.intercept(func(_ context.Context, method string) error {
			if method == "Ends" && state().held {
				p.cat.away.Store(true)
			}
			return nil
		})
		done := make(chan error)
		go func() { done <- second(p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)) }()
		time.Sleep(1900 * time.Millisecond)
		if got := state(); !got.held || got.abandoned {
			t.Errorf("before the hard stop: held %v, abandoned %v", got.held, got.abandoned)
		}
		time.Sleep(200 * time.Millisecond)
		if got := state(); !got.abandoned {
			t.Error("after the hard stop nothing was abandoned")
		}
		p.cat.away.Store(false)
		p.world.intercept(nil)
		if err := <-done; err == nil {
			t.Log("the flip succeeded at a later attempt")
		}
		if err := s.mustFlow(time.Second); err != nil {
			t.Error(err)
		}
		if s.waited() > 2100*time.Millisecond {
			t.Errorf("a producer waited %s without being told", s.waited())
		}
	})
}

// TestInterrupted: a caller that leaves before COMMIT undoes, one that leaves
// after it does not stop the rest.
func TestInterrupted(t *testing.T) {
	for _, c := range []struct {
		method string // the caller leaves during its first call
		done   bool
	}{{"Look", false}, {"Bypass", false}, {"Claim", false}, {"Ends", false}, {"SetCopy", true}, {"OpenTarget", true}} {
		t.Run(c.method, func(t *testing.T) {
			run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				p.world.intercept(func(_ context.Context, method string) error {
					if method == c.method {
						leave()
					}
					return nil
				})
				_, err := p.runner.Flip(ctx, []string{"orders"}, plans.Options{}, nil)
				p.world.intercept(nil)
				home := offsets.Legacy
				for _, r := range s.records() {
					if r.Move != nil {
						t.Errorf("left in phase %s", r.Phase())
					}
					home = r.Home
				}
				if (err == nil) != c.done || (home == offsets.Target) != c.done {
					t.Errorf("home %s, error %v", home, err)
				}
				if err := s.settled(p); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestUnfinished: after COMMIT the target does not open. The command says so, no
// produce is lost, and Tend goes on with it.
func TestUnfinished(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		p.world.intercept(func(_ context.Context, method string) error {
			if method == "OpenTarget" {
				return errors.New("disk is full")
			}
			return nil
		})
		_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if !errors.Is(err, plans.ErrUnfinished) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("error %v", err)
		}
		time.Sleep(5 * time.Second)
		if r := s.records()[0]; r.Home != offsets.Target || r.Phase() != plans.Committed {
			t.Errorf("home %s, phase %q", r.Home, r.Phase())
		}
		if s.waited() > 2100*time.Millisecond {
			t.Errorf("a producer waited %s without being told", s.waited())
		}
		p.world.intercept(nil)
		time.Sleep(time.Second)
		if err := s.settled(p); err != nil {
			t.Error(err)
		}
	})
}

// TestShortProduceTimeout: no hold comes near to what a client allows its produce.
func TestShortProduceTimeout(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		s.cluster.set("orders", func(st *part) {
			st.hwBehind = 1
			st.look = func(l *plans.Look) { l.ProduceTimeout = 500 * time.Millisecond }
		})
		_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if !errors.Is(err, plans.ErrGivenUp) || s.waited() > 60*time.Millisecond {
			t.Errorf("error %v, a producer waited %s", err, s.waited())
		}
	})
}

// TestInterruptedWithoutCatalog: the caller is not kept waiting.
func TestInterruptedWithoutCatalog(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		gone := &process{killed: make(chan struct{})}
		w := &world{cluster: s.cluster, proc: gone}
		w.intercept(func(_ context.Context, method string) error {
			if method == "Claim" {
				gone.kill()
				leave()
			}
			return nil
		})
		began := time.Now()
		_, err := plans.NewRunner(&door{Catalog: s.cat, proc: gone, disk: time.Millisecond}, w, s.cfg).Flip(ctx, []string{"orders"}, plans.Options{}, nil)
		if took := time.Since(began); !errors.Is(err, plans.ErrInterrupted) || took > s.cfg.FinishWithin/2 {
			t.Errorf("after %s: %v", took, err)
		}
		time.Sleep(3 * time.Minute) // until Tend undoes it
	})
}

// TestAgentEndsInTheHold: nobody is left to end it, so what is held is abandoned.
func TestAgentEndsInTheHold(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		edge, start := s.edge(t)
		start()
		part := offsets.Partition{Topic: topicID("orders")}
		stopped := false
		p.world.intercept(func(_ context.Context, method string) error {
			if method == "Ends" && edge.gate.isHeld(part) && !stopped {
				stopped = true
				edge.cancel()
				edge.tasks.Wait()
				edge.gate.mu.Lock()
				if !edge.gate.at(part).abandoned {
					t.Error("what was held is held for ever")
				}
				edge.gate.mu.Unlock()
			}
			return nil
		})
		_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if !stopped {
			t.Errorf("it never held: %v", err)
		}
		edge.end()
	})
}
