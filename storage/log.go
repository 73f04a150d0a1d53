package storage

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

// A Log is one partition. It has two ways in, the leader's (Append, open between
// Lead and Follow) and the replica's (Replicate); both, and what opens and closes
// them, interleave under one lock. All methods may be called from any goroutine.
type Log struct {
	engine    *Engine
	partition offsets.Partition
	rules     atomic.Pointer[Rules]
	cursors   cursors
	subs      subscribers
	touched   bool // announcer only: to be told at the end of the group

	mu         sync.Mutex // guards what follows
	generation uint64     // raised by a reset: what was queued before it is void
	gone       error      // why the log takes nothing any more, nil while it does
	leading    bool
	// leaderEpoch is stamped into batches while leading. Invariant: at least the
	// last of epochs, so that epochs never go back along the log.
	leaderEpoch int32
	origin      int64 // where the log began: at Create or Reset
	start       int64
	end         int64 // Invariant: start <= durable <= end, but for a replica's first batch, which may begin below start
	durable     int64
	replayed    int64
	markedAt    int64 // ms; when replayed was last written
	epochs      offsets.Epochs
	// number is that of the log's last WAL record; dirty of the first that the
	// catalog's state does not cover, 0 none; dirtyNext of the first since the last
	// capture.
	number, dirty, dirtyNext uint64
	extents                  []extent // what stands in objects, replaced as a whole
	memoryIn                 objectID // where the catalog's state has its memory, zero: in itself
	index                    index
	producers                producers
	txns                     transactions
}

func newLog(e *Engine, p offsets.Partition, start int64) *Log {
	l := &Log{engine: e, partition: p, leaderEpoch: offsets.UndefinedEpoch}
	l.rules.Store(new(Rules{}.filled()))
	l.empty(start)
	return l
}

// empty forgets all content. Callers hold mu.
func (l *Log) empty(start int64) {
	l.origin, l.start, l.end, l.durable, l.replayed = start, start, start, start, start
	l.epochs, l.leaderEpoch = nil, offsets.UndefinedEpoch
	l.index = newIndex(offsets.Digest{Offset: start}, batch.NoTimestamp)
	l.producers = producers{swept: l.producers.swept}
	l.txns = transactions{}
	l.extents, l.memoryIn = nil, objectID{}
}

// append queues a record of the log, for which room was reserved. Callers hold mu.
func (l *Log) append(r wal.Record, w wal.Waiter) error {
	r.Topic, r.Partition = l.partition.Topic, l.partition.Index
	number, err := l.engine.wal.Append(r, w)
	if err != nil {
		return translate(err)
	}
	l.count(number)
	return nil
}

// count takes note of a record of the log in the WAL. Callers hold mu.
func (l *Log) count(number uint64) {
	l.number = number
	if l.dirty == 0 {
		l.dirty = number
	}
	if l.dirtyNext == 0 {
		l.dirtyNext = number
	}
}

// heldExtents are those that are not below the start. Callers hold mu.
func (l *Log) heldExtents() []extent {
	n := sort.Search(len(l.extents), func(n int) bool { return l.extents[n].last >= l.start })
	return l.extents[n:]
}

// Partition names the log.
func (l *Log) Partition() offsets.Partition { return l.partition }

// Bounds of a log at one instant.
type Bounds struct {
	Start        int64 // first offset that can be read
	End          int64 // next offset
	Durable      int64 // everything below it survives a crash: the high watermark
	Stable       int64 // everything below it belongs to no open transaction; at most Durable
	Epoch        int32 // last of the epoch list, -1 none
	Leading      bool
	MaxTimestamp int64 // ms since 1970, of everything durable; -1 none
	Replayed     int64 // legacy holds everything below it, as Replayed was told
}

// Bounds never go back while the log lives, but for a Reset.
func (l *Log) Bounds() Bounds {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bounds()
}

func (l *Log) bounds() Bounds {
	b := Bounds{
		Start: l.start, End: l.end, Durable: l.durable, Stable: max(l.txns.stable(l.durable), l.start),
		Epoch: l.epochs.Latest(), Leading: l.leading, MaxTimestamp: l.index.settledMax, Replayed: l.replayed,
	}
	return b
}

// Configure sets what Append refuses, from the next Append on.
func (l *Log) Configure(r Rules) { l.rules.Store(new(r.filled())) }

// Lead opens the leader's way in: batches get epoch as their partition leader
// epoch from now on, and the epoch list says that it began here, as on a Kafka
// broker that becomes leader. It may be called with a higher epoch while leading;
// the same epoch again changes nothing. Errors: ErrStaleEpoch for an epoch below
// one that is known, ErrDeleted, ErrDead, ErrClosed.
func (l *Log) Lead(epoch int32) error {
	const room = 12
	if err := l.engine.reserve(room); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.leadable(epoch); err != nil {
		l.engine.wal.Unreserve(wal.Size(room, 0))
		return fmt.Errorf("lead %s at epoch %d: %w", l.partition, epoch, err)
	}
	if next := learn(l.epochs, epoch, l.end); !slices.Equal(next, l.epochs) {
		if err := l.append(wal.Record{Kind: kindEpoch, Head: epochHead(epoch, l.end)}, quiet{}); err != nil {
			return fmt.Errorf("lead %s at epoch %d: %w", l.partition, epoch, err)
		}
		l.epochs = next
	} else {
		l.engine.wal.Unreserve(wal.Size(room, 0))
	}
	l.leading, l.leaderEpoch = true, epoch
	l.subs.wake()
	return nil
}

func (l *Log) leadable(epoch int32) error {
	if l.gone != nil {
		return l.gone
	}
	if epoch < l.leaderEpoch {
		return fmt.Errorf("epoch %d is known: %w", l.leaderEpoch, ErrStaleEpoch)
	}
	return nil
}

