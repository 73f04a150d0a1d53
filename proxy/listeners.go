package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"switchback/offsets"
)

const (
	// startBackOff is the longest pause between attempts to reach legacy at a start.
	startBackOff = 2 * time.Second
	// missedFor is how long a broker that could not be dialled counts as dead.
	missedFor = 2 * time.Second
	// acceptPause is the pause after an accept that failed (no more descriptors).
	acceptPause = 50 * time.Millisecond
)

// A group waits for goroutines and takes no more once it is stopped.
type group struct {
	mu      sync.Mutex
	stopped bool
	wg      sync.WaitGroup
}

// spawn runs fn on a goroutine, or returns false when the group is stopped.
func (g *group) spawn(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.wg.Go(fn)
	return true
}

func (g *group) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
}

// A listener is where clients reach one node.
type listener struct {
	node int32
	ln   net.Listener
	port int32
}

// nodeTable is the set of virtual nodes, and what is known about the brokers
// behind them.
type nodeTable struct {
	mu     sync.Mutex
	open   map[int32]*listener
	failed map[int32]time.Time // when a broker could last not be dialled
	closed bool
}

// Run opens the listeners and serves until ctx ends; then it closes everything
// and waits for all goroutines. The listeners open once legacy's brokers are
// known, so that the first client sees every node; until then legacy is tried
// again and again. It is called once.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(ctx, p.end)
	followed := make(chan error, 1)
	go func() { followed <- p.topo.Run(ctx) }()
	err := p.serve(ctx)
	stop()
	p.shutdown()
	if terr := <-followed; err == nil && terr != nil && !errors.Is(terr, context.Canceled) {
		err = terr
	}
	return err
}

