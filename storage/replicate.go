package storage

import (
	"errors"
	"fmt"

	"switchback/storage/batch"
	"switchback/storage/wal"
)

// replicateBytes is how much of a Replicate call is queued under one lock; a
// larger batch is queued alone.
const replicateBytes = 256 << 10

// Replicate is the replica's way in: whole batches as a fetch from legacy
// returned them, at their own offsets, in order. Not a byte is changed. Gaps are
// allowed, whatever stands in the batches is believed (sequences, epochs,
// markers), and producer state and epochs are taken over as a Kafka follower
// does. A batch cut short at the end is left out, as Fetch answers have them.
//
// What lies below the log's end is compared: the same batch (offsets, length,
// checksum) is dropped, another one is ErrDiverged, with nothing of it or behind
// it taken. What lies below everything that the log holds is dropped.
//
// While the log is open for a leader, only control batches are taken, and only at
// exactly the end; others get ErrLeading.
//
// It returns the end of the log after the last batch that was taken or dropped.
// The batches are queued, not durable: Bounds().Durable says when they are. raw is
// the caller's again. Errors: ErrCorrupt, ErrDiverged, ErrLeading, ErrDeleted,
// ErrDead, ErrClosed.
func (l *Log) Replicate(raw []byte) (end int64, err error) {
	var some []replica
	size := 0
	err = batch.Walk(raw, func(h batch.Header, raw []byte) error {
		if h.LastOffsetDelta < 0 || h.BaseOffset < 0 || h.LastOffset() < h.BaseOffset {
			return fmt.Errorf("batch of offsets %d to %d: %w", h.BaseOffset, h.LastOffset(), ErrCorrupt)
		}
		if err := batch.CheckCRC(raw); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if size > 0 && size+len(raw) > replicateBytes {
			if end, err = l.replicate(some); err != nil {
				return err
			}
			some, size = make([]replica, 0, len(some)), 0 // the WAL holds on to the old ones
		}
		r := replica{log: l, header: h, raw: raw}
		if h.Control() {
			r.marker = readMarker(raw)
		}
		some, size = append(some, r), size+len(raw)
		return nil
	})
	if err == nil && len(some) > 0 {
		end, err = l.replicate(some)
	}
	if err != nil || end == 0 {
		end = l.Bounds().End
	}
	if err != nil {
		return end, fmt.Errorf("replicate to %s: %w", l.partition, err)
	}
	return end, nil
}

// A replica is one batch on its way in, and the WAL's Waiter for it.
type replica struct {
	log        *Log
	header     batch.Header
	raw        []byte
	marker     marker
	generation uint64
	known      bool // was compared with an object of the log of generation, and is there
}

const replicaHead = 8

// replicate takes some batches, or those of them that are not there yet.
func (l *Log) replicate(some []replica) (end int64, err error) {
	for {
		if err := l.compareCold(some); err != nil {
			return 0, err
		}
		// errMoved: the log has let go of batches meanwhile that are to be compared.
		if end, err = l.queue(some); !errors.Is(err, errMoved) {
			return end, err
		}
	}
}

func (l *Log) queue(some []replica) (end int64, err error) {
	room := 0
	for i := range some {
		room += wal.Size(replicaHead, len(some[i].raw))
	}
	if err := l.engine.wal.Reserve(room); err != nil {
		return 0, translate(err)
	}
	now := millis(l.engine.cfg.Now())
	head := offsetHead(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range some {
		r := &some[i]
		size := wal.Size(replicaHead, len(r.raw))
		fresh, err := l.place(r)
		if err == nil && !fresh {
			l.engine.wal.Unreserve(size)
			room -= size
			continue
		}
		if err == nil {
			r.generation = l.generation
			room -= size // Append gives the room back, whatever happens
			err = l.append(wal.Record{Kind: kindReplica, Head: head, Body: r.raw}, r)
		}
		if err != nil {
			l.engine.wal.Unreserve(room)
			return l.end, err
		}
		l.take(r.header, r.marker, len(head), now)
		r.raw = nil
	}
	return l.end, nil
}

// place decides whether a batch is to be appended or is there already. Callers
// hold mu.
func (l *Log) place(r *replica) (fresh bool, err error) {
	h := r.header
	switch {
	case l.gone != nil:
		return false, l.gone
	case h.BaseOffset < l.end && !l.firstBelowStart(h):
		return false, l.compare(r)
	case l.leading && (!h.Control() || h.BaseOffset != l.end):
		return false, fmt.Errorf("batch at %d: %w", h.BaseOffset, ErrLeading)
	}
	return true, nil
}

// Committed implements wal.Waiter. A failure is told by Engine.Dead.
func (r *replica) Committed(at wal.Location, err error) {
	if err != nil {
		return
	}
	l := r.log
	l.mu.Lock()
	l.settle(r.generation, at)
	l.mu.Unlock()
	l.engine.touch(l)
}
