package proxy_test

import (
	"context"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAt fetches one partition at an offset from whichever node leads it.
func fetchAt(t *testing.T, cl *kgo.Client, node int32, p offsets.Partition, topic string, offset int64) kmsg.FetchResponseTopicPartition {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 10, 1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, p.Topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Index, offset, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, cl.Broker(int(node)))
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return resp.Topics[0].Partitions[0]
}

// endAt asks one node for the end of a partition.
func endAt(t *testing.T, cl *kgo.Client, node int32, p offsets.Partition, topic string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = p.Index, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, cl.Broker(int(node)))
	if err != nil {
		t.Fatalf("list offsets: %v", err)
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("list offsets: code %d", code)
	}
	return resp.Topics[0].Partitions[0].Offset
}

// A client that produces, asks for the end, and fetches there at once, in a tight
// loop on a legacy node, while replay is slow.
func TestReadsOnLegacyAreHonestWhileReplayIsSlow(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 1}})
	p := w.part("orders", 0)
	cl := w.client(kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	w.flip(p)
	r := w.copies.get(p)
	r.touch(func() { r.pause = 5 * time.Millisecond })
	leader := w.legacy.LeaderFor("orders", 0)
	for range 30 {
		rec, err := cl.ProduceSync(ctx, kgo.StringRecord("x")).First()
		if err != nil {
			t.Fatal(err)
		}
		if end := endAt(t, cl, leader, p, "orders"); end <= rec.Offset {
			t.Fatalf("end %d after offset %d was acknowledged", end, rec.Offset)
		}
		for range 2 {
			if rec, err = cl.ProduceSync(ctx, kgo.StringRecord("y")).First(); err != nil {
				t.Fatal(err)
			}
		}
		if got := fetchAt(t, cl, leader, p, "orders", rec.Offset); got.ErrorCode != 0 {
			t.Fatalf("fetch at %d: code %d", rec.Offset, got.ErrorCode)
		}
		if got := fetchAt(t, cl, leader, p, "orders", rec.Offset+1); got.ErrorCode != 0 {
			t.Fatalf("fetch at the end %d: code %d", rec.Offset+1, got.ErrorCode)
		}
	}
	if got := fetchAt(t, cl, leader, p, "orders", 1<<40); got.ErrorCode != 1 {
		t.Errorf("fetch of an offset that no log has: code %d, want legacy's OFFSET_OUT_OF_RANGE", got.ErrorCode)
	}
}

// After a rollback a client that still reads on the target's node is answered
// honestly too.
func TestReadsOnTheTargetAfterARollback(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 1}})
	p := w.part("orders", 0)
	cl := w.client(kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	w.flip(p)
	w.relocate(true, p)
	w.relocate(false, p)
	w.rollback(p)
	for range 30 {
		rec, err := cl.ProduceSync(ctx, kgo.StringRecord("x")).First()
		if err != nil {
			t.Fatal(err)
		}
		if end := endAt(t, cl, proxy.DefaultTargetNode, p, "orders"); end <= rec.Offset {
			t.Fatalf("the target's node shows end %d after offset %d was acknowledged", end, rec.Offset)
		}
		if got := fetchAt(t, cl, proxy.DefaultTargetNode, p, "orders", rec.Offset+1); got.ErrorCode != 0 {
			t.Fatalf("fetch on the target's node: code %d", got.ErrorCode)
		}
	}
}

// Replay stops: the partition is relocated, clients go there and go on.
func TestReplayStoppedReadersMove(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 3}, config: func(c *proxy.Config) {
		c.CopyStopped = 200 * time.Millisecond
	}})
	l := w.startLoad("orders", 1)
	l.settle(200)
	parts := w.all("orders")
	w.flip(parts...)
	l.settle(200)
	for _, p := range parts {
		r := w.copies.get(p)
		r.touch(func() { r.paused = true })
	}
	l.closes.Store(true)
	w.relocate(true, parts...)
	read := l.read.Load()
	l.settle(1000)
	eventually(t, "both consumers read what only the target has", func() bool { return l.read.Load() > read+1500 })
	for _, p := range parts {
		r := w.copies.get(p)
		r.touch(func() { r.paused = false })
	}
	l.finish()
}

// A fetch that waits in vain ends its connection and names the partition.
func TestReadThatWaitsInVain(t *testing.T) {
	stopped := make(chan offsets.Partition, 10)
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 1}, config: func(c *proxy.Config) {
		c.CopyStopped = 50 * time.Millisecond
		c.OnCopyStopped = func(p offsets.Partition) { stopped <- p }
	}})
	p := w.part("orders", 0)
	cl := w.client(kgo.DefaultProduceTopic("orders"))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	w.flip(p)
	r := w.copies.get(p)
	r.touch(func() { r.paused = true })
	if err := cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 2*time.Second)
	defer cancelShort()
	_, err := kadm.NewClient(cl).ListEndOffsets(short, "orders")
	if err == nil && short.Err() == nil {
		t.Log("answered after a retry") // the client asks again; what counts is below
	}
	select {
	case got := <-stopped:
		if got != p {
			t.Errorf("stopped: %s, want %s", got, p)
		}
	case <-time.After(patience):
		t.Error("nobody was told that the copy has stopped")
	}
	r.touch(func() { r.paused = false })
}
