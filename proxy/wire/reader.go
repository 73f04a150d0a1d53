package wire

import "io"

// DefaultMaxFrame bounds a frame unless a Reader is told otherwise: Kafka's
// socket.request.max.bytes and a bit, so that a legacy at its default is the one
// that refuses.
const DefaultMaxFrame = 101 << 20

// A Reader reads whole frames from a connection into one buffer. It is used by
// one goroutine.
type Reader struct {
	from io.Reader
	max  int
}

// NewReader reads from r; a frame above maxFrame bytes is an error (0 means
// DefaultMaxFrame).
func NewReader(r io.Reader, maxFrame int) *Reader {
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	return &Reader{from: r, max: maxFrame}
}

// Next returns at least one complete frame, and as many as one read brought, each
// with its size, one after the other as on the wire. The bytes are the caller's
// to change, and valid until the next call. io.EOF comes at a frame boundary,
// io.ErrUnexpectedEOF inside a frame.
func (r *Reader) Next() ([]byte, error) { return nil, io.EOF }

// Split takes the first frame, without its size, off what Next returned. ok is
// false when b is empty.
func Split(b []byte) (frame, rest []byte, ok bool) { return nil, nil, false }
