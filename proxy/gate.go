package proxy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"switchback/offsets"
)

// Watch follows the Produce of these partitions from now on. It returns when
// every Produce that was in flight before has been answered (or its connection is
// gone), so that nothing of theirs is in flight unseen. Watching twice is cheap.
// ErrUnknownTopic: legacy doesn't list a topic.
func (p *Proxy) Watch(ctx context.Context, parts []offsets.Partition) error {
	if err := p.named(ctx, parts); err != nil {
		return err
	}
	states := p.routes.follow(parts, p.topicName)
	return p.settle(ctx, states)
}

// named makes sure that legacy's name of every topic is known: requests of most
// versions name topics by it, and a partition that can't be recognised can't be
// guarded.
func (p *Proxy) named(ctx context.Context, parts []offsets.Partition) error {
	refreshed := false
	for _, part := range parts {
		if p.topicName(part.Topic) != "" {
			continue
		}
		if !refreshed {
			refreshed = true
			if err := p.topo.Refresh(ctx); err != nil {
				return fmt.Errorf("watch partition %s: %w", part, err)
			}
			p.rename()
		}
		if p.topicName(part.Topic) == "" {
			return fmt.Errorf("watch partition %s: %w", part, ErrUnknownTopic)
		}
	}
	return nil
}

// settle returns when no Produce that was decided before the states were
// published is in flight.
func (p *Proxy) settle(ctx context.Context, states []*partition) error {
	settled := true
	for _, s := range states {
		s.mu.Lock()
		settled = settled && s.watched
		s.mu.Unlock()
	}
	if settled {
		return nil
	}
	if err := p.prove(ctx, false); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	for _, s := range states {
		s.mu.Lock()
		s.watched = true
		s.mu.Unlock()
	}
	return nil
}

// prove returns when all Produce that was written to legacy before the call has
// been handled or its upstream is gone; with silentOnly, all without acks.
func (p *Proxy) prove(ctx context.Context, silentOnly bool) error {
	var pending sync.WaitGroup
	for _, c := range p.conns.all() {
		pending.Add(1)
		if c.sending.TryLock() {
			c.prove(silentOnly, pending.Done)
			c.sending.Unlock()
			continue
		}
		if !p.wg.spawn(func() {
			c.sending.Lock()
			defer c.sending.Unlock()
			c.prove(silentOnly, pending.Done)
		}) {
			pending.Done()
		}
	}
	all := make(chan struct{})
	if !p.wg.spawn(func() {
		pending.Wait()
		close(all)
	}) {
		return nil // stopped: no connection is left
	}
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for produce in flight: %w", context.Cause(ctx))
	}
}

// prove is Proxy.prove for one connection. sending is held. handled is called
// once, on whatever goroutine.
func (c *conn) prove(silentOnly bool, handled func()) {
	if c.session.midway {
		// Between a handshake and its end a broker takes nothing else. A sends it
		// with the next ordinary request.
		c.deferred = append(c.deferred, func() { c.prove(silentOnly, handled) })
		return
	}
	c.mu.Lock()
	upstreams := c.upstreams
	c.mu.Unlock()
	if len(upstreams) == 0 {
		handled()
		return
	}
	rest := newCountdown(len(upstreams), handled)
	for _, u := range upstreams {
		u.prove(silentOnly, rest)
	}
}

// newCountdown returns a function whose n-th call calls fn.
func newCountdown(n int, fn func()) func() {
	var mu sync.Mutex
	return func() {
		mu.Lock()
		n--
		last := n == 0
		mu.Unlock()
		if last {
			fn()
		}
	}
}

// Hold makes Produce of these partitions wait from now on: a connection that
// brings one is not read further, so order is kept and memory bounded. id names
// the attempt, for logs. Holding twice changes nothing. What is in flight is not
// waited for: see Drain.
func (p *Proxy) Hold(parts []offsets.Partition, id string) {
	began := 0
	for _, s := range p.routes.follow(parts, p.topicName) {
		if s.begin(id) {
			began++
		}
	}
	if began > 0 {
		p.log.Debug("hold", "attempt", id, "partitions", began)
	}
}

