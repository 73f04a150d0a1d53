package plans

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// report is what came of a move whose record is at rest again, or was taken over.
func (d *drive) report(ctx context.Context) (Report, error) {
	last, m := d.unit.Last, d.move
	op := Error{Op: string(m.Kind), Subject: strings.Join(d.unit.Topics(), ", ")}
	switch {
	case last == nil || last.ID != m.ID:
		op.Err = fmt.Errorf("%w: somebody else took over", ErrBusy)
		op.Hint = "`switchback status` shows what became of it"
		return Report{}, &op
	case last.Done:
		d.r.settle(d.unit.Record)
		report := reportOf(d.unit.Record, m.Kind)
		report.Drain, report.Marks = d.drain, d.marks
		report.Hold = d.applied(ctx)
		d.say(false, "done after %d attempt(s): produce was held for %s", report.Attempts, round(report.Hold))
		return report, nil
	case len(d.ended) > 0:
		op.Err, op.Findings, op.Hint = fmt.Errorf("%w: %s", ErrRefused, last.Reason), d.ended, d.ended[0].Hint
	case d.cause != nil && !d.facts.Interrupted:
		op.Err = fmt.Errorf("%w, producers go on at %s: %w", ErrGivenUp, d.unit.Home, d.cause)
		op.Hint = "see the server's log, and whether legacy can be written to"
	case d.facts.Interrupted:
		op.Err, op.Hint = ErrInterrupted, "producers go on where they were"
	default:
		op.Err = fmt.Errorf("%w after %d attempt(s), producers go on at %s: %s", ErrGivenUp, last.Attempts, d.unit.Home, last.Reason)
		op.Hint = "remove what stood in the way and try again; nothing is held and nothing was moved"
	}
	return Report{}, &op
}

// applied waits until every instance has applied the record, and returns the
// longest hold that ended with it.
func (d *drive) applied(ctx context.Context) time.Duration {
	longest, missing := d.r.applied(ctx, d.unit.Record)
	if missing != "" {
		d.say(true, "instance %s has not said yet that it applies route epoch %d", missing, d.unit.Epoch)
	}
	return longest
}

// applied waits, within bounds, for the acknowledgement of rec's route epoch by
// every instance. missing names one that did not give it.
func (r *Runner) applied(ctx context.Context, rec Record) (longest time.Duration, missing string) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ApplyWithin)
	defer cancel()
	wake, err := r.ledger.cat.Watch(ctx, AcksPrefix+rec.Unit+"/")
	if err != nil {
		return 0, "(any)"
	}
	for {
		instances, err := r.ledger.instances(ctx, rec.Unit)
		if err == nil {
			longest, missing = 0, ""
			for _, in := range instances {
				longest = max(longest, in.Ack.HeldFor)
				if in.Ack.Applied < rec.Epoch {
					missing = in.ID
				}
			}
			if missing == "" {
				return longest, ""
			}
		}
		select {
		case <-ctx.Done():
			return longest, or(missing, "(any)")
		case _, ok := <-wake:
			if !ok {
				wake = nil
			}
		}
	}
}

// settle remembers that the world is where rec says.
func (r *Runner) settle(rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled[rec.Unit] = rec.Epoch
}

func (r *Runner) isSettled(rec Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch, ok := r.settled[rec.Unit]
	return ok && epoch == rec.Epoch
}

// Check says whether a flip or rollback of topics would be let through now, and
// what it would do. It writes nothing. An error means that the check could not be
// made, or that there is nothing to move.
func (r *Runner) Check(ctx context.Context, kind Kind, topics []string, opts Options) (CheckReport, error) {
	units, err := r.candidates(ctx, kind, topics)
	if err != nil {
		return CheckReport{}, err
	}
	report := CheckReport{Kind: kind, Unit: units[0].Unit, Ready: true}
	for _, unit := range units {
		if err := r.checkUnit(ctx, kind, unit, opts, &report); err != nil {
			return CheckReport{}, err
		}
	}
	return report, nil
}

// candidates are the units that a move of topics would be about.
func (r *Runner) candidates(ctx context.Context, kind Kind, topics []string) ([]Record, error) {
	if kind == Rollback {
		units, err := r.moved(ctx, kind, topics)
		var records []Record
		for _, u := range units {
			records = append(records, u.Record)
		}
		return records, err
	}
	parts, err := r.resolve(ctx, kind, topics)
	if err != nil {
		return nil, err
	}
	all, err := r.ledger.list(ctx, nil)
	if err != nil {
		return nil, &Error{Op: string(kind), Subject: subject(parts), Err: err, Hint: catalogHint}
	}
	unit, _, _, err := form(all, parts)
	return []Record{unit.Record}, err
}

func (r *Runner) checkUnit(ctx context.Context, kind Kind, unit Record, opts Options, report *CheckReport) error {
	findings, looks, err := r.judge(ctx, kind, unit.Parts, opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	bypass, err := r.world.Bypass(ctx, unit.Parts)
	if err != nil {
		findings = append(findings, Finding{Level: Warning, Subject: subject(unit.Parts), Check: "bypass", Fact: "not known: " + err.Error(), Hint: "see the server's log"})
	} else {
		findings = append(findings, judgeBypass(unit.Parts, bypass)...)
	}
	began := time.Now()
	if _, err := r.world.Ends(ctx, unit.Parts); err != nil {
		findings = append(findings, Finding{Level: Refusal, Subject: subject(unit.Parts), Check: "ends", Passes: true,
			Fact: "the ends of both logs cannot be read: " + err.Error(), Hint: "see whether the legacy cluster is up"})
	}
	forbids, _ := refusals(findings)
	report.Ready = report.Ready && len(forbids) == 0
	report.Findings = append(report.Findings, findings...)
	report.Topics = append(report.Topics, unit.Topics()...)
	report.Partitions += len(unit.Parts)
	steps := r.steps(kind, unit, looks, time.Since(began))
	for _, s := range steps {
		if s.Holds {
			report.Pause += s.Expect
		}
	}
	report.Steps = append(report.Steps, steps...)
	return nil
}

// steps is the move as a list, with what was measured a moment ago.
func (r *Runner) steps(kind Kind, unit Record, looks []Look, ends time.Duration) []Step {
	r.mu.Lock()
	write := r.writeCost
	r.mu.Unlock()
	var drain time.Duration
	for _, l := range looks {
		drain = max(drain, l.Drain)
	}
	n := len(unit.Parts)
	steps := []Step{{Name: "watch", What: fmt.Sprintf("follow produce of %d partition(s), look for writers that bypass the proxy", n)}}
	open := Step{Name: "open", What: "turn the copy round, open the target, let produce go on there", Holds: true, Expect: write}
	if kind == Rollback {
		open.What = "close the target, turn the copy round, let produce go on at legacy"
		if unit.Relocated {
			steps = append([]Step{{Name: "relocate back", What: "show legacy's brokers as leaders again"}}, steps...)
		}
	}
	return append(steps,
		Step{Name: "claim", What: "write the route epoch into the owner record on legacy"},
		Step{Name: "hold", What: fmt.Sprintf("hold produce, for at most %s", r.cfg.Hold), Holds: true, Expect: write},
		Step{Name: "drain", What: "wait for what is in flight and for the copy", Holds: true, Expect: write + drain},
		Step{Name: "seal", What: "read the ends of both logs, twice", Holds: true, Expect: 2 * ends},
		Step{Name: "commit", What: "one compare-and-set of the route record", Holds: true, Expect: write},
		open)
}
