package history_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"switchback/e2e/history"
)

var (
	p0 = history.Place{Topic: "orders", Partition: 0}
	p1 = history.Place{Topic: "orders", Partition: 1}
)

func mark(n int64) history.Mark { return history.Mark{Producer: "7", Number: n} }

// run is a clean run that every case spoils in one way: ten records on two partitions, all acknowledged, read and committed in pairs by one
// consumer each. A control record took offset 3 of the first partition.
type run struct {
	h    history.History
	logs map[history.Place][]history.Logged
}

// twists are the places where a case may act otherwise than a clean client.
type twists struct {
	ack    func(h *history.History, m history.Mark, p history.Place, offset int64) bool // true: in place of the honest record
	read   func(h *history.History, m history.Mark, p history.Place, offset int64) bool
	commit func(h *history.History, p history.Place, offset int64) bool
	logs   func(logs map[history.Place][]history.Logged)
}

func play(tw twists) *run {
	r := &run{logs: map[history.Place][]history.Logged{}}
	offsets := map[history.Place][]int64{p0: {0, 1, 2, 4, 5}, p1: {0, 1, 2, 3, 4}}
	number := int64(0)
	r.h.Assigned("g", "c", p0)
	r.h.Assigned("g", "c", p1)
	for i := range 5 {
		for _, p := range []history.Place{p0, p1} {
			m, offset := mark(number), offsets[p][i]
			number++
			r.logs[p] = append(r.logs[p], history.Logged{Offset: offset, Mark: m})
			if tw.ack == nil || !tw.ack(&r.h, m, p, offset) {
				r.h.Acked(m, p, offset)
			}
			if tw.read == nil || !tw.read(&r.h, m, p, offset) {
				r.h.Read("g", "c", p, offset, m)
			}
			if i%2 == 1 && (tw.commit == nil || !tw.commit(&r.h, p, offset+1)) {
				r.h.Committed("g", p, offset+1)
			}
		}
	}
	if tw.logs != nil {
		tw.logs(r.logs)
	}
	return r
}

func TestCleanRunIsClean(t *testing.T) {
	r := play(twists{})
	report := r.h.Check(r.logs, "g")
	if !report.OK() {
		t.Fatal(report)
	}
	if report.Acked != 10 || report.Logged != 10 || report.Reads != 10 || report.ReadTwice != 0 || report.Unasked != 0 || report.Commits != 4 {
		t.Fatalf("counts: %v", report)
	}
}

