package storage

import "sort"

// An AbortedTxn is a transaction whose records a read_committed reader drops:
// those of the producer from FirstOffset to its next marker.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
}

// A txn is a transaction that is open, or whose marker is not durable yet.
type txn struct {
	producer    int64
	first, last int64 // last: the marker's offset
}

// An aborted is an entry of Kafka's transaction index.
type aborted struct {
	txn
	lastStable int64 // last stable offset when the marker was appended
}

// transactions are those of one log. The log's lock guards them.
type transactions struct {
	open      []txn // by first
	completed []txn // marker appended, not durable yet
	aborted   []aborted
}

func (t *transactions) begin(producer, first int64) {
	t.open = append(t.open, txn{producer: producer, first: first})
}

// complete ends the open transaction of the producer with a marker at last.
func (t *transactions) complete(producer, last int64, abort bool) {
	lastStable := last + 1
	var done txn
	keep := t.open[:0]
	for _, o := range t.open {
		if o.producer == producer {
			done = o
			continue
		}
		if len(keep) == 0 {
			lastStable = o.first
		}
		keep = append(keep, o)
	}
	t.open = keep
	done.last = last
	t.completed = append(t.completed, done)
	if abort {
		t.aborted = append(t.aborted, aborted{done, lastStable})
	}
}

// settle forgets what has completed below the durable end.
func (t *transactions) settle(durable int64) {
	n := 0
	for n < len(t.completed) && t.completed[n].last < durable {
		n++
	}
	t.completed = t.completed[n:]
}

// stable is the last stable offset of a log with that durable end.
func (t *transactions) stable(durable int64) int64 {
	if len(t.open) > 0 {
		durable = min(durable, t.open[0].first)
	}
	for _, c := range t.completed {
		durable = min(durable, c.first)
	}
	return durable
}

// abortedIn lists what a reader of [from, to) has to know.
func (t *transactions) abortedIn(from, to int64) []AbortedTxn {
	var found []AbortedTxn
	n := sort.Search(len(t.aborted), func(i int) bool { return t.aborted[i].last >= from })
	for _, a := range t.aborted[n:] {
		if a.first < to {
			found = append(found, AbortedTxn{ProducerID: a.producer, FirstOffset: a.first})
		}
		if a.lastStable >= to {
			break
		}
	}
	return found
}

// cut forgets what ended below start.
func (t *transactions) cut(start int64) {
	n := sort.Search(len(t.aborted), func(i int) bool { return t.aborted[i].last >= start })
	t.aborted = append([]aborted(nil), t.aborted[n:]...)
}
