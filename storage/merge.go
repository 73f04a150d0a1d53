package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"switchback/storage/batch"
	"switchback/storage/catalog"
	"switchback/storage/object"
)

// Each flush leaves an extent behind. When eight (Config.mergeFan) of about one size
// follow each other they become one, so that a log has few of each size and many
// only of those that are full: each byte is written once per tier.
const mergeFan = 8

// mergeBytes bounds what is merged between two flushes, which wait for it.
const mergeBytes = objectBytes

// mergePause is how long a log is left alone whose merge has failed.
const mergePause = 10 * time.Minute

// tiers are the sizes below which an extent belongs to one; what is larger is full.
var tiers = []int64{512 << 10, 4 << 20, 32 << 20, objectBytes / 2}

// mergeable is the first run of extents [from, to) that is to become one, smallest
// ones first; ok is false when there is none.
func mergeable(extents []extent, fan int) (from, to int, ok bool) {
	for _, below := range tiers {
		for from := 0; from+fan <= len(extents); {
			to, size := from, int64(0)
			for to < len(extents) && extents[to].bytes < below && size+extents[to].bytes <= objectBytes {
				size += extents[to].bytes
				to++
			}
			if to-from >= fan {
				return from, to, true
			}
			from = max(to, from+1)
		}
	}
	return 0, 0, false
}

// A merge makes one extent of some that follow each other.
type merge struct {
	log        *Log
	generation uint64
	run        []extent
	kv         catalog.KV // the log's state in the catalog
	state      *state     // decoded, changed by write
	at         int        // where the run begins in the state's extents
	memory     []byte     // the log's memory if it stands in one of the run's objects
}

func (m *merge) bytes() (size int64) {
	for _, x := range m.run {
		size += x.bytes
	}
	return size
}

// merge merges what there is to merge, within the budget. What fails is left as it
// was, and alone for a while.
func (f *flusher) merge(ctx context.Context) {
	budget := int64(mergeBytes)
	var small []*merge
	size := int64(0)
	for _, l := range f.engine.all() {
		m := f.planMerge(ctx, l)
		if m == nil {
			continue
		}
		if budget -= m.bytes(); budget < 0 || ctx.Err() != nil {
			break
		}
		if m.bytes() >= streamBytes {
			f.mergeInto(ctx, []*merge{m})
			continue
		}
		if small, size = append(small, m), size+m.bytes(); size >= objectBytes/2 {
			f.mergeInto(ctx, small)
			small, size = nil, 0
		}
	}
	if len(small) > 0 {
		f.mergeInto(ctx, small)
	}
}

// planMerge is nil for a log that has nothing to merge, or not now.
func (f *flusher) planMerge(ctx context.Context, l *Log) *merge {
	l.mu.Lock()
	m := &merge{log: l, generation: l.generation}
	from, to, ok := mergeable(l.extents, f.engine.cfg.mergeFan)
	if ok = ok && l.gone == nil; ok {
		m.run = slices.Clone(l.extents[from:to])
	}
	l.mu.Unlock()
	if now := f.engine.cfg.Now(); !ok || now.Before(f.unmerged[l.partition]) {
		return nil
	}
	if err := m.load(ctx, f.engine.catalog); err != nil {
		f.mergeFailed(m, err)
		return nil
	}
	return m
}

// load reads what the catalog has; the run must be there.
func (m *merge) load(ctx context.Context, c catalog.Catalog) (err error) {
	if m.kv, err = c.Get(ctx, stateKey(m.log.partition)); err != nil {
		return err
	}
	if m.state, err = decodeState(m.kv.Value); err != nil {
		return err
	}
	m.at = slices.IndexFunc(m.state.extents, func(x extent) bool { return x.base == m.run[0].base })
	if m.at < 0 || len(m.state.extents) < m.at+len(m.run) || !slices.Equal(m.state.extents[m.at:m.at+len(m.run)], m.run) {
		return errors.New("the catalog has other extents")
	}
	for _, x := range m.run {
		if x.object == m.state.memoryIn {
			m.memory, err = m.log.readMemory(x.object)
			return err
		}
	}
	return nil
}

func (f *flusher) mergeFailed(m *merge, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	f.unmerged[m.log.partition] = f.engine.cfg.Now().Add(mergePause)
	f.engine.cfg.Logger.Warn("cannot merge objects of a log, they stay as they are", "partition", m.log.partition.String(), "error", err)
}

