package wire

import (
	"context"
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrClosed is wrapped by requests on a connection that was closed here or died.
var ErrClosed = errors.New("connection closed")

// ErrVersion is wrapped when the broker doesn't speak the version asked for.
var ErrVersion = errors.New("version not supported by broker")

// A Conn is a client connection to one broker for requests of our own. Requests
// may be made from several goroutines; they go out, and are answered by the
// broker, in the order in which Request was called. A context that ends stops
// the wait, not the request: its outcome is unknown then, and its late answer is
// dropped.
type Conn struct {
	nc net.Conn
}

// Dial connects to addr and negotiates versions by ApiVersions.
func Dial(ctx context.Context, addr, clientID string) (*Conn, error) { return nil, ErrClosed }

// Request sends req and waits for its answer. The version is the highest that
// kmsg and the broker speak, and at most req.GetVersion() when that is not 0; req
// is set to it. A Produce with acks 0 returns nil, nil when it is written.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return nil, ErrClosed
}

// MaxVersion is the highest version of an API that the broker and kmsg speak; -1
// when there is none.
func (c *Conn) MaxVersion(key int16) int16 { return -1 }

// ApiVersions is what the broker answered when the connection was made.
func (c *Conn) ApiVersions() *kmsg.ApiVersionsResponse { return nil }

// Done is closed when the connection can not be used any more.
func (c *Conn) Done() <-chan struct{} { return nil }

// Addr is the broker's address as dialled.
func (c *Conn) Addr() string { return "" }

// Close closes the connection, fails what waits and waits for the reader.
func (c *Conn) Close() error { return nil }

// Abort closes with a reset (SO_LINGER 0), so that what the broker has not read
// yet is dropped there, as far as TCP can say so.
func (c *Conn) Abort() { _ = c.Close() }
