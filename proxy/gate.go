package proxy

import (
	"context"

	"switchback/offsets"
)

// Watch follows the Produce of these partitions from now on. It returns when
// every Produce that was in flight before has been answered (or its connection is
// gone), so that nothing of theirs is in flight unseen. Watching twice is cheap.
func (p *Proxy) Watch(ctx context.Context, parts []offsets.Partition) error { return nil }

// Hold makes Produce of these partitions wait from now on: a connection that
// brings one is not read further, so order is kept and memory bounded. id names
// the attempt, for logs. Holding twice changes nothing. What is in flight is not
// waited for: see Drain.
func (p *Proxy) Hold(parts []offsets.Partition, id string) {}

// Drain returns when no Produce of these held partitions is in flight anywhere:
// answered, refused, or its connection lost (see LostUpstream). Produce with acks
// 0 is proven handled by a request of our own behind it. acked is the highest
// acknowledged offset plus one of each partition since it was first watched, -1
// where there was none.
func (p *Proxy) Drain(ctx context.Context, parts []offsets.Partition) (acked map[offsets.Partition]int64, err error) {
	return nil, nil
}

// Apply takes over routes and releases what is held into them. A route whose
// epoch is lower than the known one is ignored, and releases nothing. gen is the
// generation of the routes, which rises with every change.
func (p *Proxy) Apply(parts map[offsets.Partition]Route) (gen uint64) { return 0 }

// Abandon is for a hold whose outcome nobody knows at its hard stop: connections
// that wait are closed, and so are those that bring new Produce for these
// partitions, until Apply says where they go.
func (p *Proxy) Abandon(parts []offsets.Partition) {}

// Route is the route of a partition as last applied.
func (p *Proxy) Route(part offsets.Partition) (Route, bool) { return Route{}, false }

// Acked is the highest acknowledged offset plus one that has been seen since the
// partition was first watched; -1 when there was none.
func (p *Proxy) Acked(part offsets.Partition) int64 { return -1 }
