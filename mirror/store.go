package mirror

import (
	"context"
	"time"

	"switchback/offsets"
	"switchback/storage/batch"
)

// Store is the target's side. Methods may be called from any goroutine.
type Store interface {
	// Import creates a topic with legacy's id and its partition logs, makes it
	// grow, or takes over its configs. Idempotent; durable when it returns.
	Import(ctx context.Context, t Topic) error
	// Log is a partition's log; ErrAbsent when nothing has imported it.
	Log(p offsets.Partition) (Log, error)
	// Reset forgets the content of a log that nobody leads and lets it begin anew,
	// empty, at start. The Log of before must not be used afterwards. An error
	// leaves everything as it was. A log that is led is refused.
	Reset(p offsets.Partition, start int64) error
	// Remove forgets a topic that legacy has deleted or created again under the
	// same name. It is called only when no partition of it has its home here.
	Remove(ctx context.Context, id offsets.TopicID) error
}

// A Topic is what the target takes over.
type Topic struct {
	Name       string
	ID         offsets.TopicID
	Partitions int32
	Configs    map[string]*string // effective values, as legacy describes them; nil: sensitive or none
	Internal   bool
}

// Log is the target's log of one partition. Methods may be called from any
// goroutine and don't wait for the network.
type Log interface {
	// Replicate appends whole batches of legacy at their own offsets, bytes
	// untouched, gaps allowed, and returns the new end. raw belongs to the log
	// afterwards. Batches below the end must be equal to what is there, otherwise
	// the error wraps ErrDiffers. The first batch of an empty log may begin below its
	// start. It may return before they are durable, and block for back-pressure.
	Replicate(raw []byte) (end int64, err error)
	// Bounds is a snapshot of where the log begins and ends.
	Bounds() Bounds
	// Batch is the durable batch that contains or follows offset at; false when
	// there is none (yet).
	Batch(at int64) (Batch, bool, error)
	// Entries lists at most max durable batches in order, beginning with the one
	// that contains or follows from. An error says that they are there and could not
	// be read.
	Entries(from int64, max int) ([]offsets.Entry, error)
	// Digest is the chain over all batches below at; false within a batch and above
	// what is durable.
	Digest(at int64) (offsets.Digest, bool)
	// Epochs is where each leader epoch began.
	Epochs() offsets.Epochs
	// LearnEpoch adds an epoch that has no batch yet. Older news is ignored.
	LearnEpoch(epoch int32, start int64) error
	// Lead makes a log that is already led stamp a higher epoch. It is only called
	// while Bounds().Leading.
	Lead(epoch int32) error
	// Replayed says that legacy holds everything below offset for good.
	Replayed(offset int64)
	// DeleteBefore moves the log's start up to offset, which is at most
	// Bounds().Durable, and returns the start. It never moves down.
	DeleteBefore(offset int64) (start int64, err error)
	// Subscribe makes the log do a non-blocking send on ch whenever Bounds may have
	// moved.
	Subscribe(ch chan<- struct{}) (cancel func())
}

// Bounds of a target log. Offsets are next offsets: one past the last.
type Bounds struct {
	Start    int64
	End      int64 // appended
	Durable  int64 // synced; the high watermark
	Epoch    int32 // latest leader epoch, -1 none
	Leading  bool  // open for a leader's appends
	Replayed int64 // highest offset told to Log.Replayed that survived; it may lag behind. 0: none
}

// A Batch is one durable batch of a target log.
type Batch struct {
	Header  batch.Header
	Raw     []byte    // read only, valid until Release
	At      time.Time // when it was appended
	Release func()    // may be nil
}
