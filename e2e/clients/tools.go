package clients

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"switchback/e2e/kafka"
	"switchback/e2e/machine"
)

// Kafka's console tools by the names of their scripts.
var tools = map[string]string{
	"kafka-acls":                "org.apache.kafka.tools.AclCommand",
	"kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-cluster":             "org.apache.kafka.tools.ClusterTool",
	"kafka-configs":             "kafka.admin.ConfigCommand",
	"kafka-consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-features":            "org.apache.kafka.tools.FeatureCommand",
	"kafka-get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"kafka-groups":              "org.apache.kafka.tools.GroupsCommand",
	"kafka-leader-election":     "org.apache.kafka.tools.LeaderElectionCommand",
	"kafka-log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"kafka-metadata-quorum":     "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"kafka-topics":              "org.apache.kafka.tools.TopicCommand",
	"kafka-transactions":        "org.apache.kafka.tools.TransactionsCommand",
}

// Tool runs a console tool to its end, against a bootstrap address, and returns what it printed. A tool that ends with another code than 0 is an
// error that says what it wrote.
func Tool(ctx context.Context, dist *kafka.Distribution, name, bootstrap string, args ...string) (string, error) {
	class, ok := tools[name]
	if !ok {
		return "", fmt.Errorf("run %s: no such tool", name)
	}
	var out bytes.Buffer
	said := machine.NewTail(8 << 10)
	command := dist.Command(kafka.JVM{Class: class, Args: append([]string{"--bootstrap-server", bootstrap}, args...)})
	command.Name, command.Stdout, command.Stderr = name, &out, said
	if err := machine.Run(ctx, command); err != nil {
		return out.String(), fmt.Errorf("run %s: %w\n%s%s", name, err, out.String(), said)
	}
	return out.String(), nil
}

// Performance is what ProducerPerformance found out.
type Performance struct {
	Records          int64
	RecordsPerSecond float64
	AverageMillis    float64
	MaxMillis        float64
}

// Perf runs ProducerPerformance: records of size bytes at a rate (-1: as fast as it can), with further producer settings as key=value.
func Perf(ctx context.Context, dist *kafka.Distribution, bootstrap, topic string, records int64, size, rate int, settings ...string) (Performance, error) {
	args := []string{
		"--topic", topic, "--num-records", strconv.FormatInt(records, 10),
		"--record-size", strconv.Itoa(size), "--throughput", strconv.Itoa(rate),
	}
	if len(settings) > 0 {
		args = append(append(args, "--command-property"), settings...)
	}
	out, err := Tool(ctx, dist, "kafka-producer-perf-test", bootstrap, args...)
	if err != nil {
		return Performance{}, err
	}
	return parsePerformance(out)
}

// parsePerformance reads the last line, such as
// "50000 records sent, 12345.6 records/sec (12.06 MB/sec), 1.23 ms avg latency, 45.00 ms max latency, ...".
func parsePerformance(out string) (Performance, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	var p Performance
	var megabytes float64
	_, err := fmt.Sscanf(last, "%d records sent, %f records/sec (%f MB/sec), %f ms avg latency, %f ms max latency",
		&p.Records, &p.RecordsPerSecond, &megabytes, &p.AverageMillis, &p.MaxMillis)
	if err != nil {
		return Performance{}, fmt.Errorf("read result of kafka-producer-perf-test %q: %w", last, err)
	}
	return p, nil
}
