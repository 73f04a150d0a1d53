package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kgo"
)

// load is producers and consumers under way, and what they have seen.
type load struct {
	w     *world
	topic string
	ctx   context.Context
	stop  context.CancelFunc

	consumers bool
	closes    atomic.Bool // connections may be closed before their first answer: no error
	wg        sync.WaitGroup
	mu        sync.Mutex
	acked     map[int32]map[int64]string // by partition and offset
	errs      []error
	count     atomic.Int64
	read      atomic.Int64
	resets    atomic.Int64
}

// startLoad produces to every partition in turn from several clients, and reads
// everything with a consumer group and with a direct consumer.
func (w *world) startLoad(topic string, producers int, opts ...kgo.Opt) *load {
	l := w.startProducers(topic, producers, opts...)
	l.startConsumers()
	return l
}

// startProducers is startLoad without consumers.
func (w *world) startProducers(topic string, producers int, opts ...kgo.Opt) *load {
	ctx, cancel := context.WithCancel(w.ctx)
	l := &load{w: w, topic: topic, ctx: ctx, stop: cancel, acked: make(map[int32]map[int64]string)}
	for i := range producers {
		cl := w.client(append([]kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
			kgo.ProducerLinger(0), kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(500 * time.Millisecond)}, opts...)...)
		l.wg.Go(func() { l.produce(ctx, cl, i) })
	}
	return l
}

func (l *load) startConsumers() {
	l.consumers = true
	for _, opt := range [][]kgo.Opt{{kgo.ConsumerGroup("g-" + l.topic)}, nil} {
		cl := l.w.client(append([]kgo.Opt{kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(500 * time.Millisecond)}, opt...)...)
		l.wg.Go(func() { l.consume(l.ctx, cl) })
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *load) produce(ctx context.Context, cl *kgo.Client, id int) {
	for n := 0; ctx.Err() == nil; n++ {
		value := fmt.Sprintf("%d-%d", id, n)
		cl.Produce(context.Background(), kgo.StringRecord(value), func(r *kgo.Record, err error) {
			if err != nil {
				l.fail(fmt.Errorf("produce %s: %w", value, err))
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			part := l.acked[r.Partition]
			if part == nil {
				part = make(map[int64]string)
				l.acked[r.Partition] = part
			}
			if other, ok := part[r.Offset]; ok {
				l.errs = append(l.errs, fmt.Errorf("offset %d of %d acknowledged twice: %s and %s", r.Offset, r.Partition, other, value))
			}
			part[r.Offset] = value
			l.count.Add(1)
		})
		if n%20 == 0 {
			select {
			case <-time.After(2 * time.Millisecond): // the rate of the load
			case <-ctx.Done():
			}
		}
	}
	flush, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := cl.Flush(flush); err != nil {
		l.fail(fmt.Errorf("flush: %w", err))
	}
}

func (l *load) consume(ctx context.Context, cl *kgo.Client) {
	next := make(map[int32]int64)
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			var closed *kgo.ErrFirstReadEOF
			if ctx.Err() == nil && !(l.closes.Load() && errors.As(e.Err, &closed)) {
				l.fail(fmt.Errorf("fetch %s/%d: %w", e.Topic, e.Partition, e.Err))
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l.read.Add(1)
			if want := next[r.Partition]; r.Offset != want {
				l.resets.Add(1)
				l.fail(fmt.Errorf("consumer of partition %d: offset %d where %d was next", r.Partition, r.Offset, want))
			}
			next[r.Partition] = r.Offset + 1
		})
	}
}

// finish stops the load and checks it: no error, and both logs hold exactly what
// was acknowledged, where it was acknowledged, in order per producer.
func (l *load) finish() {
	t := l.w.t
	t.Helper()
	l.stop()
	l.wg.Wait()
	for i, err := range l.errs {
		if i == 10 {
			t.Errorf("and %d more errors", len(l.errs)-10)
			break
		}
		t.Error(err)
	}
	if l.count.Load() == 0 || l.consumers && l.read.Load() == 0 {
		t.Errorf("no load: %d produced, %d read", l.count.Load(), l.read.Load())
	}
	direct, err := kgo.NewClient(kgo.SeedBrokers(l.w.legacy.ListenAddrs()...), kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	legacy := make(map[int32]map[int64]string)
	total := 0
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for total < int(l.count.Load()) {
		fetches := direct.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("legacy holds %d records, %d were acknowledged", total, l.count.Load())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if legacy[r.Partition] == nil {
				legacy[r.Partition] = make(map[int64]string)
			}
			legacy[r.Partition][r.Offset] = string(r.Value)
			total++
		})
	}
	for part, records := range legacy {
		l.check(part, records)
	}
	for _, p := range l.w.all(l.topic) {
		l.compare(p)
	}
}

