package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultTargetNode is the node id of the target where Config names none. Ids of
// brokers are small numbers everywhere we have looked.
const DefaultTargetNode int32 = 1_000_001

// A Config is what a Proxy is told once. Defaults are filled by New.
type Config struct {
	// Listen is the address of the target's node, host:port, which is the
	// bootstrap address of all clients. Port 0 takes a free one.
	Listen string
	// AdvertisedHost is the host that clients are told to connect to, for every
	// node. Default: the host of Listen.
	AdvertisedHost string
	// Ports gives every legacy node its port, and the same one for ever. Default:
	// free ports.
	Ports Ports
	// TargetNode is the id of the target's node. Default: DefaultTargetNode.
	TargetNode int32
	// Bootstrap are addresses of legacy, host:port.
	Bootstrap []string
	// ClientID is how our own connections to legacy call themselves. Default:
	// "switchback".
	ClientID string
	// CopyStopped is how long a read waits for the copy between the clusters
	// before its connection is closed. Default: 2 s.
	CopyStopped time.Duration
	// OnCopyStopped is told, from a connection's goroutine, that a read of the
	// partition has waited in vain: it should be relocated. It must not block.
	OnCopyStopped func(offsets.Partition)
	// OnLostUpstream is told that a connection to a broker of legacy ended with
	// Produce on it that was not answered. It must not block.
	OnLostUpstream func(node int32, at time.Time)
	// MaxFrame bounds a request and an answer, in bytes. Default:
	// wire.DefaultMaxFrame.
	MaxFrame int
	// DialTimeout bounds one attempt to connect to a broker. Default: 2 s.
	DialTimeout time.Duration
	// ShortPoll is how long after a relocation long polls on the target's node are
	// cut to shortPollWait, so that partitions that arrive later are not delayed
	// by a parked fetch. Default: 5 s.
	ShortPoll time.Duration
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// Ports gives ports to nodes. Port is idempotent and remembers what it gave
// across restarts; 0 asks for any free port. It may block for a moment (it
// writes), and is called from any goroutine.
type Ports interface {
	Port(node int32) (int, error)
}

type freePorts struct{}

func (freePorts) Port(int32) (int, error) { return 0, nil }

// A Caller says who sent a request.
type Caller struct {
	Connection uint64 // unique in the life of the process
	Principal  string // "User:alice"; "User:ANONYMOUS" without SASL
	Listener   string // "target" or "legacy-N", the node that the client is connected to
	ClientID   string
	ClientHost string
}

// A Reply is the target's answer. Records, for a Fetch answer, are the segments
// of each partition in message order; the message's own RecordBatches are nil
// then. Release, which may be nil, is called once the bytes were written or
// dropped. A nil Message answers nothing (acks 0).
type Reply struct {
	Message kmsg.Response
	Records [][][]byte
	Release func()
}

// A Target is the cluster that topics move to, as a function. Submit takes the
// requests of one caller in their order; what has an order (Produce) has taken
// effect in that order when Submit returns. done is called once, on any
// goroutine, also for acks 0, and doesn't block. The request and the bytes it
// points to are the target's from then on; it may change records it was given
// and must not touch them after done.
//
// Submit is called with current_leader_epoch -1: the proxy judges what a client
// was shown, the target doesn't.
type Target interface {
	Submit(c Caller, req kmsg.Request, done func(Reply))
	// Gone tells that a caller's connection has ended: what waits for its sake need
	// not wait any longer. Everything submitted is still answered, once. It doesn't
	// block, and is called once per connection.
	Gone(connection uint64)
}

// A Copy answers what the proxy must know of the copy that runs between the
// clusters, in whichever direction, to keep reads honest on the side that is not
// a partition's home. Methods are called from any goroutine.
type Copy interface {
	// Confirmed is the offset below which the side that is not home holds
	// everything, and would serve it (its high watermark has passed it). known is
	// false after an error, leader or epoch change until that side's end has been
	// read again. It doesn't block.
	Confirmed(p offsets.Partition) (offset int64, known bool)
	// Await returns nil once Confirmed is known and at least offset; else when ctx
	// ends or the copy has stopped, with an error.
	Await(ctx context.Context, p offsets.Partition, offset int64) error
	// HomeEnd is the home's high watermark of this moment. It may ask a broker.
	HomeEnd(ctx context.Context, p offsets.Partition) (int64, error)
	// Pace returns nil when Produce of p may be appended to the target now, else a
	// channel that is closed when it may: replay is behind, and goes faster with
	// larger batches, which clients send when they have to wait. The channel is
	// closed within a bounded time whatever happens. It doesn't block.
	Pace(p offsets.Partition) <-chan struct{}
	// Epochs is the epoch list of the home's log and its end. differ tells that
	// the other side's list is not equal. It doesn't block.
	Epochs(p offsets.Partition) (epochs offsets.Epochs, logEnd int64, differ bool)
}

// A Route says where a partition is written and what clients are shown.
type Route struct {
	Home  offsets.Side
	Epoch int64 // of the route record; a lower one than known is ignored by Apply
	Shown offsets.Shown
	// Topic is the topic's name, for a start at which legacy doesn't list the topic.
	// Where legacy does, legacy's counts.
	Topic string
}

// Why a connection ends.
var (
	// errRefused is wrapped when a request asks for what no client may.
	errRefused = errors.New("request refused")
	// errCopyStopped: a read waited in vain for the copy between the clusters.
	errCopyStopped = errors.New("the copy between the clusters does not move")
	// errAbandoned: nobody knows whether the flip that held a Produce has happened.
	errAbandoned = errors.New("outcome of a flip unknown")
)

// ErrUnknownTopic is wrapped when a partition's topic is not on legacy.
var ErrUnknownTopic = errors.New("topic unknown to legacy")

// A Proxy is the wire: all listeners, connections and routes. See the package
// comment.
type Proxy struct {
	cfg    Config
	log    *slog.Logger
	target Target
	copies Copy
	topo   *Topology

	life  context.Context // ends when Run does
	end   context.CancelFunc
	wg    group
	ready chan struct{}

	routes   routeTable
	nodes    nodeTable
	conns    connTable
	auth     authorizer
	facts    facts
	nextConn atomic.Uint64
	pollsCut atomic.Int64 // until when long polls on the target are short, unix ns

}

// New makes a Proxy. It starts no goroutine, opens no socket and connects to
// nothing before Run.
func New(cfg Config, target Target, copies Copy) (*Proxy, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("parse listen address: %w", err)
	}
	if len(cfg.Bootstrap) == 0 {
		return nil, errors.New("configure proxy: no bootstrap address of legacy")
	}
	if target == nil {
		return nil, errors.New("configure proxy: no target")
	}
	if cfg.AdvertisedHost == "" {
		cfg.AdvertisedHost = host
	}
	if cfg.Ports == nil {
		cfg.Ports = freePorts{}
	}
	if cfg.TargetNode == 0 {
		cfg.TargetNode = DefaultTargetNode
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "switchback"
	}
	if cfg.CopyStopped == 0 {
		cfg.CopyStopped = 2 * time.Second
	}
	if cfg.MaxFrame == 0 {
		cfg.MaxFrame = wire.DefaultMaxFrame
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 2 * time.Second
	}
	if cfg.ShortPoll == 0 {
		cfg.ShortPoll = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Proxy{cfg: cfg, log: cfg.Logger, target: target, copies: copies, ready: make(chan struct{})}
	p.life, p.end = context.WithCancel(context.Background())
	p.topo = NewTopology(cfg.Bootstrap, cfg.ClientID, cfg.Logger)
	return p, nil
}

// Topology is legacy as the proxy sees it; it is refreshed while Run runs.
func (p *Proxy) Topology() *Topology { return p.topo }
