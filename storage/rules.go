package storage

import (
	"fmt"
	"math"
	"strings"
	"time"

	"switchback/storage/batch"
)

// Rules are what the topic's configuration on legacy makes a broker refuse or
// change. The zero value is a topic with Kafka's defaults.
type Rules struct {
	MaxMessageBytes      int32 // max.message.bytes; 0: 1 MiB + 12
	LogAppendTime        bool  // message.timestamp.type
	Compacted            bool  // cleanup.policy names compact
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms; 0: no limit
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms; 0: 1 h
}

func (r Rules) filled() Rules {
	if r.MaxMessageBytes == 0 {
		r.MaxMessageBytes = 1<<20 + batch.Overhead
	}
	if r.TimestampBeforeMaxMs == 0 {
		r.TimestampBeforeMaxMs = math.MaxInt64
	}
	if r.TimestampAfterMaxMs == 0 {
		r.TimestampAfterMaxMs = time.Hour.Milliseconds()
	}
	return r
}

// A refusal is why a batch is not taken, with what a client is told.
type refusal struct {
	err     error // one of the sentinels
	message string
	records []RecordError
}

func refuse(err error, format string, args ...any) *refusal {
	return &refusal{err: err, message: fmt.Sprintf(format, args...)}
}

// admit decides about a client's batch as far as the log does not matter, in the
// order in which Kafka does: ProduceRequest.validateRecords, then
// UnifiedLog.analyzeAndValidateRecords, then LogValidator. It normalises raw as
// LogValidator does: timestamp type, largest timestamp, checksum.
//
// It is stricter where Kafka would write other bytes than it was sent, because
// legacy will be sent ours at replay and must not change them: inner offsets that
// are not dense are refused, not encoded anew, and a producer's LogAppendTime bit
// counts as not set from the beginning.
func (r *Rules) admit(raw []byte, now int64) (batch.Header, *refusal) {
	h, bad := r.header(raw)
	if bad != nil {
		return h, bad
	}
	largest, bad := r.records(h, raw, now)
	if bad != nil {
		return h, bad
	}
	attributes := h.Attributes
	if r.LogAppendTime {
		attributes |= batch.LogAppendTimeFlag
		largest = now
	} else {
		attributes &^= batch.LogAppendTimeFlag
	}
	if attributes != h.Attributes || largest != h.MaxTimestamp {
		batch.SetAttributes(raw, attributes&knownAttributes)
		batch.SetMaxTimestamp(raw, largest)
		batch.RewriteCRC(raw)
		var err error
		if h, err = batch.Parse(raw); err != nil {
			return h, refuse(ErrCorrupt, "%v", err)
		}
	}
	return h, nil
}

// knownAttributes survive DefaultRecordBatch.computeAttributes.
const knownAttributes = batch.CodecMask | batch.LogAppendTimeFlag | batch.TransactionalFlag | batch.ControlFlag | batch.DeleteHorizonFlag

func (r *Rules) header(raw []byte) (batch.Header, *refusal) {
	h, err := batch.Parse(raw)
	if err != nil {
		return h, refuse(parseError(raw), "%v", err)
	}
	count := int64(h.LastOffsetDelta) + 1
	switch {
	case len(raw) != h.Size():
		return h, refuse(ErrInvalidRecord, "Produce requests are only allowed to contain exactly one record batch per partition")
	case h.BaseOffset != 0:
		return h, refuse(ErrInvalidRecord, "The baseOffset of the record batch should be 0, but it is %d", h.BaseOffset)
	case h.Size() > int(r.MaxMessageBytes):
		return h, refuse(ErrTooLarge, "The record batch size is %d bytes which exceeds the maximum configured value of %d.", h.Size(), r.MaxMessageBytes)
	}
	if err := batch.CheckCRC(raw); err != nil {
		return h, refuse(ErrCorrupt, "Record is corrupt: %v", err)
	}
	switch {
	case count <= 0:
		return h, refuse(ErrInvalidRecord, "Batch has an invalid offset range: last offset delta %d", h.LastOffsetDelta)
	case h.NumRecords <= 0:
		return h, refuse(ErrInvalidRecord, "Invalid reported count for record batch: %d", h.NumRecords)
	case count != int64(h.NumRecords):
		return h, refuse(ErrInvalidRecord, "Inconsistent batch offset range of %d and count of records %d", count, h.NumRecords)
	case h.Control():
		return h, refuse(ErrInvalidRecord, "Clients are not allowed to write control records")
	case h.HasProducer() && h.BaseSequence < 0:
		return h, refuse(ErrInvalidRecord, "Invalid sequence number %d in record batch with producerId %d", h.BaseSequence, h.ProducerID)
	case h.Codec() > batch.CodecZstd:
		return h, refuse(ErrCodec, "Unknown compression type id: %d", h.Codec())
	}
	return h, nil
}

