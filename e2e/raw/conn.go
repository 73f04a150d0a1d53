package raw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds the answers that a connection accepts.
const maxFrame = 256 << 20

// patience bounds a request whose context has no deadline.
const patience = 30 * time.Second

// Conn is one connection.
type Conn struct {
	conn        net.Conn
	format      *kmsg.RequestFormatter
	correlation int32
	versions    map[int16]Range
}

// Range is what a server offers of one API, both ends included.
type Range struct{ Min, Max int16 }

// Dial connects and asks which versions the server offers.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c := &Conn{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("e2e"))}
	req := kmsg.NewPtrApiVersionsRequest()
	resp, _, err := c.Exchange(ctx, req, 0)
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer := resp.(*kmsg.ApiVersionsResponse)
	c.versions = make(map[int16]Range, len(answer.ApiKeys))
	for _, key := range answer.ApiKeys {
		c.versions[key.ApiKey] = Range{key.MinVersion, key.MaxVersion}
	}
	return c, nil
}

// Versions is what the server offers, by API key.
func (c *Conn) Versions() map[int16]Range { return c.versions }

// Request sends a request in the highest version that both sides know, and waits for its answer.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	offered, ok := c.versions[req.Key()]
	if !ok {
		return nil, fmt.Errorf("request %s: not offered by %s", kmsg.NameForKey(req.Key()), c.conn.RemoteAddr())
	}
	resp, _, err := c.Exchange(ctx, req, min(offered.Max, req.MaxVersion()))
	return resp, err
}

// Exchange sends a request in the given version and returns its answer decoded and as it came, without the size and from the
// correlation id on.
func (c *Conn) Exchange(ctx context.Context, req kmsg.Request, version int16) (kmsg.Response, []byte, error) {
	if err := c.Send(ctx, req, version); err != nil {
		return nil, nil, err
	}
	frame, err := c.receive()
	if err != nil {
		return nil, nil, fmt.Errorf("request %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	resp, err := decode(req, version, frame)
	if err != nil {
		return nil, frame, fmt.Errorf("decode answer to %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return resp, frame, nil
}

// Send sends a request and waits for nothing: what acks=0 does, and what a client does whose answer is to be lost.
func (c *Conn) Send(ctx context.Context, req kmsg.Request, version int16) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("send %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	req.SetVersion(version)
	c.correlation++
	if _, err := c.conn.Write(c.format.AppendRequest(nil, req, c.correlation)); err != nil {
		return fmt.Errorf("send %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return nil
}

// Addr is the address of the server.
func (c *Conn) Addr() string { return c.conn.RemoteAddr().String() }

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) receive() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > maxFrame {
		return nil, fmt.Errorf("read answer: a frame of %d bytes", n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(c.conn, frame); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if got := int32(binary.BigEndian.Uint32(frame)); got != c.correlation {
		return nil, fmt.Errorf("read answer: correlation id %d, want %d", got, c.correlation)
	}
	return frame, nil
}

func decode(req kmsg.Request, version int16, frame []byte) (kmsg.Response, error) {
	resp := req.ResponseKind()
	resp.SetVersion(version)
	body := frame[4:]
	if resp.IsFlexible() && req.Key() != 18 { // ApiVersions answers with the old header in every version: KIP-511
		if len(body) == 0 {
			return nil, errors.New("no header tags")
		}
		if body[0] != 0 {
			return nil, fmt.Errorf("%d header tags, none expected", body[0])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	return resp, nil
}
