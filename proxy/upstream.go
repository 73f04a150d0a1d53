package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errUpstreamLost is why a client connection ends whose broker went away.
var errUpstreamLost = errors.New("upstream lost")

// An upstream is a connection to one legacy broker on behalf of one client
// connection. Its goroutine is B, readAnswers.
type upstream struct {
	c      *conn
	node   int32
	nc     net.Conn
	reader *wire.Reader
	batch  []expect    // B's scratch: what the frames of one read answer
	dead   atomic.Bool // set under c.mu: from then on nothing is pushed

	// guarded by c.mu
	fifo   []expect // ring of what is awaited, in the order of the requests
	first  int
	count  int
	silent uint64 // Produce without acks that were written
	proven uint64 // of these, how many are known to have been handled
}

// An expect is one answer that a broker owes us. Its zero then means that the
// bytes go to the client as they are, in the given slot.
type expect struct {
	slot         uint64
	correlation  int32
	key, version int16
	silent       uint64 // Produce without acks that were written before it
	// then gets the frame (without size, B's buffer, valid during the call), or an
	// error when the upstream ended before. It runs on B and doesn't block. It
	// returns whether the frame goes on to the client in the slot, as it would
	// without then.
	then func(frame []byte, err error) (pass bool)
}

// dial opens an upstream of c to a broker and starts its B.
func (c *conn) dial(node int32, addr string) (*upstream, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.p.cfg.DialTimeout)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial broker %d: %w", node, err)
	}
	u := &upstream{c: c, node: node, nc: nc, reader: wire.NewReader(nc, c.p.cfg.MaxFrame)}
	c.mu.Lock()
	c.upstreams = append(slices.DeleteFunc(slices.Clone(c.upstreams), (*upstream).gone), u)
	c.mu.Unlock()
	if !c.wg.spawn(u.readAnswers) {
		_ = nc.Close()
		return nil, net.ErrClosed
	}
	return u, nil
}

func (u *upstream) gone() bool { return u.dead.Load() }

// push appends to the ring. c.mu is held. It has no bound of its own: slots bound
// the requests of clients, and A makes few requests of its own for each.
func (u *upstream) push(e expect) {
	if u.count == len(u.fifo) {
		grown := make([]expect, max(16, 2*len(u.fifo)))
		for i := range u.count {
			grown[i] = u.fifo[(u.first+i)%len(u.fifo)]
		}
		u.fifo, u.first = grown, 0
	}
	e.silent = u.silent
	u.fifo[(u.first+u.count)%len(u.fifo)] = e
	u.count++
}

// inject writes a request of our own, under the client's id: it is for the client
// that it is asked, so it counts for the client's quota, and whoever sorts
// connections by their client sees one. Its answer goes to then, with no slot of
// the client. sending is held and what was decided before has been flushed. When
// the upstream is dead or dies, then gets an error, from this call or from B.
func (u *upstream) inject(req kmsg.Request, then func(resp kmsg.Response, err error)) {
	key, version := req.Key(), req.GetVersion()
	u.c.injected++
	id := cmp.Or(u.c.session.clientIDNow(), u.c.p.cfg.ClientID)
	u.send(wire.AppendRequest(nil, u.c.injected, &id, req), expect{
		correlation: u.c.injected, key: key, version: version,
		then: func(frame []byte, err error) bool {
			var resp kmsg.Response
			if err == nil {
				_, resp, err = wire.DecodeResponse(key, version, frame)
			}
			then(resp, err)
			return false
		},
	})
}

// send writes one request, with its size, and notes what it expects. sending is
// held and what was decided before has been flushed.
func (u *upstream) send(request []byte, e expect) {
	u.c.mu.Lock()
	if u.dead.Load() {
		u.c.mu.Unlock()
		e.then(nil, errUpstreamLost)
		return
	}
	u.push(e)
	u.c.mu.Unlock()
	u.write(request)
}

// sendSilent writes a Produce that will not be answered (acks 0).
func (u *upstream) sendSilent(request []byte) {
	u.c.mu.Lock()
	u.silent++
	dead := u.dead.Load()
	u.c.mu.Unlock()
	if !dead {
		u.write(request)
	}
}

// write leaves an error to B, which will see that the connection has ended.
func (u *upstream) write(b []byte) {
	if _, err := u.nc.Write(b); err != nil {
		_ = u.nc.Close()
	}
}

// prove makes sure that everything written so far has been handled: handled is
// called when it has, or when the upstream is gone. With silentOnly only Produce
// without acks counts; the others have answers of their own. sending is held and
// everything flushed.
//
// A broker works on one request of a connection at a time, so the answer to a
// later request proves the handling of an earlier one that is not answered.
func (u *upstream) prove(silentOnly bool, handled func()) {
	u.c.mu.Lock()
	needed := !u.dead.Load() && (u.silent > u.proven || !silentOnly && u.produceAwaited())
	u.c.mu.Unlock()
	if !needed {
		handled()
		return
	}
	req := kmsg.NewPtrApiVersionsRequest() // version 0: any broker, at any time after authentication
	u.inject(req, func(kmsg.Response, error) { handled() })
}

