package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"switchback/offsets"
	"switchback/storage/wal"
)

// An Engine is the logs of all partitions of a node, over one WAL. All methods
// may be called from any goroutine, but those that wait (Create, Reset,
// DeleteTopic, Close) not from a completion.
type Engine struct {
	cfg  Config
	lock *os.File
	wal  *wal.WAL

	mu     sync.RWMutex // guards what follows
	logs   map[offsets.Partition]*Log
	closed bool

	touched []*Log // announcer only: logs of the group that is being told
}

// Open takes the lock of cfg.Dir, recovers all logs from the WAL and opens them,
// none of them leading. Errors: ErrLocked, ErrForeign, CorruptError.
func Open(cfg Config) (*Engine, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	lock, err := lockFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, lock: lock, logs: make(map[offsets.Partition]*Log)}
	if err := e.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return e, nil
}

func (e *Engine) open() error {
	f, err := openFolder(e.cfg.Dir, e.cfg.ClusterID)
	if err != nil {
		return err
	}
	id, err := f.id()
	if err != nil {
		return &CorruptError{filepath.Join(e.cfg.Dir, folderName), 0, err.Error()}
	}
	began := e.cfg.Now()
	e.wal, err = wal.Open(wal.Config{
		Dir:          filepath.Join(e.cfg.Dir, walName),
		Folder:       id,
		SegmentBytes: e.cfg.SegmentBytes,
		QueueBytes:   e.cfg.QueueBytes,
		GroupEnd:     e.groupEnd,
		OpenFile:     e.cfg.openFile,
		Logger:       e.cfg.Logger,
	}, e.replay)
	if corrupt, ok := errors.AsType[*wal.CorruptError](err); ok {
		return &CorruptError{corrupt.File, corrupt.Offset, corrupt.Why}
	}
	if err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	if err := syncDir(e.cfg.Dir); err != nil {
		return errors.Join(fmt.Errorf("open storage: %w", err), e.wal.Close())
	}
	e.cfg.Logger.Info("storage is open", "folder", e.cfg.Dir, "partitions", len(e.logs), "took", e.cfg.Now().Sub(began))
	return nil
}

// Close answers what was appended, closes the WAL and lets go of the folder. All
// methods return ErrClosed afterwards. It is idempotent.
func (e *Engine) Close() error {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if was {
		return nil
	}
	err := e.wal.Close()
	for _, l := range e.all() {
		l.retire(ErrClosed)
	}
	if err := errors.Join(translate(err), e.lock.Close()); err != nil {
		return fmt.Errorf("close storage: %w", err)
	}
	return nil
}

// Dead is closed when the disk has failed: every append fails from then on, and
// only a new Open can tell what is durable. Err says why.
func (e *Engine) Dead() <-chan struct{} { return e.wal.Dead() }

// Err is what ended the engine, nil while it lives. It wraps ErrDead.
func (e *Engine) Err() error { return translate(e.wal.Err()) }

// Log is the open log of a partition.
func (e *Engine) Log(p offsets.Partition) (*Log, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	l, ok := e.logs[p]
	return l, ok
}

func (e *Engine) all() []*Log {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := make([]*Log, 0, len(e.logs))
	for _, l := range e.logs {
		all = append(all, l)
	}
	return all
}

// Create makes a partition whose log begins at start, and returns when that is
// durable. A partition that exists is returned as it is.
func (e *Engine) Create(p offsets.Partition, start int64) (*Log, error) {
	if l, ok := e.Log(p); ok {
		return l, nil
	}
	if start < 0 {
		return nil, fmt.Errorf("create %s at %d: %w", p, start, ErrOffsetOutOfRange{})
	}
	const room = 8
	if err := e.reserve(room); err != nil {
		return nil, fmt.Errorf("create %s: %w", p, err)
	}
	e.mu.Lock()
	if l, ok := e.logs[p]; ok {
		e.mu.Unlock()
		e.wal.Unreserve(wal.Size(room, 0))
		return l, nil
	}
	wait := newWaiting()
	err := e.append(kindCreate, p, offsetHead(start), wait)
	l := newLog(e, p, start)
	if err == nil {
		e.logs[p] = l
	}
	e.mu.Unlock()
	if err == nil {
		err = wait.wait()
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", p, err)
	}
	return l, nil
}

// Reset forgets a partition's content and starts it anew at start, durable when
// it returns; a partition that does not exist is created. For when legacy lost
// what is here, or its retention has overtaken the mirror. Errors: ErrLeading.
func (e *Engine) Reset(p offsets.Partition, start int64) error {
	l, ok := e.Log(p)
	if !ok {
		_, err := e.Create(p, start)
		return err
	}
	if start < 0 {
		return fmt.Errorf("reset %s to %d: %w", p, start, ErrOffsetOutOfRange{})
	}
	if err := l.reset(start); err != nil {
		return fmt.Errorf("reset %s to %d: %w", p, start, err)
	}
	return nil
}

func (l *Log) reset(start int64) error {
	const room = 8
	if err := l.engine.reserve(room); err != nil {
		return err
	}
	l.mu.Lock()
	err := l.gone
	if l.leading {
		err = ErrLeading
	}
	if err != nil {
		l.mu.Unlock()
		l.engine.wal.Unreserve(wal.Size(room, 0))
		return err
	}
	wait := newWaiting()
	err = l.engine.append(kindReset, l.partition, offsetHead(start), wait)
	if err == nil {
		l.generation++
		l.empty(start)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.subs.wake()
	return wait.wait()
}

// DeleteTopic forgets all partitions of a topic, durable when it returns. Their
// logs refuse everything with ErrDeleted from then on. A topic that is not there
// is no error.
func (e *Engine) DeleteTopic(id offsets.TopicID) error {
	if err := e.reserve(0); err != nil {
		return fmt.Errorf("delete topic %s: %w", id, err)
	}
	e.mu.Lock()
	var gone []*Log
	for p, l := range e.logs {
		if p.Topic == id {
			gone = append(gone, l)
		}
	}
	if len(gone) == 0 {
		e.mu.Unlock()
		e.wal.Unreserve(wal.Size(0, 0))
		return nil
	}
	// Retired before the record is queued: nothing of the topic comes behind it.
	for _, l := range gone {
		l.retire(ErrDeleted)
		delete(e.logs, l.partition)
	}
	wait := newWaiting()
	err := e.append(kindDelete, offsets.Partition{Topic: id, Index: -1}, nil, wait)
	e.mu.Unlock()
	if err == nil {
		err = wait.wait()
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", id, err)
	}
	return nil
}

// reserve waits for room for a record with a head of that size and no body.
func (e *Engine) reserve(head int) error {
	return translate(e.wal.Reserve(wal.Size(head, 0)))
}

// append queues a record without a body, for which room was reserved.
func (e *Engine) append(kind uint8, p offsets.Partition, head []byte, w wal.Waiter) error {
	return translate(e.wal.Append(wal.Record{Kind: kind, Topic: p.Topic, Partition: p.Index, Head: head}, w))
}

// touch remembers that a log's bounds have moved. Announcer only.
func (e *Engine) touch(l *Log) {
	if !l.touched {
		l.touched = true
		e.touched = append(e.touched, l)
	}
}

// groupEnd wakes the subscribers of a group's logs, once per log. Announcer only.
func (e *Engine) groupEnd() {
	for _, l := range e.touched {
		l.touched = false
		l.subs.wake()
	}
	clear(e.touched)
	e.touched = e.touched[:0]
}
