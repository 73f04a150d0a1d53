package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/broker"
)

// BenchmarkFetch is a fetch of a thousand partitions, of which none, one or all
// have a batch: what a broker answers most often, and what Java's consumers send.
func BenchmarkFetch(b *testing.B) {
	const partitions = 1000
	for name, filled := range map[string]int{"idle": 0, "one": 1, "all": partitions} {
		b.Run(name, func(b *testing.B) {
			h := open(b, b.TempDir(), broker.Config{})
			topic := broker.Topic{Name: "wide", ID: offsets.TopicID{1}, Partitions: partitions}
			h.mustImport(topic)
			h.lead(topic, 1)
			for i := range filled {
				h.mustProduce(topic, int32(i), spec{value: 1000})
			}
			req := fetchFrom(13, topic, 0, 0)
			for i := int32(1); i < partitions; i++ {
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(i, 0))
			}
			req.MaxWaitMillis = 0
			b.ReportAllocs()
			for b.Loop() {
				h.Submit(broker.Caller{}, req, func(r broker.Reply) {
					if r.Release != nil {
						r.Release()
					}
				})
			}
		})
	}
}

// BenchmarkProduce is one batch at a time, made durable.
func BenchmarkProduce(b *testing.B) {
	h := open(b, b.TempDir(), broker.Config{})
	h.mustImport(orders)
	h.lead(orders, 1)
	raw := spec{value: 16 << 10}.build()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	answered := make(chan int16, 1)
	for b.Loop() {
		h.Submit(broker.Caller{}, produceTo(9, orders, 0, append([]byte(nil), raw...)), func(r broker.Reply) {
			answered <- r.Message.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		})
		if code := <-answered; code != 0 {
			b.Fatalf("code %d", code)
		}
	}
}
