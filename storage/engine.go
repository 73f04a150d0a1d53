package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"switchback/offsets"
	"switchback/storage/cache"
	"switchback/storage/catalog"
	"switchback/storage/object"
	"switchback/storage/wal"
)

// An Engine is the logs of all partitions of a node, over one WAL. All methods
// may be called from any goroutine, but those that wait (Create, Reset,
// DeleteTopic, Close) not from a completion.
type Engine struct {
	cfg     Config
	lock    *os.File
	catalog catalog.Catalog
	store   object.Store
	cold    *cache.Cache
	wal     *wal.WAL
	flusher *flusher
	closers []io.Closer // what Open opened beside the WAL

	unflushed atomic.Int64 // bytes of batches since the last flush began

	mu      sync.RWMutex // guards what follows
	logs    map[offsets.Partition]*Log
	deleted map[offsets.Partition]uint64 // logs whose state is still in the catalog -> record that deleted them
	closed  bool

	touched []*Log // announcer only: logs of the group that is being told
}

// Open takes the lock of cfg.Dir, recovers all logs from the catalog and the WAL
// and opens them, none of them leading. Errors: ErrLocked, ErrForeign,
// CorruptError, and what the catalog and the object store say.
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
	e := &Engine{
		cfg: cfg, lock: lock, catalog: cfg.Catalog, store: cfg.Store,
		logs: make(map[offsets.Partition]*Log), deleted: make(map[offsets.Partition]uint64),
	}
	if err := e.open(); err != nil {
		return nil, errors.Join(err, e.closeParts(), lock.Close())
	}
	return e, nil
}

// openParts opens the catalog and the store if they were not given.
func (e *Engine) openParts() error {
	if e.catalog == nil {
		c, err := catalog.OpenBolt(filepath.Join(e.cfg.Dir, catalogName))
		if err != nil {
			return err
		}
		e.catalog = c
		e.closers = append(e.closers, c)
	}
	if e.store == nil {
		s, err := object.OpenDir(filepath.Join(e.cfg.Dir, objectsName))
		if err != nil {
			return err
		}
		e.store = s
		e.closers = append(e.closers, s)
	}
	var err error
	e.cold, err = cache.New(e.store, e.cfg.CacheBytes)
	return err
}

func (e *Engine) closeParts() error {
	var err error
	if e.cold != nil {
		e.cold.Close()
	}
	for _, c := range slices.Backward(e.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
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
	if err := e.openParts(); err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	oldest, err := e.load(context.Background(), f.ID)
	if err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	replay := newReplay(e)
	e.wal, err = wal.Open(wal.Config{
		Dir:          filepath.Join(e.cfg.Dir, walName),
		Folder:       id,
		SegmentBytes: e.cfg.SegmentBytes,
		QueueBytes:   e.cfg.QueueBytes,
		GroupEnd:     e.groupEnd,
		Oldest:       oldest,
		KeepBytes:    e.cfg.KeepBytes,
		OpenFile:     e.cfg.openFile,
		Logger:       e.cfg.Logger,
	}, replay.record)
	if corrupt, ok := errors.AsType[*wal.CorruptError](err); ok {
		return &CorruptError{corrupt.File, corrupt.Offset, corrupt.Why}
	}
	if err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	if err := errors.Join(replay.end(), syncDir(e.cfg.Dir)); err != nil {
		return errors.Join(fmt.Errorf("open storage: %w", err), e.wal.Close())
	}
	e.flusher.start()
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
	e.flusher.close()
	err := e.wal.Close()
	for _, l := range e.all() {
		l.retire(ErrClosed)
	}
	if err := errors.Join(translate(err), e.closeParts(), e.lock.Close()); err != nil {
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

// Catalog is where the engine keeps its logs' states, for others to keep what
// belongs together. Keys that begin with "storage/" are the engine's. It is open
// as long as the engine, if it was not given to Open.
func (e *Engine) Catalog() catalog.Catalog { return e.catalog }

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
	l := newLog(e, p, start)
	l.mu.Lock()
	err := l.append(wal.Record{Kind: kindCreate, Head: offsetHead(start)}, wait)
	l.mu.Unlock()
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
	err = l.append(wal.Record{Kind: kindReset, Head: offsetHead(start)}, wait)
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
	number, err := e.wal.Append(wal.Record{Kind: kindDelete, Topic: id, Partition: -1}, wait)
	if err = translate(err); err == nil {
		for _, l := range gone {
			e.deleted[l.partition] = number
		}
	}
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
