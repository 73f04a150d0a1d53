package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

var errReplay = errors.New("record does not fit what came before it")

// load builds the logs as the catalog has them, claims the folder, and returns
// the first record that is needed of the WAL.
func (e *Engine) load(ctx context.Context, folder string) (oldest uint64, err error) {
	e.flusher = newFlusher(e)
	if err := e.flusher.take(ctx, folder); err != nil {
		return 0, err
	}
	states, err := e.catalog.List(ctx, keyLogs)
	if err != nil {
		return 0, err
	}
	for _, kv := range states {
		p, err := parseStateKey(kv.Key)
		if err != nil {
			return 0, err
		}
		s, err := decodeState(kv.Value)
		if err != nil {
			return 0, fmt.Errorf("log %s in the catalog: %w", p, err)
		}
		l := newLog(e, p, s.origin)
		if err := l.restore(s); err != nil {
			return 0, fmt.Errorf("restore log %s: %w", p, err)
		}
		e.logs[p] = l
		e.flusher.revs[p] = kv.Rev
	}
	return e.flusher.needed, nil
}

// restore makes a new log what it was when s was committed.
func (l *Log) restore(s *state) error {
	memory := s.memory
	if s.memoryIn != (objectID{}) {
		var err error
		if memory, err = l.readMemory(s.memoryIn); err != nil {
			return err
		}
	}
	var err error
	if l.producers, l.txns, err = decodeMemory(memory); err != nil {
		return err
	}
	l.origin, l.start, l.end, l.durable, l.replayed = s.origin, s.start, s.end, s.end, s.replayed
	l.epochs, l.leaderEpoch = s.epochs, s.leaderEpoch
	l.number, l.extents, l.memoryIn = s.covered, s.extents, s.memoryIn
	l.index = newIndex(s.digest, s.maxTimestamp)
	l.index.from = s.end
	l.txns.cut(l.start)
	return nil
}

// A replay rebuilds the logs from the WAL, record by record, through the same
// methods that changed them when they lived. Records that a log's state covers
// are passed over.
type replay struct {
	engine *Engine
	listed map[offsets.Partition]bool // logs that the catalog has
	// orphans are records of logs that are not there. That is no contradiction if
	// their topic is deleted further on: the catalog has forgotten it already.
	orphans map[offsets.TopicID]error
}

func newReplay(e *Engine) *replay {
	r := &replay{engine: e, listed: make(map[offsets.Partition]bool), orphans: make(map[offsets.TopicID]error)}
	for p := range e.logs {
		r.listed[p] = true
	}
	return r
}

// record is called for each. An error is corruption: the WAL gives it file and
// offset.
func (r *replay) record(rec wal.Record, number uint64, at wal.Location) error {
	p := offsets.Partition{Topic: rec.Topic, Index: rec.Partition}
	if rec.Kind == kindDelete {
		r.delete(rec.Topic, number)
		return nil
	}
	l := r.engine.logs[p]
	switch {
	case l != nil && number <= l.number:
		return nil
	case rec.Kind == kindCreate && l != nil:
		return fmt.Errorf("create %s again: %w", p, errReplay)
	case rec.Kind == kindCreate:
		start, err := decodeOffset(rec.Head)
		if err != nil {
			return err
		}
		l = newLog(r.engine, p, start)
		r.engine.logs[p] = l
	case l == nil:
		if r.orphans[p.Topic] == nil {
			r.orphans[p.Topic] = fmt.Errorf("record %d of kind %d for unknown partition %s: %w", number, rec.Kind, p, errReplay)
		}
		return nil
	default:
		if err := l.replay(rec, at); err != nil {
			return err
		}
	}
	l.count(number)
	return nil
}

// delete forgets the topic's logs that are older than the record.
func (r *replay) delete(id offsets.TopicID, number uint64) {
	delete(r.orphans, id)
	for p, l := range r.engine.logs {
		if p.Topic == id && l.number < number {
			delete(r.engine.logs, p)
			r.engine.deleted[p] = number
		}
	}
}

// end is when all records were seen.
func (r *replay) end() error {
	for _, err := range r.orphans {
		return &CorruptError{filepath.Join(r.engine.cfg.Dir, walName), 0, err.Error()}
	}
	for p := range r.engine.deleted {
		if !r.listed[p] {
			delete(r.engine.deleted, p)
		}
	}
	return nil
}

func (l *Log) replay(r wal.Record, at wal.Location) error {
	switch r.Kind {
	case kindLeader, kindReplica:
		return l.replayBatch(r, at)
	case kindEpoch:
		epoch, start, err := decodeEpoch(r.Head)
		if err != nil {
			return err
		}
		l.epochs = learn(l.epochs, epoch, start)
		l.leaderEpoch = max(l.leaderEpoch, epoch)
		return nil
	}
	offset, err := decodeOffset(r.Head)
	if err != nil {
		return err
	}
	switch r.Kind {
	case kindReset:
		l.empty(offset)
	case kindStart:
		l.cut(offset)
	case kindReplayed:
		l.replayed = max(l.replayed, offset)
	default:
		return fmt.Errorf("record of unknown kind %d: %w", r.Kind, errReplay)
	}
	return nil
}

func (l *Log) replayBatch(r wal.Record, at wal.Location) error {
	when, _, err := decodeBatchHead(r.Head)
	if err != nil {
		return err
	}
	h, err := batch.Parse(r.Body)
	if err != nil {
		return err
	}
	if h.Size() != len(r.Body) || h.LastOffset() < h.BaseOffset || h.BaseOffset < l.end && !l.firstBelowStart(h) {
		return fmt.Errorf("batch of offsets %d to %d in a log that ends at %d: %w", h.BaseOffset, h.LastOffset(), l.end, errReplay)
	}
	var m marker
	if h.Control() {
		m = readMarker(r.Body)
	}
	l.take(h, m, len(r.Head), when)
	l.settle(l.generation, at)
	return nil
}
