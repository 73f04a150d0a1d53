package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"switchback/e2e/machine"
)

// node is one process of a cluster, a broker or the controller.
type node struct {
	cluster *Cluster
	name    string
	id      int
	port    int
	dir     string // data
	log     string // what the process printed, over all its lives

	process *machine.Process
}

// settings are the same on every node unless a test says otherwise: internal topics of a few partitions, so that a start is quick; groups
// that don't wait for more members; no topic that appears because somebody misspelt one; dead brokers noticed within seconds.
func (c *Cluster) settings() map[string]string {
	replicas := fmt.Sprint(len(c.brokers))
	s := map[string]string{
		"offsets.topic.num.partitions":             "3",
		"offsets.topic.replication.factor":         replicas,
		"transaction.state.log.num.partitions":     "3",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            "1",
		"group.initial.rebalance.delay.ms":         "0",
		"auto.create.topics.enable":                "false",
		"broker.session.timeout.ms":                "6000",
		"broker.heartbeat.interval.ms":             "1000",
		"auto.leader.rebalance.enable":             "false",
		"log.segment.delete.delay.ms":              "1000",
	}
	maps.Copy(s, c.options.Config)
	return s
}

// prepare writes the files of all nodes and formats their folders. Kafka's own tool formats the controller, which alone needs the feature
// levels that it writes; what it would write for a broker is four lines (KIP-858), and a JVM each.
func (c *Cluster) prepare(ctx context.Context) error {
	for _, n := range c.nodes() {
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(n.config(), n.properties(), 0o644); err != nil {
			return err
		}
		if n == c.controller {
			continue
		}
		meta := fmt.Sprintf("version=1\nnode.id=%d\ncluster.id=%s\ndirectory.id=%s\n", n.id, c.id, uuid())
		if err := os.WriteFile(filepath.Join(n.dir, "meta.properties"), []byte(meta), 0o644); err != nil {
			return err
		}
	}
	format := c.dist.Command(JVM{Class: storageClass, Args: []string{"format", "-t", c.id, "-c", c.controller.config()}})
	said := machine.NewTail(4 << 10)
	format.Stdout, format.Stderr = said, said
	if err := machine.Run(ctx, format); err != nil {
		return fmt.Errorf("format storage: %w\n%s", err, said)
	}
	return nil
}

func (n *node) config() string { return n.dir + ".properties" }

func (n *node) properties() []byte {
	c := n.cluster
	s := c.settings()
	s["node.id"] = fmt.Sprint(n.id)
	s["log.dirs"] = n.dir
	s["controller.quorum.voters"] = fmt.Sprintf("%d@%s", controllerID, machine.Loopback(c.controller.port))
	s["controller.listener.names"] = "CONTROLLER"
	s["listener.security.protocol.map"] = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FRONT:PLAINTEXT"
	if n == c.controller {
		s["process.roles"] = "controller"
		s["listeners"] = "CONTROLLER://" + machine.Loopback(n.port)
	} else {
		s["process.roles"] = "broker"
		s["inter.broker.listener.name"] = "PLAINTEXT"
		s["listeners"] = "PLAINTEXT://" + machine.Loopback(n.port)
		if c.options.Front {
			s["advertised.listeners"] = s["listeners"] + ",FRONT://" + machine.Loopback(n.port+2)
			s["listeners"] += ",FRONT://" + machine.Loopback(n.port+1)
		}
	}
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&out, "%s=%s\n", key, s[key])
	}
	return []byte(out.String())
}

// launch starts the process; it does not wait until it serves.
func (n *node) launch() error {
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer out.Close() // the child has its own
	o := n.cluster.options
	jvm := JVM{Class: serverClass, Args: []string{n.config()}, Heap: o.Heap, Full: o.Full}
	if jvm.Heap == "" {
		jvm.Heap = "512m"
	}
	if n != n.cluster.controller {
		jvm.Flags = o.flags
	}
	command := n.cluster.dist.Command(jvm)
	command.Name, command.Stdout, command.Stderr = n.name, out, out
	n.process, err = machine.Start(command)
	return err
}

// uuid makes an id in Kafka's spelling: 16 random bytes, url-safe base64. The ids that start with a dash are left out, as Kafka does:
// a command line would take them for an option.
func uuid() string {
	for {
		var b [16]byte
		rand.Read(b[:]) // never fails
		if id := base64.RawURLEncoding.EncodeToString(b[:]); !strings.HasPrefix(id, "-") {
			return id
		}
	}
}
