package demo

import (
	"sync"
	"time"
)

// A meter measures the longest time between two events.
type meter struct {
	mu      sync.Mutex
	last    time.Time     // guarded by mu
	longest time.Duration // guarded by mu
}

func (m *meter) tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.last.IsZero() {
		m.longest = max(m.longest, now.Sub(m.last))
	}
	m.last = now
}

// reset begins a new measurement; a time that runs already counts from now.
func (m *meter) reset(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.longest = now, 0
}

// read includes the time that still runs: silence that has not ended is silence.
func (m *meter) read(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	longest := m.longest
	if !m.last.IsZero() {
		longest = max(longest, now.Sub(m.last))
	}
	return float64(longest.Microseconds()) / 1000
}

// meters are those of all clients.
type meters struct {
	producer [producers]meter
	group    map[string]*meter
}

func (m *meters) reset() {
	now := time.Now()
	for i := range m.producer {
		m.producer[i].reset(now)
	}
	for _, g := range m.group {
		g.reset(now)
	}
}

// acks is the longest time between two acknowledgements of any one producer
// since the last reset, in milliseconds.
func (m *meters) acks() (longest float64) {
	now := time.Now()
	for i := range m.producer {
		longest = max(longest, m.producer[i].read(now))
	}
	return longest
}

// reads is the longest silence of any one group, in milliseconds.
func (m *meters) reads() (longest float64) {
	now := time.Now()
	for _, g := range m.group {
		longest = max(longest, g.read(now))
	}
	return longest
}

// traffic notes, as a hook of every client, which node was last asked for data.
type traffic struct {
	mu   sync.Mutex
	last map[node]time.Time // guarded by mu; bounded by the nodes there are
}

type node struct {
	id  int32
	key int16
}

func (t *traffic) note(id int32, key int16, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[node]time.Time{}
	}
	t.last[node{id, key}] = now
}

// only reports whether within the last while produce and fetch went to that
// node, and none to another.
func (t *traffic) only(id int32, while time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var there [2]bool
	for n, last := range t.last {
		if now.Sub(last) > while {
			continue
		}
		if n.id != id {
			return false
		}
		there[n.key] = true
	}
	return there[0] && there[1]
}
