package raw

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Batch returns a record batch as a producer without an id sends it: the values, one record each, not compressed, at offset 0.
func Batch(millis int64, values ...string) []byte {
	var records []byte
	for i, value := range values {
		r := kmsg.NewRecord()
		r.OffsetDelta, r.Value = int32(i), []byte(value)
		body := r.AppendTo(nil)[1:] // without the length, one byte while it is 0
		r.Length = int32(len(body))
		records = r.AppendTo(records)
	}
	b := kmsg.NewRecordBatch()
	b.PartitionLeaderEpoch, b.Magic = -1, 2
	b.LastOffsetDelta, b.NumRecords = int32(len(values)-1), int32(len(values))
	b.FirstTimestamp, b.MaxTimestamp = millis, millis
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = -1, -1, -1
	b.Records = records
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// produceVersion is the last one that names topics by name.
const produceVersion = 12

// ProduceRequest is a request with one batch for one partition.
func ProduceRequest(topic string, partition int32, batch []byte, acks int16, timeoutMillis int32) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, timeoutMillis
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// Produce sends one batch with acks=all and returns its base offset.
func (c *Conn) Produce(ctx context.Context, topic string, partition int32, batch []byte) (int64, error) {
	const timeout = 10_000
	resp, _, err := c.Exchange(ctx, ProduceRequest(topic, partition, batch, -1, timeout), produceVersion)
	if err != nil {
		return -1, err
	}
	answer := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return -1, fmt.Errorf("produce to %s-%d: %w", topic, partition, err)
	}
	return answer.BaseOffset, nil
}

// SendProduce sends one batch and leaves it at that: with acks 0 there is no answer, with others nobody reads it.
func (c *Conn) SendProduce(ctx context.Context, topic string, partition int32, batch []byte, acks int16) error {
	const timeout = 10_000
	return c.Send(ctx, ProduceRequest(topic, partition, batch, acks, timeout), produceVersion)
}
