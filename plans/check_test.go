package plans_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchback/plans"
)

func TestJudge(t *testing.T) {
	well := plans.Look{State: plans.CaughtUp, Leader: true, Exact: true}
	with := func(fn func(*plans.Look)) plans.Look { l := well; fn(&l); return l }
	for _, c := range []struct {
		name   string
		kind   plans.Kind
		look   plans.Look
		accept bool
		check  string // of the refusal or warning; "" for none
		level  plans.Level
		passes bool
	}{
		{"well", plans.Flip, well, false, "", plans.OK, false},
		{"a little behind", plans.Flip, with(func(l *plans.Look) { l.State, l.Batches, l.Drain = plans.Copying, 9, 90*time.Millisecond }), false, "", plans.OK, false},
		{"far behind", plans.Flip, with(func(l *plans.Look) { l.Batches, l.Drain = 900, 110*time.Millisecond }), false, "lag", plans.Refusal, true},
		{"behind by who knows", plans.Rollback, with(func(l *plans.Look) { l.Batches, l.Drain = 1, -1 }), false, "lag", plans.Refusal, true},
		{"legacy away", plans.Flip, with(func(l *plans.Look) { l.State = plans.Unreachable }), false, "legacy", plans.Refusal, true},
		{"stalled", plans.Rollback, with(func(l *plans.Look) { l.State, l.Err = plans.Stalled, "RECORD_TOO_LARGE" }), false, "copy", plans.Refusal, false},
		{"diverged", plans.Rollback, with(func(l *plans.Look) { l.State = plans.Diverged }), true, "copy", plans.Refusal, false},
		{"no leader", plans.Flip, with(func(l *plans.Look) { l.Leader = false }), false, "leader", plans.Refusal, true},
		{"late requests", plans.Flip, with(func(l *plans.Look) { l.QuietIn = time.Second }), false, "quiet", plans.Refusal, true},
		{"transactions", plans.Flip, with(func(l *plans.Look) { l.Transactional = true }), true, "transactions", plans.Refusal, false},
		{"transactions on the way back", plans.Rollback, with(func(l *plans.Look) { l.Transactional = true }), false, "", plans.OK, false},
		{"internal", plans.Flip, with(func(l *plans.Look) { l.Internal = true }), true, "internal", plans.Refusal, false},
		{"LogAppendTime", plans.Flip, with(func(l *plans.Look) { l.Configs = []string{"message.timestamp.type=LogAppendTime"} }), false, "config", plans.Refusal, false},
		{"LogAppendTime accepted", plans.Flip, with(func(l *plans.Look) { l.Configs = []string{"message.timestamp.type=LogAppendTime"} }), true, "config", plans.Warning, false},
		{"inexact", plans.Rollback, with(func(l *plans.Look) { l.Exact, l.InexactFrom = false, 17 }), false, "exact", plans.Refusal, false},
		{"inexact accepted", plans.Rollback, with(func(l *plans.Look) { l.Exact, l.InexactFrom = false, 17 }), true, "exact", plans.Warning, false},
	} {
		findings := plans.Judge(c.kind, []plans.Part{{Name: "t"}}, []plans.Look{c.look}, c.accept, limits)
		var bad []plans.Finding
		for _, f := range findings {
			if f.Level != plans.OK {
				bad = append(bad, f)
			}
			if f.Fact == "" || f.Subject == "" || (f.Level != plans.OK && f.Hint == "") {
				t.Errorf("%s: finding without words: %+v", c.name, f)
			}
		}
		switch {
		case c.check == "":
			if len(bad) != 0 {
				t.Errorf("%s: %v", c.name, bad)
			}
		case len(bad) != 1 || bad[0].Check != c.check || bad[0].Level != c.level || bad[0].Passes != c.passes:
			t.Errorf("%s: %+v, want one %s about %s", c.name, bad, c.level, c.check)
		}
	}
}

