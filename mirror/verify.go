package mirror

import (
	"context"
	"time"

	"switchback/offsets"
)

// A Report is the result of a Verify: evidence that anybody can make again.
type Report struct {
	Partition offsets.Partition
	Name      string
	From, To  int64 // offsets that both sides hold and that were compared
	Batches   int64
	Bytes     int64          // of legacy, read and checksummed
	Legacy    offsets.Digest // over the bytes that were read, from From on
	Target    offsets.Digest // the same range
	Equal     bool
	First     *Difference // the first difference, nil when equal

	EpochDifferences int64 // batches whose partition leader epoch differs; not part of Equal
	Compacted        int64 // batches of the target that legacy's cleaner removed or shrank
	Took             time.Duration
}

// A Difference is the first place where the logs are not the same.
type Difference struct {
	Offset         int64
	Legacy, Target *offsets.Entry // nil: no batch there
}

// Verify reads legacy's log from its start to its high watermark, recomputes
// every checksum, and compares the digest chain with the target's; at the first
// chain value that differs it bisects to the batch. progress may be nil; it is
// called now and then with offsets done and to do.
func (m *Mirror) Verify(ctx context.Context, p offsets.Partition, progress func(done, total int64)) (Report, error) {
	return Report{}, ErrAbsent
}
