package wal

import (
	"errors"
	"fmt"
)

// Errors told to a Waiter, and returned by Reserve and ReadAt; test with errors.Is.
var (
	ErrDead   = errors.New("write-ahead log has failed")
	ErrClosed = errors.New("write-ahead log is closed")
	// ErrTrimmed: the place was in a segment that Trim has removed.
	ErrTrimmed = errors.New("write-ahead log was trimmed there")
)

// A CorruptError is a log whose bytes cannot be believed. Open changes nothing
// when it returns one.
type CorruptError struct {
	File   string
	Offset int64
	Why    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt write-ahead log at %s, byte %d: %s", e.File, e.Offset, e.Why)
}
