package proxy_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"switchback/proxy"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// startProxy runs a proxy in front of addr and returns the address of node 1.
func startProxy(t *testing.T, bootstrap string, target proxy.Target, copies proxy.Copy, change func(*proxy.Config)) (p *proxy.Proxy, node1 string) {
	t.Helper()
	cfg := proxy.Config{Listen: "127.0.0.1:0", Bootstrap: []string{bootstrap}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	p, err := proxy.New(cfg, target, copies)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("proxy ended: %v", err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-done:
		t.Fatalf("run proxy: %v", err)
	case <-time.After(patience):
		t.Fatal("proxy is not ready")
	}
	client := dialRaw(t, p.Addr())
	resp := client.ask(kmsg.NewPtrMetadataRequest(), 5).(*kmsg.MetadataResponse)
	for _, b := range resp.Brokers {
		if b.NodeID == 1 {
			return p, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
	}
	t.Fatal("no node 1 in Metadata")
	return nil, ""
}

func produceFrame(t *testing.T, version int16, acks int16, id [16]byte, records []byte, partitions ...int32) []byte {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = "orders", id
	for _, i := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = i, records
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return wire.AppendRequest(nil, 1, kmsg.StringPtr("alloc"), req)
}

func fetchFrame(version int16, id [16]byte) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = "orders", id
	topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	return wire.AppendRequest(nil, 1, kmsg.StringPtr("alloc"), req)
}

// The clean path: no allocation per request, through real sockets, with answers
// that have to be searched for endpoints.
func TestCleanRequestsAllocateNothing(t *testing.T) {
	b := newStubBroker(t)
	produced := kmsg.NewPtrProduceResponse()
	produced.Version = 11
	pt := kmsg.NewProduceResponseTopic()
	pt.Topic = "orders"
	pt.Partitions = append(pt.Partitions, kmsg.NewProduceResponseTopicPartition())
	produced.Topics = append(produced.Topics, pt)
	b.canned[0] = wire.AppendResponse(nil, 0, produced)
	fetched := kmsg.NewPtrFetchResponse()
	fetched.Version = 16
	ft := kmsg.NewFetchResponseTopic()
	ft.TopicID = b.id
	fp := kmsg.NewFetchResponseTopicPartition()
	fp.RecordBatches = make([]byte, 1000)
	ft.Partitions = append(ft.Partitions, fp)
	fetched.Topics = append(fetched.Topics, ft)
	b.canned[1] = wire.AppendResponse(nil, 0, fetched)
	b.start()
	t.Cleanup(b.stop)
	_, node := startProxy(t, b.ln.Addr().String(), &countingTarget{}, nil, nil)

	const pipelined = 8
	var frames []byte
	for range pipelined {
		frames = append(frames, produceFrame(t, 11, -1, b.id, make([]byte, 1000), 0)...)
		frames = append(frames, fetchFrame(16, b.id)...)
	}
	c := dialRaw(t, node)
	round := func() {
		if _, err := c.nc.Write(frames); err != nil {
			t.Fatal(err)
		}
		for range 2 * pipelined {
			frame, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if binary.BigEndian.Uint32(frame) != 1 {
				t.Fatal("an answer with another correlation id")
			}
		}
	}
	round()
	// The topology's own questions, once a second, fall below the average.
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per %d clean requests, want none", n, 2*pipelined)
	}
}
