package storage_test

import (
	"fmt"
	"testing"

	"switchback/storage/batch"
)

// BenchmarkOpen is a start over a WAL of a gibibyte.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			cfg := config(b.TempDir())
			cfg.SegmentBytes = 0
			e := open(b, cfg)
			l := create(b, e, 0)
			raw := benchBatch(size)
			h := header(b, raw)
			for n := range 1 << 30 / int64(len(raw)) {
				batch.SetBaseOffset(raw, n*int64(h.NumRecords))
				if _, err := l.Replicate(raw); err != nil {
					b.Fatal(err)
				}
			}
			durable(b, l)
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				e := open(b, cfg)
				b.StopTimer()
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