// mergeInto makes one object of all runs, and commits.
func (f *flusher) mergeInto(ctx context.Context, all []*merge) {
	err := f.writeMerged(ctx, all)
	f.engine.cfg.stepped("merged")
	var some []change
	for _, m := range all {
		if err != nil {
			f.mergeFailed(m, err)
			continue
		}
		delete(f.unmerged, m.log.partition)
		some = append(some, change{m.log.partition, m.state.encode(), m.apply})
	}
	for ; len(some) > 0 && err == nil; some = some[min(commitKeys, len(some)):] {
		err = f.commitSome(ctx, some[:min(commitKeys, len(some))])
	}
	if err != nil && len(some) > 0 {
		f.warn(fmt.Errorf("commit merged extents: %w", err), f.engine.cfg.FlushEvery)
	}
}

func (f *flusher) writeMerged(ctx context.Context, all []*merge) error {
	id, err := object.NewID(f.engine.cfg.Now())
	if err != nil {
		return err
	}
	return put(ctx, f.engine.store, objectKey(id), func(w io.Writer) error {
		o := object.NewWriter(w, id, f.engine.cfg.Now())
		for _, m := range all {
			if err := m.write(ctx, o, id); err != nil {
				return fmt.Errorf("merge %s: %w", m.log.partition, err)
			}
		}
		return o.Finish()
	})
}

// write copies the run into an object and changes the state. What it reads must
// add up to the digests that are known of both ends.
func (m *merge) write(ctx context.Context, w *object.Writer, id objectID) error {
	s := beginStretch(w, m.log.partition, m.run[0].before, m.state.replayed)
	for n := range m.run {
		if err := m.copy(ctx, s, &m.run[n]); err != nil {
			return fmt.Errorf("object %s: %w", objectKey(m.run[n].object), err)
		}
		behind := m.state.digest
		if next := m.at + n + 1; next < len(m.state.extents) {
			behind = m.state.extents[next].before
		}
		if !s.digest.Equal(behind) {
			return fmt.Errorf("object %s holds other batches of offsets %d to %d than were written: digest %+v, want %+v",
				objectKey(m.run[n].object), m.run[n].base, m.run[n].last, s.digest, behind)
		}
	}
	if err := s.end(m.memory); err != nil {
		return err
	}
	s.extent.object = id
	if m.memory != nil {
		m.state.memoryIn = id
	}
	m.state.extents = slices.Replace(m.state.extents, m.at, m.at+len(m.run), s.extent)
	return nil
}

// copy adds the batches of one extent. They do not go through the block cache,
// which is for readers.
func (m *merge) copy(ctx context.Context, s *stretch, x *extent) error {
	e := m.log.engine
	index, err := e.cold.Index(objectKey(x.object))
	if err != nil {
		return err
	}
	known, err := m.log.notes(x)
	if err != nil {
		return err
	}
	for blocks := within(index.Blocks(part(m.log.partition)), x); len(blocks) > 0; {
		n, size := 1, int64(blocks[0].Length)
		for n < len(blocks) && blocks[n].Pos == blocks[n-1].Pos+int64(blocks[n-1].Length) && size+int64(blocks[n].Length) <= readBytes {
			size += int64(blocks[n].Length)
			n++
		}
		read, err := object.ReadBlocks(ctx, e.store, objectKey(x.object), blocks[:n])
		if err != nil {
			return err
		}
		for _, b := range read {
			if err := m.copyBlock(s, x, known, b); err != nil {
				return err
			}
		}
		blocks = blocks[n:]
	}
	return nil
}

// within are the blocks that an extent has something in.
func within(blocks []object.Block, x *extent) []object.Block {
	for len(blocks) > 0 && blocks[0].Last < x.base {
		blocks = blocks[1:]
	}
	for n := range blocks {
		if blocks[n].Base > x.last {
			return blocks[:n]
		}
	}
	return blocks
}

func (m *merge) copyBlock(s *stretch, x *extent, known *notes, b []byte) error {
	return batch.Walk(b, func(h batch.Header, raw []byte) error {
		if h.BaseOffset < x.base || h.LastOffset() > x.last {
			return nil
		}
		at, meta, ok := known.about(h.BaseOffset)
		if !ok {
			return s.add(h, raw, nil, Meta{})
		}
		return s.add(h, raw, &told{at: at}, meta)
	})
}

// apply takes over what was committed.
func (m *merge) apply() {
	l := m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.generation == m.generation {
		l.extents, l.memoryIn = m.state.extents, m.state.memoryIn
	}
}
