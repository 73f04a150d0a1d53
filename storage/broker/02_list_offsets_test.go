package broker_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/broker"
)

// listAt is a ListOffsets of one partition.
func listAt(version int16, topic string, index int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = version
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = index, timestamp
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// A found is what ListOffsets answers.
type found struct {
	Code      int16
	Offset    int64
	Timestamp int64
	Epoch     int32
}

func (h *house) list(req *kmsg.ListOffsetsRequest) found {
	h.t.Helper()
	p := ask[*kmsg.ListOffsetsResponse](h, req).Topics[0].Partitions[0]
	return found{p.ErrorCode, p.Offset, p.Timestamp, p.LeaderEpoch}
}

// TestListOffsets has epoch 1 at offsets 10 to 13 (times 1000 to 1003), epoch 4
// at 14 and 15 (5000, 5001) and at 16 (3000), and the log start at 11.
func TestListOffsets(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	h.replicate(orders, 0, spec{at: 10, epoch: 1, records: 4, time: 1000})
	h.replicate(orders, 0, spec{at: 14, epoch: 4, records: 2, time: 5000})
	h.replicate(orders, 0, spec{at: 16, epoch: 4, time: 3000})
	if _, err := h.logOf(orders, 0).DeleteBefore(11); err != nil {
		t.Fatal(err)
	}
	unsupported := found{kerr.UnsupportedVersion.Code, -1, -1, -1}
	cases := []struct {
		timestamp int64
		since     int16
		want      found
	}{
		{-1, 1, found{0, 17, -1, 4}},
		{-2, 1, found{0, 11, -1, 1}},
		{-3, 7, found{0, 15, 5001, 4}},
		{-4, 8, found{0, 11, -1, 1}},
		{-5, 9, found{0, -1, -1, -1}},
		{-6, 11, found{0, -1, -1, -1}},
		{-7, 99, unsupported},
		{0, 1, found{0, 11, 1001, 1}},
		{1002, 1, found{0, 12, 1002, 1}},
		{1004, 1, found{0, 14, 5000, 4}},
		{5001, 1, found{0, 15, 5001, 4}},
		{5002, 1, found{0, -1, -1, -1}},
	}
	eachVersion(t, 2, func(t *testing.T, v int16) {
		for _, c := range cases {
			want := c.want
			if v < c.since {
				want = unsupported
			}
			if v < 4 { // not on the wire
				want.Epoch = -1
			}
			same(t, fmt.Sprintf("timestamp %d", c.timestamp), h.list(listAt(v, orders.Name, 0, c.timestamp)), want)
		}
	})
}

func TestListOffsetsReadCommitted(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	abortedAndOpen(h, orders)
	for v := int16(2); v <= 11; v++ {
		for timestamp, want := range map[int64]int64{-1: 3, -2: 0, inTwoHours(): -1} {
			req := listAt(v, orders.Name, 0, timestamp)
			req.IsolationLevel = 1
			if got := h.list(req); got.Offset != want {
				t.Errorf("v%d, timestamp %d: offset %d, want %d", v, timestamp, got.Offset, want)
			}
		}
	}
	// The largest timestamp is that of a record behind the last stable offset:
	// read_committed must not be told about it.
	h.replicate(orders, 0, spec{at: 6, time: inTwoHours()})
	req := listAt(7, orders.Name, 0, -3)
	if got := h.list(req); got.Offset != 6 {
		t.Errorf("read_uncommitted: offset %d", got.Offset)
	}
	req.IsolationLevel = 1
	if got := h.list(req); got.Offset != -1 {
		t.Errorf("read_committed: offset %d", got.Offset)
	}
}

func TestListOffsetsOfEmptyLog(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	for timestamp, want := range map[int64]found{
		-1: {0, 0, -1, -1}, -2: {0, 0, -1, -1}, -3: {0, -1, -1, -1}, 0: {0, -1, -1, -1},
	} {
		same(t, fmt.Sprintf("timestamp %d", timestamp), h.list(listAt(11, orders.Name, 0, timestamp)), want)
	}
}

func TestListOffsetsErrors(t *testing.T) {
	h := leading(t, broker.Config{})
	unknown := found{kerr.UnknownTopicOrPartition.Code, -1, -1, -1}
	same(t, "no such topic", h.list(listAt(11, "none", 0, -1)), unknown)
	same(t, "no such partition", h.list(listAt(11, orders.Name, 3, -1)), unknown)

	twice := listAt(11, orders.Name, 0, -1)
	twice.Topics = append(twice.Topics, listAt(11, orders.Name, 1, -1).Topics[0], listAt(11, orders.Name, 0, -2).Topics[0])
	var codes []int16
	for _, topic := range ask[*kmsg.ListOffsetsResponse](h, twice).Topics {
		codes = append(codes, topic.Partitions[0].ErrorCode)
	}
	same(t, "codes", codes, []int16{kerr.InvalidRequest.Code, 0, kerr.InvalidRequest.Code})
}

func TestListOffsetsIsServedWhileFollowing(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 3})
	if _, err := h.Follow(offsets.Partition{Topic: orders.ID}); err != nil {
		t.Fatal(err)
	}
	if got := h.list(listAt(11, orders.Name, 0, -1)); got.Code != 0 || got.Offset != 3 {
		t.Errorf("%+v", got)
	}
	if err := h.Broker.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
