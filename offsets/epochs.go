package offsets

import (
	"slices"
	"sort"
)

// UndefinedEpoch and UndefinedOffset are what Kafka answers when it cannot say
// where an epoch ended.
const (
	UndefinedEpoch  int32 = -1
	UndefinedOffset int64 = -1
)

// An EpochStart says that a leader epoch began at an offset.
type EpochStart struct {
	Epoch int32 `json:"epoch"`
	Start int64 `json:"start"`
}

// Epochs is where each leader epoch of a log began: what Kafka keeps in its
// leader-epoch-checkpoint file.
//
// Invariant: both Epoch and Start rise strictly from entry to entry. Methods
// that return Epochs may share memory with the receiver's entries but never
// write to them.
type Epochs []EpochStart

// Latest is the last epoch of the list, UndefinedEpoch for an empty one.
func (e Epochs) Latest() int32 {
	if len(e) == 0 {
		return UndefinedEpoch
	}
	return e[len(e)-1].Epoch
}

// End is Kafka's answer to OffsetForLeaderEpoch: the largest epoch of the list
// that is not above the one asked for, and the offset at which it ended. For the
// latest epoch that is logEnd. An epoch below the whole list ends where the list
// begins; one above it is undefined (LeaderEpochFileCache.endOffsetFor).
func (e Epochs) End(epoch int32, logEnd int64) (endEpoch int32, end int64) {
	if epoch == UndefinedEpoch || len(e) == 0 {
		return UndefinedEpoch, UndefinedOffset
	}
	if epoch == e.Latest() {
		return epoch, logEnd
	}
	higher := e.above(epoch)
	switch higher {
	case len(e):
		return UndefinedEpoch, UndefinedOffset
	case 0:
		return epoch, e[0].Start
	}
	return e[higher-1].Epoch, e[higher].Start
}

// At is the epoch that the record at offset belongs to, UndefinedEpoch when the
// list begins above it.
func (e Epochs) At(offset int64) int32 {
	next := sort.Search(len(e), func(i int) bool { return e[i].Start > offset })
	if next == 0 {
		return UndefinedEpoch
	}
	return e[next-1].Epoch
}

// Assign adds that epoch began at start. As in Kafka (LeaderEpochFileCache.assign)
// entries at the end of the list that contradict it go, and saying the latest
// epoch again with the same or a later start changes nothing. A negative epoch
// or start changes nothing either: batches older than epochs carry -1.
func (e Epochs) Assign(epoch int32, start int64) Epochs {
	if epoch < 0 || start < 0 {
		return e
	}
	keep := len(e)
	if keep > 0 && e[keep-1].Epoch == epoch && start >= e[keep-1].Start {
		return e
	}
	for keep > 0 && (e[keep-1].Epoch >= epoch || e[keep-1].Start >= start) {
		keep--
	}
	return append(slices.Clip(e[:keep]), EpochStart{epoch, start})
}

// TruncateEnd is the list after the log was cut to end: an epoch that began at
// or above it never happened (LeaderEpochFileCache.truncateFromEndAsyncFlush).
func (e Epochs) TruncateEnd(end int64) Epochs {
	keep := sort.Search(len(e), func(i int) bool { return e[i].Start >= end })
	return slices.Clip(e[:keep])
}

// TruncateStart is the list after everything below start was deleted: the epoch
// that holds start now begins there, older ones are gone
// (LeaderEpochFileCache.truncateFromStartAsyncFlush).
func (e Epochs) TruncateStart(start int64) Epochs {
	next := sort.Search(len(e), func(i int) bool { return e[i].Start > start })
	if next == 0 {
		return e
	}
	return append(Epochs{{e[next-1].Epoch, start}}, e[next:]...)
}

// Diverge is the lowest offset at which two lists disagree about the epoch of a
// record below end; equal says that they agree everywhere below it.
func (e Epochs) Diverge(o Epochs, end int64) (offset int64, equal bool) {
	bound := func(l Epochs, i int) int64 {
		if i < len(l) {
			return l[i].Start
		}
		return end
	}
	for i := 0; i < len(e) || i < len(o); i++ {
		if i < len(e) && i < len(o) && e[i] == o[i] {
			continue
		}
		if at := min(bound(e, i), bound(o, i)); at < end {
			return at, false
		}
		break
	}
	return end, true
}

// above is the index of the first entry whose epoch is higher.
func (e Epochs) above(epoch int32) int {
	return sort.Search(len(e), func(i int) bool { return e[i].Epoch > epoch })
}
