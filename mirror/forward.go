package mirror

import (
	"context"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A reader reads one legacy broker: one long-polling Fetch after the other over
// all partitions that the broker leads, whichever way their copies run.
type reader struct {
	line
	turn int // which partition the next request begins with, so that all get their share
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	defer r.close()
	for ctx.Err() == nil {
		if next := r.pass(ctx); !next.IsZero() {
			wait(ctx, r.b.wakeReader, next)
		}
	}
}

// pass settles what is due, or does one poll. It returns when to go on, unless a
// poke comes first; zero for at once.
func (r *reader) pass(ctx context.Context) (next time.Time) {
	generation := r.b.generation.Load()
	now := time.Now()
	var asks, reads []ref
	for _, t := range *r.b.twins.Load() {
		if x, ok, at := t.unsettledRef(now, offsets.Legacy, r.b.node); ok {
			asks = append(asks, x)
		} else {
			next = earlier(next, at)
		}
		if x, ok, at := t.readable(now, r.b.node); ok {
			reads = append(reads, x)
		} else {
			next = earlier(next, at)
		}
	}
	if len(asks) == 0 && len(reads) == 0 {
		if len(*r.b.twins.Load()) == 0 {
			r.close()
		}
		if next.IsZero() {
			next = now.Add(r.b.m.cfg.FetchWait) // a poke may come first
		}
		return next
	}
	conn := r.open(ctx)
	if conn == nil {
		return r.retry
	}
	if len(asks) > 0 {
		if err := r.b.m.ask(ctx, conn, asks); err != nil {
			r.failed(ctx, err)
			return r.retry
		}
		r.b.reachable()
		return time.Time{}
	}
	poll := r.b.m.cfg.FetchWait
	if !next.IsZero() {
		poll = max(min(poll, next.Sub(now)), time.Millisecond)
	}
	if err := r.poll(ctx, conn, generation, reads, poll); err != nil {
		return r.retry
	}
	return time.Time{}
}

// readable is where the reader goes on with a twin.
func (t *twin) readable(now time.Time, node int32) (x ref, ok bool, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.name == "" || t.epoch < 0 || t.leader != node || t.stop != nil || t.unsound != sound || t.home == offsets.Legacy && !t.settled {
		return ref{}, false, time.Time{}
	}
	if t.home == offsets.Target && t.fresh {
		return ref{}, false, time.Time{} // where to begin comparing is not known yet
	}
	if now.Before(t.readDue) {
		return ref{}, false, t.readDue
	}
	return t.readRef(), true, time.Time{}
}

// readRef is a ref for the next bytes of legacy. mu is held.
func (t *twin) readRef() ref {
	return ref{t: t, name: t.name, epoch: t.epoch, era: t.era, at: t.pos, from: max(t.pos, t.legacyStart)}
}

// poll does one Fetch and takes in its answer.
func (r *reader) poll(ctx context.Context, conn Conn, generation uint64, reads []ref, wait time.Duration) error {
	r.turn++
	first := r.turn % len(reads)
	roll := newRoll(append(reads[first:len(reads):len(reads)], reads[:first]...))
	pctx, cancel := context.WithTimeout(ctx, wait+requestTimeout)
	defer cancel()
	if !r.b.polling(generation, cancel) {
		return nil
	}
	defer r.b.polling(generation, nil)
	resp, err := send[*kmsg.FetchResponse](pctx, conn, roll.fetch(&r.b.m.cfg, wait))
	if err != nil {
		if r.b.generation.Load() != generation && ctx.Err() == nil {
			r.conn.Abort() // cut short on purpose: reading has no effect on legacy
			r.conn = nil
			return nil
		}
		r.failed(ctx, err)
		return err
	}
	r.b.reachable()
	if resp.ErrorCode != 0 {
		r.refusedWhole(roll, resp.ErrorCode)
		return nil
	}
	roll.eachFetched(resp, func(x ref, p *kmsg.FetchResponseTopicPartition) { x.t.apply(x, p) })
	return nil
}

// refusedWhole notes an error that stands for the whole request.
func (r *reader) refusedWhole(roll *roll, code int16) {
	now := time.Now()
	for _, x := range roll.refs {
		x.t.mu.Lock()
		x.t.fetchFailed(now, code)
		x.t.mu.Unlock()
	}
}
