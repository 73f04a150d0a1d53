package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/storage"
)

// ListOffsets: v1-11
//
// Timestamps below zero are questions of their own, answered as by a broker
// without tiered storage:
//   - -1 latest: the high watermark, or the last stable offset for read_committed
//   - -2 earliest: the log start offset
//   - -3 offset of the largest timestamp (KIP-734, v7)
//   - -4 earliest local (KIP-405, v8): the log start offset
//   - -5 latest tiered (KIP-1005, v9), -6 earliest pending upload (KIP-1023, v11):
//     nothing is tiered, so -1
//
// A search for a timestamp in what stands in objects runs beside Submit. A record
// that the caller could not fetch yet is not an answer. A partition
// named twice is INVALID_REQUEST in both places.
//
// Version notes:
//   - v2: isolation level
//   - v4: current leader epoch (KIP-320), leader epoch in the answer
//   - v6: flexible
//   - v10: timeout for tiered lookups, none here

const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3
	earliestLocalTimestamp = -4
	latestTieredTimestamp  = -5
	pendingUploadTimestamp = -6
)

// sentinelSince is the first version that knows a sentinel
// (ReplicaManager.timestampMinSupportedVersion).
var sentinelSince = map[int64]int16{
	latestTimestamp:        1,
	earliestTimestamp:      1,
	maxTimestamp:           7,
	earliestLocalTimestamp: 8,
	latestTieredTimestamp:  9,
	pendingUploadTimestamp: 11,
}

func (b *Broker) listOffsets(c Caller, req *kmsg.ListOffsetsRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	twice := listedTwice(req)
	var searches []func() // those that have to read batches
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(in.Partitions))
		t := b.topics.find(in.Topic, [16]byte{}, false)
		for j, ask := range in.Partitions {
			p := &out.Partitions[j]
			*p = kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Offset, p.Timestamp, p.LeaderEpoch = ask.Partition, -1, -1, -1
			if twice[listed{in.Topic, ask.Partition}] {
				p.ErrorCode = kerr.InvalidRequest.Code
				continue
			}
			if since, ok := sentinelSince[ask.Timestamp]; ask.Timestamp < 0 && (!ok || req.Version < since) {
				p.ErrorCode = kerr.UnsupportedVersion.Code
				continue
			}
			var l *storage.Log
			if l, p.ErrorCode = lookup(t, ask.Partition, false); p.ErrorCode != 0 {
				continue
			}
			list := func() { listOffset(l, ask.Timestamp, req.IsolationLevel == 1, p) }
			if (ask.Timestamp >= 0 || ask.Timestamp == maxTimestamp) && !l.Hot(l.Bounds().Start) {
				searches = append(searches, list)
			} else {
				list()
			}
		}
	}
	work := func(<-chan struct{}) {
		for _, search := range searches {
			search()
		}
		done(Reply{Message: resp})
	}
	if len(searches) == 0 || !b.polls.run(c.Connection, work) {
		work(nil)
	}
}

// A listed is a partition as ListOffsets names it.
type listed struct {
	topic     string
	partition int32
}

// listedTwice finds the partitions that a request names more than once.
func listedTwice(req *kmsg.ListOffsetsRequest) map[listed]bool {
	if len(req.Topics) == 1 && len(req.Topics[0].Partitions) == 1 {
		return nil
	}
	seen := map[listed]bool{} // true: more than once
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			_, again := seen[listed{t.Topic, p.Partition}]
			seen[listed{t.Topic, p.Partition}] = again
		}
	}
	return seen
}

// listOffset answers one question about one log. out has the answer for "there
// is none" already.
func listOffset(l *storage.Log, timestamp int64, committed bool, out *kmsg.ListOffsetsResponseTopicPartition) {
	bounds := l.Bounds()
	end := bounds.Durable
	if committed {
		end = bounds.Stable
	}
	var (
		found storage.Found
		ok    bool
		err   error
	)
	switch timestamp {
	case latestTimestamp:
		out.Offset, out.LeaderEpoch = end, bounds.Epoch
		return
	case earliestTimestamp, earliestLocalTimestamp:
		out.Offset, out.LeaderEpoch = bounds.Start, l.Epochs().At(bounds.Start)
		return
	case latestTieredTimestamp, pendingUploadTimestamp:
		return
	case maxTimestamp:
		found, ok, err = l.MaxTimestampOffset()
	default:
		found, ok, err = l.OffsetForTime(timestamp)
	}
	switch {
	case err != nil:
		out.ErrorCode = codeFor(err, false)
	case ok && found.Offset < end:
		out.Offset, out.Timestamp, out.LeaderEpoch = found.Offset, found.Timestamp, found.Epoch
	}
}
