package storage

import (
	"errors"
	"fmt"
	"sort"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/object"
)

// Batches below index.from stand in objects only. Every question about them is a
// scan over extents, outside of the log's lock; whoever asked looks under the lock
// afterwards whether the log is still the one that it was.

// A view is what a scan goes by: a log's extents at one instant.
type view struct {
	generation uint64
	extents    []extent
	below      int64 // the index holds what is not below it
}

// view callers hold mu.
func (l *Log) view() view { return view{l.generation, l.extents, l.index.from} }

// isCold says whether the answer to a question about offset begins in an object.
// Callers hold mu.
func (l *Log) isCold(offset int64) bool {
	return offset < l.index.from && len(l.extents) > 0
}

// Hot says whether a read at offset is served from memory or the WAL, without the
// object store.
func (l *Log) Hot(offset int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.isCold(offset)
}

// cold is errCold for an offset that is in objects. With behind, the view in which
// they had nothing for it, it is errMoved if that view does not hold any more.
// Callers hold mu.
func (l *Log) cold(offset int64, behind *view) error {
	switch {
	case behind == nil && l.isCold(offset):
		return errCold
	case behind != nil && (behind.generation != l.generation || behind.below != l.index.from):
		return errMoved
	}
	return nil
}

// trimmed is what a read says whose batch the WAL has dropped meanwhile.
func trimmed(behind *view) error {
	if behind != nil {
		return errMoved
	}
	return errCold
}

// errMoved: the log was reset, or what it was read from is not there any more.
var errMoved = errors.New("log has moved while it was read")

// How often a question is asked again when an object has gone that its extents
// named (the log has other ones by then), and when the log has moved (each time a
// flush was faster).
const (
	goneTries  = 3
	movedTries = 100
)

// retry asks again while the log moves under the question. What is gone and has
// no other place is an error, never a gap.
func (l *Log) retry(ask func(view) error) error {
	for try := 1; ; try++ {
		l.mu.Lock()
		v, gone := l.view(), l.gone
		l.mu.Unlock()
		if gone != nil {
			return gone
		}
		err := ask(v)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errMoved) && try < movedTries:
		case errors.Is(err, object.ErrNotFound) && try < goneTries:
		default:
			return err
		}
	}
}

// same is errMoved when the log is not the one of v any more.
func (l *Log) same(v view) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.gone != nil:
		return l.gone
	case l.generation != v.generation:
		return errMoved
	}
	return nil
}

// A stored is a batch in an object.
type stored struct {
	batch.Header
	extent *extent
	block  []byte // whose bytes from, to are the batch; nobody writes to it
	from   int
	to     int
}

func (s stored) raw() []byte { return s.block[s.from:s.to:s.to] }

func (s stored) entry() offsets.Entry { return entryOf(s.Header) }

// A scan walks over batches in objects.
type scan struct {
	log   *Log
	from  int64 // batches that end below it are passed over
	since int64 // so is whatever has no timestamp of at least it
	ahead int64 // bytes to fetch ahead
	fn    func(stored) (on bool, err error)
}

// run calls fn for each batch until it does not want another.
func (s scan) run(extents []extent) error {
	n := sort.Search(len(extents), func(n int) bool { return extents[n].last >= s.from })
	for ; n < len(extents); n++ {
		x := &extents[n]
		if x.maxTimestamp < s.since {
			continue
		}
		on, err := s.extent(x)
		if err != nil {
			return fmt.Errorf("offsets %d to %d in object %s: %w", x.base, x.last, objectKey(x.object), err)
		}
		if !on {
			return nil
		}
	}
	return nil
}