// check compares one partition of legacy with what was acknowledged.
func (l *load) check(part int32, records map[int64]string) {
	t := l.w.t
	if len(records) != len(l.acked[part]) {
		t.Errorf("partition %d: legacy holds %d records, %d were acknowledged", part, len(records), len(l.acked[part]))
	}
	last := make(map[string]int)
	var at []int64
	for offset := range records {
		at = append(at, offset)
	}
	slices.Sort(at)
	for _, offset := range at {
		value := records[offset]
		if acked := l.acked[part][offset]; acked != value {
			t.Errorf("partition %d offset %d: legacy holds %q, acknowledged was %q", part, offset, value, acked)
			return
		}
		producer, seq, _ := strings.Cut(value, "-")
		n, _ := strconv.Atoi(seq)
		if before, ok := last[producer]; ok && before >= n {
			t.Errorf("partition %d offset %d: %s after %s-%d", part, offset, value, producer, before)
			return
		}
		last[producer] = n
	}
}

// compare waits until the copy is through and compares ends.
func (l *load) compare(p offsets.Partition) {
	r := l.w.copies.get(p)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	end, err := legacyEnd(ctx, r)
	if err != nil {
		l.w.t.Errorf("end of %s: %v", p, err)
		return
	}
	eventually(l.w.t, "both logs end alike", func() bool { return r.log.end() == end })
	for _, b := range r.log.batches {
		if err := batch.CheckCRC(b.raw); err != nil {
			l.w.t.Errorf("%s: %v", p, err)
			return
		}
	}
}

// settle lets the load run until n more records were acknowledged.
func (l *load) settle(n int64) {
	l.w.t.Helper()
	goal := l.count.Load() + n
	eventually(l.w.t, "the load goes on", func() bool { return l.count.Load() >= goal })
}

func TestFlipAndRollbackUnderLoad(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 6, "others": 3}})
	orders, others := w.startLoad("orders", 3), w.startLoad("others", 1)
	orders.settle(500)
	parts := w.all("orders")
	for range 4 {
		t.Logf("flip %v", w.flip(parts...))
		orders.settle(500)
		t.Logf("rollback %v", w.rollback(parts...))
		orders.settle(500)
	}
	others.settle(100)
	orders.finish()
	others.finish()
}

func TestSplitAcrossHomes(t *testing.T) {
	w := newWorld(t, worldOptions{brokers: 1, topics: map[string]int32{"orders": 8}})
	l := w.startLoad("orders", 2)
	l.settle(200)
	var half []offsets.Partition
	for i := range int32(4) {
		half = append(half, w.part("orders", 2*i))
	}
	w.flip(half...)
	l.settle(1000)
	w.rollback(half[:2]...)
	l.settle(500)
	w.rollback(half[2:]...)
	l.settle(500)
	l.finish()
}

func TestRelocationAndWayBack(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 6}})
	l := w.startLoad("orders", 2)
	parts := w.all("orders")
	for range 2 {
		l.settle(300)
		w.flip(parts...)
		l.settle(300)
		w.relocate(true, parts...)
		eventually(t, "clients work on the target's node", func() bool {
			var produces, fetches uint64
			for _, c := range w.proxy.Clients() {
				if c.Node == proxy.DefaultTargetNode {
					produces, fetches = produces+c.Produces, fetches+c.Fetches
				}
			}
			return produces > 50 && fetches > 50
		})
		l.settle(300)
		w.relocate(false, parts...)
		l.settle(300)
		w.rollback(parts...)
		l.settle(500)
	}
	l.finish()
}

// Produce without acks: nobody would notice a loss but whoever counts.
func TestFlipsUnderProduceWithoutAcks(t *testing.T) {
	w := newWorld(t, worldOptions{topics: map[string]int32{"orders": 3}})
	cl := w.client(kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(), kgo.ProducerLinger(0))
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			rec := &kgo.Record{Partition: int32(n % 3), Value: []byte(strconv.Itoa(n))}
			if err := cl.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
				done <- err
				return
			}
			sent.Add(1)
		}
		done <- nil
	}()
	parts := w.all("orders")
	settle := func() {
		goal := sent.Load() + 300
		eventually(t, "produce goes on", func() bool { return sent.Load() >= goal })
	}
	for range 4 {
		settle()
		w.flip(parts...)
		settle()
		w.rollback(parts...)
	}
	settle()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	direct, err := kgo.NewClient(kgo.SeedBrokers(w.legacy.ListenAddrs()...), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	limit, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	last := map[int32]int{0: -3, 1: -2, 2: -1}
	for read := int64(0); read < sent.Load(); {
		fetches := direct.PollFetches(limit)
		if limit.Err() != nil {
			t.Fatalf("legacy holds %d records, %d were sent", read, sent.Load())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			n, _ := strconv.Atoi(string(r.Value))
			if n != last[r.Partition]+3 {
				t.Errorf("partition %d offset %d: record %d after %d", r.Partition, r.Offset, n, last[r.Partition])
			}
			last[r.Partition] = n
		})
	}
}
