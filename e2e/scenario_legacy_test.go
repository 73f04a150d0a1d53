package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"switchback/e2e/clients"
	"switchback/e2e/machine"
)

// TestLegacyIsNotStill: leaders of legacy move and a broker is restarted and killed, while the topic is mirrored and while replay runs. Clients go on,
// nothing is lost or doubled. Batches that were acknowledged while legacy was electing may have another leader epoch there.
func TestLegacyIsNotStill(t *testing.T) {
	rounds := machine.Size(t, "rounds of trouble", 1, 10)
	s := newStage(t, setting{brokers: 3, partitions: 6, replicas: 3, topic: map[string]string{"min.insync.replicas": "2"}})
	s.franzProducer("franz", 300)
	s.javaConsumer("java-classic", clients.Classic)
	s.franzReader("reader")
	s.steady(100)
	s.maxEpochs = 1 << 30 // counted and told
	for range rounds {
		s.trouble("while mirroring")
		s.flip()
		s.trouble("while replay runs")
		s.rollback()
		s.steady(100)
	}
	s.finish()
}

// trouble moves leaders, stops a broker as an operator does, and kills one.
func (s *stage) trouble(when string) {
	s.t.Helper()
	for n := range s.partitions {
		leader, err := s.cluster.Leader(s.ctx, s.topic, n)
		s.must(err)
		s.must(s.cluster.MoveLeader(s.ctx, s.topic, n, leader%3+1))
	}
	s.steady(100)
	s.t.Logf("%s: leaders moved", when)
	for id, end := range map[int32]func() error{2: s.cluster.Broker(2).Stop, 3: s.cluster.Broker(3).Kill} {
		s.must(end())
		s.steady(100)
		s.must(s.cluster.Broker(id).Start(s.ctx))
		s.must(s.inSync(3))
		s.steady(100)
		s.t.Logf("%s: broker %d ended and started again", when, id)
	}
	s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
}

// inSync waits until every partition has n replicas in sync.
func (s *stage) inSync(n int) error {
	return machine.Until(s.ctx, patience, fmt.Sprintf("%d replicas in sync", n), func(ctx context.Context) error {
		topic, err := s.cluster.Topic(ctx, s.topic)
		if err != nil {
			return err
		}
		for _, p := range topic.Partitions {
			if len(p.ISR) != n || p.Leader < 0 {
				return fmt.Errorf("partition %d: leader %d, in sync %v", p.Partition, p.Leader, p.ISR)
			}
		}
		return nil
	})
}

// TestLegacyTroubleDuringAHold: leaders move and a broker is killed at the very time of flips and rollbacks. Each ends done or given up, and
// nobody forks.
func TestLegacyTroubleDuringAHold(t *testing.T) {
	rounds := machine.Size(t, "rounds of flips in trouble", 3, 30)
	s := newStage(t, setting{brokers: 3, partitions: 6, replicas: 3, topic: map[string]string{"min.insync.replicas": "2"}})
	s.maxEpochs = 1 << 30 // counted and told
	owner, err := s.cluster.Topic(s.ctx, ownerTopic)
	s.must(err)
	if n := len(owner.Partitions[0].Replicas); n != 3 { // the brokers' own default is 1
		t.Fatalf("the owner topic has %d replicas: a move could not be claimed while its broker is down", n)
	}
	s.franzProducer("franz", 300)
	s.javaConsumer("java-classic", clients.Classic)
	s.franzReader("reader")
	s.steady(100)
	for range rounds {
		for _, shake := range []func(){s.moveAll, func() { s.must(s.cluster.Broker(3).Kill()) }} {
			shaken := make(chan struct{})
			go func() {
				defer close(shaken)
				shake()
			}()
			if s.home() == "legacy" {
				s.flip()
			} else {
				s.rollback()
			}
			<-shaken
			if !s.cluster.Broker(3).Alive() {
				s.must(s.cluster.Broker(3).Start(s.ctx))
			}
			s.must(s.inSync(3))
			s.steady(50)
		}
	}
	s.finish()
}

// moveAll moves every leader by one.
func (s *stage) moveAll() {
	for n := range s.partitions {
		leader, err := s.cluster.Leader(s.ctx, s.topic, n)
		if err == nil {
			err = s.cluster.MoveLeader(s.ctx, s.topic, n, leader%3+1)
		}
		if err != nil {
			s.t.Errorf("move leader: %v", err)
			return
		}
	}
}

// slowestReplay is how many batches per second, over all partitions, replay makes at the least, beside the load of the test.
const slowestReplay = 1000

// TestAllOfLegacyIsDown: after a flip all brokers of legacy are killed. Producers and consumers of the moved topic go on; when legacy is back,
// replay catches up exactly, and a rollback works.
func TestAllOfLegacyIsDown(t *testing.T) {
	n := machine.Size(t, "records per client while legacy is down", 500, 100_000)
	s := newStage(t, setting{brokers: 3, partitions: 6, replicas: 3})
	s.maxEpochs = 1 << 30 // legacy elects when it comes back; batches of before have the epoch of before
	s.franzProducer("franz", 500)
	s.franzReader("reader") // a group's coordinator is legacy's
	s.steady(100)
	s.flip()
	s.steady(100)
	for _, b := range s.cluster.Brokers() {
		s.must(b.Kill())
	}
	s.pauses("before legacy went down")
	s.steady(n)
	s.pauses("legacy is down")
	for _, b := range s.cluster.Brokers() {
		s.must(b.Start(s.ctx))
	}
	s.must(s.inSync(3))
	began := time.Now()
	s.must(s.server.CaughtUpWithin(s.ctx, patience+time.Duration(n/slowestReplay)*time.Second, s.topic, int(s.partitions)))
	t.Logf("replay was level %v after legacy's replicas were in sync", time.Since(began).Round(time.Millisecond))
	s.steady(100)
	s.rollback()
	s.steady(100)
	s.finish()
}
