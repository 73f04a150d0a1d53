package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
	"switchback/offsets"
)

func (s *stage) startLegacy(ctx context.Context) (err error) {
	if s.legacy, err = openCluster(ctx, s.Legacy); err != nil {
		return err
	}
	s.result.Legacy, s.result.Topic, s.result.Partitions = s.legacy.kind, s.legacy.topic, partitions
	s.tell("legacy: %s, brokers: %d, at %s", s.legacy.kind, s.legacy.brokers, strings.Join(s.legacy.addrs, " "))
	s.tell("legacy: made topic %s with %d partitions", s.legacy.topic, partitions)
	return nil
}

func (s *stage) startServer(context.Context) error {
	cfg := config.Default()
	cfg.Legacy.Bootstrap = s.legacy.addrs
	cfg.Legacy.StartTimeout = settle
	cfg.Legacy.OwnerTopic = s.legacy.ownerTopic()
	cfg.Listen, cfg.Ports, cfg.Admin = "127.0.0.1:0", config.Ports{}, "127.0.0.1:0"
	cfg.Topics.Include = []string{s.legacy.topic}
	var err error
	if cfg.Data, err = os.MkdirTemp("", "switchback-demo-"); err != nil {
		return err
	}
	s.legacy.folder = cfg.Data
	began := time.Now()
	if s.server, err = s.Start(s.life, cfg); err != nil {
		return err
	}
	s.tell("switchback: up in %s, clients bootstrap at %s", since(began), s.server.Addr())
	return nil
}

func (s *stage) startClients(ctx context.Context) (err error) {
	if s.load, err = startLoad(ctx, s.server.Addr(), s.legacy.topic, s.Rate); err != nil {
		return err
	}
	if err := s.load.steady(ctx); err != nil {
		return err
	}
	s.load.mark()
	s.result.Groups = s.load.groupNames()
	s.tell("clients: %d idempotent producers, %d records/s together; groups %s, %d consumers each; all through switchback",
		producers, s.Rate, strings.Join(s.result.Groups, " and "), members)
	return nil
}

func (s *stage) mirror(ctx context.Context) error {
	if err := s.copied(ctx, "caught-up copies", func(p admin.Partition) bool { return p.Lag.State == admin.CaughtUp }); err != nil {
		return err
	}
	s.load.meters.reset()
	if err := s.run(ctx, s.Scene); err != nil {
		return err
	}
	s.result.PauseMs.Quiet = s.load.meters.acks()
	s.tell("mirror: caught up; %s records acknowledged so far", grouped(s.load.ledger.acked()))
	s.tell("clients, undisturbed: longest time between two acknowledgements %s, longest silence of a group %s",
		ms(s.result.PauseMs.Quiet), ms(s.load.meters.reads()))
	return s.commits(ctx, "mirror")
}

func (s *stage) flip(ctx context.Context) error {
	report, err := s.insist(ctx, func() (admin.MoveReport, error) {
		return s.server.Backend().Flip(ctx, admin.FlipRequest{Topics: []string{s.legacy.topic}}, s.pass)
	})
	if err != nil {
		return err
	}
	if report.Home != offsets.Target {
		return fmt.Errorf("the report says that home is %s", report.Home)
	}
	if err := s.run(ctx, after); err != nil {
		return err
	}
	s.result.PauseMs.Flip, s.result.HoldMs.Flip = s.load.meters.acks(), report.HoldMs
	s.tell("flip: %d partitions written on the target now; switchback held producers for %s", report.Partitions, ms(report.HoldMs))
	s.tell("clients, during the flip: longest time between two acknowledgements %s, longest silence of a group %s",
		ms(s.result.PauseMs.Flip), ms(s.load.meters.reads()))
	before := s.load.ledger.acked()
	if err := s.run(ctx, s.Scene); err != nil {
		return err
	}
	s.tell("clients: %s records acknowledged by the target, %s", grouped(s.load.ledger.acked()-before), s.troubles())
	return s.commits(ctx, "flip")
}

