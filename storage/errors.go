package storage

import (
	"errors"
	"fmt"
)

// Why a folder cannot be opened; test with errors.Is.
var (
	// ErrLocked: another process has the folder open.
	ErrLocked = errors.New("data folder is in use by another process")
	// ErrForeign: the folder belongs to another legacy cluster.
	ErrForeign = errors.New("data folder belongs to another cluster")
	// ErrElsewhere: the objects of the folder are in another store.
	ErrElsewhere = errors.New("objects of the data folder are in another store")
)

// A CorruptError is a folder whose bytes cannot be believed: something that was
// acknowledged may be missing. Open refuses and touches nothing.
type CorruptError struct {
	File   string
	Offset int64 // in the file
	Why    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt at %s, byte %d: %s", e.File, e.Offset, e.Why)
}

// Hint says what an operator can do about it.
func (e *CorruptError) Hint() string {
	return "restore the data folder from a copy, or put it aside and start on an empty one: topics on legacy are mirrored again, " +
		"topics that were moved are on legacy up to the last batch that was replayed"
}

// Why an append, a replica or a read is refused; test with errors.Is. The
// broker maps them to Kafka's codes, which stand in brackets.
var (
	ErrDead          = errors.New("storage has failed and must be opened again")     // [56]
	ErrClosed        = errors.New("storage is closed")                               // [56]
	ErrDeleted       = errors.New("topic was deleted")                               // [100 or 3]
	ErrReset         = errors.New("log was reset")                                   // [6]
	ErrNotLeader     = errors.New("log is not open for a leader's appends")          // [6]
	ErrLeading       = errors.New("log is open for a leader's appends")              //
	ErrStaleEpoch    = errors.New("leader epoch is older than the log's")            // [74]
	ErrCorrupt       = errors.New("batch is corrupt")                                // [2]
	ErrTooLarge      = errors.New("batch is larger than the topic allows")           // [10]
	ErrTimestamp     = errors.New("timestamp is outside of what the topic allows")   // [32]
	ErrOutOfOrder    = errors.New("sequence is out of order")                        // [45]
	ErrFenced        = errors.New("producer epoch is older than one that was seen")  // [47]
	ErrTxnState      = errors.New("batch does not fit the state of the transaction") // [48]
	ErrCodec         = errors.New("compression is not known")                        // [76]
	ErrInvalidRecord = errors.New("record is invalid")                               // [87]
)

// ErrOffsetOutOfRange is a read or a deletion outside of the log [1].
type ErrOffsetOutOfRange struct {
	Start, End int64 // of the log at that moment
}

func (e ErrOffsetOutOfRange) Error() string {
	return fmt.Sprintf("offset out of range, log is [%d, %d)", e.Start, e.End)
}

// ErrDiverged is a replica's batch that contradicts what the log holds at Offset.
// Nothing of it was taken over.
type ErrDiverged struct {
	Offset int64
	Why    string
}

func (e ErrDiverged) Error() string {
	return fmt.Sprintf("log diverges at offset %d: %s", e.Offset, e.Why)
}
