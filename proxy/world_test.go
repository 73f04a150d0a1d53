package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 30 * time.Second

// world is a legacy cluster, a target in memory, a copy between them and the
// proxy in front.
type world struct {
	t      *testing.T
	ctx    context.Context
	legacy *kfake.Cluster
	target *memTarget
	copies *copies
	proxy  *proxy.Proxy
	epoch  int64
	shown  map[offsets.Partition]offsets.Shown
	stop   func() // ends the proxy and waits
}

type worldOptions struct {
	brokers int
	topics  map[string]int32
	kfake   []kfake.Opt
	config  func(*proxy.Config)
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	if o.brokers == 0 {
		o.brokers = 3
	}
	opts := append([]kfake.Opt{kfake.NumBrokers(o.brokers)}, o.kfake...)
	for topic, n := range o.topics {
		opts = append(opts, kfake.SeedTopics(n, topic))
	}
	legacy, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	level := slog.LevelError
	if os.Getenv("PROXY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &world{t: t, ctx: ctx, legacy: legacy, target: newMemTarget(), shown: make(map[offsets.Partition]offsets.Shown)}
	w.copies = &copies{all: make(map[offsets.Partition]*rawCopy)}
	cfg := proxy.Config{
		Listen: "127.0.0.1:0", Bootstrap: legacy.ListenAddrs(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if o.config != nil {
		o.config(&cfg)
	}
	if w.proxy, err = proxy.New(cfg, w.target, w.copies); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.proxy.Run(ctx) }()
	select {
	case <-w.proxy.Ready():
	case err := <-done:
		t.Fatalf("run proxy: %v", err)
	case <-time.After(patience):
		t.Fatal("proxy is not ready")
	}
	var mirrors sync.WaitGroup
	mirrorCtx, stopMirrors := context.WithCancel(ctx)
	for topic, n := range o.topics {
		for i := range n {
			p := w.part(topic, i)
			r := &rawCopy{topo: w.proxy.Topology(), topic: topic, id: p, log: w.target.create(topic, p), changed: make(chan struct{})}
			w.copies.all[p] = r
			mirrors.Go(func() { r.run(mirrorCtx) })
		}
	}
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			stopMirrors()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("proxy ended: %v", err)
			}
			mirrors.Wait()
			w.target.close()
			legacy.Close()
		})
	}
	t.Cleanup(w.stop)
	return w
}

func (w *world) part(topic string, i int32) offsets.Partition {
	w.t.Helper()
	id, ok := w.proxy.Topology().TopicID(topic)
	if !ok {
		w.t.Fatalf("topic %s is unknown", topic)
	}
	return offsets.Partition{Topic: id, Index: i}
}

// all are all partitions of a topic.
func (w *world) all(topic string) []offsets.Partition {
	id, _ := w.proxy.Topology().TopicID(topic)
	var parts []offsets.Partition
	for p := range w.copies.all {
		if p.Topic == id {
			parts = append(parts, p)
		}
	}
	return parts
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.proxy.Addr())}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// move is a flip (or a rollback) as the plan makes it: watch, hold, drain, wait
// for the copy, turn it round, apply.
func (w *world) move(to offsets.Side, parts ...offsets.Partition) time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := w.proxy.Watch(ctx, parts); err != nil {
		w.t.Fatalf("watch: %v", err)
	}
	w.epoch++
	began := time.Now()
	w.proxy.Hold(parts, fmt.Sprintf("move-%d", w.epoch))
	acked, err := w.proxy.Drain(ctx, parts)
	if err != nil {
		w.t.Fatalf("drain: %v", err)
	}
	routes := make(map[offsets.Partition]proxy.Route)
	for _, p := range parts {
		r := w.copies.get(p)
		end, err := w.copies.HomeEnd(ctx, p)
		if err != nil {
			w.t.Fatalf("home end: %v", err)
		}
		if acked[p] > end {
			w.t.Errorf("partition %s: acknowledged up to %d, end is %d", p, acked[p], end)
		}
		if err := w.copies.Await(ctx, p, end); err != nil {
			w.t.Fatalf("await %s at %d: %v", p, end, err)
		}
		r.log.mu.Lock()
		r.log.leading = to == offsets.Target
		r.log.mu.Unlock()
		r.setHome(to)
		routes[p] = proxy.Route{Home: to, Epoch: w.epoch, Shown: w.shown[p]}
	}
	w.proxy.Apply(routes)
	return time.Since(began)
}

func (w *world) flip(parts ...offsets.Partition) time.Duration {
	return w.move(offsets.Target, parts...)
}

func (w *world) rollback(parts ...offsets.Partition) time.Duration {
	return w.move(offsets.Legacy, parts...)
}

// relocate shows the target as leader, or takes that back.
func (w *world) relocate(there bool, parts ...offsets.Partition) {
	w.epoch++
	routes := make(map[offsets.Partition]proxy.Route)
	for _, p := range parts {
		_, legacy, _ := w.proxy.Topology().Leader(p)
		s := w.shown[p]
		if there {
			s = s.Relocate(legacy)
		} else {
			s = s.TakeBack(legacy)
		}
		w.shown[p] = s
		r, _ := w.proxy.Route(p)
		r.Epoch, r.Shown = w.epoch, s
		routes[p] = r
	}
	w.proxy.Apply(routes)
}
