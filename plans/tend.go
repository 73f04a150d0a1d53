package plans

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"switchback/offsets"
)

// Resume is called once at start, before instances serve. It undoes moves that
// had not committed, finishes those that had, and brings the world to where every
// record says. It goes on with the other units when one fails; errors are joined,
// and Tend tries again.
func (r *Runner) Resume(ctx context.Context) error {
	all, err := r.ledger.list(ctx, nil)
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	var failed []error
	for _, s := range all {
		if err := r.bring(ctx, s, true, r.cfg.FinishWithin); err != nil {
			failed = append(failed, fmt.Errorf("resume %s: %w", strings.Join(s.Topics(), ", "), err))
		}
	}
	return errors.Join(failed...)
}

// bring takes one unit from wherever it stands to a home that works. undo says
// whether a move that has not committed is undone or left alone, patience for how
// long acts that fail are tried again.
func (r *Runner) bring(ctx context.Context, s stored, undo bool, patience time.Duration) error {
	release, err := r.drive("resume", strings.Join(s.Topics(), ", "), s.Unit)
	if err != nil {
		return nil // a call of this runner is at it
	}
	defer release()
	if s.Phase() != "" && s.Phase() != Committed && undo {
		if s, err = r.undo(ctx, s); err != nil {
			return err
		}
	}
	if s.Phase() == Committed {
		return r.complete(ctx, s, patience)
	}
	if r.isSettled(s.Record) {
		return nil
	}
	return r.restore(ctx, s.Record)
}

// undo ends a move before COMMIT, whose runner is gone. When the write loses or
// ends unknown the record is read again: it may have committed meanwhile.
func (r *Runner) undo(ctx context.Context, s stored) (stored, error) {
	id := s.Move.ID
	for range maxStartTries {
		if s.Move == nil || s.Move.ID != id || s.Phase() == Committed {
			return s, nil
		}
		act := rest(s.Record, Facts{Now: time.Now()}, "undone: whoever drove it is gone", nil)
		rev, err := r.ledger.put(ctx, stored{act.Record, s.rev})
		if err == nil {
			r.log.Info("undid a move that had not committed", "topics", s.Topics(), "move", s.Move.Kind, "phase", s.Phase())
			return stored{act.Record, rev}, nil
		}
		if !undecided(err) {
			return s, err
		}
		if s, err = r.ledger.get(ctx, s.Unit); err != nil {
			return s, err
		}
	}
	return s, fmt.Errorf("undo %s: %w", id, ErrBusy)
}

// complete finishes a move that has committed.
func (r *Runner) complete(ctx context.Context, s stored, patience time.Duration) error {
	progress := func(l Line) { r.log.Info(l.Text, "topics", l.Subject) }
	d := &drive{r: r, unit: s, move: *s.Move, progress: progress, patience: patience}
	if err := d.loop(ctx); err != nil {
		return err
	}
	if d.unit.Last != nil && d.unit.Last.ID == d.move.ID {
		r.settle(d.unit.Record)
		r.log.Info("finished a move that had committed", "topics", s.Topics(), "move", d.move.Kind, "home", d.unit.Home.String())
	}
	return nil
}

// restore brings the world to the home of a record at rest, or before COMMIT.
func (r *Runner) restore(ctx context.Context, rec Record) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	acts := []func(context.Context, Record) error{r.turnCopy, r.turnTarget}
	if rec.Home == offsets.Legacy {
		acts[0], acts[1] = acts[1], acts[0]
	}
	for _, act := range acts {
		if err := act(ctx, rec); err != nil {
			return err
		}
	}
	r.settle(rec)
	return nil
}

// CopyStopped tells that a data plane met a partition whose copy does not follow.
// If its home is the target Tend relocates it at once, unless the copy turns out
// to be well. It does not block.
func (r *Runner) CopyStopped(p offsets.Partition) {
	r.mu.Lock()
	r.suspects[p] = true
	r.mu.Unlock()
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// Tend looks after units that nobody drives, until ctx ends: it finishes what was
// committed, undoes what stands still, brings the world to where it should be
// when that failed before, and relocates units whose copy has stopped or lags.
// Errors are logged. It is called once.
func (r *Runner) Tend(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.TendEvery)
	defer tick.Stop()
	t := tending{seen: make(map[string]sighting), bad: make(map[string]time.Time), told: make(map[string]string)}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.nudge:
		}
		if err := r.tend(ctx, &t); err != nil && ctx.Err() == nil {
			t.complain(r, "", err)
		}
	}
}

