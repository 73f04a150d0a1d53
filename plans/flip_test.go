package plans_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// run is a test in a bubble, with a booted system under load.
func run(t *testing.T, topics map[string]int32, fn func(t *testing.T, s *system, p *process)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, topics)
		p := s.process()
		s.boot(p)
		s.produceAll()
		time.Sleep(50 * time.Millisecond)
		fn(t, s, p)
		s.mu.Lock()
		live := s.live
		s.mu.Unlock()
		if err := s.finish(); err != nil {
			t.Error(err)
		}
		s.bury(live)
		if live != p {
			s.bury(p)
		}
	})
}

func TestFlipRelocateRollback(t *testing.T) {
	run(t, map[string]int32{"orders": 3, "other": 1}, func(t *testing.T, s *system, p *process) {
		var lines []plans.Line
		report, err := p.runner.Flip(t.Context(), []string{"orders"}, plans.Options{}, func(l plans.Line) { lines = append(lines, l) })
		if err != nil {
			t.Fatal(err)
		}
		if report.Home != offsets.Target || report.Attempts != 1 || report.Hold <= 0 || report.Hold > 50*time.Millisecond || len(report.Seals) != 3 {
			t.Errorf("report %+v", report)
		}
		if len(lines) < 3 {
			t.Errorf("progress %v", lines)
		}
		if err := s.mustFlow(100 * time.Millisecond); err != nil {
			t.Error(err)
		}
		relocated, err := p.runner.Relocate(t.Context(), []string{"orders"}, nil)
		if err != nil || len(relocated) != 1 || !relocated[0].Relocated || relocated[0].Epoch <= report.Epoch {
			t.Fatalf("relocate: %+v, %v", relocated, err)
		}
		shown := p.gate.route(offsets.Partition{Topic: topicID("orders")}).Shown
		if shown.Epoch(3) != 4 {
			t.Errorf("shown epoch %d after the relocation, want 4 (%+v)", shown.Epoch(3), shown)
		}
		back, err := p.runner.Rollback(t.Context(), []string{"orders"}, plans.Options{}, nil)
		if err != nil || len(back) != 1 || back[0].Home != offsets.Legacy || back[0].Relocated {
			t.Fatalf("rollback: %+v, %v", back, err)
		}
		shown = p.gate.route(offsets.Partition{Topic: topicID("orders")}).Shown
		if shown.IsRelocated() || shown.Epoch(3) != 5 {
			t.Errorf("shown epoch %d after the rollback, want 5 (%+v)", shown.Epoch(3), shown)
		}
		if err := s.mustFlow(100 * time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

func TestOperatorsErrors(t *testing.T) {
	run(t, map[string]int32{"a": 1, "b": 1, "c": 1}, func(t *testing.T, s *system, p *process) {
		flip := func(topics ...string) error {
			_, err := p.runner.Flip(t.Context(), topics, plans.Options{}, nil)
			return err
		}
		rollback := func(topics ...string) error {
			_, err := p.runner.Rollback(t.Context(), topics, plans.Options{}, nil)
			return err
		}
		relocate := func(topics ...string) error {
			_, err := p.runner.Relocate(t.Context(), topics, nil)
			return err
		}
		takeBack := func(topics ...string) error {
			_, err := p.runner.TakeBack(t.Context(), topics, nil)
			return err
		}
		for _, step := range []struct {
			name string
			err  error
			want error
		}{
			{"flip nothing", flip(), plans.ErrRefused},
			{"flip unknown", flip("nope"), plans.ErrUnknownTopic},
			{"rollback unknown", rollback("nope"), plans.ErrUnknownTopic},
			{"rollback unmoved", rollback("a"), plans.ErrNotMoved},
			{"relocate unmoved", relocate("a"), plans.ErrNotMoved},
			{"flip", flip("a", "b"), nil},
			{"flip again", flip("a", "b"), plans.ErrMoved},
			{"flip a part", flip("a"), plans.ErrMoved},
			{"flip more", flip("a", "c"), plans.ErrMoved},
			{"rollback a part", rollback("a"), plans.ErrPartOfUnit},
			{"relocate a part", relocate("b"), plans.ErrPartOfUnit},
			{"take back unrelocated", takeBack("a", "b"), plans.ErrNotRelocated},
			{"relocate", relocate("b", "a"), nil},
			{"relocate again", relocate("b", "a"), plans.ErrRelocated},
			{"take back", takeBack("b", "a"), nil},
			{"rollback", rollback("b", "a"), nil},
			{"another unit", flip("b", "c"), nil},
			{"what is left", flip("a"), nil},
			{"rollback two units", rollback("a", "b", "c"), nil},
		} {
			var typed *plans.Error
			switch {
			case !errors.Is(step.err, step.want) || (step.want == nil) != (step.err == nil):
				t.Errorf("%s: %v, want %v", step.name, step.err, step.want)
			case step.err != nil && (!errors.As(step.err, &typed) || typed.Op == "" || typed.Subject == "" || typed.Hint == ""):
				t.Errorf("%s: the operator is not told enough: %#v", step.name, step.err)
			}
		}
		seen := make(map[offsets.Partition]string)
		for _, r := range s.records() {
			for _, part := range r.Parts {
				if other, twice := seen[part.Partition()]; twice {
					t.Errorf("%v is in units %s and %s", part, other, r.Unit)
				}
				seen[part.Partition()] = r.Unit
			}
		}
	})
}

func TestShownEpochsSurviveAnotherUnit(t *testing.T) {
	run(t, map[string]int32{"a": 1, "b": 1}, func(t *testing.T, s *system, p *process) {
		for _, err := range []error{
			second(p.runner.Flip(t.Context(), []string{"a", "b"}, plans.Options{}, nil)),
			second(p.runner.Relocate(t.Context(), []string{"a", "b"}, nil)),
			second(p.runner.Rollback(t.Context(), []string{"a", "b"}, plans.Options{}, nil)),
			second(p.runner.Flip(t.Context(), []string{"b"}, plans.Options{}, nil)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"a", "b"} {
			shown := p.gate.route(offsets.Partition{Topic: topicID(name)}).Shown
			if shown.Epoch(3) != 5 {
				t.Errorf("%s: shown epoch %d, want 5: it went back", name, shown.Epoch(3))
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }
