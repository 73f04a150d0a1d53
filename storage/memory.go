package storage

import (
	"maps"
	"slices"
)

// A log's memory is what its past leaves behind that batches alone would have to
// be read for again: producers and transactions. It is stored with the log's
// state, as it was behind the last batch that the state covers.

const memoryVersion = 1

const flagTransactional = 1

// encodeMemory callers hold the log's lock. Everything that was appended counts
// as durable: the memory is stored when that is so.
func encodeMemory(ps *producers, ts *transactions) []byte {
	b := []byte{memoryVersion}
	b = appendUint(b, uint64(len(ps.byID)))
	for _, id := range slices.Sorted(maps.Keys(ps.byID)) {
		b = ps.byID[id].append(b, id)
	}
	b = appendUint(b, uint64(len(ts.open)))
	for _, t := range ts.open {
		b = appendInt(appendInt(b, t.producer), t.first)
	}
	b = appendUint(b, uint64(len(ts.aborted)))
	for _, a := range ts.aborted {
		for _, v := range []int64{a.producer, a.first, a.last, a.lastStable} {
			b = appendInt(b, v)
		}
	}
	return seal(b)
}

func (p *producer) append(b []byte, id int64) []byte {
	flags := uint64(0)
	if p.transactional {
		flags |= flagTransactional
	}
	b = appendInt(b, id)
	b = appendUint(b, flags)
	for _, v := range []int64{int64(p.epoch), int64(p.coordinatorEpoch), p.txnStart, p.timestamp, p.seen} {
		b = appendInt(b, v)
	}
	b = appendUint(b, uint64(len(p.batches)))
	for _, s := range p.batches {
		for _, v := range []int64{int64(s.first), int64(s.last), s.base, s.end, s.timestamp} {
			b = appendInt(b, v)
		}
	}
	return b
}

// decodeMemory is the inverse of encodeMemory.
func decodeMemory(b []byte) (ps producers, ts transactions, err error) {
	f, err := unseal(b, memoryVersion)
	if err != nil {
		return ps, ts, err
	}
	if n := f.count(8); n > 0 {
		ps.byID = make(map[int64]*producer, n)
		for range n {
			id, p := f.producer()
			ps.byID[id] = p
		}
	}
	for range f.count(2) {
		ts.open = append(ts.open, txn{producer: f.int(), first: f.int()})
	}
	for range f.count(4) {
		ts.aborted = append(ts.aborted, aborted{txn: txn{producer: f.int(), first: f.int(), last: f.int()}, lastStable: f.int()})
	}
	return ps, ts, f.end()
}

func (f *fields) producer() (id int64, p *producer) {
	id = f.int()
	flags := f.uint()
	if flags&^flagTransactional != 0 {
		f.fail("producer with flags %x", flags)
	}
	p = &producer{
		transactional: flags&flagTransactional != 0,
		epoch:         f.int16(), coordinatorEpoch: f.int32(), txnStart: f.int(), timestamp: f.int(), seen: f.int(),
	}
	n := f.count(5)
	if n > keptBatches {
		f.fail("%d batches of producer %d", n, id)
		return id, p
	}
	for range n {
		p.batches = append(p.batches, sent{first: f.int32(), last: f.int32(), base: f.int(), end: f.int(), timestamp: f.int()})
	}
	return id, p
}
