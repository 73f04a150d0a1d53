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

// WithMerges lets tests merge fewer extents than is worth while.
func (c Config) WithMerges(fan int) Config {
	c.mergeFan = fan
	return c
}

// Extents is how many objects a log's batches stand in.
func (l *Log) Extents() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.extents)
}
