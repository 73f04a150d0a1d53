//go:build !linux

package wal

// Datasync is a full sync where there is nothing cheaper that is as safe.
func (f osFile) Datasync() error { return f.Sync() }
