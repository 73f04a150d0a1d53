package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/broker"
	"switchback/storage/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

const nodeID = 1_000_001

var (
	ordersID = offsets.TopicID{15: 1}
	orders   = broker.Topic{Name: "orders", ID: ordersID, Partitions: 3}
)

// A house is a broker over a real engine and a real catalog in a folder.
type house struct {
	t      testing.TB
	dir    string
	engine *storage.Engine
	cat    catalog.Catalog
	*broker.Broker
}

// open opens the folder; the test closes what is open at its end.
func open(t testing.TB, dir string, cfg broker.Config) *house {
	t.Helper()
	return openOver(t, dir, cfg, storage.Config{})
}

// openOver is open with an engine of some other configuration.
func openOver(t testing.TB, dir string, cfg broker.Config, engine storage.Config) *house {
	t.Helper()
	h := &house{t: t, dir: dir}
	engine.Dir, engine.ClusterID, engine.SegmentBytes, engine.Logger = dir, "legacy", 4<<20, slog.New(slog.DiscardHandler)
	var err error
	if h.engine, err = storage.Open(engine); err != nil {
		t.Fatal(err)
	}
	h.cat = h.engine.Catalog()
	cfg.NodeID, cfg.ClusterID, cfg.Dir = nodeID, "legacy", dir
	if h.Broker, err = broker.New(h.engine, h.cat, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	if h.Broker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Broker.Close(ctx); err != nil {
		h.t.Error(err)
	}
	if err := h.engine.Close(); err != nil {
		h.t.Error(err)
	}
	h.Broker = nil
}

// leading is a house with the topic orders, led with epoch 5.
func leading(t testing.TB, cfg broker.Config) *house {
	t.Helper()
	h := open(t, t.TempDir(), cfg)
	h.mustImport(orders)
	h.lead(orders, 5)
	return h
}

func (h *house) mustImport(topic broker.Topic) {
	h.t.Helper()
	if err := h.Import(context.Background(), topic); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) lead(topic broker.Topic, epoch int32) {
	h.t.Helper()
	for i := range topic.Partitions {
		if err := h.Lead(offsets.Partition{Topic: topic.ID, Index: i}, epoch); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) logOf(topic broker.Topic, index int32) *storage.Log {
	h.t.Helper()
	l, ok := h.engine.Log(offsets.Partition{Topic: topic.ID, Index: index})
	if !ok {
		h.t.Fatalf("no log of %s/%d", topic.Name, index)
	}
	return l
}

// start submits a request and returns where its answer will be. Answering twice
// fails the test.
func (h *house) start(c broker.Caller, req kmsg.Request) <-chan broker.Reply {
	answer := make(chan broker.Reply, 1)
	var answers atomic.Int32
	h.Submit(c, req, func(r broker.Reply) {
		if answers.Add(1) > 1 {
			h.t.Errorf("%T v%d was answered twice", req, req.GetVersion())
			return
		}
		answer <- r
	})
	return answer
}

func (h *house) await(answer <-chan broker.Reply) broker.Reply {
	h.t.Helper()
	select {
	case r := <-answer:
		return r
	case <-time.After(patience):
		h.t.Fatal("request was not answered")
		return broker.Reply{}
	}
}

// ask is submit, wait, and a round trip of the answer over the wire.
func ask[R kmsg.Response](h *house, req kmsg.Request) R {
	h.t.Helper()
	return h.decoded(h.await(h.start(broker.Caller{Connection: 1, ClientID: "test"}, req))).(R)
}

// decoded encodes an answer and decodes it again: what a client would get. It
// must be what the broker meant, in every version.
func (h *house) decoded(r broker.Reply) kmsg.Response {
	h.t.Helper()
	if r.Message == nil {
		h.t.Fatal("no answer for this key or version")
	}
	if f, ok := r.Message.(*kmsg.FetchResponse); ok {
		fill(h.t, f, r.Records)
	}
	back := kmsg.ResponseForKey(r.Message.Key())
	back.SetVersion(r.Message.GetVersion())
	wire := r.Message.AppendTo(nil)
	if err := back.ReadFrom(wire); err != nil {
		h.t.Fatalf("decode own answer %T v%d: %v", back, back.GetVersion(), err)
	}
	if again := back.AppendTo(nil); !reflect.DeepEqual(wire, again) {
		h.t.Errorf("%T v%d does not survive the wire", back, back.GetVersion())
	}
	if r.Release != nil {
		r.Release()
	}
	return back
}

// fill puts the record segments where kmsg expects them.
func fill(t testing.TB, f *kmsg.FetchResponse, records [][][]byte) {
	t.Helper()
	n := 0
	for i := range f.Topics {
		for j := range f.Topics[i].Partitions {
			p := &f.Topics[i].Partitions[j]
			if p.RecordBatches != nil {
				t.Error("RecordBatches is set")
			}
			p.RecordBatches = []byte{}
			for _, s := range records[n] {
				p.RecordBatches = append(p.RecordBatches, s...)
			}
			n++
		}
	}
	if n != len(records) {
		t.Errorf("%d partitions, records of %d", n, len(records))
	}
}

// eachVersion runs f as a subtest for every version of an API.
func eachVersion(t *testing.T, key int16, f func(t *testing.T, version int16)) {
	t.Helper()
	low, high, ok := broker.Serves(key)
	if !ok {
		t.Fatalf("key %d is not served", key)
	}
	for v := low; v <= high; v++ {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) { f(t, v) })
	}
}

