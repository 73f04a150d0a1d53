package server

import (
	"context"
	"fmt"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/mirror"
	"switchback/offsets"
	"switchback/plans"
)

// Backend is the server as commands see it.
func (s *Server) Backend() admin.Backend { return backend{s} }

type backend struct{ *Server }

func (b backend) Version(context.Context) (admin.Version, error) { return b.version, nil }

func (b backend) Ready(context.Context) (admin.Ready, error) {
	r := admin.Ready{Bootstrap: b.proxy.Addr()}
	if r.Bootstrap == "" {
		r.Waiting = append(r.Waiting, "listeners are not open yet")
	}
	if err := b.proxy.Topology().Err(); err != nil {
		r.Waiting = append(r.Waiting, fmt.Sprintf("legacy does not answer: %v", err))
	}
	r.Ready = len(r.Waiting) == 0
	return r, nil
}

func (b backend) Status(context.Context) (admin.Status, error) { return b.view.Status() }

func (b backend) WatchStatus(ctx context.Context, send func(admin.Status) error) error {
	return b.view.Watch(ctx, send)
}

func (b backend) Check(ctx context.Context, req admin.CheckRequest, progress func(admin.Line)) (admin.CheckReport, error) {
	rep, err := b.runner.Check(ctx, plans.Flip, req.Topics, plans.Options{AcceptInexact: req.AcceptInexact})
	if err != nil {
		return admin.CheckReport{}, operatorError(err)
	}
	now := time.Now()
	for i, step := range rep.Steps {
		text := fmt.Sprintf("step %d: %s: %s", i+1, step.Name, step.What)
		if step.Holds {
			text += fmt.Sprintf(" (producers wait, about %s)", step.Expect.Round(100*time.Microsecond))
		}
		progress(admin.Line{At: now, Text: text})
	}
	progress(admin.Line{At: now, Text: fmt.Sprintf("expected pause of producers: %s", rep.Pause.Round(100*time.Microsecond))})
	return admin.CheckReport{Topics: rep.Topics, Ready: rep.Ready, Findings: findings(rep.Findings)}, nil
}

func (b backend) Flip(ctx context.Context, req admin.FlipRequest, progress func(admin.Line)) (admin.MoveReport, error) {
	rep, err := b.runner.Flip(ctx, req.Topics, plans.Options{AcceptInexact: req.AcceptInexact}, lines(progress))
	return moveReport([]plans.Report{rep}), operatorError(err)
}

func (b backend) Relocate(ctx context.Context, req admin.RelocateRequest, progress func(admin.Line)) (admin.MoveReport, error) {
	move := b.runner.Relocate
	if req.Back {
		move = b.runner.TakeBack
	}
	reps, err := move(ctx, req.Topics, lines(progress))
	return moveReport(reps), operatorError(err)
}

func (b backend) Rollback(ctx context.Context, req admin.RollbackRequest, progress func(admin.Line)) (admin.MoveReport, error) {
	reps, err := b.runner.Rollback(ctx, req.Topics, plans.Options{}, lines(progress))
	return moveReport(reps), operatorError(err)
}

func lines(progress func(admin.Line)) func(plans.Line) {
	return func(l plans.Line) { progress(admin.Line(l)) }
}

var kinds = map[plans.Kind]admin.MoveKind{
	plans.Flip: admin.KindFlip, plans.Rollback: admin.KindRollback,
	plans.Relocate: admin.KindRelocate, plans.TakeBack: admin.KindTakeBack,
}

// moveReport sums up the reports of all units that a command named.
func moveReport(reps []plans.Report) admin.MoveReport {
	var out admin.MoveReport
	for i, r := range reps {
		out.Kind, out.Home, out.Relocated = kinds[r.Kind], r.Home, r.Relocated
		out.Topics = append(out.Topics, r.Topics...)
		out.Partitions += r.Partitions
		out.Epoch, out.Attempts = max(out.Epoch, r.Epoch), max(out.Attempts, r.Attempts)
		if i == 0 || r.Started.Before(out.Started) {
			out.Started = r.Started
		}
		if r.Finished.After(out.Finished) {
			out.Finished = r.Finished
		}
		out.HoldMs = max(out.HoldMs, ms(r.Hold))
		if r.Kind == plans.Rollback {
			out.DrainMs = max(out.DrainMs, ms(r.Drain))
		}
		for _, seal := range r.Seals {
			out.Seals = append(out.Seals, admin.Seal{Topic: seal.Part.Name, Partition: seal.Part.Index, Offset: seal.Offset})
		}
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (b backend) Verify(ctx context.Context, req admin.VerifyRequest, progress func(admin.Line)) (admin.VerifyReport, error) {
	began := time.Now()
	parts, err := b.world.Resolve(ctx, req.Topics)
	if err != nil {
		return admin.VerifyReport{}, operatorError(&plans.Error{Op: "verify", Err: err, Hint: "`switchback status` lists the topics that are mirrored"})
	}
	out := admin.VerifyReport{Equal: true}
	for _, part := range parts {
		rep, err := b.mirror.Verify(ctx, part.Partition(), func(done, total int64) {
			progress(admin.Line{At: time.Now(), Subject: part.String(), Text: fmt.Sprintf("%d of %d offsets compared", done, total)})
		})
		if err != nil {
			return out, operatorError(fmt.Errorf("verify %s: %w", part, err))
		}
		out.Partitions = append(out.Partitions, verified(part, rep))
		out.Equal = out.Equal && rep.Equal
	}
	out.ElapsedMs = ms(time.Since(began))
	return out, nil
}

func verified(part plans.Part, r mirror.Report) admin.VerifiedPartition {
	v := admin.VerifiedPartition{
		Topic: part.Name, Partition: part.Index, Equal: r.Equal, From: r.From, To: r.To, Batches: r.Batches, Bytes: r.Bytes,
		LegacyDigest: r.Legacy.Sum.String(), TargetDigest: r.Target.Sum.String(), EpochsDiffer: r.EpochDifferences,
	}
	if d := r.First; d != nil {
		v.First = &admin.Difference{Offset: d.Offset, Legacy: describe(d.Legacy), Target: describe(d.Target)}
	}
	return v
}

func describe(e *offsets.Entry) string {
	if e == nil {
		return "no batch"
	}
	return fmt.Sprintf("batch of offsets %d to %d, %d bytes, checksum %08x", e.Base, e.Last, e.Length, e.CRC)
}
