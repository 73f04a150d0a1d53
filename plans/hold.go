package plans

import (
	"context"
	"fmt"
	"time"
)

// A holding is one hold of one unit in this instance, from the instant at which
// the gate began to hold to the record that ends it. Guarded by Agent.mu.
type holding struct {
	tag       string
	began     time.Time
	watched   bool // produce was followed before
	drained   bool
	abandoned bool
	started   bool               // its tasks run
	cancel    context.CancelFunc // ends them; nil before started
}

func (h *holding) end() {
	if h.cancel != nil {
		h.cancel()
	}
}

// startHold starts the tasks of a hold: one drains and acknowledges, one expires
// the record at the deadline, one abandons at the hard stop. They wait for nothing
// of each other. Called with mu.
func (a *Agent) startHold(f *follower) {
	h, unit := f.hold, f.unit
	if h == nil || h.started {
		return
	}
	h.started = true
	ctx, cancel := context.WithCancel(a.run)
	h.cancel = cancel
	a.tasks.Go(func() { a.keepStop(ctx, unit, h) })
	if unit.Phase() == Committed {
		return // nothing to acknowledge or to expire: the record only waits to be opened
	}
	a.tasks.Go(func() { a.drain(ctx, unit, h) })
	a.tasks.Go(func() { a.keepDeadline(ctx, unit, h) })
}

// drain acknowledges the hold when nothing is in flight any more.
func (a *Agent) drain(ctx context.Context, unit stored, h *holding) {
	parts := unit.Partitions()
	if !h.watched && !a.persist(ctx, "watch", func() error { return a.gate.Watch(ctx, parts) }) {
		return
	}
	acked := make([]int64, len(parts))
	ok := a.persist(ctx, "drain", func() error {
		highest, err := a.gate.Drain(ctx, parts)
		for i, p := range parts {
			acked[i] = -1
			if at, ok := highest[p]; ok {
				acked[i] = at
			}
		}
		return err
	})
	if !ok {
		return
	}
	failpoint(AtAgentDrained)
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.units[unit.Unit]; f != nil && f.hold == h {
		h.drained = true
		f.ack.Held, f.ack.Acked = h.tag, acked
		a.acknowledge(f)
	}
}

// keepDeadline ends the hold by itself when nobody has ended it in time. It goes
// on trying for as long as the hold lasts: beyond the hard stop connections are
// closed, and producers wait for a route.
func (a *Agent) keepDeadline(ctx context.Context, unit stored, h *holding) {
	if !sleep(ctx, time.Until(h.began.Add(unit.Move.Hold))) {
		return
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if a.expire(ctx, unit, h) || !sleep(ctx, pause) {
			return
		}
	}
}

// expire is the compare-and-set against COMMIT. It says whether the hold is over.
func (a *Agent) expire(ctx context.Context, unit stored, h *holding) bool {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ActTimeout)
	defer cancel()
	now, err := a.ledger.get(ctx, unit.Unit)
	if err != nil {
		return false
	}
	if now.Phase() == Holding && now.Move.holdTag() == h.tag {
		act := expire(now.Record, time.Now(), a.whyExpired(unit, h), false)
		rev, err := a.ledger.put(ctx, stored{act.Record, now.rev})
		if err != nil {
			return false // lost or unknown or failed: the record tells
		}
		now = stored{act.Record, rev}
		failpoint(string(unit.Move.Kind) + "." + AtExpired)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.rev == 0 {
		return true // the unit is gone; read finds that out too
	}
	if _, known := a.units[unit.Unit]; known {
		a.take(now)
	}
	return true
}

func (a *Agent) whyExpired(unit stored, h *holding) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !h.drained {
		return fmt.Sprintf("instance %s had produce in flight for all of %s", a.self.ID, unit.Move.Hold)
	}
	return fmt.Sprintf("nothing was decided within %s", unit.Move.Hold)
}

// keepStop abandons what is held when its outcome is not known, or not open, at
// the hard stop. It needs neither catalog nor network.
func (a *Agent) keepStop(ctx context.Context, unit stored, h *holding) {
	if !sleep(ctx, time.Until(h.began.Add(unit.Move.Stop))) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.units[unit.Unit]; f != nil && f.hold == h && !h.abandoned {
		h.abandoned = true
		a.gate.Abandon(unit.Partitions())
		a.log.Warn("abandoned what was held: no outcome at the hard stop", "topics", unit.Topics(), "phase", f.unit.Phase(), "held", unit.Move.Stop)
	}
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
