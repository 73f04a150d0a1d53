package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
)

// A walked message is what a walker saw, or what kmsg saw, in one form.
type walked struct {
	Head       any
	Partitions []any
}

// A walkerCase puts one walker beside kmsg's decoder. Frames begin with a
// correlation id or a request header of the version.
type walkerCase struct {
	name            string
	key             kmsg.Key
	lowest, highest int16
	answer          bool
	walk            func(version int16, frame []byte) (walked, error)
	decoded         func(message any, frame []byte) walked
}

func (w walkerCase) message(version int16) interface {
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
	SetVersion(int16)
} {
	if w.answer {
		m := kmsg.ResponseForKey(int16(w.key))
		m.SetVersion(version)
		return m
	}
	m := kmsg.RequestForKey(int16(w.key))
	m.SetVersion(version)
	return m
}

// header is what stands before the body.
func (w walkerCase) header(version int16) []byte {
	if w.answer {
		return appendAnswerHeader(nil, 7, Flexible(int16(w.key), version))[sizeBytes:]
	}
	req := kmsg.RequestForKey(int16(w.key))
	req.SetVersion(version)
	body := len(req.AppendTo(nil))
	frame := AppendRequest(nil, 7, kmsg.StringPtr("c"), req)[sizeBytes:]
	return frame[:len(frame)-body]
}

// check walks a frame, and demands that it is accepted exactly when kmsg accepts
// it, and seen alike. It reports whether it was accepted.
func (w walkerCase) check(t *testing.T, version int16, frame []byte) bool {
	t.Helper()
	got, err := w.walk(version, frame)
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Fatalf("version %d: error is not ErrMalformed: %v", version, err)
	}
	header := len(w.header(version))
	if len(frame) < header || errors.Is(err, errTagBomb) {
		return false // kmsg would take minutes to refuse it
	}
	m := w.message(version)
	if decodeErr := m.ReadFrom(frame[header:]); decodeErr != nil {
		if err == nil {
			t.Fatalf("version %d: kmsg refuses (%v), walker does not\n%x", version, decodeErr, frame)
		}
		return false
	}
	if err != nil {
		t.Fatalf("version %d: kmsg accepts, walker says %v\n%x", version, err, frame)
	}
	want := w.decoded(m, frame)
	if !reflect.DeepEqual(want, got) { // cmp would take minutes for as many
		t.Fatalf("version %d: walker sees something else (-kmsg +walker):\n%s", version, cmp.Diff(want, got))
	}
	return true
}

var walkerCases = []walkerCase{
	{name: "ProduceRequest", key: kmsg.Produce, lowest: 3, highest: 13, walk: walkProduceRequest, decoded: produceRequestOf},
	{name: "ProduceResponse", key: kmsg.Produce, lowest: 3, highest: 13, answer: true, walk: walkProduceResponse, decoded: produceResponseOf},
	{name: "FetchRequest", key: kmsg.Fetch, lowest: 4, highest: 18, walk: walkFetchRequest, decoded: fetchRequestOf},
	{name: "FetchResponse", key: kmsg.Fetch, lowest: 4, highest: 18, answer: true, walk: walkFetchResponse, decoded: fetchResponseOf},
	{name: "ListOffsetsRequest", key: kmsg.ListOffsets, lowest: 1, highest: 11, walk: walkListOffsetsRequest, decoded: listOffsetsRequestOf},
	{name: "OffsetForLeaderEpochRequest", key: kmsg.OffsetForLeaderEpoch, lowest: 2, highest: 4, walk: walkLeaderEpochRequest, decoded: leaderEpochRequestOf},
}

func header(key kmsg.Key, version int16, frame []byte) (Header, error) {
	h, err := ParseHeader(frame)
	h.Key, h.Version = int16(key), version // a mutation may have hit them
	return h, err
}

type produceSeen struct {
	Topic     string
	ID        offsets.TopicID
	Partition int32
	Records   []byte
	Null      bool
}

type produceHeadSeen struct {
	TransactionalID string
	Null            bool
	Acks            int16
	Timeout         int32
}

