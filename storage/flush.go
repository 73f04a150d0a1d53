package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchback/offsets"
	"switchback/storage/catalog"
)

// A flusher moves what only the WAL holds into objects, tells the catalog, and
// then lets the WAL drop it. Between two flushes it merges extents (merge.go) and
// removes objects that nobody needs (collect.go). It owns one goroutine, and
// everything here is its.
//
// A flush is a list of steps, each of which may be the last before a crash:
//
//	capture  what each log is, up to its last WAL record     nothing has happened
//	barrier  until that record is durable                    nothing has happened
//	write    the batches to objects under fresh keys         orphans, collected later
//	commit   the logs' states, a hundred in a transaction    those committed skip WAL records at the next Open, the others do not
//	needed   the first WAL record that anybody needs         Open may meet records that are covered: it skips them
//	trim     the WAL                                         Open misses segments that it was told it may miss
type flusher struct {
	engine *Engine
	claim  catalog.Compare             // nobody else has opened the folder since we did
	revs   map[offsets.Partition]int64 // of the logs' keys in the catalog
	walRev int64
	needed uint64 // as the catalog has it

	kick   chan struct{} // capacity 1: FlushBytes are there
	asked  chan chan error
	cancel context.CancelFunc
	done   chan struct{}
	warned time.Time

	unmerged  map[offsets.Partition]time.Time // logs whose merge failed, until when they are left alone
	orphans   map[string]time.Time            // keys of objects that no log names, since when
	collected time.Time
}

// flushPause is how long a failed flush waits for its next try, at first and at most.
const (
	flushPause    = 250 * time.Millisecond
	flushPauseMax = 30 * time.Second
	flushWarn     = 10 * time.Second // at most one warning in that time
)

func newFlusher(e *Engine) *flusher {
	return &flusher{
		engine: e, revs: make(map[offsets.Partition]int64), unmerged: make(map[offsets.Partition]time.Time),
		kick: make(chan struct{}, 1), asked: make(chan chan error), done: make(chan struct{}),
	}
}

func (f *flusher) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go f.run(ctx)
}

func (f *flusher) close() {
	f.cancel()
	<-f.done
}

func (f *flusher) run(ctx context.Context) {
	defer close(f.done)
	pause := time.Duration(0)
	for {
		wait := f.engine.cfg.FlushEvery
		if pause > 0 {
			wait = pause
		}
		timer := time.NewTimer(wait)
		var asked chan error
		kick := f.kick
		if pause > 0 {
			kick = nil
		}
		select {
		case <-ctx.Done():
		case <-f.engine.wal.Dead():
		case <-timer.C:
		case <-kick:
		case asked = <-f.asked:
		}
		timer.Stop()
		if ctx.Err() != nil || f.engine.wal.Err() != nil {
			if asked != nil {
				asked <- f.engine.unusable()
			}
			return
		}
		err := f.flush(ctx)
		if err == nil {
			f.merge(ctx)
			err = f.collect(ctx)
		}
		if asked != nil {
			asked <- err
		}
		if pause = f.next(pause, err); pause == 0 {
			continue
		}
		f.warn(err, pause)
	}
}

func (f *flusher) next(pause time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*pause, flushPause), flushPauseMax)
}

func (f *flusher) warn(err error, pause time.Duration) {
	if now := time.Now(); now.Sub(f.warned) >= flushWarn && !errors.Is(err, context.Canceled) {
		f.warned = now
		f.engine.cfg.Logger.Warn("cannot move data to the object store, it stays in the write-ahead log, which grows; trying again",
			"in", pause, "error", err)
	}
}

