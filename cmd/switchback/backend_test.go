package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

// clock is what every time in a transcript counts from.
var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A stock is a Backend that answers what the transcripts show, the same at
// every run. Topics behave by their names.
type stock struct{}

var ids = map[string]offsets.TopicID{"audit": {1}, "ledger": {2}, "orders": {3}, "payments": {4}}

func (stock) Version(context.Context) (admin.Version, error) {
	return admin.Version{Version: "1.2.3", Go: "go1.26", Revision: "0123456789ab"}, nil
}

func (stock) Ready(context.Context) (admin.Ready, error) {
	return admin.Ready{Ready: true, Bootstrap: "127.0.0.1:19092"}, nil
}

func (stock) Status(context.Context) (admin.Status, error) {
	good := admin.Lag{State: admin.CaughtUp, Confirmed: 100, HomeEnd: 100, DrainMs: 0.4, Exact: true}
	replaying := admin.Lag{State: admin.Replaying, Confirmed: 90, HomeEnd: 100, Batches: 3, Bytes: 300, DrainMs: 4.2, Exact: true}
	stalled := admin.Lag{State: admin.Stalled, Confirmed: 7, HomeEnd: 2000, Batches: 1204, DrainMs: -1, Exact: true,
		Err: "legacy refuses the batch at offset 7: MESSAGE_TOO_LARGE (1.2 MiB)", Remedy: "raise max.message.bytes of audit on legacy to 2 MiB"}
	diverged := admin.Lag{State: admin.Diverged, DrainMs: -1, InexactFrom: 512, Why: "legacy holds a batch there that the target does not have",
		Err: "a stranger wrote to ledger on legacy", Remedy: "find the writer that bypasses switchback"}
	return admin.Status{
		At: clock,
		Process: admin.Process{
			ClusterID: "kQ3c", Owner: "o1", Bootstrap: "127.0.0.1:19092", Node: 1000001, Started: clock, Legacy: "up", Storage: "ok",
		},
		Brokers: []admin.Broker{{Node: 1, Legacy: "b1:9092", Listen: "127.0.0.1:19093", Up: true, Controller: true}, {Node: 2, Legacy: "b2:9092", Listen: "127.0.0.1:19094"}},
		Routes: []admin.Route{
			{Unit: "u1", Topics: []string{"orders"}, Partitions: 2, Home: offsets.Target, Epoch: 3, Move: "relocate", Phase: "observing", Since: clock},
			{Unit: "u2", Topics: []string{"payments"}, Partitions: 1, Note: "last flip was given up: 40 ms over its deadline", Since: clock},
		},
		Partitions: []admin.Partition{
			{Topic: "audit", TopicID: ids["audit"], Home: offsets.Target, Wire: "moved", Leader: 1, Lag: stalled},
			{Topic: "ledger", TopicID: ids["ledger"], Home: offsets.Target, Wire: "moved", Leader: 1, Lag: diverged},
			{Topic: "orders", TopicID: ids["orders"], Home: offsets.Target, Relocated: true, Wire: "moved", Leader: 1, Epoch: 4, ShownEpoch: 6, Lag: replaying},
			{Topic: "orders", TopicID: ids["orders"], Index: 1, Home: offsets.Target, Relocated: true, Wire: "moved", Leader: 2, Epoch: 4, ShownEpoch: 6, Lag: replaying},
			{Topic: "payments", TopicID: ids["payments"], Wire: "clean", Leader: 2, Epoch: 9, ShownEpoch: 9, Lag: good},
		},
		Clients: []admin.Connection{
			{Connection: 1, ClientID: "shop", Host: "10.0.0.1:4711", Software: "apache-kafka-java 4.2.0", Node: 1000001, Since: clock, Requests: 12},
			{Connection: 2, ClientID: "till", Host: "10.0.0.2:4711", Node: 2, Since: clock, Requests: 3},
		},
	}, nil
}

// WatchStatus shows two changes and ends as a server does that goes away.
func (s stock) WatchStatus(ctx context.Context, send func(admin.Status) error) error {
	for range 2 {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		status.Partitions, status.Routes = status.Partitions[4:], nil
		if err := send(status); err != nil {
			return err
		}
	}
	return nil
}

func unknown(op string, names []string) error {
	for _, n := range names {
		if _, ok := ids[n]; !ok {
			return &admin.Error{Op: op, Subject: n, Text: "legacy has no such topic", Hint: "switchback status lists the topics there are", Code: admin.CodeUnknownTopic}
		}
	}
	return nil
}

var (
	lagging = admin.Finding{Level: admin.Red, Subject: "audit/0", Check: "lag", Fact: "1,204 batches behind, 3.1 s to go", Hint: "wait until switchback status says caught-up"}
	inexact = admin.Finding{Level: admin.Red, Subject: "payments", Check: "config", Fact: "message.timestamp.type=LogAppendTime: legacy rewrites timestamps on the way back",
		Hint: "set it to CreateTime, or flip with --accept-inexact"}
	quiet = admin.Finding{Level: admin.Green, Subject: "payments", Check: "bypass", Fact: "every record since watching began came through switchback"}
)

