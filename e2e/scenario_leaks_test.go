package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/history"
	"switchback/e2e/machine"
	"switchback/e2e/raw"
)

// TestNoAnswerNamesALegacyAddress: every API that the server offers is asked in every version, on the nodes of all brokers and of the target, while
// legacy's leaders move; the bytes of every answer are searched for the addresses of legacy.
func TestNoAnswerNamesALegacyAddress(t *testing.T) {
	sweeps := machine.Size(t, "sweeps over all APIs and versions", 2, 50)
	s := newStage(t, setting{brokers: 3, partitions: 6, replicas: 3, front: true})
	s.maxEpochs = 1 << 30 // leaders move all the time
	s.franzProducer("franz", 200)
	s.franzReader("reader")
	s.steady(50)
	names := needles(t, append(s.cluster.Addrs(), s.cluster.FrontAddrs()...))
	ctx, stop := context.WithCancel(s.ctx)
	var moving sync.WaitGroup
	moving.Go(func() {
		for ctx.Err() == nil {
			s.moveAll()
		}
	})
	answers := 0
	for n := range sweeps {
		if n == sweeps/2 {
			stop() // a flip is given up while legacy elects
			moving.Wait()
			s.flip()
			s.relocate()
		}
		for _, addr := range s.listeners() {
			answers += s.sweep(addr, names)
		}
	}
	stop()
	moving.Wait()
	t.Logf("%d answers searched", answers)
	if answers < 200 {
		t.Errorf("only %d answers came", answers)
	}
	s.steady(50)
	s.finish()
}

// listeners are all addresses that clients are told.
func (s *stage) listeners() []string {
	s.t.Helper()
	conn, err := raw.Dial(s.ctx, s.server.Bootstrap())
	s.must(err)
	defer conn.Close()
	metadata, err := conn.Metadata(s.ctx, s.topic)
	s.must(err)
	var addrs []string
	for _, b := range metadata.Brokers {
		addrs = append(addrs, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	if len(addrs) != 4 {
		s.t.Errorf("%d nodes are shown, want the three brokers and the target: %v", len(addrs), addrs)
	}
	return addrs
}

// needles are the spellings of addresses in answers: host and port as the protocol writes them, and as people do.
func needles(t *testing.T, addrs []string) [][]byte {
	t.Helper()
	var out [][]byte
	for _, addr := range addrs {
		host, text, _ := strings.Cut(addr, ":")
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, binary.BigEndian.AppendUint32([]byte(host), uint32(port)), fmt.Appendf(nil, ":%d", port))
	}
	return out
}

// sweep asks everything on one node and returns how many answers came. Not every request can be answered: one that ends the connection is
// followed by the next on a new one.
func (s *stage) sweep(addr string, names [][]byte) int {
	s.t.Helper()
	topic, err := s.cluster.Topic(s.ctx, s.topic)
	s.must(err)
	var conn *raw.Conn
	answers := 0
	for key := range int16(kmsg.MaxKey + 1) {
		for version := int16(0); ; version++ {
			if conn == nil {
				if conn, err = raw.Dial(s.ctx, addr); err != nil {
					s.t.Fatalf("sweep %s: %v", addr, err)
				}
			}
			offered, ok := conn.Versions()[key]
			req := kmsg.RequestForKey(key)
			if !ok || req == nil || version > min(offered.Max, req.MaxVersion()) {
				break
			}
			if version < offered.Min {
				continue
			}
			s.fill(req, topic.TopicID)
			ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
			_, frame, err := conn.Exchange(ctx, req, version)
			cancel()
			if frame != nil {
				answers++
			}
			for _, name := range names {
				if bytes.Contains(frame, name) {
					s.t.Errorf("%s v%d at %s names %q", kmsg.NameForKey(key), version, addr, name)
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					s.t.Logf("%s v%d at %s: %v", kmsg.NameForKey(key), version, addr, err)
				}
				conn.Close()
				conn = nil
			}
		}
	}
	if conn != nil {
		conn.Close()
	}
	return answers
}

// fill names the topic, a group and everything that exists where a request can name them, so that answers are full. What would change the cluster
// is left empty.
func (s *stage) fill(req kmsg.Request, id [16]byte) {
	req.(interface{ Default() }).Default()
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		m := history.Mark{Producer: "sweep", Number: s.swept}
		s.swept++
		s.history.Sent(m)
		full := raw.ProduceRequest(s.topic, 0, raw.Batch(time.Now().UnixMilli(), m.String()), -1, 5000)
		full.Topics[0].TopicID = id
		*r = *full
	case *kmsg.FetchRequest:
		r.MaxBytes, r.MinBytes, r.MaxWaitMillis, r.SessionEpoch = 1<<20, 0, 10, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = s.topic, id
		for n := range s.partitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = n, 1000
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	case *kmsg.ListOffsetsRequest:
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = s.topic
		for n := range s.partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	case *kmsg.MetadataRequest:
		r.Topics = nil // all
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorKey, r.CoordinatorKeys = "group-x", []string{"group-x", "group-y"}
	case *kmsg.DescribeConfigsRequest:
		for n := range 3 {
			res := kmsg.NewDescribeConfigsRequestResource()
			res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeBroker, fmt.Sprint(n+1)
			r.Resources = append(r.Resources, res)
		}
	case *kmsg.DescribeTopicPartitionsRequest:
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = s.topic
		r.Topics = append(r.Topics, t)
	}
}
