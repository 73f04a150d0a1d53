package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/broker"
)

func inTwoHours() int64 { return time.Now().Add(2 * time.Hour).UnixMilli() }

// fetchFrom is a Fetch of one partition that does not wait.
func fetchFrom(version int16, topic broker.Topic, index int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes = version, 1, 50<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic.Name, topic.ID
	rt.Partitions = append(rt.Partitions, fetchPartition(index, offset))
	req.Topics = append(req.Topics, rt)
	return req
}

func fetchPartition(index int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, offset, 1<<20
	return p
}

// fetchAll is what a log holds, read through the API.
func fetchAll(h *house, topic broker.Topic, index int32) []byte {
	h.t.Helper()
	p := ask[*kmsg.FetchResponse](h, fetchFrom(12, topic, index, h.logOf(topic, index).Bounds().Start)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		h.t.Fatalf("fetch: code %d", p.ErrorCode)
	}
	return p.RecordBatches
}

func headers(t testing.TB, raw []byte) []batch.Header {
	t.Helper()
	var list []batch.Header
	err := batch.Walk(raw, func(h batch.Header, b []byte) error {
		list = append(list, h)
		return batch.CheckCRC(b)
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func bases(t testing.TB, raw []byte) []int64 {
	var list []int64
	for _, h := range headers(t, raw) {
		list = append(list, h.BaseOffset)
	}
	return list
}

func TestFetchEveryVersion(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 2})
	h.mustProduce(orders, 0, spec{records: 3})
	eachVersion(t, 1, func(t *testing.T, v int16) {
		resp := ask[*kmsg.FetchResponse](h, fetchFrom(v, orders, 0, 1))
		if byID := v >= 13; byID && resp.Topics[0].TopicID != orders.ID || !byID && resp.Topics[0].Topic != orders.Name {
			t.Errorf("topic is %q, %v", resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
		p := resp.Topics[0].Partitions[0]
		same(t, "batches", bases(t, p.RecordBatches), []int64{0, 2})
		same(t, "offsets", []int64{p.HighWatermark, p.LastStableOffset}, []int64{5, 5})
		if p.AbortedTransactions != nil {
			t.Error("a list of aborted transactions for read_uncommitted")
		}
		if resp.SessionID != 0 || p.PreferredReadReplica != -1 {
			t.Errorf("session %d, preferred replica %d", resp.SessionID, p.PreferredReadReplica)
		}
	})
}

func TestFetchAtTheEndIsEmpty(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	p := ask[*kmsg.FetchResponse](h, fetchFrom(12, orders, 0, 1)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.HighWatermark != 1 || p.RecordBatches == nil || len(p.RecordBatches) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestFetchErrors wants errors at once although the client would wait.
func TestFetchErrors(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 5})
	if _, err := h.logOf(orders, 0).DeleteBefore(2); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		version int16
		topic   broker.Topic
		index   int32
		offset  int64
		want    *kerr.Error
	}{
		{"no such topic", 12, broker.Topic{Name: "none"}, 0, 0, kerr.UnknownTopicOrPartition},
		{"no such id", 13, broker.Topic{Name: orders.Name, ID: offsets.TopicID{9}}, 0, 0, kerr.UnknownTopicID},
		{"no such partition", 12, orders, 3, 0, kerr.UnknownTopicOrPartition},
		{"below the start", 12, orders, 0, 1, kerr.OffsetOutOfRange},
		{"above the end", 12, orders, 0, 6, kerr.OffsetOutOfRange},
		{"negative", 12, orders, 0, -1, kerr.OffsetOutOfRange},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			req := fetchFrom(c.version, c.topic, c.index, c.offset)
			req.MaxWaitMillis = int32(time.Hour / time.Millisecond)
			p := ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]
			if p.ErrorCode != c.want.Code {
				t.Errorf("code %d, want %v", p.ErrorCode, c.want)
			}
			same(t, "offsets", []int64{p.HighWatermark, p.LastStableOffset, p.LogStartOffset}, []int64{-1, -1, -1})
		})
	}
}