func (stock) Check(_ context.Context, req admin.CheckRequest, progress func(admin.Line)) (admin.CheckReport, error) {
	if err := unknown("check topics", req.Topics); err != nil {
		return admin.CheckReport{}, err
	}
	progress(admin.Line{At: clock, Text: "watching producers for 200 ms"})
	r := admin.CheckReport{Topics: req.Topics, Ready: req.AcceptInexact, Findings: []admin.Finding{quiet, inexact}}
	if req.AcceptInexact {
		r.Findings[1].Level = admin.Amber
	}
	if slices.Contains(req.Topics, "audit") {
		r.Ready, r.Findings = false, append(r.Findings, lagging)
	}
	return r, nil
}

func (stock) Flip(ctx context.Context, req admin.FlipRequest, progress func(admin.Line)) (admin.MoveReport, error) {
	if err := unknown("flip topics", req.Topics); err != nil {
		return admin.MoveReport{}, err
	}
	progress(admin.Line{At: clock, Text: "checks passed"})
	switch req.Topics[0] {
	case "audit":
		return admin.MoveReport{}, &admin.Error{Op: "flip topics", Subject: "audit", Text: "refused", Code: admin.CodeRefused,
			Findings: []admin.Finding{lagging}, Hint: "nothing was changed"}
	case "ledger":
		progress(admin.Line{At: clock.Add(301 * time.Millisecond), Subject: "ledger/0", Text: "given up: legacy's end did not settle", Warn: true})
		return admin.MoveReport{}, &admin.Error{Op: "flip topics", Subject: "ledger/0", Text: "given up after 5 attempts: legacy's end did not settle within 300 ms", Code: admin.CodeGivenUp,
			Hint: "traffic goes on on legacy; look for slow followers of ledger/0, then flip again"}
	case "orders":
		return admin.MoveReport{}, fmt.Errorf("something nobody expected")
	}
	progress(admin.Line{At: clock.Add(12 * time.Millisecond), Subject: "payments", Text: "sealed at the same offsets, twice"})
	return moveOf(admin.KindFlip, req.Topics, offsets.Target, false), nil
}

func moveOf(kind admin.MoveKind, names []string, home offsets.Side, relocated bool) admin.MoveReport {
	r := admin.MoveReport{Kind: kind, Topics: names, Partitions: 1, Home: home, Relocated: relocated, Epoch: 4, Attempts: 1, Started: clock, Finished: clock.Add(35 * time.Millisecond)}
	if kind == admin.KindFlip || kind == admin.KindRollback {
		r.HoldMs, r.Seals = 17.4, []admin.Seal{{Topic: names[0], Offset: 100}}
	}
	return r
}

func (stock) Relocate(_ context.Context, req admin.RelocateRequest, progress func(admin.Line)) (admin.MoveReport, error) {
	if req.Topics[0] != "orders" {
		return admin.MoveReport{}, &admin.Error{Op: "relocate topics", Subject: req.Topics[0], Text: "its home is legacy", Hint: "flip it first", Code: admin.CodeRefused}
	}
	progress(admin.Line{At: clock, Subject: "orders", Text: "shown leader epoch 7"})
	if req.Back {
		return moveOf(admin.KindTakeBack, req.Topics, offsets.Target, false), nil
	}
	return moveOf(admin.KindRelocate, req.Topics, offsets.Target, true), nil
}

func (stock) Rollback(_ context.Context, req admin.RollbackRequest, _ func(admin.Line)) (admin.MoveReport, error) {
	if req.Topics[0] == "audit" {
		return admin.MoveReport{}, &admin.Error{Op: "roll back topics", Subject: "audit/0", Text: "legacy would need 3.1 s to receive 1,204 batches, more than rollback.maxDrain, 100 ms",
			Hint: "switchback status shows what it waits for", Code: admin.CodeRefused}
	}
	r := moveOf(admin.KindRollback, req.Topics, offsets.Legacy, false)
	r.Attempts, r.DrainMs = 2, 6.3
	return r, nil
}

func (stock) Verify(_ context.Context, req admin.VerifyRequest, progress func(admin.Line)) (admin.VerifyReport, error) {
	if err := unknown("verify topics", req.Topics); err != nil {
		return admin.VerifyReport{}, err
	}
	progress(admin.Line{At: clock, Text: "reading 1 partition on both sides"})
	p := admin.VerifiedPartition{Topic: req.Topics[0], Equal: true, To: 2000, Batches: 1500, Bytes: 3 << 20, LegacyDigest: "ab12", TargetDigest: "ab12", EpochsDiffer: 2}
	if p.Topic == "ledger" {
		p.Equal, p.TargetDigest = false, "cd34"
		p.First = &admin.Difference{Offset: 512, Legacy: "batch 512-519, 1,024 bytes, CRC 1234abcd", Target: "nothing"}
	}
	return admin.VerifyReport{Equal: p.Equal, Partitions: []admin.VerifiedPartition{p}, ElapsedMs: 12300}, nil
}
