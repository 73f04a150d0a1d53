package storage

import (
	"errors"
	"log/slog"
	"time"

	"switchback/storage/catalog"
	"switchback/storage/object"
	"switchback/storage/wal"
)

// A Config says where an engine lives. Dir is required; the rest has defaults.
type Config struct {
	Dir          string           // the data folder; created when absent
	ClusterID    string           // of legacy; a folder keeps the one it was created with
	Catalog      catalog.Catalog  // default: a file of its own in Dir; the caller's to close, after the engine
	Store        object.Store     // where batches go for good; default: a folder in Dir; the caller's to close, after the engine
	StoreName    string           // of Store; a data folder keeps the one it was created with
	SegmentBytes int64            // of a WAL segment; default 64 MiB
	QueueBytes   int64            // bound of what waits for the disk; default 64 MiB; appenders block beyond it
	KeepBytes    int64            // of the WAL that are kept for readers when objects have them, default 256 MiB, below 0 none
	FlushBytes   int64            // a flush to objects begins when that much was appended; default 64 MiB
	FlushEvery   time.Duration    // or after that time; default 30 s
	CacheBytes   int64            // of memory for what is read from objects; default 256 MiB
	Now          func() time.Time // default time.Now
	Logger       *slog.Logger     // default slog.Default()

	openFile func(name string, flag int) (wal.File, error) // faults in tests
	stepped  func(step string)                             // called between the steps of a flush, in tests
	mergeFan int                                           // default mergeFan, fewer in tests
}

func (c *Config) fill() error {
	if c.Dir == "" {
		return errors.New("configure storage: no data folder")
	}
	if c.Store != nil && c.StoreName == "" {
		c.StoreName = "a store without a name"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.KeepBytes == 0:
		c.KeepBytes = 256 << 20
	case c.KeepBytes < 0:
		c.KeepBytes = 0
	}
	if c.FlushBytes <= 0 {
		c.FlushBytes = 64 << 20
	}
	if c.FlushEvery <= 0 {
		c.FlushEvery = 30 * time.Second
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 256 << 20
	}
	if c.mergeFan == 0 {
		c.mergeFan = mergeFan
	}
	if c.stepped == nil {
		c.stepped = func(string) {}
	}
	return nil
}