func TestFetchUnknownSession(t *testing.T) {
	h := leading(t, broker.Config{})
	req := fetchFrom(12, orders, 0, 0)
	req.SessionID, req.SessionEpoch = 44, 3
	if got := ask[*kmsg.FetchResponse](h, req); got.ErrorCode != kerr.FetchSessionIDNotFound.Code || len(got.Topics) != 0 {
		t.Errorf("code %d, %d topics", got.ErrorCode, len(got.Topics))
	}
	req.SessionID, req.SessionEpoch = 44, -1 // ends a session, a full fetch all the same
	if got := ask[*kmsg.FetchResponse](h, req); got.ErrorCode != 0 || len(got.Topics) != 1 {
		t.Errorf("code %d, %d topics", got.ErrorCode, len(got.Topics))
	}
}

// TestFetchLimits is KIP-74: the first batch goes out whatever its size, the
// others only as far as the request's and the partition's limits go.
func TestFetchLimits(t *testing.T) {
	h := leading(t, broker.Config{})
	size := len(spec{value: 1000}.build())
	for range 3 {
		h.mustProduce(orders, 0, spec{value: 1000})
		h.mustProduce(orders, 1, spec{value: 1000})
	}
	cases := []struct {
		name      string
		max       int
		partition int
		want      [2]int // batches of each partition
	}{
		{"all", 50 << 20, 1 << 20, [2]int{3, 3}},
		{"limit of the request below one batch", 10, 1 << 20, [2]int{1, 0}},
		{"limit of the partition below one batch", 50 << 20, 10, [2]int{1, 0}},
		{"nothing allowed", 0, 0, [2]int{1, 0}},
		{"two batches for a partition", 50 << 20, 2*size + 5, [2]int{2, 2}},
		{"four batches in all", 4*size + 5, 1 << 20, [2]int{3, 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			req := fetchFrom(12, orders, 0, 0)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(1, 0))
			req.MaxBytes = int32(c.max)
			for i := range req.Topics[0].Partitions {
				req.Topics[0].Partitions[i].PartitionMaxBytes = int32(c.partition)
			}
			var got [2]int
			for i, p := range ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions {
				got[i] = len(headers(t, p.RecordBatches))
				if p.HighWatermark != 3 {
					t.Errorf("partition %d: high watermark %d", i, p.HighWatermark)
				}
			}
			same(t, "batches", got, c.want)
		})
	}
}

func TestFetchCapOfTheBroker(t *testing.T) {
	size := len(spec{value: 1000}.build())
	h := leading(t, broker.Config{FetchMaxBytes: int32(size + 1)})
	for range 3 {
		h.mustProduce(orders, 0, spec{value: 1000})
	}
	p := ask[*kmsg.FetchResponse](h, fetchFrom(12, orders, 0, 0)).Topics[0].Partitions[0]
	same(t, "batches", bases(t, p.RecordBatches), []int64{0})
}

// abort replicates a transaction at [0,2), its abort marker at 2, an open one at
// 3, and plain records behind it.
func abortedAndOpen(h *house, topic broker.Topic) {
	h.replicate(topic, 0, spec{at: 0, records: 2, pid: 40, attrs: batch.TransactionalFlag})
	h.replicate(topic, 0, spec{at: 2, pid: 40, attrs: batch.TransactionalFlag | batch.ControlFlag})
	h.replicate(topic, 0, spec{at: 3, pid: 41, attrs: batch.TransactionalFlag})
	h.replicate(topic, 0, spec{at: 4, records: 2})
}

func TestFetchReadCommitted(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	abortedAndOpen(h, orders)
	eachVersion(t, 1, func(t *testing.T, v int16) {
		req := fetchFrom(v, orders, 0, 0)
		req.IsolationLevel = 1
		p := ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]
		same(t, "batches", bases(t, p.RecordBatches), []int64{0, 2})
		same(t, "offsets", []int64{p.HighWatermark, p.LastStableOffset}, []int64{6, 3})
		if len(p.AbortedTransactions) != 1 || p.AbortedTransactions[0].ProducerID != 40 || p.AbortedTransactions[0].FirstOffset != 0 {
			t.Errorf("aborted: %+v", p.AbortedTransactions)
		}
		req = fetchFrom(v, orders, 0, 3)
		req.IsolationLevel = 1
		p = ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]
		if len(p.RecordBatches) != 0 || p.ErrorCode != 0 {
			t.Errorf("%d bytes, code %d at the last stable offset", len(p.RecordBatches), p.ErrorCode)
		}
		if p.AbortedTransactions == nil {
			t.Error("no list of aborted transactions for read_committed")
		}
	})
	p := ask[*kmsg.FetchResponse](h, fetchFrom(12, orders, 0, 0)).Topics[0].Partitions[0]
	same(t, "batches of read_uncommitted", bases(t, p.RecordBatches), []int64{0, 2, 3, 4})
}

