package proxy

import (
	"context"
	"log/slog"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topology follows legacy: its brokers, controller, topics and leaders. It has
// one goroutine, Run's caller. Reads are snapshots and never block.
type Topology struct{}

// Snapshot is legacy as one Metadata answer showed it. It is never changed.
type Snapshot struct {
	ClusterID   string
	Controller  int32 // -1: unknown
	Brokers     map[int32]Node
	Topics      map[string]*LegacyTopic // by name, without those that had an error
	TopicsByID  map[offsets.TopicID]*LegacyTopic
	ApiVersions *kmsg.ApiVersionsResponse // of the broker asked last; version 3 or later where it has it
	Sequence    uint64                    // rises with every change
}

// Node is a broker and its real address, which no client is ever told.
type Node struct {
	ID   int32
	Addr string // host:port
	Rack *string
}

// LegacyTopic is a topic as legacy's Metadata shows it.
type LegacyTopic struct {
	Name       string
	ID         offsets.TopicID
	Internal   bool
	Partitions []LegacyPartition // by index
}

// LegacyPartition is a partition as legacy's Metadata shows it.
type LegacyPartition struct {
	Index     int32
	ErrorCode int16
	Leader    int32 // -1: none
	Epoch     int32 // -1: unknown
	Replicas  []int32
	ISR       []int32
	Offline   []int32
}

// NewTopology follows the cluster behind the bootstrap addresses. It starts no
// goroutine and connects to nothing before Run or Refresh.
func NewTopology(bootstrap []string, clientID string, log *slog.Logger) *Topology { return &Topology{} }

// Run refreshes about once a second until ctx ends.
func (t *Topology) Run(ctx context.Context) error { return nil }

// Snapshot is what is known now; never nil, empty before the first refresh.
func (t *Topology) Snapshot() *Snapshot { return &Snapshot{} }

// Refresh asks legacy now. Calls at the same time share one request, but one
// that began before the call doesn't count.
func (t *Topology) Refresh(ctx context.Context) error { return nil }

// Changed is closed at the next change of the snapshot. Take it, read Snapshot,
// wait, and take a new one.
func (t *Topology) Changed() <-chan struct{} { return nil }

// Learn takes in a Metadata answer of legacy that passed by.
func (t *Topology) Learn(resp *kmsg.MetadataResponse) {}

// Addr is a broker's address, if it is known.
func (t *Topology) Addr(node int32) (string, bool) { return "", false }

// TopicID is the id of a topic, if it is known.
func (t *Topology) TopicID(name string) (offsets.TopicID, bool) { return offsets.TopicID{}, false }

// Leader is who leads a partition.
func (t *Topology) Leader(p offsets.Partition) (node, epoch int32, ok bool) { return -1, -1, false }

// Dial opens a connection to a broker.
func (t *Topology) Dial(ctx context.Context, node int32) (*wire.Conn, error) { return nil, nil }
