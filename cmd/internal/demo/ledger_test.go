package demo

import (
	"strings"
	"testing"
)

// history is a ledger and the log that goes with it, without a fault: both
// groups have read everything.
func history(n int64) (*ledger, [partitions][]record) {
	l := newLedger("a", "b")
	var log [partitions][]record
	for seq := range n {
		for id := range int32(producers) {
			m := mark{id, seq}
			p := partitionOf(m)
			offset := int64(len(log[p]))
			log[p] = append(log[p], record{offset, m, true})
			l.send(m)
			l.ack(p, offset, m)
			for _, group := range []string{"a", "b"} {
				l.read(group, p, offset, m.value())
			}
		}
	}
	return l, log
}

func TestCleanHistoryIsClean(t *testing.T) {
	l, log := history(300)
	f := l.audit(log)
	if f.lost+f.duplicated+f.reordered+f.strange != 0 || len(f.examples) != 0 {
		t.Fatalf("found %+v", f)
	}
	if f.read != 600 || f.groups[0].read != 600 || l.acked() != 600 {
		t.Fatalf("audited %d, read %d, acked %d of 600", f.read, f.groups[0].read, l.acked())
	}
	if !l.reached(l.ends()) {
		t.Fatal("groups that read everything have not reached the end")
	}
}

// A sent record without an answer may stand in the log or not.
func TestUnansweredRecordsAreNoFault(t *testing.T) {
	for _, there := range []bool{false, true} {
		l, log := history(6)
		m := mark{1, 6}
		l.send(m)
		if there {
			log[0] = append(log[0], record{int64(len(log[0])), m, true})
			for _, g := range []string{"a", "b"} {
				l.read(g, 0, int64(len(log[0])-1), m.value())
			}
		}
		if f := l.audit(log); len(f.examples) != 0 {
			t.Errorf("in the log %v: %q", there, f.examples)
		}
	}
}

func TestPlantedFaults(t *testing.T) {
	const p, at = 2, 10
	for name, fault := range map[string]struct {
		plant func(*ledger, *[partitions][]record)
		seen  func(findings) int64
		says  string
	}{
		"cut off at the end": {
			func(_ *ledger, log *[partitions][]record) { log[p] = log[p][:len(log[p])-1] },
			func(f findings) int64 { return f.lost }, "is not there",
		},
		"another record at its offset": {
			func(_ *ledger, log *[partitions][]record) {
				log[p][at].mark, log[p][at+1].mark = log[p][at+1].mark, log[p][at].mark
			},
			func(f findings) int64 { return f.lost }, "is not there",
		},
		"two acknowledgements of one offset": {
			func(l *ledger, _ *[partitions][]record) { l.send(mark{0, 999}); l.ack(p, at, mark{0, 999}) },
			func(f findings) int64 { return f.lost }, "is not there",
		},
		"twice in the log": {
			func(_ *ledger, log *[partitions][]record) {
				log[p] = append(log[p], record{int64(len(log[p])), log[p][at].mark, true})
			},
			func(f findings) int64 { return f.duplicated }, "second time",
		},
		"twice in two partitions": {
			func(_ *ledger, log *[partitions][]record) {
				log[p+1] = append(log[p+1], record{int64(len(log[p+1])), log[p][at].mark, true})
			},
			func(f findings) int64 { return f.strange }, "nobody sent",
		},
		"out of order": {
			func(_ *ledger, log *[partitions][]record) {
				log[p][at].mark, log[p][at+2].mark = log[p][at+2].mark, log[p][at].mark
			},
			func(f findings) int64 { return f.reordered }, "stands behind",
		},
		"never sent": {
			func(_ *ledger, log *[partitions][]record) {
				log[p] = append(log[p], record{int64(len(log[p])), mark{0, 5000 * partitions}, true})
			},
			func(f findings) int64 { return f.strange }, "nobody sent",
		},
		"somebody else's": {
			func(_ *ledger, log *[partitions][]record) {
				log[p] = append(log[p], record{int64(len(log[p])), mark{}, false})
			},
			func(f findings) int64 { return f.strange }, "nobody sent",
		},
		"read again": {
			func(l *ledger, log *[partitions][]record) { l.read("a", p, at, log[p][at].mark.value()) },
			func(f findings) int64 { return f.duplicated }, "1 read again",
		},
		"jumped over": {
			func(l *ledger, log *[partitions][]record) {
				for i := range int64(2) { // the log grows by two, the group reads the second
					m := mark{0, 300 + p + i*partitions}
					offset := int64(len(log[p]))
					l.send(m)
					log[p] = append(log[p], record{offset, m, true})
					l.read("b", p, offset, m.value())
					if i == 1 {
						l.read("a", p, offset, m.value())
					}
				}
			},
			func(f findings) int64 { return f.lost }, "1 records jumped over",
		},
		"not read to the end": {
			func(l *ledger, log *[partitions][]record) {
				m := mark{0, 300 + p}
				l.send(m)
				log[p] = append(log[p], record{int64(len(log[p])), m, true})
			},
			func(f findings) int64 { return f.lost }, "1 not reached",
		},
		"read otherwise": {
			func(_ *ledger, log *[partitions][]record) { log[p][at].mark.producer ^= 1 },
			func(f findings) int64 { return f.strange }, "read otherwise",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, log := history(300)
			fault.plant(l, &log)
			f := l.audit(log)
			if fault.seen(f) == 0 || !strings.Contains(strings.Join(f.examples, "\n"), fault.says) {
				t.Fatalf("found %+v", f)
			}
		})
	}
}