// Drain returns when no Produce of these held partitions is in flight anywhere:
// answered, refused, or its connection lost (see LostUpstream). Produce with acks
// 0 is proven handled by a request of our own behind it. acked is the highest
// acknowledged offset plus one of each partition since it was first watched, -1
// where there was none.
func (p *Proxy) Drain(ctx context.Context, parts []offsets.Partition) (acked map[offsets.Partition]int64, err error) {
	states := p.routes.follow(parts, p.topicName)
	if err := p.settle(ctx, states); err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	for _, s := range states {
		quiet := s.quiet()
		if quiet == nil {
			continue
		}
		select {
		case <-quiet:
		case <-ctx.Done():
			return nil, fmt.Errorf("drain partition %s: %w", s.id, context.Cause(ctx))
		}
	}
	if err := p.prove(ctx, true); err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	acked = make(map[offsets.Partition]int64, len(states))
	for _, s := range states {
		s.mu.Lock()
		acked[s.id] = s.acked
		s.mu.Unlock()
	}
	return acked, nil
}

// Apply takes over routes and releases what is held into them. A route whose
// epoch is lower than the known one is ignored, and releases nothing. gen is the
// generation of the routes, which rises with every call.
func (p *Proxy) Apply(parts map[offsets.Partition]Route) (gen uint64) {
	ids := make([]offsets.Partition, 0, len(parts))
	for id := range parts {
		ids = append(ids, id)
	}
	states := p.routes.follow(ids, func(id offsets.TopicID) string {
		if name := p.topicName(id); name != "" {
			return name
		}
		for part, r := range parts {
			if part.Topic == id && r.Topic != "" {
				return r.Topic
			}
		}
		return ""
	})
	var relocated []*partition
	for _, s := range states {
		r := parts[s.id]
		was, ok := s.apply(r)
		switch {
		case !ok:
			p.log.Warn("route ignored", "partition", s.id, "epoch", r.Epoch, "known", was.Epoch)
		case r.Shown.IsRelocated() && !was.Shown.IsRelocated():
			relocated = append(relocated, s)
		case !r.Shown.IsRelocated():
			s.stuck.Store(false)
		}
	}
	if len(relocated) > 0 {
		p.pollsCut.Store(time.Now().Add(p.cfg.ShortPoll).UnixNano())
		p.moveReaders(relocated)
	}
	return p.routes.bump()
}

// Abandon is for a hold whose outcome nobody knows at its hard stop: connections
// that wait are closed, and so are those that bring new Produce for these
// partitions, until Apply says where they go.
func (p *Proxy) Abandon(parts []offsets.Partition) {
	for _, s := range p.routes.follow(parts, p.topicName) {
		s.abandon()
	}
}

// Route is the route of a partition as last applied.
func (p *Proxy) Route(part offsets.Partition) (Route, bool) {
	s := p.routes.load().parts[part]
	if s == nil {
		return Route{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.route, s.routed
}

// Acked is the highest acknowledged offset plus one that has been seen since the
// partition was first watched; -1 when there was none.
func (p *Proxy) Acked(part offsets.Partition) int64 {
	s := p.routes.load().parts[part]
	if s == nil {
		return -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// moveReaders sees to readers of partitions that were just relocated. As long as
// the copy runs nobody has to move: they are served where they are. If it
// doesn't, legacy has nothing more for them and their long polls would sit there
// for ever; which connections read a partition is not known (a fetch session
// names only what changed), so all that fetch on legacy nodes are closed. They
// come back with a full fetch, and the guard closes those of stuck partitions
// until the client has asked for Metadata.
func (p *Proxy) moveReaders(parts []*partition) {
	p.wg.spawn(func() {
		ctx, cancel := context.WithTimeout(p.life, p.cfg.CopyStopped)
		defer cancel()
		stuck := false
		for _, s := range parts {
			end, err := p.copies.HomeEnd(ctx, s.id)
			if err == nil {
				err = p.copies.Await(ctx, s.id, end)
			}
			if err != nil && s.now().Shown.IsRelocated() {
				s.stuck.Store(true)
				stuck = true
			}
		}
		if !stuck || p.stopping() {
			return
		}
		p.log.Warn("the copy to legacy does not move: closing connections that fetch there")
		for _, c := range p.conns.all() {
			if !c.local && c.stats.fetches.Load() > 0 {
				c.close(errCopyStopped)
			}
		}
	})
}
