package main

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"switchback/e2e/history"
)

// at is an instant, in milliseconds.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func TestGapsAreThoseOfTheWindow(t *testing.T) {
	line := &timeline{name: "producer"}
	for _, ms := range []int{0, 10, 20, 21, 21, 120, 130, 400, 410} {
		line.beat(at(ms))
	}
	for _, c := range []struct{ from, to, want int }{
		{0, 20, 10},
		{30, 40, 99},    // in the middle of a gap
		{21, 125, 99},   // ends in a short one
		{125, 140, 270}, // touches one that begins in it
		{400, 500, 10},  // what has not ended is no gap yet
		{-20, -10, 0},
	} {
		if got := line.longest(window{at(c.from), at(c.to)}); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("longest gap of %d to %d: %v, want %d ms", c.from, c.to, got, c.want)
		}
	}
	if line.passed(at(409)) != nil || line.passed(at(410)) == nil {
		t.Error("passed is not about the last beat")
	}
	if w := (window{at(1000), at(1300)}).before(200 * time.Millisecond); w.from != at(800) || w.to != at(1000) {
		t.Errorf("window before: %v", w)
	}
}

func TestAProducersPauseIsNotTheConsumersSilence(t *testing.T) {
	acked := &acknowledged{}
	d := &deliveries{name: "consumer", acked: acked}
	p, other := history.Place{Topic: "t"}, history.Place{Topic: "t", Partition: 1}
	for offset, ms := range []int{0, 100, 480, 900} {
		acked.ack(p, int64(offset), at(ms))
	}
	acked.ack(other, 0, at(1))
	d.add(p, at(5), 0)
	d.add(p, at(105), 1)
	d.add(p, at(500), 2)  // 20 ms after its acknowledgement
	d.add(p, at(1200), 3) // 300 ms after it
	d.add(other, at(2), 0)
	for _, c := range []struct{ from, to, silence, gap int }{
		{50, 450, 5, 395}, // the gap lies in the window, its silence begins after it
		{50, 600, 20, 700},
		{50, 1000, 300, 700},
		{1201, 1300, 0, 0},
	} {
		silence, gap := d.silences(window{at(c.from), at(c.to)})
		if silence != time.Duration(c.silence)*time.Millisecond || gap != time.Duration(c.gap)*time.Millisecond {
			t.Errorf("%d to %d: silence %v, gap %v, want %d and %d ms", c.from, c.to, silence, gap, c.silence, c.gap)
		}
	}
	if d.passed(at(1199), 1) != nil || d.passed(at(1199), 2) == nil {
		t.Error("passed is not about every partition")
	}
}

func TestPercentilesAreByNearestRank(t *testing.T) {
	var s sample
	if !math.IsNaN(s.at(0.5)) {
		t.Error("nothing has a median")
	}
	for i := range 200 {
		s.add(time.Duration(200-i) * time.Millisecond)
	}
	for p, want := range map[float64]float64{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := s.at(p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
	}
}

func TestAStageEndsAndCleansUpLikeATest(t *testing.T) {
	var said []string
	wrong := errors.New("wrong")
	err := play("", func(t testing.TB) error {
		t.Cleanup(func() { said = append(said, "last") })
		t.Cleanup(func() {
			if t.Failed() {
				said = append(said, "first")
			}
		})
		t.Fatal(wrong)
		said = append(said, "never")
		return nil
	})
	if err == nil || err.Error() != "wrong" || !slices.Equal(said, []string{"first", "last"}) {
		t.Errorf("%v, %v", err, said)
	}
	if err := play("", func(testing.TB) error { return nil }); err != nil {
		t.Error(err)
	}
}
