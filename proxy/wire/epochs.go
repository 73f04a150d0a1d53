package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

// PutEpoch writes an epoch (or a leader id) over the one that stands at "at".
func PutEpoch(frame []byte, at int, epoch int32) {
	binary.BigEndian.PutUint32(frame[at:at+4], uint32(epoch))
}

// Epoch reads the epoch (or leader id) that stands at "at".
func Epoch(frame []byte, at int) int32 {
	return int32(binary.BigEndian.Uint32(frame[at : at+4]))
}

// PatchEpochs rewrites current_leader_epoch in place in a Fetch, ListOffsets or
// OffsetForLeaderEpoch request: patch gets the topic's name or its id, whichever
// the version names, and the epoch, and returns the epoch to write. Requests
// whose version has no such field, and other APIs, are left as they are.
// last_fetched_epoch is never touched: it names an epoch of the log, not a shown
// one.
func PatchEpochs(h Header, frame []byte, patch func(topic []byte, id offsets.TopicID, partition, epoch int32) int32) (err error) {
	put := func(at int, topic []byte, id offsets.TopicID, partition, epoch int32) {
		if at == 0 {
			return
		}
		if to := patch(topic, id, partition, epoch); to != epoch {
			PutEpoch(frame, at, to)
		}
	}
	switch kmsg.Key(h.Key) {
	case kmsg.Fetch:
		_, err = WalkFetch(h, frame, func(p FetchPartition) {
			put(p.EpochAt, p.Topic, p.TopicID, p.Partition, p.CurrentLeaderEpoch)
		})
	case kmsg.ListOffsets:
		err = WalkListOffsets(h, frame, func(p ListOffsetsPartition) {
			put(p.EpochAt, p.Topic, offsets.TopicID{}, p.Partition, p.CurrentLeaderEpoch)
		})
	case kmsg.OffsetForLeaderEpoch:
		err = WalkOffsetForLeaderEpoch(h, frame, func(p LeaderEpochPartition) {
			put(p.EpochAt, p.Topic, offsets.TopicID{}, p.Partition, p.CurrentLeaderEpoch)
		})
	}
	return err
}

// EndpointsOf tells whether a Produce or Fetch answer carries KIP-951 node
// endpoints, which name addresses. It walks partition headers, steps over record
// bytes and allocates nothing. Other answers, and versions without tagged
// fields: false.
func EndpointsOf(key, version int16, frame []byte) (present bool, err error) {
	switch {
	case key == int16(kmsg.Produce) && version >= flexibleProduce:
		return WalkProduceAnswer(version, frame, nil)
	case key == int16(kmsg.Fetch) && version >= flexibleFetch:
		head, err := WalkFetchAnswer(version, frame, nil)
		return head.Endpoints, err
	}
	return false, nil
}
