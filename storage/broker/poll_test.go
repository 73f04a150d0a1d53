package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/storage/batch"
	"switchback/storage/broker"
)

const aDay = int32(24 * time.Hour / time.Millisecond)

// waiting is a Fetch that waits for a day.
func waiting(topic broker.Topic, index int32, offset int64) *kmsg.FetchRequest {
	req := fetchFrom(13, topic, index, offset)
	req.MaxWaitMillis = aDay
	return req
}

func (h *house) fetched(answer <-chan broker.Reply) []kmsg.FetchResponseTopicPartition {
	h.t.Helper()
	return h.decoded(h.await(answer)).(*kmsg.FetchResponse).Topics[0].Partitions
}

// unanswered fails when an answer is there already.
func (h *house) unanswered(answer <-chan broker.Reply) {
	h.t.Helper()
	select {
	case <-answer:
		h.t.Fatal("answered too early")
	default:
	}
}

func TestPollWakesOnData(t *testing.T) {
	h := leading(t, broker.Config{})
	answer := h.start(broker.Caller{}, waiting(orders, 0, 0))
	h.unanswered(answer)
	h.mustProduce(orders, 1, spec{}) // of no interest
	h.unanswered(answer)
	h.mustProduce(orders, 0, spec{})
	same(t, "batches", bases(t, h.fetched(answer)[0].RecordBatches), []int64{0})
}

func TestPollWakesOnReplicatedData(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	answer := h.start(broker.Caller{}, waiting(orders, 2, 0))
	h.replicate(orders, 2, spec{at: 7})
	same(t, "batches", bases(t, h.fetched(answer)[0].RecordBatches), []int64{7})
}

// TestPollCountsMinBytes needs three batches, two partitions together.
func TestPollCountsMinBytes(t *testing.T) {
	h := leading(t, broker.Config{})
	size := len(spec{value: 100}.build())
	h.mustProduce(orders, 0, spec{value: 100})
	req := waiting(orders, 0, 0)
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(1, 0))
	req.MinBytes = int32(2*size + 1)
	answer := h.start(broker.Caller{}, req)
	h.mustProduce(orders, 0, spec{value: 100})
	h.unanswered(answer)
	h.mustProduce(orders, 1, spec{value: 100})
	total := 0
	for _, p := range h.fetched(answer) {
		total += len(p.RecordBatches)
	}
	if total != 3*size {
		t.Errorf("%d bytes, want %d", total, 3*size)
	}
}

// TestPollCountsNoMoreThanAPartitionGives: what the partition's limit keeps back
// does not count towards MinBytes.
func TestPollCountsNoMoreThanAPartitionGives(t *testing.T) {
	h := leading(t, broker.Config{})
	size := len(spec{value: 100}.build())
	for range 4 {
		h.mustProduce(orders, 0, spec{value: 100})
	}
	req := waiting(orders, 0, 0)
	req.Topics[0].Partitions[0].PartitionMaxBytes = int32(2 * size)
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(1, 0))
	req.MinBytes = int32(3 * size)
	answer := h.start(broker.Caller{}, req)
	h.unanswered(answer)
	h.mustProduce(orders, 1, spec{value: 100})
	parts := h.fetched(answer)
	same(t, "bytes", []int{len(parts[0].RecordBatches), len(parts[1].RecordBatches)}, []int{2 * size, size})
}

func TestPollEndsWithItsTimer(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	req := waiting(orders, 0, 0)
	req.MinBytes, req.MaxWaitMillis = 1<<20, 60
	began := time.Now()
	parts := h.fetched(h.start(broker.Caller{}, req))
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	same(t, "batches", bases(t, parts[0].RecordBatches), []int64{0})
}

func TestPollThatWantsNothingIsAnsweredAtOnce(t *testing.T) {
	h := leading(t, broker.Config{})
	nothing := waiting(orders, 0, 0)
	nothing.MinBytes = 0
	noTopics := waiting(orders, 0, 0)
	noTopics.Topics = nil
	for _, req := range []*kmsg.FetchRequest{nothing, noTopics} {
		if answer := h.start(broker.Caller{}, req); len(answer) != 1 {
			t.Error("not answered when Submit returned")
		}
	}
}

// TestPollOfReadCommittedWaitsForTheTransaction: records of an open transaction
// are no data for it; the marker that ends it is.
func TestPollOfReadCommittedWaitsForTheTransaction(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	req := waiting(orders, 0, 0)
	req.IsolationLevel = 1
	answer := h.start(broker.Caller{}, req)
	h.replicate(orders, 0, spec{at: 0, pid: 40, attrs: batch.TransactionalFlag})
	h.unanswered(answer)
	h.replicate(orders, 0, spec{at: 1, pid: 40, attrs: batch.TransactionalFlag | batch.ControlFlag})
	p := h.fetched(answer)[0]
	same(t, "batches", bases(t, p.RecordBatches), []int64{0, 1})
	if len(p.AbortedTransactions) != 1 {
		t.Errorf("aborted: %+v", p.AbortedTransactions)
	}
}

