package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"switchback/storage/batch"
	"switchback/storage/cache"
	"switchback/storage/wal"
)

// A Chunk is what Read found. Its bytes are valid until Release.
type Chunk struct {
	Segments [][]byte // whole batches, in order
	Next     int64    // offset behind the last batch, or where the read began
	Bounds   Bounds
	Aborted  []AbortedTxn // of a committed read

	buf      *buffer
	one      [1][]byte
	block    *byte // of what was read from objects: where the last segment's block begins,
	blockEnd int   // and where in it the segment ends
}

// Release gives the bytes back. It is idempotent.
func (c *Chunk) Release() {
	if c.buf != nil {
		c.buf.put()
		c.buf, c.Segments = nil, nil
	}
}

// Read returns whole batches of durable records, the first of which contains or
// follows from, up to the high watermark, or up to the last stable offset with
// committed. They take at most maxBytes, but with minOne the first one comes
// whatever its size. A from above what can be read and not above the end gives an
// empty chunk. It waits for the object store where Hot(from) is false. Errors:
// ErrOffsetOutOfRange, ErrDeleted, ErrClosed, what the object store says.
func (l *Log) Read(from int64, maxBytes int, minOne, committed bool) (*Chunk, error) {
	r := reading{from, maxBytes, minOne, committed}
	c, err := l.readHot(r, nil)
	if !errors.Is(err, errCold) {
		return c, err
	}
	err = l.retry(func(v view) error {
		c, err = l.readCold(v, r)
		return err
	})
	if err != nil {
		return nil, l.explain(from, err)
	}
	return c, nil
}

// A reading is what Read was asked for.
type reading struct {
	from              int64
	maxBytes          int
	minOne, committed bool
}

// limit is the offset up to which a reading may go.
func (r reading) limit(b Bounds) int64 {
	if r.committed {
		return b.Stable
	}
	return b.Durable
}

// errCold: the first batch is to be read from an object.
var errCold = errors.New("batch is in an object")

func (l *Log) explain(from int64, err error) error {
	switch {
	case errors.As(err, &ErrOffsetOutOfRange{}) || errors.As(err, &ErrDiverged{}) || errors.Is(err, ErrDeleted) || errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, cache.ErrClosed):
		return ErrClosed
	}
	return fmt.Errorf("read %s at %d: %w", l.partition, from, err)
}

