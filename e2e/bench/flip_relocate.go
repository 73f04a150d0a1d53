package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/e2e/clients"
	"switchback/e2e/history"
	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// The second part: two topics of the same shape on the same cluster, with the same consumers. One is reached through Switchback and is relocated;
// the other one is reached as if there were no Switchback, and its leaders move.
const (
	relocatedTopic      = "relocated"
	stockTopic          = "stock"
	relocatedPartitions = 12
	relocatedRate       = 40 * relocatedPartitions // records per second, to every partition in turn
)

// metadataAge is how often clients of either side ask for metadata by themselves.
const metadataAge = time.Second

// A side is one of the two topics with its clients.
type side struct {
	topic     string
	bootstrap string
	acked     acknowledged
	consumers map[string]*javaConsumer // by group protocol
	rebalance map[string]int64         // events of the start
}

// relocateBench is the second part.
type relocateBench struct {
	*flipBench
	ours, stock *side
	stops       []func() error
	rebalances  [2]int64            // ours, stock
	felt        map[string]*silence // by what happened and the protocol
}

// silence is what consumers of one protocol felt at one kind of event.
type silence struct{ silent, gap sample }

// Events.
const (
	relocation  = "relocation"
	takenBack   = "relocation taken back"
	leaderMoved = "leader move"
)

// protocols in the order of the rows, with the names that people know.
var protocols = []struct{ name, label string }{{clients.Classic, "classic"}, {clients.Consumer, "KIP-848"}}

// measureRelocations relocates one topic and moves the leaders of the other, by turns.
func (b *flipBench) measureRelocations(ctx context.Context) (measured *relocateBench, err error) {
	r := &relocateBench{
		flipBench: b, felt: map[string]*silence{},
		ours:  &side{topic: relocatedTopic, bootstrap: b.server.Bootstrap()},
		stock: &side{topic: stockTopic, bootstrap: b.cluster.Bootstrap()},
	}
	defer func() {
		for _, stop := range r.stops {
			err = errors.Join(err, stop())
		}
	}()
	if err := b.server.CaughtUp(ctx, relocatedTopic, relocatedPartitions); err != nil {
		return nil, err
	}
	for _, s := range []*side{r.ours, r.stock} {
		if err := r.start(s); err != nil {
			return nil, err
		}
	}
	if err := r.steady(ctx); err != nil {
		return nil, err
	}
	turns := []func(context.Context) error{r.relocate, r.moveLeaders}
	for i := range b.flags.relocations {
		for j := range turns {
			if err := turns[(i+j)%2](ctx); err != nil {
				return nil, fmt.Errorf("round %d: %w", i+1, err)
			}
		}
	}
	for i, s := range []*side{r.ours, r.stock} {
		for protocol, c := range s.consumers {
			r.rebalances[i] += c.rebalances.Load() - s.rebalance[protocol]
		}
	}
	return r, nil
}

// start starts the producer and the consumers of a side.
func (r *relocateBench) start(s *side) error {
	f, err := franzLoad{
		name: "writer-" + s.topic, bootstrap: s.bootstrap, rate: relocatedRate, topics: []string{s.topic},
		acked: func(rec *kgo.Record) {
			s.acked.ack(history.Place{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset, time.Now())
		},
		options: []kgo.Opt{
			kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0),
			kgo.MetadataMaxAge(metadataAge), kgo.MetadataMinAge(metadataAge / 10),
		},
	}.start(&r.troubles)
	if err != nil {
		return err
	}
	r.stops = append(r.stops, f.end)
	s.consumers, s.rebalance = map[string]*javaConsumer{}, map[string]int64{}
	settings := map[string]string{"metadata.max.age.ms": fmt.Sprint(metadataAge.Milliseconds())}
	for _, p := range protocols {
		c, err := r.java.consumer(p.name+"-"+s.topic, s.bootstrap, s.topic, p.name, settings, &s.acked)
		if err != nil {
			return err
		}
		r.stops = append(r.stops, func() error { return c.process.Stop(stopPatience) })
		s.consumers[p.name] = c
	}
	return nil
}

