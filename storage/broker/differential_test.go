package broker_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/broker"
)

// A peer is one connection to a fake Kafka broker of another author.
type peer struct {
	t    *testing.T
	conn net.Conn
	corr int32
}

func (p *peer) ask(req kmsg.Request) kmsg.Response {
	p.t.Helper()
	p.corr++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, p.corr)
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(p.conn, size); err != nil {
		p.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(p.conn, body); err != nil {
		p.t.Fatal(err)
	}
	if corr := int32(binary.BigEndian.Uint32(body)); corr != p.corr {
		p.t.Fatalf("answer to %d, asked %d", corr, p.corr)
	}
	body = body[4:]
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		if body[0] != 0 {
			p.t.Fatal("tags in a response header")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// TestDifferential sends the same requests to kfake and to us, in every version
// that both speak, and wants the same answers, bytes of batches included. What
// kfake is known not to do, or to do otherwise than Kafka (validation of records,
// diverging epochs, the end of epoch -1, deletion below the start), is left to
// the other tests.
func TestDifferential(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	conn, err := net.Dial("tcp", cluster.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	theirs := &peer{t: t, conn: conn}

	topic := broker.Topic{Name: "orders", ID: offsets.TopicID(cluster.TopicInfo("orders").TopicID), Partitions: 2}
	ours := open(t, t.TempDir(), broker.Config{})
	ours.mustImport(topic)
	ours.lead(topic, cluster.PartitionInfo("orders", 0).Epoch)

	both := func(what string, req func() kmsg.Request) {
		t.Helper()
		want := normal(theirs.ask(req()))
		got := normal(ours.decoded(ours.await(ours.start(broker.Caller{Connection: 1, ClientID: "test"}, req()))))
		same(t, fmt.Sprintf("%s, %T v%d", what, req(), req().GetVersion()), got, want)
	}
	probe := func(what string) {
		t.Helper()
		for v := int16(4); v <= 18; v++ {
			for _, offset := range []int64{-1, 0, 1, 3, 7, 12, 13, 1000} {
				for _, isolation := range []int8{0, 1} {
					both(fmt.Sprintf("%s: fetch at %d", what, offset), func() kmsg.Request {
						req := fetchFrom(v, topic, 0, offset)
						req.IsolationLevel = isolation
						return req
					})
				}
			}
		}
		for v := int16(1); v <= 10; v++ {
			for timestamp := int64(-7); timestamp <= 2100; timestamp += 53 {
				both(fmt.Sprintf("%s: list %d", what, timestamp), func() kmsg.Request { return listAt(v, "orders", 0, timestamp) })
			}
		}
		for v := int16(3); v <= 4; v++ {
			for epoch := int32(0); epoch <= 2; epoch++ {
				both(fmt.Sprintf("%s: end of epoch %d", what, epoch), func() kmsg.Request { return epochEnd(v, topic, 0, epoch) })
			}
		}
	}

	probe("empty")
	id := offsets.TopicID{1, 2, 3}
	for v := int16(3); v <= 13; v++ {
		both("no such partition", func() kmsg.Request { return produceTo(v, topic, 5, spec{time: 1}.build()) })
		both("no such topic", func() kmsg.Request {
			return produceTo(v, broker.Topic{Name: "none", ID: id}, 0, spec{time: 1}.build())
		})
		// Eleven batches of 3 records: each version one.
		both("append", func() kmsg.Request {
			return produceTo(v, topic, 0, spec{pid: 7, seq: int32(v-3) * 3, records: 3, value: 9, time: 1000 + int64(v)*10}.build())
		})
		both("again", func() kmsg.Request {
			return produceTo(v, topic, 0, spec{pid: 7, seq: int32(v-3) * 3, records: 3, value: 9, time: 1000 + int64(v)*10}.build())
		})
		both("gap", func() kmsg.Request {
			return produceTo(v, topic, 0, spec{pid: 7, seq: int32(v-3)*3 + 9, time: 1}.build())
		})
		both("without a producer", func() kmsg.Request { return produceTo(v, topic, 1, spec{records: 2, time: 5}.build()) })
	}
	both("higher epoch, wrong sequence", func() kmsg.Request { return produceTo(9, topic, 0, spec{pid: 7, pepoch: 1, seq: 5, time: 1}.build()) })
	both("higher epoch", func() kmsg.Request { return produceTo(9, topic, 0, spec{pid: 7, pepoch: 1, time: 900}.build()) })
	both("lower epoch", func() kmsg.Request { return produceTo(9, topic, 0, spec{pid: 7, seq: 33, time: 1}.build()) })
	both("control batch", func() kmsg.Request {
		return produceTo(9, topic, 0, spec{pid: 7, attrs: batch.ControlFlag, time: 1}.build())
	})
	damaged := spec{value: 10, time: 1}.build()
	damaged[len(damaged)-1] ^= 1
	both("bad checksum", func() kmsg.Request { return produceTo(9, topic, 0, append([]byte(nil), damaged...)) })
	probe("filled")

	for v := int16(0); v <= 2; v++ {
		for _, offset := range []int64{2 + 2*int64(v), 3 + 2*int64(v), 1000, -1} {
			index := int32(0)
			if offset == -1 {
				index = 1
			}
			both(fmt.Sprintf("delete to %d", offset), func() kmsg.Request { return deleteTo(v, "orders", index, offset) })
		}
		both("delete of no topic", func() kmsg.Request { return deleteTo(v, "none", 0, 1) })
	}
	probe("deleted from below")
}

func epochEnd(version int16, topic broker.Topic, index, epoch int32) kmsg.Request {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -1
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic.Name
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.Partition, rp.LeaderEpoch, rp.CurrentLeaderEpoch = index, epoch, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// normal blanks what is a matter of taste: messages, offsets beside an error,
// and what only a duplicate's answer carries (a real broker gives it, kfake not).
func normal(resp kmsg.Response) kmsg.Response {
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				p := &r.Topics[i].Partitions[j]
				p.ErrorMessage, p.ErrorRecords, p.LogAppendTime, p.LogStartOffset = nil, nil, 0, 0
				if p.ErrorCode != 0 {
					p.BaseOffset = 0
				}
			}
		}
	case *kmsg.FetchResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				p := &r.Topics[i].Partitions[j]
				if p.ErrorCode != 0 {
					p.HighWatermark, p.LastStableOffset, p.LogStartOffset, p.AbortedTransactions = 0, 0, 0, nil
				}
				if len(p.AbortedTransactions) == 0 {
					p.AbortedTransactions = nil
				}
			}
		}
	case *kmsg.DeleteRecordsResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				if p := &r.Topics[i].Partitions[j]; p.ErrorCode != 0 {
					p.LowWatermark = 0
				}
			}
		}
	}
	return resp
}
