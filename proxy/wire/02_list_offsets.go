package wire

// ListOffsetsPartition is one partition of a ListOffsets request.
type ListOffsetsPartition struct {
	Topic              []byte // aliases the frame
	Partition          int32
	CurrentLeaderEpoch int32 // -1 before version 4
	EpochAt            int   // where it stands in the frame; 0 when absent
	Timestamp          int64
}

// WalkListOffsets calls each for every partition of a ListOffsets request of
// version 1 to 11.
func WalkListOffsets(h Header, frame []byte, each func(ListOffsetsPartition)) error { return nil }
