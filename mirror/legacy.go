package mirror

import (
	"context"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Legacy is the existing cluster as the mirror needs it. All methods may be
// called from any goroutine.
type Legacy interface {
	// Topics is what legacy's metadata said last, without asking. The result is
	// not changed by either side. Empty before the first answer.
	Topics() []LegacyTopic
	// Changed is closed when Topics would answer something else; the next change
	// closes the channel of a later call.
	Changed() <-chan struct{}
	// Refresh asks legacy now and returns when Topics shows the answer.
	Refresh(ctx context.Context) error
	// Dial opens a connection to a broker. It returns only connections that
	// negotiated their versions. An error is transient.
	Dial(ctx context.Context, node int32) (Conn, error)
}

// Conn is a connection to one legacy broker for requests of our own.
type Conn interface {
	// Request sends req in the highest version that both sides speak and waits for
	// its answer. Requests of several goroutines go out, and are answered, in the
	// order of the calls. Nothing of req is used after it has returned. After an
	// error the outcome is unknown; the mirror then aborts the connection and never
	// uses it again.
	Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	// Close ends the connection and waits for what belongs to it.
	Close() error
	// Abort ends it with a reset, so that what the broker has not read yet is
	// dropped there, as far as TCP can say so. It may be called more than once.
	Abort()
}

// A LegacyTopic is a topic in legacy's metadata.
type LegacyTopic struct {
	Name       string
	ID         offsets.TopicID
	Internal   bool
	Partitions []LegacyPartition // by index
}

// A LegacyPartition says who leads a partition.
type LegacyPartition struct {
	Leader int32 // -1: none
	Epoch  int32 // leader epoch, -1: unknown
}
