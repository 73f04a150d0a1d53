package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
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
	ends := make([]Ends, len(parts))
	rows := make(map[*twin]int, len(parts))
	leaders := make(map[int32][]ref)
	for i, p := range parts {
		ends[i] = Ends{Partition: p, Legacy: LegacyEnds{Start: -1, LogEnd: -1, HighWatermark: -1, Leader: -1, Epoch: -1}}
		t := m.twin(p)
		if t == nil {
			ends[i].Err = fmt.Errorf("find ends of %s: %w", p, ErrAbsent)
			continue
		}
		rows[t] = i
		t.mu.Lock()
		x, leader, stop := ref{t: t, name: t.name, epoch: t.epoch}, t.leader, t.stop
		t.mu.Unlock()
		switch {
		case stop != nil:
			ends[i].Err = fmt.Errorf("find ends of %s: %w: %s", p, ErrStopped, stop.err)
		case leader < 0 || x.epoch < 0 || x.name == "":
			ends[i].Err = fmt.Errorf("find ends of %s: %w: no leader", p, ErrUnreachable)
			m.wantRefresh()
		default:
			ends[i].Legacy.Leader, ends[i].Legacy.Epoch = leader, x.epoch
			ends[i].Err = errUnanswered
			leaders[leader] = append(leaders[leader], x)
		}
	}
	var group sync.WaitGroup
	for leader, refs := range leaders {
		// Each goroutine writes only to the elements of its own partitions.
		group.Go(func() { m.endsOf(ctx, leader, refs, func(x ref) *Ends { return &ends[rows[x.t]] }) })
	}
	group.Wait()
	for t, i := range rows {
		t.complete(&ends[i], time.Now())
	}
	return ends, ctx.Err()
}

var errUnanswered = fmt.Errorf("find ends: legacy did not answer for this partition: %w", ErrUnreachable)

// endsOf asks one leader.
func (m *Mirror) endsOf(ctx context.Context, leader int32, refs []ref, row func(ref) *Ends) {
	fail := func(err error) {
		for _, x := range refs {
			row(x).Err = err
		}
	}
	coded := func(x ref, doing string, code int16) error {
		if classOf(code) == moved {
			m.wantRefresh()
		}
		return fmt.Errorf("find ends of %s: %s", x.t.id, describe(doing, code))
	}
	r := newRoll(refs)
	end, err := inquire[*kmsg.OffsetForLeaderEpochResponse](ctx, m, forSeal, leader, r.logEnds(currentEpoch))
	if err != nil {
		fail(err)
		return
	}
	answered := make(map[*twin]bool, len(refs))
	r.eachEnd(end, func(x ref, p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
		switch {
		case p.ErrorCode != 0:
			row(x).Err = coded(x, "read log end", p.ErrorCode)
		case p.LeaderEpoch == x.epoch && p.EndOffset >= 0:
			row(x).Legacy.LogEnd = p.EndOffset
			answered[x.t] = true
		}
	})
	r = newRoll(refs)
	high, err := inquire[*kmsg.ListOffsetsResponse](ctx, m, forSeal, leader, r.list(latest))
	if err != nil {
		fail(err)
		return
	}
	r.eachListed(high, func(x ref, p *kmsg.ListOffsetsResponseTopicPartition) {
		switch {
		case !answered[x.t]:
		case p.ErrorCode != 0:
			row(x).Err = coded(x, "list offsets", p.ErrorCode)
		default:
			row(x).Legacy.HighWatermark, row(x).Err = p.Offset, nil
		}
	})
}

// complete adds what is known here, after legacy has answered.
func (t *twin) complete(e *Ends, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.log.Bounds()
	e.Target = TargetEnds{Start: b.Start, End: b.End, Durable: b.Durable, Leading: b.Leading}
	e.Legacy.Start = t.legacyStart
	if e.Err == nil && t.epoch != e.Legacy.Epoch {
		e.Err = fmt.Errorf("find ends of %s: legacy's leader epoch went from %d to %d: %w", t.id, e.Legacy.Epoch, t.epoch, ErrUnreachable)
	}
	e.Quiet = t.settled && t.flight == nil && t.lost == nil && !now.Before(t.sealQuiet)
	if t.pos != e.Legacy.LogEnd || t.unsound != sound || t.policy.inexact() {
		return
	}
	if d, ok := t.log.Digest(t.pos); ok {
		if !t.seeded {
			t.chain, t.seeded, t.chainFrom = d, true, t.pos
		}
		e.Digests = Digests{Legacy: t.chain, Target: d, Known: true}
	}
}
