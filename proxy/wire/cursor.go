package wire

import "encoding/binary"

// A cursor reads a frame from front to back. After the first read beyond the
// end it is bad: every further read gives zero, and loops over counts end.
type cursor struct {
	b   []byte
	at  int
	bad bool
	// bomb: bad, because of a count of tagged fields beyond the end.
	bomb bool
}

// span takes the next n bytes. They alias the frame and cannot be appended into it.
func (c *cursor) span(n int) []byte {
	if c.bad || n < 0 || n > len(c.b)-c.at {
		c.bad = true
		return nil
	}
	s := c.b[c.at : c.at+n : c.at+n]
	c.at += n
	return s
}

func (c *cursor) skip(n int) {
	if c.bad || n < 0 || n > len(c.b)-c.at {
		c.bad = true
		return
	}
	c.at += n
}

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
	copy(id[:], c.span(len(id)))
	return id
}

// uvarint reads an unsigned varint of at most 32 bits.
func (c *cursor) uvarint() uint32 {
	if !c.bad && c.at < len(c.b) && c.b[c.at] < 0x80 {
		c.at++
		return uint32(c.b[c.at-1])
	}
	var x uint64
	for shift := uint(0); shift < 35; shift += 7 {
		s := c.span(1)
		if s == nil {
			return 0
		}
		x |= uint64(s[0]&0x7f) << shift
		if s[0] < 0x80 {
			if x > 1<<32-1 {
				break
			}
			return uint32(x)
		}
	}
	c.bad = true
	return 0
}

// count reads the length of an array; a null array counts nothing. An element
// takes at least one byte, so a count beyond the frame's end is bad at once.
func (c *cursor) count(flexible bool) int32 {
	var n int32
	if flexible {
		n = int32(c.uvarint()) - 1
	} else {
		n = c.int32()
	}
	if int(n) > len(c.b)-c.at {
		c.bad = true
	}
	if c.bad {
		return 0
	}
	return n
}

// text reads a string that may not be null.
func (c *cursor) text(flexible bool) []byte {
	if flexible {
		return c.span(int(c.uvarint()) - 1)
	}
	return c.span(int(c.int16()))
}

// nullableText reads a string; nil when it is null.
func (c *cursor) nullableText(flexible bool) []byte {
	var n int
	if flexible {
		n = int(c.uvarint()) - 1
	} else {
		n = int(c.int16())
	}
	if n < 0 {
		return nil
	}
	return c.span(n)
}

// nullableBytes reads bytes with a 32-bit length; nil when they are null.
func (c *cursor) nullableBytes(flexible bool) []byte {
	var n int
	if flexible {
		n = int(c.uvarint()) - 1
	} else {
		n = int(c.int32())
	}
	if n < 0 {
		return nil
	}
	return c.span(n)
}

// tags steps over a list of tagged fields (KIP-482), if the version has them.
func (c *cursor) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := c.tagCount(); n > 0 && !c.bad; n-- {
		c.uvarint()
		c.skip(int(c.uvarint()))
	}
}

// tagged reads a list of tagged fields: each gets a field's tag, its value and
// where the value starts in the frame.
func (c *cursor) tagged(each func(tag uint32, value []byte, at int)) {
	for n := c.tagCount(); n > 0 && !c.bad; n-- {
		tag := c.uvarint()
		value := c.span(int(c.uvarint()))
		if !c.bad {
			each(tag, value, c.at-len(value))
		}
	}
}

// tagCount reads how many tagged fields follow. One takes at least two bytes; a
// count that cannot be is marked, because kmsg would count it down to zero: up to
// four billion rounds.
func (c *cursor) tagCount() uint32 {
	n := c.uvarint()
	if int(n) > (len(c.b)-c.at)/2 {
		c.bad, c.bomb = true, true
	}
	return n
}

// structure checks the value of a tagged field that is a structure: some bytes of
// fields, then tagged fields of its own.
func (c *cursor) structure(value []byte, fields int) {
	inner := cursor{b: value}
	inner.skip(fields)
	inner.tags(true)
	c.adopt(&inner)
}

// endpoints reads the value of a NodeEndpoints field and gives how many there are.
func (c *cursor) endpoints(value []byte) int32 {
	inner := cursor{b: value}
	count := inner.count(true)
	for n := count; n > 0 && !inner.bad; n-- {
		inner.int32()
		inner.text(true)
		inner.int32()
		inner.nullableText(true)
		inner.tags(true)
	}
	c.adopt(&inner)
	return count
}

func (c *cursor) adopt(inner *cursor) {
	c.bad = c.bad || inner.bad
	c.bomb = c.bomb || inner.bomb
}
