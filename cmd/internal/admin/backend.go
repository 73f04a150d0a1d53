package admin

import "context"

// A Backend is what the server does for an operator. Methods may be called from
// many goroutines at once; two moves of one topic at the same time are refused
// by the Backend, not queued.
//
// Errors that are *Error reach the operator as they are; any other error is
// shown as a plain failure, exit code 1.
//
// progress is called in order, from one goroutine at a time, only before the
// method returns, and must not block for long; it is never nil.
//
// When ctx ends (the command was interrupted) a move that has not committed is
// given up and producers go on where they were; one that has committed is
// finished first, or finished later by the server itself. Either way the method
// returns soon, with ctx's error or the report.
type Backend interface {
	// Version answers even when nothing else works.
	Version(ctx context.Context) (Version, error)
	// Ready says whether clients can be served and topics are being copied.
	Ready(ctx context.Context) (Ready, error)
	// Status is a consistent picture of this moment, from memory.
	Status(ctx context.Context) (Status, error)
	// WatchStatus calls send with the present Status and again whenever it has
	// changed, some times a second at most, until ctx ends or send fails.
	// It returns nil when ctx has ended.
	WatchStatus(ctx context.Context, send func(Status) error) error

	// Check says whether a flip of these topics would be let through and what
	// the way back would be worth. It changes nothing: it is `flip --dry-run`.
	// Findings are the report; an error means that the check itself could not
	// be made.
	Check(ctx context.Context, req CheckRequest, progress func(Line)) (CheckReport, error)
	// Flip makes the target the home of the topics, all of them at one instant
	// or none.
	Flip(ctx context.Context, req FlipRequest, progress func(Line)) (MoveReport, error)
	// Relocate shows the target's node as leader of topics that have flipped,
	// or (Back) legacy's brokers again.
	Relocate(ctx context.Context, req RelocateRequest, progress func(Line)) (MoveReport, error)
	// Rollback makes legacy the home again, relocating back first.
	Rollback(ctx context.Context, req RollbackRequest, progress func(Line)) (MoveReport, error)
	// Verify reads both logs and compares them batch by batch. A difference is
	// part of the report, not an error.
	Verify(ctx context.Context, req VerifyRequest, progress func(Line)) (VerifyReport, error)
}

// A CheckRequest names the topics of a flip that is not made.
type CheckRequest struct {
	Topics        []string `json:"topics"`
	AcceptInexact bool     `json:"accept_inexact,omitempty"` // as in FlipRequest
}

// A FlipRequest names topics that move as one unit.
type FlipRequest struct {
	Topics []string `json:"topics"`
	// AcceptInexact lets topics through whose way back would keep records and
	// offsets but not bytes (LogAppendTime, a compression.type of legacy's own).
	AcceptInexact bool `json:"accept_inexact,omitempty"`
}

// A RelocateRequest names topics whose home is the target.
type RelocateRequest struct {
	Topics []string `json:"topics"`
	Back   bool     `json:"back,omitempty"` // take a relocation back
}

// A RollbackRequest names topics whose home is the target.
type RollbackRequest struct {
	Topics []string `json:"topics"`
}

// A VerifyRequest names topics to compare, wherever their home is.
type VerifyRequest struct {
	Topics []string `json:"topics"`
}
