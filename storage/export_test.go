package storage

import "switchback/storage/wal"

// WithFiles lets tests put faults under the WAL.
func (c Config) WithFiles(open func(name string, flag int) (wal.File, error)) Config {
	c.openFile = open
	return c
}
