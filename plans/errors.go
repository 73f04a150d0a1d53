package plans

import (
	"errors"
	"fmt"
)

// Errors of this package; test with errors.Is.
var (
	// ErrUnknownTopic: legacy has no such topic, or it is not mirrored.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrLegacyAway: the legacy cluster does not answer.
	ErrLegacyAway = errors.New("legacy does not answer")
	// ErrMoved: the target is the topic's home already.
	ErrMoved = errors.New("the target is its home already")
	// ErrNotMoved: the topic's home is legacy.
	ErrNotMoved = errors.New("its home is legacy")
	// ErrRelocated, ErrNotRelocated: what was asked for is so already.
	ErrRelocated    = errors.New("it is relocated already")
	ErrNotRelocated = errors.New("it is not relocated")
	// ErrPartOfUnit: only some topics of a unit were named.
	ErrPartOfUnit = errors.New("part of a unit that moves as one")
	// ErrBusy: another move of the unit is in progress.
	ErrBusy = errors.New("another move is in progress")
	// ErrRefused: a check forbids it; nothing was changed.
	ErrRefused = errors.New("refused")
	// ErrGivenUp: every attempt missed its deadline; traffic goes on where it was.
	ErrGivenUp = errors.New("given up")
	// ErrInterrupted: the caller's context ended before COMMIT; traffic goes on
	// where it was.
	ErrInterrupted = errors.New("interrupted")
	// ErrUnfinished: COMMIT is done, what follows is not yet; Tend goes on with it.
	ErrUnfinished = errors.New("committed, but not finished yet")
	// ErrFenced is what a World wraps when an Order is too old.
	ErrFenced = errors.New("order of an earlier route epoch")
	// ErrSuperseded: another incarnation of this instance has registered.
	ErrSuperseded = errors.New("superseded by another incarnation")
)

// An Error is told to an operator.
type Error struct {
	Op      string // "flip", "rollback", "relocate", "relocate back", "check"
	Subject string // topics, or a partition
	Err     error  // wraps one of the errors above
	Hint    string // what to do next
	// Findings that stood in the way, where a check did.
	Findings []Finding
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Subject, e.Err) }

func (e *Error) Unwrap() error { return e.Err }
