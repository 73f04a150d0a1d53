package plans_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"switchback/offsets"
	"switchback/plans"
)

// cluster is both clusters: two logs per partition that hold numbers. It outlives
// processes, and complains of everything that must not happen.
type cluster struct {
	mu         sync.Mutex
	topics     map[string]int32 // partitions by topic
	parts      map[offsets.Partition]*part
	claimed    int64
	lenient    bool // clients may meet a target that is not open
	violations []string
}

// part is one partition on both clusters.
type part struct {
	legacy, target []int
	hwBehind       int64 // how far legacy's high watermark is behind its end
	epoch          int32

	// What follows lives in the process and is lost with it.
	leading bool         // the target is open
	home    offsets.Side // the copy runs away from here
	order   int64        // highest route epoch that was obeyed
	writers int          // requests under way to legacy from processes that are dead

	// Knobs of tests.
	perCopy int // records that one look copies; 0: all
	stuck   plans.CopyState
	differ  bool // digests do
	look    func(*plans.Look)
}

func newCluster(topics map[string]int32) *cluster {
	c := &cluster{topics: topics, parts: make(map[offsets.Partition]*part)}
	for name, n := range topics {
		for i := range n {
			c.parts[offsets.Partition{Topic: topicID(name), Index: i}] = &part{epoch: 3}
		}
	}
	return c
}

func topicID(name string) (id offsets.TopicID) {
	copy(id[:], name)
	return id
}

func (c *cluster) part(p offsets.Partition) *part { return c.parts[p] }

// set changes knobs of all partitions of a topic.
func (c *cluster) set(topic string, fn func(*part)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, st := range c.parts {
		if p.Topic == topicID(topic) {
			fn(st)
		}
	}
}

