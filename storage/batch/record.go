package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrRecord is returned for bytes that are no record.
var ErrRecord = errors.New("record is malformed")

// A Record is one record of an uncompressed batch. Key and Value are sub-slices
// of the input; nil is null, which is not the same as empty.
type Record struct {
	Attributes     int8
	TimestampDelta int64
	OffsetDelta    int32
	Key, Value     []byte
	Headers        []byte // as on the wire, after the count
	NumHeaders     int32
}

// ReadRecord reads the record that starts b and returns what follows it. Every
// length in it is checked, the headers' too. The error is ErrRecord.
func ReadRecord(b []byte) (Record, []byte, error) {
	size, n := binary.Varint(b)
	if n <= 0 || size < 0 || size > int64(len(b)-n) {
		return Record{}, b, fmt.Errorf("read record of %d bytes, have %d: %w", size, len(b), ErrRecord)
	}
	rest := b[n+int(size):]
	r, err := ParseRecord(b[n : n+int(size)])
	if err != nil {
		return Record{}, b, err
	}
	return r, rest, nil
}

// ParseRecord reads a record's body: exactly the bytes that its length prefix counts.
func ParseRecord(body []byte) (Record, error) {
	c := cursor{b: body}
	r := Record{
		Attributes:     c.int8(),
		TimestampDelta: c.varlong(),
		OffsetDelta:    c.varint(),
	}
	r.Key = c.bytes()
	r.Value = c.bytes()
	r.NumHeaders = c.varint()
	if r.NumHeaders < 0 {
		c.bad = true
	}
	r.Headers = c.b
	for i := int32(0); i < r.NumHeaders && !c.bad; i++ {
		if key := c.bytes(); key == nil {
			c.bad = true // a header's key is never null
		}
		c.bytes()
	}
	if c.bad || len(c.b) != 0 {
		return Record{}, fmt.Errorf("parse record of %d bytes: %w", len(body), ErrRecord)
	}
	return r, nil
}

// AppendRecord appends a record with its length prefix to dst: the inverse of
// ReadRecord.
func AppendRecord(dst []byte, r Record) []byte {
	body := 1 + varlen(r.TimestampDelta) + varlen(int64(r.OffsetDelta)) + bytesLen(r.Key) + bytesLen(r.Value) +
		varlen(int64(r.NumHeaders)) + len(r.Headers)
	dst = binary.AppendVarint(dst, int64(body))
	dst = append(dst, byte(r.Attributes))
	dst = binary.AppendVarint(dst, r.TimestampDelta)
	dst = binary.AppendVarint(dst, int64(r.OffsetDelta))
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(r.NumHeaders))
	return append(dst, r.Headers...)
}

// AppendHeader appends one record header to dst, for Record.Headers.
func AppendHeader(dst []byte, key string, value []byte) []byte {
	dst = binary.AppendVarint(dst, int64(len(key)))
	dst = append(dst, key...)
	return appendBytes(dst, value)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varlen(int64(len(b))) + len(b)
}

func varlen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// A cursor reads fields off the front of b; bad sticks.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) int8() int8 {
	if c.bad || len(c.b) == 0 {
		c.bad = true
		return 0
	}
	v := int8(c.b[0])
	c.b = c.b[1:]
	return v
}

func (c *cursor) varlong() int64 {
	if c.bad {
		return 0
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int32 {
	v := c.varlong()
	if v < math.MinInt32 || v > math.MaxInt32 {
		c.bad = true
		return 0
	}
	return int32(v)
}

func (c *cursor) bytes() []byte {
	n := c.varint()
	if c.bad || n < 0 {
		return nil
	}
	if int(n) > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}