// Flush moves everything that was appended before the call into objects, and
// returns when the WAL needs it no more, and merges and removes objects if it is
// time for that. The engine does so by itself after
// FlushBytes or FlushEvery. Errors: what the object store or the catalog said,
// after one try; ErrDead, ErrClosed.
func (e *Engine) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case e.flusher.asked <- answer:
	case <-e.flusher.done:
		return e.unusable()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) unusable() error {
	if err := e.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// A capture is one log at the instant at which a flush looked at it.
type capture struct {
	log        *Log
	generation uint64
	state      state          // the extents are the old ones until write has added its own
	memory     bool           // state.memory is to be stored, wherever it fits
	upTo       int            // number of the item behind the last one
	items      []item         // those that are new
	digest     offsets.Digest // of everything below those that are not written yet
}

func (c *capture) bytes() int64 {
	size := int64(0)
	for _, i := range c.items {
		size += int64(i.size)
	}
	return size
}

func (f *flusher) flush(ctx context.Context) error {
	e := f.engine
	fresh := e.unflushed.Swap(0)
	caught, deleted := f.capture()
	e.cfg.stepped("captured")
	err := f.move(ctx, caught, deleted)
	if err != nil {
		e.unflushed.Add(fresh)
		return err
	}
	return f.trim(ctx)
}

func (f *flusher) move(ctx context.Context, caught []*capture, deleted map[offsets.Partition]uint64) error {
	if len(caught) == 0 && len(deleted) == 0 {
		return nil
	}
	barrier := newWaiting()
	if err := f.engine.wal.Pass(barrier); err != nil {
		return translate(err)
	}
	if err := barrier.wait(); err != nil {
		return err
	}
	caught = collect(caught)
	if err := f.write(ctx, caught); err != nil {
		return fmt.Errorf("write objects: %w", err)
	}
	f.engine.cfg.stepped("written")
	if err := f.commit(ctx, caught, deleted); err != nil {
		return fmt.Errorf("commit to the catalog: %w", err)
	}
	return nil
}

// capture looks at every log that has changed since its last flush, in the order
// of their partitions, and at the logs whose keys are to be deleted.
func (f *flusher) capture() ([]*capture, map[offsets.Partition]uint64) {
	e := f.engine
	e.mu.RLock()
	logs := make([]*Log, 0, len(e.logs))
	for _, l := range e.logs {
		logs = append(logs, l)
	}
	deleted := make(map[offsets.Partition]uint64)
	for p, number := range e.deleted {
		if e.logs[p] == nil {
			deleted[p] = number
		}
	}
	e.mu.RUnlock()
	slices.SortFunc(logs, func(a, b *Log) int { return a.partition.Compare(b.partition) })
	var caught []*capture
	for _, l := range logs {
		if c := l.capture(); c != nil {
			caught = append(caught, c)
		}
	}
	return caught, deleted
}

// capture is nil for a log that has not changed.
func (l *Log) capture() *capture {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirty == 0 || l.gone != nil {
		return nil
	}
	l.dirtyNext = 0
	c := &capture{log: l, generation: l.generation, upTo: l.index.count}
	c.state = state{
		covered: l.number, origin: l.origin, start: l.start, end: l.end, replayed: l.replayed,
		maxTimestamp: l.index.largest(), digest: l.index.digest, leaderEpoch: l.leaderEpoch,
		epochs: slices.Clone(l.epochs), extents: slices.Clone(l.heldExtents()),
	}
	if c.memory = c.upTo > l.index.flushed || l.memoryIn == (objectID{}); c.memory {
		c.state.memory = encodeMemory(&l.producers, &l.txns)
	} else {
		c.state.memoryIn = l.memoryIn
	}
	return c
}

// collect copies the items that are to be written, whose places are known now.
// Logs that were reset or deleted meanwhile are left out: what they were is in
// the WAL, and so is what they are.
func collect(caught []*capture) []*capture {
	return slices.DeleteFunc(caught, func(c *capture) bool {
		l := c.log
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.generation != c.generation || l.gone != nil {
			return true
		}
		c.items = l.index.unflushed(c.upTo)
		c.digest = l.index.digestBefore(l.index.flushed)
		return false
	})
}

// apply takes over what was committed.
func (c *capture) apply() {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = l.dirtyNext
	if l.generation == c.generation {
		l.extents = c.state.extents
		l.memoryIn = c.state.memoryIn
		l.index.flushed = c.upTo
	}
}

// trim lets the WAL drop what nobody needs, and the logs what the WAL dropped.
func (f *flusher) trim(ctx context.Context) error {
	e := f.engine
	needed := e.wal.Next()
	e.mu.RLock()
	for _, number := range e.deleted {
		needed = min(needed, number)
	}
	for _, l := range e.logs {
		l.mu.Lock()
		if l.dirty > 0 {
			needed = min(needed, l.dirty)
		}
		l.mu.Unlock()
	}
	e.mu.RUnlock()
	if needed > f.needed {
		if err := f.commitNeeded(ctx, needed); err != nil {
			return fmt.Errorf("commit to the catalog: %w", err)
		}
		f.needed = needed
	}
	e.cfg.stepped("needed")
	if err := e.wal.Trim(needed, e.letGo); err != nil {
		return fmt.Errorf("trim the write-ahead log: %w", err)
	}
	e.cfg.stepped("trimmed")
	return nil
}

// letGo sends readers to the objects for what the WAL is about to drop: whoever
// has looked a batch up before that and finds it gone looks again, once.
func (e *Engine) letGo(oldest uint32) {
	for _, l := range e.all() {
		l.mu.Lock()
		l.index.letGo(oldest)
		l.mu.Unlock()
	}
}

// grown counts batches that stand in the WAL alone.
func (e *Engine) grown(bytes int64) {
	if e.unflushed.Add(bytes) >= e.cfg.FlushBytes {
		select {
		case e.flusher.kick <- struct{}{}:
		default:
		}
	}
}
