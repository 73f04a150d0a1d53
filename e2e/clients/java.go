package clients

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"switchback/e2e/history"
	"switchback/e2e/kafka"
)

// Group protocols of Java's consumer.
const (
	Classic  = "classic"
	Consumer = "consumer" // KIP-848
)

// Producing says what a producer does.
type Producing struct {
	Bootstrap, Topic string
	Name             string            // a number for Java
	Rate             int               // records per second; 0: as fast as it can
	Acks             string            // "all" when empty; idempotent then
	Config           map[string]string // further settings, in the client's own words
}

// Consuming says what a consumer does. It reads from the start of the log where its group has no committed offset, and commits what it was handed
// after every poll.
type Consuming struct {
	Bootstrap, Topic string
	Name             string
	Group            string
	Protocol         string // Classic when empty
	Config           map[string]string
}

// JavaProducer starts a VerifiableProducer. It retries by itself for as long as Java's defaults say, which is not what VerifiableProducer does
// when left alone (it sets retries to 0).
func JavaProducer(t testing.TB, dist *kafka.Distribution, h *history.History, o Producing) Client {
	t.Helper()
	if _, err := strconv.Atoi(o.Name); err != nil {
		t.Fatalf("start VerifiableProducer: its name must be a number, got %q", o.Name)
	}
	acks := map[string]string{"": "-1", "all": "-1", "1": "1", "0": "0"}[o.Acks]
	settings := map[string]string{"retries": strconv.Itoa(math.MaxInt32), "enable.idempotence": strconv.FormatBool(acks == "-1"), "client.id": "java-" + o.Name}
	maps.Copy(settings, o.Config)
	args := []string{
		"--bootstrap-server", o.Bootstrap, "--topic", o.Topic, "--acks", acks, "--value-prefix", o.Name,
		"--command-config", properties(t, settings),
	}
	if o.Rate > 0 {
		args = append(args, "--throughput", strconv.Itoa(o.Rate))
	}
	command := dist.Command(kafka.JVM{Class: "org.apache.kafka.tools.VerifiableProducer", Args: args})
	// It does not tell what it is about to send.
	h.Sent(history.Mark{Producer: o.Name, Number: math.MaxInt64})
	return launch(t, o.Name, command, func(p *process, line []byte) error { return p.tellProducer(h, line) })
}

// JavaConsumer starts a VerifiableConsumer.
func JavaConsumer(t testing.TB, dist *kafka.Distribution, h *history.History, o Consuming) Client {
	t.Helper()
	protocol := o.Protocol
	if protocol == "" {
		protocol = Classic
	}
	settings := map[string]string{"client.id": o.Name}
	maps.Copy(settings, o.Config)
	command := dist.Command(kafka.JVM{Class: "org.apache.kafka.tools.VerifiableConsumer", Args: []string{
		"--bootstrap-server", o.Bootstrap, "--topic", o.Topic, "--group-id", o.Group, "--group-protocol", protocol,
		"--reset-policy", "earliest", "--verbose", "--command-config", properties(t, settings),
	}})
	return launch(t, o.Name, command, func(p *process, line []byte) error { return p.tellConsumer(h, o.Group, line) })
}

// properties writes a file as Java reads it.
func properties(t testing.TB, settings map[string]string) string {
	t.Helper()
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&out, "%s=%s\n", key, settings[key])
	}
	path := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
