package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

// OffsetForLeaderEpoch: v2-4
//
// The largest epoch of the log that is not above the one asked for, and where it
// ended: the log end for the latest one (KIP-101, KIP-320). The log end, not the
// high watermark: a client compares its position with it.
//
// Version notes:
//   - v3: replica id, ignored
//   - v4: flexible

func (b *Broker) offsetForLeaderEpoch(req *kmsg.OffsetForLeaderEpochRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(in.Partitions))
		t := b.topics.find(in.Topic, [16]byte{}, false)
		for j, ask := range in.Partitions {
			p := &out.Partitions[j]
			*p = kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition = ask.Partition
			p.LeaderEpoch, p.EndOffset = offsets.UndefinedEpoch, offsets.UndefinedOffset
			l, code := lookup(t, ask.Partition, false)
			if code != 0 {
				p.ErrorCode = code
				continue
			}
			bounds := l.Bounds() // before the list: an epoch that begins in between ends none too early
			p.LeaderEpoch, p.EndOffset = l.Epochs().End(ask.LeaderEpoch, bounds.End)
		}
	}
	done(Reply{Message: resp})
}
