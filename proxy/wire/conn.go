package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrClosed is wrapped by requests on a connection that was closed here or died.
// A request that was under way then has an unknown outcome.
var ErrClosed = errors.New("connection closed")

// ErrVersion is wrapped when the broker doesn't speak the version asked for.
var ErrVersion = errors.New("version not supported by broker")

// A Conn is a client connection to one broker for requests of our own. Requests
// may be made from several goroutines; they go out, and are answered by the
// broker, in the order in which they were written. A context that ends stops the
// wait, not the request: its outcome is unknown then, and its late answer is
// dropped.
type Conn struct {
	nc       net.Conn
	addr     string
	clientID string
	api      *kmsg.ApiVersionsResponse
	lowest   [kmsg.MaxKey + 1]int16
	highest  [kmsg.MaxKey + 1]int16 // -1: the broker doesn't have it

	writing chan struct{} // held while a request is written
	out     []byte        // guarded by writing
	next    int32         // guarded by writing: the next correlation id

	mu      sync.Mutex
	pending []*waiter // guarded by mu; in the order of the answers
	dead    error     // guarded by mu; set once

	done   chan struct{} // closed with dead
	reader chan struct{} // closed when the reader has ended
}

// A waiter is a request whose answer has not come.
type waiter struct {
	key, version int16
	correlation  int32
	answer       chan answer // room for one: the reader never waits
}

type answer struct {
	resp kmsg.Response
	err  error
}

// Dial connects to addr and negotiates versions by ApiVersions. ctx bounds both.
func Dial(ctx context.Context, addr, clientID string) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial broker: %w", err)
	}
	return Handshake(ctx, nc, clientID)
}

// Handshake negotiates versions on a connection that stands already, and takes
// it over: it is closed when that fails.
func Handshake(ctx context.Context, nc net.Conn, clientID string) (*Conn, error) {
	c := &Conn{
		nc: nc, addr: nc.RemoteAddr().String(), clientID: clientID,
		writing: make(chan struct{}, 1), done: make(chan struct{}), reader: make(chan struct{}),
	}
	go c.read()
	if err := c.negotiate(ctx); err != nil {
		c.Abort()
		return nil, fmt.Errorf("negotiate versions with %s: %w", c.addr, err)
	}
	return c, nil
}

// apiVersionsAsked is the ApiVersions version we ask first: 4 shows features
// whose lowest version is 0 (KIP-1022), 5 would name a node (KIP-1242).
const apiVersionsAsked = 4

func (c *Conn) negotiate(ctx context.Context) error {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "switchback", "1"
	req.Version = apiVersionsAsked
	resp, err := c.ask(ctx, req)
	if err != nil {
		return err
	}
	c.api = resp.(*kmsg.ApiVersionsResponse)
	if c.api.ErrorCode == codeUnsupportedVersion {
		req.Version = 0
		for _, k := range c.api.ApiKeys {
			if k.ApiKey == req.Key() {
				req.Version = min(k.MaxVersion, apiVersionsAsked)
			}
		}
		if resp, err = c.ask(ctx, req); err != nil {
			return err
		}
		c.api = resp.(*kmsg.ApiVersionsResponse)
	}
	if c.api.ErrorCode != 0 {
		return fmt.Errorf("broker answered error code %d", c.api.ErrorCode)
	}
	for key := range c.highest {
		c.highest[key] = -1
	}
	for _, k := range c.api.ApiKeys {
		if k.ApiKey >= 0 && int(k.ApiKey) < len(c.highest) {
			c.lowest[k.ApiKey], c.highest[k.ApiKey] = k.MinVersion, k.MaxVersion
		}
	}
	return nil
}

// MaxVersion is the highest version of an API that the broker and kmsg speak; -1
// when there is none.
func (c *Conn) MaxVersion(key int16) int16 {
	if key < 0 || int(key) >= len(c.highest) || c.highest[key] < 0 {
		return -1
	}
	v := min(kmsg.RequestForKey(key).MaxVersion(), c.highest[key])
	if v < c.lowest[key] {
		return -1
	}
	return v
}

// ApiVersions is what the broker answered when the connection was made. It is
// not to be changed.
func (c *Conn) ApiVersions() *kmsg.ApiVersionsResponse { return c.api }

// Done is closed when the connection can not be used any more.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Addr is the broker's address.
func (c *Conn) Addr() string { return c.addr }

