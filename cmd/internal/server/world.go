package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchback/mirror"
	"switchback/offsets"
	"switchback/plans"
	"switchback/proxy"
	"switchback/storage"
	"switchback/storage/broker"
)

// world is what a runner of the flip machine sees and changes: the mirror, the
// embedded broker, the proxy and the owner record on legacy.
type world struct {
	mirror *mirror.Mirror
	broker *broker.Broker
	engine *storage.Engine
	proxy  *proxy.Proxy
	owner  *ownership

	mu     sync.Mutex
	obeyed map[offsets.Partition]int64 // highest route epoch of an order; guarded by mu
}

// Resolve takes topics from what has been imported: a topic that the target does
// not hold cannot move, whatever legacy has.
func (w *world) Resolve(_ context.Context, topics []string) ([]plans.Part, error) {
	var parts []plans.Part
	for _, name := range topics {
		t, ok := w.broker.TopicByName(name)
		if !ok {
			return nil, fmt.Errorf("topic %q: %w", name, w.missing(name))
		}
		for i := range t.Partitions {
			parts = append(parts, plans.Part{Topic: t.ID, Name: name, Index: i})
		}
	}
	return parts, nil
}

// missing tells a topic that does not exist from one that is not mirrored.
func (w *world) missing(name string) error {
	snap := w.proxy.Topology().Snapshot()
	switch {
	case len(snap.Brokers) == 0:
		return plans.ErrLegacyAway
	case snap.Topics[name] == nil:
		return fmt.Errorf("%w: legacy has no such topic", plans.ErrUnknownTopic)
	}
	return fmt.Errorf("%w: legacy has it, but it is not mirrored (see topics in the configuration, or wait until it was imported)", plans.ErrUnknownTopic)
}

func (w *world) Look(_ context.Context, parts []plans.Part) ([]plans.Look, error) {
	looks := make([]plans.Look, len(parts))
	topics := map[offsets.TopicID]topicFacts{}
	smallest, largest := w.proxy.ProduceTimeouts()
	for i, p := range parts {
		facts, ok := topics[p.Topic]
		if !ok {
			facts = w.topicFacts(p.Topic)
			topics[p.Topic] = facts
		}
		look := plans.Look{
			State: plans.Stopped, Epoch: -1, Drain: -1, Err: "it is not mirrored",
			Configs: facts.configs, Internal: facts.internal, Transactional: facts.transactional,
			ProduceTimeout: smallest,
		}
		if s, ok := w.mirror.Status(p.Partition()); ok {
			copyOf(s, &look)
			look.QuietIn = w.quietIn(s.Leader, largest)
		}
		if l, ok := w.engine.Log(p.Partition()); ok && l.Transactional() {
			look.Transactional = true
		}
		looks[i] = look
	}
	return looks, nil
}

// copyOf says a mirror's status in the words of a plan.
func copyOf(s mirror.Status, look *plans.Look) {
	look.State = copyState(s.State)
	look.Epoch, look.Leader = s.Epoch, s.Leader >= 0
	look.Batches, look.Bytes = max(s.Backlog.Batches, 0), max(s.Backlog.Bytes, 0)
	if s.Backlog.Batches < 0 { // legacy tells offsets only
		look.Batches = s.Backlog.Offsets
	}
	look.Drain = s.Drain
	if s.Drain == mirror.DrainUnknown {
		look.Drain = -1
	}
	look.Exact, look.InexactFrom = s.Exact, max(s.InexactAt, 0)
	look.Err, look.Remedy = s.Err, s.Remedy
	if !s.Exact {
		look.Why = s.Err
	}
}

func copyState(s mirror.State) plans.CopyState {
	switch s {
	case mirror.Settling, mirror.Copying:
		return plans.Copying
	case mirror.CaughtUp:
		return plans.CaughtUp
	case mirror.Replaying:
		return plans.Replaying
	case mirror.Stalled:
		return plans.Stalled
	case mirror.Diverged:
		return plans.Diverged
	case mirror.Unreachable:
		return plans.Unreachable
	}
	return plans.Stopped
}

// transactionalFor is how long a transactional producer that the proxy saw on a
// topic counts: Kafka's producer.id.expiration.ms.
const transactionalFor = 24 * time.Hour

type topicFacts struct {
	configs       []string
	internal      bool
	transactional bool
}

