package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// What the catalog and the objects keep for a log is a version byte, fields, and
// a CRC-32C of both, little endian. Numbers are varints, signed ones zigzag.

var errFields = errors.New("stored state is malformed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts the checksum behind b.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unseal checks the checksum and the version, and returns what stands between.
func unseal(b []byte, version byte) (fields, error) {
	if len(b) < 5 {
		return fields{}, fmt.Errorf("%d bytes: %w", len(b), errFields)
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return fields{}, fmt.Errorf("checksum is %08x where %08x is stored: %w", got, sum, errFields)
	}
	if body[0] != version {
		return fields{}, fmt.Errorf("version %d, this one reads %d: %w", body[0], version, errFields)
	}
	return fields{b: body[1:]}, nil
}

// fields are read one after the other; the first error sticks, and everything
// behind it reads as zero.
type fields struct {
	b   []byte
	err error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format+": %w", append(args, errFields)...)
	}
	f.b = nil
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.fail("a number is cut short")
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) int() int64 {
	u := f.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (f *fields) int32() int32 {
	v := f.int()
	if v < math.MinInt32 || v > math.MaxInt32 {
		f.fail("%d does not fit into 32 bits", v)
		return 0
	}
	return int32(v)
}

func (f *fields) int16() int16 {
	v := f.int()
	if v < math.MinInt16 || v > math.MaxInt16 {
		f.fail("%d does not fit into 16 bits", v)
		return 0
	}
	return int16(v)
}

func (f *fields) word() uint64 {
	if len(f.b) < 8 {
		f.fail("a word is cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(f.b)
	f.b = f.b[8:]
	return v
}

// bytes is the next n bytes; they stay the caller's of unseal.
func (f *fields) bytes(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.fail("%d bytes where %d are left", n, len(f.b))
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

// count is how many of something follow that take at least size bytes each.
func (f *fields) count(size int) int {
	n := f.uint()
	if n > uint64(len(f.b)/size) {
		f.fail("%d entries in %d bytes", n, len(f.b))
		return 0
	}
	return int(n)
}

// end is the first error, or that bytes are left.
func (f *fields) end() error {
	if f.err == nil && len(f.b) > 0 {
		f.fail("%d bytes are left over", len(f.b))
	}
	return f.err
}

func appendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendWord(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }
