package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A load is all the clients of the demo and what they have seen.
type load struct {
	topic    string
	ledger   *ledger
	meters   meters
	traffic  traffic
	errors   complaints
	warnings atomic.Int64 // lines above INFO of the clients
	settled  atomic.Bool  // groups had settled: rebalances count from then on

	producers []*producer
	groups    []*group
	client    *kgo.Client // for committed offsets
	commits   map[string][partitions]int64

	ctx     context.Context // of records and polls; ends with close
	cancel  context.CancelFunc
	stop    chan struct{} // closed: producers send no more
	stopped sync.Once
	sending sync.WaitGroup
	reading sync.WaitGroup
}

// startLoad starts producers and consumers at addr. Groups come first, so that
// their first rebalances are over before there is anything to read.
func startLoad(ctx context.Context, addr, topic string, rate int) (*load, error) {
	l := &load{topic: topic, stop: make(chan struct{}), commits: map[string][partitions]int64{}, meters: meters{group: map[string]*meter{}}}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.start(ctx, addr, rate); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *load) start(ctx context.Context, addr string, rate int) error {
	var err error
	if l.client, err = kgo.NewClient(l.options(addr, "watcher")...); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	serverSide, err := l.serverSideGroups(ctx)
	if err != nil {
		return err
	}
	names := groupNames(l.topic)
	l.ledger = newLedger(names...)
	for i, name := range names {
		l.meters.group[name] = &meter{}
		g := &group{name: name, protocol: "classic", load: l, meter: l.meters.group[name]}
		if i == 1 && serverSide {
			g.protocol = "consumer"
		}
		l.groups = append(l.groups, g)
		if err := g.start(addr); err != nil {
			return err
		}
	}
	if err := await(ctx, "groups to share out the partitions", func() (bool, error) { return l.shared(), nil }); err != nil {
		return err
	}
	for id := range int32(producers) {
		p := &producer{id: id, load: l, rate: rate / producers}
		if err := p.start(addr); err != nil {
			return err
		}
		l.producers = append(l.producers, p)
	}
	return nil
}

// groupNames are the two groups. The second one speaks KIP-848 where legacy does.
func groupNames(topic string) []string { return []string{topic + "-first", topic + "-second"} }

// options are what all clients have in common. Metadata is refreshed every
// second, for a relocation to be seen within the demo; a client's default is
// five minutes.
func (l *load) options(addr, name string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(addr),
		kgo.ClientID("switchback-demo-" + name),
		kgo.MetadataMaxAge(time.Second),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.WithHooks((*wire)(&l.traffic)),
		kgo.WithLogger(counting{&l.warnings}),
	}
}

// serverSideGroups asks whether legacy speaks the group protocol of KIP-848.
func (l *load) serverSideGroups(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	resp, err := l.client.Request(ctx, kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return false, fmt.Errorf("ask for API versions: %w", err)
	}
	versions, isVersions := resp.(*kmsg.ApiVersionsResponse)
	if !isVersions {
		return false, fmt.Errorf("ask for API versions: got %T", resp)
	}
	for _, k := range versions.ApiKeys {
		if k.ApiKey == int16(kmsg.ConsumerGroupHeartbeat) {
			return k.MaxVersion >= 1, nil
		}
	}
	return false, nil
}

// shared reports whether the members of every group have all partitions.
func (l *load) shared() bool {
	for _, g := range l.groups {
		if !g.shared() {
			return false
		}
	}
	return true
}

// steady waits until records flow through every client.
func (l *load) steady(ctx context.Context) error {
	return await(ctx, "records to flow", func() (bool, error) {
		ends := l.ledger.ends()
		for _, end := range ends {
			if end == 0 {
				return false, l.errors.first()
			}
		}
		return l.ledger.reached([partitions]int64{1, 1, 1, 1, 1, 1}) && l.shared(), l.errors.first()
	})
}

// mark says that the groups have settled: what they do from now on counts.
func (l *load) mark() {
	for _, g := range l.groups {
		g.mark()
	}
	l.settled.Store(true)
	l.meters.reset()
}

func (l *load) groupNames() []string {
	var names []string
	for _, g := range l.groups {
		names = append(names, fmt.Sprintf("%s (%s protocol)", g.name, g.protocol))
	}
	return names
}

func (l *load) rebalances() (n int64) {
	for _, g := range l.groups {
		n += g.rebalances()
	}
	return n
}

// commitsBack reads the committed offsets and counts those that are lower than
// at the last call.
func (l *load) commitsBack(ctx context.Context) (back int, err error) {
	client := kadm.NewClient(l.client)
	for _, g := range l.groups {
		offsets, err := client.FetchOffsets(ctx, g.name)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return back, err
		}
		now := l.commits[g.name]
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic != l.topic {
				return
			}
			if o.At < now[o.Partition] {
				back++
			}
			now[o.Partition] = o.At
		})
		l.commits[g.name] = now
	}
	return back, nil
}

// finish ends the producers, lets the consumers read what is left, and commits.
func (l *load) finish(ctx context.Context) error {
	l.stopSending()
	l.sending.Wait()
	for _, p := range l.producers {
		flush, cancel := context.WithTimeout(ctx, settle)
		err := p.client.Flush(flush)
		cancel()
		if err != nil {
			return fmt.Errorf("flush producer %d: %w", p.id, err)
		}
	}
	ends := l.ledger.ends()
	if err := await(ctx, "consumers to read to the end", func() (bool, error) { return l.ledger.reached(ends), nil }); err != nil {
		return err
	}
	for _, g := range l.groups {
		if err := g.commit(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) stopSending() { l.stopped.Do(func() { close(l.stop) }) }

// close ends every client, whatever state they are in; twice is fine.
func (l *load) close() {
	l.settled.Store(false) // leaving is a rebalance for who stays
	l.stopSending()
	l.cancel()
	l.sending.Wait()
	l.reading.Wait()
	for _, p := range l.producers {
		p.client.Close()
	}
	for _, g := range l.groups {
		for _, m := range g.members {
			m.client.Close()
		}
	}
	if l.client != nil {
		l.client.Close()
	}
}

// complaints are what clients were told to have gone wrong: the first ones, and
// how many more.
type complaints struct {
	mu      sync.Mutex
	told    []string // guarded by mu
	omitted int64    // guarded by mu
}

func (c *complaints) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.told) == maxProblems {
		c.omitted++
		return
	}
	c.told = append(c.told, fmt.Sprintf(format, args...))
}

func (c *complaints) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.told...)
}

func (c *complaints) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.told)) + c.omitted
}

// first is the first complaint as an error, nil when there is none.
func (c *complaints) first() error {
	if told := c.all(); len(told) > 0 {
		return errors.New(told[0])
	}
	return nil
}

// wire is the traffic as a hook.
type wire traffic

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w *wire) OnBrokerWrite(meta kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && (key == int16(kmsg.Produce) || key == int16(kmsg.Fetch)) {
		(*traffic)(w).note(meta.NodeID, key, time.Now())
	}
}

// counting is a logger that counts.
type counting struct{ warnings *atomic.Int64 }

// Level implements kgo.Logger.
func (counting) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (c counting) Log(kgo.LogLevel, string, ...any) { c.warnings.Add(1) }
