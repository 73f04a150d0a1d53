package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"switchback/offsets"
	"switchback/storage/catalog"
)

// Bounds of one transaction, well below the catalog's.
const (
	commitKeys  = 100
	commitBytes = catalog.MaxTxnBytes * 3 / 4
)

// A change of one log's key in the catalog.
type change struct {
	partition offsets.Partition
	value     []byte // nil: delete
	done      func()
}

// commit puts the captured states and deletes the keys of deleted logs. What was
// committed when an error comes is applied; the rest is for the next flush.
func (f *flusher) commit(ctx context.Context, caught []*capture, deleted map[offsets.Partition]uint64) error {
	var some []change
	size := 0
	add := func(c change) error {
		if len(some) == commitKeys || len(some) > 0 && size+len(c.value) > commitBytes {
			if err := f.commitSome(ctx, some); err != nil {
				return err
			}
			some, size = some[:0], 0
		}
		some, size = append(some, c), size+len(c.value)
		return nil
	}
	for _, c := range caught {
		done := func() { c.apply(); f.superseded(c) }
		if err := add(change{c.log.partition, c.state.encode(), done}); err != nil {
			return err
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(deleted), offsets.Partition.Compare) {
		if err := add(change{p, nil, func() { f.forgotten(p, deleted[p]) }}); err != nil {
			return err
		}
	}
	if len(some) == 0 {
		return nil
	}
	return f.commitSome(ctx, some)
}

// superseded: the partition of that log was deleted and is there again.
func (f *flusher) superseded(c *capture) {
	f.engine.mu.Lock()
	defer f.engine.mu.Unlock()
	if number, ok := f.engine.deleted[c.log.partition]; ok && number < c.state.covered {
		delete(f.engine.deleted, c.log.partition)
	}
}

func (f *flusher) forgotten(p offsets.Partition, number uint64) {
	f.engine.mu.Lock()
	defer f.engine.mu.Unlock()
	if f.engine.deleted[p] == number {
		delete(f.engine.deleted, p)
	}
	delete(f.revs, p)
}

func (f *flusher) commitSome(ctx context.Context, some []change) error {
	var cmps []catalog.Compare
	var ops []catalog.Op
	for _, c := range some {
		rev, ok := f.revs[c.partition]
		if c.value == nil && !ok {
			continue // never got there
		}
		key := stateKey(c.partition)
		cmps = append(cmps, catalog.Compare{Key: key, Rev: rev})
		ops = append(ops, catalog.Op{Key: key, Value: c.value, Delete: c.value == nil})
	}
	rev, err := f.txn(ctx, cmps, ops)
	if err != nil {
		return err
	}
	for _, c := range some {
		if c.value != nil {
			f.revs[c.partition] = rev
		}
		c.done()
	}
	f.engine.cfg.stepped("committed")
	return nil
}

func (f *flusher) commitNeeded(ctx context.Context, needed uint64) error {
	rev, err := f.txn(ctx,
		[]catalog.Compare{{Key: keyWAL, Rev: f.walRev}},
		[]catalog.Op{{Key: keyWAL, Value: strconv.AppendUint(nil, needed, 10)}})
	if err == nil {
		f.walRev = rev
	}
	return err
}

// errFenced is a catalog that somebody else has written to.
var errFenced = errors.New("somebody else has written to the catalog of this data folder")

const (
	commitPause = 20 * time.Millisecond
	commitTries = 10
)

// txn applies ops, which are at cmps now, and returns the keys' new revisions.
//
// After an unknown outcome, or a conflict, which is what an unknown one becomes
// when it takes effect late, the keys' revisions are read again and the same
// values are put over whatever is there: as long as nobody else has claimed the
// folder it is ours, and older. A try that takes effect after that finds other
// revisions, and does nothing.
func (f *flusher) txn(ctx context.Context, cmps []catalog.Compare, ops []catalog.Op) (rev int64, err error) {
	if len(ops) == 0 {
		return 0, nil
	}
	cmps = append(cmps, f.claim)
	for try := range commitTries {
		if try > 0 {
			if err := f.reread(ctx, cmps); err != nil {
				return 0, err
			}
		}
		rev, err = f.engine.catalog.Txn(ctx, cmps, ops)
		if err == nil || !errors.Is(err, catalog.ErrUnknown) && !errors.Is(err, catalog.ErrConflict) {
			return rev, err
		}
		if err := sleep(ctx, commitPause<<try); err != nil {
			return 0, err
		}
	}
	return 0, err
}

// reread brings the compares to where the catalog is. errFenced when the claim,
// which is the last of them, is not ours any more.
func (f *flusher) reread(ctx context.Context, cmps []catalog.Compare) error {
	for n := range cmps {
		kv, err := f.engine.catalog.Get(ctx, cmps[n].Key)
		if err != nil {
			return err
		}
		if n == len(cmps)-1 && kv.Rev != f.claim.Rev {
			return errFenced
		}
		cmps[n].Rev = kv.Rev
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
