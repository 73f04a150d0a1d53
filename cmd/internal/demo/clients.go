package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A producer sends records of one sequence at a steady rate, idempotent and
// with acks=all.
type producer struct {
	id     int32
	load   *load
	rate   int // records per second
	client *kgo.Client
}

func (p *producer) start(addr string) (err error) {
	opts := append(p.load.options(addr, fmt.Sprintf("producer-%d", p.id)),
		kgo.DefaultProduceTopic(p.load.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(10*time.Millisecond),
		kgo.RecordDeliveryTimeout(30*time.Second),
	)
	if p.client, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("make producer %d: %w", p.id, err)
	}
	p.load.sending.Go(p.send)
	return nil
}

func (p *producer) send() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for next := int64(0); ; {
		due := int64(time.Since(began).Seconds() * float64(p.rate))
		for ; next < due; next++ {
			m := mark{p.id, next}
			p.load.ledger.send(m)
			// Blocks when the client's buffer is full, which bounds it.
			p.client.Produce(p.load.ctx, &kgo.Record{Value: m.value(), Partition: partitionOf(m)}, p.told)
		}
		select {
		case <-tick.C:
		case <-p.load.stop:
			return
		}
	}
}

// told is called with the fate of every record, one at a time.
func (p *producer) told(r *kgo.Record, err error) {
	switch {
	case err == nil:
		m, _ := parseMark(r.Value)
		p.load.meters.producer[p.id].tick(time.Now())
		p.load.ledger.ack(r.Partition, r.Offset, m)
	case p.load.ctx.Err() == nil:
		p.load.errors.add("producer %d, partition %d: %v", p.id, r.Partition, err)
	}
}

// A group is a consumer group that reads the topic.
type group struct {
	name     string
	protocol string // "classic" or "consumer" (KIP-848)
	load     *load
	meter    *meter
	members  []*member

	mu      sync.Mutex
	changes int64   // guarded by mu; assignments and losses since mark
	epochs  []int32 // guarded by mu; generation of each member at mark
}

// A member is one consumer of a group.
type member struct {
	group  *group
	client *kgo.Client

	mu    sync.Mutex
	owned map[int32]bool // guarded by mu
}

func (g *group) start(addr string) error {
	for i := range members {
		m := &member{group: g, owned: map[int32]bool{}}
		opts := append(g.load.options(addr, fmt.Sprintf("%s-%d", g.protocol, i)),
			kgo.ConsumerGroup(g.name),
			kgo.ConsumeTopics(g.load.topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.AutoCommitInterval(500*time.Millisecond),
			kgo.AutoCommitCallback(m.committed),
			kgo.OnPartitionsAssigned(m.assigned),
			kgo.OnPartitionsRevoked(m.revoked),
			kgo.OnPartitionsLost(m.revoked),
		)
		if g.protocol == "consumer" {
			opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
		}
		var err error
		if m.client, err = kgo.NewClient(opts...); err != nil {
			return fmt.Errorf("make a consumer of %s: %w", g.name, err)
		}
		g.members = append(g.members, m)
		g.load.reading.Go(m.read)
	}
	return nil
}

func (m *member) read() {
	l := m.group.load
	for {
		fetches := m.client.PollFetches(l.ctx)
		if l.ctx.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, partition int32, err error) {
			l.errors.add("group %s, partition %d: %v", m.group.name, partition, err)
		})
		if !fetches.Empty() {
			m.group.meter.tick(time.Now())
		}
		fetches.EachRecord(func(r *kgo.Record) { l.ledger.read(m.group.name, r.Partition, r.Offset, r.Value) })
	}
}

func (m *member) assigned(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	m.change(parts, true)
}

func (m *member) revoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	m.change(parts, false)
}

func (m *member) change(parts map[string][]int32, have bool) {
	m.mu.Lock()
	for _, p := range parts[m.group.load.topic] {
		if m.owned[p] = have; !have {
			delete(m.owned, p)
		}
	}
	m.mu.Unlock()
	if m.group.load.settled.Load() {
		m.group.mu.Lock()
		m.group.changes++
		m.group.mu.Unlock()
	}
}

// committed is told of every commit in the background.
func (m *member) committed(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if !m.group.load.settled.Load() || errors.Is(err, context.Canceled) {
		return
	}
	if err != nil {
		m.group.load.errors.add("group %s, commit: %v", m.group.name, err)
		return
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				m.group.load.errors.add("group %s, commit of partition %d: %v", m.group.name, p.Partition, err)
			}
		}
	}
}

// shared reports whether the members have all partitions, each of them some.
func (g *group) shared() bool {
	total := 0
	for _, m := range g.members {
		m.mu.Lock()
		n := len(m.owned)
		m.mu.Unlock()
		if n == 0 {
			return false
		}
		total += n
	}
	return total == partitions
}

// mark begins to count rebalances.
func (g *group) mark() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes, g.epochs = 0, nil
	for _, m := range g.members {
		_, epoch := m.client.GroupMetadata()
		g.epochs = append(g.epochs, epoch)
	}
}

// rebalances are those since mark: generations that went by, or assignments
// that changed, whichever shows more. A rebalance that gives everybody what they
// had calls nobody, one within a generation leaves its number.
func (g *group) rebalances() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.changes
	for i, m := range g.members {
		if i < len(g.epochs) {
			_, epoch := m.client.GroupMetadata()
			n = max(n, int64(epoch-g.epochs[i]))
		}
	}
	return n
}

// commit commits what every member has read.
func (g *group) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, m := range g.members {
		if err := m.client.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("commit for group %s: %w", g.name, err)
		}
	}
	return nil
}
