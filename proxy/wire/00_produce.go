package wire

import "switchback/offsets"

// ProduceHead is the part of a Produce request before its topics.
type ProduceHead struct {
	TransactionalID []byte // nil when null; aliases the frame
	Acks            int16
	TimeoutMillis   int32
}

// ProducePartition is one partition of a Produce request.
type ProducePartition struct {
	Topic     []byte          // versions 3 to 12; aliases the frame
	TopicID   offsets.TopicID // version 13 and later
	Partition int32
	Records   []byte // aliases the frame; nil when null
	At        int    // where Records starts in the frame; 0 when null
}

// ReadProduceHead reads the fields before the topics, of versions 3 to 13.
func ReadProduceHead(h Header, frame []byte) (ProduceHead, error) { return ProduceHead{}, nil }

// ProduceAcks reads a Produce request's acks; ok is false when it is malformed.
func ProduceAcks(h Header, frame []byte) (acks int16, ok bool) { return 0, false }

// WalkProduce calls each for every partition of a Produce request of version 3
// to 13, in order. An error may come after some calls.
func WalkProduce(h Header, frame []byte, each func(ProducePartition)) (ProduceHead, error) {
	return ProduceHead{}, nil
}

// ProduceAnswer is one partition of a Produce response.
type ProduceAnswer struct {
	Topic          []byte          // versions 3 to 12; aliases the frame
	TopicID        offsets.TopicID // version 13 and later
	Partition      int32
	ErrorCode      int16
	BaseOffset     int64
	LogAppendTime  int64 // -1 when the record's own time counts
	LogStartOffset int64 // -1 before version 5
	LeaderAt       int   // where CurrentLeader's leader id, then its epoch, stand in the frame (KIP-951); 0 when absent
}

// WalkProduceAnswer calls each for every partition of a Produce response of
// version 3 to 13; each may be nil. endpoints tells whether the answer carries
// KIP-951 node endpoints.
func WalkProduceAnswer(version int16, frame []byte, each func(ProduceAnswer)) (endpoints bool, err error) {
	return false, nil
}
