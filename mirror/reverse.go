package mirror

import (
	"context"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A writer writes to one legacy broker. It is the only one that does, and does
// one thing at a time: settle the partitions that need it, read back what they
// must compare, or send one round.
type writer struct {
	line
	buffer []byte // batches of a round
	turn   int
}

// run writes until ctx ends.
func (w *writer) run(ctx context.Context) {
	defer w.close()
	for ctx.Err() == nil {
		if next := w.pass(ctx); !next.IsZero() {
			wait(ctx, w.b.wakeWriter, next)
		}
	}
}

// idle is how long a writer sleeps when nothing is due and nobody pokes it.
const idle = time.Second

// pass does what is due. It returns when to go on, unless a poke comes first;
// zero for at once.
func (w *writer) pass(ctx context.Context) (next time.Time) {
	now := time.Now()
	var asks, compares []ref
	var heads []*flight
	twins := *w.b.twins.Load()
	w.buffer = w.buffer[:0]
	size := 0
	for i := range twins {
		t := twins[(i+w.turn)%len(twins)]
		if x, ok, at := t.unsettledRef(now, offsets.Target, w.b.node); ok {
			asks = append(asks, x)
			continue
		} else {
			next = earlier(next, at)
		}
		if x, ok, at := t.comparing(now, w.b.node); ok {
			compares = append(compares, x)
			continue
		} else {
			next = earlier(next, at)
		}
		if size < w.b.m.cfg.RoundBytes {
			if f := t.take(now, w); f != nil {
				heads = append(heads, f)
				size += f.size
			}
		} else {
			next = now // there may be more
		}
	}
	w.turn++
	if len(asks)+len(compares)+len(heads) == 0 {
		if len(twins) == 0 {
			w.close()
		}
		return earlier(next, now.Add(idle))
	}
	conn := w.open(ctx)
	if conn == nil {
		putBack(heads)
		return w.retry
	}
	if !w.settle(ctx, conn, asks, compares) {
		putBack(heads)
		return w.retry
	}
	if len(heads) > 0 && !w.round(ctx, conn, heads) {
		return w.retry
	}
	return time.Time{}
}

// settle asks about some twins and reads back for others. False: the connection
// is gone.
func (w *writer) settle(ctx context.Context, conn Conn, asks, compares []ref) bool {
	if len(asks) > 0 {
		if err := w.b.m.ask(ctx, conn, asks); err != nil {
			w.failed(ctx, err)
			return false
		}
		w.b.reachable()
	}
	if len(compares) == 0 {
		return true
	}
	roll := newRoll(compares)
	resp, err := request[*kmsg.FetchResponse](ctx, conn, roll.fetch(&w.b.m.cfg, 0))
	if err != nil {
		w.failed(ctx, err)
		return false
	}
	now := time.Now()
	roll.eachFetched(resp, func(x ref, p *kmsg.FetchResponseTopicPartition) {
		if !x.t.apply(x, p) {
			x.t.await(now)
		}
	})
	return true
}

// comparing is where a twin that is being settled goes on reading back.
func (t *twin) comparing(now time.Time, node int32) (x ref, ok bool, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled || t.goal < 0 || t.home != offsets.Target || t.leader != node || t.stop != nil {
		return ref{}, false, time.Time{}
	}
	if at := later(t.due, t.readDue); now.Before(at) {
		return ref{}, false, at
	}
	return t.readRef(), true, time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// await puts off reading back what is above legacy's high watermark.
func (t *twin) await(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled || t.goal < 0 {
		return
	}
	t.question(now, false, "legacy's high watermark has not reached its log end", "bring legacy's followers of this partition back")
	t.backoff(now, false)
}

// mark tells the target's log how far legacy holds it for good, not too often:
// what was read back is certain, so a restart compares from there.
func (t *twin) mark(now time.Time) {
	const often = 250 * time.Millisecond
	t.mu.Lock()
	if t.home != offsets.Target || !t.settled || t.pos <= t.marked || now.Sub(t.markedAt) < often {
		t.mu.Unlock()
		return
	}
	pos, log := t.pos, t.log
	t.marked, t.markedAt = pos, now
	t.mu.Unlock()
	log.Replayed(pos)
}
