package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind names a check.
type Kind string

// The checks; the package comment says what each means.
const (
	Lost        Kind = "lost"
	Forked      Kind = "forked"
	Duplicated  Kind = "duplicated"
	Reordered   Kind = "reordered"
	Strange     Kind = "strange"
	Failed      Kind = "failed"
	Uncommitted Kind = "uncommitted"
	Reset       Kind = "reset"
	Skipped     Kind = "skipped"
	Misread     Kind = "misread"
	Unread      Kind = "unread"
)

// maxFaults bounds how many faults of one kind a report spells out; all are counted.
const maxFaults = 10

// Fault is one broken promise.
type Fault struct {
	Kind   Kind
	Place  Place
	Detail string
}

func (f Fault) String() string { return fmt.Sprintf("%s: %v: %s", f.Kind, f.Place, f.Detail) }

// Report is what a check found.
type Report struct {
	Acked     int // acknowledgements
	Logged    int // records in the log
	Unasked   int // records in the log whose acknowledgement nobody saw
	Reads     int // records that consumers were handed
	ReadTwice int // of them, by one group
	Commits   int
	Counts    map[Kind]int
	Faults    []Fault // the first of every kind
}

// OK reports whether nothing was broken.
func (r *Report) OK() bool { return len(r.Counts) == 0 }

func (r *Report) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d records acknowledged, %d in the log (%d of unknown outcome), %d reads (%d again), %d commits",
		r.Acked, r.Logged, r.Unasked, r.Reads, r.ReadTwice, r.Commits)
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&out, "\n%s: %d", kind, r.Counts[kind])
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&out, "\n  %v", f)
	}
	return out.String()
}

func (r *Report) fault(kind Kind, p Place, format string, args ...any) {
	if r.Counts == nil {
		r.Counts = make(map[Kind]int)
	}
	if r.Counts[kind]++; r.Counts[kind] <= maxFaults {
		r.Faults = append(r.Faults, Fault{kind, p, fmt.Sprintf(format, args...)})
	}
}

// Check compares the history with the logs, each in the order of its offsets. Groups named in complete have read everything that the
// logs hold. Nobody may record meanwhile.
func (h *History) Check(logs map[Place][]Logged, complete ...string) *Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Report{Acked: len(h.acks), Commits: len(h.commits)}
	h.checkLogs(r, logs)
	h.checkAcks(r, logs)
	h.checkReads(r, logs)
	h.checkCommits(r)
	for _, group := range complete {
		h.checkComplete(r, logs, group)
	}
	return r
}

// checkLogs looks at the logs by themselves.
func (h *History) checkLogs(r *Report, logs map[Place][]Logged) {
	type home struct {
		place  Place
		offset int64
	}
	seen := make(map[Mark]home)
	for _, place := range places(logs) {
		last := make(map[string]Logged) // of every producer, in this partition
		for _, rec := range logs[place] {
			r.Logged++
			if first, ok := seen[rec.Mark]; ok {
				r.fault(Duplicated, place, "%v at offset %d stands at offset %d of %v too", rec.Mark, rec.Offset, first.offset, first.place)
				continue
			}
			seen[rec.Mark] = home{place, rec.Offset}
			if sent, ok := h.sent[rec.Mark.Producer]; !ok || rec.Mark.Number > sent {
				r.fault(Strange, place, "%v at offset %d was sent by nobody", rec.Mark, rec.Offset)
			}
			if before, ok := last[rec.Mark.Producer]; ok && before.Mark.Number > rec.Mark.Number {
				r.fault(Reordered, place, "%v at offset %d stands behind %v at offset %d", rec.Mark, rec.Offset, before.Mark, before.Offset)
			}
			last[rec.Mark.Producer] = rec
		}
	}
}

// checkAcks compares what producers were told with what is there.
func (h *History) checkAcks(r *Report, logs map[Place][]Logged) {
	for _, f := range h.failures {
		r.fault(Failed, Place{}, "%s: %s", f.who, f.err)
	}
	type at struct {
		place  Place
		offset int64
	}
	told := make(map[at]Mark, len(h.acks))
	known := make(map[Mark]bool, len(h.acks))
	for _, a := range h.acks {
		known[a.mark] = true
		if other, ok := told[at{a.place, a.offset}]; ok && other != a.mark {
			r.fault(Forked, a.place, "offset %d was acknowledged for %v and for %v", a.offset, other, a.mark)
		}
		told[at{a.place, a.offset}] = a.mark
		switch rec, ok := find(logs[a.place], a.offset); {
		case !ok:
			r.fault(Lost, a.place, "%v was acknowledged at offset %d, where there is nothing", a.mark, a.offset)
		case rec.Mark != a.mark:
			r.fault(Lost, a.place, "%v was acknowledged at offset %d, where %v stands", a.mark, a.offset, rec.Mark)
		}
	}
	for _, log := range logs {
		for _, rec := range log {
			if !known[rec.Mark] {
				r.Unasked++
			}
		}
	}
}

// checkCommits looks for committed offsets that went back. One group's commits of a partition come from one consumer at a time, in order.
func (h *History) checkCommits(r *Report) {
	for _, c := range h.commits {
		if c.offset < c.before {
			r.fault(Uncommitted, c.spot.place, "group %s committed %d after %d", c.spot.group, c.offset, c.before)
		}
	}
}

func places(logs map[Place][]Logged) []Place {
	return slices.SortedFunc(maps.Keys(logs), func(a, b Place) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
}

// find returns the record at an offset.
func find(log []Logged, offset int64) (Logged, bool) {
	i := atOrAfter(log, offset)
	if i == len(log) || log[i].Offset != offset {
		return Logged{}, false
	}
	return log[i], true
}

// atOrAfter returns the index of the first record at or after an offset. Offsets may have gaps: control records are no records.
func atOrAfter(log []Logged, offset int64) int {
	i, _ := slices.BinarySearchFunc(log, offset, func(rec Logged, offset int64) int {
		switch {
		case rec.Offset < offset:
			return -1
		case rec.Offset > offset:
			return 1
		}
		return 0
	})
	return i
}