func walkProduceRequest(version int16, frame []byte) (w walked, err error) {
	h, err := header(kmsg.Produce, version, frame)
	if err != nil {
		return w, err
	}
	head, err := WalkProduce(h, frame, func(p ProducePartition) {
		if p.Records != nil && string(frame[p.At:p.At+len(p.Records)]) != string(p.Records) {
			panic("At is not where Records are")
		}
		w.Partitions = append(w.Partitions, produceSeen{string(p.Topic), p.TopicID, p.Partition, p.Records, p.Records == nil})
	})
	w.Head = produceHeadSeen{string(head.TransactionalID), head.TransactionalID == nil, head.Acks, head.TimeoutMillis}
	return w, err
}

func produceRequestOf(message any, _ []byte) (w walked) {
	m := message.(*kmsg.ProduceRequest)
	head := produceHeadSeen{Null: m.TransactionID == nil, Acks: m.Acks, Timeout: m.TimeoutMillis}
	if m.TransactionID != nil {
		head.TransactionalID = *m.TransactionID
	}
	w.Head = head
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, produceSeen{t.Topic, t.TopicID, p.Partition, p.Records, p.Records == nil})
		}
	}
	return w
}

type produceAnswerSeen struct {
	Topic         string
	ID            offsets.TopicID
	Partition     int32
	ErrorCode     int16
	Base, At, Log int64
	Leader, Epoch int32
}

// leaderAt reads a hint back from where the walker found it.
func leaderAt(frame []byte, at int) (leader, epoch int32) {
	if at == 0 {
		return -1, -1
	}
	return Epoch(frame, at), Epoch(frame, at+4)
}

func walkProduceResponse(version int16, frame []byte) (w walked, err error) {
	endpoints, err := WalkProduceAnswer(version, frame, func(p ProduceAnswer) {
		leader, epoch := leaderAt(frame, p.LeaderAt)
		w.Partitions = append(w.Partitions, produceAnswerSeen{string(p.Topic), p.TopicID, p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime, p.LogStartOffset, leader, epoch})
	})
	w.Head = endpoints
	return w, err
}

func produceResponseOf(message any, _ []byte) (w walked) {
	m := message.(*kmsg.ProduceResponse)
	w.Head = len(m.Brokers) > 0
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, produceAnswerSeen{t.Topic, t.TopicID, p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime, p.LogStartOffset, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch})
		}
	}
	return w
}

type fetchSeen struct {
	Topic       string
	ID          offsets.TopicID
	Partition   int32
	Epoch       int32
	Offset      int64
	LastFetched int32
	MaxBytes    int32
}

func walkFetchRequest(version int16, frame []byte) (w walked, err error) {
	h, err := header(kmsg.Fetch, version, frame)
	if err != nil {
		return w, err
	}
	head, err := WalkFetch(h, frame, func(p FetchPartition) {
		if p.EpochAt > 0 && Epoch(frame, p.EpochAt) != p.CurrentLeaderEpoch || p.LastFetchedAt > 0 && Epoch(frame, p.LastFetchedAt) != p.LastFetchedEpoch {
			panic("epochs are not where the walker says")
		}
		if (p.EpochAt > 0) != (version >= 9) || (p.LastFetchedAt > 0) != (version >= 12) {
			panic("epochs where the version has none, or none where it has")
		}
		w.Partitions = append(w.Partitions, fetchSeen{string(p.Topic), p.TopicID, p.Partition, p.CurrentLeaderEpoch, p.Offset, p.LastFetchedEpoch, p.MaxBytes})
	})
	w.Head = head
	return w, err
}

func fetchRequestOf(message any, _ []byte) (w walked) {
	m := message.(*kmsg.FetchRequest)
	w.Head = FetchHead{m.ReplicaID, m.MaxWaitMillis, m.MinBytes, m.MaxBytes, m.IsolationLevel, m.SessionID, m.SessionEpoch}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, fetchSeen{t.Topic, t.TopicID, p.Partition, p.CurrentLeaderEpoch, p.FetchOffset, p.LastFetchedEpoch, p.PartitionMaxBytes})
		}
	}
	return w
}

