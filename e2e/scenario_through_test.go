package e2e_test

import (
	"testing"

	"switchback/e2e/machine"
)

// TestClientsPassThrough: with nothing flipped, every kind of client works through the server as it does without, and the target follows.
func TestClientsPassThrough(t *testing.T) {
	n := machine.Size(t, "records per client", 500, 100_000)
	s := newStage(t, setting{brokers: 3, partitions: 12, replicas: 3})
	s.everybody(machine.Size(t, "records per second and producer", 150, 1000))
	s.steady(100)
	before := s.assignments()
	loud := s.loudness()
	s.steady(n)
	s.noRebalance(before)
	s.quiet(loud)
	s.pauses("passing through")
	report := s.finish()
	if report.Acked != report.Logged || report.ReadTwice != 0 {
		t.Errorf("without a fault nothing is of unknown outcome and nothing is read again: %v", report)
	}
}
