package storage

import (
	"errors"
	"log/slog"
	"time"

	"switchback/storage/wal"
)

// A Config says where an engine lives. Dir is required; the rest has defaults.
type Config struct {
	Dir          string           // the data folder; created when absent
	ClusterID    string           // of legacy; a folder keeps the one it was created with
	SegmentBytes int64            // of a WAL segment; default 64 MiB
	QueueBytes   int64            // bound of what waits for the disk; default 64 MiB; appenders block beyond it
	Now          func() time.Time // default time.Now
	Logger       *slog.Logger     // default slog.Default()

	openFile func(name string, flag int) (wal.File, error) // faults in tests
}

func (c *Config) fill() error {
	if c.Dir == "" {
		return errors.New("configure storage: no data folder")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}
