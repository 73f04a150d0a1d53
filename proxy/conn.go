package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// firstInjected is where correlation ids of our own requests start: clients
	// count from 0, so an answer out of order is noticed. Ids need not differ.
	firstInjected = 1 << 30
	// maxRun bounds the requests that are written together.
	maxRun = 64
	// lingerFor bounds how long the upstreams of a client that went away are kept
	// for the Produce on them, and lingerAtEnd the same while the proxy stops.
	lingerFor   = 10 * time.Second
	lingerAtEnd = time.Second
)

// A conn is one client connection. See the package comment for its goroutines
// and locks.
type conn struct {
	p       *Proxy
	id      uint64
	node    int32 // the node that the client has connected to
	local   bool  // it is the target's node
	nc      net.Conn
	reader  *wire.Reader // A's
	log     *slog.Logger
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	wg      group // B, W and what else was started for this connection
	stats   stats
	offline atomic.Bool // no broker could be reached
	session session

	// sending is held by whoever decides about requests and writes them upstream.
	sending  sync.Mutex
	pinned   *upstream           // nil before the first request, and offline
	sides    map[int32]*upstream // target's node only
	retryAt  time.Time           // not before then is a broker tried again
	injected int32               // correlation id of our own last request
	held     []byte              // the read that A works on
	run      struct {            // clean requests of it, not written yet
		start, end int
		expects    []expect
		silent     uint64
	}
	listener string // what caller says, made once
	host     string
	clientID string
	deferred []func()  // waits for the end of an authentication
	scan     []scanned // A's scratch for what a guarded Produce names

	mu        sync.Mutex
	space     sync.Cond // a slot was given back
	turn      sync.Cond // head moved or the pen was given back
	ready     sync.Cond // the head's answer has come
	lingering sync.Cond // an upstream answered or ended, after the client went away
	slots     [maxSlots]slot
	head      uint64 // the oldest slot that is not written
	tail      uint64 // the next slot to give
	writing   bool   // somebody writes to the client: has the pen
	writer    bool   // W runs
	buffered  int    // bytes of copied answers
	resends   int    // Produce that is sent again: answers behind it can't wait for their turn
	closed    bool
	err       error // why
	upstreams []*upstream
}

// newConn makes a connection of the given node; serve runs it.
func (p *Proxy) newConn(ctx context.Context, node int32, nc net.Conn) *conn {
	c := &conn{p: p, id: p.nextConn.Add(1), node: node, local: node == p.cfg.TargetNode, nc: nc}
	c.reader = wire.NewReader(nc, p.cfg.MaxFrame)
	c.log = p.log.With("client", nc.RemoteAddr().String(), "node", node)
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.space.L, c.turn.L, c.ready.L, c.lingering.L = &c.mu, &c.mu, &c.mu, &c.mu
	c.run.expects = make([]expect, 0, maxRun)
	c.injected = firstInjected
	c.stats.since = time.Now()
	return c
}

// serve is A. It returns when all goroutines of the connection have.
func (c *conn) serve() {
	stop := context.AfterFunc(c.ctx, func() { c.close(context.Cause(c.ctx)) })
	err := c.readRequests()
	stop()
	c.close(err)
	c.p.target.Gone(c.id)
	c.linger()
	c.wg.stop()
	c.wg.wg.Wait()
}

// readRequests forwards what the client sends until the connection ends.
func (c *conn) readRequests() error {
	for {
		frames, err := c.reader.Next()
		if err != nil {
			return err
		}
		c.sending.Lock()
		err = c.forward(frames)
		c.sending.Unlock()
		if err != nil {
			return err
		}
		c.stats.bytesIn.Add(uint64(len(frames)))
	}
}

// forward takes the requests of one read to where they go, in order. sending is
// held.
func (c *conn) forward(frames []byte) error {
	err := c.forwardAll(frames)
	if err != nil {
		c.dropRun()
	}
	return err
}