// serve opens the listeners and follows legacy's brokers until ctx ends.
func (p *Proxy) serve(ctx context.Context) error {
	if err := p.awaitLegacy(ctx); err != nil {
		return nil // stopped before legacy came
	}
	p.rename()
	p.nodes.mu.Lock()
	_, err := p.listen(p.cfg.TargetNode)
	p.nodes.mu.Unlock()
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		changed := p.topo.Changed()
		p.rename()
		if err := p.openNodes(); err != nil && first {
			return err
		}
		if first {
			close(p.ready)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitLegacy tries until legacy has answered once.
func (p *Proxy) awaitLegacy(ctx context.Context) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, startBackOff) {
		err := p.topo.Refresh(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.log.Warn("legacy is out of reach, trying again", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openNodes opens a listener for every broker that has none. Those of brokers
// that are gone stay: clients still know them.
func (p *Proxy) openNodes() error {
	var first error
	for id := range p.topo.Snapshot().Brokers {
		if id == p.cfg.TargetNode {
			err := fmt.Errorf("open node %d: legacy has a broker with the target's id", id)
			p.log.Error("node id collision", "err", err)
			first = err
			continue
		}
		p.nodes.mu.Lock()
		_, err := p.listen(id)
		p.nodes.mu.Unlock()
		if err != nil {
			p.log.Error("node has no listener", "err", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// listen opens the listener of a node unless it is open. p.nodes.mu is held.
func (p *Proxy) listen(node int32) (*listener, error) {
	if l := p.nodes.open[node]; l != nil {
		return l, nil
	}
	if p.nodes.closed {
		return nil, fmt.Errorf("open node %d: %w", node, net.ErrClosed)
	}
	addr := p.cfg.Listen
	if node != p.cfg.TargetNode {
		port, err := p.cfg.Ports.Port(node)
		if err != nil {
			return nil, fmt.Errorf("find port of node %d: %w", node, err)
		}
		host, _, _ := net.SplitHostPort(p.cfg.Listen)
		addr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open node %d: %w", node, err)
	}
	l := &listener{node: node, ln: ln, port: int32(ln.Addr().(*net.TCPAddr).Port)}
	if p.nodes.open == nil {
		p.nodes.open = make(map[int32]*listener)
	}
	p.nodes.open[node] = l
	if !p.wg.spawn(func() { p.accept(l) }) {
		_ = ln.Close()
		return nil, fmt.Errorf("open node %d: %w", node, net.ErrClosed)
	}
	p.log.Info("node open", "node", node, "addr", ln.Addr().String())
	return l, nil
}

// accept serves the connections of one listener until it is closed.
func (p *Proxy) accept(l *listener) {
	for {
		nc, err := l.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Warn("accept failed", "node", l.node, "err", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-p.life.Done():
				return
			}
		}
		c := p.newConn(p.life, l.node, nc)
		p.conns.add(c)
		if !p.wg.spawn(func() {
			c.serve()
			p.conns.remove(c)
		}) {
			p.conns.remove(c)
			c.close(net.ErrClosed)
		}
	}
}

// shutdown closes listeners and connections and waits for everything.
func (p *Proxy) shutdown() {
	p.end()
	p.nodes.mu.Lock()
	p.nodes.closed = true
	for _, l := range p.nodes.open {
		_ = l.ln.Close()
	}
	p.nodes.mu.Unlock()
	p.wg.stop()
	p.wg.wg.Wait()
}

func (p *Proxy) stopping() bool { return p.life.Err() != nil }

// Ready is closed when all listeners are open.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Addr is where the target's node listens, which is the bootstrap address, as
// host:port; empty before Ready.
func (p *Proxy) Addr() string {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	l := p.nodes.open[p.cfg.TargetNode]
	if l == nil {
		return ""
	}
	return net.JoinHostPort(p.cfg.AdvertisedHost, strconv.Itoa(int(l.port)))
}

// endpoint implements endpoints.
func (p *Proxy) endpoint(node int32) (host string, port int32, ok bool) {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	l, err := p.listen(node)
	if err != nil {
		p.log.Error("node left out of an answer", "err", err)
		return "", 0, false
	}
	return p.cfg.AdvertisedHost, l.port, true
}

// targetNode implements endpoints.
func (p *Proxy) targetNode() int32 { return p.cfg.TargetNode }

// topicID implements endpoints.
func (p *Proxy) topicID(name string) (offsets.TopicID, bool) {
	if id, ok := p.routes.load().names[name]; ok {
		return id, true
	}
	return p.topo.TopicID(name)
}

// shown implements endpoints.
func (p *Proxy) shown(part offsets.Partition, legacyEpoch int32) (leader, epoch int32) {
	s := p.routes.load().parts[part]
	if s == nil {
		return -1, legacyEpoch
	}
	shown := s.now().Shown
	if shown.IsRelocated() {
		return p.cfg.TargetNode, shown.Epoch(legacyEpoch)
	}
	return -1, shown.Epoch(legacyEpoch)
}

// topicName is legacy's name of a topic; empty when it is not known.
func (p *Proxy) topicName(id offsets.TopicID) string {
	if t := p.topo.Snapshot().TopicsByID[id]; t != nil {
		return t.Name
	}
	if t := p.routes.load().topics[id]; t != nil {
		return t.name
	}
	return ""
}

// rename takes over legacy's names of the topics that are not clean.
func (p *Proxy) rename() {
	if len(p.routes.load().topics) == 0 {
		return
	}
	byID := p.topo.Snapshot().TopicsByID
	p.routes.rename(func(id offsets.TopicID) string {
		if t := byID[id]; t != nil {
			return t.Name
		}
		return ""
	}, p.topo.TopicID)
}

// brokersFor are the brokers to try for a connection's pinned upstream, best
// first. On the target's node any will do: they are spread by connection.
func (p *Proxy) brokersFor(c *conn) []int32 {
	if !c.local {
		return []int32{c.node}
	}
	var alive []int32
	for id := range p.topo.Snapshot().Brokers {
		if p.nodes.alive(id) {
			alive = append(alive, id)
		}
	}
	slices.Sort(alive)
	if n := len(alive); n > 0 {
		by := int(c.id) % n
		alive = append(alive[by:], alive[:by]...)
	}
	return alive
}

// alive tells whether a broker is worth a try: its last dial didn't fail a moment
// ago.
func (t *nodeTable) alive(node int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, failed := t.failed[node]
	return !failed || time.Since(at) > missedFor
}

func (t *nodeTable) reached(node int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failed, node)
}

func (t *nodeTable) missed(node int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[int32]time.Time)
	}
	t.failed[node] = time.Now()
}
