package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// Topics of the first part.
const (
	unitTopic          = "unit"     // moves
	strangerTopic      = "stranger" // stays
	strangerPartitions = 12
)

// Who writes. franz-go producers wait 10 ms for more records and Java's 5 ms, by their own defaults: that is part of every gap.
const (
	franzProducers = 8   // they share what the others leave of the rate
	javaShare      = 10  // one part in so many of the rate is Java's
	strangers      = 4   // producers of the stranger on connections of their own
	sharers        = 2   // producers that write to the stranger and to the unit, over the same connections
	strangerRate   = 200 // records per second of each of those two kinds; half of a sharer's go to the unit
	minRate        = 500
)

// settle is for how long after a move its effects count as its own.
const settle = 500 * time.Millisecond

// A crowd is producers of the same kind, and the gaps that they felt.
type crowd struct {
	name          string
	members       []*timeline
	moving, quiet map[string]*sample // by kind of move: in its window, and in one as long just before
}

// moveBench is the first part: flips and rollbacks under a steady load.
type moveBench struct {
	*flipBench
	crowds []*crowd
	holds  map[string]*sample // as the server reports them
	stops  []func() error
}

// measureMoves flips the unit and rolls it back, again and again.
func (b *flipBench) measureMoves(ctx context.Context) (m *moveBench, err error) {
	m = &moveBench{flipBench: b, holds: map[string]*sample{"flip": {}, "rollback": {}}}
	defer func() {
		for _, stop := range m.stops {
			err = errors.Join(err, stop())
		}
	}()
	if err := b.server.CaughtUp(ctx, unitTopic, b.flags.partitions); err != nil {
		return nil, err
	}
	if err := m.startLoad(); err != nil {
		return nil, err
	}
	if err := m.gone(ctx, time.Now()); err != nil {
		return nil, err
	}
	if err := rest(ctx, b.flags.warmUp); err != nil {
		return nil, err
	}
	for i := range b.flags.flips {
		if err := m.once(ctx, fmt.Sprintf("flip %d", i+1), "flip", b.server.Flip); err != nil {
			return nil, err
		}
		if err := m.once(ctx, fmt.Sprintf("rollback %d", i+1), "rollback", b.server.Rollback); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// once makes one move, with quiet before it.
func (m *moveBench) once(ctx context.Context, title, kind string, command func(context.Context, ...string) (server.Move, error)) error {
	if err := rest(ctx, m.flags.dwell); err != nil {
		return err
	}
	report, w, err := m.move(ctx, command, unitTopic)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	if err := m.gone(ctx, w.to); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	m.holds[kind].add(time.Duration(report.HoldMs * float64(time.Millisecond)))
	story := fmt.Sprintf("%s: held %.1f ms (drain %.1f); longest gap", title, report.HoldMs, report.DrainMs)
	for _, c := range m.crowds {
		var worst time.Duration
		for _, line := range c.members {
			gap := line.longest(w)
			worst = max(worst, gap)
			c.moving[kind].add(gap)
			c.quiet[kind].add(line.longest(w.before(m.flags.dwell)))
		}
		story += fmt.Sprintf(" %s %v,", c.name, worst.Round(time.Millisecond))
	}
	say("%s", story[:len(story)-1])
	return nil
}

// gone waits until nobody's gap is open any more that began before an instant.
func (m *moveBench) gone(ctx context.Context, at time.Time) error {
	return machine.Until(ctx, movePatience, "acknowledgements to go on", func(context.Context) error {
		var missing []error
		for _, c := range m.crowds {
			for _, line := range c.members {
				missing = append(missing, line.passed(at))
			}
		}
		return errors.Join(missing...)
	})
}

// startLoad starts all producers.
func (m *moveBench) startLoad() error {
	addr, rate := m.server.Bootstrap(), m.flags.rate
	java := m.crowd("Java")
	process, err := m.java.producer("java-producer", addr, unitTopic, rate/javaShare, java.member("java-producer"))
	if err != nil {
		return err
	}
	m.stops = append(m.stops, func() error { return process.Stop(stopPatience) })
	many := m.crowd("franz-go")
	each := (rate - rate/javaShare - sharers*strangerRate/2) / franzProducers
	for i := range franzProducers {
		line := many.member(fmt.Sprintf("franz-%d", i+1))
		if err := m.produce(franzLoad{name: line.name, rate: each, topics: []string{unitTopic}, acked: beats(line)}); err != nil {
			return err
		}
	}
	// These want to see a gap as it is, so they wait for nothing.
	prompt := []kgo.Opt{kgo.ProducerLinger(0)}
	own := m.crowd(ownConnection)
	for i := range strangers {
		line := own.member(fmt.Sprintf("stranger-%d", i+1))
		if err := m.produce(franzLoad{name: line.name, rate: strangerRate, topics: []string{strangerTopic}, acked: beats(line), options: prompt}); err != nil {
			return err
		}
	}
	shared := m.crowd(sharedConnection)
	for i := range sharers {
		line := shared.member(fmt.Sprintf("sharer-%d", i+1))
		acked := func(r *kgo.Record) {
			if r.Topic == strangerTopic {
				line.beat(time.Now())
			}
		}
		if err := m.produce(franzLoad{name: line.name, rate: strangerRate, topics: []string{strangerTopic, unitTopic}, acked: acked, options: prompt}); err != nil {
			return err
		}
	}
	return nil
}

// Names of crowds that rows are made of.
const (
	ownConnection    = "other topic, own connection"
	sharedConnection = "other topic, the unit's connection"
)

func beats(line *timeline) func(*kgo.Record) { return func(*kgo.Record) { line.beat(time.Now()) } }

func (m *moveBench) produce(l franzLoad) error {
	l.bootstrap = m.server.Bootstrap()
	f, err := l.start(&m.troubles)
	if err != nil {
		return err
	}
	m.stops = append(m.stops, f.end)
	return nil
}

func (m *moveBench) crowd(name string) *crowd {
	c := &crowd{name: name, moving: map[string]*sample{"flip": {}, "rollback": {}}, quiet: map[string]*sample{"flip": {}, "rollback": {}}}
	m.crowds = append(m.crowds, c)
	return c
}

func (c *crowd) member(name string) *timeline {
	line := &timeline{name: name}
	c.members = append(c.members, line)
	return line
}

// Percentiles that rows show, with the aims of a pause at a flip.
var pausePercentiles = []struct {
	name string
	p    float64
	aim  float64 // milliseconds, 0 for none
}{{"p50", 0.50, 0}, {"p99", 0.99, pauseP99Aim}, {"max", 1, pauseMaxAim}}

// rows tells what was measured. Peer of a gap is the gap without a move.
func (m *moveBench) rows() (rows []Row) {
	paused := func(row Row, aim float64) {
		if aim > 0 {
			row = row.atMost(aim)
		}
		rows = append(rows, row)
	}
	for _, kind := range []string{"flip", "rollback"} {
		for _, at := range pausePercentiles {
			paused(figureOf(kind, "ms held, says the server, "+at.name, m.holds[kind].at(at.p)), at.aim)
		}
		for _, c := range m.crowds {
			if c.name == ownConnection || c.name == sharedConnection {
				continue
			}
			for _, at := range pausePercentiles {
				paused(beside(kind, fmt.Sprintf("longest ms between acks, %s, %s, peer: no move", c.name, at.name), c.moving[kind].at(at.p), c.quiet[kind].at(at.p)), at.aim)
			}
		}
	}
	for _, c := range m.crowds {
		if c.name != ownConnection && c.name != sharedConnection {
			continue
		}
		moving := slices.Concat(*c.moving["flip"], *c.moving["rollback"])
		quiet := slices.Concat(*c.quiet["flip"], *c.quiet["rollback"])
		for _, at := range pausePercentiles {
			with, without := moving.at(at.p), quiet.at(at.p)
			rows = append(rows, beside(c.name, fmt.Sprintf("longest ms between acks, %s, peer: no move", at.name), with, without))
			if c.name == ownConnection && at.aim > 0 {
				rows = append(rows, figureOf(c.name, "ms that moves add to the above, "+at.name, with-without).atMost(strangerAim))
			}
		}
	}
	return rows
}