func (s *stage) relocate(ctx context.Context) error {
	status, err := s.server.Backend().Status(ctx)
	if err != nil {
		return err
	}
	node := status.Process.Node
	s.load.meters.reset()
	began := time.Now()
	if _, err := s.server.Backend().Relocate(ctx, admin.RelocateRequest{Topics: []string{s.legacy.topic}}, s.pass); err != nil {
		return err
	}
	// Clients learn it by their own metadata refresh, once a second here.
	err = await(ctx, fmt.Sprintf("clients on node %d", node), func() (bool, error) {
		return s.load.traffic.only(node, 300*time.Millisecond), nil
	})
	if err != nil {
		return err
	}
	moved := time.Since(began)
	if err := s.run(ctx, s.Scene); err != nil {
		return err
	}
	s.result.PauseMs.Relocate, s.result.SilenceMs.Relocate = s.load.meters.acks(), s.load.meters.reads()
	s.tell("relocate: every produce and fetch goes to node %d, %s later, by the clients' own refresh", node, moved.Round(time.Millisecond))
	s.tell("clients, during the relocation: longest time between two acknowledgements %s, longest silence of a group %s, %s",
		ms(s.result.PauseMs.Relocate), ms(s.result.SilenceMs.Relocate), s.troubles())
	return s.commits(ctx, "relocation")
}

func (s *stage) rollback(ctx context.Context) error {
	if err := s.copied(ctx, "legacy kept equal", func(p admin.Partition) bool { return p.Lag.State == admin.Replaying && p.Lag.Exact }); err != nil {
		return err
	}
	report, err := s.insist(ctx, func() (admin.MoveReport, error) {
		return s.server.Backend().Rollback(ctx, admin.RollbackRequest{Topics: []string{s.legacy.topic}}, s.pass)
	})
	if err != nil {
		return err
	}
	if err := s.run(ctx, after); err != nil {
		return err
	}
	s.result.PauseMs.Rollback, s.result.HoldMs.Rollback = s.load.meters.acks(), report.HoldMs
	s.tell("roll back: %d partitions written on legacy again; switchback held producers for %s, %s of it to drain",
		report.Partitions, ms(report.HoldMs), ms(report.DrainMs))
	s.tell("clients, during the rollback: longest time between two acknowledgements %s, longest silence of a group %s",
		ms(s.result.PauseMs.Rollback), ms(s.load.meters.reads()))
	if err := s.run(ctx, s.Scene); err != nil {
		return err
	}
	return s.commits(ctx, "rollback")
}

func (s *stage) stopClients(ctx context.Context) error {
	if err := s.load.finish(ctx); err != nil {
		return err
	}
	s.result.Records = s.load.ledger.acked()
	s.result.ClientErrors = s.load.errors.count()
	s.result.ClientWarnings = s.load.warnings.Load()
	s.result.Rebalances = s.load.rebalances()
	s.result.addProblems(s.load.errors.all()...)
	s.tell("clients: stopped; %s records acknowledged, %s", grouped(s.result.Records), s.troubles())
	return s.commits(ctx, "the end")
}

func (s *stage) verify(ctx context.Context) error {
	if err := s.copied(ctx, "caught-up copies", func(p admin.Partition) bool { return p.Lag.State == admin.CaughtUp }); err != nil {
		return err
	}
	report, err := s.server.Backend().Verify(ctx, admin.VerifyRequest{Topics: []string{s.legacy.topic}}, s.pass)
	if err != nil {
		return err
	}
	var batches int64
	for _, p := range report.Partitions {
		batches += p.Batches
		if p.First != nil {
			s.result.addProblems(fmt.Sprintf("partition %d differs at offset %d: legacy %s, target %s", p.Partition, p.First.Offset, p.First.Legacy, p.First.Target))
		}
	}
	s.result.DigestsEqual = report.Equal && len(report.Partitions) == partitions && batches > 0
	if s.result.DigestsEqual {
		s.tell("verify: legacy and target are equal byte for byte, %s batches in %d partitions", grouped(batches), partitions)
	} else {
		s.warn("verify: legacy and target differ (%s batches in %d partitions compared)", grouped(batches), len(report.Partitions))
	}
	return nil
}

