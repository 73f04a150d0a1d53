package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/history"
	"switchback/e2e/logs"
	"switchback/e2e/machine"
	"switchback/e2e/raw"
	"switchback/e2e/server"
)

// ownClient begins the client ids of the server's own connections to legacy; those of the clients that it serves begin otherwise.
const ownClient = "switchback"

// How late replay is made on purpose: so that nothing keeps up, and so that it keeps up within what a move waits for.
const (
	slow     = 40 * time.Millisecond
	sluggish = 8 * time.Millisecond
)

// delayReplay makes all that the server itself sends to legacy late.
func (s *stage) delayReplay(by time.Duration) {
	for _, b := range s.cluster.Brokers() {
		b.Front().Delay(ownClient, by)
	}
}

// TestReadsStayHonestWhileReplayIsSlow: after a flip a client produces, asks for the end offset, seeks there and fetches at once, on the node of the
// legacy broker, while replay is slowed down: it never sees an end below its own record, and never an error. Then the topic is relocated and the
// relocation taken back, and rolled back, with the same client on the node that is not the home.
func TestReadsStayHonestWhileReplayIsSlow(t *testing.T) {
	turns := machine.Size(t, "produce-and-read turns", 40, 5000)
	s := newStage(t, setting{brokers: 1, partitions: 2, replicas: 1, front: true})
	s.franzProducer("franz", 100)
	s.franzConsumer("franz-classic")
	s.steady(100)
	honest := &honest{stage: s, producer: "honest"}
	before := s.assignments()
	legacyNode := s.leaderAddr(0)
	honest.turns(turns/4, legacyNode, "before the flip")
	s.flip()
	s.delayReplay(slow)
	honest.turns(turns, legacyNode, "on the legacy node, replay is slow")
	s.relocate()
	honest.turns(turns/4, s.server.Bootstrap(), "relocated, on the target's node")
	honest.turns(turns/4, legacyNode, "relocated, on the legacy node, not refreshed yet")
	s.delayReplay(sluggish)
	s.steady(20)
	s.move("relocate back", s.server.RelocateBack)
	s.steady(20)
	honest.turns(turns/4, legacyNode, "relocation taken back, replay is slow")
	s.delayReplay(0)
	s.rollback()
	honest.turns(turns/4, s.server.Bootstrap(), "after the rollback, stale on the target's node")
	honest.turns(turns/4, legacyNode, "after the rollback")
	s.steady(50)
	s.noRebalance(before)
	s.finish()
}

// honest is a client that believes what it is told at once.
type honest struct {
	stage    *stage
	producer string
	number   int64
	conn     *raw.Conn
	addr     string
}

// turns does n turns on a node. A connection that the server closes is opened again: only answers can be dishonest.
func (h *honest) turns(n int, addr, when string) {
	s := h.stage
	s.t.Helper()
	if h.conn != nil && h.addr != addr {
		h.conn.Close()
		h.conn = nil
	}
	h.addr = addr
	began := time.Now()
	for range n {
		h.turn(when)
	}
	s.t.Logf("%s: %d turns in %v", when, n, time.Since(began).Round(time.Millisecond))
}

func (h *honest) turn(when string) {
	s := h.stage
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	m := history.Mark{Producer: h.producer, Number: h.number}
	place := history.Place{Topic: s.topic, Partition: 0}
	h.number++
	s.history.Sent(m)
	var err error
	if h.conn == nil {
		h.conn, err = raw.Dial(ctx, h.addr)
		s.must(err)
	}
	base, err := h.conn.Produce(ctx, s.topic, 0, raw.Batch(time.Now().UnixMilli(), m.String()))
	if err != nil {
		s.t.Fatalf("%s: produce: %v", when, err)
	}
	s.history.Acked(m, place, base)
	end, err := logs.Offset(ctx, h.conn, place, logs.Latest)
	if err != nil {
		s.t.Fatalf("%s: ask for the end: %v", when, err)
	}
	if end <= base {
		s.t.Errorf("%s: the end offset is %d after %d was acknowledged", when, end, base)
	}
	// Its own record, and the end itself: an offset that is not there yet is answered empty, an offset that is denied would reset a consumer.
	for _, offset := range []int64{base, end} {
		if err := fetchAt(ctx, h.conn, place, offset, offset == base); err != nil {
			s.t.Errorf("%s: fetch at %d, acknowledged at %d, end at %d: %v", when, offset, base, end, err)
		}
	}
}

// fetchAt fetches at an offset; with wanted there must be a record.
func fetchAt(ctx context.Context, conn *raw.Conn, place history.Place, offset int64, wanted bool) error {
	const version = 12
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	if wanted {
		req.MaxWaitMillis, req.MinBytes = 10_000, 1
	}
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = place.Topic
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = place.Partition, offset, 1<<20
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, _, err := conn.Exchange(ctx, req, version)
	if err != nil {
		return err
	}
	p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return err
	}
	if wanted && len(p.RecordBatches) == 0 {
		return fmt.Errorf("nothing there, high watermark %d", p.HighWatermark)
	}
	return nil
}

// TestReplayStops: replay is stopped on purpose. The partitions are relocated by the server itself, clients go on there, and when replay goes on
// everything ends up equal.
func TestReplayStops(t *testing.T) {
	n := machine.Size(t, "records per client while replay is stopped", 300, 20_000)
	s := newStage(t, setting{brokers: 1, partitions: 4, replicas: 1, front: true})
	s.franzProducer("franz", 300)
	s.franzReader("reader")
	s.steady(100)
	s.flip()
	s.steady(50)
	release := s.cluster.Broker(1).Front().Stall(ownClient)
	defer release()
	s.pauses("before replay stopped")
	s.steady(n)
	s.pauses("replay is stopped")
	s.must(s.server.AwaitTopic(s.ctx, patience, s.topic, int(s.partitions), "relocated", func(p server.Partition) bool { return p.Relocated }))
	s.franzReader("latecomer") // what is asked of legacy in its name still passes
	s.steady(50)
	release()
	s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
	s.rollback()
	s.steady(100)
	s.finish()
}