// same compares with go-cmp and shows what is off.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	tags := cmp.Exporter(func(t reflect.Type) bool { return t == reflect.TypeFor[kmsg.Tags]() })
	if diff := cmp.Diff(want, got, tags); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A spec describes a batch to build.
type spec struct {
	at       int64 // base offset; 0 as a client sends it
	epoch    int32 // partition leader epoch
	records  int   // default 1
	value    int   // bytes of each value
	pid      int64 // producer id, 0: none
	pepoch   int16
	seq      int32
	attrs    int16
	time     int64 // of the first record, ms; one more for each that follows. Default now
	nullKeys bool
}

func (s spec) build() []byte {
	if s.records == 0 {
		s.records = 1
	}
	if s.time == 0 {
		s.time = time.Now().UnixMilli()
	}
	var body []byte
	for i := range s.records {
		r := batch.Record{TimestampDelta: int64(i), OffsetDelta: int32(i), Key: []byte("k"), Value: make([]byte, s.value)}
		if s.nullKeys {
			r.Key = nil
		}
		if s.attrs&batch.ControlFlag != 0 {
			r.Key, r.Value = []byte{0, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 0} // abort marker
		}
		body = batch.AppendRecord(body, r)
	}
	h := batch.Header{
		BaseOffset:      s.at,
		Length:          int32(batch.HeaderSize - batch.Overhead + len(body)),
		LeaderEpoch:     s.epoch,
		Magic:           batch.Magic,
		Attributes:      s.attrs,
		LastOffsetDelta: int32(s.records - 1),
		FirstTimestamp:  s.time,
		MaxTimestamp:    s.time + int64(s.records-1),
		ProducerID:      batch.NoProducerID,
		ProducerEpoch:   batch.NoProducerEpoch,
		BaseSequence:    batch.NoSequence,
		NumRecords:      int32(s.records),
	}
	if s.pid != 0 {
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = s.pid, s.pepoch, s.seq
	}
	if s.attrs&batch.ControlFlag != 0 {
		h.BaseSequence = batch.NoSequence
	}
	raw := append(h.AppendTo(nil), body...)
	batch.RewriteCRC(raw)
	return raw
}

// produceTo is a Produce of one batch to one partition of a topic.
func produceTo(version int16, topic broker.Topic, index int32, raw []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 1000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic.Name, topic.ID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = index, raw
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// produce appends a batch and returns the partition's answer.
func (h *house) produce(topic broker.Topic, index int32, s spec) kmsg.ProduceResponseTopicPartition {
	h.t.Helper()
	return ask[*kmsg.ProduceResponse](h, produceTo(9, topic, index, s.build())).Topics[0].Partitions[0]
}

// mustProduce is produce for a batch that must be taken.
func (h *house) mustProduce(topic broker.Topic, index int32, s spec) int64 {
	h.t.Helper()
	p := h.produce(topic, index, s)
	if p.ErrorCode != 0 {
		h.t.Fatalf("produce: code %d", p.ErrorCode)
	}
	return p.BaseOffset
}

// replicate appends a batch as the mirror does and waits until it is durable.
func (h *house) replicate(topic broker.Topic, index int32, s spec) {
	h.t.Helper()
	l := h.logOf(topic, index)
	wake := make(chan struct{}, 1)
	defer l.Subscribe(wake)()
	end, err := l.Replicate(s.build())
	if err != nil {
		h.t.Fatal(err)
	}
	for deadline := time.After(patience); l.Bounds().Durable < end; {
		select {
		case <-wake:
		case <-deadline:
			h.t.Fatal("replica did not become durable")
		}
	}
}
