package plans

import (
	"context"
	"time"

	"switchback/offsets"
)

// A World is what a runner finds and changes outside of the catalog. Every
// method may take time and may fail, ends with ctx, and may be called from
// several goroutines. Slices of answers are in the order of the parts asked for.
//
// The first group only looks. The second acts: its methods are idempotent, and
// one that failed or was cut short is called again until it succeeds.
type World interface {
	// Resolve returns all partitions of the named topics as legacy has them. It
	// wraps ErrUnknownTopic, naming the topic, for one that legacy does not have or
	// that is not mirrored, and ErrLegacyAway when legacy cannot be asked and
	// nothing is known.
	Resolve(ctx context.Context, topics []string) ([]Part, error)
	// Look says what is known about the copy and the producers of the parts. It
	// answers from memory where it can, and does not fail because legacy is away:
	// then State says so.
	Look(ctx context.Context, parts []Part) ([]Look, error)
	// Bypass compares how much legacy's logs grew with what the proxies forwarded,
	// since the parts are watched. It may wait until it has seen enough.
	Bypass(ctx context.Context, parts []Part) (Bypass, error)
	// Ends reads the ends of both logs, afresh: what an answer contains was true at
	// an instant after the call began.
	Ends(ctx context.Context, parts []Part) ([]Ends, error)

	// Claim writes epoch into the owner record on legacy, as the highest route
	// epoch that may open the target. It returns nil once legacy holds it for
	// good. A failure ends the move, so Claim tries again by itself where that
	// makes sense.
	Claim(ctx context.Context, epoch int64) error
	// SetCopy makes the copy run away from home: legacy's log is copied to the
	// target, or what the target takes is replayed into legacy from seal on. It
	// returns when the other direction has stopped. It does not need legacy. seal is
	// nil for parts that never moved.
	SetCopy(ctx context.Context, o Order, home offsets.Side, seal []int64) error
	// OpenTarget opens the target's logs for writes. Batches are stamped with the
	// given leader epochs of legacy, or higher ones where the log knows of them.
	// It does not need legacy.
	OpenTarget(ctx context.Context, o Order, epochs []int32) error
	// CloseTarget closes the target's logs for writes: once it has returned, no
	// leader's append is under way or to come. It does not need legacy.
	CloseTarget(ctx context.Context, o Order) error
}

// An Order says for what, and under which route epoch, an act is done. The
// world remembers for each partition the highest epoch that it obeyed, for as
// long as it lives, and refuses lower ones with ErrFenced: they come from a
// runner that stalled while another one went on.
type Order struct {
	Parts []Part
	Epoch int64
}

// A CopyState is what the copy of a partition does.
type CopyState string

// States of a copy.
const (
	Copying     CopyState = "copying"     // home is legacy; behind, and getting nearer
	CaughtUp    CopyState = "caught-up"   // nothing is left to copy
	Replaying   CopyState = "replaying"   // home is the target; legacy is kept equal
	Stalled     CopyState = "stalled"     // legacy refuses a batch; resumes by itself after Remedy
	Diverged    CopyState = "diverged"    // the logs differ
	Unreachable CopyState = "unreachable" // the other side does not answer
	Stopped     CopyState = "stopped"     // nothing is copied
)

// A Look is what is known about one partition before a move.
type Look struct {
	State CopyState
	// Epoch is legacy's leader epoch; Leader says that there is a leader. Without
	// one Epoch is the last known, -1 if none ever was.
	Epoch  int32
	Leader bool
	// Batches and Bytes wait to be copied; Drain is the measured time for that,
	// negative when there is no measurement.
	Batches, Bytes int64
	Drain          time.Duration
	// Exact: what is, or would be, written back is byte for byte the same. If not,
	// from which offset on, and why.
	Exact       bool
	InexactFrom int64
	Why         string
	Err, Remedy string // of a copy that is not well
	// Configs of the topic on legacy that make the way back inexact, as
	// "key=value".
	Configs []string
	// Transactional: a producer that is not long gone wrote transactions.
	Transactional bool
	Internal      bool // a topic of Kafka's own
	// QuietIn is how long it takes until no request of a dead connection can be
	// late any more; 0: it is quiet.
	QuietIn time.Duration
	// ProduceTimeout is the smallest timeout seen in a Produce; 0: none was seen.
	ProduceTimeout time.Duration
}

// A Bypass says who writes to legacy without us.
type Bypass struct {
	// Over is for how long it was watched; 0: it was not, so Strangers says nothing.
	Over      time.Duration
	Strangers []Stranger
}

// A Stranger is a growth of legacy's log that no proxy forwarded.
type Stranger struct {
	Part    Part
	Records int64
	Rate    float64 // records per second
}

// Ends are both ends of a partition at about one instant.
type Ends struct {
	// LegacyEnd is legacy's log end, as OffsetForLeaderEpoch of the current epoch
	// says (never ListOffsets: that is LegacyHW).
	LegacyEnd, LegacyHW int64
	LegacyEpoch         int32
	// TargetEnd is the target's next offset, TargetDurable what of it is durable.
	TargetEnd, TargetDurable int64
	// Legacy and Target are digests of both logs up to TargetEnd, if Known: that of
	// a side counts only what was read back from it.
	Legacy, Target offsets.Digest
	Known          bool
	// Quiet: no request of a dead connection can be late.
	Quiet bool
}

// A Gate is an instance's data plane as its agent drives it. All methods are
// idempotent and may be called from several goroutines. Hold, Apply and Abandon
// do not block and cannot fail.
type Gate interface {
	// Watch follows produce of the parts from now on. It returns when every
	// produce that was in flight before has been answered.
	Watch(ctx context.Context, parts []offsets.Partition) error
	// Hold makes produce of the parts wait from now on. What was let through before
	// is Drain's. id names the attempt, for logs.
	Hold(parts []offsets.Partition, id string)
	// Drain returns when no produce of the parts, which are watched and held, is in
	// flight: for each the highest acknowledged next offset since it is watched,
	// -1 or absent if there was none. It fails only with ctx.
	Drain(ctx context.Context, parts []offsets.Partition) (map[offsets.Partition]int64, error)
	// Apply sets routes and releases what is held into them. A route of a lower
	// epoch than known is ignored.
	Apply(routes map[offsets.Partition]Route)
	// Abandon closes the connections of what is held, and of what would have to be
	// held, until Apply. Nothing of it is forwarded.
	Abandon(parts []offsets.Partition)
}
