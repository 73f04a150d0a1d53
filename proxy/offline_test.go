package proxy_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// With all of legacy down, moved topics go on, relocated or not.
func TestLegacyDownMovedTopicsGoOn(t *testing.T) {
	for _, relocated := range []bool{true, false} {
		w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 3}})
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		producer := w.client(kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0))
		consumer := w.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		sent, read := 0, 0
		exchange := func(n int) {
			t.Helper()
			for range n {
				if err := producer.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
					t.Fatalf("relocated %v: produce: %v", relocated, err)
				}
				sent++
			}
			for read < sent {
				fetches := consumer.PollFetches(ctx)
				if err := ctx.Err(); err != nil {
					t.Fatalf("relocated %v: read %d of %d", relocated, read, sent)
				}
				read += fetches.NumRecords()
			}
		}
		exchange(30)
		parts := w.all("orders")
		w.flip(parts...)
		exchange(30)
		if relocated {
			w.relocate(true, parts...)
			exchange(30)
		}
		w.legacy.Close()
		exchange(100)
		// Producer ids are legacy's: a new idempotent producer has to wait for it.
		fresh := w.client(kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0), kgo.DisableIdempotentWrite())
		if err := fresh.ProduceSync(ctx, kgo.StringRecord("y")).FirstErr(); err != nil {
			t.Errorf("relocated %v: a new client while legacy is down: %v", relocated, err)
		}
		offline := false
		for _, c := range w.proxy.Clients() {
			offline = offline || c.Offline
		}
		if !offline {
			t.Errorf("relocated %v: no connection is served offline", relocated)
		}
		cancel()
		w.stop()
	}
}
