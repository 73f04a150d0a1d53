package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Headers are what kmsg's own formatter writes, for every key and version, and
// are read back.
func TestRequestFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		for version := int16(0); version <= kmsg.RequestForKey(key).MaxVersion(); version++ {
			req := kmsg.RequestForKey(key)
			random(r, req)
			req.SetVersion(version)
			frame := AppendRequest([]byte("before"), 42, kmsg.StringPtr("client"), req)[len("before"):]
			want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, req, 42)
			if clientID := key != 7 || version != 0; clientID && !bytes.Equal(frame, want) { // kmsg forgets that one's body
				t.Fatalf("key %d version %d: frame differs from kmsg's", key, version)
			}
			first, rest, ok := Split(frame)
			if !ok || len(rest) != 0 {
				t.Fatalf("key %d version %d: frame does not split", key, version)
			}
			h, err := ParseHeader(first)
			if err != nil {
				t.Fatal(err)
			}
			if h.Key != key || h.Version != version || h.Correlation != 42 {
				t.Fatalf("key %d version %d: parsed %+v", key, version, h)
			}
			if hasClientID := key != 7 || version != 0; hasClientID != (string(h.ClientID) == "client") {
				t.Fatalf("key %d version %d: client id %q", key, version, h.ClientID)
			}
			if decoded, err := DecodeRequest(h, first); err != nil {
				t.Fatal(err)
			} else if !bytes.Equal(decoded.AppendTo(nil), req.AppendTo(nil)) {
				t.Fatalf("key %d version %d: decoded differs", key, version)
			}
		}
	}
}

func TestRequestWithoutClientID(t *testing.T) {
	frame, _, _ := Split(AppendRequest(nil, 1, nil, kmsg.NewPtrMetadataRequest()))
	h, err := ParseHeader(frame)
	if err != nil || h.ClientID != nil {
		t.Fatalf("client id %v, error %v, want null", h.ClientID, err)
	}
}

func TestResponseFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		for version := int16(0); version <= kmsg.ResponseForKey(key).MaxVersion(); version++ {
			resp := kmsg.ResponseForKey(key)
			random(r, resp)
			resp.SetVersion(version)
			if av, ok := resp.(*kmsg.ApiVersionsResponse); ok {
				av.ErrorCode = 0
			}
			frame, _, ok := Split(AppendResponse(nil, -3, resp))
			if !ok {
				t.Fatalf("key %d version %d: no frame", key, version)
			}
			correlation, got, err := DecodeResponse(key, version, frame)
			if err != nil || correlation != -3 {
				t.Fatalf("key %d version %d: correlation %d, error %v", key, version, correlation, err)
			}
			if !bytes.Equal(got.AppendTo(nil), resp.AppendTo(nil)) {
				t.Fatalf("key %d version %d: decoded differs", key, version)
			}
		}
	}
}