func TestPlantedFaults(t *testing.T) {
	at := func(p history.Place, offset int64) func(history.Place, int64) bool {
		return func(q history.Place, o int64) bool { return p == q && o == offset }
	}
	here := at(p0, 2)
	cases := []struct {
		name  string
		tw    twists
		kinds []history.Kind // exactly these
	}{
		{"an acknowledged record is gone", twists{logs: func(l map[history.Place][]history.Logged) {
			l[p0] = l[p0][:4]
		}, read: func(_ *history.History, _ history.Mark, p history.Place, o int64) bool { return p == p0 && o == 5 }},
			[]history.Kind{history.Lost}},
		{"another record stands at the acknowledged offset", twists{ack: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if here(p, o) {
				h.Acked(m, p, 4)
				return true
			}
			return false
		}}, []history.Kind{history.Lost, history.Forked}},
		{"an acknowledgement names a control record's offset", twists{ack: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if here(p, o) {
				h.Acked(m, p, 3)
				return true
			}
			return false
		}}, []history.Kind{history.Lost}},
		{"a record stands twice", twists{logs: func(l map[history.Place][]history.Logged) {
			l[p1] = append(l[p1], history.Logged{Offset: 5, Mark: l[p1][2].Mark})
		}}, []history.Kind{history.Duplicated, history.Unread}},
		{"a record stands in two partitions", twists{logs: func(l map[history.Place][]history.Logged) {
			l[p1] = append(l[p1], history.Logged{Offset: 5, Mark: l[p0][2].Mark})
		}}, []history.Kind{history.Duplicated, history.Unread}},
		{"two records changed places", twists{
			ack: func(h *history.History, m history.Mark, p history.Place, o int64) bool { h.Sent(m); return true },
			read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
				if p == p0 && (o == 1 || o == 2) {
					h.Read("g", "c", p, o, mark(6-2*o)) // 1 reads number 4, 2 reads number 2
					return true
				}
				return false
			},
			logs: func(l map[history.Place][]history.Logged) {
				l[p0][1].Mark, l[p0][2].Mark = l[p0][2].Mark, l[p0][1].Mark
			}}, []history.Kind{history.Reordered}},
		{"a record that nobody sent", twists{logs: func(l map[history.Place][]history.Logged) {
			l[p0] = append(l[p0], history.Logged{Offset: 6, Mark: history.Mark{Producer: "stranger"}})
		}}, []history.Kind{history.Strange, history.Unread}},
		{"a record beyond what was sent", twists{logs: func(l map[history.Place][]history.Logged) {
			l[p0] = append(l[p0], history.Logged{Offset: 6, Mark: mark(77)})
		}}, []history.Kind{history.Strange, history.Unread}},
		{"a producer was told of a failure", twists{ack: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if here(p, o) {
				h.Failed(m, "NOT_LEADER_OR_FOLLOWER")
				return true
			}
			return false
		}}, []history.Kind{history.Failed}},
		{"a commit failed", twists{commit: func(h *history.History, p history.Place, o int64) bool {
			h.Erred("c", "ILLEGAL_GENERATION")
			return true
		}}, []history.Kind{history.Failed}},
		{"a committed offset went back", twists{commit: func(h *history.History, p history.Place, o int64) bool {
			h.Committed("g", p, o)
			h.Committed("g", p, o-1)
			return true
		}}, []history.Kind{history.Uncommitted}},
		{"a position went back to the start", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 5 {
				for n, old := range []int64{0, 1, 2, 4, 5} {
					h.Read("g", "c", p, old, mark(int64(2*n)))
				}
				return true
			}
			return false
		}}, []history.Kind{history.Reset}},
		{"the same record again", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			h.Read("g", "c", p, o, m)
			if here(p, o) {
				h.Read("g", "c", p, o, m)
			}
			return true
		}}, []history.Kind{history.Reset}},
		{"a position jumped", twists{read: func(_ *history.History, _ history.Mark, p history.Place, o int64) bool { return here(p, o) }},
			[]history.Kind{history.Skipped, history.Unread}},
		{"a position started beyond the committed offset", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 4 { // after the commit of 2: nobody reads 2, 4 comes first
				h.Revoked("g", "c", p)
				h.Assigned("g", "d", p)
			}
			if p == p0 && o >= 4 {
				h.Read("g", "d", p, o, m)
				return true
			}
			return here(p, o)
		}}, []history.Kind{history.Skipped, history.Unread}},
		{"a position started before the committed offset", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 5 { // after the commit of 5
				h.Revoked("g", "c", p)
				h.Assigned("g", "d", p)
				h.Read("g", "d", p, 2, mark(4))
				h.Read("g", "d", p, 4, mark(6))
				h.Read("g", "d", p, 5, mark(8))
				return true
			}
			return false
		}}, []history.Kind{history.Reset}},
		{"a consumer read what is not there", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if here(p, o) {
				h.Read("g", "c", p, o, mark(99))
				return true
			}
			return false
		}}, []history.Kind{history.Misread}},
		{"a consumer read beyond the log", twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 5 {
				h.Read("g", "c", p, o, m)
				h.Read("g", "c", p, 6, mark(99))
				return true
			}
			return false
		}}, []history.Kind{history.Misread}},
		{"the last record was never read", twists{read: func(_ *history.History, _ history.Mark, p history.Place, o int64) bool { return p == p0 && o == 5 }},
			[]history.Kind{history.Unread}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := play(c.tw)
			report := r.h.Check(r.logs, "g")
			if len(report.Counts) != len(c.kinds) {
				t.Fatalf("want %v, got:\n%v", c.kinds, report)
			}
			for _, kind := range c.kinds {
				if report.Counts[kind] == 0 {
					t.Errorf("want %v, got:\n%v", c.kinds, report)
				}
			}
		})
	}
}

