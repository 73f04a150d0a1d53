package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/snappy"
)

// xerialMagic begins the framing of snappy-java, which is what the Java client
// writes: magic, version and compatible version, then blocks behind their length.
// Other clients send one bare block; SnappyInputStream takes both.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

// maxSnappyRatio bounds what a block may claim to hold: no tag of three bytes
// makes more than 64.
const maxSnappyRatio = 64

// A snappyReader reads either form, block by block into a buffer of its own.
type snappyReader struct {
	source []byte // what is left
	framed bool
	buf    []byte // one block, decompressed
	rest   []byte // of buf, not read yet
	limit  int    // of one block
}

func (s *snappyReader) reset(payload []byte) error {
	s.source, s.rest, s.limit = payload, nil, math.MaxInt
	s.framed = bytes.HasPrefix(payload, xerialMagic)
	if !s.framed {
		return nil
	}
	if len(payload) < xerialHeader || int32(binary.BigEndian.Uint32(payload[12:])) > 1 {
		return fmt.Errorf("snappy framing of another version: %w", ErrMalformed)
	}
	s.source = payload[xerialHeader:]
	return nil
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if len(s.source) == 0 {
			return 0, io.EOF
		}
		if err := s.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snappyReader) block() error {
	block := s.source
	s.source = nil
	if s.framed {
		if len(block) < 4 {
			return fmt.Errorf("snappy block length: %w", io.ErrUnexpectedEOF)
		}
		if bytes.HasPrefix(block, xerialMagic) && len(block) >= xerialHeader { // streams may be joined
			s.source = block[xerialHeader:]
			return nil
		}
		n := int64(binary.BigEndian.Uint32(block))
		if n > int64(len(block)-4) {
			return fmt.Errorf("snappy block of %d bytes in %d: %w", n, len(block)-4, io.ErrUnexpectedEOF)
		}
		block, s.source = block[4:4+n], block[4+n:]
	}
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return fmt.Errorf("snappy block: %w", err)
	}
	if size > maxSnappyRatio*len(block) {
		return fmt.Errorf("snappy block of %d bytes that claims %d: %w", len(block), size, ErrMalformed)
	}
	if size > s.limit {
		return fmt.Errorf("snappy block of %d bytes: %w", size, ErrLimit)
	}
	if err := strictSnappy(block); err != nil {
		return err
	}
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	if s.rest, err = snappy.Decode(s.buf[:cap(s.buf)], block); err != nil {
		return fmt.Errorf("snappy block: %w", err)
	}
	return nil
}

// strictSnappy refuses what only S2, an extension that our decoder reads, would
// read: a copy with offset zero.
func strictSnappy(block []byte) error {
	_, n := binary.Uvarint(block)
	if n <= 0 {
		return fmt.Errorf("snappy block length: %w", ErrMalformed)
	}
	for b := block[n:]; len(b) > 0; {
		skip, offset := snappyTag(b)
		if skip > len(b) || offset == 0 {
			return fmt.Errorf("snappy tag %02x: %w", b[0], ErrMalformed)
		}
		b = b[skip:]
	}
	return nil
}

// snappyTag is how many bytes the element at the front of b takes, and the offset
// of a copy; 1 for a literal.
func snappyTag(b []byte) (skip, offset int) {
	const tooLong = 1 << 62
	tag := int(b[0])
	switch tag & 3 {
	case 0:
		n, extra := tag>>2, 0
		if n >= 60 {
			extra, n = n-59, 0
			if extra >= len(b) {
				return tooLong, 1
			}
			for i := extra; i > 0; i-- {
				n = n<<8 | int(b[i])
			}
		}
		return 1 + extra + n + 1, 1
	case 1:
		if len(b) < 2 {
			return tooLong, 1
		}
		return 2, tag>>5<<8 | int(b[1])
	case 2:
		if len(b) < 3 {
			return tooLong, 1
		}
		return 3, int(binary.LittleEndian.Uint16(b[1:]))
	}
	if len(b) < 5 {
		return tooLong, 1
	}
	return 5, int(binary.LittleEndian.Uint32(b[1:]))
}
