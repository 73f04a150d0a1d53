package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// HeaderSize is the number of bytes before the first record.
const HeaderSize = 61

// Sizes and positions that other packages need to patch or to bound a batch.
const (
	Overhead = 12 // BaseOffset and Length, which Length does not count
	Magic    = 2  // the only format that is read

	lengthAt       = 8
	leaderEpochAt  = 12
	magicAt        = 16
	crcAt          = 17
	attributesAt   = 21 // the CRC covers from here on
	lastDeltaAt    = 23
	firstTimeAt    = 27
	maxTimeAt      = 35
	producerIDAt   = 43
	producerEpAt   = 51
	baseSequenceAt = 53
	numRecordsAt   = 57
)

// Bits of Attributes.
const (
	CodecMask         int16 = 0x07
	LogAppendTimeFlag int16 = 0x08
	TransactionalFlag int16 = 0x10
	ControlFlag       int16 = 0x20
	DeleteHorizonFlag int16 = 0x40
)

// Codecs, as Attributes hold them.
const (
	CodecNone int8 = iota
	CodecGzip
	CodecSnappy
	CodecLZ4
	CodecZstd
)

// NoProducerID, NoProducerEpoch and NoSequence stand where a batch has no producer.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
)

// Errors of Parse; test with errors.Is.
var (
	ErrShort  = errors.New("batch is cut short")
	ErrMagic  = errors.New("batch format is not version 2")
	ErrLength = errors.New("batch length is impossible")
	ErrCRC    = errors.New("batch checksum does not match")
)

// A Header is the fixed part of a RecordBatch.
type Header struct {
	BaseOffset      int64
	Length          int32 // bytes after this field, as on the wire; Size is the whole batch
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	FirstTimestamp  int64 // ms since 1970; delete horizon if the attribute says so
	MaxTimestamp    int64 // ms since 1970, -1 none
	ProducerID      int64 // -1 none
	ProducerEpoch   int16
	BaseSequence    int32
	NumRecords      int32
}

// Parse reads the header of the batch that starts b and demands that b holds the
// whole batch. Errors: ErrShort, ErrMagic, ErrLength. It does not check the CRC.
func Parse(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if len(b) < h.Size() {
		return h, fmt.Errorf("parse batch of %d bytes, have %d: %w", h.Size(), len(b), ErrShort)
	}
	return h, nil
}

// ParseHeader is Parse for a b that holds at least the header; records may be missing.
func ParseHeader(b []byte) (Header, error) {
	if len(b) <= magicAt {
		return Header{}, fmt.Errorf("parse batch header, have %d bytes: %w", len(b), ErrShort)
	}
	if int8(b[magicAt]) != Magic {
		return Header{}, fmt.Errorf("parse batch of version %d: %w", int8(b[magicAt]), ErrMagic)
	}
	be := binary.BigEndian
	length := int32(be.Uint32(b[lengthAt:]))
	if length < HeaderSize-Overhead || length > math.MaxInt32-Overhead {
		return Header{}, fmt.Errorf("parse batch length %d: %w", length, ErrLength)
	}
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("parse batch header, have %d bytes: %w", len(b), ErrShort)
	}
	return Header{
		BaseOffset:      int64(be.Uint64(b)),
		Length:          length,
		LeaderEpoch:     int32(be.Uint32(b[leaderEpochAt:])),
		Magic:           Magic,
		CRC:             be.Uint32(b[crcAt:]),
		Attributes:      int16(be.Uint16(b[attributesAt:])),
		LastOffsetDelta: int32(be.Uint32(b[lastDeltaAt:])),
		FirstTimestamp:  int64(be.Uint64(b[firstTimeAt:])),
		MaxTimestamp:    int64(be.Uint64(b[maxTimeAt:])),
		ProducerID:      int64(be.Uint64(b[producerIDAt:])),
		ProducerEpoch:   int16(be.Uint16(b[producerEpAt:])),
		BaseSequence:    int32(be.Uint32(b[baseSequenceAt:])),
		NumRecords:      int32(be.Uint32(b[numRecordsAt:])),
	}, nil
}

// AppendTo appends the header's 61 bytes to dst: the inverse of ParseHeader.
func (h Header) AppendTo(dst []byte) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(dst, uint64(h.BaseOffset))
	dst = be.AppendUint32(dst, uint32(h.Length))
	dst = be.AppendUint32(dst, uint32(h.LeaderEpoch))
	dst = append(dst, byte(h.Magic))
	dst = be.AppendUint32(dst, h.CRC)
	dst = be.AppendUint16(dst, uint16(h.Attributes))
	dst = be.AppendUint32(dst, uint32(h.LastOffsetDelta))
	dst = be.AppendUint64(dst, uint64(h.FirstTimestamp))
	dst = be.AppendUint64(dst, uint64(h.MaxTimestamp))
	dst = be.AppendUint64(dst, uint64(h.ProducerID))
	dst = be.AppendUint16(dst, uint16(h.ProducerEpoch))
	dst = be.AppendUint32(dst, uint32(h.BaseSequence))
	return be.AppendUint32(dst, uint32(h.NumRecords))
}

// Size is the whole batch in bytes, header and length field included.
func (h Header) Size() int { return Overhead + int(h.Length) }

// LastOffset is the offset of the last record, also where compaction removed it.
func (h Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// LastSequence is the sequence of the last record; sequences wrap from 2^31-1 to
// 0. It is NoSequence for a batch without one.
func (h Header) LastSequence() int32 {
	if h.BaseSequence < 0 {
		return NoSequence
	}
	return AddSequence(h.BaseSequence, h.LastOffsetDelta)
}

// AddSequence is Kafka's DefaultRecordBatch.incrementSequence.
func AddSequence(sequence, by int32) int32 {
	if sequence > math.MaxInt32-by {
		return by - (math.MaxInt32 - sequence) - 1
	}
	return sequence + by
}

// Codec is the compression of the records.
func (h Header) Codec() int8 { return int8(h.Attributes & CodecMask) }

// HasProducer says whether the batch carries a producer id.
func (h Header) HasProducer() bool { return h.ProducerID > NoProducerID }

// Transactional says whether the batch belongs to a transaction; markers do.
func (h Header) Transactional() bool { return h.Attributes&TransactionalFlag != 0 }

// Control says whether the batch holds a marker and not records of a user.
func (h Header) Control() bool { return h.Attributes&ControlFlag != 0 }

// LogAppendTime says whether MaxTimestamp was set by a broker.
func (h Header) LogAppendTime() bool { return h.Attributes&LogAppendTimeFlag != 0 }
