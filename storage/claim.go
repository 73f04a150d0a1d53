package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"switchback/storage/catalog"
)

// take claims the catalog for this data folder and this opening of it: commits of
// an earlier opening that are still under way fail from now on. It reads what the
// WAL is needed for.
func (f *flusher) take(ctx context.Context, folder string) error {
	rev, err := f.claimFolder(ctx, folder)
	if err != nil {
		return fmt.Errorf("claim the catalog: %w", err)
	}
	f.claim = catalog.Compare{Key: keyFolder, Rev: rev}
	if err := f.checkStore(ctx); err != nil {
		return err
	}
	kv, err := f.engine.catalog.Get(ctx, keyWAL)
	if err != nil {
		return err
	}
	f.walRev = kv.Rev
	if kv.Rev != 0 {
		if f.needed, err = strconv.ParseUint(string(kv.Value), 10, 64); err != nil {
			return fmt.Errorf("catalog key %s is %q: %w", keyWAL, kv.Value, errFields)
		}
	}
	return nil
}

// claimFolder writes whose catalog it is and how often the folder was
// opened, and returns the revision. An unknown outcome is looked up and, as long
// as it is not there, tried again.
func (f *flusher) claimFolder(ctx context.Context, folder string) (rev int64, err error) {
	c := f.engine.catalog
	mine := ""
	for try := range commitTries {
		kv, err := c.Get(ctx, keyFolder)
		if err != nil {
			return 0, err
		}
		if try > 0 && string(kv.Value) == mine {
			return kv.Rev, nil
		}
		owner, times, _ := strings.Cut(string(kv.Value), " ")
		opened, _ := strconv.ParseUint(times, 10, 64)
		if kv.Rev != 0 && owner != folder {
			return 0, fmt.Errorf("it belongs to data folder %q, this is %q: %w", owner, folder, ErrForeign)
		}
		mine = fmt.Sprintf("%s %d", folder, opened+1)
		kv.Key, kv.Value = keyFolder, []byte(mine)
		rev, err = catalog.Put(ctx, c, kv)
		late := try > 0 && errors.Is(err, catalog.ErrConflict) // an unknown one took effect
		if !late && !errors.Is(err, catalog.ErrUnknown) {
			return rev, err
		}
		if err := sleep(ctx, commitPause<<try); err != nil {
			return 0, err
		}
	}
	return 0, err
}

// checkStore makes sure that the objects are looked for where they are.
func (f *flusher) checkStore(ctx context.Context) error {
	kv, err := f.engine.catalog.Get(ctx, keyStore)
	if err != nil {
		return err
	}
	name := f.engine.cfg.StoreName
	if kv.Rev == 0 {
		_, err := f.txn(ctx, []catalog.Compare{{Key: keyStore}}, []catalog.Op{{Key: keyStore, Value: []byte(name)}})
		return err
	}
	if was := string(kv.Value); was != name {
		own := func(s string) string { return cmp.Or(s, "the folder itself") }
		return fmt.Errorf("they are in %s, the configuration says %s: %w", own(was), own(name), ErrElsewhere)
	}
	return nil
}
