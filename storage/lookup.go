package storage

import (
	"errors"

	"switchback/offsets"
	"switchback/storage/batch"
)

// OffsetForTime is the first durable record, from the log's start on, whose
// timestamp is at least ts (ms since 1970), with the epoch of its batch; ok is
// false when there is none.
func (l *Log) OffsetForTime(ts int64) (offset, timestamp int64, epoch int32, ok bool) {
	l.mu.Lock()
	start := l.start
	n := l.index.firstSince(l.index.find(start), ts)
	l.mu.Unlock()
	for {
		i, found := l.item(n)
		if !found {
			return -1, -1, -1, false
		}
		if offset, timestamp, epoch, ok := l.firstRecord(i, start, ts); ok {
			return offset, timestamp, epoch, true
		}
		// The record that made the batch a candidate lies below the start.
		l.mu.Lock()
		n = l.index.firstSince(n+1, ts)
		l.mu.Unlock()
	}
}

// MaxTimestampOffset is the first durable record, from the log's start on, with
// the largest timestamp.
func (l *Log) MaxTimestampOffset() (offset, timestamp int64, epoch int32, ok bool) {
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
		largest = max(largest, l.largestRecord(first, start))
	}
	if largest == batch.NoTimestamp {
		return -1, -1, -1, false
	}
	return l.OffsetForTime(largest)
}

// largestRecord is the largest timestamp of a batch's records from start on.
func (l *Log) largestRecord(i item, start int64) int64 {
	largest := batch.NoTimestamp
	b, err := l.load(i)
	if err != nil {
		return largest
	}
	defer b.Release()
	h := b.Header
	if h.LogAppendTime() {
		return h.MaxTimestamp
	}
	err = eachRecord(h, b.Raw, func(_ int32, r recordFields) error {
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
// timestamp of at least ts. A batch whose records cannot be read counts as one
// record: it was mirrored, and is legacy's to judge.
func (l *Log) firstRecord(i item, start, ts int64) (offset, timestamp int64, epoch int32, ok bool) {
	b, err := l.load(i)
	if err != nil {
		return -1, -1, -1, false
	}
	defer b.Release()
	h := b.Header
	if h.LogAppendTime() {
		return max(h.BaseOffset, start), h.MaxTimestamp, h.LeaderEpoch, true
	}
	err = eachRecord(h, b.Raw, func(_ int32, r recordFields) error {
		offset, timestamp = h.BaseOffset+int64(r.offsetDelta), h.FirstTimestamp+r.timestampDelta
		if offset >= start && timestamp >= ts {
			return errFound
		}
		return nil
	})
	switch {
	case err == nil:
		return -1, -1, -1, false
	case errors.Is(err, errFound):
		return offset, timestamp, h.LeaderEpoch, true
	}
	return max(h.BaseOffset, start), h.MaxTimestamp, h.LeaderEpoch, true
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
// from, as digests see them.
func (l *Log) Entries(from int64, limit int) []offsets.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.index.find(from)
	limit = min(limit, l.index.settled-n)
	if limit <= 0 {
		return nil
	}
	found := make([]offsets.Entry, limit)
	for i := range found {
		found[i] = l.index.at(n + i).entry()
	}
	return found
}