// parseError tells a batch that is cut or of another format, which Kafka finds
// when it counts batches (87), from a length that no batch has (2).
func parseError(raw []byte) error {
	const minimum = 14 // LegacyRecord.RECORD_OVERHEAD_V0, ByteBufferLogInputStream's bound
	if len(raw) > 16 && raw[16] == batch.Magic {
		if _, err := batch.ParseHeader(raw); err == nil {
			return ErrInvalidRecord // whole header, cut records
		}
	}
	if len(raw) >= batch.Overhead {
		if length := int32(uint32(raw[8])<<24 | uint32(raw[9])<<16 | uint32(raw[10])<<8 | uint32(raw[11])); length < minimum {
			return ErrCorrupt
		}
	}
	return ErrInvalidRecord
}

// maxRecordErrors bounds what a refusal says about single records.
const maxRecordErrors = 100

// records looks at every record and returns the largest timestamp.
func (r *Rules) records(h batch.Header, raw []byte, now int64) (largest int64, bad *refusal) {
	largest = batch.NoTimestamp
	var errs []RecordError
	failed := 0
	cause := ErrInvalidRecord
	err := eachRecord(h, raw, func(i int32, rec recordFields) error {
		if rec.offsetDelta != i {
			return fmt.Errorf("record %d has offset delta %d: %w", i, rec.offsetDelta, errRecords)
		}
		ts := h.FirstTimestamp + rec.timestampDelta
		largest = max(largest, ts)
		message := ""
		switch {
		case r.Compacted && !rec.hasKey:
			message = "Compacted topic cannot accept message without key."
		case !r.LogAppendTime && ts != batch.NoTimestamp && r.outside(ts, now):
			message = fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				ts, i, now-r.TimestampBeforeMaxMs, now+r.TimestampAfterMaxMs)
			cause = ErrTimestamp
		case r.LogAppendTime && h.LogAppendTime():
			message = "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
			cause = ErrTimestamp
		default:
			return nil
		}
		failed++
		if len(errs) < maxRecordErrors {
			errs = append(errs, RecordError{Index: i, Message: message})
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, refuse(ErrInvalidRecord, "%v", err)
	case failed == 0:
		return largest, nil
	case cause == ErrTimestamp: //nolint:errorlint // set above, never wrapped
		return 0, &refusal{cause, "One or more records have been rejected due to invalid timestamp", errs}
	}
	first := make([]string, 0, 3)
	for _, e := range errs[:min(3, len(errs))] {
		first = append(first, fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", e.Index, e.Message))
	}
	return 0, &refusal{cause, fmt.Sprintf("One or more records have been rejected due to %d record errors in total, "+
		"and only showing the first three errors at most: [%s]", failed, strings.Join(first, ", ")), errs}
}

// outside is LogValidator.recordHasInvalidTimestamp, with its wrapping arithmetic.
func (r *Rules) outside(ts, now int64) bool {
	diff := now - ts
	return diff > r.TimestampBeforeMaxMs || -diff > r.TimestampAfterMaxMs
}
