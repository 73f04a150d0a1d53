package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	refreshEvery   = time.Second
	refreshBackoff = 100 * time.Millisecond // doubled up to refreshEvery while legacy doesn't answer
	askTimeout     = 3 * time.Second        // for one broker: to connect, and to answer
	// refreshesPerConn bounds how long one broker is believed: one that is cut off
	// from the others answers, with what it knew then.
	refreshesPerConn = 20
)

// ErrForeignCluster is wrapped when an address of legacy answers with another
// cluster id than before. Nothing of that answer is believed.
var ErrForeignCluster = errors.New("address belongs to another cluster")

// ErrUnknownNode is wrapped when legacy has no broker of that id.
var ErrUnknownNode = errors.New("no such broker in legacy")

// Topology follows legacy: its brokers, controller, topics and leaders. Reads are
// snapshots and never block; all methods may be called from any goroutine. It
// starts no goroutine: Run works on its caller's, and Refresh on the caller's
// too.
type Topology struct {
	bootstrap []string
	clientID  string
	log       *slog.Logger
	wake      chan struct{} // asks Run for a refresh now

	current atomic.Pointer[Snapshot]

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed at the next change
	next    *refresh      // guarded by mu; the refresh that has not begun
	failing error         // guarded by mu; of the last refresh

	asking chan struct{} // held by whoever asks legacy
	conn   *wire.Conn    // guarded by asking
	asked  int           // guarded by asking; questions on conn
}

// A refresh is one question to legacy that several callers wait for.
type refresh struct {
	done      chan struct{}
	err       error // valid once done is closed
	calledOff bool  // likewise: the context of the one who asked has ended
}

// NewTopology follows the cluster behind the bootstrap addresses. It connects to
// nothing before Run or Refresh.
func NewTopology(bootstrap []string, clientID string, log *slog.Logger) *Topology {
	t := &Topology{
		bootstrap: bootstrap, clientID: clientID, log: log,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), asking: make(chan struct{}, 1),
	}
	t.current.Store(&Snapshot{Controller: -1})
	return t
}

