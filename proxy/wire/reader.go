package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxFrame bounds a frame unless a Reader is told otherwise: Kafka's
// socket.request.max.bytes and a bit, so that a legacy at its default is the one
// that refuses.
const DefaultMaxFrame = 101 << 20

const (
	sizeBytes   = 4
	startBuffer = 64 << 10
	// wideBuffer is how far the buffer grows for the sake of many small frames in
	// one read. Frames above it are read to their end and no further, so that
	// nothing of the next one has to be moved.
	wideBuffer = 256 << 10
	// growStep bounds what a size that promises much can make us allocate before
	// the bytes have come.
	growStep = 1 << 20
	// smallReads is after how many answers that use little of a grown buffer it is
	// given up.
	smallReads = 64
)

// A Reader reads whole frames from a connection into one buffer, which starts
// small, grows to what the traffic needs and shrinks back. It is used by one
// goroutine.
type Reader struct {
	from  io.Reader
	max   int
	buf   []byte
	given int // buf[:given] was returned by the last Next
	end   int // buf[given:end] was read beyond it
	small int // calls in a row that used less than a quarter of buf
	err   error
}

// NewReader reads from r; a frame above maxFrame bytes is an error (0 means
// DefaultMaxFrame).
func NewReader(r io.Reader, maxFrame int) *Reader {
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	return &Reader{from: r, max: maxFrame}
}

// Next returns at least one complete frame, and as many as have come, each with
// its size, one after the other as on the wire. The bytes are the caller's to
// change, and valid until the next call. io.EOF comes at a frame boundary,
// io.ErrUnexpectedEOF inside a frame.
func (r *Reader) Next() ([]byte, error) {
	r.reclaim()
	for {
		whole, need, err := r.frames()
		if err != nil {
			return nil, err
		}
		if whole > 0 {
			r.given = whole
			return r.buf[:whole:whole], nil
		}
		if r.err != nil {
			if r.end > 0 && errors.Is(r.err, io.EOF) {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, r.err
		}
		r.fill(need)
	}
}

// reclaim takes back what was given, moves the rest to the front, and gives up a
// buffer that has been too large for a while.
func (r *Reader) reclaim() {
	rest := r.buf[r.given:r.end]
	if r.end*4 < len(r.buf) {
		r.small++
	} else {
		r.small = 0
	}
	if r.small > smallReads && len(r.buf) > startBuffer && len(rest) <= startBuffer {
		r.buf = make([]byte, startBuffer)
		r.small = 0
	}
	r.end = copy(r.buf, rest)
	r.given = 0
}

// frames gives the length of the complete frames in the buffer, and, where there
// is none, how many bytes the first one needs.
func (r *Reader) frames() (whole, need int, err error) {
	for {
		rest := r.end - whole
		if rest < sizeBytes {
			return whole, sizeBytes, nil
		}
		size := int(int32(binary.BigEndian.Uint32(r.buf[whole:])))
		if size < 0 || size > r.max {
			if whole > 0 {
				return whole, 0, nil // what stands before it is sound; the next call ends here
			}
			return 0, 0, fmt.Errorf("read frame: %w: size %d, at most %d", ErrMalformed, size, r.max)
		}
		if rest < sizeBytes+size {
			return whole, sizeBytes + size, nil
		}
		whole += sizeBytes + size
	}
}

// fill reads once, towards a first frame of need bytes.
func (r *Reader) fill(need int) {
	limit := r.room(need)
	n, err := r.from.Read(r.buf[r.end:limit])
	r.end += n
	r.err = err
	if n > 0 && r.end == len(r.buf) && len(r.buf) < wideBuffer {
		r.grow(2 * len(r.buf))
	}
	if n == 0 && err == nil {
		r.err = io.ErrNoProgress
	}
}

// room makes the buffer large enough to read on and gives where to stop.
func (r *Reader) room(need int) (limit int) {
	switch {
	case len(r.buf) == 0:
		r.grow(startBuffer)
	case need > len(r.buf) && r.end == len(r.buf):
		r.grow(min(need, max(2*len(r.buf), growStep)))
	case need > len(r.buf) && need <= wideBuffer:
		r.grow(need)
	}
	if need > wideBuffer {
		return min(need, len(r.buf))
	}
	return len(r.buf)
}

func (r *Reader) grow(size int) {
	buf := make([]byte, size)
	copy(buf, r.buf[:r.end])
	r.buf = buf
}

// Split takes the first frame, without its size, off what Next returned. ok is
// false when b is empty or doesn't hold a whole frame.
func Split(b []byte) (frame, rest []byte, ok bool) {
	if len(b) < sizeBytes {
		return nil, b, false
	}
	end := sizeBytes + int(int32(binary.BigEndian.Uint32(b)))
	if end < sizeBytes || end > len(b) {
		return nil, b, false
	}
	return b[sizeBytes:end:end], b[end:], true
}
