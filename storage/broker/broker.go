package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/catalog"
)

// ErrUnknownTopic is returned for a topic or a partition that was never imported.
var ErrUnknownTopic = errors.New("topic or partition is not known")

// A Config says who this broker is. The zero value of a field means its default.
type Config struct {
	NodeID    int32  // the target node's id, as Metadata shows it
	ClusterID string // legacy's cluster id: it is the target's, too
	Dir       string // data folder: the log dir that DescribeLogDirs names

	// FetchMaxBytes caps what one Fetch answers, as fetch.max.bytes of a broker
	// does. Default 55 MiB, Kafka's.
	FetchMaxBytes int32
	// MaxWaiting bounds how many fetches wait at the same time; one more is
	// answered at once with what there is. Default 16384.
	MaxWaiting int

	Logger *slog.Logger // default: discards
}

func (c Config) withDefaults() Config {
	c.FetchMaxBytes = cmp.Or(c.FetchMaxBytes, 55<<20)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 16384)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Caller is who sent a request.
type Caller struct {
	Connection uint64 // unique while the process lives; see Forget
	Principal  string
	Listener   string
	ClientID   string
	ClientHost string
}

// A Reply is the answer to one request.
type Reply struct {
	// Message has its Version set. Nil: the broker does not serve that key or
	// version; the connection is to be closed, as a Kafka broker does.
	Message kmsg.Response
	// Records belongs to a FetchResponse: Records[i] are the record bytes of its
	// i-th partition, counted through all topics in message order, in segments
	// that follow each other. RecordBatches stay nil. They are read-only.
	Records [][][]byte
	// Release frees Records. It is to be called once after the bytes were written,
	// and is nil where there is nothing to free.
	Release func()
}

// A Broker answers Kafka requests from an engine. All methods are safe for
// concurrent use.
type Broker struct {
	cfg    Config
	engine *storage.Engine
	cat    catalog.Catalog
	log    *slog.Logger
	topics table
	polls  polls
}

// New reads the catalog, finishes what a crash left half done, and opens and
// configures the logs of every topic. Nobody leads after it: see Lead.
func New(engine *storage.Engine, cat catalog.Catalog, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	b := &Broker{cfg: cfg, engine: engine, cat: cat, log: cfg.Logger}
	b.polls.init(cfg.MaxWaiting)
	if err := b.load(context.Background()); err != nil {
		return nil, fmt.Errorf("load topics: %w", err)
	}
	return b, nil
}

// Close ends the waiting fetches, which are answered with what there is, and
// returns when every goroutine of the broker has ended or ctx has. Fetches that
// come later do not wait. It closes neither engine nor catalog.
func (b *Broker) Close(ctx context.Context) error {
	return b.polls.close(ctx)
}

// Forget ends the waiting fetches of a connection that is gone. They are still
// answered, once.
func (b *Broker) Forget(connection uint64) { b.polls.forget(connection) }

// Lead opens the leader's way into a partition: Produce is appended from now on,
// stamped with epoch. It may be called again, with the same or a higher epoch.
func (b *Broker) Lead(p offsets.Partition, epoch int32) error {
	l, ok := b.topics.partition(p)
	if !ok {
		return fmt.Errorf("lead %s: %w", p, ErrUnknownTopic)
	}
	if err := l.Lead(epoch); err != nil {
		return fmt.Errorf("lead %s: %w", p, err)
	}
	return nil
}

// Follow closes the leader's way in and returns the log's end of that instant:
// no Produce is appended at or above it until the next Lead.
func (b *Broker) Follow(p offsets.Partition) (end int64, err error) {
	l, ok := b.topics.partition(p)
	if !ok {
		return 0, fmt.Errorf("follow %s: %w", p, ErrUnknownTopic)
	}
	return l.Follow(), nil
}

// Bounds are the offsets of a partition at this moment, for Metadata and
// DescribeTopicPartitions.
func (b *Broker) Bounds(p offsets.Partition) (storage.Bounds, bool) {
	l, ok := b.topics.partition(p)
	if !ok {
		return storage.Bounds{}, false
	}
	return l.Bounds(), true
}

// A versions is the range of versions of one API that the broker serves.
type versions struct{ min, max int16 }

// served lists every API the broker gives a meaning to. The lower ends are
// those of Kafka 4.2; the file of an API says what its versions changed.
var served = map[int16]versions{
	0:  {3, 13}, // Produce
	1:  {4, 18}, // Fetch
	2:  {1, 11}, // ListOffsets
	21: {0, 2},  // DeleteRecords
	23: {2, 4},  // OffsetForLeaderEpoch
	32: {1, 4},  // DescribeConfigs, of this node
	35: {1, 5},  // DescribeLogDirs
}

// Serves says which versions of an API the broker answers.
func Serves(key int16) (min, max int16, ok bool) {
	v, ok := served[key]
	return v.min, v.max, ok
}

// Submit takes one request. It appends before it returns, waits for nothing but
// room in the WAL's queue (that is the back-pressure), and calls done exactly
// once; see the package comment for where. A request and the buffer that it was
// decoded from belong to the broker until then.
func (b *Broker) Submit(c Caller, req kmsg.Request, done func(Reply)) {
	if v, ok := served[req.Key()]; !ok || req.GetVersion() < v.min || req.GetVersion() > v.max {
		done(Reply{})
		return
	}
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		b.produce(c, req, done)
	case *kmsg.FetchRequest:
		b.fetch(c, req, done)
	case *kmsg.ListOffsetsRequest:
		b.listOffsets(c, req, done)
	case *kmsg.DeleteRecordsRequest:
		b.deleteRecords(c, req, done)
	case *kmsg.OffsetForLeaderEpochRequest:
		b.offsetForLeaderEpoch(req, done)
	case *kmsg.DescribeConfigsRequest:
		b.describeConfigs(req, done)
	case *kmsg.DescribeLogDirsRequest:
		b.describeLogDirs(req, done)
	default:
		done(Reply{})
	}
}
