package wire

// LeaderEpochPartition is one partition of an OffsetForLeaderEpoch request.
type LeaderEpochPartition struct {
	Topic              []byte // aliases the frame
	Partition          int32
	CurrentLeaderEpoch int32
	EpochAt            int // where it stands in the frame
	LeaderEpoch        int32
}

// WalkOffsetForLeaderEpoch calls each for every partition of an
// OffsetForLeaderEpoch request of version 2 to 4.
func WalkOffsetForLeaderEpoch(h Header, frame []byte, each func(LeaderEpochPartition)) error {
	return nil
}
