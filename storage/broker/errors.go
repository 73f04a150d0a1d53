package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"switchback/storage"
	"switchback/storage/batch"
)

// codes says which of Kafka's error codes a client sees for a storage error.
// It is the only such table. The first match wins.
var codes = []struct {
	err  error
	code int16
}{
	{storage.ErrNotLeader, kerr.NotLeaderForPartition.Code},
	{storage.ErrReset, kerr.NotLeaderForPartition.Code}, // retriable, and the client asks Metadata again
	{storage.ErrDeleted, kerr.UnknownTopicOrPartition.Code},
	{storage.ErrDead, kerr.KafkaStorageError.Code},
	{storage.ErrClosed, kerr.KafkaStorageError.Code},
	{storage.ErrStaleEpoch, kerr.FencedLeaderEpoch.Code},
	{storage.ErrCorrupt, kerr.CorruptMessage.Code},
	{storage.ErrTooLarge, kerr.MessageTooLarge.Code},
	{storage.ErrTimestamp, kerr.InvalidTimestamp.Code},
	{storage.ErrOutOfOrder, kerr.OutOfOrderSequenceNumber.Code},
	{storage.ErrFenced, kerr.InvalidProducerEpoch.Code},
	{storage.ErrTxnState, kerr.InvalidTxnState.Code},
	{storage.ErrCodec, kerr.UnsupportedCompressionType.Code},
	{storage.ErrInvalidRecord, kerr.InvalidRecord.Code},
	{batch.ErrCRC, kerr.CorruptMessage.Code},
	{ErrUnknownTopic, kerr.UnknownTopicOrPartition.Code},
}

// code is the error code for err, 0 for nil. What is not in the table is a disk
// or a file that failed: KAFKA_STORAGE_ERROR, which clients retry after they have
// asked for metadata.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var outside storage.ErrOffsetOutOfRange
	if errors.As(err, &outside) {
		return kerr.OffsetOutOfRange.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return kerr.KafkaStorageError.Code
}

// codeFor is code for a request that names topics by id: a topic that is gone is
// an unknown id there (KIP-516).
func codeFor(err error, byID bool) int16 {
	if byID && errors.Is(err, storage.ErrDeleted) {
		return kerr.UnknownTopicID.Code
	}
	return code(err)
}

// showsLogStart says whether a Produce refused with err is answered with the log
// start offset. Kafka does so for what failed in validation, not for what
// failed before it (ReplicaManager.appendToLocalLog).
func showsLogStart(code int16) bool {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.NotLeaderForPartition.Code,
		kerr.MessageTooLarge.Code, kerr.CorruptMessage.Code, kerr.KafkaStorageError.Code:
		return false
	}
	return true
}