// Follow closes the leader's way in and returns the log's end at that instant:
// no leader appends behind it. What was appended before is answered as ever.
func (l *Log) Follow() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leading {
		l.leading = false
		l.subs.wake()
	}
	return l.end
}

// Epochs is where each leader epoch began, also epochs without records.
func (l *Log) Epochs() offsets.Epochs {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.epochs)
}

// LearnEpoch adds that an epoch began at start on legacy, which batches alone do
// not tell: the epoch may hold no record, or its first may be gone. It is durable
// with the next group. What is known stays; a contradiction is solved as Kafka
// does, in favour of what comes later. start may lie above the end. While leading
// a higher epoch is stamped into batches from now on.
func (l *Log) LearnEpoch(epoch int32, start int64) error {
	const room = 12
	if err := l.engine.reserve(room); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := learn(l.epochs, epoch, start)
	if l.gone != nil || slices.Equal(next, l.epochs) {
		l.engine.wal.Unreserve(wal.Size(room, 0))
		return l.gone
	}
	if err := l.append(wal.Record{Kind: kindEpoch, Head: epochHead(epoch, start)}, quiet{}); err != nil {
		return fmt.Errorf("learn epoch %d of %s: %w", epoch, l.partition, err)
	}
	l.epochs = next
	l.leaderEpoch = max(l.leaderEpoch, next.Latest())
	l.subs.wake()
	return nil
}

// learn is Assign for a log that may hear of an epoch before it has the records
// below it: what fits between its neighbours is put there.
func learn(e offsets.Epochs, epoch int32, start int64) offsets.Epochs {
	at, known := slices.BinarySearchFunc(e, epoch, func(s offsets.EpochStart, epoch int32) int {
		return int(s.Epoch) - int(epoch)
	})
	if epoch < 0 || start < 0 || known && e[at].Start <= start {
		return e
	}
	next := at
	if known {
		next++
	}
	if at > 0 && e[at-1].Start >= start || next < len(e) && e[next].Start <= start {
		return e.Assign(epoch, start)
	}
	return slices.Concat(e[:at], offsets.Epochs{{Epoch: epoch, Start: start}}, e[next:])
}

// DeleteBefore moves the log's start up to offset, -1 for the high watermark, and
// returns the start when that is durable. A start that is there already is no
// error. Errors: ErrOffsetOutOfRange above the high watermark, ErrDead and its kin.
func (l *Log) DeleteBefore(offset int64) (start int64, err error) {
	const room = 8
	if err := l.engine.reserve(room); err != nil {
		return 0, err
	}
	l.mu.Lock()
	if offset == -1 {
		offset = l.durable
	}
	if l.gone != nil || offset < 0 || offset > l.durable || offset <= l.start {
		defer l.mu.Unlock()
		l.engine.wal.Unreserve(wal.Size(room, 0))
		switch {
		case l.gone != nil:
			return 0, l.gone
		case offset < 0 || offset > l.durable:
			return l.start, ErrOffsetOutOfRange{Start: l.start, End: l.durable}
		}
		return l.start, nil
	}
	wait := newWaiting()
	err = l.append(wal.Record{Kind: kindStart, Head: offsetHead(offset)}, wait)
	if err == nil {
		l.cut(offset)
	}
	l.mu.Unlock()
	if err == nil {
		err = wait.wait()
	}
	if err != nil {
		return 0, fmt.Errorf("delete %s before %d: %w", l.partition, offset, err)
	}
	l.subs.wake()
	return offset, nil
}

// cut takes the start over. Callers hold mu.
func (l *Log) cut(start int64) {
	l.start = max(l.start, start)
	l.epochs = l.epochs.TruncateStart(l.start)
	l.txns.cut(l.start)
}

// markEvery bounds how often a replay mark is written.
const markEvery = 1000 // ms

// Replayed says that legacy holds everything below offset, so that the metas
// below it are needed no more. It may be lost in a crash.
func (l *Log) Replayed(offset int64) {
	now := millis(l.engine.cfg.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset <= l.replayed || l.gone != nil {
		return
	}
	l.replayed = min(offset, l.durable)
	if now-l.markedAt < markEvery || !l.engine.wal.TryReserve(wal.Size(8, 0)) {
		return
	}
	l.markedAt = now
	if err := l.append(wal.Record{Kind: kindReplayed, Head: offsetHead(l.replayed)}, quiet{}); err != nil {
		l.engine.cfg.Logger.Debug("replay mark not written", "partition", l.partition.String(), "error", err)
	}
}

// Producers are the producer ids that are known, by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.list(millis(l.engine.cfg.Now()))
}

// Transactional says whether a producer id that has not expired has written in a
// transaction.
func (l *Log) Transactional() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.transactional(millis(l.engine.cfg.Now()))
}

// retire makes the log refuse everything from now on, for that reason.
func (l *Log) retire(why error) {
	l.mu.Lock()
	l.gone = why
	l.leading = false
	l.mu.Unlock()
	l.subs.wake()
}

// quiet is the Waiter of those who do not wait.
type quiet struct{}

func (quiet) Committed(wal.Location, error) {}

// waiting is the Waiter of those who do.
type waiting struct{ ch chan error }

func newWaiting() waiting { return waiting{make(chan error, 1)} }

func (w waiting) Committed(_ wal.Location, err error) { w.ch <- err }

func (w waiting) wait() error { return translate(<-w.ch) }

// translate makes the WAL's errors those of this package.
func translate(err error) error {
	switch {
	case errors.Is(err, wal.ErrDead):
		return fmt.Errorf("%w: %w", ErrDead, err)
	case errors.Is(err, wal.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
