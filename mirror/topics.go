package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A topic is what the conductor knows about one that is mirrored.
type topic struct {
	LegacyTopic
	imported   int32 // partitions that the store has
	configs    map[string]*string
	configsDue time.Time
	absent     time.Time // since when legacy's metadata lacks it; zero: it doesn't
}

// goneAfter is how long a topic must be missing from legacy's metadata before it
// counts as deleted: brokers that have just started may not know it yet.
const goneAfter = 10 * time.Second

// conduct follows legacy's metadata until ctx ends: it imports topics, gives
// partitions to the broker that leads them, and starts the brokers' goroutines.
func (m *Mirror) conduct(ctx context.Context, group *sync.WaitGroup) {
	var asked time.Time
	gap := refreshGap
	m.wantRefresh()
	for ctx.Err() == nil {
		changed := m.legacy.Changed()
		again := m.look(ctx, group)
		timer := time.NewTimer(m.cfg.Poll)
		if again {
			timer.Reset(min(m.cfg.Poll, 200*time.Millisecond))
		}
		ask := true
		select {
		case <-ctx.Done():
		case <-changed:
			ask = false
		case <-timer.C:
		case <-m.refresh:
			ask = pause(ctx, time.Until(asked.Add(gap)))
		}
		timer.Stop()
		if ask && ctx.Err() == nil {
			asked = time.Now()
			rctx, cancel := context.WithTimeout(ctx, requestTimeout)
			err := m.legacy.Refresh(rctx)
			cancel()
			if gap = refreshGap; err != nil {
				gap = 500 * time.Millisecond
				m.cfg.Logger.Debug("legacy's metadata could not be refreshed", "err", err)
			}
		}
	}
}

// refreshGap is the shortest time between two refreshes that errors ask for, while
// legacy answers them.
const refreshGap = 20 * time.Millisecond

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// look takes over legacy's metadata as it is now. again says that something did
// not work and should be tried soon.
func (m *Mirror) look(ctx context.Context, group *sync.WaitGroup) (again bool) {
	seen := m.legacy.Topics()
	if len(seen) == 0 {
		return false
	}
	now := time.Now()
	var due []*topic
	for _, lt := range seen {
		t := m.topics[lt.ID]
		if t == nil {
			if !m.cfg.Wants(lt.Name, lt.Internal) && !m.homeHere(lt) {
				continue
			}
			t = &topic{}
			m.topics[lt.ID] = t
		}
		t.LegacyTopic, t.absent = lt, time.Time{}
		if !now.Before(t.configsDue) {
			due = append(due, t)
		}
	}
	m.gone(ctx, seen, now)
	if err := m.describe(ctx, due, now); err != nil && ctx.Err() == nil {
		if !m.blind {
			m.cfg.Logger.Warn("topic configs can't be read, which is tried again until they can", "err", err)
		}
		m.blind, again = true, true
	} else if len(due) > 0 {
		m.blind = false
	}
	if err := m.importAll(ctx); err != nil && ctx.Err() == nil {
		m.cfg.Logger.Error("topics could not be imported", "err", err)
		again = true
	}
	m.assign(ctx, group)
	return again
}

// homeHere says whether a topic that is not chosen has a partition whose home is
// the target: it is kept in step whatever the patterns say.
func (m *Mirror) homeHere(lt LegacyTopic) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range lt.Partitions {
		p := offsets.Partition{Topic: lt.ID, Index: int32(i)}
		if h, ok := m.homes[p]; ok && h.side == offsets.Target || m.twins[p] != nil {
			return true
		}
	}
	return false
}

// describe reads the configs of topics, all in one request per hundred.
func (m *Mirror) describe(ctx context.Context, due []*topic, now time.Time) error {
	node := int32(-1)
	for _, t := range m.topics {
		for _, p := range t.Partitions {
			if p.Leader >= 0 && (node < 0 || p.Leader < node) {
				node = p.Leader
			}
		}
	}
	if node < 0 {
		return nil
	}
	var errs []error
	for some := range slices.Chunk(due, 100) {
		byName := make(map[string]*topic, len(some))
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, t := range some {
			byName[t.Name] = t
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.Name
			req.Resources = append(req.Resources, r)
		}
		resp, err := inquire[*kmsg.DescribeConfigsResponse](ctx, m, forAdmin, node, req)
		if err != nil {
			m.wantRefresh() // that broker may be gone
			return err
		}
		for _, r := range resp.Resources {
			t := byName[r.ResourceName]
			if t == nil {
				continue
			}
			if r.ErrorCode != 0 {
				errs = append(errs, fmt.Errorf("topic %s: %s (%s)", t.Name, describe("describe configs", r.ErrorCode), remedies[r.ErrorCode]))
				continue
			}
			configs := make(map[string]*string, len(r.Configs))
			for _, c := range r.Configs {
				configs[c.Name] = c.Value
			}
			t.take(configs)
			t.configsDue = now.Add(m.cfg.ConfigsPoll)
		}
	}
	return errors.Join(errs...)
}

// take takes over configs; the import is repeated when they changed.
func (t *topic) take(configs map[string]*string) {
	same := func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
	if t.configs == nil || !maps.EqualFunc(t.configs, configs, same) {
		t.configs, t.imported = configs, 0
	}
}

