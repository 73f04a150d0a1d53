package wire

import "switchback/offsets"

// FetchHead is the part of a Fetch request before its topics.
type FetchHead struct {
	ReplicaID     int32 // -1 from version 15 on
	MaxWaitMillis int32
	MinBytes      int32
	MaxBytes      int32
	Isolation     int8  // 1 is read_committed
	SessionID     int32 // 0 before version 7
	SessionEpoch  int32 // -1 before version 7
}

// FetchPartition is one partition of a Fetch request.
type FetchPartition struct {
	Topic              []byte          // versions 4 to 12; aliases the frame
	TopicID            offsets.TopicID // version 13 and later
	Partition          int32
	CurrentLeaderEpoch int32 // -1 before version 9
	EpochAt            int   // where it stands in the frame; 0 when absent
	Offset             int64
	LastFetchedEpoch   int32 // -1 before version 12
	LastFetchedAt      int   // where it stands in the frame; 0 when absent
	MaxBytes           int32
}

// WalkFetch calls each for every partition of a Fetch request of version 4 to
// 18. Partitions that a session forgets are stepped over.
func WalkFetch(h Header, frame []byte, each func(FetchPartition)) (FetchHead, error) {
	return FetchHead{}, nil
}

// FetchAnswerHead is the part of a Fetch response before its topics.
type FetchAnswerHead struct {
	ThrottleMillis int32
	ErrorCode      int16 // 0 before version 7
	SessionID      int32 // 0 before version 7
	Endpoints      bool  // KIP-951 node endpoints are present
}

// FetchAnswer is one partition of a Fetch response.
type FetchAnswer struct {
	Topic            []byte          // versions 4 to 12; aliases the frame
	TopicID          offsets.TopicID // version 13 and later
	Partition        int32
	ErrorCode        int16
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64  // -1 before version 5
	Records          []byte // aliases the frame; nil when null
	LeaderAt         int    // where CurrentLeader's leader id, then its epoch, stand in the frame (KIP-951); 0 when absent
}

// WalkFetchAnswer calls each for every partition of a Fetch response of version
// 4 to 18; each may be nil. Record bytes are stepped over.
func WalkFetchAnswer(version int16, frame []byte, each func(FetchAnswer)) (FetchAnswerHead, error) {
	return FetchAnswerHead{}, nil
}