func (s scan) extent(x *extent) (on bool, err error) {
	key := objectKey(x.object)
	index, err := s.log.engine.cold.Index(key)
	if err != nil {
		return false, err
	}
	blocks := index.Blocks(part(s.log.partition))
	n := sort.Search(len(blocks), func(n int) bool { return blocks[n].Last >= max(s.from, x.base) })
	for ; n < len(blocks) && blocks[n].Base <= x.last; n++ {
		if blocks[n].MaxTimestamp < s.since {
			continue
		}
		b, err := s.log.engine.cold.Block(key, blocks[n:], s.ahead)
		if err != nil {
			return false, err
		}
		if on, err := s.block(x, b); !on || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s scan) block(x *extent, b []byte) (on bool, err error) {
	on = true
	at := 0
	err = batch.Walk(b, func(h batch.Header, raw []byte) error {
		from := at
		at += len(raw)
		if h.LastOffset() < max(s.from, x.base) || h.MaxTimestamp < s.since {
			return nil
		}
		if h.BaseOffset > x.last {
			on = false
		} else if on, err = s.fn(stored{h, x, b, from, at}); err != nil {
			return err
		}
		if !on {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return on, err
}

// everything is a since that no batch is below.
const everything = -1 << 63

// coldRead is Read for what begins in an object; held is false when objects have no
// batch for it below what the index holds.
func (l *Log) coldRead(v view, c *Chunk, r reading) (held bool, err error) {
	size, from, limit := 0, r.from, r.limit(c.Bounds)
	s := scan{log: l, from: from, since: everything, ahead: l.cursors.window(from)}
	s.fn = func(b stored) (bool, error) {
		n := b.to - b.from
		if b.BaseOffset >= v.below {
			return false, nil
		}
		held = true
		if b.BaseOffset >= limit || size+n > r.maxBytes && (size > 0 || !r.minOne) {
			return false, nil
		}
		c.extend(b)
		size += n
		c.Next = b.LastOffset() + 1
		return true, nil
	}
	if err := s.run(v.extents); err != nil {
		return false, err
	}
	l.cursors.moved(from, c.Next)
	return held, nil
}

// extend adds a batch's bytes to the chunk, which shares the block's memory.
func (c *Chunk) extend(b stored) {
	if n := len(c.Segments) - 1; n >= 0 && c.block == &b.block[0] && c.blockEnd == b.from {
		first := c.blockEnd - len(c.Segments[n])
		c.Segments[n] = b.block[first:b.to:b.to]
	} else {
		c.Segments = append(c.Segments, b.raw())
	}
	c.block, c.blockEnd = &b.block[0], b.to
}

// coldBatch is the first batch that ends at or behind offset at; ok is false when
// no object has one below what the index holds.
func (l *Log) coldBatch(v view, at int64) (b Batch, ok bool, err error) {
	var found stored
	s := scan{log: l, from: at, since: everything, fn: func(b stored) (bool, error) {
		found, ok = b, b.BaseOffset < v.below
		return false, nil
	}}
	if err := s.run(v.extents); err != nil || !ok {
		return Batch{}, false, err
	}
	b = Batch{Header: found.Header, Raw: found.raw(), At: timeOf(found.MaxTimestamp)}
	n, err := l.notes(found.extent)
	if err != nil {
		return Batch{}, false, err
	}
	if at, meta, ok := n.about(found.BaseOffset); ok {
		b.At, b.Meta = timeOf(at), meta
	}
	return b, true, nil
}

// coldEntries lists at most limit batches below what the index holds.
func (l *Log) coldEntries(v view, from int64, limit int) ([]offsets.Entry, error) {
	var found []offsets.Entry
	s := scan{log: l, from: from, since: everything, ahead: scanAhead}
	s.fn = func(b stored) (bool, error) {
		if len(found) == limit || b.BaseOffset >= v.below {
			return false, nil
		}
		found = append(found, b.entry())
		return true, nil
	}
	err := s.run(v.extents)
	return found, err
}

// coldDigest is the digest of everything below at, which is below what the index
// holds; ok is false inside of a batch and below the first extent.
func (l *Log) coldDigest(v view, at int64) (d offsets.Digest, ok bool, err error) {
	n := sort.Search(len(v.extents), func(n int) bool { return v.extents[n].last >= at })
	if n == len(v.extents) {
		return d, false, nil // a gap behind the last extent: the index can tell
	}
	x := &v.extents[n]
	if at <= x.base {
		return x.before, x.before.Offset <= at, nil
	}
	d = x.before
	from := x.base
	notes, err := l.notes(x)
	if err != nil {
		return d, false, err
	}
	if c, ok := notes.checkpoint(at); ok {
		d, from = c.before, c.base
	}
	ok = true
	s := scan{log: l, from: from, since: everything, fn: func(b stored) (bool, error) {
		if b.BaseOffset >= at {
			return false, nil
		}
		if b.LastOffset() >= at {
			ok = false
			return false, nil
		}
		d = d.Add(b.entry())
		return true, nil
	}}
	err = s.run(v.extents[n : n+1])
	return d, ok, err
}

// notes are those of an extent, empty ones when it has none.
func (l *Log) notes(x *extent) (*notes, error) {
	b, err := l.engine.cold.Section(objectKey(x.object), notesSection(l.partition))
	if err != nil || b == nil {
		return &notes{}, err
	}
	n, err := decodeNotes(b)
	if err != nil {
		return nil, fmt.Errorf("notes in object %s: %w", objectKey(x.object), err)
	}
	return n, nil
}

// readMemory is a log's memory that does not stand in its state.
func (l *Log) readMemory(in objectID) ([]byte, error) {
	b, err := l.engine.cold.Section(objectKey(in), memorySection(l.partition))
	if err == nil && b == nil {
		err = fmt.Errorf("object %s has no memory of it: %w", objectKey(in), errFields)
	}
	return b, err
}
