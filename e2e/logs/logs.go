package logs

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/history"
	"switchback/e2e/raw"
	"switchback/storage/batch"
)

// fetchVersion is the last one that names topics by name.
const fetchVersion = 12

// fetchBytes bounds one answer, beyond its first batch.
const fetchBytes = 8 << 20

// Log is a partition as one cluster holds it.
type Log struct {
	Place   history.Place
	Start   int64
	End     int64 // the high watermark
	Batches []batch.Header
	Records []Record
}

// Record is one data record: control records are in Batches only.
type Record struct {
	Offset int64
	Value  string
}

// Read reads a partition from the server at an address, which must serve it.
func Read(ctx context.Context, addr string, place history.Place) (*Log, error) {
	log, err := read(ctx, addr, place)
	if err != nil {
		return nil, fmt.Errorf("read log of %v at %s: %w", place, addr, err)
	}
	return log, nil
}

func read(ctx context.Context, addr string, place history.Place) (*Log, error) {
	conn, err := raw.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	log := &Log{Place: place}
	if log.Start, err = Offset(ctx, conn, place, Earliest); err != nil {
		return nil, err
	}
	for next := log.Start; ; {
		p, err := fetch(ctx, conn, place, next)
		if err != nil {
			return nil, err
		}
		log.End = p.HighWatermark
		if next >= log.End {
			return log, nil
		}
		to, err := log.take(p, next)
		if err != nil {
			return nil, err
		}
		if to == next {
			return nil, fmt.Errorf("no batch at offset %d, below the high watermark %d", next, log.End)
		}
		next = to
	}
}

// take adds the batches of one answer and returns the offset to go on at.
func (l *Log) take(p *kmsg.FetchResponseTopicPartition, next int64) (int64, error) {
	err := batch.Walk(p.RecordBatches, func(h batch.Header, raw []byte) error {
		if err := batch.CheckCRC(raw); err != nil {
			return fmt.Errorf("batch at %d: %w", h.BaseOffset, err)
		}
		if h.LastOffset() < next {
			return nil
		}
		if h.BaseOffset < next {
			return fmt.Errorf("batch at %d overlaps offset %d", h.BaseOffset, next)
		}
		l.Batches = append(l.Batches, h)
		next = h.LastOffset() + 1
		return nil
	})
	if err != nil {
		return 0, err
	}
	parsed, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: l.Place.Topic, Partition: l.Place.Partition}, p, kgo.DefaultDecompressor(), nil)
	if parsed.Err != nil {
		return 0, parsed.Err
	}
	for _, r := range parsed.Records {
		l.Records = append(l.Records, Record{r.Offset, string(r.Value)})
	}
	return next, nil
}

func fetch(ctx context.Context, conn *raw.Conn, place history.Place, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 0, fetchBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = place.Topic
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = place.Partition, offset, fetchBytes
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, _, err := conn.Exchange(ctx, req, fetchVersion)
	if err != nil {
		return nil, err
	}
	answer := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("answer for %d topics", len(answer.Topics))
	}
	p := &answer.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}

// Sentinels of ListOffsets.
const (
	Latest   = -1
	Earliest = -2
)

// Offset asks a server for the offset of a timestamp or sentinel.
func Offset(ctx context.Context, conn *raw.Conn, place history.Place, timestamp int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = place.Topic
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = place.Partition, timestamp
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := conn.Request(ctx, req)
	if err != nil {
		return 0, err
	}
	p := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// Diff says where two readings of a partition differ first; "" when they are equal. epochs is how many batches differ in their leader epoch
// and in nothing else.
func Diff(a, b *Log) (difference string, epochs int) {
	if a.Start != b.Start {
		return fmt.Sprintf("logs start at %d and %d", a.Start, b.Start), 0
	}
	for i := range min(len(a.Batches), len(b.Batches)) {
		x, y := a.Batches[i], b.Batches[i]
		if x == y {
			continue
		}
		if x.LeaderEpoch != y.LeaderEpoch {
			epochs++
			y.LeaderEpoch = x.LeaderEpoch
		}
		if x != y {
			return fmt.Sprintf("batch %d: %+v and %+v", i, x, b.Batches[i]), epochs
		}
	}
	if a.End != b.End || len(a.Batches) != len(b.Batches) {
		return fmt.Sprintf("%d batches to offset %d and %d batches to offset %d", len(a.Batches), a.End, len(b.Batches), b.End), epochs
	}
	return "", epochs
}

// History returns the records as the checker wants them.
func (l *Log) History(parse func(value string) (history.Mark, error)) ([]history.Logged, error) {
	out := make([]history.Logged, 0, len(l.Records))
	for _, r := range l.Records {
		m, err := parse(r.Value)
		if err != nil {
			return nil, fmt.Errorf("read log of %v at offset %d: %w", l.Place, r.Offset, err)
		}
		out = append(out, history.Logged{Offset: r.Offset, Mark: m})
	}
	return out, nil
}