// Run refreshes about once a second, and when Learn has seen something new, until
// ctx ends; then it closes its connection. An unreachable legacy is no error: it
// is logged once and asked again.
func (t *Topology) Run(ctx context.Context) error {
	defer t.disconnect()
	failures := 0
	for {
		pause := refreshEvery
		if err := t.Refresh(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			pause = min(refreshBackoff<<min(failures, 8), refreshEvery)
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(pause + rand.N(pause/10))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-t.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (t *Topology) disconnect() {
	t.asking <- struct{}{}
	defer func() { <-t.asking }()
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// Snapshot is what is known now; never nil, empty before the first refresh.
func (t *Topology) Snapshot() *Snapshot { return t.current.Load() }

// Err is why the last refresh failed; nil when it didn't.
func (t *Topology) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failing
}

// Refresh asks legacy now. Calls at the same time share one question, but one
// that began before the call doesn't count.
func (t *Topology) Refresh(ctx context.Context) error {
	for {
		r := t.pendingRefresh()
		select {
		case <-ctx.Done():
			return fmt.Errorf("refresh topology: %w", ctx.Err())
		case <-r.done:
		case t.asking <- struct{}{}:
			t.perform(ctx, r)
			<-t.asking
		}
		if !r.calledOff || ctx.Err() != nil {
			return r.err
		}
	}
}

func (t *Topology) pendingRefresh() *refresh {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = &refresh{done: make(chan struct{})}
	}
	return t.next
}

// perform asks legacy for everybody who waits for r, unless that has been done.
// The caller holds asking.
func (t *Topology) perform(ctx context.Context, r *refresh) {
	t.mu.Lock()
	mine := t.next == r
	if mine {
		t.next = nil
	}
	t.mu.Unlock()
	if !mine {
		<-r.done
		return
	}
	r.err = t.ask(ctx)
	r.calledOff = r.err != nil && ctx.Err() != nil
	if !r.calledOff {
		t.report(r.err)
	}
	close(r.done)
}

// report remembers and logs that legacy stopped or started answering.
func (t *Topology) report(err error) {
	t.mu.Lock()
	before := t.failing
	t.failing = err
	t.mu.Unlock()
	switch {
	case err != nil && before == nil: // which of its addresses is named changes from time to time
		t.log.Warn("legacy does not answer", "error", err)
	case err == nil && before != nil:
		t.log.Info("legacy answers again")
	}
}

// ask asks one broker after the other until one answers. The caller holds
// asking.
func (t *Topology) ask(ctx context.Context) error {
	if t.conn != nil && t.asked < refreshesPerConn {
		t.asked++
		err := t.askConn(ctx, t.conn)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	if t.conn != nil {
		t.conn.Abort()
		t.conn = nil
	}
	var last error
	for _, addr := range t.candidates() {
		conn, err := t.dial(ctx, addr)
		if err == nil {
			if err = t.askConn(ctx, conn); err == nil {
				t.conn, t.asked = conn, 0
				return nil
			}
			conn.Abort()
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		last = errors.New("no bootstrap address")
	}
	return fmt.Errorf("refresh topology: %w", last)
}

// candidates are the known brokers in any order, then the bootstrap addresses.
func (t *Topology) candidates() []string {
	var addrs []string
	seen := map[string]bool{}
	add := func(addr string) {
		if !seen[addr] {
			seen[addr] = true
			addrs = append(addrs, addr)
		}
	}
	for _, n := range t.Snapshot().Brokers { // a map: any order
		add(n.Addr)
	}
	for _, addr := range t.bootstrap {
		add(addr)
	}
	return addrs
}

func (t *Topology) dial(ctx context.Context, addr string) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return wire.Dial(ctx, addr, t.clientID)
}

// askConn asks one broker for everything and takes its answer over.
func (t *Topology) askConn(ctx context.Context, conn *wire.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics, req.AllowAutoTopicCreation = nil, false
	answer, err := conn.Request(ctx, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.MetadataResponse)
	if resp.ErrorCode != 0 {
		return fmt.Errorf("broker %s answered Metadata with error code %d", conn.Addr(), resp.ErrorCode)
	}
	if len(resp.Brokers) == 0 {
		return fmt.Errorf("broker %s knows no broker yet", conn.Addr()) // just started
	}
	return t.replace(func(old *Snapshot) (*Snapshot, error) {
		if resp.ClusterID != nil && old.ClusterID != "" && *resp.ClusterID != old.ClusterID {
			return nil, fmt.Errorf("broker %s: %w: %s, not %s", conn.Addr(), ErrForeignCluster, *resp.ClusterID, old.ClusterID)
		}
		return whole(old, resp, conn.ApiVersions()), nil
	})
}

// Learn takes in a Metadata answer of legacy that passed by, before it is
// rewritten. It may be older than what is known, so only what can't be stale is
// believed: higher leader epochs, and brokers that were not known. Anything else
// that differs makes Run ask.
func (t *Topology) Learn(resp *kmsg.MetadataResponse) {
	stale := false
	_ = t.replace(func(old *Snapshot) (*Snapshot, error) {
		var s *Snapshot
		s, stale = learnt(old, resp)
		return s, nil
	})
	if stale {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// replace swaps the snapshot for what build gives, if that is another one.
func (t *Topology) replace(build func(old *Snapshot) (*Snapshot, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.current.Load()
	s, err := build(old)
	if err != nil || s == old {
		return err
	}
	s.Sequence = old.Sequence + 1
	t.current.Store(s)
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// Changed is closed at the next change of the snapshot. Take it, read Snapshot,
// wait, and take a new one.
func (t *Topology) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Addr is a broker's address, if legacy has that broker.
func (t *Topology) Addr(node int32) (string, bool) {
	n, ok := t.Snapshot().Brokers[node]
	return n.Addr, ok
}

// TopicID is the id of a topic, if it is known.
func (t *Topology) TopicID(name string) (offsets.TopicID, bool) {
	topic, ok := t.Snapshot().Topics[name]
	if !ok {
		return offsets.TopicID{}, false
	}
	return topic.ID, true
}

// Leader is who leads a partition on legacy; ok is false when the partition is
// unknown or has no leader.
func (t *Topology) Leader(p offsets.Partition) (node, epoch int32, ok bool) {
	part, ok := t.Snapshot().Partition(p)
	if !ok || part.Leader < 0 {
		return -1, -1, false
	}
	return part.Leader, part.Epoch, true
}

// Dial opens a connection to a broker. A broker that is not known is asked for
// once.
func (t *Topology) Dial(ctx context.Context, node int32) (*wire.Conn, error) {
	addr, ok := t.Addr(node)
	if !ok {
		if err := t.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("dial broker %d: %w", node, err)
		}
		if addr, ok = t.Addr(node); !ok {
			return nil, fmt.Errorf("dial broker %d: %w", node, ErrUnknownNode)
		}
	}
	conn, err := wire.Dial(ctx, addr, t.clientID)
	if err != nil {
		return nil, fmt.Errorf("dial broker %d: %w", node, err)
	}
	return conn, nil
}
