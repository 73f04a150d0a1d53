package clients

import (
	"sync"
	"time"
)

// Pulse keeps the longest time between two beats of a client: the pause that its user feels.
type Pulse struct {
	mu      sync.Mutex
	beats   int64
	last    time.Time
	longest time.Duration
	began   time.Time // the longest gap
}

// Beat records a beat. Beats come with the client's own time, so that what our reading adds is no part of the gap.
func (p *Pulse) Beat(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gap := at.Sub(p.last); p.beats > 0 && gap > p.longest {
		p.longest, p.began = gap, p.last
	}
	p.beats++
	if at.After(p.last) {
		p.last = at
	}
}

// Beats is how many beats there were.
func (p *Pulse) Beats() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beats
}

// Longest returns the longest gap since the last Reset and when it began. A gap that has not ended yet does not count.
func (p *Pulse) Longest() (gap time.Duration, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest, p.began
}

// Reset starts a new measurement at the last beat: a gap that goes on counts for the new one.
func (p *Pulse) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest, p.began = 0, time.Time{}
}
