package e2e_test

import (
	"testing"

	"switchback/e2e/machine"
)

// TestTenFlipsAndTenRollbacks: clients of every kind run through ten flips and ten rollbacks, five of them with a relocation in between. Nobody is
// told of an error, no group rebalances, nothing is lost, doubled, reordered or reset, both logs are equal batch by batch, leader epochs included. A flip
// without relocation leaves no line above INFO in any client's log.
func TestTenFlipsAndTenRollbacks(t *testing.T) {
	const plain, relocated = 5, 5
	dwell := machine.Size(t, "records per client between two moves", 150, 10_000)
	s := newStage(t, setting{brokers: 3, partitions: 12, replicas: 3})
	s.everybody(machine.Size(t, "records per second and producer", 150, 500))
	s.steady(200)
	before := s.assignments()
	loud := s.loudness()
	s.pauses("before the first flip")
	for range plain {
		s.flip()
		s.steady(dwell)
		s.rollback()
		s.steady(dwell)
	}
	s.quiet(loud)
	s.pauses("plain flips and rollbacks")
	for range relocated {
		s.flip()
		s.steady(dwell)
		s.relocate()
		s.steady(dwell)
		s.rollback()
		s.steady(dwell)
	}
	s.noRebalance(before)
	s.pauses("flips, relocations and rollbacks")
	s.finish()
}
