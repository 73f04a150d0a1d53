package plans_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// process is one life of a server: runner, agent and data plane together.
type process struct {
	dead   atomic.Bool
	killed chan struct{} // closed by kill

	// killAt kills the process at its n-th step, before the step's effect or after.
	killAt int64
	after  bool
	steps  atomic.Int64

	cat    *door
	world  *world
	gate   *gate
	runner *plans.Runner
	agent  *plans.Agent
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// step is anything that a process does to the world outside of itself.
func (p *process) step(fn func() error) error {
	if p.dead.Load() {
		return errDead
	}
	n := p.steps.Add(1)
	if n == p.killAt && !p.after {
		p.kill()
		return errDead
	}
	err := fn()
	if n == p.killAt && p.after {
		p.kill()
		return errDead
	}
	return err
}

func (p *process) kill() {
	if p.dead.CompareAndSwap(false, true) {
		close(p.killed)
	}
}

// system is everything in one test.
type system struct {
	t       testing.TB
	cluster *cluster
	cat     *memory
	cfg     plans.Config

	mu   sync.Mutex
	live *process // producers go here
	// Of producers.
	acked   map[offsets.Partition]int // numbers up to here are acknowledged
	longest time.Duration             // that a produce was held
	stop    chan struct{}
	done    sync.WaitGroup
}

func newSystem(t testing.TB, topics map[string]int32) *system {
	return &system{
		t: t, cluster: newCluster(topics), cat: newMemory(),
		cfg:   plans.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), FinishWithin: time.Second, ActTimeout: time.Second},
		acked: make(map[offsets.Partition]int), stop: make(chan struct{}),
	}
}

// process makes a process that does not run yet.
func (s *system) process() *process {
	p := &process{killed: make(chan struct{})}
	p.cat = &door{Catalog: s.cat, proc: p, disk: time.Millisecond}
	p.world = &world{cluster: s.cluster, proc: p}
	p.gate = newGate(s.cluster, p)
	p.runner = plans.NewRunner(p.cat, p.world, s.cfg)
	p.agent = plans.NewAgent(p.cat, p.gate, "server", s.cfg)
	return p
}

// boot starts a process as a server would, and lets producers reach it.
func (s *system) boot(p *process) {
	ctx, cancel := context.WithCancel(s.t.Context())
	p.cancel = cancel
	if err := p.runner.Resume(ctx); err != nil && !p.dead.Load() && p.world.interceptor() == nil {
		s.t.Errorf("resume: %v", err)
	}
	if err := p.agent.Restore(ctx); err != nil && !p.dead.Load() {
		s.t.Errorf("restore: %v", err)
	}
	p.tasks.Go(func() { _ = p.agent.Run(ctx) })
	p.tasks.Go(func() { _ = p.runner.Tend(ctx) })
	s.mu.Lock()
	s.live = p
	s.mu.Unlock()
}

// bury kills a process and waits for its goroutines.
func (s *system) bury(p *process) {
	p.kill()
	p.cancel()
	p.tasks.Wait()
	s.cluster.forget()
}

// produceAll starts a producer per partition: one record at a time, each number
// again until it is acknowledged.
func (s *system) produceAll() {
	for p := range s.cluster.parts {
		s.done.Go(func() {
			for number := 0; ; number++ {
				if !s.produce(p, number) {
					return
				}
				s.mu.Lock()
				s.acked[p] = number + 1
				s.mu.Unlock()
			}
		})
	}
}

func (s *system) produce(p offsets.Partition, number int) bool {
	for {
		select {
		case <-s.stop:
			return false
		case <-time.After(3 * time.Millisecond):
		}
		s.mu.Lock()
		live := s.live
		s.mu.Unlock()
		waited, err := live.gate.produce(p, number)
		s.mu.Lock()
		s.longest = max(s.longest, waited)
		s.mu.Unlock()
		if err == nil {
			return true
		}
	}
}

// waited is the longest that a produce was held.
func (s *system) waited() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest
}

func (s *system) progress() map[offsets.Partition]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[offsets.Partition]int)
	for p := range s.cluster.parts {
		now[p] = s.acked[p]
	}
	return now
}

// mustFlow demands that every partition acknowledges produce within d.
func (s *system) mustFlow(d time.Duration) error {
	before := s.progress()
	time.Sleep(d)
	for p, n := range s.progress() {
		if n <= before[p] {
			return fmt.Errorf("%v: nothing was acknowledged in %s", p, d)
		}
	}
	return nil
}

// finish stops producers, lets the copy end, and judges the logs: each number
// once and in order, everything acknowledged there, both sides equal.
func (s *system) finish() error {
	close(s.stop)
	s.done.Wait()
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	for _, v := range s.cluster.violations {
		return fmt.Errorf("violation: %s", v)
	}
	for p, st := range s.cluster.parts {
		st.perCopy, st.stuck = 0, ""
		st.advance()
		if !slices.Equal(st.legacy, st.target) {
			return fmt.Errorf("%v: the logs differ: legacy %d records, target %d", p, len(st.legacy), len(st.target))
		}
		for i, number := range st.legacy {
			if i != number {
				return fmt.Errorf("%v: offset %d holds %d", p, i, number)
			}
		}
		if len(st.legacy) < s.acked[p] {
			return fmt.Errorf("%v: %d records are acknowledged, the log has %d", p, s.acked[p], len(st.legacy))
		}
	}
	return nil
}

// records are what the catalog holds.
func (s *system) records() []plans.Record {
	kvs, _ := s.cat.List(s.t.Context(), plans.RoutesPrefix)
	var all []plans.Record
	for _, kv := range kvs {
		r, err := plans.ParseRecord(kv)
		if err != nil {
			s.t.Error(err)
		}
		all = append(all, r)
	}
	return all
}
