package proxy_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"switchback/offsets"
	"switchback/proxy"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What may not be done to a moved topic is refused with a message that says what
// to do, and other topics of the same request are not touched by it.
func TestMovedTopicsAreProtected(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"moved": 2, "still": 1}})
	w.flip(w.part("moved", 0))
	cl := w.client()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()

	drop := kmsg.NewPtrDeleteTopicsRequest()
	drop.TopicNames = []string{"moved", "still"}
	for _, name := range drop.TopicNames {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = kmsg.StringPtr(name)
		drop.Topics = append(drop.Topics, rt)
	}
	dropped, err := drop.RequestWith(ctx, cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range dropped.Topics {
		switch *rt.Topic {
		case "moved":
			if rt.ErrorCode != 44 || rt.ErrorMessage == nil || !strings.Contains(*rt.ErrorMessage, "roll it back first") {
				t.Errorf("delete moved topic: %+v", rt)
			}
		case "still":
			if rt.ErrorCode != 0 {
				t.Errorf("delete other topic: code %d", rt.ErrorCode)
			}
		}
	}
	grow := kmsg.NewPtrCreatePartitionsRequest()
	gt := kmsg.NewCreatePartitionsRequestTopic()
	gt.Topic, gt.Count = "moved", 5
	grow.Topics = append(grow.Topics, gt)
	grown, err := grow.RequestWith(ctx, cl)
	if err != nil {
		t.Fatal(err)
	}
	if code := grown.Topics[0].ErrorCode; code != 44 {
		t.Errorf("grow moved topic: code %d", code)
	}
	txn := w.client(kgo.TransactionalID("t"), kgo.DefaultProduceTopic("moved"), kgo.RecordRetries(1))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := txn.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err == nil {
		t.Error("a transactional produce to a moved topic was acknowledged")
	}
	if w.proxy.Transactional(w.part("moved", 0).Topic).IsZero() {
		t.Error("the transactional producer was not noticed")
	}
	if end := w.copies.get(w.part("moved", 0)).log.end(); end != 0 {
		t.Errorf("the target holds %d records of a refused transaction", end)
	}
}

func TestTransactionsOfCleanTopicsPassAndAreNoticed(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 1}})
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	txn := w.client(kgo.TransactionalID("t"), kgo.DefaultProduceTopic("orders"))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := txn.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := txn.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if w.proxy.Transactional(w.part("orders", 0).Topic).IsZero() {
		t.Error("the transactional producer was not noticed")
	}
}

// DeleteRecords of a moved topic moves the start of both logs.
func TestDeleteRecordsReachesBothSides(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 1}})
	p := w.part("orders", 0)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	cl := w.client(kgo.DefaultProduceTopic("orders"))
	w.flip(p)
	for range 10 {
		if err := cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = "orders"
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Offset = 7
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for _, node := range []int32{w.legacy.LeaderFor("orders", 0), proxy.DefaultTargetNode} {
		req.Topics[0].Partitions[0].Offset++
		want := req.Topics[0].Partitions[0].Offset
		resp, err := req.RequestWith(ctx, cl.Broker(int(node)))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Topics[0].Partitions[0]; got.ErrorCode != 0 || got.LowWatermark != want {
			t.Errorf("on node %d: code %d, low %d, want %d", node, got.ErrorCode, got.LowWatermark, want)
		}
		if _, start, _ := w.copies.get(p).log.read(0, 0); start != want {
			t.Errorf("on node %d: the target starts at %d, want %d", node, start, want)
		}
		direct, err := kgo.NewClient(kgo.SeedBrokers(w.legacy.ListenAddrs()...))
		if err != nil {
			t.Fatal(err)
		}
		if got := fetchAt(t, direct, w.legacy.LeaderFor("orders", 0), p, "orders", want); got.LogStartOffset != want {
			t.Errorf("on node %d: legacy starts at %d, want %d", node, got.LogStartOffset, want)
		}
		direct.Close()
	}
}

func TestWhatIsNoKafkaEndsItsConnection(t *testing.T) {
	g := newGated(t, noTarget(t))
	close(g.gate)
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Legacy, Epoch: 1}})
	produce := produceFrame(t, 9, -1, g.b.id, nil, 0)
	header := func(key, version int16) []byte {
		b := binary.BigEndian.AppendUint32(nil, 10)
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(b, 0, 0, 0, 1, 0xff, 0xff)
	}
	cut := append([]byte(nil), produce[:len(produce)-6]...)
	binary.BigEndian.PutUint32(cut, uint32(len(cut)-4))
	for name, b := range map[string][]byte{
		"http":            []byte("GET / HTTP/1.1\r\n\r\n"),
		"negative size":   {0xff, 0xff, 0xff, 0xff},
		"empty frame":     {0, 0, 0, 0},
		"unknown key":     header(9999, 0),
		"inter-broker":    header(int16(kmsg.LeaderAndISR), 0),
		"unknown version": header(0, 200),
		"cut produce":     cut,
	} {
		c := dialRaw(t, g.node)
		c.write(b)
		if frame, err := c.next(); err == nil {
			t.Errorf("%s: answered with %x", name, frame)
		}
	}
	fine := dialRaw(t, g.node)
	fine.write(produce)
	if codes := fine.codes(); codes[0] != 0 {
		t.Errorf("another connection: %v", codes)
	}
}