func TestWhatKafkaAllowsIsNoFault(t *testing.T) {
	t.Run("unknown outcome", func(t *testing.T) {
		r := play(twists{ack: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			h.Sent(m)
			return m.Number == 4
		}})
		if report := r.h.Check(r.logs, "g"); !report.OK() || report.Unasked != 1 {
			t.Fatal(report)
		}
	})
	t.Run("read again after a rebalance", func(t *testing.T) {
		r := play(twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 4 { // after the commit of 2
				h.Revoked("g", "c", p)
				h.Assigned("g", "d", p)
				h.Read("g", "d", p, 2, mark(4))
			}
			if p == p0 && o >= 4 {
				h.Read("g", "d", p, o, m)
				return true
			}
			return false
		}})
		if report := r.h.Check(r.logs, "g"); !report.OK() || report.ReadTwice != 1 {
			t.Fatal(report)
		}
	})
	t.Run("an assignment told before the commit that it starts from", func(t *testing.T) {
		r := play(twists{read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
			if p == p0 && o == 4 {
				h.Revoked("g", "c", p)
				h.Assigned("g", "d", p)
				h.Committed("g", p, 4) // beyond the control record
			}
			if p == p0 && o >= 4 {
				h.Read("g", "d", p, o, m)
				return true
			}
			return false
		}})
		if report := r.h.Check(r.logs, "g"); !report.OK() {
			t.Fatal(report)
		}
	})
}

func TestACommitOfUnknownOutcomeMayHaveHappened(t *testing.T) {
	for _, told := range []bool{true, false} {
		r := play(twists{
			commit: func(*history.History, history.Place, int64) bool { return true },
			read: func(h *history.History, m history.Mark, p history.Place, o int64) bool {
				if p == p0 && o == 4 {
					if told {
						h.Unsure("g", p, 3)
					}
					h.Revoked("g", "c", p)
					h.Assigned("g", "d", p)
				}
				if p == p0 && o >= 4 {
					h.Read("g", "d", p, o, m)
					return true
				}
				return false
			},
		})
		if report := r.h.Check(r.logs, "g"); report.OK() != told {
			t.Fatalf("told of the commit: %v\n%v", told, report)
		}
	}
}

func TestReportIsBoundedAndCounts(t *testing.T) {
	var h history.History
	for n := range int64(1000) {
		h.Acked(mark(n), p0, n)
	}
	report := h.Check(nil)
	if report.Counts[history.Lost] != 1000 || len(report.Faults) > 20 || !strings.Contains(report.String(), "lost: 1000") {
		t.Fatal(report)
	}
}

func TestManyMayRecord(t *testing.T) {
	var h history.History
	logs := map[history.Place][]history.Logged{}
	var wait sync.WaitGroup
	for part := range int32(8) {
		p := history.Place{Topic: "orders", Partition: part}
		for n := range int64(500) {
			logs[p] = append(logs[p], history.Logged{Offset: n, Mark: history.Mark{Producer: fmt.Sprint(part), Number: n}})
		}
		log := logs[p]
		wait.Go(func() {
			h.Assigned("g", "c", p)
			for _, rec := range log {
				h.Acked(rec.Mark, p, rec.Offset)
				h.Read("g", "c", p, rec.Offset, rec.Mark)
				h.Committed("g", p, rec.Offset+1)
			}
		})
	}
	wait.Wait()
	if report := h.Check(logs, "g"); !report.OK() || report.Acked != 4000 || h.Assignments("g") != 8 || h.Reads("g") != 4000 {
		t.Fatal(report)
	}
	if h.Position("g", p1) != 500 || h.Reached("g", p1) != 500 || h.AcksOf("1") != 500 {
		t.Fatal("positions")
	}
}