// TestPollUnknownTopicDoesNotEndTheWait: as in Kafka, one topic that is gone must
// not turn the long polls for all the others into a busy loop.
func TestPollUnknownTopicDoesNotEndTheWait(t *testing.T) {
	h := leading(t, broker.Config{})
	req := waiting(orders, 0, 0)
	req.Topics = append(req.Topics, fetchFrom(13, broker.Topic{}, 0, 0).Topics...)
	answer := h.start(broker.Caller{}, req)
	h.unanswered(answer)
	h.mustProduce(orders, 0, spec{})
	resp := h.decoded(h.await(answer)).(*kmsg.FetchResponse)
	same(t, "codes", []int16{resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[1].Partitions[0].ErrorCode}, []int16{0, kerr.UnknownTopicID.Code})
}

func TestPollEndsWhenTheOffsetIsDeleted(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 3})
	req := waiting(orders, 0, 1)
	req.MinBytes = 1 << 20
	answer := h.start(broker.Caller{}, req)
	h.unanswered(answer)
	if _, err := h.logOf(orders, 0).DeleteBefore(3); err != nil {
		t.Fatal(err)
	}
	if p := h.fetched(answer)[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

func TestPollEndsWhenTheTopicIsRemoved(t *testing.T) {
	h := leading(t, broker.Config{})
	answer := h.start(broker.Caller{}, waiting(orders, 0, 0))
	grown := orders
	grown.Partitions = 4
	h.mustImport(grown) // the fetch holds on to what the topic was before
	h.unanswered(answer)
	if err := h.Remove(context.Background(), orders.ID); err != nil {
		t.Fatal(err)
	}
	if p := h.fetched(answer)[0]; p.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

func TestForgetEndsTheWaitsOfOneConnection(t *testing.T) {
	h := leading(t, broker.Config{})
	gone := h.start(broker.Caller{Connection: 1}, waiting(orders, 0, 0))
	stays := h.start(broker.Caller{Connection: 2}, waiting(orders, 0, 0))
	h.Forget(1)
	h.Forget(1)
	h.Forget(3)
	h.fetched(gone)
	h.unanswered(stays)
	h.mustProduce(orders, 0, spec{})
	h.fetched(stays)
}

func TestCloseEndsWaits(t *testing.T) {
	h := leading(t, broker.Config{})
	answers := []<-chan broker.Reply{
		h.start(broker.Caller{Connection: 1}, waiting(orders, 0, 0)),
		h.start(broker.Caller{Connection: 2}, waiting(orders, 1, 0)),
	}
	for range 2 { // idempotent
		if err := h.Broker.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range answers {
		if len(a) != 1 {
			t.Error("not answered when Close returned")
		}
	}
	if late := h.start(broker.Caller{}, waiting(orders, 0, 0)); len(late) != 1 {
		t.Error("a fetch waits after Close")
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	h := leading(t, broker.Config{})
	release := make(chan struct{})
	answered := make(chan struct{})
	h.Submit(broker.Caller{}, waiting(orders, 0, 0), func(broker.Reply) { // a caller that breaks the rules
		<-release
		close(answered)
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Broker.Close(ctx); err == nil {
		t.Error("closed although a request was still being answered")
	}
	close(release)
	<-answered
}

func TestWaitingIsBounded(t *testing.T) {
	h := leading(t, broker.Config{MaxWaiting: 1})
	first := h.start(broker.Caller{}, waiting(orders, 0, 0))
	if second := h.start(broker.Caller{}, waiting(orders, 0, 0)); len(second) != 1 {
		t.Error("one more waits than is allowed")
	}
	h.unanswered(first)
	h.mustProduce(orders, 0, spec{})
	h.fetched(first)
}

// TestPollAndProduceRace starts polls while data comes: none may be missed.
func TestPollAndProduceRace(t *testing.T) {
	h := leading(t, broker.Config{})
	for i := range int64(300) {
		produced := h.start(broker.Caller{}, produceTo(9, orders, 0, spec{}.build()))
		p := h.fetched(h.start(broker.Caller{}, waiting(orders, 0, i)))[0]
		if got := bases(t, p.RecordBatches); len(got) != 1 || got[0] != i {
			t.Fatalf("round %d: %v", i, got)
		}
		h.await(produced)
	}
}
