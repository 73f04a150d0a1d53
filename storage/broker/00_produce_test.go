package broker_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/broker"
)

func TestProduceEveryVersion(t *testing.T) {
	h := leading(t, broker.Config{})
	next := int64(0)
	eachVersion(t, 0, func(t *testing.T, v int16) {
		resp := ask[*kmsg.ProduceResponse](h, produceTo(v, orders, 0, spec{records: 3, value: 10}.build()))
		got := resp.Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.BaseOffset != next || got.LogAppendTime != -1 {
			t.Errorf("got code %d, offset %d, append time %d; want offset %d", got.ErrorCode, got.BaseOffset, got.LogAppendTime, next)
		}
		if v >= 5 && got.LogStartOffset != 0 {
			t.Errorf("log start %d", got.LogStartOffset)
		}
		if byID := v >= 13; byID && resp.Topics[0].TopicID != orders.ID || !byID && resp.Topics[0].Topic != orders.Name {
			t.Errorf("topic is %q, %v", resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
		next += 3
	})
	if b, _ := h.Bounds(offsets.Partition{Topic: orders.ID}); b.Durable != next || b.End != next {
		t.Errorf("log is durable to %d, ends at %d, want %d", b.Durable, b.End, next)
	}
}

func TestProduceStampsEpochAndOffset(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 2})
	h.mustProduce(orders, 0, spec{epoch: -1})
	got := headers(t, fetchAll(h, orders, 0))
	if len(got) != 2 || got[1].BaseOffset != 2 || got[1].LeaderEpoch != 5 {
		t.Errorf("log holds %+v", got)
	}
}

func TestProduceDuplicateGetsItsFirstOffset(t *testing.T) {
	h := leading(t, broker.Config{})
	for i := range int32(3) {
		h.mustProduce(orders, 0, spec{pid: 7, seq: i})
	}
	again := h.produce(orders, 0, spec{pid: 7, seq: 1})
	if again.ErrorCode != 0 || again.BaseOffset != 1 {
		t.Errorf("duplicate: code %d, offset %d; want offset 1", again.ErrorCode, again.BaseOffset)
	}
	if again.LogAppendTime == -1 {
		t.Error("a duplicate carries a log append time: that is how a broker's answer tells it from an append")
	}
	if b := h.logOf(orders, 0).Bounds(); b.End != 3 {
		t.Errorf("log ends at %d", b.End)
	}
}

// TestProduceRefusals sends what a broker refuses. Nothing of it is appended.
func TestProduceRefusals(t *testing.T) {
	h := leading(t, broker.Config{})
	small := broker.Topic{Name: "small", ID: offsets.TopicID{1}, Partitions: 1, Configs: map[string]*string{"max.message.bytes": kmsg.StringPtr("200")}}
	compacted := broker.Topic{Name: "compacted", ID: offsets.TopicID{2}, Partitions: 1, Configs: map[string]*string{"cleanup.policy": kmsg.StringPtr("compact")}}
	internal := broker.Topic{Name: "__consumer_offsets", ID: offsets.TopicID{3}, Partitions: 1, Internal: true}
	followed := broker.Topic{Name: "followed", ID: offsets.TopicID{4}, Partitions: 1}
	for _, topic := range []broker.Topic{small, compacted, internal, followed} {
		h.mustImport(topic)
	}
	for _, topic := range []broker.Topic{small, compacted, internal} {
		h.lead(topic, 5)
	}
	h.mustProduce(orders, 2, spec{pid: 7, pepoch: 1, seq: 0})

	damaged := spec{value: 20}.build()
	damaged[len(damaged)-1] ^= 1
	oldMagic := spec{}.build()
	oldMagic[16] = 1
	one := spec{}.build()
	cases := []struct {
		name    string
		version int16
		topic   broker.Topic
		index   int32
		raw     []byte
		want    *kerr.Error
	}{
		{"no such topic", 9, broker.Topic{Name: "none"}, 0, one, kerr.UnknownTopicOrPartition},
		{"no such id", 13, broker.Topic{ID: offsets.TopicID{9}}, 0, one, kerr.UnknownTopicID},
		{"zero id", 13, broker.Topic{}, 0, one, kerr.UnknownTopicID},
		{"no such partition", 9, orders, 3, one, kerr.UnknownTopicOrPartition},
		{"no such partition of an id", 13, orders, 3, one, kerr.UnknownTopicOrPartition},
		{"negative partition", 9, orders, -1, one, kerr.UnknownTopicOrPartition},
		{"nothing", 9, orders, 0, nil, kerr.InvalidRecord},
		{"half a batch", 9, orders, 0, one[:len(one)-1], kerr.InvalidRecord},
		{"half a header", 9, orders, 0, one[:30], kerr.InvalidRecord},
		{"two batches", 9, orders, 0, append(spec{}.build(), spec{}.build()...), kerr.InvalidRecord},
		{"old format", 9, orders, 0, oldMagic, kerr.InvalidRecord},
		{"zstd before it was allowed", 6, orders, 0, spec{attrs: int16(batch.CodecZstd)}.build(), kerr.UnsupportedCompressionType},
		{"bad checksum", 9, orders, 0, damaged, kerr.CorruptMessage},
		{"control batch", 9, orders, 0, spec{pid: 8, attrs: batch.ControlFlag}.build(), kerr.InvalidRecord},
		{"base offset not zero", 9, orders, 0, spec{at: 4, records: 2}.build(), kerr.InvalidRecord},
		{"too large", 9, small, 0, spec{value: 300}.build(), kerr.MessageTooLarge},
		{"null key on a compacted topic", 9, compacted, 0, spec{nullKeys: true}.build(), kerr.InvalidRecord},
		{"two hours ahead", 9, orders, 0, spec{time: inTwoHours()}.build(), kerr.InvalidTimestamp},
		{"sequence gap", 9, orders, 2, spec{pid: 7, pepoch: 1, seq: 5}.build(), kerr.OutOfOrderSequenceNumber},
		{"older producer epoch", 9, orders, 2, spec{pid: 7, pepoch: 0, seq: 1}.build(), kerr.InvalidProducerEpoch},
		{"internal topic", 9, internal, 0, one, kerr.InvalidTopicException},
		{"not led here", 9, followed, 0, one, kerr.NotLeaderForPartition},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := h.ends()
			got := ask[*kmsg.ProduceResponse](h, produceTo(c.version, c.topic, c.index, append([]byte(nil), c.raw...))).Topics[0].Partitions[0]
			if got.ErrorCode != c.want.Code {
				t.Errorf("code %d, want %v", got.ErrorCode, c.want)
			}
			if got.BaseOffset != -1 || got.LogAppendTime != -1 {
				t.Errorf("offset %d, append time %d of a refusal", got.BaseOffset, got.LogAppendTime)
			}
			same(t, "log ends", h.ends(), before)
		})
	}
}

