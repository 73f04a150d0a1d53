package mirror_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"switchback/mirror"
	"switchback/offsets"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A network is a mirror.Legacy over real sockets, with connections that a test
// can lose: everything that the paper cluster cannot show, versions and encodings
// above all.
type network struct {
	seed string

	mu      sync.Mutex
	addrs   map[int32]string
	topics  []mirror.LegacyTopic
	changed chan struct{}
	open    map[*socket]bool
}

func newNetwork(seed string) *network {
	return &network{seed: seed, changed: make(chan struct{}), open: make(map[*socket]bool)}
}

func (n *network) Topics() []mirror.LegacyTopic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.topics
}

func (n *network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *network) Refresh(ctx context.Context) error {
	c, err := dial(ctx, n.seed)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := c.Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		return err
	}
	md := resp.(*kmsg.MetadataResponse)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = make(map[int32]string)
	for _, b := range md.Brokers {
		n.addrs[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	n.topics = nil
	for _, t := range md.Topics {
		lt := mirror.LegacyTopic{Name: *t.Topic, ID: t.TopicID, Internal: t.IsInternal, Partitions: make([]mirror.LegacyPartition, len(t.Partitions))}
		for _, p := range t.Partitions {
			lt.Partitions[p.Partition] = mirror.LegacyPartition{Leader: p.Leader, Epoch: p.LeaderEpoch}
		}
		n.topics = append(n.topics, lt)
	}
	close(n.changed)
	n.changed = make(chan struct{})
	return nil
}

func (n *network) Dial(ctx context.Context, node int32) (mirror.Conn, error) {
	n.mu.Lock()
	addr := n.addrs[node]
	n.mu.Unlock()
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.open[c] = true
	n.mu.Unlock()
	return c, nil
}

// lose resets every connection.
func (n *network) lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.Abort()
		delete(n.open, c)
	}
}

// A socket is a connection that does one request at a time.
type socket struct {
	mu       sync.Mutex
	nc       net.Conn
	versions map[int16]int16
	corr     int32
	format   *kmsg.RequestFormatter
}

func dial(ctx context.Context, addr string) (*socket, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &socket{nc: nc, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("mirror-test"))}
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 2
	resp, err := c.roundTrip(ctx, req)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.versions = make(map[int16]int16)
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		c.versions[k.ApiKey] = k.MaxVersion
	}
	return c, nil
}

func (c *socket) Close() error { return c.nc.Close() }

func (c *socket) Abort() {
	_ = c.nc.(*net.TCPConn).SetLinger(0)
	_ = c.nc.Close()
}

func (c *socket) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req.SetVersion(min(req.MaxVersion(), c.versions[req.Key()]))
	return c.roundTrip(ctx, req)
}

func (c *socket) roundTrip(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c.corr++
	if _, err := c.nc.Write(c.format.AppendRequest(nil, req, c.corr)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, err
	}
	skip := 4
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		skip++ // no tags in our headers
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(body[skip:])
}

// readAll reads a legacy log raw, as a consumer could.
func (n *network) readAll(t *testing.T, topic string, id offsets.TopicID, index int32) (all [][]byte) {
	t.Helper()
	ctx := context.Background()
	if err := n.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	var leader int32
	for _, lt := range n.Topics() {
		if lt.ID == id {
			leader = lt.Partitions[index].Leader
		}
	}
	c, err := n.Dial(ctx, leader)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for at := int64(0); ; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes = 10 << 20
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = topic, id
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = index, at, 10<<20
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := c.Request(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		fetched := resp.(*kmsg.FetchResponse)
		if len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != 1 {
			t.Fatalf("fetch of %s/%d at %d from broker %d: %+v", topic, index, at, leader, fetched)
		}
		p := fetched.Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(p.ErrorCode))
		}
		before := at
		if err := batch.Walk(p.RecordBatches, func(h batch.Header, b []byte) error {
			all = append(all, bytes.Clone(b))
			at = h.LastOffset() + 1
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if at == before {
			return all
		}
	}
}

// TestKfake runs a flip and a rollback with a real client's batches over real
// sockets, while leaders move, requests fail and connections are lost.
func TestKfake(t *testing.T) {
	const partitions = 4
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	n := newNetwork(cluster.ListenAddrs()[0])
	r := newRig(t, n, mirror.Config{})
	defer r.close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := client.ProduceSync(context.Background(), kgo.StringRecord(fmt.Sprint("record ", i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(0, 200)
	var id offsets.TopicID
	r.until(30*time.Second, func() string {
		if all := r.m.All(); len(all) != partitions || slices.ContainsFunc(all, func(s mirror.Status) bool { return s.State != mirror.CaughtUp }) {
			return "not caught up"
		}
		id = r.m.All()[0].Partition.Topic
		return ""
	})
	parts := make([]offsets.Partition, partitions)
	for i := range parts {
		parts[i] = offsets.Partition{Topic: id, Index: int32(i)}
		r.flip(parts[i])
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 5},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 5},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.KafkaStorageError, Count: 5})
	for i := range 400 {
		r.appendTarget(parts[i%partitions], records(fmt.Sprint("target ", i)))
		switch i {
		case 100, 300:
			n.lose()
		case 200:
			cluster.ShufflePartitionLeaders()
		}
	}
	for _, p := range parts {
		r.rollback(p)
	}
	produce(200, 300)
	for i, p := range parts {
		r.sealed(p)
		rep, err := r.m.Verify(context.Background(), p, nil)
		if err != nil || !rep.Equal {
			t.Errorf("verify: %+v, %v", rep, err)
		}
		legacy := n.readAll(t, "orders", id, int32(i))
		if err := equal(legacy, r.batches(p), false); err != nil {
			t.Error(err)
		}
		if len(legacy) < 150 {
			t.Errorf("only %d batches", len(legacy))
		}
	}
}
