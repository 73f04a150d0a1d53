package plans

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"switchback/offsets"
)

// A drive is one call that works on one move, on one goroutine.
type drive struct {
	r        *Runner
	unit     stored // as it was read last
	written  stored // as this drive wrote it last
	move     Move   // as it began
	facts    Facts
	progress func(Line)

	wake     [3]<-chan struct{} // the record, its acknowledgements, the instances
	ended    []Finding          // refusals that ended the move
	cause    error              // of facts.Failed
	marks    []Mark
	heldAt   time.Time // write of the present hold
	drain    time.Duration
	patience time.Duration // for how long errors may follow each other
	failing  time.Time     // since when they do
	errors   int           // how many of them
	told     string        // obstacle that was told last
}

// run drives a move that has begun to its end.
func (r *Runner) run(ctx context.Context, unit stored, m Move, progress func(Line)) (Report, error) {
	if progress == nil {
		progress = func(Line) {}
	}
	d := &drive{r: r, unit: unit, move: m, progress: progress, patience: r.cfg.FinishWithin}
	failpoint(string(m.Kind) + "." + AtWatching)
	if err := d.loop(ctx); err != nil {
		return Report{}, d.operator(err)
	}
	return d.report(ctx)
}

// loop alternates between reading the record and doing what Next says, until the
// move is over. What follows COMMIT goes on when ctx has ended.
func (d *drive) loop(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if err := d.watch(work); err != nil {
		return err
	}
	for {
		if err := d.load(work); err != nil {
			if err := d.trouble(ctx, err); err != nil {
				return err
			}
			continue
		}
		if d.unit.Move == nil || d.unit.Move.ID != d.move.ID {
			return nil
		}
		d.facts.Now, d.facts.Interrupted = time.Now(), ctx.Err() != nil
		act := Next(d.unit.Record, d.facts, d.r.cfg.limits())
		if err := d.do(ctx, work, act); err != nil {
			if err := d.trouble(ctx, err); err != nil {
				return err
			}
			continue
		}
		d.failing, d.errors = time.Time{}, 0
	}
}

func (d *drive) watch(ctx context.Context) error {
	for i, prefix := range []string{d.unit.key(), AcksPrefix + d.unit.Unit + "/", InstancesPrefix} {
		ch, err := d.r.ledger.cat.Watch(ctx, prefix)
		if err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		d.wake[i] = ch
	}
	return nil
}

// load reads the record, and the acknowledgements where they matter.
func (d *drive) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.ActTimeout)
	defer cancel()
	before := d.unit.Record
	now, err := d.r.ledger.get(ctx, d.unit.Unit, d.unit, d.written)
	if err != nil {
		return err
	}
	d.unit = now
	if now.Move == nil || now.Move.ID != d.move.ID {
		return nil
	}
	if d.facts.Since.IsZero() || now.Move.Phase != before.Phase() || before.Move != nil && now.Move.Attempt != before.Move.Attempt {
		d.entered(before)
	}
	if now.Move.Phase == Committed {
		return nil
	}
	if d.facts.Instances, err = d.r.ledger.instances(ctx, now.Unit); err != nil {
		return err
	}
	if now.Move.Phase == Holding {
		d.judgeHeld()
	}
	return nil
}

// judgeHeld follows whether every instance holds. One that comes, or comes back,
// in the middle has not said so yet: what was seen before it did counts for nothing.
func (d *drive) judgeHeld() {
	switch all := held(d.unit.Record, d.facts.Instances); {
	case !all && !d.facts.HeldAt.IsZero():
		d.facts.HeldAt, d.facts.Sights = time.Time{}, nil
	case all && d.facts.HeldAt.IsZero():
		d.facts.HeldAt = time.Now()
		d.mark(AtHeld)
		d.reached(AtHeld)
	}
}

// entered forgets facts that belong to an earlier phase or attempt.
func (d *drive) entered(before Record) {
	f := Facts{Since: time.Now(), Claimed: d.facts.Claimed, Obstacle: d.facts.Obstacle}
	m := d.unit.Move
	switch {
	case m.Phase == Holding:
		f.Obstacle = ""
		d.heldAt, d.marks = f.Since, nil
	case m.Phase == Expired && before.Phase() == Holding:
		d.facts.Now = time.Now()
		if !m.Final {
			f.Obstacle = holdObstacle(before, d.facts)
		}
		d.say(true, "attempt %d was given up, producers go on at %s: %s", m.Attempt, d.unit.Home, lastReason(m, f))
	}
	d.facts = f
}

