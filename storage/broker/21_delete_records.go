package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/storage"
)

// DeleteRecords: v0-2
//
// Offset -1 means the high watermark. The answer's low watermark is the log start
// offset, which is durable by then. Only a leader deletes, and only where
// cleanup.policy says delete.
//
// Version notes:
//   - v2: flexible

// toHighWatermark asks for everything that can be deleted
// (DeleteRecordsRequest.HIGH_WATERMARK).
const toHighWatermark = -1

func (b *Broker) deleteRecords(c Caller, req *kmsg.DeleteRecordsRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	work := func(<-chan struct{}) {
		b.deleteAll(req, resp)
		done(Reply{Message: resp})
	}
	// The log start is made durable partition by partition, too long to do it on
	// the goroutine that reads a connection.
	if !b.polls.run(c.Connection, work) {
		work(nil)
	}
}

func (b *Broker) deleteAll(req *kmsg.DeleteRecordsRequest, resp *kmsg.DeleteRecordsResponse) {
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(in.Partitions))
		t := b.topics.find(in.Topic, [16]byte{}, false)
		for j, ask := range in.Partitions {
			p := &out.Partitions[j]
			*p = kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = ask.Partition, -1
			l, code := lookup(t, ask.Partition, false)
			if code == 0 {
				code = deletionRefusal(t, l)
			}
			if code != 0 {
				p.ErrorCode = code
				continue
			}
			p.LowWatermark, p.ErrorCode = deleteBefore(l, ask.Offset)
		}
	}
}

// deletionRefusal is why no records of t may be deleted, 0 if they may.
func deletionRefusal(t *topic, l *storage.Log) int16 {
	switch {
	case t.Internal:
		return kerr.InvalidTopicException.Code
	case !l.Bounds().Leading:
		return kerr.NotLeaderForPartition.Code
	case !t.rules.deletable:
		return kerr.PolicyViolation.Code
	}
	return 0
}

// deleteBefore moves the log start up to offset, which may not be beyond the high
// watermark; one that is below the log start already is fine.
func deleteBefore(l *storage.Log, offset int64) (low int64, refused int16) {
	bounds := l.Bounds()
	if offset == toHighWatermark {
		offset = bounds.Durable
	}
	if offset < 0 || offset > bounds.Durable {
		return -1, kerr.OffsetOutOfRange.Code
	}
	start, err := l.DeleteBefore(offset)
	if err != nil {
		return -1, code(err)
	}
	return start, 0
}
