package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
	"switchback/e2e/raw"
	"switchback/e2e/relay"
)

// stopGrace bounds a controlled shutdown: a broker gives up on its own after a while, too.
const stopGrace = 60 * time.Second

// Broker is one broker of a cluster. Its node id, address and data stay the same over all its lives.
type Broker struct {
	node    *node
	cluster *Cluster
	front   *relay.Relay // nil without Options.Front
	paused  atomic.Bool
}

// ID is the node id.
func (b *Broker) ID() int32 { return int32(b.node.id) }

// Addr is where the broker listens.
func (b *Broker) Addr() string { return machine.Loopback(b.node.port) }

// Front is the relay in front of the broker's second listener: what clients of the front see of it, and may be told to misbehave. nil without
// Options.Front.
func (b *Broker) Front() *relay.Relay { return b.front }

// Alive reports whether the process has not ended.
func (b *Broker) Alive() bool { return b.node.process != nil && b.node.process.Alive() }

// Kill ends the broker as a power cut of its process would (SIGKILL).
func (b *Broker) Kill() error {
	b.paused.Store(false)
	return b.node.process.Kill()
}

// Stop ends the broker as an operator does: leaders are moved away first.
func (b *Broker) Stop() error { return b.node.process.Stop(stopGrace) }

// Pause stops the broker where it is, with its connections open (SIGSTOP).
func (b *Broker) Pause() error {
	b.paused.Store(true)
	return b.node.process.Pause()
}

// Resume lets a paused broker go on.
func (b *Broker) Resume() error {
	b.paused.Store(false)
	return b.node.process.Resume()
}

// Start starts a broker that was killed or stopped and waits until it serves.
func (b *Broker) Start(ctx context.Context) error {
	if b.Alive() {
		return fmt.Errorf("start %s: it runs", b.node.name)
	}
	if err := b.node.launch(); err != nil {
		return err
	}
	return b.Ready(ctx)
}

// Ready waits until the broker answers Metadata with itself among the brokers and a controller known: from then on topics can be made.
func (b *Broker) Ready(ctx context.Context) error {
	return machine.Until(ctx, startPatience, b.node.name, func(ctx context.Context) error {
		if !b.Alive() {
			return errors.New("its process has ended")
		}
		metadata, err := b.Metadata(ctx)
		if err != nil {
			return err
		}
		if metadata.ControllerID < 0 {
			return errors.New("it knows no controller")
		}
		for _, known := range metadata.Brokers {
			if known.NodeID == b.ID() {
				return nil
			}
		}
		return errors.New("it is not among the brokers that it knows")
	})
}

// Metadata asks this broker what it knows of the given topics; of none when none is given.
func (b *Broker) Metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := raw.Dial(ctx, b.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Metadata(ctx, topics...)
}
