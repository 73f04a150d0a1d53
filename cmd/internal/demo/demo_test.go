package demo_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
	"switchback/cmd/internal/demo"
	"switchback/offsets"
)

// A pretender stands in for a server: clients talk to legacy itself, a flip
// and a relocation do nothing. What the demo measures is real, so the demo can be
// tested without anything that it shows. (kfake's OffsetForLeaderEpoch is wrong
// after it has moved a leader, so the one broker is what clients relocate to.)
type pretender struct {
	legacy   *kfake.Cluster
	topic    string
	sabotage func(step string)
	refuse   bool // the move that is asked for

	mu     sync.Mutex
	home   offsets.Side
	closed bool
}

// acting is the part of a Backend that the demo calls; the rest would panic.
type acting struct {
	*pretender
	unused
}

// unused lies deeper than the methods of pretender, which win.
type unused struct{ admin.Backend }

const elsewhere = 0 // the node that a relocation moves to

func (p *pretender) Addr() string           { return p.legacy.ListenAddrs()[0] }
func (p *pretender) Backend() admin.Backend { return acting{pretender: p} }
func (p *pretender) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func (p *pretender) Status(context.Context) (admin.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lag := admin.Lag{State: admin.CaughtUp, DrainMs: 1, Exact: true}
	if p.home == offsets.Target {
		lag.State = admin.Replaying
	}
	s := admin.Status{Process: admin.Process{Node: elsewhere}}
	for i := range int32(6) {
		s.Partitions = append(s.Partitions, admin.Partition{Topic: p.topic, Index: i, Home: p.home, Lag: lag})
	}
	return s, nil
}

func (p *pretender) WatchStatus(ctx context.Context, send func(admin.Status) error) error {
	for {
		s, err := p.Status(ctx)
		if err != nil {
			return err
		}
		if err := send(s); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *pretender) goes(step string, home offsets.Side) (admin.MoveReport, error) {
	if p.sabotage != nil {
		p.sabotage(step)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		return admin.MoveReport{}, &admin.Error{Op: step, Text: "the copy is behind", Code: admin.CodeRefused}
	}
	p.home = home
	return admin.MoveReport{Home: home, Partitions: 6, HoldMs: 1}, nil
}

func (p *pretender) Flip(context.Context, admin.FlipRequest, func(admin.Line)) (admin.MoveReport, error) {
	return p.goes("flip", offsets.Target)
}

func (p *pretender) Relocate(context.Context, admin.RelocateRequest, func(admin.Line)) (admin.MoveReport, error) {
	return p.goes("relocate", offsets.Target)
}

func (p *pretender) Rollback(context.Context, admin.RollbackRequest, func(admin.Line)) (admin.MoveReport, error) {
	return p.goes("rollback", offsets.Legacy)
}

func (p *pretender) Verify(context.Context, admin.VerifyRequest, func(admin.Line)) (admin.VerifyReport, error) {
	r := admin.VerifyReport{Equal: true}
	for i := range int32(6) {
		r.Partitions = append(r.Partitions, admin.VerifiedPartition{Partition: i, Equal: true, Batches: 1})
	}
	return r, nil
}

// play runs the demo on a cluster that the test can reach into.
func play(t *testing.T, sabotage func(*kfake.Cluster, *pretender, string)) (*demo.Result, error) {
	t.Helper()
	legacy, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(legacy.Close)
	p := &pretender{legacy: legacy}
	if sabotage != nil {
		p.sabotage = func(step string) { sabotage(legacy, p, step) }
	}
	r, err := demo.Run(t.Context(), demo.Options{
		Start: func(_ context.Context, cfg config.Config) (demo.Server, error) {
			if err := cfg.Validate(); err != nil {
				t.Errorf("the demo's configuration: %v", err)
			}
			p.topic = cfg.Topics.Include[0]
			return p, nil
		},
		Legacy: legacy.ListenAddrs()[0],
		Rate:   500,
		Scene:  300 * time.Millisecond,
		Tell:   func(l admin.Line) { t.Log(l.Text) },
	})
	if !p.closed {
		t.Error("the server was not closed")
	}
	return r, err
}

func TestDemoOnAClusterThatDoesNothingWrong(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the cluster has ended
	r, err := play(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != "ok" || r.Records < 500 || r.PauseMs.Flip <= 0 || len(r.Problems) != 0 {
		t.Fatalf("result: %+v", r)
	}
}

// What goes wrong underneath has to be seen, or the demo shows nothing.
func TestDemoSeesWhatGoesWrong(t *testing.T) {
	for name, c := range map[string]struct {
		sabotage func(*kfake.Cluster, *pretender, string)
		seen     func(*demo.Result) bool
	}{
		"records vanish": {func(c *kfake.Cluster, p *pretender, step string) {
			if step == "rollback" {
				truncate(t, c, p.topic)
			}
		}, func(r *demo.Result) bool { return r.Lost > 0 }},
		"somebody else writes": {func(c *kfake.Cluster, p *pretender, step string) {
			if step == "flip" {
				intrude(t, c, p.topic)
			}
		}, func(r *demo.Result) bool { return r.Strange > 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := play(t, c.sabotage)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != "failed" || !c.seen(r) || len(r.Problems) == 0 {
				t.Fatalf("result: %+v", r)
			}
		})
	}
}

func TestDemoWithoutLegacy(t *testing.T) {
	_, err := demo.Run(t.Context(), demo.Options{Legacy: "127.0.0.1:1", Tell: func(admin.Line) {}})
	var e *admin.Error
	if !errors.As(err, &e) || e.Code != admin.CodeNoLegacy || !strings.Contains(e.Hint, "--legacy") {
		t.Fatalf("got %v", err)
	}
}

// Lag and drain time are figures of the moment: a refusal is no failure yet.
func TestDemoAsksAgain(t *testing.T) {
	tries := map[string]int{}
	r, err := play(t, func(_ *kfake.Cluster, p *pretender, step string) {
		tries[step]++
		p.refuse = tries[step] == 1 && step != "relocate"
	})
	if err != nil || r.Verdict != "ok" || tries["flip"] != 2 || tries["rollback"] != 2 {
		t.Fatalf("tries %v, result %+v, %v", tries, r, err)
	}
}