func (c *conn) forwardAll(frames []byte) error {
	c.held = frames
	c.run.expects, c.run.silent = c.run.expects[:0], 0
	for at := 0; at < len(frames); {
		frame, rest, ok := wire.Split(frames[at:])
		if !ok {
			return fmt.Errorf("read request: %w", wire.ErrMalformed)
		}
		start := at
		at = len(frames) - len(rest)
		way, err := c.decide(frame, frames[start:at])
		if err != nil {
			return err
		}
		if !way.on {
			if err := c.flush(); err != nil { // it must not be in the middle of a run
				return err
			}
			continue
		}
		if c.pinned == nil { // decide opens it before anything passes
			return fmt.Errorf("forward %s: no broker", kmsg.NameForKey(way.e.key))
		}
		if len(c.run.expects)+int(c.run.silent) == 0 {
			c.run.start = start
		}
		c.run.end = at
		if way.silent {
			c.run.silent++
		} else {
			c.run.expects = append(c.run.expects, way.e)
		}
		if len(c.run.expects)+int(c.run.silent) == maxRun {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// flush writes the run of clean requests to the pinned upstream. sending is held.
func (c *conn) flush() error {
	n, silent := len(c.run.expects), c.run.silent
	if n == 0 && silent == 0 {
		return nil
	}
	u := c.pinned
	c.mu.Lock()
	for c.full(n) && !c.closed {
		c.space.Wait()
	}
	if c.closed || u.dead.Load() {
		c.mu.Unlock()
		c.dropRun()
		return errUpstreamLost
	}
	for i := range c.run.expects {
		e := &c.run.expects[i]
		e.slot = c.tail
		c.tail++
		u.push(*e)
		*e = expect{}
	}
	u.silent += silent
	c.mu.Unlock()
	c.run.expects, c.run.silent = c.run.expects[:0], 0
	u.write(c.held[c.run.start:c.run.end])
	return nil
}

// dropRun tells what was to be written that it never will be.
func (c *conn) dropRun() {
	for i := range c.run.expects {
		if then := c.run.expects[i].then; then != nil {
			then(nil, errUpstreamLost)
		}
	}
	c.run.expects, c.run.silent = c.run.expects[:0], 0
}

// wait gives up sending while fn blocks. What was decided before is flushed
// first; whatever is decided after must look at the routes anew.
func (c *conn) wait(fn func()) error {
	if err := c.flush(); err != nil {
		return err
	}
	c.sending.Unlock()
	fn()
	c.sending.Lock()
	return c.ctx.Err()
}

// upstream opens the pinned upstream where there is none. Afterwards pinned is
// nil only when the connection is served offline. sending is held, but not all
// the time.
func (c *conn) upstream() error {
	if c.pinned != nil {
		if !c.pinned.dead.Load() {
			return nil
		}
		if err := c.flush(); err != nil {
			return err
		}
		c.pinned = nil
	}
	began := time.Now()
	if began.Before(c.retryAt) {
		return nil
	}
	for _, node := range c.p.brokersFor(c) {
		addr, ok := c.p.topo.Addr(node)
		if !ok {
			continue
		}
		var u *upstream
		var err error
		if werr := c.wait(func() { u, err = c.dial(node, addr) }); werr != nil {
			return werr
		}
		if err == nil {
			c.p.nodes.reached(node)
			c.pinned = u
			c.offline.Store(false)
			return nil
		}
		c.p.nodes.missed(node)
		c.log.Debug("broker out of reach", "broker", node, "err", err)
	}
	if !c.offline.Swap(true) {
		c.log.Info("no broker in reach, serving this connection offline")
	}
	c.retryAt = time.Now().Add(max(offlineRetry, offlineShare*time.Since(began)))
	return nil
}

// outlives tells whether the connection goes on without this upstream: on the
// target's node another broker does as well, as long as the client has shown
// nothing of itself to the first.
func (c *conn) outlives(u *upstream) bool {
	return c.local && !c.session.sasl.Load()
}

// close ends the connection towards the client, once. Its upstreams are linger's.
func (c *conn) close(err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.err = true, err
	c.space.Broadcast()
	c.turn.Broadcast()
	c.ready.Broadcast()
	c.lingering.Broadcast()
	limit := lingerFor
	if c.p.stopping() {
		limit = lingerAtEnd
	}
	for _, u := range c.upstreams { // a broker that doesn't read must not keep A
		_ = u.nc.SetWriteDeadline(time.Now().Add(limit))
	}
	c.mu.Unlock()
	c.cancel()
	_ = c.nc.Close()
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrUnknownAPI), errors.Is(err, errRefused):
		c.log.Warn("connection closed", "err", err)
	default:
		c.log.Debug("connection closed", "err", err)
	}
}

// linger keeps the upstreams of a client that went away until the Produce on
// them is answered or proven handled: nothing of it may be appended later unseen.
// Only A calls it, last.
func (c *conn) linger() {
	abort := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, u := range c.upstreams {
			u.abort()
		}
	}
	late := time.AfterFunc(lingerFor, abort)
	defer late.Stop()
	stopping := context.AfterFunc(c.p.life, func() { late.Reset(lingerAtEnd) })
	defer stopping()

	c.sending.Lock()
	c.session.midway = false
	c.runDeferred()
	c.mu.Lock()
	upstreams := c.upstreams
	c.mu.Unlock()
	for _, u := range upstreams {
		u.prove(true, func() {})
	}
	c.sending.Unlock()
	for _, u := range upstreams {
		c.mu.Lock()
		for !u.dead.Load() && (u.produceAwaited() || u.silent > u.proven) {
			c.lingering.Wait()
		}
		c.mu.Unlock()
		_ = u.nc.Close()
	}
}

// caller is how the target sees this client.
func (c *conn) caller(h wire.Header) Caller {
	if c.listener == "" {
		c.listener = "target"
		if !c.local {
			c.listener = "legacy-" + strconv.Itoa(int(c.node))
		}
		c.host, _, _ = net.SplitHostPort(c.nc.RemoteAddr().String())
	}
	if c.clientID != string(h.ClientID) {
		c.clientID = string(h.ClientID)
	}
	return Caller{
		Connection: c.id, Principal: c.session.principalNow(), Listener: c.listener,
		ClientID: c.clientID, ClientHost: c.host,
	}
}

// connTable is the set of live connections.
type connTable struct {
	mu   sync.Mutex
	live map[*conn]struct{}
}

func (t *connTable) add(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = make(map[*conn]struct{})
	}
	t.live[c] = struct{}{}
}

func (t *connTable) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, c)
}

func (t *connTable) all() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*conn, 0, len(t.live))
	for c := range t.live {
		all = append(all, c)
	}
	return all
}

// stats are the counters of a connection.
type stats struct {
	since                       time.Time
	requests, produces, fetches atomic.Uint64
	bytesIn, bytesOut           atomic.Uint64
	byTarget                    atomic.Uint64
}