func TestProduceInternalTopicByAdminClient(t *testing.T) {
	h := leading(t, broker.Config{})
	internal := broker.Topic{Name: "__consumer_offsets", ID: offsets.TopicID{3}, Partitions: 1, Internal: true}
	h.mustImport(internal)
	h.lead(internal, 5)
	r := h.await(h.start(broker.Caller{ClientID: "__admin_client"}, produceTo(9, internal, 0, spec{}.build())))
	if got := r.Message.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; got.ErrorCode != 0 {
		t.Errorf("code %d", got.ErrorCode)
	}
}

func TestProduceWrongAcks(t *testing.T) {
	h := leading(t, broker.Config{})
	req := produceTo(9, orders, 0, spec{}.build())
	req.Acks = 2
	if got := ask[*kmsg.ProduceResponse](h, req).Topics[0].Partitions[0]; got.ErrorCode != kerr.InvalidRequiredAcks.Code {
		t.Errorf("code %d", got.ErrorCode)
	}
}

func TestProduceAcksZeroAndOneAreAnsweredAndDurable(t *testing.T) {
	h := leading(t, broker.Config{})
	for i, acks := range []int16{0, 1} {
		req := produceTo(9, orders, 0, spec{}.build())
		req.Acks = acks
		ask[*kmsg.ProduceResponse](h, req)
		if b := h.logOf(orders, 0).Bounds(); b.Durable != int64(i+1) {
			t.Errorf("acks=%d was answered with %d durable", acks, b.Durable)
		}
	}
}

// TestProduceTransactionalIsRefusedWhole mixes a transactional batch with plain
// ones: nothing is appended, and unknown topics keep their own error.
func TestProduceTransactionalIsRefusedWhole(t *testing.T) {
	h := leading(t, broker.Config{})
	id := "payments"
	withID := produceTo(11, orders, 0, spec{pid: 9}.build())
	withID.TransactionID = &id
	mixed := produceTo(9, orders, 0, spec{}.build())
	mixed.Topics = append(mixed.Topics, produceTo(9, orders, 1, spec{pid: 9, attrs: batch.TransactionalFlag}.build()).Topics...)
	mixed.Topics = append(mixed.Topics, produceTo(9, broker.Topic{Name: "none"}, 0, spec{}.build()).Topics...)
	before := h.ends()
	for _, req := range []*kmsg.ProduceRequest{withID, mixed} {
		for _, topic := range ask[*kmsg.ProduceResponse](h, req).Topics {
			want := kerr.PolicyViolation.Code
			if topic.Topic == "none" {
				want = kerr.UnknownTopicOrPartition.Code
			}
			got := topic.Partitions[0]
			if got.ErrorCode != want || got.ErrorMessage == nil && topic.Topic != "none" {
				t.Errorf("%s: code %d, message %v; want %d", topic.Topic, got.ErrorCode, got.ErrorMessage, want)
			}
		}
	}
	same(t, "log ends", h.ends(), before)
}

