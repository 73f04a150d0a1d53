package mirror

import "errors"

// Errors that callers and implementers test for with errors.Is.
var (
	// ErrAbsent: the mirror, or the store, doesn't know the partition.
	ErrAbsent = errors.New("partition is not mirrored")
	// ErrStopped: this partition's copy has ended, for good or until an operator acts.
	ErrStopped = errors.New("copy has stopped")
	// ErrUnreachable: legacy did not answer, or has no leader for the partition.
	ErrUnreachable = errors.New("legacy is not reachable")
	// ErrDiffers: a batch is not the one that the target holds at its offset.
	ErrDiffers = errors.New("batches differ")
)
