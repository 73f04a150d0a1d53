package mirror

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A class says what an error code of legacy means to a copy.
type class uint8

const (
	transient class = iota // try the same thing again, after settling
	moved                  // the same, and legacy's metadata is old
	refused                // legacy does not want it as things are: stalled
)

// classes holds what is not refused. 7 and 20 come after an append, 6 can: that
// is why every error is followed by settling.
var classes = map[int16]class{
	kerr.UnknownTopicOrPartition.Code:      moved,
	kerr.LeaderNotAvailable.Code:           moved,
	kerr.NotLeaderForPartition.Code:        moved,
	kerr.ReplicaNotAvailable.Code:          moved,
	kerr.FencedLeaderEpoch.Code:            moved,
	kerr.UnknownLeaderEpoch.Code:           moved,
	kerr.UnknownTopicID.Code:               moved,
	kerr.InconsistentTopicID.Code:          moved,
	kerr.KafkaStorageError.Code:            moved,
	kerr.RequestTimedOut.Code:              transient,
	kerr.NetworkException.Code:             transient,
	kerr.CoordinatorLoadInProgress.Code:    transient,
	kerr.CoordinatorNotAvailable.Code:      transient,
	kerr.NotCoordinator.Code:               transient,
	kerr.NotEnoughReplicas.Code:            transient,
	kerr.NotEnoughReplicasAfterAppend.Code: transient,
	kerr.ConcurrentTransactions.Code:       transient,
	kerr.ThrottlingQuotaExceeded.Code:      transient,
	kerr.OffsetNotAvailable.Code:           transient,
	kerr.OffsetOutOfRange.Code:             transient,
	kerr.FetchSessionIDNotFound.Code:       transient,
	kerr.UnknownServerError.Code:           transient,
}

func classOf(code int16) class {
	if c, ok := classes[code]; ok {
		return c
	}
	return refused
}

// remedies says what an operator can do about a refusal.
var remedies = map[int16]string{
	kerr.MessageTooLarge.Code:              "raise max.message.bytes of the topic on legacy: it was lowered since the batch was accepted",
	kerr.RecordListTooLarge.Code:           "raise segment.bytes of the topic on legacy: it was lowered since the batch was accepted",
	kerr.TopicAuthorizationFailed.Code:     "give switchback's principal WRITE, READ, DESCRIBE and DESCRIBE_CONFIGS on the topic on legacy",
	kerr.ClusterAuthorizationFailed.Code:   "give switchback's principal the cluster operation on legacy",
	kerr.InvalidTimestamp.Code:             "widen message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic on legacy",
	kerr.InvalidRecord.Code:                "compare the topic's configs on legacy with those that were in force when the batch was accepted (cleanup.policy, message.timestamp.type)",
	kerr.CorruptMessage.Code:               "run verify: the batch was read damaged from the target, or arrived damaged",
	kerr.OutOfOrderSequenceNumber.Code:     "legacy has another state for this producer; it is tried again, and legacy forgets producers after producer.id.expiration.ms",
	kerr.DuplicateSequenceNumber.Code:      "legacy takes the batch for one that it has; run verify",
	kerr.InvalidProducerEpoch.Code:         "legacy has a higher epoch for this producer; run verify, and look for writers that bypass switchback",
	kerr.PolicyViolation.Code:              "a policy on legacy refuses the batch",
	kerr.NotEnoughReplicas.Code:            "bring legacy's followers of this partition back, or lower min.insync.replicas",
	kerr.NotEnoughReplicasAfterAppend.Code: "bring legacy's followers of this partition back, or lower min.insync.replicas",
	kerr.RequestTimedOut.Code:              "legacy's followers of this partition are slow or gone",
	kerr.UnsupportedForMessageFormat.Code:  "raise log.message.format.version of the topic on legacy",
}

func describe(doing string, code int16) string {
	if e := kerr.TypedErrorForCode(code); e != nil {
		return fmt.Sprintf("%s: legacy answered %s (%d)", doing, e.Message, code)
	}
	return fmt.Sprintf("%s: legacy answered error %d", doing, code)
}
