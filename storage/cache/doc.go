// Package cache reads objects through memory: blocks of batches, and the indexes
// that say where they are.
//
// It promises: bytes that it returns have passed their checksum and are never
// written again; one block is under way once, however many ask for it; memory is
// bounded by the budget it was opened with, and what is under way by the number
// of reads at a time; an error is told to those who waited for it and is not kept.
// Objects never change, so nothing here is ever stale.
//
// It does not decide what is read next: callers say what they will want.
//
// # Goroutines
//
// One per read that is under way, at most Reads of them; Close ends them.
package cache
