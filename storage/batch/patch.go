package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CheckCRC computes the checksum of raw, exactly one whole batch, and compares it
// with the header's. Errors: those of Parse, ErrCRC; ErrLength when bytes follow.
func CheckCRC(raw []byte) error {
	h, err := Parse(raw)
	if err != nil {
		return err
	}
	if len(raw) != h.Size() {
		return fmt.Errorf("check batch of %d bytes, have %d: %w", h.Size(), len(raw), ErrLength)
	}
	if sum := crc32.Checksum(raw[attributesAt:], castagnoli); sum != h.CRC {
		return fmt.Errorf("check batch at %d, header says %08x, bytes say %08x: %w", h.BaseOffset, h.CRC, sum, ErrCRC)
	}
	return nil
}

// The setters patch raw in place. raw holds at least a header.

// SetBaseOffset moves the batch; the CRC does not cover the field.
func SetBaseOffset(raw []byte, offset int64) {
	binary.BigEndian.PutUint64(raw, uint64(offset))
}

// SetLeaderEpoch stamps the partition leader epoch; the CRC does not cover the field.
func SetLeaderEpoch(raw []byte, epoch int32) {
	binary.BigEndian.PutUint32(raw[leaderEpochAt:], uint32(epoch))
}

// SetMaxTimestamp sets the field only: call RewriteCRC after the last change.
func SetMaxTimestamp(raw []byte, ts int64) {
	binary.BigEndian.PutUint64(raw[maxTimeAt:], uint64(ts))
}

// SetAttributes sets the field only: call RewriteCRC after the last change.
func SetAttributes(raw []byte, attributes int16) {
	binary.BigEndian.PutUint16(raw[attributesAt:], uint16(attributes))
}

// RewriteCRC computes the checksum of raw, exactly one whole batch, and stores it.
func RewriteCRC(raw []byte) {
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[attributesAt:], castagnoli))
}
