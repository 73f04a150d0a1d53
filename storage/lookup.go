package storage

import (
	"errors"
	"fmt"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

// A Found is the record that a question about time has for an answer.
type Found struct {
	Offset    int64
	Timestamp int64 // ms since 1970
	Epoch     int32 // of its batch
}

// OffsetForTime is the first durable record, from the log's start on, whose
// timestamp is at least ts (ms since 1970); ok is false when there is none.
func (l *Log) OffsetForTime(ts int64) (f Found, ok bool, err error) {
	err = l.retry(func(v view) error {
		f, ok, err = l.offsetForTime(v, ts)
		return errors.Join(err, l.same(v))
	})
	if err != nil {
		return Found{}, false, fmt.Errorf("find time %d: %w", ts, l.explain(l.Bounds().Start, err))
	}
	return f, ok, nil
}

func (l *Log) offsetForTime(v view, ts int64) (f Found, ok bool, err error) {
	l.mu.Lock()
	start, cold := l.start, l.isCold(l.start)
	l.mu.Unlock()
	if cold {
		s := scan{log: l, from: start, since: ts, ahead: firstAhead, fn: func(b stored) (bool, error) {
			if b.BaseOffset < v.below {
				f, ok = firstRecord(b.Header, b.raw(), start, ts)
			}
			return !ok, nil
		}}
		if err := s.run(v.extents); ok || err != nil {
			return f, ok, err
		}
	}
	l.mu.Lock()
	err = l.cold(start, &v)
	n := l.index.firstSince(l.index.find(start), ts)
	l.mu.Unlock()
	for err == nil {
		var i item
		if i, ok, err = l.item(n); !ok {
			return Found{}, false, err
		}
		if f, ok, err = l.firstOf(i, start, ts); ok || err != nil {
			return f, ok, err
		}
		// The record that made the batch a candidate lies below the start.
		l.mu.Lock()
		if err = l.cold(start, &v); err == nil {
			n = l.index.firstSince(n+1, ts)
		}
		l.mu.Unlock()
	}
	return Found{}, false, err
}

// MaxTimestampOffset is the first durable record, from the log's start on, with
// the largest timestamp.
func (l *Log) MaxTimestampOffset() (f Found, ok bool, err error) {
	largest := batch.NoTimestamp
	err = l.retry(func(v view) error {
		largest, err = l.largestTime(v)
		return errors.Join(err, l.same(v))
	})
	if err != nil {
		return Found{}, false, fmt.Errorf("find largest time: %w", l.explain(l.Bounds().Start, err))
	}
	if largest == batch.NoTimestamp {
		return Found{}, false, nil
	}
	return l.OffsetForTime(largest)
}

// largestTime is the largest timestamp from the start on, -1 none.
func (l *Log) largestTime(v view) (int64, error) {
	l.mu.Lock()
	start, cold := l.start, l.isCold(l.start)
	if err := l.cold(start, &v); err != nil {
		l.mu.Unlock()
		return 0, err
	}
	n := l.index.find(start)
	var first item
	cut := n < l.index.settled && l.index.at(n).base < start
	if cut { // part of the batch is deleted: the index speaks of the whole
		first = *l.index.at(n)
		n++
	}
	largest := l.index.largestSince(n)
	l.mu.Unlock()
	if cut {
		b, err := l.load(first)
		if err != nil {
			return 0, moved(err)
		}
		largest = max(largest, largestRecord(b.Header, b.Raw, start))
		b.Release()
	}
	if cold {
		inObjects, err := l.coldLargest(v, start)
		return max(largest, inObjects), err
	}
	return largest, nil
}

// coldLargest is the largest timestamp of what stands in objects, from start on.
func (l *Log) coldLargest(v view, start int64) (int64, error) {
	largest := batch.NoTimestamp
	for n := range v.extents {
		x := v.extents[n : n+1]
		switch {
		case x[0].last < start:
		case x[0].base >= start:
			largest = max(largest, x[0].maxTimestamp)
		default:
			s := scan{log: l, from: start, since: everything, ahead: firstAhead, fn: func(b stored) (bool, error) {
				largest = max(largest, largestRecord(b.Header, b.raw(), start))
				return true, nil
			}}
			if err := s.run(x); err != nil {
				return 0, err
			}
		}
	}
	return largest, nil
}

// largestRecord is the largest timestamp of a batch's records from start on; that
// of the batch when it lies behind start as a whole, or cannot be decoded.
func largestRecord(h batch.Header, raw []byte, start int64) int64 {
	if h.LogAppendTime() || h.BaseOffset >= start {
		return h.MaxTimestamp
	}
	largest := batch.NoTimestamp
	err := eachRecord(h, raw, func(_ int32, r recordFields) error {
		if h.BaseOffset+int64(r.offsetDelta) >= start {
			largest = max(largest, h.FirstTimestamp+r.timestampDelta)
		}
		return nil
	})
	if err != nil {
		return h.MaxTimestamp
	}
	return largest
}

// item is errMoved for one that the index has let go.
func (l *Log) item(n int) (i item, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n < l.index.low:
		return i, false, errMoved
	case n >= l.index.settled:
		return i, false, nil
	}
	return *l.index.at(n), true, nil
}

