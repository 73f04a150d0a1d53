package storage

import (
	"errors"
	"log/slog"
	"time"

	"switchback/offsets"
	"switchback/storage/batch"
)

var errSkeleton = errors.New("not built yet")

// A Config says where an engine lives. Dir is required; the rest has defaults.
type Config struct {
	Dir          string           // the data folder; created when absent
	ClusterID    string           // of legacy; a folder keeps the one it was created with
	SegmentBytes int64            // of a WAL segment; default 64 MiB
	Now          func() time.Time // default time.Now
	Logger       *slog.Logger     // default slog.Default()
}

// An Engine is the logs of all partitions of a node, over one WAL.
type Engine struct{}

// A Log is one partition.
type Log struct{}

func Open(cfg Config) (*Engine, error)                                  { return nil, errSkeleton }
func (e *Engine) Close() error                                          { return nil }
func (e *Engine) Dead() <-chan struct{}                                 { return nil }
func (e *Engine) Err() error                                            { return nil }
func (e *Engine) Create(p offsets.Partition, start int64) (*Log, error) { return nil, errSkeleton }
func (e *Engine) Log(p offsets.Partition) (*Log, bool)                  { return nil, false }
func (e *Engine) DeleteTopic(id offsets.TopicID) error                  { return errSkeleton }
func (e *Engine) Reset(p offsets.Partition, start int64) error          { return errSkeleton }

// A Meta travels with a batch in the WAL until the batch was replayed. The log
// does not read it.
type Meta struct {
	TransactionalID string
	ProduceVersion  int16
	Principal       string
}

// Rules are what the topic's configuration on legacy makes a broker refuse.
type Rules struct {
	MaxMessageBytes      int32 // max.message.bytes; 0: Kafka's default of 1 MiB + 12
	LogAppendTime        bool  // message.timestamp.type
	Compacted            bool  // cleanup.policy names compact
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms; 0: no limit
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms; 0: Kafka's default of 1 h
}

// Appended is the answer to Append.
type Appended struct {
	Base, Last   int64 // offsets
	LogStart     int64
	AppendTime   int64 // ms since 1970; -1 on a topic with CreateTime, unless Duplicate
	Duplicate    bool  // Base and Last are the original's
	Err          error // one of the sentinels
	RecordErrors []RecordError
	Message      string // for the client; why Err
}

// A RecordError names one record of a refused batch.
type RecordError struct {
	Index   int32
	Message string
}

// Bounds of a log at one instant.
type Bounds struct {
	Start        int64 // first offset that can be read
	End          int64 // next offset
	Durable      int64 // everything below it survives a crash: the high watermark
	Stable       int64 // everything below it belongs to no open transaction
	Epoch        int32 // last of the epoch list, -1 none
	Leading      bool
	MaxTimestamp int64 // ms since 1970, -1 none
	Replayed     int64 // as Replayed was told last
}

// A Chunk is what Read found. Its bytes are valid until Release.
type Chunk struct {
	Segments [][]byte // whole batches, in order
	Next     int64    // offset behind the last batch, or where the read began
	Bounds   Bounds
	Aborted  []AbortedTxn
}

func (c *Chunk) Release() {}

// An AbortedTxn is a transaction whose records a read_committed reader drops.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
}

// A Batch is one durable batch with what was kept about it.
type Batch struct {
	Header batch.Header
	Raw    []byte // valid until Release
	Meta   Meta
	At     time.Time // when it was appended
}

func (b *Batch) Release() {}

// A ProducerState is what a log knows of a producer id.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1 none
	LastTimestamp    int64 // ms since 1970
	CoordinatorEpoch int32
	TxnStart         int64 // first offset of the open transaction, -1 none
}

func (l *Log) Partition() offsets.Partition                   { return offsets.Partition{} }
func (l *Log) Configure(r Rules)                              {}
func (l *Log) Lead(epoch int32) error                         { return errSkeleton }
func (l *Log) Follow() int64                                  { return 0 }
func (l *Log) Append(raw []byte, m Meta, done func(Appended)) { done(Appended{Err: errSkeleton}) }
func (l *Log) Replicate(raw []byte) (end int64, err error)    { return 0, errSkeleton }
func (l *Log) Bounds() Bounds                                 { return Bounds{} }
func (l *Log) Read(from int64, maxBytes int, minOne, committed bool) (*Chunk, error) {
	return nil, errSkeleton
}
func (l *Log) Batch(at int64) (Batch, bool, error)          { return Batch{}, false, errSkeleton }
func (l *Log) Subscribe(ch chan<- struct{}) (cancel func()) { return func() {} }
func (l *Log) OffsetForTime(ts int64) (offset, timestamp int64, epoch int32, ok bool) {
	return 0, 0, 0, false
}
func (l *Log) MaxTimestampOffset() (offset, timestamp int64, epoch int32, ok bool) {
	return 0, 0, 0, false
}
func (l *Log) Epochs() offsets.Epochs                             { return nil }
func (l *Log) LearnEpoch(epoch int32, start int64) error          { return errSkeleton }
func (l *Log) DeleteBefore(offset int64) (start int64, err error) { return 0, errSkeleton }
func (l *Log) Replayed(offset int64)                              {}
func (l *Log) Digest(at int64) (offsets.Digest, bool)             { return offsets.Digest{}, false }
func (l *Log) Entries(from int64, max int) []offsets.Entry        { return nil }
func (l *Log) Producers() []ProducerState                         { return nil }
func (l *Log) Transactional() bool                                { return false }