// topicFacts are the facts that all partitions of a topic share.
func (w *world) topicFacts(id offsets.TopicID) topicFacts {
	t, ok := w.broker.TopicByID(id)
	if !ok {
		return topicFacts{}
	}
	seen := w.proxy.Transactional(id)
	f := topicFacts{internal: t.Internal, transactional: !seen.IsZero() && time.Since(seen) < transactionalFor}
	for key, exact := range map[string]string{"message.timestamp.type": "CreateTime", "compression.type": "producer"} {
		if v := t.Configs[key]; v != nil && *v != exact {
			f.configs = append(f.configs, key+"="+*v)
		}
	}
	return f
}

// leastQuiet is the shortest quiet time after a lost connection: 100 ms were
// seen to be too short on a stalled broker.
const leastQuiet = time.Second

// quietIn is how long a seal must still wait for requests of a connection to
// node that was lost with produce in flight. A broker may hold such a request
// for as long as its client would have waited for the answer.
func (w *world) quietIn(node int32, largest time.Duration) time.Duration {
	lost := w.proxy.LostUpstream(node)
	if lost.IsZero() {
		return 0
	}
	return max(0, max(leastQuiet, largest)-time.Since(lost))
}

func (w *world) Ends(ctx context.Context, parts []plans.Part) ([]plans.Ends, error) {
	ends, err := w.mirror.Ends(ctx, partitions(parts))
	if err != nil {
		return nil, err
	}
	_, largest := w.proxy.ProduceTimeouts()
	out := make([]plans.Ends, len(ends))
	for i, e := range ends {
		if e.Err != nil {
			return nil, fmt.Errorf("read ends of %s: %w", parts[i], e.Err)
		}
		out[i] = plans.Ends{
			LegacyEnd: e.Legacy.LogEnd, LegacyHW: e.Legacy.HighWatermark, LegacyEpoch: e.Legacy.Epoch,
			TargetEnd: e.Target.End, TargetDurable: e.Target.Durable,
			Legacy: e.Digests.Legacy, Target: e.Digests.Target, Known: e.Digests.Known,
			Quiet: e.Quiet && w.quietIn(e.Legacy.Leader, largest) == 0,
		}
	}
	return out, nil
}

func (w *world) Claim(ctx context.Context, epoch int64) error { return w.owner.claim(ctx, epoch) }

func (w *world) SetCopy(_ context.Context, o plans.Order, home offsets.Side, seal []int64) error {
	return w.obey(o, func(i int, p offsets.Partition) error {
		var from int64 // a unit that never moved has no seal
		if i < len(seal) {
			from = seal[i]
		}
		w.mirror.SetHome(p, home, from)
		return nil
	})
}

func (w *world) OpenTarget(_ context.Context, o plans.Order, epochs []int32) error {
	return w.obey(o, func(i int, p offsets.Partition) error {
		epoch := epochs[i]
		if b, ok := w.broker.Bounds(p); ok {
			epoch = max(epoch, b.Epoch)
		}
		return w.broker.Lead(p, epoch)
	})
}

func (w *world) CloseTarget(_ context.Context, o plans.Order) error {
	return w.obey(o, func(_ int, p offsets.Partition) error {
		// A topic that was deleted on legacy has no log to close.
		if _, err := w.broker.Follow(p); err != nil && !errors.Is(err, broker.ErrUnknownTopic) {
			return err
		}
		return nil
	})
}

// obey does an act for each part of an order, unless another runner's order has
// overtaken it. Check and act are one step: an order that is refused a moment
// later must not be half done.
func (w *world) obey(o plans.Order, act func(i int, p offsets.Partition) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.obeyed == nil {
		w.obeyed = map[offsets.Partition]int64{}
	}
	for _, p := range o.Parts {
		if known := w.obeyed[p.Partition()]; o.Epoch < known {
			return fmt.Errorf("obey route epoch %d for %s, epoch %d is known: %w", o.Epoch, p, known, plans.ErrFenced)
		}
	}
	for i, p := range o.Parts {
		w.obeyed[p.Partition()] = o.Epoch
		if err := act(i, p.Partition()); err != nil {
			return err
		}
	}
	return nil
}

func partitions(parts []plans.Part) []offsets.Partition {
	out := make([]offsets.Partition, len(parts))
	for i, p := range parts {
		out[i] = p.Partition()
	}
	return out
}
