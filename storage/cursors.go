package storage

import "sync"

// Windows of read-ahead: a reader that goes on where it stopped gets twice as
// much fetched ahead each time, one that jumps begins anew.
const (
	firstAhead = 512 << 10
	mostAhead  = 16 << 20
	scanAhead  = 4 << 20 // for scans that are known to go on
	maxCursors = 16
)

// cursors are where a log's cold readers are, those that moved last in front.
type cursors struct {
	mu  sync.Mutex
	all []cursor
}

type cursor struct {
	next   int64
	window int64
}

// window is how much to fetch ahead for a read at from, 0 for a reader that was
// not seen before: it may be somebody who looks at one batch.
func (c *cursors) window(from int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.next == from {
			return one.window
		}
	}
	return 0
}

// moved notes that a reader read from from to next.
func (c *cursors) moved(from, next int64) {
	if from == next {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := cursor{next, firstAhead}
	at := len(c.all)
	for n, one := range c.all {
		if one.next == from {
			now.window, at = min(2*one.window, mostAhead), n
			break
		}
	}
	switch {
	case at < len(c.all):
	case len(c.all) < maxCursors:
		c.all = append(c.all, now)
	default:
		at = len(c.all) - 1
	}
	copy(c.all[1:at+1], c.all[:at])
	c.all[0] = now
}
