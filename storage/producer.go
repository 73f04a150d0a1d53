package storage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"switchback/storage/batch"
)

// keptBatches is ProducerStateEntry.NUM_BATCHES_TO_RETAIN.
const keptBatches = 5

// producerExpiry is Kafka's producer.id.expiration.ms (24 h) and an hour on top:
// what legacy still remembers must not be forgotten here, or we would accept what
// legacy refuses at replay. Kafka looks every ten minutes, so do we.
const (
	producerExpiry = 25 * time.Hour
	producerSweep  = 10 * time.Minute
)

// A ProducerState is what a log knows of a producer id.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1 none
	LastTimestamp    int64 // ms since 1970
	CoordinatorEpoch int32 // -1 none
	TxnStart         int64 // first offset of the open transaction, -1 none
}

// A sent is one of a producer's last batches.
type sent struct {
	first, last int32 // sequences
	base, end   int64 // first and last offset
	timestamp   int64 // largest of the batch
}

// A producer is Kafka's ProducerStateEntry.
type producer struct {
	epoch            int16
	coordinatorEpoch int32
	transactional    bool  // has ever written in a transaction
	txnStart         int64 // -1 none
	timestamp        int64 // of its last batch, by the batch
	seen             int64 // when we appended it
	batches          []sent
}

func (p *producer) lastSequence() int32 {
	if len(p.batches) == 0 {
		return batch.NoSequence
	}
	return p.batches[len(p.batches)-1].last
}

func (p *producer) expired(now int64) bool {
	return p.txnStart < 0 && now-max(p.seen, p.timestamp) >= producerExpiry.Milliseconds()
}

// duplicate finds one of the last batches with exactly these sequences.
func (p *producer) duplicate(h batch.Header) (sent, bool) {
	if h.ProducerEpoch != p.epoch {
		return sent{}, false
	}
	for _, s := range p.batches {
		if s.first == h.BaseSequence && s.last == h.LastSequence() {
			return s, true
		}
	}
	return sent{}, false
}

// takeEpoch forgets the batches of another epoch.
func (p *producer) takeEpoch(epoch int16) {
	if p.epoch != epoch {
		p.batches = p.batches[:0]
		p.epoch = epoch
	}
}

// producers are the producer ids of one log. The log's lock guards them.
type producers struct {
	byID  map[int64]*producer
	swept int64 // ms
}

// get is nil for an id that is not known, or not any more.
func (ps *producers) get(id, now int64) *producer {
	p := ps.byID[id]
	if p != nil && p.expired(now) {
		delete(ps.byID, id)
		return nil
	}
	return p
}

// sweep forgets who has expired, once in producerSweep.
func (ps *producers) sweep(now int64) {
	if now-ps.swept < producerSweep.Milliseconds() {
		return
	}
	ps.swept = now
	for id, p := range ps.byID {
		if p.expired(now) {
			delete(ps.byID, id)
		}
	}
}

// check is ProducerAppendInfo.maybeValidateDataBatch for a client's batch, after
// the search for a duplicate. Errors: ErrFenced, ErrOutOfOrder, ErrTxnState.
func (ps *producers) check(h batch.Header, now int64) (dup sent, isDup bool, err error) {
	p := ps.get(h.ProducerID, now)
	if p == nil {
		return sent{}, false, nil // any first sequence: the log may have been cut, or moved here
	}
	if dup, isDup = p.duplicate(h); isDup {
		return dup, true, nil
	}
	switch {
	case h.ProducerEpoch < p.epoch:
		return dup, false, fmt.Errorf("epoch of producer %d is %d, which is smaller than the last seen epoch %d: %w",
			h.ProducerID, h.ProducerEpoch, p.epoch, ErrFenced)
	case h.ProducerEpoch != p.epoch:
		if h.BaseSequence != 0 && p.epoch != batch.NoProducerEpoch {
			return dup, false, fmt.Errorf("invalid sequence number for new epoch of producer %d: %d (request epoch), %d (seq. number), %d (current producer epoch): %w",
				h.ProducerID, h.ProducerEpoch, h.BaseSequence, p.epoch, ErrOutOfOrder)
		}
	case !inSequence(p.lastSequence(), h.BaseSequence) && p.epoch != batch.NoProducerEpoch:
		return dup, false, fmt.Errorf("out of order sequence number for producer %d: %d (incoming seq. number), %d (current end sequence number): %w",
			h.ProducerID, h.BaseSequence, p.lastSequence(), ErrOutOfOrder)
	}
	if p.txnStart >= 0 && !h.Transactional() {
		return dup, false, fmt.Errorf("expected transactional write from producer %d: %w", h.ProducerID, ErrTxnState)
	}
	return dup, false, nil
}

func inSequence(last, next int32) bool {
	return int64(next) == int64(last)+1 || next == 0 && last == math.MaxInt32
}

// take adds a data batch that is in the log now, whoever wrote it. It says
// whether the batch began a transaction.
func (ps *producers) take(h batch.Header, now int64) (began bool) {
	p := ps.entry(h.ProducerID)
	p.takeEpoch(h.ProducerEpoch)
	if len(p.batches) == keptBatches {
		copy(p.batches, p.batches[1:])
		p.batches = p.batches[:keptBatches-1]
	}
	p.batches = append(p.batches, sent{
		first: h.BaseSequence, last: h.LastSequence(),
		base: h.BaseOffset, end: h.LastOffset(), timestamp: h.MaxTimestamp,
	})
	p.timestamp, p.seen = h.MaxTimestamp, now
	if !h.Transactional() {
		return false
	}
	p.transactional = true
	if p.txnStart >= 0 {
		return false
	}
	p.txnStart = h.BaseOffset
	return true
}

// end takes over a transaction marker and says where the transaction began, -1
// when none was open.
func (ps *producers) end(h batch.Header, m batch.Marker, now int64) (began int64) {
	p := ps.entry(h.ProducerID)
	began = p.txnStart
	p.takeEpoch(h.ProducerEpoch)
	p.coordinatorEpoch = m.CoordinatorEpoch
	p.transactional = true
	p.txnStart = -1
	p.timestamp, p.seen = h.MaxTimestamp, now
	return began
}

func (ps *producers) entry(id int64) *producer {
	p := ps.byID[id]
	if p == nil {
		p = &producer{epoch: batch.NoProducerEpoch, coordinatorEpoch: -1, txnStart: -1}
		if ps.byID == nil {
			ps.byID = make(map[int64]*producer)
		}
		ps.byID[id] = p
	}
	return p
}

func (ps *producers) transactional(now int64) bool {
	for _, p := range ps.byID {
		if p.transactional && !p.expired(now) {
			return true
		}
	}
	return false
}

// list is sorted by id.
func (ps *producers) list(now int64) []ProducerState {
	all := make([]ProducerState, 0, len(ps.byID))
	for id, p := range ps.byID {
		if p.expired(now) {
			continue
		}
		all = append(all, ProducerState{
			ProducerID: id, Epoch: p.epoch, LastSequence: p.lastSequence(), LastTimestamp: p.timestamp,
			CoordinatorEpoch: p.coordinatorEpoch, TxnStart: p.txnStart,
		})
	}
	slices.SortFunc(all, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return all
}