// audit reads the topic back from legacy itself and holds the ledger against it.
func (s *stage) audit(ctx context.Context) error {
	log, err := s.legacy.readBack(ctx)
	if err != nil {
		return err
	}
	found := s.load.ledger.audit(log)
	s.result.Lost, s.result.Duplicated, s.result.Reordered = found.lost, found.duplicated, found.reordered
	s.result.Strange = found.strange
	s.result.addProblems(found.examples...)
	s.tell("ledger: %s records read back from legacy itself: %d lost, %d duplicated, %d out of order, %d that nobody sent",
		grouped(found.read), found.lost, found.duplicated, found.reordered, found.strange)
	for _, g := range found.groups {
		s.tell("ledger: group %s saw %s records: %d gaps, %d read again, %d other than in the log", g.name, grouped(g.read), g.gaps, g.again, g.misread)
	}
	return nil
}

// again is how long after a refusal a move is asked for again: lag and drain
// time, as measured, are figures of the moment, and so is a deadline missed.
const again = 500 * time.Millisecond

// insist asks for a move again while it is refused or given up, for as long as
// settle. The meters show what the last try did to clients.
func (s *stage) insist(ctx context.Context, move func() (admin.MoveReport, error)) (admin.MoveReport, error) {
	began := time.Now()
	for tries := 1; ; tries++ {
		s.load.meters.reset()
		report, err := move()
		if err == nil && tries > 1 {
			s.tell("let through after %s, at try %d", time.Since(began).Round(10*time.Millisecond), tries)
		}
		var refused *admin.Error
		if err == nil || time.Since(began) > settle || !errors.As(err, &refused) || (refused.Code != admin.CodeRefused && refused.Code != admin.CodeGivenUp) {
			return report, err
		}
		if tries == 1 {
			s.warn("%s; asked again every %s", refused.Error(), again)
		}
		if err := s.run(ctx, again); err != nil {
			return report, err
		}
	}
}

// pass hands on a line of the server.
func (s *stage) pass(l admin.Line) { s.Tell(l) }

// copied waits until all partitions of the topic are as wanted, as pushed by
// the server.
func (s *stage) copied(ctx context.Context, what string, ok func(admin.Partition) bool) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	reached := errors.New("reached")
	var last []admin.Partition
	err := s.server.Backend().WatchStatus(ctx, func(status admin.Status) error {
		last = slices.DeleteFunc(status.Partitions, func(p admin.Partition) bool { return p.Topic != s.legacy.topic })
		for _, p := range last {
			if !ok(p) {
				return nil
			}
		}
		if len(last) != partitions {
			return nil
		}
		return reached
	})
	if errors.Is(err, reached) {
		return nil
	}
	if err == nil {
		err = ctx.Err()
	}
	var is []string
	for _, p := range last {
		is = append(is, fmt.Sprintf("%d %s %d batches %s %s", p.Index, p.Lag.State, p.Lag.Batches, ms(p.Lag.DrainMs), p.Lag.Err))
	}
	return fmt.Errorf("waited in vain for %s (%d partitions: %s): %w", what, len(last), strings.Join(is, ", "), err)
}

// commits asks for the committed offsets of both groups and holds them against
// those of the scene before.
func (s *stage) commits(ctx context.Context, scene string) error {
	back, err := s.load.commitsBack(ctx)
	if err != nil {
		return fmt.Errorf("read committed offsets: %w", err)
	}
	if back > 0 {
		s.result.CommitsBack += int64(back)
		s.result.addProblems(fmt.Sprintf("%d committed offsets went back by the end of %s", back, scene))
	}
	return nil
}

// troubles says what clients have complained about so far.
func (s *stage) troubles() string {
	return fmt.Sprintf("%d client errors, %d rebalances", s.load.errors.count(), s.load.rebalances())
}

// clean ends and removes all that the demo has made, also half-way.
func (s *stage) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	var errs []error
	if s.load != nil {
		s.load.close()
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	if s.legacy != nil {
		errs = append(errs, s.legacy.clean(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

func (s *stage) verdict() {
	r := s.result
	if r.Verdict == ok {
		s.tell("verdict: ok. %s records, none lost, doubled or out of order; no client error, no rebalance; both logs equal (%.0f s)",
			grouped(r.Records), r.ElapsedS)
		return
	}
	for _, p := range r.Problems {
		s.warn("%s", p)
	}
	s.warn("verdict: failed (%.0f s)", r.ElapsedS)
}

func since(t time.Time) string { return ms(float64(time.Since(t).Microseconds()) / 1000) }

func ms(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f ms", v)
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
