package mirror

import (
	"context"
	"time"

	"switchback/offsets"
)

// A Mirror copies between the clusters. Make one with New.
type Mirror struct {
	cfg    Config
	legacy Legacy
	store  Store
}

// New checks the config. It starts no goroutine and asks nobody.
func New(cfg Config, legacy Legacy, store Store) (*Mirror, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Mirror{cfg: cfg, legacy: legacy, store: store}, nil
}

// Run mirrors until ctx ends, and returns when everything has stopped. It
// returns ctx's error. It may be called once.
func (m *Mirror) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// SetHome says which way the copy of a partition runs. For Target, from is the
// seal: legacy is written from there on, and what it already holds above it is
// compared first. For Legacy it is where the target stopped taking writes.
//
// Every partition begins with home legacy. One whose home is the target must be
// told before Run, otherwise legacy would count as the authority. Saying the
// same again changes nothing.
func (m *Mirror) SetHome(p offsets.Partition, side offsets.Side, from int64) {}

// Disturbed tells that a connection to a legacy broker was lost at a time with
// produce of clients in flight, which may still be handled there. Partitions
// that it leads are not quiet (see Ends) before quiet has passed since then;
// less than Config.QuietTime counts as that.
func (m *Mirror) Disturbed(node int32, at time.Time, quiet time.Duration) {}

// Confirmed is the offset below which the side that is not home holds everything
// and would serve it. known is false while that is not certain (settling), and
// for partitions that are not mirrored.
func (m *Mirror) Confirmed(p offsets.Partition) (offset int64, known bool) { return 0, false }

// Await returns when Confirmed has reached offset, or with ctx's error, or with
// ErrStopped or ErrAbsent when that is not going to happen.
func (m *Mirror) Await(ctx context.Context, p offsets.Partition, offset int64) error {
	return ErrAbsent
}

// HomeEnd asks the home for its high watermark of this moment.
func (m *Mirror) HomeEnd(ctx context.Context, p offsets.Partition) (int64, error) {
	return 0, ErrAbsent
}

// Epochs is the list of leader epochs of the home's log, its end, and whether
// the other side's list is, or may be, another one.
func (m *Mirror) Epochs(p offsets.Partition) (list offsets.Epochs, logEnd int64, differ bool) {
	return nil, 0, false
}

// Status is what is known about a partition; ok is false when it isn't mirrored.
func (m *Mirror) Status(p offsets.Partition) (s Status, ok bool) { return Status{}, false }

// All is Status of every partition, by topic name and index.
func (m *Mirror) All() []Status { return nil }
