package mirror

import (
	"context"
	"time"

	"switchback/offsets"
)

// A speed is what was measured about one partition's copy. Averages are
// exponential, over about the last eight batches.
type speed struct {
	turn   time.Duration // from sending a batch to its answer: what one more batch in the backlog costs
	delay  time.Duration // to legacy's answer from its append to the target, or from the answer before it
	last   time.Time     // of the last answer that moved replay on
	size   float64       // bytes per batch
	rate   float64       // forward: offsets per second
	window time.Time     // since when moved counts
	moved  int64
}

// confirmed notes a batch that legacy took.
func (s *speed) confirmed(now time.Time, turn, delay time.Duration, size int) {
	if s.last.IsZero() {
		s.turn, s.delay, s.size = turn, delay, float64(size)
	}
	s.turn += (turn - s.turn) / 8
	s.delay += (delay - s.delay) / 8
	s.size += (float64(size) - s.size) / 8
	s.last = now
}

// copied notes progress of the forward copy.
func (s *speed) copied(now time.Time, offsets int64) {
	s.moved += offsets
	if s.window.IsZero() {
		s.window = now
		return
	}
	if took := now.Sub(s.window); took >= 100*time.Millisecond {
		s.rate += (float64(s.moved)/took.Seconds() - s.rate) / 2
		s.window, s.moved = now, 0
	}
}

// progress is how long replay may go without an answer before its producers are
// not slowed down any more: slowing would only hurt then.
const progress = 250 * time.Millisecond

// moving says whether replay makes progress. mu is held.
func (t *twin) moving(now time.Time) bool {
	return t.stop == nil && t.settled && now.Sub(t.speed.last) < progress
}

// backlog is how many batches the target has that legacy did not confirm, up to
// offset; false where nobody can say. mu is held.
func (t *twin) backlog(offset int64) (int64, bool) {
	d, ok := t.log.Digest(offset)
	if !ok || t.batches < 0 {
		return 0, false
	}
	return max(d.Batches-t.batches, 0), true
}

// drain is how long it would take to bring legacy level, if nothing else were
// appended: what the backlog costs at the present speed, or what a batch took
// from append to answer lately, whichever is more. mu is held.
func (t *twin) drain(now time.Time) time.Duration {
	n, ok := t.backlog(t.log.Bounds().Durable)
	switch {
	case !t.settled || t.stop != nil || !ok:
		return DrainUnknown
	case n > 0 && now.Sub(t.speed.last) > time.Second && !t.underWay(now):
		return DrainUnknown
	}
	d := time.Duration(n) * t.speed.turn
	if now.Sub(t.speed.last) < time.Second {
		d = max(d, t.speed.delay)
	}
	return d
}

// underWay says that a batch is on its way that was appended lately, or is just being
// taken up. mu is held.
func (t *twin) underWay(now time.Time) bool {
	return t.flight != nil && (t.flight.appended.IsZero() || now.Sub(t.flight.appended) <= time.Second)
}

// allowed is how many batches of backlog the pace permits. mu is held.
func (t *twin) allowed() int64 {
	turn := max(t.speed.turn, 10*time.Microsecond)
	return max(int64(t.m.cfg.PaceDrain/turn), 2)
}

// A waiter is a produce that is not appended yet.
type waiter struct {
	deadline time.Time
	done     chan struct{}
}

// maxWaiters bounds the produce that waits for one partition.
const maxWaiters = 4096

// Pace is asked before a produce is appended to the target. Nil means append now.
// Otherwise append when the channel is closed, which happens when replay has come
// close enough, when it makes no progress, or after Config.PaceLimit.
//
// It comes before the append because a client has several requests in flight: were
// only answers delayed, all of those would stand in the backlog already. Clients
// whose requests wait put more into each batch, and a batch is what replay pays
// for, whatever its size.
func (m *Mirror) Pace(p offsets.Partition) <-chan struct{} {
	t := m.twin(p)
	if t == nil {
		return nil
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.home != offsets.Target || !t.moving(now) || len(t.waiters) >= maxWaiters {
		return nil
	}
	if len(t.waiters) == 0 && t.room() > 0 {
		return nil
	}
	w := waiter{deadline: now.Add(m.cfg.PaceLimit), done: make(chan struct{})}
	t.waiters = append(t.waiters, w)
	if len(t.waiters) == 1 {
		m.pacing(t)
	}
	return w.done
}

// room is how many batches may still be appended. Where the backlog is not known
// nobody has to wait. mu is held.
func (t *twin) room() int64 {
	n, ok := t.backlog(t.log.Bounds().Durable)
	if !ok {
		return maxWaiters
	}
	return t.allowed() - n
}

// release lets produce go on, in the order of its coming, as far as there is room,
// or all of it. mu is held.
func (t *twin) release(all bool) {
	if len(t.waiters) == 0 {
		return
	}
	now := time.Now()
	free := int64(len(t.waiters))
	if !all && t.moving(now) {
		free = t.room()
	}
	kept := t.waiters[:0]
	for _, w := range t.waiters {
		if free > 0 || !now.Before(w.deadline) {
			close(w.done)
			free--
		} else {
			kept = append(kept, w)
		}
	}
	t.waiters = kept
}

// pacing makes pace look after a twin.
func (m *Mirror) pacing(t *twin) {
	m.pacedMu.Lock()
	m.paced[t] = struct{}{}
	m.pacedMu.Unlock()
	poke(m.wakePacer)
}

// pace releases waiters whose time is over or whose replay has stopped. Those that
// replay catches up with are released by its answers.
func (m *Mirror) pace(ctx context.Context) {
	const step = 20 * time.Millisecond
	for ctx.Err() == nil {
		m.pacedMu.Lock()
		all := make([]*twin, 0, len(m.paced))
		for t := range m.paced {
			all = append(all, t)
		}
		m.pacedMu.Unlock()
		for _, t := range all {
			t.mu.Lock()
			t.release(false)
			if len(t.waiters) == 0 {
				m.pacedMu.Lock()
				delete(m.paced, t)
				m.pacedMu.Unlock()
			}
			t.mu.Unlock()
		}
		var next time.Time
		if len(all) > 0 {
			next = time.Now().Add(step)
		}
		wait(ctx, m.wakePacer, next)
	}
}

// releaseAll answers everybody: the mirror ends.
func (m *Mirror) releaseAll() {
	for _, t := range m.all() {
		t.mu.Lock()
		t.release(true)
		t.mu.Unlock()
	}
}
