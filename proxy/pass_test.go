package proxy_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestProduceAndConsumeThrough(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 6}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	producer := w.client(kgo.DefaultProduceTopic("orders"))
	const n = 1000
	for i := range n {
		producer.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	consumer := w.client(kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := 0
	for seen < n {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		seen += fetches.NumRecords()
	}
	if clients := w.proxy.Clients(); len(clients) == 0 {
		t.Error("no clients in the live view")
	}
}