// produceAwaited tells whether an answer to a Produce is owed. c.mu is held.
func (u *upstream) produceAwaited() bool {
	for i := range u.count {
		if u.fifo[(u.first+i)%len(u.fifo)].key == int16(kmsg.Produce) {
			return true
		}
	}
	return false
}

// readAnswers is B.
func (u *upstream) readAnswers() {
	var err error
	for err == nil {
		var frames []byte
		if frames, err = u.reader.Next(); err == nil {
			err = u.deliver(frames)
		}
	}
	u.end(err)
}

// deliver takes the answers of one read to where they belong.
func (u *upstream) deliver(frames []byte) error {
	n := 0
	for rest := frames; len(rest) > 0; n++ {
		_, rest, _ = wire.Split(rest)
	}
	c := u.c
	c.mu.Lock()
	if n > u.count {
		c.mu.Unlock()
		return fmt.Errorf("%w: an answer to nothing", wire.ErrMalformed)
	}
	u.batch = u.batch[:0]
	for i := range n {
		u.batch = append(u.batch, u.fifo[(u.first+i)%len(u.fifo)])
	}
	c.mu.Unlock()

	run := answers{c: c}
	for i := range u.batch {
		frame, rest, _ := wire.Split(frames)
		sized := frames[:len(frames)-len(rest)]
		frames = rest
		if err := u.answer(&u.batch[i], frame, sized, &run); err != nil {
			run.flush()
			u.answered(i + 1)
			return err
		}
	}
	run.flush()
	u.answered(n)
	return nil
}

// answers is a run of answers that follow each other in B's buffer and in slots,
// and can be written together.
type answers struct {
	c     *conn
	first uint64
	n     int
	bytes []byte
}

func (r *answers) flush() {
	if r.n > 0 {
		r.c.pass(r.first, r.n, r.bytes)
		r.n = 0
	}
}

// answer deals with one answer; sized is the frame with its size. After an error
// e counts as dealt with.
func (u *upstream) answer(e *expect, frame, sized []byte, run *answers) error {
	if got, ok := wire.PeekCorrelation(frame); !ok || got != e.correlation {
		if e.then != nil {
			e.then(nil, errUpstreamLost)
		}
		return fmt.Errorf("%w: answer %d where %d was expected", wire.ErrMalformed, got, e.correlation)
	}
	if e.then != nil {
		run.flush()
		if !e.then(frame, nil) {
			return nil
		}
	}
	out, err := u.c.rewritten(e, frame)
	if err != nil {
		return err
	}
	if out != nil {
		run.flush()
		u.c.pass(e.slot, 1, out)
		return nil
	}
	if run.n > 0 && e.slot != run.first+uint64(run.n) {
		run.flush()
	}
	if run.n == 0 {
		run.first, run.bytes = e.slot, sized
	} else {
		run.bytes = run.bytes[:len(run.bytes)+len(sized)] // they stand behind each other in B's buffer
	}
	run.n++
	return nil
}

// answered takes the first n off the ring, after they were dealt with: while one
// is in B's hands it still counts as awaited.
func (u *upstream) answered(n int) {
	c := u.c
	c.mu.Lock()
	for i := range n {
		e := &u.fifo[(u.first+i)%len(u.fifo)]
		u.proven = max(u.proven, e.silent)
		*e = expect{}
	}
	u.first, u.count = (u.first+n)%len(u.fifo), u.count-n
	if c.closed {
		c.lingering.Broadcast()
	}
	c.mu.Unlock()
	clear(u.batch)
}

// end is the end of an upstream: what it still owes is told, and the client
// connection is closed unless nothing was owed that the client could miss.
func (u *upstream) end(err error) {
	_ = u.nc.Close()
	c := u.c
	c.mu.Lock()
	u.dead.Store(true)
	lost := u.produceAwaited() || u.silent > u.proven
	owed := make([]expect, 0, u.count)
	missed := false
	for i := range u.count {
		e := u.fifo[(u.first+i)%len(u.fifo)]
		owed = append(owed, e)
		missed = missed || e.then == nil
	}
	u.fifo, u.first, u.count = nil, 0, 0
	closed := c.closed
	c.lingering.Broadcast()
	c.mu.Unlock()

	if lost {
		at := time.Now()
		c.p.facts.lostUpstream(u.node, at)
		if tell := c.p.cfg.OnLostUpstream; tell != nil {
			tell(u.node, at)
		}
	}
	for i := range owed {
		if then := owed[i].then; then != nil {
			then(nil, errUpstreamLost)
		}
	}
	switch {
	case closed:
	case errors.Is(err, wire.ErrMalformed):
		c.log.Error("upstream sends what is not Kafka", "broker", u.node, "err", err)
		c.close(err)
	case missed || lost || !c.outlives(u):
		c.log.Debug("upstream ended", "broker", u.node, "err", err)
		c.close(errUpstreamLost)
	}
}

// abort closes with a reset, so that what the broker has not read is dropped.
func (u *upstream) abort() {
	if tcp, ok := u.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = u.nc.Close()
}
