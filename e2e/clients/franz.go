package clients

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/history"
)

// franz is a client in this process.
type franz struct {
	name   string
	client *kgo.Client
	log    *Log
	pulse  Pulse
	stop   context.CancelFunc
	done   chan struct{}
	err    error // of the way it ended; to be read after done is closed
}

func (f *franz) Name() string  { return f.name }
func (f *franz) Log() *Log     { return f.log }
func (f *franz) Pulse() *Pulse { return &f.pulse }

// Stop implements Client.
func (f *franz) Stop() error {
	f.stop()
	<-f.done
	return f.err
}

func newFranz(t testing.TB, name, bootstrap string, options ...kgo.Opt) (*franz, context.Context) {
	t.Helper()
	log, err := newLog(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	f := &franz{name: name, log: log, done: make(chan struct{})}
	options = append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ClientID(name), kgo.WithLogger(logger{log}),
	}, options...)
	if f.client, err = kgo.NewClient(options...); err != nil {
		log.close()
		t.Fatalf("start %s: %v", name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	t.Cleanup(func() {
		stop()
		<-f.done
		log.close()
	})
	return f, ctx
}

// FranzProducer starts a franz-go producer, idempotent with acks=all, that spreads its records over all partitions one by one.
func FranzProducer(t testing.TB, h *history.History, o Producing, options ...kgo.Opt) Client {
	t.Helper()
	options = append([]kgo.Opt{kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.DefaultProduceTopic(o.Topic)}, options...)
	switch o.Acks {
	case "", "all":
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	f, ctx := newFranz(t, o.Name, o.Bootstrap, options...)
	go func() {
		defer close(f.done)
		defer f.client.Close()
		f.produce(ctx, h, o.Rate)
	}()
	return f
}

// produce sends until ctx ends, and then waits for the outcome of all that was sent.
func (f *franz) produce(ctx context.Context, h *history.History, rate int) {
	began := time.Now()
	for number := int64(0); ctx.Err() == nil; number++ {
		if rate > 0 {
			due := began.Add(time.Duration(number) * time.Second / time.Duration(rate))
			select {
			case <-ctx.Done():
				continue
			case <-time.After(time.Until(due)):
			}
		}
		m := history.Mark{Producer: f.name, Number: number}
		h.Sent(m)
		// Not with ctx: a record that is on its way is not to be cancelled by Stop.
		f.client.Produce(context.Background(), kgo.StringRecord(Value(m)), func(r *kgo.Record, err error) {
			if err != nil {
				h.Failed(m, err.Error())
				return
			}
			h.Acked(m, history.Place{Topic: r.Topic, Partition: r.Partition}, r.Offset)
			f.pulse.Beat(time.Now())
		})
	}
	flush, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := f.client.Flush(flush); err != nil {
		f.err = fmt.Errorf("stop %s: %w", f.name, err)
	}
}

// FranzConsumer starts a franz-go consumer in a classic group. No offset is ever reset: where the log does not have what it asks for, that is
// an error of the history.
func FranzConsumer(t testing.TB, h *history.History, o Consuming, options ...kgo.Opt) Client {
	t.Helper()
	tell := func(record func(group, consumer string, p history.Place)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			for topic, numbers := range parts {
				for _, n := range slices.Sorted(slices.Values(numbers)) {
					record(o.Group, o.Name, history.Place{Topic: topic, Partition: n})
				}
			}
		}
	}
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnPartitionsAssigned(tell(h.Assigned)), kgo.OnPartitionsRevoked(tell(h.Revoked)), kgo.OnPartitionsLost(tell(h.Revoked)),
	}, options...)
	f, ctx := newFranz(t, o.Name, o.Bootstrap, options...)
	go func() {
		defer close(f.done)
		defer f.client.Close()
		for ctx.Err() == nil {
			f.poll(ctx, h, o.Group)
		}
	}()
	return f
}

// FranzReader starts a franz-go consumer that reads every partition from the start of its log and belongs to no group: it needs nothing but leaders. In
// the history it is a group of its own, by its name, that never commits.
func FranzReader(t testing.TB, h *history.History, o Consuming, partitions int32, options ...kgo.Opt) Client {
	t.Helper()
	starts := map[int32]kgo.Offset{}
	for n := range partitions {
		starts[n] = kgo.NewOffset().AtStart()
	}
	options = append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: starts}), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	}, options...)
	f, ctx := newFranz(t, o.Name, o.Bootstrap, options...)
	for n := range partitions {
		h.Assigned(o.Name, o.Name, history.Place{Topic: o.Topic, Partition: n})
	}
	go func() {
		defer close(f.done)
		defer f.client.Close()
		for ctx.Err() == nil {
			f.handOut(h, o.Name, f.client.PollFetches(ctx))
		}
	}()
	return f
}

// poll hands out what one poll brings, and commits it.
func (f *franz) poll(ctx context.Context, h *history.History, group string) {
	defer f.client.AllowRebalance()
	if records := f.handOut(h, group, f.client.PollFetches(ctx)); len(records) > 0 {
		f.commit(h, group, records)
	}
}

func (f *franz) handOut(h *history.History, group string, fetches kgo.Fetches) []*kgo.Record {
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
			h.Erred(f.name, fmt.Sprintf("fetch %s-%d: %v", topic, partition, err))
		}
	})
	records := fetches.Records()
	for _, r := range records {
		m, err := ParseValue(string(r.Value))
		if err != nil {
			h.Erred(f.name, err.Error())
			continue
		}
		h.Read(group, f.name, history.Place{Topic: r.Topic, Partition: r.Partition}, r.Offset, m)
		f.pulse.Beat(time.Now())
	}
	return records
}

func (f *franz) commit(h *history.History, group string, records []*kgo.Record) {
	ends := map[string]map[int32]kgo.EpochOffset{}
	for _, r := range records {
		if ends[r.Topic] == nil {
			ends[r.Topic] = map[int32]kgo.EpochOffset{}
		}
		ends[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	f.client.CommitOffsetsSync(ctx, ends, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			for topic, parts := range ends {
				for n, end := range parts {
					h.Unsure(group, history.Place{Topic: topic, Partition: n}, end.Offset)
				}
			}
			h.Erred(f.name, "commit: "+err.Error())
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					h.Erred(f.name, "commit: "+err.Error())
					continue
				}
				h.Committed(group, history.Place{Topic: t.Topic, Partition: p.Partition}, ends[t.Topic][p.Partition].Offset)
			}
		}
	})
}

// logger writes what franz-go logs as the other clients' logs are written.
type logger struct{ log *Log }

// Level implements kgo.Logger.
func (logger) Level() kgo.LogLevel { return kgo.LogLevelInfo }

// Log implements kgo.Logger.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s franz-go: %s", time.Now().Format("15:04:05.000"), level, msg)
	for i := 0; i+1 < len(keyvals); i += 2 {
		fmt.Fprintf(&out, " %v=%v", keyvals[i], keyvals[i+1])
	}
	l.log.line([]byte(out.String()))
}
