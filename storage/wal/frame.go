package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	frameMagic  = 0x4d524657 // "WFRM"
	frameHeader = 48
	recordSize  = 32 // of a record's fixed part
	sector      = 512

	maxFrame = 3 << 30 // places in a segment are 32 bits
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errFrame   = errors.New("no readable frame")
)

// A Record is what the log carries. Head and Body are opaque; they are apart so
// that a reader can skip the one and read the other in place.
type Record struct {
	Kind      uint8
	Topic     [16]byte
	Partition int32
	Head      []byte
	Body      []byte
}

// Size is how many bytes a record with a head and a body of that many bytes
// takes, as Reserve wants it.
func Size(head, body int) int { return recordSize + head + body }

func (r Record) appendTo(dst []byte) []byte {
	dst = append(dst, r.Kind, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Partition))
	dst = append(dst, r.Topic[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Head)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Body)))
	dst = append(dst, r.Head...)
	return append(dst, r.Body...)
}

// readRecord reads the record that starts b and says how long it is.
func readRecord(b []byte) (Record, int, error) {
	if len(b) < recordSize {
		return Record{}, 0, fmt.Errorf("record of %d bytes: %w", len(b), errFrame)
	}
	le := binary.LittleEndian
	head, body := int64(le.Uint32(b[24:])), int64(le.Uint32(b[28:]))
	if head+body > int64(len(b)-recordSize) {
		return Record{}, 0, fmt.Errorf("record of %d and %d bytes in %d: %w", head, body, len(b), errFrame)
	}
	bodyAt := recordSize + head
	end := bodyAt + body
	r := Record{Kind: b[0], Partition: int32(le.Uint32(b[4:])), Head: b[recordSize:bodyAt:bodyAt], Body: b[bodyAt:end:end]}
	copy(r.Topic[:], b[8:24])
	return r, int(end), nil
}

// A frameInfo is a frame's header.
type frameInfo struct {
	length      uint32 // of the body
	lsn         uint64
	incarnation uint64
	segment     uint32
	records     uint32
	first       uint64 // number of the first record
	bodyCRC     uint32
}

// size is what the frame takes in the file, padding included.
func (i frameInfo) size() int64 { return padded(frameHeader + int64(i.length)) }

func padded(n int64) int64 { return (n + sector - 1) &^ (sector - 1) }

// sealFrame fills in the header of a frame whose body stands behind it, and pads.
// buf begins with frameHeader bytes of room.
func sealFrame(buf []byte, salt uint32, i frameInfo) ([]byte, error) {
	length := len(buf) - frameHeader
	if length > maxFrame {
		return nil, fmt.Errorf("seal frame of %d bytes: %w", length, errFrame)
	}
	le := binary.LittleEndian
	le.PutUint32(buf, frameMagic)
	le.PutUint32(buf[4:], uint32(length))
	le.PutUint64(buf[8:], i.lsn)
	le.PutUint64(buf[16:], i.incarnation)
	le.PutUint32(buf[24:], i.segment)
	le.PutUint32(buf[28:], i.records)
	le.PutUint64(buf[32:], i.first)
	le.PutUint32(buf[40:], crc32.Update(salt, castagnoli, buf[frameHeader:]))
	le.PutUint32(buf[44:], crc32.Update(salt, castagnoli, buf[:44]))
	return append(buf, zeros[:padded(int64(len(buf)))-int64(len(buf))]...), nil
}

// readFrameHeader reads and checks a frame's header, not its body.
func readFrameHeader(b []byte, salt uint32) (frameInfo, error) {
	if len(b) < frameHeader {
		return frameInfo{}, fmt.Errorf("frame cut after %d bytes: %w", len(b), errFrame)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != frameMagic || le.Uint32(b[44:]) != crc32.Update(salt, castagnoli, b[:44]) {
		return frameInfo{}, errFrame
	}
	return frameInfo{
		length:      le.Uint32(b[4:]),
		lsn:         le.Uint64(b[8:]),
		incarnation: le.Uint64(b[16:]),
		segment:     le.Uint32(b[24:]),
		records:     le.Uint32(b[28:]),
		first:       le.Uint64(b[32:]),
		bodyCRC:     le.Uint32(b[40:]),
	}, nil
}

// readFrame reads the frame that starts b and returns its body. The error says
// in which way there is none.
func readFrame(b []byte, salt uint32) (frameInfo, []byte, error) {
	i, err := readFrameHeader(b, salt)
	if err != nil {
		return i, nil, err
	}
	if int64(i.length) > int64(len(b)-frameHeader) {
		return i, nil, fmt.Errorf("frame of %d bytes, have %d: %w", i.length, len(b)-frameHeader, errFrame)
	}
	body := b[frameHeader : frameHeader+int(i.length)]
	if sum := crc32.Update(salt, castagnoli, body); sum != i.bodyCRC {
		return i, nil, fmt.Errorf("frame checksum is %08x, want %08x: %w", sum, i.bodyCRC, errFrame)
	}
	return i, body, nil
}

// eachRecord calls fn for every record of a frame's body with its place in it.
func eachRecord(body []byte, count uint32, fn func(r Record, at int) error) error {
	at := 0
	for range count {
		r, n, err := readRecord(body[at:])
		if err != nil {
			return err
		}
		if err := fn(r, at); err != nil {
			return err
		}
		at += n
	}
	if at != len(body) {
		return fmt.Errorf("%d bytes behind the last record: %w", len(body)-at, errFrame)
	}
	return nil
}
