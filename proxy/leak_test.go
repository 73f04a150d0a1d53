package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"switchback/proxy"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// addresses are the ways in which an answer could name a legacy broker.
func (w *world) addresses() [][]byte {
	var all [][]byte
	for _, addr := range w.legacy.ListenAddrs() {
		all = append(all, []byte(addr))
		host, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(port)
		all = append(all, binary.BigEndian.AppendUint32([]byte(host), uint32(n)))
	}
	return all
}

// nodes are the addresses of all nodes as Metadata shows them.
func (w *world) nodes() map[int32]string {
	w.t.Helper()
	resp := dialRaw(w.t, w.proxy.Addr()).ask(kmsg.NewPtrMetadataRequest(), 5).(*kmsg.MetadataResponse)
	nodes := make(map[int32]string)
	for _, b := range resp.Brokers {
		nodes[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return nodes
}

// sweepRequest fills in what makes a broker say something.
func (w *world) sweepRequest(key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	id := w.part("orders", 0).Topic
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		frame, _, _ := wire.Split(produceFrame(w.t, version, -1, id, nil, 0, 1, 2))
		h, _ := wire.ParseHeader(frame)
		req, _ = wire.DecodeRequest(h, frame)
	case *kmsg.FetchRequest:
		frame, _, _ := wire.Split(fetchFrame(version, id))
		h, _ := wire.ParseHeader(frame)
		req, _ = wire.DecodeRequest(h, frame)
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorKey, r.CoordinatorKeys = "g", []string{"g", "h"}
	case *kmsg.DescribeConfigsRequest:
		for _, name := range []string{"0", "1", "2", fmt.Sprint(proxy.DefaultTargetNode)} {
			res := kmsg.NewDescribeConfigsRequestResource()
			res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeBroker, name
			r.Resources = append(r.Resources, res)
		}
	case *kmsg.DescribeTopicPartitionsRequest:
		rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
		rt.Topic = "orders"
		r.Topics = append(r.Topics, rt)
	}
	req.SetVersion(version)
	return req
}

// Every API at every version that is advertised, on every node, in every state,
// while legacy's leaders move: no answer names an address of legacy.
func TestNoAnswerNamesALegacyAddress(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 3}})
	sweep := func(state string) {
		forbidden := w.addresses()
		for node, addr := range w.nodes() {
			versions := dialRaw(t, addr).ask(kmsg.NewPtrApiVersionsRequest(), 0).(*kmsg.ApiVersionsResponse)
			for _, k := range versions.ApiKeys {
				for version := k.MinVersion; version <= k.MaxVersion; version++ {
					c := dialRaw(t, addr)
					_ = c.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // some answers wait for others
					c.write(wire.AppendRequest(nil, 1, nil, w.sweepRequest(k.ApiKey, version)))
					frame, err := c.next()
					_ = c.nc.Close()
					if err != nil {
						continue
					}
					for _, address := range forbidden {
						if bytes.Contains(frame, address) {
							t.Errorf("%s: node %d, %s version %d names %q", state, node, kmsg.NameForKey(k.ApiKey), version, address)
						}
					}
				}
			}
		}
	}
	sweep("clean")
	for i := range int32(3) { // every node but the right one is asked for it
		if err := w.legacy.MoveTopicPartition("orders", i, (w.legacy.LeaderFor("orders", i)+1)%3); err != nil {
			t.Fatal(err)
		}
	}
	sweep("leaders moved")
	w.flip(w.part("orders", 0))
	w.relocate(true, w.part("orders", 0))
	sweep("moved and relocated")
}

// Legacy brokers that come at run time get a node at once.
func TestNewBrokerGetsANode(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 3}})
	id, _, err := w.legacy.AddNode(77, 0)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new broker is shown, at an address of ours", func() bool {
		_, ok := w.nodes()[id]
		return ok
	})
	if err := w.legacy.MoveTopicPartition("orders", 0, id); err != nil {
		t.Fatal(err)
	}
	cl := w.client(kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := cl.ProduceSync(ctx, &kgo.Record{Partition: 0, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range w.proxy.Clients() {
		found = found || c.Node == id && c.Produces > 0
	}
	if !found {
		t.Error("nobody has produced on the new node")
	}
}

// Leaders move on legacy while topics flip and roll back. No consumers: kfake knows
// no end of an epoch that nothing was written after, and they would reset.
func TestLegacyLeadersMoveUnderLoad(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 4}})
	l := w.startProducers("orders", 2)
	parts := w.all("orders")
	shuffle := func() {
		for i := range int32(4) {
			if err := w.legacy.MoveTopicPartition("orders", i, (w.legacy.LeaderFor("orders", i)+1)%3); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		if err := w.proxy.Topology().Refresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		l.settle(300)
		shuffle()
		l.settle(300)
		w.flip(parts...)
		l.settle(300)
		shuffle()
		l.settle(300)
		w.rollback(parts...)
	}
	l.settle(300)
	l.finish()
}