// readCold reads from objects, and behind them from the WAL if they have nothing.
func (l *Log) readCold(v view, r reading) (*Chunk, error) {
	c := &Chunk{Next: r.from}
	l.mu.Lock()
	c.Bounds = l.bounds()
	err := l.readable(r.from)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	held, err := l.coldRead(v, c, r)
	if err != nil {
		return nil, err
	}
	if !held {
		return l.readHot(r, &v)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readable(r.from); err != nil {
		return nil, err
	}
	if l.generation != v.generation {
		return nil, errMoved
	}
	if r.committed && len(c.Segments) > 0 {
		c.Aborted = l.txns.abortedIn(r.from, c.Next)
	}
	return c, nil
}

// readHot reads from the WAL. It is errCold where the first batch is not there any
// more. behind is the view in which objects had nothing for it.
func (l *Log) readHot(r reading, behind *view) (*Chunk, error) {
	c := &Chunk{Next: r.from}
	from, maxBytes, minOne, committed := r.from, r.maxBytes, r.minOne, r.committed
	var found [64]item // of most reads; more go to the heap
	items := found[:0]
	size := 0

	l.mu.Lock()
	c.Bounds = l.bounds()
	if err := l.readable(from); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	if err := l.cold(from, behind); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	limit := r.limit(c.Bounds)
	for n := l.index.find(from); n < l.index.settled; n++ {
		i := *l.index.at(n)
		if i.base >= limit || size+int(i.size) > maxBytes && (size > 0 || !minOne) {
			break
		}
		items = append(items, i)
		size += int(i.size)
		c.Next = i.last() + 1
	}
	if committed && len(items) > 0 {
		c.Aborted = l.txns.abortedIn(from, c.Next)
	}
	l.mu.Unlock()

	if len(items) == 0 {
		return c, nil
	}
	c.buf = getBuffer(size + runSlack)
	if err := l.fill(c.buf.b, items); err != nil {
		c.Release()
		if errors.Is(err, wal.ErrTrimmed) {
			return nil, trimmed(behind)
		}
		return nil, fmt.Errorf("read %s at %d: %w", l.partition, from, err)
	}
	c.one[0] = c.buf.b[:size]
	c.Segments = c.one[:]
	return c, nil
}

// readable callers hold mu.
func (l *Log) readable(from int64) error {
	if l.gone != nil {
		return l.gone
	}
	if from < l.start || from > l.end {
		return ErrOffsetOutOfRange{Start: l.start, End: l.end}
	}
	return nil
}

// Batches of one partition stand in the WAL with a little between them, so runs
// of them are read at once and moved together. runSlack is how much a run may
// hold of what nobody asked for, runGap where a run ends.
const (
	runSlack = 64 << 10
	runGap   = 4 << 10
)

// fill reads the items' batches one behind the other into b, which has runSlack
// bytes to spare.
func (l *Log) fill(b []byte, items []item) error {
	for len(items) > 0 {
		run, span := runOf(items)
		if err := l.readWAL(b[:span], items[0], 0); err != nil {
			return err
		}
		origin := batchAt(items[0])
		filled := 0
		for _, i := range items[:run] {
			at := batchAt(i) - origin
			filled += copy(b[filled:], b[at:at+int64(i.size)])
		}
		b, items = b[filled:], items[run:]
	}
	return nil
}

func batchAt(i item) int64 { return int64(i.at.Offset) + int64(i.head) }

// runOf is how many items can be read at once, and how many bytes that is.
func runOf(items []item) (run int, span int64) {
	origin := batchAt(items[0])
	end := origin + int64(items[0].size)
	useful := int64(items[0].size)
	run = 1
	for _, i := range items[1:] {
		at := batchAt(i)
		useful += int64(i.size)
		next := at + int64(i.size)
		if i.at.Segment != items[0].at.Segment || at < end || at-end > runGap || next-origin-useful > runSlack {
			break
		}
		end = next
		run++
	}
	return run, end - origin
}

// readWAL fills b from the item's batch on, or before bytes ahead of it.
func (l *Log) readWAL(b []byte, i item, before int64) error {
	err := l.engine.wal.ReadAt(b, i.at, int64(i.head)-before)
	if errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return translate(err)
}

// A Batch is one durable batch with what was kept about it.
type Batch struct {
	Header batch.Header
	Raw    []byte // valid until Release
	Meta   Meta   // zero for a replica's
	At     time.Time

	buf *buffer
}

// Release gives Raw back. It is idempotent, on one copy of the Batch.
func (b *Batch) Release() {
	if b.buf != nil {
		b.buf.put()
		b.buf, b.Raw = nil, nil
	}
}

// Batch is the durable batch that contains or follows offset at; ok is false when
// there is none yet. Callers release it. Errors: ErrOffsetOutOfRange below the
// start, ErrDeleted, ErrClosed.
func (l *Log) Batch(at int64) (b Batch, ok bool, err error) {
	b, ok, err = l.hotBatch(at, nil)
	if !errors.Is(err, errCold) {
		return b, ok, err
	}
	err = l.retry(func(v view) error {
		if b, ok, err = l.coldBatch(v, at); err == nil && !ok {
			b, ok, err = l.hotBatch(at, &v)
			return err
		}
		return errors.Join(err, l.same(v))
	})
	if err != nil {
		return Batch{}, false, l.explain(at, err)
	}
	return b, ok, nil
}

func (l *Log) hotBatch(at int64, behind *view) (b Batch, ok bool, err error) {
	l.mu.Lock()
	if l.gone != nil || at < l.start {
		defer l.mu.Unlock()
		if l.gone != nil {
			return Batch{}, false, l.gone
		}
		return Batch{}, false, ErrOffsetOutOfRange{Start: l.start, End: l.end}
	}
	if err := l.cold(at, behind); err != nil {
		l.mu.Unlock()
		return Batch{}, false, err
	}
	n := l.index.find(at)
	if n >= l.index.settled {
		l.mu.Unlock()
		return Batch{}, false, nil
	}
	i := *l.index.at(n)
	l.mu.Unlock()
	b, err = l.load(i)
	if errors.Is(err, wal.ErrTrimmed) {
		return Batch{}, false, trimmed(behind)
	}
	if err != nil {
		return Batch{}, false, fmt.Errorf("read %s at %d: %w", l.partition, at, err)
	}
	return b, true, nil
}

// load reads an item's batch and head.
func (l *Log) load(i item) (Batch, error) {
	buf := getBuffer(int(i.head) + int(i.size))
	b := Batch{buf: buf, Raw: buf.b[i.head:]}
	err := l.readWAL(buf.b, i, int64(i.head))
	var at int64
	if err == nil {
		at, b.Meta, err = decodeBatchHead(buf.b[:i.head])
	}
	if err == nil {
		b.Header, err = batch.Parse(b.Raw)
	}
	if err != nil {
		b.Release()
		return Batch{}, err
	}
	b.At = timeOf(at)
	return b, nil
}
