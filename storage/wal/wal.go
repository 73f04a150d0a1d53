package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// A Config says where a log lives. Dir is required; Open fills in the rest.
type Config struct {
	Dir          string
	Folder       [16]byte // segments of another folder are refused
	Oldest       uint64   // records below it are not wanted, and their segments may be missing; 0: all are
	KeepBytes    int64    // segments that Trim could remove stay readable until the later ones hold that much
	SegmentBytes int64    // size of a segment; default 64 MiB, at least 64 KiB, below 2 GiB
	QueueBytes   int64    // bound of what is queued and not told yet; default 64 MiB, at least 1 MiB
	FrameBytes   int      // a group ends at this size; default 1 MiB: larger syncs fall off a cliff
	// GroupEnd is called by the announcer after the last Waiter of each group.
	GroupEnd func()
	OpenFile func(name string, flag int) (File, error) // default: the operating system's
	Logger   *slog.Logger
}

func (c *Config) fill() error {
	if c.Dir == "" {
		return errors.New("configure write-ahead log: no folder")
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.SegmentBytes < 64<<10 || c.SegmentBytes > math.MaxInt32 {
		return fmt.Errorf("configure write-ahead log: segments of %d bytes", c.SegmentBytes)
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 64 << 20
	}
	if c.QueueBytes < 1<<20 {
		return fmt.Errorf("configure write-ahead log: queue of %d bytes", c.QueueBytes)
	}
	if c.FrameBytes == 0 {
		c.FrameBytes = 1 << 20
	}
	if c.GroupEnd == nil {
		c.GroupEnd = func() {}
	}
	if c.OpenFile == nil {
		c.OpenFile = openOSFile
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// A Location is where a record's head begins; its body follows.
type Location struct {
	Segment uint32
	Offset  uint32
}

// A Waiter is told what became of its record, once, by the announcer goroutine,
// in the order of Append. It must not block and must not call Reserve.
type Waiter interface {
	// Committed: err nil means durable at that place. Otherwise it wraps ErrDead.
	Committed(at Location, err error)
}

// A WAL is an open log. Its methods may be called from any goroutine.
type WAL struct {
	cfg  Config
	room *semaphore.Weighted // bytes that are reserved or queued
	ctx  context.Context     // done when nothing can be appended any more
	stop context.CancelFunc

	mu     sync.Mutex // guards what follows
	queue  []*frame   // oldest first; appenders fill the last one
	free   []*frame
	next   uint64 // number of the next record
	closed bool

	kick    chan struct{} // capacity 1: the queue is not empty, or closed
	durable chan *frame   // committer to announcer
	done    sync.WaitGroup

	trimming sync.Mutex // one Trim at a time
	segments segments   // of which the last is the committer's
	current  *segment
	nextLSN  uint64 // committer only

	dead chan struct{} // closed after err is set
	err  atomic.Pointer[error]
}

// Open recovers the log in cfg.Dir, calls replay for every durable record from
// cfg.Oldest on, in order, and starts the two goroutines. Head and Body are valid during the call.
// An error of replay makes that place corrupt. Errors: CorruptError, or what the
// operating system said.
func Open(cfg Config, replay func(r Record, number uint64, at Location) error) (*WAL, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	w := &WAL{
		cfg:     cfg,
		room:    semaphore.NewWeighted(cfg.QueueBytes),
		kick:    make(chan struct{}, 1),
		durable: make(chan *frame, 2),
		dead:    make(chan struct{}),
	}
	if err := w.recover(replay); err != nil {
		return nil, errors.Join(err, w.segments.close())
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.done.Add(2)
	go w.commit()
	go w.announce()
	return w, nil
}

// Reserve waits until n bytes (see Size) fit into the queue. One record larger
// than the whole queue is let in alone. Errors: ErrDead, ErrClosed.
func (w *WAL) Reserve(n int) error {
	err := w.room.Acquire(w.ctx, w.clip(int64(n)))
	if err == nil && w.ctx.Err() != nil { // there was room, but it leads nowhere
		w.Unreserve(n)
		err = w.ctx.Err()
	}
	if err != nil {
		return w.unusable()
	}
	return nil
}

// TryReserve is Reserve for those who would rather do without.
func (w *WAL) TryReserve(n int) bool { return w.room.TryAcquire(w.clip(int64(n))) }

// Unreserve gives back room that was reserved and not appended.
func (w *WAL) Unreserve(n int) { w.room.Release(w.clip(int64(n))) }

func (w *WAL) clip(n int64) int64 { return min(n, w.cfg.QueueBytes) }

// Append queues a record for which room was reserved, copies it, and returns its
// number: records are counted from 1 on, across restarts. It never blocks. A log that is dead tells the Waiter so. The only error is ErrClosed:
// the Waiter is not told then, and the room is free again.
func (w *WAL) Append(r Record, wait Waiter) (number uint64, err error) {
	n := Size(len(r.Head), len(r.Body))
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		w.Unreserve(n)
		return 0, ErrClosed
	}
	f := w.tail(n)
	at := len(f.buf)
	number = w.next
	w.next++
	if f.records == 0 {
		f.first = number
	}
	f.buf = r.appendTo(f.buf)
	f.records++
	f.room += w.clip(int64(n))
	f.waiters = append(f.waiters, waiter{wait, uint32(at + recordSize)})
	w.mu.Unlock()
	w.wake()
	return number, nil
}

// Next is the number that the next record gets.
func (w *WAL) Next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// Pass queues a Waiter without a record: it is told in its turn, after all that
// was appended before it is durable. The only error is ErrClosed.
func (w *WAL) Pass(wait Waiter) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	f := w.tail(0)
	f.waiters = append(f.waiters, waiter{wait, 0})
	w.mu.Unlock()
	w.wake()
	return nil
}

// tail is the frame to append n bytes to. Callers hold mu.
func (w *WAL) tail(n int) *frame {
	if len(w.queue) > 0 {
		f := w.queue[len(w.queue)-1]
		if f.records == 0 || len(f.buf)+n <= w.cfg.FrameBytes {
			return f
		}
	}
	f := &frame{}
	if last := len(w.free) - 1; last >= 0 {
		f, w.free = w.free[last], w.free[:last]
	}
	f.reset(w.cfg.FrameBytes)
	w.queue = append(w.queue, f)
	return f
}

func (w *WAL) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// ReadAt fills b from the bytes skip behind at, which must be durable. Errors:
// ErrTrimmed, ErrClosed, what the operating system said.
func (w *WAL) ReadAt(b []byte, at Location, skip int64) error {
	f, err := w.segments.acquire(at.Segment)
	if err != nil {
		return fmt.Errorf("read segment %d: %w", at.Segment, err)
	}
	defer func() { _ = f.release() }() // a reader's file: nothing is lost with it
	if _, err := f.ReadAt(b, int64(at.Offset)+skip); err != nil {
		return fmt.Errorf("read %d bytes of segment %d at %d: %w", len(b), at.Segment, int64(at.Offset)+skip, err)
	}
	return nil
}

// Dead is closed when the log has failed; Err says why.
func (w *WAL) Dead() <-chan struct{} { return w.dead }

// Err is what ended the log, nil while it lives.
func (w *WAL) Err() error {
	if p := w.err.Load(); p != nil {
		return *p
	}
	return nil
}

func (w *WAL) unusable() error {
	if err := w.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// Close commits what is queued, tells everybody, seals the log and returns its
// Err, or what went wrong while closing. It is idempotent.
func (w *WAL) Close() error {
	w.mu.Lock()
	was := w.closed
	w.closed = true
	w.mu.Unlock()
	w.wake()
	w.done.Wait()
	if was {
		return nil
	}
	w.stop()
	return errors.Join(w.Err(), w.segments.close())
}