type fetchAnswerSeen struct {
	Topic         string
	ID            offsets.TopicID
	Partition     int32
	ErrorCode     int16
	HW, LSO, Log  int64
	Records       []byte
	Null          bool
	Leader, Epoch int32
}

func walkFetchResponse(version int16, frame []byte) (w walked, err error) {
	head, err := WalkFetchAnswer(version, frame, func(p FetchAnswer) {
		leader, epoch := leaderAt(frame, p.LeaderAt)
		w.Partitions = append(w.Partitions, fetchAnswerSeen{string(p.Topic), p.TopicID, p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset, p.Records, p.Records == nil, leader, epoch})
	})
	w.Head = head
	return w, err
}

func fetchResponseOf(message any, _ []byte) (w walked) {
	m := message.(*kmsg.FetchResponse)
	w.Head = FetchAnswerHead{m.ThrottleMillis, m.ErrorCode, m.SessionID, len(m.Brokers) > 0}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, fetchAnswerSeen{t.Topic, t.TopicID, p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset, p.RecordBatches, p.RecordBatches == nil, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch})
		}
	}
	return w
}

func walkListOffsetsRequest(version int16, frame []byte) (w walked, err error) {
	h, err := header(kmsg.ListOffsets, version, frame)
	if err != nil {
		return w, err
	}
	err = WalkListOffsets(h, frame, func(p ListOffsetsPartition) {
		if (p.EpochAt > 0) != (version >= 4) || p.EpochAt > 0 && Epoch(frame, p.EpochAt) != p.CurrentLeaderEpoch {
			panic("epoch is not where the walker says")
		}
		w.Partitions = append(w.Partitions, fmt.Sprintf("%q/%d epoch %d at %d", p.Topic, p.Partition, p.CurrentLeaderEpoch, p.Timestamp))
	})
	return w, err
}

func listOffsetsRequestOf(message any, _ []byte) (w walked) {
	for _, t := range message.(*kmsg.ListOffsetsRequest).Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, fmt.Sprintf("%q/%d epoch %d at %d", t.Topic, p.Partition, p.CurrentLeaderEpoch, p.Timestamp))
		}
	}
	return w
}

func walkLeaderEpochRequest(version int16, frame []byte) (w walked, err error) {
	h, err := header(kmsg.OffsetForLeaderEpoch, version, frame)
	if err != nil {
		return w, err
	}
	err = WalkOffsetForLeaderEpoch(h, frame, func(p LeaderEpochPartition) {
		if Epoch(frame, p.EpochAt) != p.CurrentLeaderEpoch {
			panic("epoch is not where the walker says")
		}
		w.Partitions = append(w.Partitions, fmt.Sprintf("%q/%d epoch %d of %d", p.Topic, p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch))
	})
	return w, err
}

func leaderEpochRequestOf(message any, _ []byte) (w walked) {
	for _, t := range message.(*kmsg.OffsetForLeaderEpochRequest).Topics {
		for _, p := range t.Partitions {
			w.Partitions = append(w.Partitions, fmt.Sprintf("%q/%d epoch %d of %d", t.Topic, p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch))
		}
	}
	return w
}

// Every walker sees what kmsg sees, at every version, and survives damage.
func TestWalkersAgreeWithKmsg(t *testing.T) {
	for _, w := range walkerCases {
		t.Run(w.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(w.key)))
			for version := w.lowest; version <= w.highest; version++ {
				head := w.header(version)
				survived := 0
				for range 100 {
					m := w.message(version)
					random(r, m)
					frame := m.AppendTo(append([]byte(nil), head...))
					if !w.check(t, version, frame) {
						t.Fatalf("version %d: kmsg does not read what it wrote", version)
					}
					for range 5 {
						damaged := append(append([]byte(nil), head...), mutate(r, frame[len(head):])...)
						if w.check(t, version, damaged) {
							survived++
						}
					}
				}
				if survived == 0 {
					t.Errorf("version %d: no damaged message was accepted by kmsg; the comparison is vacuous", version)
				}
			}
		})
	}
}

