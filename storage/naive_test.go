package storage_test

import (
	"bytes"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
)

// A naiveLog is the dumb alternative to a Log: a slice of batches, and every
// question answered by going through all of them.
type naiveLog struct {
	origin, start, end int64
	leading            bool
	leaderEpoch        int32
	batches            []naiveBatch
	epochs             offsets.Epochs
}

type naiveBatch struct {
	batch.Header
	raw []byte
}

func (l *naiveLog) reset(start int64) {
	*l = naiveLog{origin: start, start: start, end: start, leaderEpoch: -1}
}

// add puts a batch at the end, as it stands in the log.
func (l *naiveLog) add(raw []byte) {
	h, err := batch.Parse(raw)
	if err != nil {
		panic(err)
	}
	l.batches = append(l.batches, naiveBatch{h, bytes.Clone(raw)})
	l.end = h.LastOffset() + 1
	l.epochs = l.epochs.Assign(h.LeaderEpoch, h.BaseOffset)
	l.leaderEpoch = max(l.leaderEpoch, h.LeaderEpoch)
}

func (l *naiveLog) bytes(from int64) []byte {
	var all []byte
	for _, b := range l.batches {
		if b.LastOffset() >= from {
			all = append(all, b.raw...)
		}
	}
	return all
}

// producer goes through the log: the epoch, and the batches of that epoch.
func (l *naiveLog) producer(id int64) (epoch int16, last []naiveBatch, open bool) {
	epoch = -1
	for _, b := range l.batches {
		if b.ProducerID != id {
			continue
		}
		if b.ProducerEpoch != epoch {
			last = nil
		}
		epoch = b.ProducerEpoch
		if b.Control() {
			open = false
			continue
		}
		last = append(last, b)
		open = open || b.Transactional()
	}
	return epoch, last, open
}

// verdict says what becomes of a client's batch: an error, or the base offset.
func (l *naiveLog) verdict(h batch.Header) (base int64, duplicate bool, err error) {
	if !l.leading {
		return -1, false, storage.ErrNotLeader
	}
	if h.ProducerID < 0 {
		return l.end, false, nil
	}
	epoch, last, open := l.producer(h.ProducerID)
	if epoch == h.ProducerEpoch {
		for i := max(0, len(last)-5); i < len(last); i++ {
			if last[i].BaseSequence == h.BaseSequence && last[i].NumRecords == h.NumRecords {
				return last[i].BaseOffset, true, nil
			}
		}
	}
	next := int64(0)
	if len(last) > 0 {
		next = (int64(last[len(last)-1].LastSequence()) + 1) % (1 << 31)
	}
	switch {
	case epoch == -1:
	case h.ProducerEpoch < epoch:
		return -1, false, storage.ErrFenced
	case h.ProducerEpoch > epoch && h.BaseSequence != 0, h.ProducerEpoch == epoch && int64(h.BaseSequence) != next:
		return -1, false, storage.ErrOutOfOrder
	case open && !h.Transactional():
		return -1, false, storage.ErrTxnState
	}
	return l.end, false, nil
}

type naiveTxn struct {
	producer, first, marker int64 // marker -1: open
	abort                   bool
}

func (l *naiveLog) transactions() []naiveTxn {
	var all []naiveTxn
	for _, b := range l.batches {
		at := -1
		for i, t := range all {
			if t.producer == b.ProducerID && t.marker == -1 {
				at = i
			}
		}
		switch {
		case b.Control() && at >= 0:
			m, _, _ := batch.ParseMarker(b.raw)
			all[at].marker, all[at].abort = b.BaseOffset, m.Type == batch.MarkerAbort
		case !b.Control() && b.Transactional() && at < 0:
			all = append(all, naiveTxn{b.ProducerID, b.BaseOffset, -1, false})
		}
	}
	return all
}

func (l *naiveLog) stable() int64 {
	stable := l.end
	for _, t := range l.transactions() {
		if t.marker == -1 {
			stable = min(stable, t.first)
		}
	}
	return max(stable, l.start)
}

// aborted is what a reader of [from, to) must be told at least; Kafka may tell of
// transactions that lie around it.
func (l *naiveLog) aborted(from, to int64) map[storage.AbortedTxn]bool {
	all := map[storage.AbortedTxn]bool{}
	for _, t := range l.transactions() {
		if t.abort && t.marker >= from && t.first < to {
			all[storage.AbortedTxn{ProducerID: t.producer, FirstOffset: t.first}] = true
		}
	}
	return all
}

func (l *naiveLog) digest(at int64) (offsets.Digest, bool) {
	d := offsets.Digest{Offset: l.origin}
	for _, b := range l.batches {
		if b.BaseOffset < at && b.LastOffset() >= at {
			return offsets.Digest{}, false
		}
		if b.LastOffset() < at {
			d = d.Add(b.entry())
		}
	}
	return d, at >= l.origin && at <= l.end
}

func (b naiveBatch) entry() offsets.Entry {
	return offsets.Entry{Base: b.BaseOffset, Last: b.LastOffset(), Length: b.Length, CRC: b.CRC}
}

// each goes through all records.
func (l *naiveLog) each(fn func(offset, timestamp int64)) {
	for _, b := range l.batches {
		rest := b.raw[batch.HeaderSize:]
		for range b.NumRecords {
			var r batch.Record
			var err error
			if r, rest, err = batch.ReadRecord(rest); err != nil {
				panic(err)
			}
			fn(b.BaseOffset+int64(r.OffsetDelta), b.FirstTimestamp+r.TimestampDelta)
		}
	}
}

func (l *naiveLog) forTime(ts int64) (offset, timestamp int64, ok bool) {
	l.each(func(o, at int64) {
		if !ok && o >= l.start && at >= ts {
			offset, timestamp, ok = o, at, true
		}
	})
	return offset, timestamp, ok
}

// largestTime is that of what is not deleted, and of all.
func (l *naiveLog) largestTime() (largest, ever int64) {
	largest, ever = -1, -1
	l.each(func(o, at int64) {
		ever = max(ever, at)
		if o >= l.start {
			largest = max(largest, at)
		}
	})
	return largest, ever
}

// firstHeld is the number of the first batch that is not deleted as a whole.
func (l *naiveLog) firstHeld() int {
	n := 0
	for n < len(l.batches) && l.batches[n].LastOffset() < l.start {
		n++
	}
	return n
}
