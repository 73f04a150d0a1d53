package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"switchback/e2e/history"
	"switchback/e2e/kafka"
	"switchback/e2e/machine"
)

// stopPatience bounds a client's own orderly end.
const stopPatience = 30 * time.Second

// javaEvent is a line that Kafka's verifiable clients print. The timestamp is the client's own, taken when it was told: what printing and reading
// the line add is no part of a gap.
type javaEvent struct {
	Name       string `json:"name"`
	Timestamp  int64  `json:"timestamp"` // milliseconds
	Message    string `json:"message"`
	Exception  string `json:"exception"`
	Partitions []struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		First     int64  `json:"minOffset"`
	} `json:"partitions"`
}

func (e javaEvent) time() time.Time { return time.UnixMilli(e.Timestamp) }

// javaClients starts verifiable clients. Their files go to dir.
type javaClients struct {
	dist     *kafka.Distribution
	dir      string
	troubles *troubles
}

// producer starts a VerifiableProducer that is idempotent and retries as Java does by default, and not as VerifiableProducer does when left alone.
func (j javaClients) producer(name, bootstrap, topic string, rate int, acked *timeline) (*machine.Process, error) {
	settings := map[string]string{"client.id": name, "retries": strconv.Itoa(math.MaxInt32), "enable.idempotence": "true"}
	args := []string{"--topic", topic, "--throughput", strconv.Itoa(rate)}
	return j.start(name, "org.apache.kafka.tools.VerifiableProducer", bootstrap, args, settings, func(e javaEvent) {
		switch e.Name {
		case "producer_send_success":
			acked.beat(e.time())
		case "producer_send_error":
			j.troubles.add(name, e.Exception+" "+e.Message)
		}
	})
}

// javaConsumer is a running VerifiableConsumer.
type javaConsumer struct {
	process    *machine.Process
	given      *deliveries
	rebalances atomic.Int64 // events of either kind, those of its start included
}

// consumer starts a VerifiableConsumer of a group of its own that commits by itself.
func (j javaClients) consumer(name, bootstrap, topic, protocol string, settings map[string]string, acked *acknowledged) (*javaConsumer, error) {
	c := &javaConsumer{given: &deliveries{name: name, acked: acked}}
	settings = maps.Clone(settings)
	settings["client.id"] = name
	args := []string{"--topic", topic, "--group-id", name, "--group-protocol", protocol, "--reset-policy", "earliest", "--enable-autocommit"}
	var err error
	c.process, err = j.start(name, "org.apache.kafka.tools.VerifiableConsumer", bootstrap, args, settings, func(e javaEvent) {
		switch e.Name {
		case "partitions_assigned", "partitions_revoked":
			c.rebalances.Add(1)
		case "records_consumed":
			for _, p := range e.Partitions {
				c.given.add(history.Place{Topic: p.Topic, Partition: p.Partition}, e.time(), p.First)
			}
		}
	})
	return c, err
}

func (j javaClients) start(name, class, bootstrap string, args []string, settings map[string]string, tell func(javaEvent)) (*machine.Process, error) {
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&lines, "%s=%s\n", key, settings[key])
	}
	config := filepath.Join(j.dir, name+".properties")
	if err := os.WriteFile(config, []byte(lines.String()), 0o644); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	log, err := os.Create(filepath.Join(j.dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close() // the child has its own
	args = append([]string{"--bootstrap-server", bootstrap, "--command-config", config}, args...)
	command := j.dist.Command(kafka.JVM{Class: class, Args: args, Full: true})
	command.Name, command.Stderr = name, log
	command.Stdout = &machine.Lines{Each: func(line []byte) {
		var e javaEvent
		if err := json.Unmarshal(line, &e); err != nil {
			j.troubles.add(name, fmt.Sprintf("printed %q", line))
			return
		}
		tell(e)
	}}
	return machine.Start(command)
}
