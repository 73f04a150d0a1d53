package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sendEvery is how often a producer looks what is due: a timer per record would be most of the load.
const sendEvery = 2 * time.Millisecond

// troubles counts what clients were told that they should not have been, and keeps the first ones for the report.
type troubles struct {
	mu    sync.Mutex
	n     int
	first []string
}

const keptTroubles = 5

func (t *troubles) add(who, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n++; len(t.first) < keptTroubles {
		t.first = append(t.first, who+": "+what)
	}
}

func (t *troubles) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// franz is a franz-go producer: idempotent, with acks=all, at a steady rate.
type franz struct {
	name   string
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
}

// franzLoad says what a franz-go producer does.
type franzLoad struct {
	name, bootstrap string
	rate            int               // records per second over all topics
	topics          []string          // it writes to each in turn
	acked           func(*kgo.Record) // called one after the other
	options         []kgo.Opt
}

// franzValue is what records hold.
var franzValue = make([]byte, 100)

// start starts the producer; end ends it.
func (l franzLoad) start(t *troubles) (*franz, error) {
	options := append([]kgo.Opt{kgo.SeedBrokers(strings.Split(l.bootstrap, ",")...), kgo.ClientID(l.name)}, l.options...)
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &franz{name: l.name, client: client, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.produce(ctx, l, t)
	}()
	return f, nil
}

// produce sends what is due until ctx ends. A record that is on its way then is not cancelled.
func (f *franz) produce(ctx context.Context, l franzLoad, t *troubles) {
	told := func(r *kgo.Record, err error) {
		if err != nil {
			t.add(f.name, err.Error())
			return
		}
		l.acked(r)
	}
	ticks := time.NewTicker(max(sendEvery, time.Second/time.Duration(l.rate)))
	defer ticks.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for due := int(time.Since(began).Seconds() * float64(l.rate)); sent < due && ctx.Err() == nil; sent++ {
			f.client.Produce(context.Background(), &kgo.Record{Topic: l.topics[sent%len(l.topics)], Value: franzValue}, told)
		}
	}
}

// end waits for the outcome of everything sent.
func (f *franz) end() error {
	f.stop()
	<-f.done
	defer f.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := f.client.Flush(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", f.name, err)
	}
	return nil
}
