package plans

import (
	"context"
	"fmt"
	"strings"
	"time"

	"switchback/offsets"
)

// Relocate shows the target's node as leader of the units that consist of topics,
// whose home is the target. It works without legacy. It returns when instances
// have applied it.
func (r *Runner) Relocate(ctx context.Context, topics []string, progress func(Line)) ([]Report, error) {
	return r.each(ctx, Relocate, topics, progress)
}

// TakeBack shows legacy's own leaders again. It is refused while legacy could not
// serve readers: without a leader, or with a copy that has stopped or lags.
func (r *Runner) TakeBack(ctx context.Context, topics []string, progress func(Line)) ([]Report, error) {
	return r.each(ctx, TakeBack, topics, progress)
}

func (r *Runner) each(ctx context.Context, kind Kind, topics []string, progress func(Line)) ([]Report, error) {
	if progress == nil {
		progress = func(Line) {}
	}
	units, err := r.moved(ctx, kind, topics)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for _, unit := range units {
		report, err := r.show(ctx, kind, unit.Record, "")
		if err != nil {
			return reports, err
		}
		text := "the target's node is shown as leader"
		if kind == TakeBack {
			text = "legacy's brokers are shown as leaders again"
		}
		progress(Line{At: time.Now(), Subject: strings.Join(report.Topics, ", "), Text: fmt.Sprintf("%s from route epoch %d on", text, report.Epoch)})
		reports = append(reports, report)
	}
	return reports, nil
}

// show is a relocation or its taking back: one write. reason is why it was done
// by itself.
func (r *Runner) show(ctx context.Context, kind Kind, unit Record, reason string) (Report, error) {
	subject := strings.Join(unit.Topics(), ", ")
	release, err := r.drive(kind, subject, unit.Unit)
	if err != nil {
		return Report{}, err
	}
	defer release()
	looks, err := r.canShow(ctx, kind, unit)
	if err != nil {
		return Report{}, err
	}
	id, started := newID(), time.Now()
	now, err := r.start(ctx, kind, subject, func(all []stored, epoch int64) (change, error) {
		s, err := atRest(kind, all, unit.Unit)
		if err != nil {
			return change{}, err
		}
		next := stored{s.clone(), s.rev}
		if err := next.reshow(kind, looks); err != nil {
			return change{}, err
		}
		next.Epoch, next.Since = epoch, time.Now()
		next.Last = &Outcome{ID: id, Kind: kind, Done: true, Reason: reason, Started: started, Finished: next.Since}
		return change{epochs: 1, put: []stored{next}, subject: unit.Unit, id: id}, nil
	})
	if err != nil {
		return Report{}, err
	}
	if kind == Relocate {
		failpoint(AtRelocated)
	} else {
		failpoint(AtTookBack)
	}
	r.settleAgain(unit, now.Record)
	report := reportOf(now.Record, kind)
	if _, missing := r.applied(ctx, now.Record); missing != "" {
		r.log.Warn("route not applied yet", "topics", subject, "instance", missing, "epoch", now.Epoch)
	}
	return report, nil
}

// settleAgain: a new epoch that only changes what is shown asks nothing new of
// the world.
func (r *Runner) settleAgain(before, after Record) {
	if r.isSettled(before) {
		r.settle(after)
	}
}

// canShow looks at the copy, and refuses to send readers where nobody serves them.
func (r *Runner) canShow(ctx context.Context, kind Kind, unit Record) ([]Look, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	looks, err := r.look(ctx, unit.Parts)
	if kind == Relocate {
		if err != nil { // it must work when nothing else does
			looks = make([]Look, len(unit.Parts))
			for i := range looks {
				looks[i].Epoch = unit.Epochs[i]
			}
		}
		return looks, nil
	}
	if err != nil {
		return nil, &Error{Op: string(kind), Subject: strings.Join(unit.Topics(), ", "), Err: err, Hint: "see the server's log"}
	}
	var v verdict
	for i, p := range unit.Parts {
		v.judgeCopy(p, looks[i], r.cfg.limits())
	}
	var bad []Finding
	for _, f := range v.done(subject(unit.Parts), nil) {
		if f.Check != "quiet" { // readers do not mind
			bad = append(bad, f)
		}
	}
	return looks, refused(kind, unit.Topics(), bad)
}

// reshow changes what clients are shown.
func (r *Record) reshow(kind Kind, looks []Look) error {
	refuse := func(err error) error {
		return &Error{Op: string(kind), Subject: strings.Join(r.Topics(), ", "), Err: err, Hint: "`switchback status` shows it"}
	}
	if kind == TakeBack {
		if !r.Relocated {
			return refuse(ErrNotRelocated)
		}
		r.takeBack(looks)
		return nil
	}
	if r.Relocated {
		return refuse(ErrRelocated)
	}
	for i := range r.Shown {
		r.Shown[i] = r.Shown[i].Relocate(max(looks[i].Epoch, r.Epochs[i]))
	}
	r.Relocated = true
	return nil
}

// Overdue says why a unit whose home is the target must be relocated now, empty
// if it must not: legacy cannot serve its readers any more. badFor is for how
// long that has been so, suspect that a data plane found it out by itself. It is
// pure.
func Overdue(r Record, looks []Look, badFor time.Duration, suspect bool, cfg Config) string {
	if r.Home != offsets.Target || r.Relocated || r.Move != nil {
		return ""
	}
	why := ailing(r, looks, cfg.RelocateLag)
	if why == "" && suspect {
		why = ailing(r, looks, cfg.MaxDrain)
	}
	switch {
	case why == "":
		return ""
	case suspect, badFor >= cfg.RelocateAfter:
		return why
	}
	return ""
}

// ailing says what is wrong with the copy of a moved unit.
func ailing(r Record, looks []Look, lag time.Duration) string {
	for i, p := range r.Parts {
		switch l := looks[i]; {
		case l.State != Replaying && l.State != CaughtUp:
			return fmt.Sprintf("%s: the copy is %s%s", p, l.State, because(l.Err))
		case l.Drain > lag, l.Drain < 0 && l.Batches > 0:
			return fmt.Sprintf("%s: legacy is %d batches behind, about %s", p, l.Batches, round(l.Drain))
		}
	}
	return ""
}