// A broker answers an ApiVersions version that it doesn't have in version 0
// (KIP-511), and in no version has that answer a flexible header.
func TestUnsupportedApiVersions(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = codeUnsupportedVersion
	frame, _, _ := Split(AppendResponse(nil, 1, resp))
	_, got, err := DecodeResponse(18, 4, frame)
	if err != nil || got.GetVersion() != 0 {
		t.Fatalf("version %d, error %v, want version 0", got.GetVersion(), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, h := range []Header{{Key: 999}, {Key: -1}, {Key: 0, Version: 99}, {Key: 0, Version: -1}} {
		if _, err := DecodeRequest(h, make([]byte, 100)); !errors.Is(err, ErrUnknownAPI) {
			t.Errorf("request %+v: %v", h, err)
		}
		if _, _, err := DecodeResponse(h.Key, h.Version, make([]byte, 100)); !errors.Is(err, ErrUnknownAPI) {
			t.Errorf("response %+v: %v", h, err)
		}
	}
	if _, _, err := DecodeResponse(3, 9, []byte{1, 2}); !errors.Is(err, ErrMalformed) {
		t.Errorf("short response: %v", err)
	}
	if _, err := ParseHeader([]byte{0, 3, 0, 9, 0}); !errors.Is(err, ErrMalformed) {
		t.Errorf("short header: %v", err)
	}
}

// A message that promises four billion tagged fields is refused at once.
func TestTagBomb(t *testing.T) {
	for _, w := range walkerCases {
		if w.answer {
			continue
		}
		frame := w.message(w.highest).(kmsg.Request).AppendTo(w.header(w.highest))
		frame = append(frame[:len(frame)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)
		h, err := ParseHeader(frame)
		must(t, err)
		if _, err := DecodeRequest(h, frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", w.name, err)
		}
	}
}

func hinted(version int16) (*kmsg.ProduceResponse, *kmsg.FetchResponse) {
	produce, fetch := kmsg.NewPtrProduceResponse(), kmsg.NewPtrFetchResponse()
	produce.Version, fetch.Version = version, version
	pt, pp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
	pp.CurrentLeader.LeaderID, pp.CurrentLeader.LeaderEpoch = 3, 4
	pt.Partitions = append(pt.Partitions, pp)
	produce.Topics = append(produce.Topics, pt)
	pb := kmsg.NewProduceResponseBroker()
	pb.NodeID, pb.Host = 3, "host"
	produce.Brokers = append(produce.Brokers, pb)
	ft, fp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	fp.CurrentLeader.LeaderID, fp.CurrentLeader.LeaderEpoch = 3, 4
	ft.Partitions = append(ft.Partitions, fp)
	fetch.Topics = append(fetch.Topics, ft)
	fb := kmsg.NewFetchResponseBroker()
	fb.NodeID, fb.Host = 3, "host"
	fetch.Brokers = append(fetch.Brokers, fb)
	return produce, fetch
}

// KIP-951's hints stand in no answer of a version that has none: librdkafka
// 2.11.1 crashes on those of Produce 9.
func TestNoHintsInEarlyVersions(t *testing.T) {
	for version := int16(3); version <= maxProduce; version++ {
		resp, _ := hinted(version)
		frame, _, _ := Split(AppendResponse(nil, 1, resp))
		leader := 0
		endpoints, err := WalkProduceAnswer(version, frame, func(p ProduceAnswer) { leader = p.LeaderAt })
		must(t, err)
		if want := version >= 10; endpoints != want || (leader > 0) != want {
			t.Errorf("Produce %d: endpoints %v, leader at %d, want hints: %v", version, endpoints, leader, want)
		}
	}
	for version := int16(minFetch); version <= maxFetch; version++ {
		_, appended := hinted(version)
		_, encoded := hinted(version)
		for _, frame := range [][]byte{AppendResponse(nil, 1, appended), bytes.Join(EncodeFetch(1, encoded, nil), nil)} {
			frame, _, _ = Split(frame)
			leader := 0
			head, err := WalkFetchAnswer(version, frame, func(p FetchAnswer) { leader = p.LeaderAt })
			must(t, err)
			if head.Endpoints != (version >= 16) || (leader > 0) != (version >= 12) {
				t.Errorf("Fetch %d: endpoints %v, leader at %d", version, head.Endpoints, leader)
			}
		}
	}
}

// EncodeFetch writes what kmsg writes, records in segments included, and hands
// the segments through.
func TestEncodeFetch(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for version := int16(minFetch); version <= maxFetch; version++ {
		for range 50 {
			resp := kmsg.NewPtrFetchResponse()
			random(r, resp)
			resp.Version = version
			var records [][][]byte
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					p := &resp.Topics[i].Partitions[j]
					p.DivergingEpoch.UnknownTags, p.CurrentLeader.UnknownTags, p.SnapshotID.UnknownTags = kmsg.Tags{}, kmsg.Tags{}, kmsg.Tags{}
					if p.RecordBatches == nil {
						p.RecordBatches = []byte{} // absent records are empty, not null
					}
					records = append(records, cutInto(r, p.RecordBatches))
				}
			}
			want := AppendResponse(nil, 77, resp)
			if got := bytes.Join(EncodeFetch(77, resp, nil), nil); !bytes.Equal(got, want) {
				t.Fatalf("version %d: encoding of the message's own records differs from kmsg's", version)
			}
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					resp.Topics[i].Partitions[j].RecordBatches = nil
				}
			}
			buffers := EncodeFetch(77, resp, records)
			if got := bytes.Join(buffers, nil); !bytes.Equal(got, want) {
				t.Fatalf("version %d: encoding of segments differs from kmsg's", version)
			}
			for _, segments := range records {
				for _, s := range segments {
					if len(s) > 0 && !aliased(buffers, s) {
						t.Fatalf("version %d: a segment was copied", version)
					}
				}
			}
		}
	}
}

func cutInto(r *rand.Rand, b []byte) (segments [][]byte) {
	for len(b) > 0 {
		n := 1 + r.IntN(len(b))
		segments = append(segments, b[:n])
		b = b[n:]
	}
	return segments
}

func aliased(buffers [][]byte, s []byte) bool {
	for _, b := range buffers {
		if len(b) == len(s) && &b[0] == &s[0] {
			return true
		}
	}
	return false
}
