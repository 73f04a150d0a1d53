package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"switchback/offsets"
)

// facts is what passed by and others want to know.
type facts struct {
	shortest, longest atomic.Int32 // Produce timeouts in ms; 0: none was seen

	mu           sync.Mutex
	lost         map[int32]time.Time
	transactions map[offsets.TopicID]time.Time
}

// timeout looks at the timeout of a Produce. It is on the clean path: two loads
// and two compares, once the usual ones have been seen.
func (f *facts) timeout(ms int32) {
	if ms <= 0 {
		return
	}
	for seen := f.shortest.Load(); seen == 0 || ms < seen; seen = f.shortest.Load() {
		if f.shortest.CompareAndSwap(seen, ms) {
			break
		}
	}
	for seen := f.longest.Load(); ms > seen; seen = f.longest.Load() {
		if f.longest.CompareAndSwap(seen, ms) {
			break
		}
	}
}

// ProduceTimeouts are the shortest and the longest timeout that a Produce has
// named since the start, 0 when none has passed: a hold has to stay far below
// the one, and a late request may be handled until the other.
func (p *Proxy) ProduceTimeouts() (shortest, longest time.Duration) {
	return time.Duration(p.facts.shortest.Load()) * time.Millisecond, time.Duration(p.facts.longest.Load()) * time.Millisecond
}

func (f *facts) lostUpstream(node int32, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == nil {
		f.lost = make(map[int32]time.Time)
	}
	f.lost[node] = at
}

func (f *facts) transaction(topic offsets.TopicID, at time.Time) {
	if topic == (offsets.TopicID{}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.transactions == nil {
		f.transactions = make(map[offsets.TopicID]time.Time)
	}
	f.transactions[topic] = at
}

// Transactional is when a transactional producer was last seen on a topic; zero
// when never.
func (p *Proxy) Transactional(topic offsets.TopicID) time.Time {
	p.facts.mu.Lock()
	defer p.facts.mu.Unlock()
	return p.facts.transactions[topic]
}

// LostUpstream is when a connection to this broker last ended with Produce on it
// that was not answered: the outcome is unknown, and a late request may still be
// in the broker's queue. Zero when never.
func (p *Proxy) LostUpstream(node int32) time.Time {
	p.facts.mu.Lock()
	defer p.facts.mu.Unlock()
	return p.facts.lost[node]
}

// Endpoint is the address under which clients reach a node.
func (p *Proxy) Endpoint(node int32) (host string, port int32, ok bool) { return p.endpoint(node) }

// State is the state of a partition on the wire: clean, watched, held, moved or
// shifted.
func (p *Proxy) State(part offsets.Partition) string {
	s := p.routes.load().parts[part]
	if s == nil {
		return "clean"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.hold != nil:
		return "held"
	case s.route.Home == offsets.Target:
		return "moved"
	case s.route.Shown.Shift != 0:
		return "shifted"
	}
	return "watched"
}
