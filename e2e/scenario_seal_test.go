package e2e_test

import (
	"context"
	"testing"
	"time"

	"switchback/e2e/history"
	"switchback/e2e/machine"
	"switchback/e2e/raw"
	"switchback/e2e/server"
)

// ownerTopic is where the server writes on legacy which folder owns it, before every flip.
const ownerTopic = "__switchback_owner"

// TestSealIsHonestAboveTheHighWatermark: a follower is paused, so that what is produced stands in the leader's log and above its high watermark. A
// flip is given up or refused, not sealed over it; when the follower goes on, it works.
func TestSealIsHonestAboveTheHighWatermark(t *testing.T) {
	s := newStage(t, setting{brokers: 2, partitions: 2, replicas: 2,
		cluster: map[string]string{"replica.lag.time.max.ms": "60000", "broker.session.timeout.ms": "60000"}})
	s.franzProducer("franz", 200)
	s.franzReader("reader")
	s.steady(100)
	leader, err := s.cluster.Leader(s.ctx, s.topic, 0)
	s.must(err)
	s.must(s.cluster.MoveLeader(s.ctx, s.topic, 1, leader)) // one leads all, the other follows
	s.must(s.cluster.MoveLeader(s.ctx, ownerTopic, 0, leader))
	s.steady(50)
	s.must(s.server.CaughtUp(s.ctx, s.topic, 2))
	follower := s.cluster.Broker(3 - leader)
	s.must(follower.Pause())
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	_, err = s.server.Flip(ctx, s.topic)
	cancel()
	if code := server.Code(err); code != server.CodeGivenUp && code != server.CodeRefused {
		t.Errorf("a flip over records above the high watermark ended with code %d: %v", code, err)
	} else {
		t.Logf("the flip said: %v", err)
	}
	if home := s.home(); home != "legacy" {
		t.Fatalf("at home on %s after a flip that was given up", home)
	}
	s.must(follower.Resume())
	s.steady(50)
	s.flip()
	s.steady(50)
	s.finish()
}

// TestFlipWhileTheOwnerTopicHangs: the broker that leads the owner topic hangs, so that no flip may be committed. It is given up,
// producers go on, and when the broker goes on a flip works.
func TestFlipWhileTheOwnerTopicHangs(t *testing.T) {
	s := newStage(t, setting{brokers: 2, partitions: 2, replicas: 1, cluster: map[string]string{"broker.session.timeout.ms": "60000"}})
	for p := range s.partitions {
		s.must(s.cluster.MoveLeader(s.ctx, s.topic, p, 1))
	}
	s.must(s.cluster.MoveLeader(s.ctx, ownerTopic, 0, 2))
	s.franzProducer("franz", 200)
	s.franzReader("reader")
	s.steady(100)
	s.must(s.cluster.Broker(2).Pause())
	// Refused is a flip that is not tried, as long as the copy follows the leaders that were moved.
	s.must(machine.Until(s.ctx, patience, "a flip to be tried", func(ctx context.Context) error {
		_, err := s.server.Flip(ctx, s.topic)
		switch code := server.Code(err); code {
		case server.CodeGivenUp:
			t.Logf("the flip said: %v", err)
		case server.CodeRefused:
			return err
		default:
			t.Fatalf("a flip that cannot be claimed ended with code %d: %v", code, err)
		}
		return nil
	}))
	if home := s.home(); home != "legacy" {
		t.Fatalf("at home on %s after a flip that was not claimed", home)
	}
	s.steady(50)
	s.must(s.cluster.Broker(2).Resume())
	s.flip()
	s.steady(50)
	s.finish()
}

// TestLateRequestsAreNotSealedOver: a request whose connection has died sits in front of the broker while a flip is tried, and arrives then. Wherever
// it ends up, both logs end up equal.
func TestLateRequestsAreNotSealedOver(t *testing.T) {
	s := newStage(t, setting{brokers: 1, partitions: 2, replicas: 1, front: true})
	s.franzProducer("franz", 200)
	s.franzReader("reader")
	s.steady(100)
	late := history.Mark{Producer: "late", Number: 0}
	s.history.Sent(late)
	front := s.cluster.Broker(1).Front()

	conn, err := raw.Dial(s.ctx, s.leaderAddr(0))
	s.must(err)
	release := front.Stall("e2e")
	defer release()
	s.must(conn.SendProduce(s.ctx, s.topic, 0, raw.Batch(time.Now().UnixMilli(), late.String()), -1))
	s.must(conn.Close())

	flipped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	go func() {
		_, err := s.server.Flip(ctx, s.topic)
		flipped <- err
	}()
	// The flip runs, or waits, with the request in front of the broker; then the request arrives.
	select {
	case err = <-flipped:
		t.Logf("the flip ended before the request arrived: %v", err)
		release()
	case <-time.After(3 * time.Second):
		release()
		err = <-flipped
		t.Logf("the flip waited for the request to arrive: %v", err)
	}
	t.Logf("at home on %s", s.home())
	s.steady(100)
	if s.home() == "legacy" {
		s.flip()
	}
	s.steady(100)
	s.finish()
}

// leaderAddr is where the server tells clients to go for a partition.
func (s *stage) leaderAddr(partition int32) string {
	s.t.Helper()
	conn, err := raw.Dial(s.ctx, s.server.Bootstrap())
	s.must(err)
	defer conn.Close()
	var addr string
	s.must(machine.Until(s.ctx, patience, "a leader to be shown", func(ctx context.Context) (err error) {
		addr, _, err = conn.LeaderAddr(ctx, s.topic, partition)
		return err
	}))
	return addr
}