func (c *cluster) violate(format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

var errNotLeader = errors.New("not leader")

// write is a client's record arriving at a cluster by way of a process. The stock
// cluster takes whatever comes; so a write to it at the wrong time is a violation.
// The target is a part of the process and dies with it. A number that is there
// already is a retry.
func (c *cluster) write(by *process, side offsets.Side, p offsets.Partition, number int) (next int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.part(p)
	log := &st.legacy
	if side == offsets.Target {
		if by.dead.Load() {
			return 0, errClosed
		}
		log = &st.target
		if !st.leading {
			if !c.lenient {
				c.violate("%v: a client met a target that is not open", p)
			}
			return 0, errNotLeader
		}
		if st.home != offsets.Target {
			c.violate("%v: the target leads while it is still copied to", p)
		}
	} else if st.leading || st.home == offsets.Target {
		c.violate("%v: legacy took %d while the target is open", p, number)
	}
	if number < len(*log) && (*log)[number] == number {
		return int64(number) + 1, nil
	}
	*log = append(*log, number)
	return int64(len(*log)), nil
}

// advance lets the copy run for a moment. Called with mu.
func (st *part) advance() {
	if st.stuck != "" {
		return
	}
	from, to := st.legacy, &st.target
	if st.home == offsets.Target {
		from, to = st.target, &st.legacy
	} else if st.leading {
		return
	}
	n := len(from) - len(*to)
	if st.perCopy > 0 {
		n = min(n, st.perCopy)
	}
	if n > 0 {
		*to = append(*to, from[len(*to):len(*to)+n]...)
	}
}

// forget is the crash of a process.
func (c *cluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range c.parts {
		st.leading, st.home, st.order = false, offsets.Legacy, 0
		st.stuck = ""
	}
}

// world is the cluster as one process reaches it.
type world struct {
	*cluster
	proc   *process
	before atomic.Pointer[interceptor]
}

// An interceptor is called before every call, with the method's name; an error
// makes the call fail.
type interceptor func(ctx context.Context, method string) error

func (w *world) intercept(fn interceptor) { w.before.Store(&fn) }

func (w *world) interceptor() interceptor {
	if fn := w.before.Load(); fn != nil {
		return *fn
	}
	return nil
}

func (w *world) call(ctx context.Context, method string, fn func() error) error {
	if w.proc.dead.Load() {
		return errDead
	}
	if before := w.interceptor(); before != nil {
		if err := before(ctx, method); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.proc.step(func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		return fn()
	})
}

func (w *world) Resolve(ctx context.Context, topics []string) (parts []plans.Part, err error) {
	err = w.call(ctx, "Resolve", func() error {
		for _, name := range topics {
			n, ok := w.topics[name]
			if !ok {
				return fmt.Errorf("topic %s: %w", name, plans.ErrUnknownTopic)
			}
			for i := range n {
				parts = append(parts, plans.Part{Topic: topicID(name), Name: name, Index: i})
			}
		}
		return nil
	})
	return parts, err
}

func (w *world) Look(ctx context.Context, parts []plans.Part) (looks []plans.Look, err error) {
	err = w.call(ctx, "Look", func() error {
		for _, p := range parts {
			st := w.part(p.Partition())
			st.advance()
			l := plans.Look{State: plans.CaughtUp, Epoch: st.epoch, Leader: true, Exact: true}
			if st.home == offsets.Target {
				l.State = plans.Replaying
			}
			if st.stuck != "" {
				l.State = st.stuck
			}
			if st.writers > 0 {
				l.QuietIn = time.Second
			}
			if st.look != nil {
				st.look(&l)
			}
			looks = append(looks, l)
		}
		return nil
	})
	return looks, err
}

func (w *world) Bypass(ctx context.Context, _ []plans.Part) (b plans.Bypass, err error) {
	return plans.Bypass{Over: time.Second}, w.call(ctx, "Bypass", func() error { return nil })
}

func (w *world) Ends(ctx context.Context, parts []plans.Part) (ends []plans.Ends, err error) {
	err = w.call(ctx, "Ends", func() error {
		for _, p := range parts {
			st := w.part(p.Partition())
			st.advance()
			legacy, target := int64(len(st.legacy)), int64(len(st.target))
			e := plans.Ends{LegacyEnd: legacy, LegacyHW: legacy - st.hwBehind, LegacyEpoch: st.epoch,
				TargetEnd: target, TargetDurable: target, Known: true, Quiet: st.writers == 0}
			e.Legacy, e.Target = offsets.Digest{Offset: target}, offsets.Digest{Offset: target}
			if st.differ {
				e.Target = e.Target.Add(offsets.Entry{Last: target - 1})
			}
			ends = append(ends, e)
		}
		return nil
	})
	return ends, err
}

func (w *world) Claim(ctx context.Context, epoch int64) error {
	return w.call(ctx, "Claim", func() error {
		w.claimed = max(w.claimed, epoch)
		return nil
	})
}

// obey runs fn for every part of an order that is not too old.
func (w *world) obey(ctx context.Context, method string, o plans.Order, fn func(i int, st *part)) error {
	return w.call(ctx, method, func() error {
		for _, p := range o.Parts {
			if w.part(p.Partition()).order > o.Epoch {
				return fmt.Errorf("%s of route epoch %d: %w", method, o.Epoch, plans.ErrFenced)
			}
		}
		for i, p := range o.Parts {
			st := w.part(p.Partition())
			st.order = o.Epoch
			fn(i, st)
		}
		return nil
	})
}

func (w *world) SetCopy(ctx context.Context, o plans.Order, home offsets.Side, seal []int64) error {
	return w.obey(ctx, "SetCopy", o, func(i int, st *part) {
		if home == offsets.Legacy && st.leading {
			w.violate("%v: the copy turns to an open target", o.Parts[i])
		}
		st.home = home
	})
}

func (w *world) OpenTarget(ctx context.Context, o plans.Order, epochs []int32) error {
	return w.obey(ctx, "OpenTarget", o, func(i int, st *part) {
		// Relocations claim nothing, so only the first COMMIT can be judged.
		if w.claimed == 0 {
			w.violate("%v: opened under route epoch %d before any was claimed", o.Parts[i], o.Epoch)
		}
		if st.home != offsets.Target {
			w.violate("%v: the target opens while it is copied to", o.Parts[i])
		}
		if epochs[i] > st.epoch {
			w.violate("%v: opened with leader epoch %d, legacy has %d", o.Parts[i], epochs[i], st.epoch)
		}
		st.leading = true
	})
}

func (w *world) CloseTarget(ctx context.Context, o plans.Order) error {
	return w.obey(ctx, "CloseTarget", o, func(_ int, st *part) { st.leading = false })
}
