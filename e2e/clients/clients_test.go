package clients_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchback/e2e/clients"
	"switchback/e2e/history"
	"switchback/e2e/kafka"
	"switchback/e2e/logs"
	"switchback/e2e/machine"
)

// TestEveryClientTellsItsHistory runs all clients against a plain cluster, where nothing can be wrong with anybody but us.
func TestEveryClientTellsItsHistory(t *testing.T) {
	const topic, partitions, rate = "orders", 4, 200
	python := clients.NeedPython(t)
	cluster := kafka.Run(t, kafka.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // from here on: Run waits for those who have the machine
	defer cancel()
	if err := cluster.CreateTopic(ctx, topic, partitions, 1, nil); err != nil {
		t.Fatal(err)
	}
	var h history.History
	produce := func(name string) clients.Producing {
		return clients.Producing{Bootstrap: cluster.Bootstrap(), Topic: topic, Name: name, Rate: rate}
	}
	consume := func(name, protocol string) clients.Consuming {
		return clients.Consuming{Bootstrap: cluster.Bootstrap(), Topic: topic, Name: name, Group: "group-" + name, Protocol: protocol}
	}
	producers := []clients.Client{
		clients.JavaProducer(t, cluster.Dist(), &h, produce("1")),
		clients.LibrdkafkaProducer(t, python, &h, produce("librdkafka")),
		clients.FranzProducer(t, &h, produce("franz")),
	}
	consumers := []clients.Client{
		clients.JavaConsumer(t, cluster.Dist(), &h, consume("java-classic", clients.Classic)),
		clients.JavaConsumer(t, cluster.Dist(), &h, consume("java-consumer", clients.Consumer)),
		clients.LibrdkafkaConsumer(t, python, &h, consume("librdkafka-classic", "")),
		clients.FranzConsumer(t, &h, consume("franz-classic", "")),
	}
	for _, p := range producers {
		err := machine.Until(ctx, time.Minute, p.Name(), func(context.Context) error {
			if n := h.AcksOf(p.Name()); n < 500 {
				return fmt.Errorf("%d records acknowledged", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range producers {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if p.Pulse().Beats() != int64(h.AcksOf(p.Name())) {
			t.Errorf("%s: %d beats for %d acknowledgements", p.Name(), p.Pulse().Beats(), h.AcksOf(p.Name()))
		}
	}
	written := map[history.Place][]history.Logged{}
	for n := range int32(partitions) {
		place := history.Place{Topic: topic, Partition: n}
		log, err := logs.Read(ctx, cluster.Bootstrap(), place)
		if err != nil {
			t.Fatal(err)
		}
		if written[place], err = log.History(clients.ParseValue); err != nil {
			t.Fatal(err)
		}
	}
	var groups []string
	for _, c := range consumers {
		group := "group-" + c.Name()
		groups = append(groups, group)
		err := machine.Until(ctx, time.Minute, c.Name(), func(context.Context) error {
			for place, log := range written {
				if end := log[len(log)-1].Offset + 1; h.Reached(group, place) < end {
					return fmt.Errorf("%v committed to %d of %d", place, h.Reached(group, place), end)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if h.Assignments(group) != partitions {
			t.Errorf("%s was assigned %d partitions, want each of %d once", c.Name(), h.Assignments(group), partitions)
		}
	}
	report := h.Check(written, groups...)
	t.Log(report)
	if !report.OK() || report.Acked < 1500 || report.Acked != report.Logged || report.ReadTwice != 0 {
		t.Errorf("history: %v", report)
	}
	for _, c := range append(producers, consumers...) {
		if c.Log().Count("INFO") == 0 && c.Name() != "librdkafka" && c.Name() != "librdkafka-classic" {
			t.Errorf("%s has logged nothing: its levels cannot be counted", c.Name())
		}
		if c.Log().Above() > 0 {
			t.Logf("%s, lines above INFO:\n%s", c.Name(), c.Log().Since(0))
		}
	}
	tools(ctx, t, cluster, topic)
}

func tools(ctx context.Context, t *testing.T, cluster *kafka.Cluster, topic string) {
	out, err := clients.Tool(ctx, cluster.Dist(), "kafka-topics", cluster.Bootstrap(), "--describe", "--topic", topic)
	if err != nil || !strings.Contains(out, "PartitionCount: 4") {
		t.Errorf("kafka-topics: %v\n%s", err, out)
	}
	if _, err := clients.Tool(ctx, cluster.Dist(), "kafka-topics", cluster.Bootstrap(), "--describe", "--topic", "none"); err == nil {
		t.Error("a tool that failed is no error")
	}
	got, err := clients.Perf(ctx, cluster.Dist(), cluster.Bootstrap(), topic, 2000, 100, -1)
	if err != nil || got.Records != 2000 || got.RecordsPerSecond <= 0 {
		t.Errorf("kafka-producer-perf-test: %+v, %v", got, err)
	}
}
