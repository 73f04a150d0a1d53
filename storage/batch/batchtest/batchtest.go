package batchtest

import (
	"encoding/binary"

	"switchback/storage/batch"
)

// A Spec is a batch in a few words. The zero Spec with one record is a valid
// batch of a producer without an id, at offset 0.
type Spec struct {
	Base          int64
	LeaderEpoch   int32
	Attributes    int16 // codec included: then Compress must be there
	Producer      int64 // 0: none
	ProducerEpoch int16
	Sequence      int32
	Time          int64 // FirstTimestamp, ms
	Records       []batch.Record
	Compress      func([]byte) []byte
}

// Values are records with those values and no key, dense, 1 ms apart.
func Values(values ...string) []batch.Record {
	records := make([]batch.Record, len(values))
	for i, v := range values {
		records[i] = batch.Record{TimestampDelta: int64(i), OffsetDelta: int32(i), Value: []byte(v)}
	}
	return records
}

// Build is the batch's bytes, with the checksum right.
func Build(s Spec) []byte {
	h := batch.Header{
		BaseOffset: s.Base, LeaderEpoch: s.LeaderEpoch, Magic: batch.Magic, Attributes: s.Attributes,
		FirstTimestamp: s.Time, MaxTimestamp: batch.NoTimestamp, NumRecords: int32(len(s.Records)),
		ProducerID: batch.NoProducerID, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence,
	}
	if s.Producer != 0 {
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = s.Producer, s.ProducerEpoch, s.Sequence
	}
	var payload []byte
	for _, r := range s.Records {
		payload = batch.AppendRecord(payload, r)
		h.LastOffsetDelta = max(h.LastOffsetDelta, r.OffsetDelta)
		h.MaxTimestamp = max(h.MaxTimestamp, s.Time+r.TimestampDelta)
	}
	if s.Compress != nil {
		payload = s.Compress(payload)
	}
	return Seal(h, payload)
}

// Seal puts a header in front of a payload, with length and checksum right.
func Seal(h batch.Header, payload []byte) []byte {
	h.Length = int32(batch.HeaderSize - batch.Overhead + len(payload))
	raw := append(h.AppendTo(nil), payload...)
	batch.RewriteCRC(raw)
	return raw
}

// Marker is a control batch that ends a producer's transaction.
func Marker(base int64, leaderEpoch int32, producer int64, epoch int16, t batch.MarkerType, time int64) []byte {
	key := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 0), uint16(t))
	value := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, 0), 0)
	return Seal(batch.Header{
		BaseOffset: base, LeaderEpoch: leaderEpoch, Magic: batch.Magic,
		Attributes: batch.TransactionalFlag | batch.ControlFlag, FirstTimestamp: time, MaxTimestamp: time,
		ProducerID: producer, ProducerEpoch: epoch, BaseSequence: batch.NoSequence, NumRecords: 1,
	}, batch.AppendRecord(nil, batch.Record{Key: key, Value: value}))
}
