package storage

import (
	"errors"
	"fmt"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

var errReplay = errors.New("record does not fit what came before it")

// replay rebuilds the logs from the WAL, record by record, through the same
// methods that changed them when they lived. An error is corruption: the WAL
// gives it file and offset.
func (e *Engine) replay(r wal.Record, at wal.Location) error {
	p := offsets.Partition{Topic: r.Topic, Index: r.Partition}
	switch r.Kind {
	case kindCreate:
		start, err := decodeOffset(r.Head)
		if err != nil {
			return err
		}
		if _, ok := e.logs[p]; ok {
			return fmt.Errorf("create %s again: %w", p, errReplay)
		}
		e.logs[p] = newLog(e, p, start)
		return nil
	case kindDelete:
		for known := range e.logs {
			if known.Topic == p.Topic {
				delete(e.logs, known)
			}
		}
		return nil
	}
	l := e.logs[p]
	if l == nil {
		return fmt.Errorf("record of kind %d for unknown partition %s: %w", r.Kind, p, errReplay)
	}
	return l.replay(r, at)
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