func TestWalkersRefuseOtherVersions(t *testing.T) {
	for _, w := range walkerCases {
		for _, version := range []int16{-1, w.lowest - 1, w.highest + 1} {
			frame := make([]byte, 64)
			var err error
			if w.answer {
				_, err = w.walk(version, frame)
			} else {
				h := Header{Key: int16(w.key), Version: version, Body: 10}
				switch w.key {
				case kmsg.Produce:
					_, err = WalkProduce(h, frame, func(ProducePartition) { t.Error("walked") })
				case kmsg.Fetch:
					_, err = WalkFetch(h, frame, nil)
				case kmsg.ListOffsets:
					err = WalkListOffsets(h, frame, nil)
				default:
					err = WalkOffsetForLeaderEpoch(h, frame, nil)
				}
			}
			if !errors.Is(err, ErrUnknownAPI) {
				t.Errorf("%s version %d: %v, want ErrUnknownAPI", w.name, version, err)
			}
		}
	}
}

func FuzzWalkers(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for i, w := range walkerCases {
		for version := w.lowest; version <= w.highest; version++ {
			m := w.message(version)
			random(r, m)
			f.Add(uint8(i), uint8(version), m.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, which, version uint8, body []byte) {
		w := walkerCases[int(which)%len(walkerCases)]
		v := w.lowest + int16(version)%(w.highest-w.lowest+1)
		w.check(t, v, append(w.header(v), body...))
	})
}

// FuzzParseHeader: no bytes make a header parser panic, and a body starts inside.
func FuzzParseHeader(f *testing.F) {
	f.Add(AppendRequest(nil, 1, kmsg.StringPtr("x"), kmsg.NewPtrMetadataRequest())[sizeBytes:])
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := ParseHeader(frame)
		if err == nil && (h.Body < 8 || h.Body > len(frame)) {
			t.Fatalf("body at %d of %d", h.Body, len(frame))
		}
	})
}

func TestPatchEpochs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, w := range walkerCases {
		if w.answer || w.key == kmsg.Produce {
			continue
		}
		for version := w.lowest; version <= w.highest; version++ {
			m := w.message(version)
			random(r, m)
			frame := m.AppendTo(w.header(version))
			before := append([]byte(nil), frame...)
			h, err := ParseHeader(frame)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			plus := func(n int32) {
				err := PatchEpochs(h, frame, func(_ []byte, _ offsets.TopicID, _, epoch int32) int32 { seen++; return epoch + n })
				if err != nil {
					t.Fatal(err)
				}
			}
			plus(9)
			got := w.message(version)
			if err := got.ReadFrom(frame[h.Body:]); err != nil {
				t.Fatal(err)
			}
			want := epochsRaised(t, w.message(version), before[h.Body:], 9)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(kmsg.Tags{})); diff != "" {
				t.Fatalf("%s version %d: %s", w.name, version, diff)
			}
			plus(-9)
			if string(frame) != string(before) {
				t.Fatalf("%s version %d: patching there and back changed the frame", w.name, version)
			}
		}
	}
}

// epochsRaised decodes a request and raises its current leader epochs by n.
func epochsRaised(t *testing.T, message any, body []byte, n int32) any {
	t.Helper()
	switch m := message.(type) {
	case *kmsg.FetchRequest:
		must(t, m.ReadFrom(body))
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				if m.Version >= 9 {
					m.Topics[i].Partitions[j].CurrentLeaderEpoch += n
				}
			}
		}
	case *kmsg.ListOffsetsRequest:
		must(t, m.ReadFrom(body))
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				if m.Version >= 4 {
					m.Topics[i].Partitions[j].CurrentLeaderEpoch += n
				}
			}
		}
	case *kmsg.OffsetForLeaderEpochRequest:
		must(t, m.ReadFrom(body))
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				m.Topics[i].Partitions[j].CurrentLeaderEpoch += n
			}
		}
	}
	return message
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