// steady waits until all consumers read everything, warms them up and takes note of how often partitions were given out until then.
func (r *relocateBench) steady(ctx context.Context) error {
	for _, s := range []*side{r.ours, r.stock} {
		if err := s.passed(ctx, time.Now()); err != nil {
			return err
		}
	}
	if err := rest(ctx, r.flags.warmUp); err != nil {
		return err
	}
	for _, s := range []*side{r.ours, r.stock} {
		for protocol, c := range s.consumers {
			s.rebalance[protocol] = c.rebalances.Load()
		}
	}
	return nil
}

// passed waits until all consumers have been given something of every partition after an instant.
func (s *side) passed(ctx context.Context, at time.Time) error {
	return machine.Until(ctx, movePatience, "consumers of "+s.topic+" to go on", func(context.Context) error {
		var missing []error
		for _, c := range s.consumers {
			missing = append(missing, c.given.passed(at, relocatedPartitions))
		}
		return errors.Join(missing...)
	})
}

// relocate is one round of ours: there and back.
func (r *relocateBench) relocate(ctx context.Context) error {
	command := func(do func(context.Context, ...string) (server.Move, error)) error {
		_, _, err := r.move(ctx, do, r.ours.topic)
		return err
	}
	if err := command(r.server.Flip); err != nil {
		return err
	}
	if err := rest(ctx, r.flags.dwell); err != nil {
		return err
	}
	began := time.Now()
	if err := command(r.server.Relocate); err != nil {
		return err
	}
	if err := r.watch(ctx, relocation, r.ours, began); err != nil {
		return err
	}
	began = time.Now()
	if err := command(r.server.RelocateBack); err != nil {
		return err
	}
	if err := r.watch(ctx, takenBack, r.ours, began); err != nil {
		return err
	}
	return command(r.server.Rollback)
}

// moveLeaders is one round of the peer.
func (r *relocateBench) moveLeaders(ctx context.Context) error {
	elect, err := prepareLeaderMove(ctx, r.cluster, r.stock.topic)
	if err != nil {
		return err
	}
	if err := rest(ctx, r.flags.dwell); err != nil {
		return err
	}
	began := time.Now()
	if err := elect(ctx); err != nil {
		return err
	}
	return r.watch(ctx, leaderMoved, r.stock, began)
}

// watch measures how long consumers were silent at something that began at an instant.
func (r *relocateBench) watch(ctx context.Context, what string, s *side, began time.Time) error {
	w := window{began, began.Add(r.flags.follow)}
	if err := rest(ctx, time.Until(w.to)); err != nil {
		return err
	}
	if err := s.passed(ctx, w.to); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	story := what + ": longest silence"
	for _, p := range protocols {
		silent, gap := s.consumers[p.name].given.silences(w)
		felt := r.feltAt(what, p.name)
		felt.silent.add(silent)
		felt.gap.add(gap)
		story += fmt.Sprintf(" %s %v (gap %v),", p.label, silent.Round(time.Millisecond), gap.Round(time.Millisecond))
	}
	say("%s", story[:len(story)-1])
	return nil
}

func (r *relocateBench) feltAt(what, protocol string) *silence {
	key := what + "/" + protocol
	if r.felt[key] == nil {
		r.felt[key] = &silence{}
	}
	return r.felt[key]
}

// rows tells what was measured, everything beside a leader move.
func (r *relocateBench) rows() (rows []Row) {
	for _, what := range []string{relocation, takenBack} {
		for _, p := range protocols {
			ours, peer := r.feltAt(what, p.name), r.feltAt(leaderMoved, p.name)
			for _, at := range []struct {
				name string
				p    float64
			}{{"p50", 0.5}, {"max", 1}} {
				row := beside(what, fmt.Sprintf("longest ms of silence, %s consumer, %s, peer: leader move", p.label, at.name), ours.silent.at(at.p), peer.silent.at(at.p))
				if what == relocation {
					row = row.ratioAtMost(relocatedAim)
				}
				rows = append(rows, row,
					beside(what, fmt.Sprintf("longest ms between records, %s consumer, %s, peer: leader move", p.label, at.name), ours.gap.at(at.p), peer.gap.at(at.p)))
			}
		}
	}
	return append(rows, beside("all", "rebalances, peer: without us", float64(r.rebalances[0]), float64(r.rebalances[1])).atMost(0))
}