func TestJudgeIsBrief(t *testing.T) {
	var parts []plans.Part
	var looks []plans.Look
	for i := range int32(1000) {
		parts = append(parts, plans.Part{Name: "t", Index: i})
		looks = append(looks, plans.Look{State: plans.Stalled, Leader: true, Exact: true})
	}
	findings := plans.Judge(plans.Rollback, parts, looks, false, limits)
	if len(findings) > 12 {
		t.Errorf("%d findings", len(findings))
	}
	if !slices.ContainsFunc(findings, func(f plans.Finding) bool { return strings.Contains(f.Fact, "and 995 more") }) {
		t.Errorf("nothing says how many more: %v", findings)
	}
}

// TestCheckWritesNothing also looks at what it promises: the pause of the flip
// that follows is about the one that was foretold.
func TestCheckWritesNothing(t *testing.T) {
	run(t, map[string]int32{"orders": 2, "bad": 1}, func(t *testing.T, s *system, p *process) {
		s.cluster.set("bad", func(st *part) { st.look = func(l *plans.Look) { l.Transactional = true } })
		writes := s.cat.writes
		report, err := p.runner.Check(t.Context(), plans.Flip, []string{"orders"}, plans.Options{})
		if err != nil || !report.Ready || report.Partitions != 2 || len(report.Steps) < 6 || report.Pause <= 0 || report.Pause > 50*time.Millisecond {
			t.Errorf("%+v, %v", report, err)
		}
		report, err = p.runner.Check(t.Context(), plans.Flip, []string{"orders", "bad"}, plans.Options{})
		if err != nil || report.Ready || report.Findings[0].Level != plans.Refusal || report.Findings[0].Subject != "bad" {
			t.Errorf("%+v, %v", report, err)
		}
		if _, err := p.runner.Check(t.Context(), plans.Rollback, []string{"orders"}, plans.Options{}); !errors.Is(err, plans.ErrNotMoved) {
			t.Errorf("check of a rollback: %v", err)
		}
		if s.cat.writes != writes {
			t.Errorf("checks wrote %d times", s.cat.writes-writes)
		}
		var typed *plans.Error
		_, err = p.runner.Flip(t.Context(), []string{"bad"}, plans.Options{}, nil)
		if !errors.Is(err, plans.ErrRefused) || !errors.As(err, &typed) || len(typed.Findings) != 1 {
			t.Errorf("flip of what the check refuses: %v", err)
		}
		if s.cat.writes != writes || len(s.records()) != 0 {
			t.Error("a refused flip left a record")
		}
		if _, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil); err != nil {
			t.Error(err)
		}
		report, err = p.runner.Check(t.Context(), plans.Rollback, []string{"orders"}, plans.Options{})
		if err != nil || !report.Ready {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// TestDigestsDiffer: equal lengths are not enough, and no attempt follows.
func TestDigestsDiffer(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		s.cluster.set("orders", func(st *part) { st.differ = true })
		_, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if !errors.Is(err, plans.ErrGivenUp) || !strings.Contains(err.Error(), "the logs differ") || s.records()[0].Last.Attempts != 1 {
			t.Errorf("%v, %+v", err, s.records()[0].Last)
		}
		report, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{AcceptInexact: true}, nil)
		if err != nil || report.Unverified != 1 {
			t.Errorf("accepted: %+v, %v", report, err)
		}
		s.cluster.set("orders", func(st *part) { st.differ = false })
	})
}

// TestWaitsForALateRequest: what passes by itself within seconds is no refusal.
func TestWaitsForALateRequest(t *testing.T) {
	run(t, map[string]int32{"orders": 1}, func(t *testing.T, s *system, p *process) {
		until := time.Now().Add(3 * time.Second)
		s.cluster.set("orders", func(st *part) {
			st.look = func(l *plans.Look) { l.QuietIn = max(0, time.Until(until)) }
		})
		check, err := p.runner.Check(t.Context(), plans.Flip, []string{"orders"}, plans.Options{})
		if err != nil || !check.Ready || check.Findings[0].Level != plans.Warning {
			t.Errorf("%+v, %v", check, err)
		}
		var said []string
		report, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, func(l plans.Line) { said = append(said, l.Text) })
		if err != nil || time.Now().Before(until) || report.Attempts != 1 {
			t.Errorf("%+v, %v", report, err)
		}
		if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "may be late") }) {
			t.Errorf("it did not say what it waited for: %q", said)
		}
		if s.waited() > 50*time.Millisecond {
			t.Errorf("a producer waited %s", s.waited())
		}
	})
}
