package storage

import "switchback/storage/wal"

// WithFiles lets tests put faults under the WAL.
func (c Config) WithFiles(open func(name string, flag int) (wal.File, error)) Config {
	c.openFile = open
	return c
}

// WithSteps lets tests look between the steps of a flush.
func (c Config) WithSteps(stepped func(step string)) Config {
	c.stepped = stepped
	return c
}

// Extents is how many objects a log's batches stand in.
func (l *Log) Extents() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.extents)
}
