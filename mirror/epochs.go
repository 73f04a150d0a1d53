package mirror

import (
	"context"
	"slices"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxEpochs bounds how many epochs of a log are asked for, newest first.
const maxEpochs = 1000

// A walk goes down legacy's epoch list. Kafka lists it nowhere, but
// OffsetForLeaderEpoch of any epoch names the largest one that is not above it,
// and where it ended.
type walk struct {
	*facts
	down []offsets.EpochStart // newest first; the last one's Start is not known yet
	next int32                // epoch to ask for
	tail int64                // where the last one of down ended
	done bool
}

// askEpochs reads the epoch lists of those twins whose list is of another leader
// epoch, all of them at once, one step of all lists per request.
func askEpochs(ctx context.Context, conn Conn, all []*facts) error {
	walks := make(map[*twin]*walk)
	for _, f := range all {
		if f.code == 0 && f.t.wantsList(f.epoch) {
			walks[f.t] = &walk{facts: f, down: []offsets.EpochStart{{Epoch: f.epoch}}, next: f.epoch - 1, tail: f.end}
		}
	}
	for step := 0; step < maxEpochs; step++ {
		var refs []ref
		for _, w := range walks {
			switch {
			case w.done:
			case w.next < 0:
				w.finish(w.start)
			default:
				refs = append(refs, w.ref)
			}
		}
		if len(refs) == 0 {
			break
		}
		r := newRoll(refs)
		resp, err := request[*kmsg.OffsetForLeaderEpochResponse](ctx, conn, r.logEnds(func(x ref) int32 { return walks[x.t].next }))
		if err != nil {
			return err
		}
		seen := 0
		r.eachEnd(resp, func(x ref, p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
			seen++
			walks[x.t].step(p)
		})
		if seen < len(refs) {
			break // the lists of this round stay unknown; they are asked for again
		}
	}
	for _, w := range walks {
		if w.done && w.code == 0 {
			slices.Reverse(w.down)
			w.list = w.down
		}
	}
	return nil
}

func (t *twin) wantsList(epoch int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listEpoch != epoch
}

// step takes in where an epoch ended.
func (w *walk) step(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
	last := &w.down[len(w.down)-1]
	switch {
	case p.ErrorCode != 0:
		w.code, w.done = p.ErrorCode, true
	case p.LeaderEpoch > w.next:
		// An empty log may name its own epoch.
		w.finish(p.EndOffset)
	case p.LeaderEpoch < 0 || p.EndOffset < 0:
		// Nothing above the epoch asked for has a batch. A stock broker never says so
		// here, because it notes an epoch when it begins.
		if len(w.down) == 1 {
			last.Start, w.tail = w.end, w.end
			w.down = append(w.down, offsets.EpochStart{Epoch: w.next})
		} else {
			last.Epoch = w.next
		}
		w.next--
	case len(w.down) > 1 && p.EndOffset == w.tail:
		// The same boundary as before: the last one is no epoch of the list but the
		// echo of a question from below it.
		w.finish(p.EndOffset)
	default:
		last.Start, w.tail = max(p.EndOffset, w.start), p.EndOffset
		if p.EndOffset <= w.start {
			w.done = true
			return
		}
		w.down = append(w.down, offsets.EpochStart{Epoch: p.LeaderEpoch})
		w.next = p.LeaderEpoch - 1
	}
}

// finish ends the walk: the oldest epoch begins at start.
func (w *walk) finish(start int64) {
	w.done = true
	if n := len(w.down); n > 1 && start >= w.tail {
		w.down = w.down[:n-1]
	} else {
		w.down[n-1].Start = start
	}
}

// differ says whether the epoch lists of both sides are different below the
// target's end. mu is held.
func (t *twin) differ() bool {
	if t.listEpoch != t.epoch {
		return true
	}
	b := t.log.Bounds()
	start := max(b.Start, t.legacyStart)
	_, equal := t.log.Epochs().TruncateStart(start).Diverge(t.list.TruncateStart(start), b.End)
	return !equal
}
