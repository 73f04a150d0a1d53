package plans_test

import (
	"path/filepath"
	"testing"

	"switchback/plans"
	"switchback/storage/catalog"
)

// BenchmarkHold measures for how long produce is held by a flip and a rollback of
// 100 partitions, with the catalog on a disk and clusters that answer at once:
// what this package and its catalog cost.
func BenchmarkHold(b *testing.B) {
	cat, err := catalog.OpenBolt(filepath.Join(b.TempDir(), "catalog"))
	if err != nil {
		b.Fatal(err)
	}
	defer cat.Close()
	s := newSystem(b, map[string]int32{"orders": 100})
	p := s.process()
	p.cat.Catalog = cat
	p.cat.disk = 0
	s.boot(p)
	defer s.bury(p)
	topics := []string{"orders"}
	var flips, rollbacks float64
	for b.Loop() {
		flip, err := p.runner.Flip(b.Context(), topics, plans.Options{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		rollback, err := p.runner.Rollback(b.Context(), topics, plans.Options{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		flips += flip.Hold.Seconds() * 1000
		rollbacks += rollback[0].Hold.Seconds() * 1000
	}
	b.ReportMetric(flips/float64(b.N), "ms-held/flip")
	b.ReportMetric(rollbacks/float64(b.N), "ms-held/rollback")
}
