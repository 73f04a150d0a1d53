package storage

import (
	"context"
	"fmt"
	"time"

	"switchback/storage/object"
)

// Objects that no log names are what a crash in a flush left behind, and what
// merges, retention and deleted topics do not need any more. They are removed when
// they were seen so for collectAge: whoever still reads from them has finished,
// and whoever still writes them has named them.
const (
	collectEvery = 5 * time.Minute
	collectAge   = 10 * time.Minute
)

// Orphans are the objects that no log names. Those that were written just now may
// be named soon. Errors: what the store or the catalog said.
func (e *Engine) Orphans(ctx context.Context) ([]object.Info, error) {
	// In this order: what is committed in between is not taken for an orphan.
	listed, err := e.store.List(ctx, object.Prefix, "")
	if err != nil {
		return nil, err
	}
	named, err := e.named(ctx)
	if err != nil {
		return nil, err
	}
	var orphans []object.Info
	for _, i := range listed {
		id, err := object.ParseKey(i.Key)
		if err == nil && !named[id] { // what is not ours is left alone
			orphans = append(orphans, i)
		}
	}
	return orphans, nil
}

// named are the objects that the catalog needs.
func (e *Engine) named(ctx context.Context) (map[objectID]bool, error) {
	states, err := e.catalog.List(ctx, keyLogs)
	if err != nil {
		return nil, err
	}
	named := make(map[objectID]bool)
	for _, kv := range states {
		s, err := decodeState(kv.Value)
		if err != nil {
			return nil, fmt.Errorf("catalog key %s: %w", kv.Key, err)
		}
		named[s.memoryIn] = true
		for _, x := range s.extents {
			named[x.object] = true
		}
	}
	return named, nil
}

// collect removes orphans that are old enough.
func (f *flusher) collect(ctx context.Context) error {
	now := f.engine.cfg.Now()
	if now.Sub(f.collected) < collectEvery {
		return nil
	}
	orphans, err := f.engine.Orphans(ctx)
	if err != nil {
		return err
	}
	f.collected = now
	seen := make(map[string]time.Time, len(orphans))
	for _, o := range orphans {
		since, ok := f.orphans[o.Key]
		if !ok {
			since = now
		}
		if now.Sub(since) < collectAge {
			seen[o.Key] = since
			continue
		}
		if err := f.engine.store.Delete(ctx, o.Key); err != nil {
			return err
		}
		f.engine.cfg.Logger.Debug("removed an object that no log names", "key", o.Key, "bytes", o.Size)
	}
	f.orphans = seen
	return nil
}
