package storage

import (
	"fmt"
	"math"

	"switchback/storage/batch"
	"switchback/storage/wal"
)

// Appended is the answer to Append.
type Appended struct {
	Base, Last   int64 // offsets; -1 when Err
	LogStart     int64
	AppendTime   int64 // ms since 1970; -1 on a topic with CreateTime; of a duplicate the original's timestamp, as Kafka answers
	Duplicate    bool  // Base and Last are the original's
	Err          error // wraps one of the sentinels
	RecordErrors []RecordError
	Message      string // for the client: why Err
}

// A RecordError names one record of a refused batch.
type RecordError struct {
	Index   int32 // in the batch
	Message string
}

// Append is the leader's way in for exactly one batch as a client sent it: base
// offset 0, any partition leader epoch. It validates the batch, assigns its
// offset under the log's lock in the order of calls, and returns when the batch
// is queued, so it may wait for room. raw is changed in place (offset, epoch,
// what Kafka normalises) and is the caller's again when Append returns.
//
// done is called once: with what became of the batch when that is durable, or
// with Err, for all calls of one goroutine in their order, by the WAL's announcer
// goroutine (after Close by the caller's). It must neither block nor call what
// waits for the WAL. Err wraps ErrNotLeader, ErrCorrupt, ErrTooLarge,
// ErrTimestamp, ErrOutOfOrder, ErrFenced, ErrTxnState, ErrCodec,
// ErrInvalidRecord, ErrDeleted, ErrReset, ErrDead or ErrClosed. A batch that one
// of the producer's last five repeats is not appended: it is answered with the
// original's offsets once the original is durable.
func (l *Log) Append(raw []byte, m Meta, done func(Appended)) {
	op := &appending{log: l, done: done}
	now := millis(l.engine.cfg.Now())
	rules := l.rules.Load()
	h, bad := rules.admit(raw, now)
	if bad != nil {
		op.refuse(bad)
		return
	}
	head := appendMeta(op.scratch[:0], now, m)
	room := wal.Size(len(head), len(raw))
	if err := l.engine.wal.Reserve(room); err != nil {
		op.refuse(failed(translate(err)))
		return
	}
	op.answer = Appended{AppendTime: batch.NoTimestamp}
	if rules.LogAppendTime {
		op.answer.AppendTime = now
	}

	l.mu.Lock()
	if bad := l.admit(op, h, now); bad != nil || op.answer.Duplicate {
		l.mu.Unlock()
		l.engine.wal.Unreserve(room)
		if bad != nil {
			op.refuse(bad)
		} else {
			op.pass()
		}
		return
	}
	h.BaseOffset, h.LeaderEpoch = l.end, l.leaderEpoch
	batch.SetBaseOffset(raw, h.BaseOffset)
	batch.SetLeaderEpoch(raw, h.LeaderEpoch)
	op.answer.Base, op.answer.Last = h.BaseOffset, h.LastOffset()
	op.generation = l.generation
	err := l.append(wal.Record{Kind: kindLeader, Head: head, Body: raw}, op)
	if err == nil {
		l.take(h, marker{}, len(head), now)
	}
	l.mu.Unlock()
	if err != nil {
		op.tell(failed(err))
	}
}

// admit decides about a batch as far as the log's state matters, and finds
// duplicates. Callers hold mu.
func (l *Log) admit(op *appending, h batch.Header, now int64) *refusal {
	if l.gone != nil {
		return failed(l.gone)
	}
	if !l.leading {
		return failed(ErrNotLeader)
	}
	if l.end > math.MaxInt64-int64(h.NumRecords) {
		return refuse(ErrInvalidRecord, "The log has no offset left at %d", l.end)
	}
	if !h.HasProducer() {
		return nil
	}
	original, duplicate, err := l.producers.check(h, now)
	if err != nil {
		return failed(fmt.Errorf("partition %s at offset %d: %w", l.partition, l.end, err))
	}
	if duplicate {
		op.answer = Appended{Base: original.base, Last: original.end, AppendTime: original.timestamp, Duplicate: true}
	}
	return nil
}

// failed is the refusal of a batch that is not to blame, or that the error
// describes well enough.
func failed(err error) *refusal { return &refusal{err: err, message: err.Error()} }

// An appending is a call of Append on its way to its completion. It is the WAL's
// Waiter.
type appending struct {
	log        *Log
	done       func(Appended)
	answer     Appended
	generation uint64
	scratch    [64]byte // most heads fit
}

// refuse answers in turn, behind what was appended before.
func (op *appending) refuse(why *refusal) {
	op.answer = why.answer()
	op.pass()
}

func (op *appending) pass() {
	if err := op.log.engine.wal.Pass(op); err != nil {
		op.tell(failed(translate(err)))
	}
}

// tell answers at once, when there is no WAL any more that would.
func (op *appending) tell(why *refusal) {
	op.answer = why.answer()
	op.done(op.answer)
}

func (r *refusal) answer() Appended {
	return Appended{Base: -1, Last: -1, LogStart: -1, AppendTime: batch.NoTimestamp, Err: r.err, RecordErrors: r.records, Message: r.message}
}

// Committed implements wal.Waiter.
func (op *appending) Committed(at wal.Location, err error) {
	l := op.log
	l.mu.Lock()
	switch {
	case op.answer.Err != nil: // refused long ago
	case err != nil:
		op.answer = failed(translate(err)).answer()
	case op.answer.Duplicate:
	case !l.settle(op.generation, at):
		op.answer = failed(ErrReset).answer()
	}
	op.answer.LogStart = l.start
	l.mu.Unlock()
	if op.answer.Err == nil {
		l.engine.touch(l)
	}
	op.done(op.answer)
}
