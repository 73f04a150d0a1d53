package demo

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
)

// A mark is what a record of the demo carries: who sent it, and as which one.
type mark struct {
	producer int32
	sequence int64 // from 0, counted over all partitions
}

// recordBytes is the size of a record's value: a mark and padding.
const recordBytes = 100

func (m mark) value() []byte {
	v := make([]byte, recordBytes)
	binary.BigEndian.PutUint32(v, uint32(m.producer))
	binary.BigEndian.PutUint64(v[4:], uint64(m.sequence))
	return v
}

func parseMark(value []byte) (mark, bool) {
	if len(value) != recordBytes {
		return mark{}, false
	}
	m := mark{int32(binary.BigEndian.Uint32(value)), int64(binary.BigEndian.Uint64(value[4:]))}
	return m, m.producer >= 0 && m.producer < producers && m.sequence >= 0
}

// A record is one that stands in the log.
type record struct {
	offset int64
	mark   mark
	valid  bool // it carries a mark
}

type ack struct {
	offset int64
	mark   mark
}

// A ledger holds what clients were told. Its memory grows with the records of
// the demo, some bytes each, and the demo is bounded.
type ledger struct {
	mu    sync.Mutex
	acks  [partitions][]ack // guarded by mu
	sent  [producers]int64  // guarded by mu; sequences handed to the client
	reads map[string]*[partitions]position
}

// A position is how far a group has read a partition, and what.
type position struct {
	begun bool
	next  int64  // the offset that has to come
	first int64  // the offset that came first
	chain uint64 // digest of what was read in order, from first on
	read  int64
	gaps  int64 // offsets that were jumped over
	again int64 // offsets that came a second time
}

func newLedger(groups ...string) *ledger {
	l := &ledger{reads: map[string]*[partitions]position{}}
	for _, g := range groups {
		l.reads[g] = &[partitions]position{}
	}
	return l
}

// send notes that m is about to be sent.
func (l *ledger) send(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[m.producer] = max(l.sent[m.producer], m.sequence+1)
}

// ack notes that m was acknowledged at an offset.
func (l *ledger) ack(partition int32, offset int64, m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks[partition] = append(l.acks[partition], ack{offset, m})
}

func (l *ledger) acked() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.acks {
		n += int64(len(a))
	}
	return n
}

// ends are the offsets behind the last acknowledged record of each partition.
func (l *ledger) ends() (ends [partitions]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, acks := range l.acks {
		for _, a := range acks {
			ends[p] = max(ends[p], a.offset+1)
		}
	}
	return ends
}

// read notes that a group received a record.
func (l *ledger) read(group string, partition int32, offset int64, value []byte) {
	m, valid := parseMark(value)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads[group][partition].take(record{offset, m, valid})
}

func (p *position) take(r record) {
	switch {
	case !p.begun:
		p.begun, p.first = true, r.offset
	case r.offset < p.next:
		p.again++
		return
	case r.offset > p.next:
		p.gaps += r.offset - p.next
	}
	p.next = r.offset + 1
	p.read++
	p.chain = chain(p.chain, r)
}

// reached reports whether every group has read up to ends.
func (l *ledger) reached(ends [partitions]int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, positions := range l.reads {
		for p := range positions {
			if positions[p].next < ends[p] {
				return false
			}
		}
	}
	return true
}

// chain is the digest of everything read so far and r.
func chain(sum uint64, r record) uint64 {
	var b [28]byte
	binary.BigEndian.PutUint64(b[:], sum)
	binary.BigEndian.PutUint64(b[8:], uint64(r.offset))
	binary.BigEndian.PutUint32(b[16:], uint32(r.mark.producer))
	binary.BigEndian.PutUint64(b[20:], uint64(r.mark.sequence))
	h := fnv.New64a()
	h.Write(b[:])
	return h.Sum64()
}

// findings is what the ledger says about a log.
type findings struct {
	read                                 int64
	lost, duplicated, reordered, strange int64
	groups                               []groupFindings
	examples                             []string // the first of each kind and partition
}

