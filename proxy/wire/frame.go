package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// firstFlexible is the first version of each API with compact types and tagged
// fields, by key; a version no message has where there is none.
var firstFlexible = func() (first [kmsg.MaxKey + 1]int16) {
	for key := range first {
		first[key] = 1<<15 - 1
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue
		}
		for v := req.MaxVersion(); v >= 0; v-- {
			if req.SetVersion(v); req.IsFlexible() {
				first[key] = v
			}
		}
	}
	return first
}()

// Flexible tells whether a version of an API uses compact types and tagged
// fields (KIP-482); false for an API that kmsg doesn't know.
func Flexible(key, version int16) bool {
	return key >= 0 && int(key) < len(firstFlexible) && version >= firstFlexible[key]
}

// flexibleAnswer tells whether the response header has tagged fields: that of
// ApiVersions never has, so that any client can read it (KIP-511).
func flexibleAnswer(key, version int16) bool {
	return key != int16(kmsg.ApiVersions) && Flexible(key, version)
}

// DecodeRequest decodes a whole request frame. Byte slices of the message alias
// the frame, strings are copies.
func DecodeRequest(h Header, frame []byte) (kmsg.Request, error) {
	req := kmsg.RequestForKey(h.Key)
	if req == nil || h.Version < 0 || h.Version > req.MaxVersion() {
		return nil, fmt.Errorf("decode request: %w: key %d version %d", ErrUnknownAPI, h.Key, h.Version)
	}
	if h.Body < 0 || h.Body > len(frame) {
		return nil, fmt.Errorf("decode %s request: %w: no body", kmsg.NameForKey(h.Key), ErrMalformed)
	}
	if err := plausible(h, frame); err != nil {
		return nil, err
	}
	req.SetVersion(h.Version)
	if err := req.ReadFrom(frame[h.Body:]); err != nil {
		return nil, fmt.Errorf("decode %s request version %d: %w: %w", kmsg.NameForKey(h.Key), h.Version, ErrMalformed, err)
	}
	return req, nil
}

// plausible walks what a walker is for, before kmsg gets it: kmsg counts a
// number of tagged fields down even where the bytes have ended, up to four
// billion, and a client could keep a core busy with one small frame.
func plausible(h Header, frame []byte) (err error) {
	switch key := kmsg.Key(h.Key); {
	case key == kmsg.Produce && h.Version >= minProduce:
		_, err = WalkProduce(h, frame, nil)
	case key == kmsg.Fetch && h.Version >= minFetch:
		_, err = WalkFetch(h, frame, nil)
	case key == kmsg.ListOffsets && h.Version >= minListOffsets:
		err = WalkListOffsets(h, frame, nil)
	case key == kmsg.OffsetForLeaderEpoch && h.Version >= minLeaderEpoch:
		err = WalkOffsetForLeaderEpoch(h, frame, nil)
	}
	return err
}

// DecodeResponse decodes a whole response frame. Byte slices of the message
// alias the frame, strings are copies. An ApiVersions answer that says
// UNSUPPORTED_VERSION is read in version 0, in which brokers write it (KIP-511).
func DecodeResponse(key, version int16, frame []byte) (correlation int32, resp kmsg.Response, err error) {
	resp = kmsg.ResponseForKey(key)
	if resp == nil || version < 0 || version > resp.MaxVersion() {
		return 0, nil, fmt.Errorf("decode response: %w: key %d version %d", ErrUnknownAPI, key, version)
	}
	c := cursor{b: frame}
	correlation = c.int32()
	c.tags(flexibleAnswer(key, version))
	if c.bad {
		return 0, nil, fmt.Errorf("decode %s response version %d: %w: no header", kmsg.NameForKey(key), version, ErrMalformed)
	}
	body := frame[c.at:]
	if key == int16(kmsg.ApiVersions) && len(body) >= 2 && binary.BigEndian.Uint16(body) == codeUnsupportedVersion {
		version = 0
	}
	resp.SetVersion(version)
	if err := resp.ReadFrom(body); err != nil {
		return 0, nil, fmt.Errorf("decode %s response version %d: %w: %w", kmsg.NameForKey(key), version, ErrMalformed, err)
	}
	return correlation, resp, nil
}

const codeUnsupportedVersion = 35

// AppendRequest appends a request with its size. A nil clientID is null.
func AppendRequest(dst []byte, correlation int32, clientID *string, req kmsg.Request) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.Key()))
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.GetVersion()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlation))
	if req.Key() != int16(kmsg.ControlledShutdown) || req.GetVersion() != 0 {
		if clientID == nil {
			dst = binary.BigEndian.AppendUint16(dst, 0xffff)
		} else {
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(*clientID)))
			dst = append(dst, *clientID...)
		}
		if req.IsFlexible() {
			dst = append(dst, 0)
		}
	}
	return putSize(req.AppendTo(dst), start)
}

// AppendResponse appends a response with its size, in resp's version. It takes
// KIP-951 hints out of resp where its version has none. The header of an
// ApiVersions answer is always version 0 (KIP-511).
func AppendResponse(dst []byte, correlation int32, resp kmsg.Response) []byte {
	withoutEarlyHints(resp)
	start := len(dst)
	dst = appendAnswerHeader(dst, correlation, flexibleAnswer(resp.Key(), resp.GetVersion()))
	return putSize(resp.AppendTo(dst), start)
}

// appendAnswerHeader appends room for the size and a response header.
func appendAnswerHeader(dst []byte, correlation int32, flexible bool) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlation))
	if flexible {
		dst = append(dst, 0)
	}
	return dst
}

// putSize writes the size of the frame that starts at start and ends dst.
func putSize(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// The first versions in which Kafka defines KIP-951's hints. kmsg writes them in
// every flexible version, and librdkafka 2.11.1 crashes on those of Produce 9.
const (
	hintsProduce       = 10
	leaderHintsFetch   = 12
	endpointHintsFetch = 16
)

// withoutEarlyHints takes hints out of an answer whose version has none.
func withoutEarlyHints(resp kmsg.Response) {
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		if resp.Version >= hintsProduce {
			return
		}
		resp.Brokers = nil
		for i := range resp.Topics {
			partitions := resp.Topics[i].Partitions
			for j := range partitions {
				partitions[j].CurrentLeader.Default()
				partitions[j].CurrentLeader.UnknownTags = kmsg.Tags{}
			}
		}
	case *kmsg.FetchResponse:
		if resp.Version < endpointHintsFetch {
			resp.Brokers = nil
		}
	}
}
