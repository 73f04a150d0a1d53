package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Kinds of WAL records. The head is little endian and described beside the kind;
// only batches have a body, which is the batch as Kafka wrote it. Numbers are
// for ever.
const (
	kindCreate   uint8 = 1 // start i64: the partition exists from now on
	kindReset    uint8 = 2 // start i64: its content is forgotten
	kindDelete   uint8 = 3 // the topic and all of its partitions are gone
	kindLeader   uint8 = 4 // time i64 ms, version i16, length u16 and bytes of transactional id, the same of principal
	kindReplica  uint8 = 5 // time i64 ms
	kindStart    uint8 = 6 // start i64: everything below it is deleted
	kindEpoch    uint8 = 7 // epoch i32, start i64
	kindReplayed uint8 = 8 // offset i64: legacy holds everything below it
)

var errHead = errors.New("record head is malformed")

// A Meta travels with a batch in the WAL until the batch was replayed. The log
// does not read it. Strings beyond 64 KiB are cut.
type Meta struct {
	TransactionalID string
	ProduceVersion  int16
	Principal       string
}

func appendMeta(dst []byte, at int64, m Meta) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(at))
	dst = le.AppendUint16(dst, uint16(m.ProduceVersion))
	dst = appendString(dst, m.TransactionalID)
	return appendString(dst, m.Principal)
}

func appendString(dst []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// decodeBatchHead reads the head of a batch, of either kind.
func decodeBatchHead(b []byte) (at int64, m Meta, err error) {
	if len(b) < 8 {
		return 0, m, errHead
	}
	at, b = int64(binary.LittleEndian.Uint64(b)), b[8:]
	if len(b) == 0 { // a replica's
		return at, m, nil
	}
	if len(b) < 2 {
		return 0, m, errHead
	}
	m.ProduceVersion, b = int16(binary.LittleEndian.Uint16(b)), b[2:]
	if m.TransactionalID, b, err = cutString(b); err != nil {
		return 0, m, err
	}
	if m.Principal, b, err = cutString(b); err != nil {
		return 0, m, err
	}
	if len(b) != 0 {
		return 0, m, errHead
	}
	return at, m, nil
}

func cutString(b []byte) (string, []byte, error) {
	if len(b) < 2 {
		return "", nil, errHead
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > len(b)-2 {
		return "", nil, errHead
	}
	return string(b[2 : 2+n]), b[2+n:], nil
}

func offsetHead(offset int64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 0, 8), uint64(offset))
}

func decodeOffset(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("offset of %d bytes: %w", len(b), errHead)
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

func epochHead(epoch int32, start int64) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 12), uint32(epoch))
	return binary.LittleEndian.AppendUint64(b, uint64(start))
}

func decodeEpoch(b []byte) (int32, int64, error) {
	if len(b) != 12 {
		return 0, 0, fmt.Errorf("epoch of %d bytes: %w", len(b), errHead)
	}
	return int32(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint64(b[4:])), nil
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func timeOf(ms int64) time.Time { return time.UnixMilli(ms) }