// do executes one action. An error means that it has to be tried again.
func (d *drive) do(ctx, work context.Context, act Action) error {
	switch act.Do {
	case Wait:
		d.tell(false, act.Obstacle)
		d.wait(ctx.Done(), act.Until)
		return nil
	case Write:
		return d.write(work, act)
	case AskLook:
		d.tell(false, act.Obstacle)
		d.askLook(ctx)
	case AskBypass:
		d.askBypass(ctx)
	case AskClaim:
		d.askClaim(ctx, act)
	case AskEnds:
		d.askEnds(ctx)
	case ActCopy, ActSwitch:
		return d.act(work, act)
	}
	return nil
}

func (d *drive) write(ctx context.Context, act Action) error {
	if act.At == AtCommitted {
		d.drain = time.Since(d.facts.HeldAt)
		d.mark(AtSealed)
		d.reached(AtSealed)
	}
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.ActTimeout)
	defer cancel()
	began := time.Now()
	if act.Record.Move == nil {
		d.ended = act.Findings
	}
	rev, err := d.r.ledger.put(ctx, stored{act.Record, d.unit.rev})
	if undecided(err) {
		return nil // the record tells
	}
	if err != nil {
		return err
	}
	d.written = stored{act.Record, rev}
	d.r.wrote(time.Since(began))
	if act.At != "" {
		d.mark(act.At)
		d.reached(act.At)
	}
	d.story(act)
	return nil
}

// story tells what a write meant.
func (d *drive) story(act Action) {
	switch act.At {
	case AtTakenBack:
		d.say(false, "legacy's brokers are shown as leaders again")
	case AtHolding:
		d.say(false, "attempt %d: holding produce on %d instance(s), for at most %s", act.Record.Move.Attempt, len(d.facts.Instances), act.Record.Move.Hold)
	case AtCommitted:
		d.say(false, "home: %s, from route epoch %d on; both logs equal at the seal of %d partition(s)", act.Record.Home, act.Record.Epoch, len(act.Record.Parts))
	}
}

func (d *drive) askLook(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.ActTimeout)
	defer cancel()
	looks, err := d.r.look(ctx, d.unit.Parts)
	d.facts.LookedAt = time.Now()
	if err != nil {
		d.facts.LookErr = err.Error()
		return
	}
	d.facts.Looks, d.facts.LookErr = looks, ""
}

func (d *drive) askBypass(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.Prepare)
	defer cancel()
	b, err := d.r.world.Bypass(ctx, d.unit.Parts)
	if err != nil {
		d.fail(fmt.Errorf("look for writers that bypass the proxy: %w", err))
		return
	}
	d.facts.Bypass = &b
}

func (d *drive) askClaim(ctx context.Context, act Action) {
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.Prepare)
	defer cancel()
	epoch := d.unit.Move.Epoch
	if err := d.r.world.Claim(ctx, epoch); err != nil {
		d.fail(fmt.Errorf("claim route epoch %d on legacy: %w", epoch, err))
		return
	}
	d.facts.Claimed = epoch
	d.reached(act.At)
}

func (d *drive) fail(err error) { d.cause, d.facts.Failed = err, err.Error() }

// askEnds is bounded by what is left of the hold: there is no use in an answer
// that comes later.
func (d *drive) askEnds(ctx context.Context) {
	m := d.unit.Move
	ctx, cancel := context.WithDeadline(ctx, d.facts.Since.Add(m.Hold))
	defer cancel()
	began := time.Now()
	ends, err := d.r.world.Ends(ctx, d.unit.Parts)
	if err == nil && len(ends) != len(d.unit.Parts) {
		err = fmt.Errorf("%d answers for %d partitions", len(ends), len(d.unit.Parts))
	}
	d.facts.EndsAt = time.Now()
	if err != nil {
		d.facts.EndsErr = fmt.Sprintf("read the ends of both logs: %v", err)
		return
	}
	d.facts.EndsErr = ""
	d.facts.Sights = append(d.facts.Sights, Sight{Began: began, Drained: !d.facts.HeldAt.IsZero(), Ends: ends})
	if n := len(d.facts.Sights); n > 2 {
		d.facts.Sights = d.facts.Sights[n-2:]
	}
}

