package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"switchback/e2e/kafka"
	"switchback/e2e/server"
)

// What flips are to cost at most.
const (
	pauseP99Aim  = 100 // milliseconds
	pauseMaxAim  = 300 // milliseconds
	strangerAim  = 20  // milliseconds, of connections that carry no produce of the unit
	relocatedAim = 1.5 // times the silence at a leader move
)

// flipFlags are what the case can be told.
type flipFlags struct {
	flips       int
	partitions  int
	rate        int
	replicas    int
	relocations int
	short       bool

	warmUp time.Duration // of the load, before anything is measured
	dwell  time.Duration // between two moves
	follow time.Duration // for which a relocation or a leader move is watched
}

func parseFlipFlags(args []string) (o flipFlags, err error) {
	flags := flag.NewFlagSet("flip", flag.ContinueOnError)
	flags.IntVar(&o.flips, "flips", 20, "flips, each with a rollback")
	flags.IntVar(&o.partitions, "partitions", 100, "partitions of the topic that moves")
	flags.IntVar(&o.rate, "rate", 10_000, "records per second that are written to it")
	flags.IntVar(&o.replicas, "replicas", 3, "of every partition on legacy, which has three brokers")
	flags.IntVar(&o.relocations, "relocations", 5, "relocations, each beside a leader move; 0 leaves them out")
	flags.BoolVar(&o.short, "short", false, "a quick look: 5 flips, 12 partitions, 1,000 records per second, 2 relocations, unless told otherwise")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	// A consumer of a group of protocol KIP-848 may take until its next heartbeat, 5 s, on top of its metadata's age.
	o.warmUp, o.dwell, o.follow = 15*time.Second, 2*time.Second, metadataAge+7*time.Second
	if o.short {
		told := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { told[f.Name] = true })
		for name, v := range map[string]struct {
			flag  *int
			short int
		}{"flips": {&o.flips, 5}, "partitions": {&o.partitions, 12}, "rate": {&o.rate, 1_000}, "relocations": {&o.relocations, 2}} {
			if !told[name] {
				*v.flag = v.short
			}
		}
		o.warmUp = 5 * time.Second
	}
	if o.flips < 1 || o.partitions < 1 || o.rate < minRate || o.replicas < 2 || o.replicas > 3 || o.relocations < 0 {
		return o, fmt.Errorf("flips and partitions are above zero, rate is %d or more, replicas are 2 or 3", minRate)
	}
	return o, nil
}

// patience bounds a run, once the cluster is up.
func (o flipFlags) patience() time.Duration {
	return 5*time.Minute + time.Duration(2*o.flips)*(o.dwell+10*time.Second) + time.Duration(o.relocations)*(4*o.follow+60*time.Second)
}

// flipBench is a legacy cluster, the server in front of it, and what happens to their clients.
type flipBench struct {
	flags    flipFlags
	dir      string
	cluster  *kafka.Cluster
	server   *server.Server
	java     javaClients
	troubles troubles
	refused  int // moves that were refused and tried again
	givenUp  int // holds that were given up and tried again
}

// runFlip measures what clients feel of flips, rollbacks and relocations, on a real cluster of three brokers.
func runFlip(ctx context.Context, args []string) (rows []Row, err error) {
	o, err := parseFlipFlags(args)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "switchback-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	say("start a cluster of three brokers; another one on this machine is waited for")
	starting, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	cluster, err := kafka.Start(starting, kafka.Options{Brokers: 3, Full: true, Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	ctx, cancel = context.WithTimeout(ctx, o.patience())
	defer cancel()
	err = play(dir, func(t testing.TB) error {
		b := &flipBench{flags: o, dir: dir, cluster: cluster}
		b.java = javaClients{dist: cluster.Dist(), dir: dir, troubles: &b.troubles}
		rows, err = b.run(ctx, t)
		return err
	})
	return rows, err
}

// startPatience bounds the start, and with it the wait for others who run a cluster.
const startPatience = 30 * time.Minute

func (b *flipBench) run(ctx context.Context, t testing.TB) ([]Row, error) {
	if err := b.createTopics(ctx); err != nil {
		return nil, err
	}
	b.server = server.Run(t, server.Options{
		Legacy: b.cluster.Addrs(), Dir: b.dir,
		Extra: fmt.Sprintf("topics:\n  include: [%s, %s, %s]\n", unitTopic, strangerTopic, relocatedTopic), // not the one that stays stock
	})
	moves, err := b.measureMoves(ctx)
	if err != nil {
		return nil, err
	}
	rows := moves.rows()
	if b.flags.relocations > 0 {
		relocations, err := b.measureRelocations(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, relocations.rows()...)
	}
	for _, what := range b.troubles.first {
		say("client error: %s", what)
	}
	return append(rows,
		figureOf("all", "client errors", float64(b.troubles.count())).atMost(0),
		figureOf("all", "holds given up, and tried again", float64(b.givenUp)),
		figureOf("all", "moves refused, and tried again", float64(b.refused)),
	), nil
}

func (b *flipBench) createTopics(ctx context.Context) error {
	topics := map[string]int{unitTopic: b.flags.partitions, strangerTopic: strangerPartitions}
	if b.flags.relocations > 0 {
		topics[relocatedTopic], topics[stockTopic] = relocatedPartitions, relocatedPartitions
	}
	for name, partitions := range topics {
		if err := b.cluster.CreateTopic(ctx, name, int32(partitions), int16(b.flags.replicas), nil); err != nil {
			return err
		}
	}
	return nil
}

// movePatience bounds a move with all its tries; between two of them it waits for tryAgain.
const (
	movePatience = time.Minute
	tryAgain     = 500 * time.Millisecond
)

// move runs a command that moves a topic. One that is refused or given up is tried again, as a user would; what clients feel of that is part of the
// window that is returned.
func (b *flipBench) move(ctx context.Context, command func(context.Context, ...string) (server.Move, error), topic string) (server.Move, window, error) {
	ctx, cancel := context.WithTimeout(ctx, movePatience)
	defer cancel()
	began := time.Now()
	for {
		m, err := command(ctx, topic)
		switch server.Code(err) {
		case 0:
			b.givenUp += max(m.Attempts-1, 0) // a relocation holds nothing
			return m, window{began, time.Now().Add(settle)}, nil
		case server.CodeGivenUp:
			b.givenUp++
		case server.CodeRefused:
			b.refused++
		default:
			return m, window{}, err
		}
		say("tried again: %v", err)
		if rest(ctx, tryAgain) != nil {
			return m, window{}, err
		}
	}
}

// rest waits, for as long as a measurement takes.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "flip: "+format+"\n", args...) }

// figureOf is a row without a peer.
func figureOf(name, metric string, ours float64) Row {
	return Row{Case: name, Metric: metric, Ours: ours}
}

// atMost aims at a figure.
func (r Row) atMost(limit float64) Row {
	aim, met := fmt.Sprintf("<= %g", limit), r.Ours <= limit
	r.Aim, r.Met = &aim, &met
	return r
}
