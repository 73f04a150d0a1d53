package storage

import (
	"switchback/storage/batch"
	"switchback/storage/wal"
)

// take and settle are the two moments of a batch in a log: it has its place and
// counts for what comes next; it is durable and may be shown. Leader, replica and
// recovery go through them alike.

// take puts a batch at the end of the log. Callers hold mu and have checked it.
func (l *Log) take(h batch.Header, m marker, head int, now int64) {
	l.index.append(newItem(h, head))
	l.engine.grown(int64(h.Size()))
	l.end = h.LastOffset() + 1
	l.epochs = learn(l.epochs, h.LeaderEpoch, h.BaseOffset)
	l.leaderEpoch = max(l.leaderEpoch, h.LeaderEpoch) // a marker may be the first to tell of an election
	if !h.HasProducer() {
		return
	}
	l.producers.sweep(now)
	if !h.Control() {
		if l.producers.take(h, now) {
			l.txns.begin(h.ProducerID, h.BaseOffset)
		}
		return
	}
	if m.ok && m.EndsTransaction() {
		if began := l.producers.end(h, m.Marker, now); began >= 0 {
			l.txns.complete(h.ProducerID, h.BaseOffset, m.Type == batch.MarkerAbort)
		}
	}
}

// settle says where the oldest batch that is not durable yet stands. It is false
// when the log was reset since. Callers hold mu.
func (l *Log) settle(generation uint64, at wal.Location) bool {
	if generation != l.generation {
		return false
	}
	i := l.index.settle(at)
	l.durable = i.last() + 1
	l.txns.settle(l.durable)
	return true
}

// firstBelowStart says that h is a log's first batch and its start lies within:
// a fetch from legacy's log start returns the whole batch around it.
func (l *Log) firstBelowStart(h batch.Header) bool {
	return l.end == l.origin && h.BaseOffset <= l.start && l.start <= h.LastOffset() && l.start == l.end
}

// A marker is a control batch's record, if it holds one that can be read.
type marker struct {
	batch.Marker
	ok bool
}

func readMarker(raw []byte) marker {
	m, ok, err := batch.ParseMarker(raw)
	return marker{m, ok && err == nil}
}