// Request sends req and waits for its answer. The version is the highest that
// kmsg and the broker speak, and at most req.GetVersion() when that is not 0; req
// is set to it. Error codes inside the answer are the caller's to read. A Produce
// with acks 0 returns nil, nil when it is written.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	version := c.MaxVersion(req.Key())
	if wanted := req.GetVersion(); wanted > 0 && wanted < version {
		version = wanted
	}
	if version < 0 || version < c.lowest[req.Key()] {
		return nil, fmt.Errorf("request %s of %s: %w", kmsg.NameForKey(req.Key()), c.addr, ErrVersion)
	}
	req.SetVersion(version)
	return c.ask(ctx, req)
}

// ask sends req in the version it has.
func (c *Conn) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	w := &waiter{key: req.Key(), version: req.GetVersion(), answer: make(chan answer, 1)}
	if produce, ok := req.(*kmsg.ProduceRequest); ok && produce.Acks == 0 {
		w = nil
	}
	if err := c.send(ctx, req, w); err != nil {
		return nil, c.wrap(req, err)
	}
	if w == nil {
		return nil, nil
	}
	select {
	case a := <-w.answer:
		if a.err != nil {
			return nil, c.wrap(req, a.err)
		}
		return a.resp, nil
	case <-ctx.Done():
		return nil, c.wrap(req, ctx.Err())
	}
}

func (c *Conn) wrap(req kmsg.Request, err error) error {
	return fmt.Errorf("request %s of %s: %w", kmsg.NameForKey(req.Key()), c.addr, err)
}

// send writes one request. A request that was written in part ends the
// connection.
func (c *Conn) send(ctx context.Context, req kmsg.Request, w *waiter) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.cause()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	correlation := c.next
	c.next = (c.next + 1) & 0x7fffffff
	if w != nil {
		w.correlation = correlation
		if err := c.expect(w); err != nil {
			return err
		}
	}
	c.out = AppendRequest(c.out[:0], correlation, &c.clientID, req)
	defer func() {
		if cap(c.out) > growStep {
			c.out = nil
		}
	}()
	if err := c.write(ctx); err != nil {
		c.fail(fmt.Errorf("%w: write: %w", ErrClosed, err))
		return c.cause()
	}
	return nil
}

// write writes out, and gives up when ctx ends.
func (c *Conn) write(ctx context.Context) error {
	if err := c.nc.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
		close(fired)
	})
	_, err := c.nc.Write(c.out)
	if !stop() {
		<-fired // or it would hit the next request
	}
	return err
}

// expect queues a waiter. Requests are queued in the order in which they are
// written, because the caller holds writing.
func (c *Conn) expect(w *waiter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	c.pending = append(c.pending, w)
	return nil
}

// read delivers answers until the connection ends.
func (c *Conn) read() {
	defer close(c.reader)
	in := bufio.NewReaderSize(c.nc, 16<<10)
	for {
		frame, err := readFrame(in)
		if err == nil {
			err = c.deliver(frame)
		}
		if err != nil {
			c.fail(fmt.Errorf("%w: read: %w", ErrClosed, err))
			return
		}
	}
}

// readFrame reads a frame into memory of its own, because answers alias it.
func readFrame(in *bufio.Reader) ([]byte, error) {
	var head [sizeBytes]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 4 || size > maxAnswer {
		return nil, fmt.Errorf("%w: answer of %d bytes", ErrMalformed, size)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	return frame, nil
}

// maxAnswer bounds an answer: what we ask for is bounded by ourselves, and a
// Fetch may exceed its limit by one batch.
const maxAnswer = 512 << 20

func (c *Conn) deliver(frame []byte) error {
	correlation, _ := PeekCorrelation(frame)
	c.mu.Lock()
	if len(c.pending) == 0 || c.pending[0].correlation != correlation {
		c.mu.Unlock()
		return fmt.Errorf("%w: answer with correlation id %d that nobody waits for", ErrMalformed, correlation)
	}
	w := c.pending[0]
	c.pending[0] = nil
	if c.pending = c.pending[1:]; len(c.pending) == 0 {
		c.pending = nil
	}
	c.mu.Unlock()
	_, resp, err := DecodeResponse(w.key, w.version, frame)
	w.answer <- answer{resp, err}
	return err
}

// fail ends the connection once, with the first cause, and everything that waits.
func (c *Conn) fail(cause error) {
	c.mu.Lock()
	if c.dead != nil {
		c.mu.Unlock()
		return
	}
	c.dead = cause
	waiting := c.pending
	c.pending = nil
	c.mu.Unlock()
	_ = c.nc.Close()
	close(c.done)
	for _, w := range waiting {
		w.answer <- answer{err: cause}
	}
}

func (c *Conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// Close closes the connection, fails what waits and waits for the reader.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	<-c.reader
	return nil
}

// Abort closes with a reset (SO_LINGER 0), so that what the broker has not read
// yet is dropped there, as far as TCP can say so.
func (c *Conn) Abort() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
