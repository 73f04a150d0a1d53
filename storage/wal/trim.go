package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Trim removes the segments that hold only records below before, but for what
// KeepBytes keeps for readers and the one that is being written. They go from the
// oldest on, so that whatever is left after a crash is dense. Records from before
// on stay; whoever opens the log says so in Config.Oldest. Before anything goes,
// going is told the number of the segment that will be the oldest, so that readers
// can be sent elsewhere first.
func (w *WAL) Trim(before uint64, going func(oldest uint32)) error {
	w.trimming.Lock()
	defer w.trimming.Unlock()
	keep := int((w.cfg.KeepBytes + w.cfg.SegmentBytes - 1) / w.cfg.SegmentBytes)
	useless := w.segments.useless(before, keep)
	if len(useless) > 0 {
		going(useless[len(useless)-1] + 1)
	}
	for _, number := range useless {
		err := w.segments.dropFirst()
		if err := errors.Join(err, os.Remove(filepath.Join(w.cfg.Dir, segmentName(number)))); err != nil {
			return fmt.Errorf("trim write-ahead log: %w", err)
		}
	}
	if len(useless) == 0 {
		return nil
	}
	if err := syncDir(w.cfg.Dir); err != nil {
		return fmt.Errorf("trim write-ahead log: %w", err)
	}
	return nil
}

// Oldest is the number of the oldest segment that can be read.
func (w *WAL) Oldest() uint32 { return w.segments.first() }