// tending is what Tend remembers from round to round. Entries of units that are
// gone are dropped in every round.
type tending struct {
	seen map[string]sighting  // by unit: since when its record stands as it does
	bad  map[string]time.Time // by unit: since when its copy ails
	told map[string]string    // by unit: last error that was logged
}

type sighting struct {
	rev int64
	at  time.Time
}

func (t *tending) complain(r *Runner, unit string, err error) {
	if t.told[unit] != err.Error() {
		t.told[unit] = err.Error()
		r.log.Warn("tend units", "unit", unit, "error", err)
	}
}

func (r *Runner) tend(ctx context.Context, t *tending) error {
	all, err := r.ledger.list(ctx, nil)
	if err != nil {
		return err
	}
	delete(t.told, "")
	t.forget(all)
	for _, s := range all {
		if seen, ok := t.seen[s.Unit]; !ok || seen.rev != s.rev {
			t.seen[s.Unit] = sighting{s.rev, time.Now()}
		}
		stale := s.Move != nil && time.Since(t.seen[s.Unit].at) >= r.cfg.Stale
		if s.Move == nil && r.isSettled(s.Record) || s.Move != nil && s.Phase() != Committed && !stale {
			continue
		}
		if err := r.bring(ctx, s, stale, 0); err != nil {
			t.complain(r, s.Unit, err)
			continue
		}
		delete(t.told, s.Unit)
	}
	return r.relocateOverdue(ctx, t, all)
}

func (t *tending) forget(all []stored) {
	alive := make(map[string]bool, len(all))
	for _, s := range all {
		alive[s.Unit] = true
	}
	for unit := range t.seen {
		if !alive[unit] {
			delete(t.seen, unit)
			delete(t.bad, unit)
			delete(t.told, unit)
		}
	}
}

// relocateOverdue asks once about all units that are served through.
func (r *Runner) relocateOverdue(ctx context.Context, t *tending, all []stored) error {
	var units []Record
	var parts []Part
	for _, s := range all {
		if s.Home == offsets.Target && !s.Relocated && s.Move == nil {
			units = append(units, s.Record)
			parts = append(parts, s.Parts...)
		} else {
			delete(t.bad, s.Unit)
		}
	}
	if len(units) == 0 {
		r.takeSuspects() // nothing to relocate: readers of legacy are at home
		return nil
	}
	looking, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	looks, err := r.look(looking, parts)
	if err != nil {
		return err
	}
	suspects := r.takeSuspects()
	for _, rec := range units {
		mine := looks[:len(rec.Parts)]
		looks = looks[len(rec.Parts):]
		if ailing(rec, mine, r.cfg.RelocateLag) == "" {
			delete(t.bad, rec.Unit)
		} else if _, ok := t.bad[rec.Unit]; !ok {
			t.bad[rec.Unit] = time.Now()
		}
		var badFor time.Duration
		if since, ok := t.bad[rec.Unit]; ok {
			badFor = time.Since(since)
		}
		why := Overdue(rec, mine, badFor, rec.hasAny(suspects), r.cfg)
		if why == "" {
			continue
		}
		r.log.Warn("relocating by itself", "topics", rec.Topics(), "reason", why)
		if _, err := r.show(ctx, Relocate, rec, why); err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrRelocated) {
			t.complain(r, rec.Unit, err)
		}
	}
	return nil
}

func (r *Runner) takeSuspects() map[offsets.Partition]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.suspects
	r.suspects = make(map[offsets.Partition]bool)
	return taken
}

func (r Record) hasAny(suspects map[offsets.Partition]bool) bool {
	for _, p := range r.Parts {
		if suspects[p.Partition()] {
			return true
		}
	}
	return false
}
