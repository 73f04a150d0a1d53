package proxy

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// instantTarget answers everything with an empty answer of its kind, and Produce
// with one for each partition.
type instantTarget struct{}

func (instantTarget) Gone(uint64) {}

func (instantTarget) Submit(_ Caller, req kmsg.Request, done func(Reply)) {
	resp := req.ResponseKind()
	if produce, ok := req.(*kmsg.ProduceRequest); ok {
		for _, rt := range produce.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition = rp.Partition
				st.Partitions = append(st.Partitions, sp)
			}
			resp.(*kmsg.ProduceResponse).Topics = append(resp.(*kmsg.ProduceResponse).Topics, st)
		}
	}
	done(Reply{Message: resp})
}

type instantCopy struct{}

func (instantCopy) Confirmed(offsets.Partition) (int64, bool)                 { return 10, true }
func (instantCopy) Await(context.Context, offsets.Partition, int64) error     { return nil }
func (instantCopy) HomeEnd(context.Context, offsets.Partition) (int64, error) { return 10, nil }
func (instantCopy) Pace(offsets.Partition) <-chan struct{}                    { return nil }
func (instantCopy) Epochs(offsets.Partition) (offsets.Epochs, int64, bool) {
	return offsets.Epochs{{Epoch: 0, Start: 0}}, 10, true
}

var fuzzTopic = offsets.TopicID{9, 9}

// guardedProxy knows one topic with partitions in every state but held.
func guardedProxy(t testing.TB) *Proxy {
	p, err := New(Config{Listen: "127.0.0.1:0", Bootstrap: []string{"127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)}, instantTarget{}, instantCopy{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int32) offsets.Partition { return offsets.Partition{Topic: fuzzTopic, Index: i} }
	p.routes.follow([]offsets.Partition{at(0)}, func(offsets.TopicID) string { return "orders" })
	p.Apply(map[offsets.Partition]Route{
		at(1): {Home: offsets.Target, Epoch: 1, Topic: "orders"},
		at(2): {Home: offsets.Legacy, Epoch: 1, Topic: "orders", Shown: offsets.Shown{Shift: 2, Relocated: offsets.NotRelocated}},
		at(3): {Home: offsets.Target, Epoch: 1, Topic: "orders", Shown: offsets.Shown{Relocated: 3}},
	})
	p.auth.learn(authKey{anonymous, "orders"}, math.MaxInt32)
	return p
}

// drainedConn is a connection with an upstream that never answers.
func drainedConn(t testing.TB, p *Proxy, node int32) (c *conn, stop func()) {
	client, clientEnd := net.Pipe()
	broker, brokerEnd := net.Pipe()
	var wg sync.WaitGroup
	for _, end := range []net.Conn{clientEnd, brokerEnd} {
		wg.Go(func() { _, _ = io.Copy(io.Discard, end) })
	}
	c = p.newConn(context.Background(), node, client)
	c.session.proven.Store(true)
	u := &upstream{c: c, node: 1, nc: broker, reader: wire.NewReader(broker, 0)}
	c.pinned, c.upstreams = u, []*upstream{u}
	c.wg.spawn(u.readAnswers)
	return c, func() {
		c.close(nil)
		u.abort()
		c.wg.stop()
		c.wg.wg.Wait()
		_ = clientEnd.Close()
		_ = brokerEnd.Close()
		wg.Wait()
	}
}

func seedRequests() [][]byte {
	var seeds [][]byte
	topic := "orders"
	add := func(req kmsg.Request, versions ...int16) {
		for _, v := range versions {
			req.SetVersion(v)
			seeds = append(seeds, wire.AppendRequest(nil, 1, kmsg.StringPtr("c"), req))
		}
	}
	produce := kmsg.NewPtrProduceRequest()
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic, pt.TopicID = topic, fuzzTopic
	fetch := kmsg.NewPtrFetchRequest()
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID = topic, fuzzTopic
	list := kmsg.NewPtrListOffsetsRequest()
	lt := kmsg.NewListOffsetsRequestTopic()
	lt.Topic = topic
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	et := kmsg.NewOffsetForLeaderEpochRequestTopic()
	et.Topic = topic
	for i := range int32(5) {
		pp := kmsg.NewProduceRequestTopicPartition()
		pp.Partition, pp.Records = i, make([]byte, 61)
		pt.Partitions = append(pt.Partitions, pp)
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.CurrentLeaderEpoch = i, 20, 4
		ft.Partitions = append(ft.Partitions, fp)
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = i, -1
		lt.Partitions = append(lt.Partitions, lp)
		ep := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		ep.Partition = i
		et.Partitions = append(et.Partitions, ep)
	}
	produce.Topics, fetch.Topics = append(produce.Topics, pt), append(fetch.Topics, ft)
	list.Topics, epochs.Topics = append(list.Topics, lt), append(epochs.Topics, et)
	for _, acks := range []int16{-1, 0} {
		produce.Acks = acks
		add(produce, 3, 8, 9, 12, 13)
	}
	add(fetch, 4, 11, 12, 13, 18)
	add(list, 1, 6, 11)
	add(epochs, 2, 4)
	drop := kmsg.NewPtrDeleteTopicsRequest()
	drop.TopicNames = []string{topic, "other"}
	add(drop, 1, 5)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	gt := kmsg.NewCreatePartitionsRequestTopic()
	gt.Topic = topic
	grow.Topics = append(grow.Topics, gt)
	add(grow, 0, 3)
	add(kmsg.NewPtrApiVersionsRequest(), 0, 3, 4)
	add(kmsg.NewPtrSASLHandshakeRequest(), 0, 1)
	return seeds
}

// Whatever a client sends, nothing panics, and every partition that was entered is
// left when the connection is gone: a forgotten one would block flips for ever.
func FuzzGuards(f *testing.F) {
	for _, seed := range seedRequests() {
		f.Add(seed[4:], false)
		f.Add(seed[4:], true)
	}
	f.Fuzz(func(t *testing.T, frame []byte, onTarget bool) {
		if len(frame) >= 2 && binary.BigEndian.Uint16(frame) == uint16(kmsg.DeleteRecords) {
			return // it opens connections
		}
		p := guardedProxy(t)
		node := int32(1)
		if onTarget {
			node = p.cfg.TargetNode
		}
		c, stop := drainedConn(t, p, node)
		sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
		late := time.AfterFunc(time.Second, func() { c.close(nil) }) // a request that waits for a broker's answer
		c.sending.Lock()
		_ = c.forward(sized)
		c.sending.Unlock()
		late.Stop()
		stop()
		for id, s := range p.routes.load().parts {
			if s.quiet() != nil {
				t.Errorf("partition %s has produce in flight with no connection left", id)
			}
		}
		p.shutdown()
	})
}
