package wire

import (
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Flexible tells whether a version of an API uses compact types and tagged
// fields (KIP-482); false for an API that kmsg doesn't know.
func Flexible(key, version int16) bool {
	return false
}

// DecodeRequest decodes a whole request frame. Byte slices of the message alias
// the frame.
func DecodeRequest(h Header, frame []byte) (kmsg.Request, error) {
	return nil, fmt.Errorf("decode request: %w", ErrUnknownAPI)
}

// DecodeResponse decodes a whole response frame. Byte slices of the message
// alias the frame.
func DecodeResponse(key, version int16, frame []byte) (correlation int32, resp kmsg.Response, err error) {
	return 0, nil, fmt.Errorf("decode response: %w", ErrUnknownAPI)
}

// AppendRequest appends a request with its size. A nil clientID is null.
func AppendRequest(dst []byte, correlation int32, clientID *string, req kmsg.Request) []byte {
	return dst
}

// AppendResponse appends a response with its size, in resp's version. It takes
// KIP-951 hints out of resp where its version has none. The header of an
// ApiVersions answer is always version 0 (KIP-511).
func AppendResponse(dst []byte, correlation int32, resp kmsg.Response) []byte {
	return dst
}

// EncodeFetch encodes a Fetch answer of version 4 to 18 with its size and
// copies no record: records[i] are the segments of the i-th partition in
// message order, and stand in the returned buffers as they are. When records is
// nil the partitions' RecordBatches are used. Absent records are written as
// empty, never as null (librdkafka refuses null).
func EncodeFetch(correlation int32, resp *kmsg.FetchResponse, records [][][]byte) net.Buffers {
	return nil
}
