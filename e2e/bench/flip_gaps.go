package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"switchback/e2e/history"
)

// A window is a stretch of time in which gaps are looked for.
type window struct{ from, to time.Time }

// before is the window of the same length, but no longer than limit, that ends where w begins.
func (w window) before(limit time.Duration) window {
	return window{w.from.Add(-min(limit, w.to.Sub(w.from))), w.from}
}

// A timeline is when a producer was told of acknowledgements, to the millisecond. It may be used by several goroutines.
type timeline struct {
	name string

	mu sync.Mutex
	at []time.Time // ascending, a millisecond apart at least
}

func (t *timeline) beat(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.at); n == 0 || at.Sub(t.at[n-1]) >= time.Millisecond {
		t.at = append(t.at, at)
	}
}

// longest is the longest gap of which some part lies in w. A gap that has not ended is no gap yet: see passed.
func (t *timeline) longest(w window) (gap time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := sort.Search(len(t.at), func(i int) bool { return t.at[i].After(w.from) })
	for i := max(first, 1); i < len(t.at) && t.at[i-1].Before(w.to); i++ {
		gap = max(gap, t.at[i].Sub(t.at[i-1]))
	}
	return gap
}

// passed returns nil once the timeline has gone on after an instant, so that no gap before it is open.
func (t *timeline) passed(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.at); n == 0 || !t.at[n-1].After(at) {
		return fmt.Errorf("%s: nothing acknowledged since", t.name)
	}
	return nil
}

// acknowledged is when the only producer of a topic was told of each record.
type acknowledged struct {
	mu sync.Mutex
	at map[history.Place][]time.Time // by offset
}

func (a *acknowledged) ack(p history.Place, offset int64, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[history.Place][]time.Time{}
	}
	for int64(len(a.at[p])) <= offset {
		a.at[p] = append(a.at[p], time.Time{})
	}
	a.at[p][offset] = at
}

// of is when a record was acknowledged: the beginning of time when it was not (yet).
func (a *acknowledged) of(p history.Place, offset int64) (at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if all := a.at[p]; offset < int64(len(all)) {
		at = all[offset]
	}
	return at
}

// A delivery is what one poll gave a consumer of one partition.
type delivery struct {
	at    time.Time
	first int64 // offset
}

// deliveries is what a consumer was given. It may be used by several goroutines.
type deliveries struct {
	name  string
	acked *acknowledged

	mu  sync.Mutex
	all map[history.Place][]delivery
}

func (d *deliveries) add(p history.Place, at time.Time, first int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[history.Place][]delivery{}
	}
	d.all[p] = append(d.all[p], delivery{at, first})
}

// silences returns two figures of the partition that has the longest of each, in a window. gap is the time between two deliveries, whosever fault
// it is. silence is the part of a gap in which the next record was acknowledged: the producer's own pauses are not the consumer's.
func (d *deliveries) silences(w window) (silence, gap time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, all := range d.all {
		for i := 1; i < len(all); i++ {
			begin, end := all[i-1].at, all[i].at
			if !end.After(w.from) || !begin.Before(w.to) {
				continue
			}
			gap = max(gap, end.Sub(begin))
			if acked := d.acked.of(p, all[i].first); acked.After(begin) {
				begin = acked
			}
			if begin.Before(w.to) {
				silence = max(silence, end.Sub(begin))
			}
		}
	}
	return silence, gap
}

// passed returns nil once every partition of a topic has been given something after an instant.
func (d *deliveries) passed(at time.Time, partitions int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, all := range d.all {
		if all[len(all)-1].at.After(at) {
			n++
		}
	}
	if n < partitions {
		return fmt.Errorf("%s: %d of %d partitions given out since", d.name, n, partitions)
	}
	return nil
}

// sample is figures of the same kind, in milliseconds.
type sample []float64

func (s *sample) add(d time.Duration) { *s = append(*s, float64(d)/float64(time.Millisecond)) }

// at is a percentile by nearest rank: 1 is the largest, NaN that of nothing.
func (s sample) at(p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)]
}