type groupFindings struct {
	name                      string
	read, gaps, again, unread int64
	misread                   int64 // partitions in which other records were read than the log holds
}

// audit compares the ledger with the whole log, in order of offsets, of each
// partition, once all clients have stopped.
func (l *ledger) audit(log [partitions][]record) findings {
	l.mu.Lock()
	defer l.mu.Unlock()
	var f findings
	seen := map[mark]bool{}
	for p := range log {
		f.read += int64(len(log[p]))
		l.auditOrder(&f, p, log[p], seen)
		l.auditAcks(&f, p, log[p])
	}
	for group, positions := range l.reads {
		g := groupFindings{name: group}
		for p := range positions {
			positions[p].audit(&g, log[p])
		}
		if g.gaps+g.again+g.unread+g.misread > 0 {
			f.examples = append(f.examples, fmt.Sprintf("group %s: %d records jumped over, %d not reached, %d read again, %d partitions read otherwise than in the log",
				group, g.gaps, g.unread, g.again, g.misread))
		}
		f.lost += g.gaps + g.unread
		f.duplicated += g.again
		f.strange += g.misread
		f.groups = append(f.groups, g)
	}
	slices.SortFunc(f.groups, func(a, b groupFindings) int { return strings.Compare(a.name, b.name) })
	return f
}

// auditOrder looks for records that stand twice, behind a later one, or that
// nobody sent.
func (l *ledger) auditOrder(f *findings, p int, log []record, seen map[mark]bool) {
	last := [producers]int64{}
	for i := range last {
		last[i] = -1
	}
	var strange, duplicated, reordered once
	for _, r := range log {
		switch {
		case !r.valid || r.mark.sequence >= l.sent[r.mark.producer] || int(partitionOf(r.mark)) != p:
			f.strange++
			strange.note(f, "partition %d, offset %d: a record that nobody sent there", p, r.offset)
			continue
		case seen[r.mark]:
			f.duplicated++
			duplicated.note(f, "partition %d, offset %d: record %d of producer %d stands there a second time", p, r.offset, r.mark.sequence, r.mark.producer)
			continue
		case r.mark.sequence < last[r.mark.producer]:
			f.reordered++
			reordered.note(f, "partition %d, offset %d: record %d of producer %d stands behind its record %d", p, r.offset, r.mark.sequence, r.mark.producer, last[r.mark.producer])
		}
		seen[r.mark] = true
		last[r.mark.producer] = max(last[r.mark.producer], r.mark.sequence)
	}
}

// auditAcks looks for acknowledged records that are not where they should be.
// Two acknowledgements of one offset are found here too: the log can only hold
// one of them.
func (l *ledger) auditAcks(f *findings, p int, log []record) {
	at := make(map[int64]mark, len(log))
	for _, r := range log {
		if r.valid {
			at[r.offset] = r.mark
		}
	}
	var lost once
	for _, a := range l.acks[p] {
		if m, there := at[a.offset]; !there || m != a.mark {
			f.lost++
			lost.note(f, "partition %d: record %d of producer %d was acknowledged at offset %d and is not there", p, a.mark.sequence, a.mark.producer, a.offset)
		}
	}
}

// audit compares what a group read of a partition with the log.
func (p *position) audit(g *groupFindings, log []record) {
	g.read += p.read
	g.gaps += p.gaps
	g.again += p.again
	var sum uint64
	for _, r := range log {
		switch {
		case !p.begun || r.offset < p.first || r.offset >= p.next:
			g.unread++
		default:
			sum = chain(sum, r)
		}
	}
	// After a gap the chains cannot be equal; the gap says it already.
	if p.gaps == 0 && sum != p.chain {
		g.misread++
	}
}

// once keeps the first example of a kind.
type once bool

func (o *once) note(f *findings, format string, args ...any) {
	if !*o {
		*o = true
		f.examples = append(f.examples, fmt.Sprintf(format, args...))
	}
}

// partitionOf spreads the records of a producer over the partitions, in order.
func partitionOf(m mark) int32 { return int32(m.sequence % partitions) }
