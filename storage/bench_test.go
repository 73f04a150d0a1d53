package storage_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

func benchBatch(size int) []byte {
	var records []batch.Record
	for i := range max(1, size/1024) {
		records = append(records, batch.Record{OffsetDelta: int32(i), Value: make([]byte, min(size, 1024))})
	}
	return batchtest.Build(batchtest.Spec{Time: epochTime.UnixMilli(), Records: records})
}

func benchLogs(b *testing.B, n int) []*storage.Log {
	cfg := config(b.TempDir())
	cfg.SegmentBytes = 0
	e := open(b, cfg)
	b.Cleanup(func() { _ = e.Close() })
	logs := make([]*storage.Log, n)
	for i := range logs {
		l, err := e.Create(offsets.Partition{Topic: offsets.TopicID{1}, Index: int32(i)}, 0)
		if err != nil {
			b.Fatal(err)
		}
		lead(b, l, 0)
		logs[i] = l
	}
	return logs
}

// Writers append one batch after the other, each waiting for its answer, over
// 100 partitions.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, writers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("batch=%dKiB/writers=%d", size>>10, writers), func(b *testing.B) {
				logs := benchLogs(b, 100)
				raw := benchBatch(size)
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				b.ResetTimer()
				for w := range writers {
					all.Go(func() {
						own := append([]byte(nil), raw...)
						answer := make(chan storage.Appended, 1)
						done := func(a storage.Appended) { answer <- a }
						for n := w; left.Add(-1) >= 0; n++ {
							batch.SetBaseOffset(own, 0)
							logs[n%len(logs)].Append(own, storage.Meta{}, done)
							if a := <-answer; a.Err != nil {
								b.Error(a.Err)
								return
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

func BenchmarkReplicate(b *testing.B) {
	l := benchLogs(b, 1)[0]
	l.Follow()
	raw := benchBatch(16 << 10)
	h := header(b, raw)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		batch.SetBaseOffset(raw, int64(n)*int64(h.NumRecords))
		if _, err := l.Replicate(raw); err != nil {
			b.Fatal(err)
		}
	}
	durable(b, l)
}

func BenchmarkRead(b *testing.B) {
	l := benchLogs(b, 1)[0]
	l.Follow()
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			raw := benchBatch(size)
			h := header(b, raw)
			start := l.Bounds().End
			for n := range int64(64 << 20 / len(raw)) {
				batch.SetBaseOffset(raw, start+n*int64(h.NumRecords))
				if _, err := l.Replicate(raw); err != nil {
					b.Fatal(err)
				}
			}
			durable(b, l)
			end := l.Bounds().End
			from := start
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if from == end {
					from = start
				}
				c, err := l.Read(from, 1<<20, true, false)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(c.Segments[0])))
				from = c.Next
				c.Release()
			}
		})
	}
}

// What a batch costs before it meets a lock.
func BenchmarkValidate(b *testing.B) {
	for name, c := range codecs {
		b.Run(name, func(b *testing.B) {
			l := benchLogs(b, 1)[0]
			l.Follow() // refused behind the validation
			var records []batch.Record
			for i := range 160 {
				records = append(records, batch.Record{OffsetDelta: int32(i), Value: []byte(fmt.Sprintf(`{"id":%d,"name":"customer %d","city":"Aachen","amount":%d.%02d}`, i, i*7, i*13, i%100))})
			}
			raw := batchtest.Build(batchtest.Spec{Attributes: int16(c.codec), Time: epochTime.UnixMilli(), Records: records, Compress: c.compress})
			answer := make(chan storage.Appended, 1)
			done := func(a storage.Appended) { answer <- a }
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				l.Append(raw, storage.Meta{}, done)
				<-answer
			}
		})
	}
}
