package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/kafka"
	"switchback/e2e/machine"
	"switchback/e2e/raw"
)

func TestClusterLivesThroughWhatTestsDoToIt(t *testing.T) {
	c := kafka.Run(t, kafka.Options{Brokers: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // from here on: Run waits for those who have the machine
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CreateTopic(ctx, "orders", 3, 3, map[string]string{"retention.ms": "3600000"}))
	topic, err := c.Topic(ctx, "orders")
	must(err)
	if len(topic.Partitions) != 3 || topic.TopicID == [16]byte{} {
		t.Fatalf("topic as described: %+v", topic)
	}

	leader := topic.Partitions[0].Leader
	to := leader%3 + 1
	must(c.MoveLeader(ctx, "orders", 0, to))
	got, err := c.Leader(ctx, "orders", 0)
	must(err)
	if got != to {
		t.Fatalf("leader is %d after a move from %d to %d", got, leader, to)
	}

	must(c.Broker(to).Kill())
	if c.Broker(to).Alive() {
		t.Fatal("alive after kill")
	}
	must(machine.Until(ctx, 30*time.Second, "another leader", func(ctx context.Context) error {
		got, err := c.Leader(ctx, "orders", 0)
		if err == nil && (got == to || got < 0) {
			err = fmt.Errorf("leader is still %d", got)
		}
		return err
	}))
	must(c.Broker(to).Start(ctx))

	must(c.Broker(1).Pause())
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	if _, err := c.Broker(1).Metadata(short); err == nil {
		t.Error("a paused broker answers")
	}
	stop()
	must(c.Broker(1).Resume())
	must(c.Broker(1).Ready(ctx))
	must(c.SetTopicConfig(ctx, "orders", "max.message.bytes", "2000"))
	must(c.DeleteTopic(ctx, "orders"))
}

func TestFrontShowsItselfOnly(t *testing.T) {
	c := kafka.Run(t, kafka.Options{Brokers: 2, Front: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.CreateTopic(ctx, "orders", 1, 2, nil); err != nil {
		t.Fatal(err)
	}
	conn, err := raw.Dial(ctx, c.FrontAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := conn.Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.(*kmsg.MetadataResponse).Brokers {
		if got, want := fmt.Sprintf("%s:%d", b.Host, b.Port), c.Broker(b.NodeID).Front().Addr(); got != want {
			t.Errorf("broker %d is shown at %s, want its relay %s", b.NodeID, got, want)
		}
	}
}