// moved makes a question that found its batch trimmed be asked again.
func moved(err error) error {
	if errors.Is(err, wal.ErrTrimmed) {
		return errMoved
	}
	return err
}

// errFound ends a walk over records.
var errFound = errors.New("found")

// firstOf is firstRecord for an item.
func (l *Log) firstOf(i item, start, ts int64) (f Found, ok bool, err error) {
	b, err := l.load(i)
	if err != nil {
		return Found{}, false, moved(err)
	}
	defer b.Release()
	f, ok = firstRecord(b.Header, b.Raw, start, ts)
	return f, ok, nil
}

// firstRecord is the first record of a batch, at start or behind it, with a
// timestamp of at least ts. A batch whose records cannot be decoded counts as one
// record: it was mirrored, and is legacy's to judge.
func firstRecord(h batch.Header, raw []byte, start, ts int64) (f Found, ok bool) {
	whole := Found{max(h.BaseOffset, start), h.MaxTimestamp, h.LeaderEpoch}
	if h.LogAppendTime() {
		return whole, true
	}
	err := eachRecord(h, raw, func(_ int32, r recordFields) error {
		f = Found{h.BaseOffset + int64(r.offsetDelta), h.FirstTimestamp + r.timestampDelta, h.LeaderEpoch}
		if f.Offset >= start && f.Timestamp >= ts {
			return errFound
		}
		return nil
	})
	switch {
	case err == nil:
		return Found{}, false
	case errors.Is(err, errFound):
		return f, true
	}
	return whole, true
}

// Digest stands for all batches below at since the log was created or reset,
// deleted ones included; ok is false where at lies inside of a batch, below where
// the log began, or above what is durable, and where nobody can tell: below the
// first object that is still there, or when it cannot be read. In a gap it ends
// with the batch before.
func (l *Log) Digest(at int64) (d offsets.Digest, ok bool) {
	var err error
	err = l.retry(func(v view) error {
		l.mu.Lock()
		inside, cold := at >= l.origin && at <= l.durable, l.isCold(at)
		if ok = false; inside && !cold {
			d, ok = l.index.digestAt(at)
		}
		l.mu.Unlock()
		if !inside || !cold {
			return nil
		}
		d, ok, err = l.coldDigest(v, at)
		return errors.Join(err, l.same(v))
	})
	if err != nil {
		l.engine.cfg.Logger.Debug("no digest", "partition", l.partition.String(), "offset", at, "error", err)
		return offsets.Digest{}, false
	}
	return d, ok
}

// Entries are at most limit durable batches from the one that contains or follows
// from, as digests see them. An error says that they are there and could not be
// read.
func (l *Log) Entries(from int64, limit int) (found []offsets.Entry, err error) {
	err = l.retry(func(v view) error {
		found = nil
		if !l.Hot(from) {
			if found, err = l.coldEntries(v, from, limit); err != nil || len(found) == limit {
				return errors.Join(err, l.same(v))
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if err := l.cold(from, &v); err != nil {
			return err
		}
		n := l.index.find(from)
		for more := min(limit-len(found), l.index.settled-n); more > 0; more-- {
			found = append(found, l.index.at(n).entry())
			n++
		}
		return nil
	})
	if err != nil {
		return nil, l.explain(from, err)
	}
	return found, nil
}

// Size is how many bytes the batches take that are not deleted. As on a Kafka
// broker, whose segments go as a whole, what stands in an object counts until all
// of it is deleted.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size()
}

// size callers hold mu.
func (l *Log) size() int64 {
	size := l.index.bytesFrom(max(l.index.find(l.start), l.index.flushed))
	for _, x := range l.heldExtents() {
		size += x.bytes
	}
	return size
}
