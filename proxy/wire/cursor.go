package wire

import "encoding/binary"

// A cursor reads a frame from front to back. After the first read beyond the
// end it is bad, every further read gives zero, and loops over counts end.
type cursor struct {
	b   []byte
	at  int
	bad bool
}

func (c *cursor) left() int { return len(c.b) - c.at }

func (c *cursor) span(n int) []byte {
	if c.bad || n < 0 || n > c.left() {
		c.bad = true
		return nil
	}
	s := c.b[c.at : c.at+n : c.at+n]
	c.at += n
	return s
}

func (c *cursor) skip(n int) { c.span(n) }

func (c *cursor) int8() int8 {
	if s := c.span(1); s != nil {
		return int8(s[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if s := c.span(2); s != nil {
		return int16(binary.BigEndian.Uint16(s))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if s := c.span(4); s != nil {
		return int32(binary.BigEndian.Uint32(s))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if s := c.span(8); s != nil {
		return int64(binary.BigEndian.Uint64(s))
	}
	return 0
}

func (c *cursor) uuid() (id [16]byte) {
	copy(id[:], c.span(16))
	return id
}

// uvarint reads an unsigned varint of at most 32 bits.
func (c *cursor) uvarint() uint32 {
	var x uint64
	for shift := uint(0); shift < 35; shift += 7 {
		s := c.span(1)
		if s == nil {
			return 0
		}
		x |= uint64(s[0]&0x7f) << shift
		if s[0]&0x80 == 0 {
			if x > 1<<32-1 {
				break
			}
			return uint32(x)
		}
	}
	c.bad = true
	return 0
}

func (c *cursor) nullableString() []byte {
	n := c.int16()
	if n < 0 {
		return nil
	}
	return c.span(int(n))
}

// tags steps over a list of tagged fields (KIP-482).
func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		c.skip(int(c.uvarint()))
	}
}
