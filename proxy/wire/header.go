package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrMalformed is wrapped by every error about bytes that are not the message
// they claim to be. The connection they came from cannot be trusted any more.
var ErrMalformed = errors.New("malformed message")

// ErrUnknownAPI is wrapped when the key or version is not one that kmsg knows.
var ErrUnknownAPI = errors.New("unknown api")

// Header is what stands before the body of a request.
type Header struct {
	Key, Version int16
	Correlation  int32
	ClientID     []byte // aliases the frame; nil when null
	Body         int    // where the body starts in the frame
}

// PeekHeader reads the fixed first eight bytes of a request frame.
func PeekHeader(frame []byte) (key, version int16, correlation int32, ok bool) {
	if len(frame) < 8 {
		return 0, 0, 0, false
	}
	return int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:])), int32(binary.BigEndian.Uint32(frame[4:])), true
}

// PeekCorrelation reads the correlation id that starts every response frame.
func PeekCorrelation(frame []byte) (correlation int32, ok bool) {
	if len(frame) < 4 {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(frame)), true
}

// ParseHeader reads a request header of any version; it allocates nothing.
func ParseHeader(frame []byte) (Header, error) {
	key, version, correlation, ok := PeekHeader(frame)
	if !ok {
		return Header{}, fmt.Errorf("parse request header: %w: %d bytes", ErrMalformed, len(frame))
	}
	h := Header{Key: key, Version: version, Correlation: correlation, Body: 8}
	if key == int16(kmsg.ControlledShutdown) && version == 0 {
		return h, nil // the one request whose header has no client id
	}
	c := cursor{b: frame, at: 8}
	h.ClientID = c.nullableText(false)
	if Flexible(key, version) {
		c.tags(true)
	}
	if c.bad {
		return Header{}, fmt.Errorf("parse request header of key %d version %d: %w", key, version, ErrMalformed)
	}
	h.Body = c.at
	return h, nil
}