// TestFetchDivergingEpoch has epochs 1 at 0, 3 at 4 and 5 at 8, log end 10.
func TestFetchDivergingEpoch(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	h.replicate(orders, 0, spec{at: 0, epoch: 1, records: 4})
	h.replicate(orders, 0, spec{at: 4, epoch: 3, records: 4})
	h.replicate(orders, 0, spec{at: 8, epoch: 5, records: 2})
	cases := []struct {
		name      string
		offset    int64
		epoch     int32
		diverging kmsg.FetchResponseTopicPartitionDivergingEpoch
		code      int16
		batches   []int64
	}{
		{"not said", 4, -1, none(), 0, []int64{4, 8}},
		{"equal", 4, 1, none(), 0, []int64{4, 8}},
		{"equal, latest", 10, 5, none(), 0, nil},
		{"an epoch that is not here", 6, 2, diverging(1, 4), 0, nil},
		{"past the end of its epoch", 6, 1, diverging(1, 4), 0, nil},
		{"past the end of the log", 12, 5, diverging(5, 10), 0, nil},
		{"above all epochs", 6, 9, none(), kerr.OffsetOutOfRange.Code, nil},
		{"below all epochs", 0, 0, none(), 0, []int64{0, 4, 8}},
		{"below all epochs, beyond their start", 2, 0, diverging(0, 0), 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for v := int16(11); v <= 18; v++ {
				req := fetchFrom(v, orders, 0, c.offset)
				req.MaxWaitMillis = 1 // a diverging epoch does not wait, the rest may
				req.Topics[0].Partitions[0].LastFetchedEpoch = c.epoch
				if v < 12 { // not on the wire there
					continue
				}
				p := ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]
				if p.ErrorCode != c.code {
					t.Fatalf("code %d, want %d", p.ErrorCode, c.code)
				}
				same(t, "diverging epoch", p.DivergingEpoch, c.diverging)
				same(t, "batches", bases(t, p.RecordBatches), c.batches)
				if c.code == 0 && p.HighWatermark != 10 {
					t.Errorf("high watermark %d", p.HighWatermark)
				}
			}
		})
	}
}

func none() kmsg.FetchResponseTopicPartitionDivergingEpoch { return diverging(-1, -1) }

func diverging(epoch int32, end int64) kmsg.FetchResponseTopicPartitionDivergingEpoch {
	d := kmsg.NewFetchResponseTopicPartitionDivergingEpoch()
	d.Epoch, d.EndOffset = epoch, end
	return d
}

// TestFetchDivergingBelowTheStart: an offset that was deleted is out of range
// whatever the epochs say.
func TestFetchDivergingBelowTheStart(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	h.replicate(orders, 0, spec{at: 0, epoch: 1, records: 4})
	h.replicate(orders, 0, spec{at: 4, epoch: 3, records: 4})
	if _, err := h.logOf(orders, 0).DeleteBefore(6); err != nil {
		t.Fatal(err)
	}
	req := fetchFrom(12, orders, 0, 5)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 1
	if p := ask[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

func TestFetchIsServedWhileFollowing(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	if _, err := h.Follow(offsets.Partition{Topic: orders.ID}); err != nil {
		t.Fatal(err)
	}
	same(t, "batches", bases(t, fetchAll(h, orders, 0)), []int64{0})
}

func TestFetchOfRemovedTopic(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	if err := h.Remove(context.Background(), orders.ID); err != nil {
		t.Fatal(err)
	}
	byName := ask[*kmsg.FetchResponse](h, fetchFrom(12, orders, 0, 0)).Topics[0].Partitions[0]
	byID := ask[*kmsg.FetchResponse](h, fetchFrom(13, orders, 0, 0)).Topics[0].Partitions[0]
	same(t, "codes", []int16{byName.ErrorCode, byID.ErrorCode}, []int16{kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code})
}
