package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"switchback/e2e/clients"
	"switchback/e2e/machine"
)

// overdue is late enough that produce has to wait as long as the server lets it wait for replay (a second), and prompt enough that replay
// still makes progress: one that makes none slows nobody down.
const overdue = 150 * time.Millisecond

// TestBatchesOvertakenForLong: producers go from the target's node back to those of legacy while a request of theirs still waits there because
// replay into one of the brokers is behind. It names partitions of the other broker too, whose later batches overtake it on the new connection,
// by up to a second. No producer is told, and none begins a new epoch: the Java producer does not recover from one that it begins under batches
// in flight.
func TestBatchesOvertakenForLong(t *testing.T) {
	rounds := machine.Size(t, "relocations taken back while replay is behind", 2, 15)
	s := newStage(t, setting{brokers: 2, partitions: 6, replicas: 1, front: true})
	millis := map[string]string{"metadata.max.age.ms": fmt.Sprint(refresh.Milliseconds()), "linger.ms": "20"}
	s.produces(clients.JavaProducer(t, s.cluster.Dist(), &s.history, s.producing("1", 400, millis)))
	s.franzProducer("franz", 400)
	s.javaConsumer("java-classic", clients.Classic)
	s.steady(200)
	before := s.assignments()
	s.flip()
	s.steady(200)
	slowed := s.cluster.Broker(1).Front()
	for range rounds {
		s.relocate()
		s.steady(int(2 * refresh.Seconds() * 400)) // by then everybody has followed
		s.move("relocate back", s.server.RelocateBack)
		slowed.Delay(ownClient, overdue)
		s.pauses("before replay was behind")
		s.steady(int(2 * refresh.Seconds() * 100))
		s.pauses("replay behind")
		slowed.Delay(ownClient, 0)
		s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
	}
	s.rollback()
	s.steady(200)
	s.noRebalance(before)
	s.finish()
}