func (t *topic) policy() policy {
	value := func(key string) string {
		if v := t.configs[key]; v != nil {
			return *v
		}
		return ""
	}
	compression := value("compression.type")
	return policy{
		compacted:     strings.Contains(value("cleanup.policy"), "compact"),
		logAppendTime: value("message.timestamp.type") == "LogAppendTime",
		recompressed:  compression != "" && compression != "producer",
	}
}

// importAll brings the store up to date.
func (m *Mirror) importAll(ctx context.Context) error {
	var errs []error
	for _, t := range m.topics {
		n := int32(len(t.Partitions))
		if t.configs == nil || n <= t.imported {
			continue
		}
		err := m.store.Import(ctx, Topic{Name: t.Name, ID: t.ID, Partitions: n, Configs: t.configs, Internal: t.Internal})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.imported = n
	}
	return errors.Join(errs...)
}

// assign gives every partition to the broker that leads it.
func (m *Mirror) assign(ctx context.Context, group *sync.WaitGroup) {
	touched := make(map[*broker]bool)
	led := make(map[*broker][]*twin)
	for _, id := range slices.SortedFunc(maps.Keys(m.topics), func(a, b offsets.TopicID) int {
		return strings.Compare(m.topics[a].Name, m.topics[b].Name)
	}) {
		tp := m.topics[id]
		for i, lp := range tp.Partitions {
			t, err := m.add(offsets.Partition{Topic: id, Index: int32(i)})
			if err != nil {
				continue // not imported yet
			}
			var b *broker
			if lp.Leader >= 0 {
				b = m.serving(ctx, group, lp.Leader)
			}
			before, now := t.follow(tp, lp, b)
			if before != now {
				touched[before.broker], touched[now.broker] = true, true
			}
			if now.broker != nil {
				led[now.broker] = append(led[now.broker], t)
			}
		}
	}
	for b := range touched {
		if b != nil {
			b.serve(led[b])
		}
	}
}

// leadership is what decides who serves a twin and under which epoch.
type leadership struct {
	broker *broker
	epoch  int32
}

// follow takes over what metadata says about a partition.
func (t *twin) follow(tp *topic, lp LegacyPartition, b *broker) (before, now leadership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = leadership{t.broker, t.epoch}
	t.name, t.policy = tp.Name, tp.policy()
	if lp.Epoch < t.epoch || lp.Epoch == t.epoch && t.broker == b {
		return before, before // old news, or none
	}
	t.leader, t.broker, t.epoch = lp.Leader, b, lp.Epoch
	t.away, t.awaySince = "", time.Time{}
	t.differs = true
	t.turn()
	t.subscribe(b)
	return before, leadership{b, t.epoch}
}

// serving finds a broker, or makes one and starts it.
func (m *Mirror) serving(ctx context.Context, group *sync.WaitGroup, node int32) *broker {
	b := m.brokers[node]
	if b == nil {
		b = newBroker(m, node)
		m.brokers[node] = b
		group.Go(func() { (&reader{line: line{b: b}}).run(ctx) })
		group.Go(func() { (&writer{line: line{b: b}}).run(ctx) })
	}
	return b
}

// gone deals with topics that legacy does not have any more.
func (m *Mirror) gone(ctx context.Context, seen []LegacyTopic, now time.Time) {
	ids := make(map[offsets.TopicID]bool, len(seen))
	names := make(map[string]bool, len(seen))
	for _, lt := range seen {
		ids[lt.ID], names[lt.Name] = true, true
	}
	for id, t := range m.topics {
		if ids[id] {
			continue
		}
		if t.absent.IsZero() {
			t.absent = now
			m.wantRefresh()
		}
		recreated := names[t.Name]
		if !recreated && now.Sub(t.absent) < goneAfter {
			continue
		}
		if m.abandon(t, recreated) {
			if err := m.store.Remove(ctx, id); err != nil {
				m.cfg.Logger.Error("topic that legacy deleted could not be removed", "topic", t.Name, "err", err)
				continue
			}
			m.cfg.Logger.Info("topic was deleted on legacy and is no longer mirrored", "topic", t.Name, "id", id.String())
			m.forget(id)
		}
	}
}

// abandon ends the copies of a topic that legacy has deleted. It says whether the
// target's copy may be removed: not while it is home of any partition.
func (m *Mirror) abandon(t *topic, recreated bool) bool {
	why := "legacy has deleted the topic"
	if recreated {
		why = "legacy has deleted the topic and created another one of the same name"
	}
	removable := true
	for i := range t.Partitions {
		tw := m.twin(offsets.Partition{Topic: t.ID, Index: int32(i)})
		if tw == nil {
			continue
		}
		tw.mu.Lock()
		if tw.home == offsets.Target {
			removable = false
			tw.diverge(tw.legacyStart, why)
		} else {
			tw.halt(Stopped, tw.pos, why, "none needed: the copy is removed")
		}
		tw.mu.Unlock()
	}
	return removable
}

// forget drops the twins of a topic.
func (m *Mirror) forget(id offsets.TopicID) {
	delete(m.topics, id)
	m.mu.Lock()
	var out []*twin
	for p, t := range m.twins {
		if p.Topic == id {
			out = append(out, t)
			delete(m.twins, p)
		}
	}
	m.mu.Unlock()
	for _, t := range out {
		t.mu.Lock()
		b := t.broker
		t.leader, t.broker = -1, nil
		t.subscribe(nil)
		t.turn()
		t.mu.Unlock()
		if b != nil {
			b.serve(slices.DeleteFunc(slices.Clone(*b.twins.Load()), func(o *twin) bool { return o == t }))
		}
	}
}
