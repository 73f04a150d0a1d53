package demo_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// truncate deletes the beginning of the topic.
func truncate(t *testing.T, c *kfake.Cluster, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	var at kadm.Offsets
	at.AddOffset(topic, 0, 20, -1)
	if _, err := kadm.NewClient(client).DeleteRecords(t.Context(), at); err != nil {
		t.Error(err)
	}
}

// intrude writes a record of somebody else's.
func intrude(t *testing.T, c *kfake.Cluster, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("not of the demo")}).FirstErr(); err != nil {
		t.Error(err)
	}
}