func TestProduceSamePartitionTwiceIsRefused(t *testing.T) {
	h := leading(t, broker.Config{})
	req := produceTo(9, orders, 0, spec{}.build())
	for _, index := range []int32{1, 0} {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceTo(9, orders, index, spec{}.build()).Topics[0].Partitions[0])
	}
	var codes []int16
	for _, p := range ask[*kmsg.ProduceResponse](h, req).Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	same(t, "codes", codes, []int16{kerr.InvalidRequest.Code, 0, kerr.InvalidRequest.Code})
	same(t, "log ends", h.ends()[orders.Name], []int64{0, 1, 0})
}

// TestProduceKeepsTheOrderOfSubmit pipelines: offsets follow the order of Submit
// though nothing was answered in between.
func TestProduceKeepsTheOrderOfSubmit(t *testing.T) {
	h := leading(t, broker.Config{})
	var answers []<-chan broker.Reply
	for i := range int32(200) {
		answers = append(answers, h.start(broker.Caller{}, produceTo(9, orders, 0, spec{pid: 7, seq: i}.build())))
	}
	for i, a := range answers {
		got := h.await(a).Message.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.BaseOffset != int64(i) {
			t.Fatalf("batch %d: code %d, offset %d", i, got.ErrorCode, got.BaseOffset)
		}
	}
}

func TestProduceAfterFollowAndAgainAfterLead(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	p := offsets.Partition{Topic: orders.ID}
	end, err := h.Follow(p)
	if err != nil || end != 1 {
		t.Fatalf("follow: end %d, %v", end, err)
	}
	if got := h.produce(orders, 0, spec{}); got.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("code %d while followed", got.ErrorCode)
	}
	if err := h.Lead(p, 6); err != nil {
		t.Fatal(err)
	}
	if got := h.mustProduce(orders, 0, spec{}); got != 1 {
		t.Errorf("offset %d", got)
	}
}

func TestProduceCutsWhatFollowsTheBatch(t *testing.T) {
	h := leading(t, broker.Config{})
	raw := append(spec{}.build(), 0, 0, 0, 0)
	if got := ask[*kmsg.ProduceResponse](h, produceTo(9, orders, 0, raw)).Topics[0].Partitions[0]; got.ErrorCode != 0 {
		t.Errorf("code %d", got.ErrorCode)
	}
	if all := fetchAll(h, orders, 0); len(all) != len(raw)-4 {
		t.Errorf("log holds %d bytes, batch has %d", len(all), len(raw)-4)
	}
}

func TestProduceSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, broker.Config{})
	h.mustImport(orders)
	h.lead(orders, 5)
	h.mustProduce(orders, 0, spec{pid: 7, records: 4})
	h.close()

	h = open(t, dir, broker.Config{})
	if got := h.produce(orders, 0, spec{}); got.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("code %d: somebody leads after a restart", got.ErrorCode)
	}
	h.lead(orders, 5)
	if got := h.mustProduce(orders, 0, spec{pid: 7, records: 4}); got != 0 {
		t.Errorf("retry across a restart got offset %d", got)
	}
	if got := h.mustProduce(orders, 0, spec{pid: 7, seq: 4}); got != 4 {
		t.Errorf("next batch got offset %d", got)
	}
}

func TestProduceIntoClosedEngine(t *testing.T) {
	h := leading(t, broker.Config{})
	if err := h.engine.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.produce(orders, 0, spec{}); got.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("code %d", got.ErrorCode)
	}
}

// ends lists the log ends by topic.
func (h *house) ends() map[string][]int64 {
	ends := map[string][]int64{}
	for _, topic := range h.Topics() {
		for i := range topic.Partitions {
			ends[topic.Name] = append(ends[topic.Name], h.logOf(topic, i).Bounds().End)
		}
	}
	return ends
}

func TestSubmitWhatIsNotServed(t *testing.T) {
	h := leading(t, broker.Config{})
	for _, req := range []kmsg.Request{
		&kmsg.MetadataRequest{Version: 12},
		&kmsg.ProduceRequest{Version: 2},
		&kmsg.FetchRequest{Version: 3},
		&kmsg.ListOffsetsRequest{Version: 0},
	} {
		if r := h.await(h.start(broker.Caller{}, req)); r.Message != nil || r.Release != nil {
			t.Errorf("%T v%d was answered", req, req.GetVersion())
		}
	}
}

func TestLeadOfUnknownPartition(t *testing.T) {
	h := leading(t, broker.Config{})
	p := offsets.Partition{Topic: orders.ID, Index: 3}
	if err := h.Lead(p, 1); err == nil {
		t.Error("led a partition that is not there")
	}
	if _, err := h.Follow(p); err == nil {
		t.Error("followed a partition that is not there")
	}
	if err := h.Broker.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