// act brings the world to the committed home.
func (d *drive) act(ctx context.Context, act Action) error {
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.ActTimeout)
	defer cancel()
	if act.Do == ActCopy {
		if err := d.r.turnCopy(ctx, d.unit.Record); err != nil {
			return err
		}
		d.facts.Copied = true
	} else {
		if err := d.r.turnTarget(ctx, d.unit.Record); err != nil {
			return err
		}
		d.facts.Switched = true
	}
	d.mark(act.At)
	d.reached(act.At)
	return nil
}

func (r *Runner) turnCopy(ctx context.Context, rec Record) error {
	if err := r.world.SetCopy(ctx, Order{rec.Parts, rec.Epoch}, rec.Home, rec.Seal); err != nil {
		return fmt.Errorf("turn the copy: %w", err)
	}
	return nil
}

func (r *Runner) turnTarget(ctx context.Context, rec Record) error {
	if rec.Home == offsets.Target {
		if err := r.world.OpenTarget(ctx, Order{rec.Parts, rec.Epoch}, rec.Epochs); err != nil {
			return fmt.Errorf("open the target: %w", err)
		}
		return nil
	}
	if err := r.world.CloseTarget(ctx, Order{rec.Parts, rec.Epoch}); err != nil {
		return fmt.Errorf("close the target: %w", err)
	}
	return nil
}

// wait returns at until, when something in the catalog may have changed, or when
// the caller gives up.
func (d *drive) wait(leave <-chan struct{}, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-leave:
	case <-timer.C:
	case _, ok := <-d.wake[0]:
		d.closed(0, ok)
	case _, ok := <-d.wake[1]:
		d.closed(1, ok)
	case _, ok := <-d.wake[2]:
		d.closed(2, ok)
	}
}

// closed forgets a watch that ended, so that wait does not spin: the timer is left.
func (d *drive) closed(i int, ok bool) {
	if !ok {
		d.wake[i] = nil
	}
}

// trouble paces what fails and ends the call when it has failed for too long.
func (d *drive) trouble(ctx context.Context, err error) error {
	now := time.Now()
	if d.failing.IsZero() {
		d.failing = now
	}
	d.errors++
	committed := d.unit.Phase() == Committed
	switch {
	case committed && now.Sub(d.failing) >= d.patience:
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	case !committed && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	case !committed && now.Sub(d.failing) >= d.patience:
		return err
	}
	d.tell(true, err.Error())
	leave := ctx.Done()
	if committed {
		leave = nil // it goes on, whoever waits for it
	}
	d.wait(leave, now.Add(min(time.Second, 5*time.Millisecond<<min(d.errors, 8))))
	return nil
}

// operator is err as it is told to an operator.
func (d *drive) operator(err error) error {
	e := &Error{Op: string(d.move.Kind), Subject: strings.Join(d.unit.Topics(), ", "), Err: err, Hint: catalogHint}
	switch {
	case errors.Is(err, ErrUnfinished):
		e.Hint = "the server goes on with it by itself; `switchback status` shows when it is done"
	case errors.Is(err, ErrInterrupted):
		e.Hint = "producers go on where they were"
	}
	return e
}

func (d *drive) reached(at string) { failpoint(string(d.move.Kind) + "." + at) }

func (d *drive) mark(at string) {
	if !d.heldAt.IsZero() {
		d.marks = append(d.marks, Mark{at, time.Since(d.heldAt)})
	}
}

// tell says an obstacle once; what passes by itself is no warning.
func (d *drive) tell(warn bool, obstacle string) {
	if obstacle != "" && obstacle != d.told && d.unit.Phase() != Holding {
		d.told = obstacle
		d.say(warn, "waiting: %s", obstacle)
	}
}

func (d *drive) say(warn bool, format string, args ...any) {
	d.progress(Line{At: time.Now(), Subject: strings.Join(d.unit.Topics(), ", "), Text: fmt.Sprintf(format, args...), Warn: warn})
}

// wrote remembers what a catalog write costs, for estimates.
func (r *Runner) wrote(cost time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeCost = (r.writeCost*7 + cost) / 8
}
