package history

import (
	"fmt"
	"sync"
)

// Place is a partition, by its topic's name: what clients report.
type Place struct {
	Topic     string
	Partition int32
}

func (p Place) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// Mark names one record: the producer that sent it and its number there. A producer numbers its records upwards, over all partitions, and
// sends none twice by itself.
type Mark struct {
	Producer string
	Number   int64
}

func (m Mark) String() string { return fmt.Sprintf("%s.%d", m.Producer, m.Number) }

// Logged is one record of a log as read at the end.
type Logged struct {
	Offset int64
	Mark   Mark
}

type ack struct {
	place  Place
	offset int64
	mark   Mark
}

type failure struct{ who, err string }

type read struct {
	offset int64
	mark   Mark
}

// session is one assignment of a partition to one consumer: from when it was assigned to when it was taken away.
type session struct {
	group, consumer string
	place           Place
	start           int64 // the group's position known when it was assigned; -1: none yet
	reads           []read
}

type seat struct {
	group, consumer string
	place           Place
}

type spot struct {
	group string
	place Place
}

// History is a record of what clients were told. The zero value is empty and ready.
type History struct {
	mu       sync.Mutex
	acks     []ack
	sent     map[string]int64 // highest number a producer may have sent
	failures []failure
	open     map[seat]*session
	sessions []*session
	reached  map[spot]int64 // next offset the group needs: the highest committed
	commits  []commit
	unsure   []commit

	// Counts, for those who wait: asking is to cost nothing.
	acksOf      map[string]int
	assignments map[string]int // by group
	reads       map[string]int // by group
	position    map[spot]int64
}

type commit struct {
	spot   spot
	offset int64
	before int64
}

// Acked records that a producer was told the offset of a record.
func (h *History) Acked(m Mark, p Place, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = append(h.acks, ack{p, offset, m})
	count(&h.acksOf, m.Producer)
	h.send(m)
}

// Sent records that a producer tried to send a record; its outcome may never be known. Records up to the highest number that was sent, acknowledged
// or failed may stand in the log.
func (h *History) Sent(m Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.send(m)
}

// Failed records that a producer was told that a record failed.
func (h *History) Failed(m Mark, err string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, failure{m.String(), err})
	h.send(m)
}

// Erred records that a client was told of an error which is not about one record: a commit that failed, a consumer that gave up.
func (h *History) Erred(client, err string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, failure{client, err})
}

func (h *History) send(m Mark) {
	if h.sent == nil {
		h.sent = make(map[string]int64)
	}
	if last, ok := h.sent[m.Producer]; !ok || m.Number > last {
		h.sent[m.Producer] = m.Number
	}
}

// Assigned records that a consumer of a group has been given a partition.
func (h *History) Assigned(group, consumer string, p Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.assign(seat{group, consumer, p})
}

func (h *History) assign(s seat) *session {
	if h.open == nil {
		h.open = make(map[seat]*session)
	}
	start := int64(-1)
	if reached, ok := h.reached[spot{s.group, s.place}]; ok {
		start = reached
	}
	opened := &session{group: s.group, consumer: s.consumer, place: s.place, start: start}
	h.open[s] = opened
	h.sessions = append(h.sessions, opened)
	count(&h.assignments, s.group)
	return opened
}

// Revoked records that a partition was taken away from a consumer, or that the consumer is gone.
func (h *History) Revoked(group, consumer string, p Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, seat{group, consumer, p})
}

// Read records that a consumer was handed a record. A consumer that was not assigned the partition before is from now on.
func (h *History) Read(group, consumer string, p Place, offset int64, m Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := seat{group, consumer, p}
	s, ok := h.open[at]
	if !ok {
		s = h.assign(at)
	}
	s.reads = append(s.reads, read{offset, m})
	count(&h.reads, group)
	if h.position == nil {
		h.position = make(map[spot]int64)
	}
	h.position[spot{group, p}] = max(h.position[spot{group, p}], offset+1)
}

// Committed records that a group's committed offset of a partition is offset now: that a commit succeeded, or was read back.
func (h *History) Committed(group string, p Place, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reached == nil {
		h.reached = make(map[spot]int64)
	}
	at := spot{group, p}
	before, ok := h.reached[at]
	if !ok {
		before = -1
	}
	h.commits = append(h.commits, commit{at, offset, before})
	h.reached[at] = max(before, offset)
}

// Unsure records that a commit was sent and its outcome is not known: the group may go on from there, or from before.
func (h *History) Unsure(group string, p Place, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unsure = append(h.unsure, commit{spot: spot{group, p}, offset: offset})
}

// Acks is how many acknowledgements were recorded so far.
func (h *History) Acks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.acks)
}

// AcksOf is how many acknowledgements of one producer were recorded so far.
func (h *History) AcksOf(producer string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acksOf[producer]
}

// Assignments is how often a partition was given to a consumer of a group so far. Where it does not grow, there was no rebalance.
func (h *History) Assignments(group string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.assignments[group]
}

// Reads is how many records consumers of a group were handed so far.
func (h *History) Reads(group string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads[group]
}

// Position is the offset behind the last record that a group has been handed of a partition, 0 when there is none.
func (h *History) Position(group string, p Place) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position[spot{group, p}]
}

// Reached is the highest offset committed by a group, 0 when there is none.
func (h *History) Reached(group string, p Place) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reached[spot{group, p}]
}

func count(counts *map[string]int, of string) {
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[of]++
}
