package offsets

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// An Entry is one batch as digests see it.
type Entry struct {
	Base   int64  `json:"base"`   // base offset
	Last   int64  `json:"last"`   // last offset
	Length int32  `json:"length"` // batchLength of the header: bytes after that field
	CRC    uint32 `json:"crc"`    // CRC-32C of the header
}

// A Chain is the value of a digest: 128 bits. Its text form is 32 hex digits.
type Chain [2]uint64

// A Digest stands for all batches of a log below Offset. The zero value with
// Offset set to a log's start is the digest of nothing. It covers base offset,
// length and CRC of every batch in their order, so gaps count too; the partition
// leader epoch, which is outside the CRC, does not.
type Digest struct {
	Offset  int64 `json:"offset"`  // one past the last offset of the last batch
	Batches int64 `json:"batches"` // how many were added
	Sum     Chain `json:"sum"`
}

// Add is the digest with the next batch behind it. The caller adds in the order
// of the log; Add does not check that e begins at or above d.Offset.
func (d Digest) Add(e Entry) Digest {
	shape := uint64(uint32(e.Length))<<32 | uint64(e.CRC)
	lo := mix(d.Sum[0]^uint64(e.Base), shape^saltLow)
	hi := mix(d.Sum[1]^shape, uint64(e.Base)^saltHigh)
	// The lanes are mixed, so that each depends on both of the batch before.
	return Digest{Offset: e.Last + 1, Batches: d.Batches + 1, Sum: Chain{lo ^ bits.RotateLeft64(hi, 23), hi + lo}}
}

// Equal says whether both stand for the same batches below the same offset.
func (d Digest) Equal(o Digest) bool { return d == o }

// The first 128 bits of the fraction of pi: any constants without structure do.
const (
	saltLow  = 0x243f6a8885a308d3
	saltHigh = 0x13198a2e03707344
)

// mix folds the 128-bit product of a and b, the second made odd so that
// a zero does not swallow the first.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(fmix(a), fmix(b)|1)
	return fmix(hi ^ lo ^ a)
}

// fmix is the finaliser of MurmurHash3: a bijection in which every input bit
// changes half of the output bits.
func fmix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (c Chain) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], c[0])
	binary.BigEndian.PutUint64(b[8:], c[1])
	return hex.EncodeToString(b[:])
}

// MarshalText writes 32 hex digits: a JSON number would lose bits in many readers.
func (c Chain) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Chain) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != 16 {
		return fmt.Errorf("parse digest %q: want 32 hex digits", text)
	}
	c[0], c[1] = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	return nil
}
