package plans

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchback/storage/catalog"
)

// An Agent makes one data plane follow the records: it holds, drains,
// acknowledges, and applies routes, and it keeps the deadline of every hold.
//
// Records are taken up under one mutex in the order of their revisions; the gate
// is driven there too, but for Watch and Drain, which take time. The catalog is
// only called outside of the mutex, so a catalog that hangs delays nothing that a
// clock demands.
type Agent struct {
	ledger ledger
	gate   Gate
	cfg    Config
	log    *slog.Logger
	self   Instance
	dirty  chan struct{} // capacity 1: an acknowledgement waits to be written
	fatal  chan error    // capacity 1: what ends Run
	tasks  sync.WaitGroup

	mu    sync.Mutex
	run   context.Context      // of Run; nil before it, when no goroutine may start; guarded by mu
	rev   int64                // of our registration, 0 before it; guarded by mu
	units map[string]*follower // guarded by mu
}

// A follower is what an agent knows about one unit. Guarded by Agent.mu.
type follower struct {
	unit     stored
	applied  int64 // route epoch that the gate has, -1 before the first
	watched  bool  // produce has been followed since the last Apply
	watchTag string
	unwatch  context.CancelFunc // ends the task that watches; nil when there is none
	hold     *holding           // nil when nothing is held

	ack    Ack
	ackRev int64 // of the acknowledgement in the catalog, as far as known
	dirty  bool  // ack is newer than the catalog's
}

// NewAgent makes the agent of an instance. Whoever registers the same id later
// supersedes it, so an id stands for something that can run only once at a time,
// as a data folder can. It starts no goroutine and reads nothing.
func NewAgent(cat catalog.Catalog, gate Gate, id string, cfg Config) *Agent {
	cfg = cfg.withDefaults()
	return &Agent{
		ledger: ledger{cat}, gate: gate, cfg: cfg, log: cfg.Logger,
		self:  Instance{ID: id, Incarnation: newID(), Started: time.Now()},
		dirty: make(chan struct{}, 1),
		fatal: make(chan error, 1),
		units: make(map[string]*follower),
	}
}

// Restore registers the instance and gives the gate every route, and the holds
// that are in progress. It is called before the data plane serves anybody; Run
// calls it too if nobody did. It starts no goroutine.
func (a *Agent) Restore(ctx context.Context) error {
	if err := a.register(ctx); err != nil {
		return err
	}
	return a.read(ctx)
}

// Run follows the records until ctx ends (nil) or another incarnation registers
// (ErrSuperseded). What is held at the end is abandoned. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer a.leave()
	defer a.tasks.Wait()
	defer cancel()
	if err := a.register(ctx); err != nil {
		return err
	}
	wake, err := a.ledger.cat.Watch(ctx, RoutesPrefix)
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	a.begin(ctx)
	var failed time.Duration // pause after an error; 0: none
	for {
		var retry <-chan time.Time
		if failed > 0 {
			retry = time.After(failed)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-a.fatal:
			return err
		case _, ok := <-wake:
			if !ok {
				wake = nil // the catalog closed: reading says so too
			}
		case <-retry:
		}
		if err := a.read(ctx); err != nil && ctx.Err() == nil {
			if failed == 0 {
				a.log.Warn("routes cannot be read", "error", err)
			}
			failed = min(max(2*failed, 10*time.Millisecond), time.Second)
			continue
		}
		failed = 0
	}
}

// register writes the instance record, over that of an earlier incarnation.
func (a *Agent) register(ctx context.Context) error {
	a.mu.Lock()
	done := a.rev != 0
	a.mu.Unlock()
	if done {
		return nil
	}
	rev, err := a.ledger.register(ctx, a.self)
	if err != nil {
		return fmt.Errorf("register instance %s: %w", a.self.ID, err)
	}
	a.mu.Lock()
	a.rev = rev
	a.mu.Unlock()
	return nil
}

// begin starts the tasks that Restore could not.
func (a *Agent) begin(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run = ctx
	a.tasks.Go(func() { a.writeAcks(ctx) })
	for _, f := range a.units {
		a.startTasks(f)
	}
}

// leave abandons what is held when the agent ends: nobody is left to end it.
func (a *Agent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.units {
		if f.hold != nil && !f.hold.abandoned {
			f.hold.abandoned = true
			a.gate.Abandon(f.unit.Partitions())
		}
	}
}

// read takes up all records as they are now.
func (a *Agent) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ActTimeout)
	defer cancel()
	known := make(map[string]stored)
	a.mu.Lock()
	for _, f := range a.units {
		known[f.unit.key()] = f.unit
	}
	a.mu.Unlock()
	all, err := a.ledger.list(ctx, known)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	alive := make(map[string]bool, len(all))
	for _, s := range all {
		alive[s.Unit] = true
		a.take(s)
	}
	for unit, f := range a.units {
		if !alive[unit] { // another unit has its partitions
			f.stop()
			delete(a.units, unit)
		}
	}
	return nil
}

// take takes up one record, if it is newer than what is known. Called with mu.
func (a *Agent) take(s stored) {
	f := a.units[s.Unit]
	if f == nil {
		f = &follower{applied: -1, ack: Ack{Incarnation: a.self.Incarnation}}
		a.units[s.Unit] = f
	}
	if s.rev <= f.unit.rev {
		return
	}
	f.unit = s
	switch s.Phase() {
	case Holding, Committed:
		a.keepHold(f)
	default:
		a.release(f)
	}
	a.startTasks(f)
}

// keepHold makes the gate hold, if it does not yet. Called with mu.
func (a *Agent) keepHold(f *follower) {
	m := f.unit.Move
	switch {
	case f.hold == nil || f.hold.tag == m.holdTag():
	case m.Phase == Holding:
		a.release(f) // the end of an earlier attempt was not seen
	default: // nothing may be released into a home that is not open
		f.hold.end()
		f.hold = nil
	}
	if f.hold != nil {
		return
	}
	if f.unwatch != nil {
		f.unwatch()
		f.unwatch = nil
	}
	if m.Phase == Holding && f.applied != f.unit.Epoch {
		a.apply(f) // a new instance: it has to know where produce goes after an expiry
	}
	f.hold = &holding{tag: m.holdTag(), began: time.Now(), watched: f.watched}
	a.gate.Hold(f.unit.Partitions(), f.hold.tag)
	failpoint(AtAgentHold)
}

// release gives the gate the routes of the record, and with them what it holds.
// Called with mu; never with a record that is committed.
func (a *Agent) release(f *follower) {
	if f.hold == nil && f.applied == f.unit.Epoch {
		return
	}
	if f.hold != nil {
		f.hold.end()
		f.ack.HeldFor = time.Since(f.hold.began)
		f.hold = nil
	} else {
		f.ack.HeldFor = 0
	}
	a.apply(f)
	f.ack.Held, f.ack.Acked, f.ack.Applied = "", nil, f.unit.Epoch
	a.acknowledge(f)
}

func (a *Agent) apply(f *follower) {
	a.gate.Apply(f.unit.Routes())
	f.applied, f.watched = f.unit.Epoch, false
	failpoint(AtAgentApplied)
}

// startTasks starts what the record asks for and does not run. Called with mu.
func (a *Agent) startTasks(f *follower) {
	if a.run == nil || a.run.Err() != nil {
		return
	}
	switch f.unit.Phase() {
	case Watching, Expired:
		if tag := f.unit.watchTag(); f.watchTag != tag {
			f.stopWatch()
			ctx, cancel := context.WithCancel(a.run)
			f.watchTag, f.unwatch = tag, cancel
			unit := f.unit
			a.tasks.Go(func() { a.watch(ctx, unit, tag) })
		}
	case Holding, Committed:
		a.startHold(f)
	default:
		f.stopWatch()
	}
}

func (f *follower) stopWatch() {
	if f.unwatch != nil {
		f.unwatch()
		f.unwatch = nil
	}
}

func (f *follower) stop() {
	f.stopWatch()
	if f.hold != nil {
		f.hold.end()
		f.hold = nil
	}
}

// watch makes the gate follow produce and acknowledges it.
func (a *Agent) watch(ctx context.Context, unit stored, tag string) {
	if !a.persist(ctx, "watch", func() error { return a.gate.Watch(ctx, unit.Partitions()) }) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.units[unit.Unit]; f != nil && f.watchTag == tag && ctx.Err() == nil {
		f.watched = true
		f.ack.Watched = tag
		a.acknowledge(f)
	}
}

// persist calls fn until it succeeds; false when ctx ended first.
func (a *Agent) persist(ctx context.Context, what string, fn func() error) bool {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := fn()
		if err == nil {
			return true
		}
		if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			a.log.Warn("gate failed", "act", what, "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
