package mirror

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker is a legacy broker that leads something: its reader, its writer, and
// the twins that they serve.
type broker struct {
	m    *Mirror
	node int32

	twins      atomic.Pointer[[]*twin] // led here, by topic name and index; never changed in place
	wakeReader chan struct{}           // capacity 1
	wakeWriter chan struct{}           // capacity 1

	down atomic.Bool // unreachable was said

	// A reader's long poll is cut short when the twins change. generation rises with
	// every change, so that a poll that begins meanwhile is cut short as well.
	generation atomic.Uint64
	mu         sync.Mutex
	cut        context.CancelFunc // guarded by mu
}

func newBroker(m *Mirror, node int32) *broker {
	b := &broker{m: m, node: node, wakeReader: make(chan struct{}, 1), wakeWriter: make(chan struct{}, 1)}
	b.twins.Store(new([]*twin))
	return b
}

// serve replaces the twins.
func (b *broker) serve(twins []*twin) {
	b.twins.Store(&twins)
	b.generation.Add(1)
	b.mu.Lock()
	if b.cut != nil {
		b.cut()
	}
	b.mu.Unlock()
	poke(b.wakeReader)
	poke(b.wakeWriter)
}

// polling registers how to cut a poll short; false when it should not begin.
func (b *broker) polling(generation uint64, cut context.CancelFunc) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = cut
	return b.generation.Load() == generation
}

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// A line is one connection that is made when it is needed and made again, with a
// growing pause, when it was lost. One goroutine owns it.
type line struct {
	b     *broker
	conn  Conn
	tries int
	retry time.Time
}

// dialTimeout bounds a dial, requestTimeout an answer that legacy does not hold
// back on purpose.
const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 5 * time.Second
)

// open returns the connection, made now if need be; nil when it is not time to
// try again, or the try failed.
func (l *line) open(ctx context.Context) Conn {
	if l.conn != nil {
		return l.conn
	}
	if time.Now().Before(l.retry) {
		return nil
	}
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := l.b.m.legacy.Dial(dctx, l.b.node)
	if err != nil {
		l.failed(ctx, fmt.Errorf("dial: %w", err))
		return nil
	}
	l.conn, l.tries = conn, 0
	return conn
}

// failed drops the connection: nothing that was sent on it may be handled any
// more, as far as a reset can see to that.
func (l *line) failed(ctx context.Context, err error) {
	if l.conn != nil {
		l.conn.Abort()
		l.conn = nil
	}
	l.retry = time.Now().Add(min(5*time.Millisecond<<min(l.tries, 16), time.Second))
	l.tries++
	if ctx.Err() == nil {
		l.b.unreachable(err)
		l.b.m.wantRefresh()
	}
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// unreachable notes on every twin of the broker that it does not answer.
func (b *broker) unreachable(err error) {
	b.down.Store(true)
	now := time.Now()
	for _, t := range *b.twins.Load() {
		t.mu.Lock()
		if t.leader == b.node && t.stop == nil {
			t.away = fmt.Sprintf("legacy broker %d: %v", b.node, err)
			if t.awaySince.IsZero() {
				t.awaySince = now
			}
		}
		t.mu.Unlock()
	}
}

// reachable takes it back.
func (b *broker) reachable() {
	if !b.down.Swap(false) {
		return
	}
	for _, t := range *b.twins.Load() {
		t.mu.Lock()
		if t.leader == b.node {
			t.away, t.awaySince = "", time.Time{}
		}
		t.mu.Unlock()
	}
}

// wait returns at a poke, at next unless that is zero, or when ctx ends.
func wait(ctx context.Context, wake <-chan struct{}, next time.Time) {
	var timer <-chan time.Time
	if !next.IsZero() {
		d := time.Until(next)
		if d <= 0 {
			return
		}
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer:
	}
}

// earlier is the earlier of two times, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// request is Conn.Request with a bound, and an answer of the kind that belongs to it.
func request[R kmsg.Response](ctx context.Context, conn Conn, req kmsg.Request) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return send[R](ctx, conn, req)
}

func send[R kmsg.Response](ctx context.Context, conn Conn, req kmsg.Request) (R, error) {
	var none R
	name := kmsg.NameForKey(req.Key())
	resp, err := conn.Request(ctx, req)
	if err != nil {
		return none, fmt.Errorf("request %s: %w", name, err)
	}
	r, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("request %s: answer is a %T", name, resp)
	}
	return r, nil
}
