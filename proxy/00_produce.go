package proxy

import (
	"slices"
	"time"

	"switchback/offsets"
	"switchback/proxy/wire"
	"switchback/storage/batch"
)

// Produce, key 0, versions 3 to 13.
//
// Clean: passed on, acks and transactional id looked at. Watched: passed on, its
// answer followed. Held: waits, with everything behind it on its connection.
// Moved: appended to the target and answered here. A request whose partitions
// have different homes is split, and its answer merged.
const (
	codeOutOfOrder     = 45
	codePolicy         = 44
	codeNotLeader      = 6
	codeTopicForbidden = 29
)

const transactionsRefused = "this topic has been moved by Switchback, which does not serve transactions on moved topics yet: roll it back first"

// scanned is one partition of a Produce request.
type scanned struct {
	topic []byte // aliases the frame; nil where the version names ids
	id    offsets.TopicID
	index int32
	count int64      // offsets that its batch takes
	state *partition // nil: clean
	route Route      // of state, once entered
	moved bool       // its home has been the target at some time
}

// produce is the guard of Produce.
func (c *conn) produce(r request) (way, error) {
	c.stats.produces.Add(1)
	head, err := wire.ReadProduceHead(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	c.p.facts.timeout(head.TimeoutMillis)
	if head.TransactionalID == nil && !c.servesData() && c.p.routes.load().clean() {
		return r.produceWay(head.Acks), nil
	}
	var need produceNeeds
	for paced := false; ; {
		guarded, err := c.scanProduce(r, head)
		if err != nil {
			return way{}, err
		}
		if !guarded && !c.servesData() {
			return r.produceWay(head.Acks), nil
		}
		if head.TransactionalID != nil && c.refusesTransaction() {
			return way{}, c.refuseTransaction(r, head)
		}
		if h := c.enterScanned(); h != nil {
			if err := c.await(h); err != nil {
				return way{}, err
			}
			continue
		}
		// From here on each state is entered, and must be left. What is missing is
		// brought with none entered: a drain must not wait for that.
		c.look(&need)
		var slow []<-chan struct{}
		if !paced {
			slow = c.paces()
		}
		if need.nothing() && len(slow) == 0 {
			return c.sendProduce(r, head, &need)
		}
		c.leaveScanned()
		if err := c.bring(&need); err != nil {
			return way{}, err
		}
		if paced = paced || len(slow) > 0; len(slow) > 0 {
			if err := c.awaitAll(slow); err != nil {
				return way{}, err
			}
		}
	}
}

// produceWay sends a Produce on.
func (r request) produceWay(acks int16) way {
	w := r.pass()
	w.silent = acks == 0
	return w
}

// scanProduce fills c.scan. guarded tells whether any partition is not clean.
func (c *conn) scanProduce(r request, head wire.ProduceHead) (guarded bool, err error) {
	routes := c.p.routes.load()
	c.scan = c.scan[:0]
	_, err = wire.WalkProduce(r.Header, r.frame, func(p wire.ProducePartition) {
		s := scanned{topic: p.Topic, id: p.TopicID, index: p.Partition}
		s.state = routes.find(p.Topic, p.TopicID, p.Partition)
		if s.state != nil {
			guarded = true
			s.id = s.state.id.Topic
			if h, err := batch.ParseHeader(p.Records); err == nil {
				s.count = int64(h.LastOffsetDelta) + 1
			}
		}
		c.scan = append(c.scan, s)
	})
	if err == nil && head.TransactionalID != nil {
		c.noteTransaction(string(head.TransactionalID))
	}
	return guarded, err
}

// noteTransaction remembers which topics have transactional producers.
func (c *conn) noteTransaction(id string) {
	c.session.note(func(s *session) { s.transactional = id })
	for i := range c.scan {
		s := &c.scan[i]
		topic := s.id
		if s.topic != nil && s.state == nil {
			topic, _ = c.p.topicID(string(s.topic))
		}
		c.p.facts.transaction(topic, time.Now())
	}
}

// refusesTransaction: legacy's coordinator could not verify what the target
// appends, so the whole request is refused before anything is.
func (c *conn) refusesTransaction() bool {
	return slices.ContainsFunc(c.scan, func(s scanned) bool {
		return s.state != nil && s.state.now().Home == offsets.Target
	})
}

// enterScanned enters every state, or none and returns the hold to wait for. A
// partition that is named twice is entered twice.
func (c *conn) enterScanned() *hold {
	for i := range c.scan {
		s := &c.scan[i]
		if s.state == nil {
			continue
		}
		var h *hold
		if s.route, s.moved, h = s.state.enter(); h != nil {
			for j := range c.scan[:i] {
				if c.scan[j].state != nil {
					c.scan[j].state.leave()
				}
			}
			return h
		}
	}
	return nil
}

func (c *conn) leaveScanned() {
	for i := range c.scan {
		if c.scan[i].state != nil {
			c.scan[i].state.leave()
		}
	}
}

// await waits for the end of a hold, with nothing else on this connection going
// on behind it.
func (c *conn) await(h *hold) error {
	err := c.wait(func() {
		select {
		case <-h.released:
		case <-c.ctx.Done():
		}
	})
	if err == nil {
		select {
		case <-h.released:
			if h.abandoned {
				err = errAbandoned
			}
		default:
		}
	}
	return err
}

// paces are what the entered Produce has to wait for because replay is behind.
func (c *conn) paces() (slow []<-chan struct{}) {
	for i := range c.scan {
		if s := &c.scan[i]; s.state != nil && s.route.Home == offsets.Target {
			if wait := c.p.copies.Pace(s.state.id); wait != nil {
				slow = append(slow, wait)
			}
		}
	}
	return slow
}

// awaitAll waits for all channels, with nothing else on this connection going on.
func (c *conn) awaitAll(all []<-chan struct{}) error {
	return c.wait(func() {
		for _, one := range all {
			select {
			case <-one:
			case <-c.ctx.Done():
				return
			}
		}
	})
}

// produceNeeds is what has to be there before a Produce can be sent.
type produceNeeds struct {
	unknown []string        // topics for which the client's authorisation is not known
	rounds  int             // how often legacy was asked
	denied  map[string]bool // topics that the client may not write
	dial    []int32         // brokers to which a side connection is missing
	noSide  map[int32]bool  // brokers to which there can't be one
}

func (n *produceNeeds) nothing() bool { return len(n.unknown) == 0 && len(n.dial) == 0 }

// look finds out what is missing for the entered Produce.
func (c *conn) look(n *produceNeeds) {
	n.unknown, n.dial, n.denied = n.unknown[:0], n.dial[:0], nil
	var topics []string
	for i := range c.scan {
		s := &c.scan[i]
		switch {
		case s.state == nil:
		case s.route.Home == offsets.Target:
			if name := c.nameOf(s); !slices.Contains(topics, name) {
				topics = append(topics, name)
			}
		case c.local:
			leader, _, ok := c.p.topo.Leader(s.state.id)
			if ok && c.side(leader) == nil && !n.noSide[leader] && !slices.Contains(n.dial, leader) {
				n.dial = append(n.dial, leader)
			}
		}
	}
	if len(topics) > 0 {
		n.denied, n.unknown = c.cachedAuthorized(topics, opWrite)
	}
}

// bring sees to what look found. No state is entered.
func (c *conn) bring(n *produceNeeds) error {
	if len(n.unknown) > 0 {
		n.rounds++
		if err := c.learnAuthorized(n.unknown, n.rounds); err != nil {
			return err
		}
	}
	for _, node := range n.dial {
		if err := c.openSide(node); err != nil {
			return err
		}
		if c.side(node) == nil {
			if n.noSide == nil {
				n.noSide = make(map[int32]bool)
			}
			n.noSide[node] = true
		}
	}
	return nil
}

// nameOf is the name of a scanned topic.
func (c *conn) nameOf(s *scanned) string {
	if s.topic != nil {
		return string(s.topic)
	}
	return c.p.topicName(s.id)
}

// side is the live side connection to a broker, or nil.
func (c *conn) side(node int32) *upstream {
	if u := c.sides[node]; u != nil && !u.gone() {
		return u
	}
	return nil
}

// openSide tries to open a side connection. It can't be had for a client that has
// authenticated: its secret was for another connection. sending is held, but
// given up to dial.
func (c *conn) openSide(node int32) error {
	addr, ok := c.p.topo.Addr(node)
	if !ok || c.session.sasl.Load() || !c.p.nodes.alive(node) {
		return nil
	}
	var u *upstream
	var err error
	if werr := c.wait(func() { u, err = c.dial(node, addr) }); werr != nil {
		return werr
	}
	if err != nil {
		c.p.nodes.missed(node)
		c.log.Info("no side connection", "broker", node, "err", err)
		return nil
	}
	if c.sides == nil {
		c.sides = make(map[int32]*upstream)
	}
	c.sides[node] = u
	return nil
}

// sendProduce sends an entered Produce to where its partitions have their homes.
func (c *conn) sendProduce(r request, head wire.ProduceHead, n *produceNeeds) (way, error) {
	whole := !c.servesData() // it can go on as it is, and no answer needs absorbing
	for i := range c.scan {
		s := &c.scan[i]
		if s.state == nil {
			continue
		}
		whole = whole && s.route.Home == offsets.Legacy && !s.moved
		if s.route.Home == offsets.Legacy && !c.local {
			c.prefetch(c.nameOf(s))
		}
	}
	if !whole {
		return way{}, c.callProduce(r, head, n)
	}
	if head.Acks != 0 {
		w := r.pass()
		w.e.then = c.followProduce(r.Version)
		return w, nil
	}
	for i := range c.scan {
		if s := &c.scan[i]; s.state != nil {
			s.state.noteSilent()
		}
	}
	// Counted until it is written; from then on the upstream knows that there is
	// Produce on it that nothing has proven handled.
	defer c.leaveScanned()
	if err := c.flush(); err != nil {
		return way{}, err
	}
	c.pinned.sendSilent(r.sized)
	return way{}, nil
}

// followed is an entered partition of a Produce that went on as it is.
type followed struct {
	state *partition
	count int64
}

// followProduce sees the answer to a Produce that went on as it is.
func (c *conn) followProduce(version int16) func(frame []byte, err error) bool {
	var parts []followed
	for i := range c.scan {
		if s := &c.scan[i]; s.state != nil {
			parts = append(parts, followed{s.state, s.count})
		}
	}
	return func(frame []byte, err error) bool {
		if err != nil {
			for _, f := range parts {
				f.state.leave()
			}
			c.close(err)
			return false
		}
		c.followAnswer(version, parts, frame)
		return true
	}
}

// followAnswer leaves the partitions of a Produce with what the answer says. A
// malformed answer is the caller's to find.
func (c *conn) followAnswer(version int16, parts []followed, frame []byte) {
	routes := c.p.routes.load()
	_, _ = wire.WalkProduceAnswer(version, frame, func(a wire.ProduceAnswer) {
		s := routes.find(a.Topic, a.TopicID, a.Partition)
		if s == nil || a.ErrorCode != 0 {
			return
		}
		for _, f := range parts {
			if f.state == s {
				s.ack(a.BaseOffset, a.BaseOffset+f.count)
				return
			}
		}
	})
	for _, f := range parts {
		f.state.leave()
	}
}
