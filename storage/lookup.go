package storage

import (
	"errors"
	"fmt"

	"switchback/offsets"
	"switchback/storage/batch"
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
	l.mu.Lock()
	start := l.start
	n := l.index.firstSince(l.index.find(start), ts)
	l.mu.Unlock()
	for {
		i, found := l.item(n)
		if !found {
			return Found{}, false, nil
		}
		if f, ok, err := l.firstRecord(i, start, ts); ok || err != nil {
			return f, ok, err
		}
		// The record that made the batch a candidate lies below the start.
		l.mu.Lock()
		n = l.index.firstSince(n+1, ts)
		l.mu.Unlock()
	}
}

// MaxTimestampOffset is the first durable record, from the log's start on, with
// the largest timestamp.
func (l *Log) MaxTimestampOffset() (f Found, ok bool, err error) {
	l.mu.Lock()
	start := l.start
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
		ofFirst, err := l.largestRecord(first, start)
		if err != nil {
			return Found{}, false, err
		}
		largest = max(largest, ofFirst)
	}
	if largest == batch.NoTimestamp {
		return Found{}, false, nil
	}
	return l.OffsetForTime(largest)
}

// largestRecord is the largest timestamp of a batch's records from start on.
func (l *Log) largestRecord(i item, start int64) (int64, error) {
	b, err := l.load(i)
	if err != nil {
		return 0, fmt.Errorf("read %s at %d: %w", l.partition, i.base, err)
	}
	defer b.Release()
	h := b.Header
	if h.LogAppendTime() {
		return h.MaxTimestamp, nil
	}
	largest := batch.NoTimestamp
	err = eachRecord(h, b.Raw, func(_ int32, r recordFields) error {
		if h.BaseOffset+int64(r.offsetDelta) >= start {
			largest = max(largest, h.FirstTimestamp+r.timestampDelta)
		}
		return nil
	})
	if err != nil {
		return h.MaxTimestamp, nil //nolint:nilerr // as firstRecord has it
	}
	return largest, nil
}

func (l *Log) item(n int) (item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n >= l.index.settled {
		return item{}, false
	}
	return *l.index.at(n), true
}

// errFound ends a walk over records.
var errFound = errors.New("found")

// firstRecord is the first record of a batch, at start or behind it, with a
// timestamp of at least ts. A batch whose records cannot be decoded counts as one
// record: it was mirrored, and is legacy's to judge.
func (l *Log) firstRecord(i item, start, ts int64) (f Found, ok bool, err error) {
	b, err := l.load(i)
	if err != nil {
		return Found{}, false, fmt.Errorf("read %s at %d: %w", l.partition, i.base, err)
	}
	defer b.Release()
	h := b.Header
	whole := Found{max(h.BaseOffset, start), h.MaxTimestamp, h.LeaderEpoch}
	if h.LogAppendTime() {
		return whole, true, nil
	}
	err = eachRecord(h, b.Raw, func(_ int32, r recordFields) error {
		f = Found{h.BaseOffset + int64(r.offsetDelta), h.FirstTimestamp + r.timestampDelta, h.LeaderEpoch}
		if f.Offset >= start && f.Timestamp >= ts {
			return errFound
		}
		return nil
	})
	switch {
	case err == nil:
		return Found{}, false, nil
	case errors.Is(err, errFound):
		return f, true, nil
	}
	return whole, true, nil
}

// Digest stands for all batches below at since the log was created or reset,
// deleted ones included; ok is false where at lies inside of a batch, below where
// the log began, or above what is durable. In a gap it ends with the batch before.
func (l *Log) Digest(at int64) (d offsets.Digest, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at < l.origin || at > l.durable {
		return d, false
	}
	return l.index.digestAt(at)
}

// Entries are at most limit durable batches from the one that contains or follows
// from, as digests see them. An error says that they are there and could not be
// read.
func (l *Log) Entries(from int64, limit int) ([]offsets.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.index.find(from)
	limit = min(limit, l.index.settled-n)
	if limit <= 0 {
		return nil, nil
	}
	found := make([]offsets.Entry, limit)
	for i := range found {
		found[i] = l.index.at(n + i).entry()
	}
	return found, nil
}

// Size is how many bytes the batches take that are not deleted.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.bytesFrom(l.index.find(l.start))
}
