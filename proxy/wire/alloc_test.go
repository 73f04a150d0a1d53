package wire

import (
	"bytes"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

// manyPartitions are frames with 50 partitions, as the clean path and the guard
// see them.
type manyPartitions struct {
	produce, fetch, listOffsets, leaderEpoch []byte
	produceAnswer, fetchAnswer               []byte
}

func newManyPartitions(records int) (m manyPartitions) {
	produce, fetch := kmsg.NewPtrProduceRequest(), kmsg.NewPtrFetchRequest()
	list, epoch := kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrOffsetForLeaderEpochRequest()
	produced, fetched := kmsg.NewPtrProduceResponse(), kmsg.NewPtrFetchResponse()
	for i := range int32(50) {
		pt, pp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
		pp.Partition, pp.Records = i, make([]byte, records)
		pt.Topic, pt.Partitions = "topic", append(pt.Partitions, pp)
		produce.Topics = append(produce.Topics, pt)
		ft, fp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		ft.Topic, ft.Partitions = "topic", append(ft.Partitions, fp)
		fetch.Topics = append(fetch.Topics, ft)
		lt, lp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		lt.Topic, lt.Partitions = "topic", append(lt.Partitions, lp)
		list.Topics = append(list.Topics, lt)
		et, ep := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		et.Topic, et.Partitions = "topic", append(et.Partitions, ep)
		epoch.Topics = append(epoch.Topics, et)
		prt, prp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		prp.CurrentLeader.LeaderID = 3
		prt.Topic, prt.Partitions = "topic", append(prt.Partitions, prp)
		produced.Topics = append(produced.Topics, prt)
		frt, frp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		frp.RecordBatches, frp.CurrentLeader.LeaderID = make([]byte, records), 3
		frt.Topic, frt.Partitions = "topic", append(frt.Partitions, frp)
		fetched.Topics = append(fetched.Topics, frt)
	}
	request := func(req kmsg.Request, version int16) []byte {
		req.SetVersion(version)
		return AppendRequest(nil, 1, kmsg.StringPtr("client"), req)[sizeBytes:]
	}
	response := func(resp kmsg.Response, version int16) []byte {
		resp.SetVersion(version)
		return AppendResponse(nil, 1, resp)[sizeBytes:]
	}
	m.produce, m.fetch = request(produce, 12), request(fetch, 17)
	m.listOffsets, m.leaderEpoch = request(list, 9), request(epoch, 4)
	m.produceAnswer, m.fetchAnswer = response(produced, 12), response(fetched, 17)
	return m
}

func TestWalkersDoNotAllocate(t *testing.T) {
	m := newManyPartitions(100)
	seen := 0
	cases := map[string]func(){
		"ProduceAcks": func() {
			h, _ := ParseHeader(m.produce)
			if acks, ok := ProduceAcks(h, m.produce); !ok || acks != 0 {
				t.Fatal("acks not read")
			}
		},
		"WalkProduce": func() {
			h, _ := ParseHeader(m.produce)
			if _, err := WalkProduce(h, m.produce, func(ProducePartition) { seen++ }); err != nil {
				t.Fatal(err)
			}
		},
		"WalkFetch": func() {
			h, _ := ParseHeader(m.fetch)
			if _, err := WalkFetch(h, m.fetch, func(FetchPartition) { seen++ }); err != nil {
				t.Fatal(err)
			}
		},
		"PatchEpochs": func() {
			for _, frame := range [][]byte{m.fetch, m.listOffsets, m.leaderEpoch} {
				h, _ := ParseHeader(frame)
				if err := PatchEpochs(h, frame, func(_ []byte, _ offsets.TopicID, _, epoch int32) int32 { seen++; return epoch }); err != nil {
					t.Fatal(err)
				}
			}
		},
		"EndpointsOf": func() {
			if present, err := EndpointsOf(0, 12, m.produceAnswer); present || err != nil {
				t.Fatal(present, err)
			}
			if present, err := EndpointsOf(1, 17, m.fetchAnswer); present || err != nil {
				t.Fatal(present, err)
			}
		},
		"WalkAnswers": func() {
			if _, err := WalkProduceAnswer(12, m.produceAnswer, func(ProduceAnswer) { seen++ }); err != nil {
				t.Fatal(err)
			}
			if _, err := WalkFetchAnswer(17, m.fetchAnswer, func(FetchAnswer) { seen++ }); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, f := range cases {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
	if seen == 0 {
		t.Error("nothing was walked")
	}
}

// An endless stream of the same frames.
type endless struct {
	frames []byte
	at     int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.frames[e.at:])
	e.at = (e.at + n) % len(e.frames)
	return n, nil
}

func TestReaderDoesNotAllocate(t *testing.T) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		r := NewReader(&endless{frames: frameOf(size)}, 0)
		next := func() {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 * smallReads {
			next()
		}
		if n := testing.AllocsPerRun(500, next); n != 0 {
			t.Errorf("frames of %d bytes: %v allocations, want 0", size, n)
		}
	}
}

func BenchmarkEndpointsOf(b *testing.B) {
	m := newManyPartitions(20 << 10)
	b.SetBytes(int64(len(m.fetchAnswer)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EndpointsOf(1, 17, m.fetchAnswer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalkProduce(b *testing.B) {
	m := newManyPartitions(20 << 10)
	b.SetBytes(int64(len(m.produce)))
	b.ReportAllocs()
	for b.Loop() {
		h, _ := ParseHeader(m.produce)
		if _, err := WalkProduce(h, m.produce, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeFetch(b *testing.B) {
	m := newManyPartitions(20 << 10)
	_, resp, err := DecodeResponse(1, 17, m.fetchAnswer)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.fetchAnswer)))
	b.ReportAllocs()
	for b.Loop() {
		buffers := EncodeFetch(1, resp.(*kmsg.FetchResponse), nil)
		if _, err := buffers.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func frameOf(size int) []byte {
	b := bytes.Repeat([]byte{7}, sizeBytes+size)
	return putSize(b, 0)
}
