package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/e2e/clients"
	"switchback/e2e/history"
	"switchback/e2e/kafka"
	"switchback/e2e/logs"
	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// patience bounds every single wait of a scenario.
const patience = 90 * time.Second

// most is how many records everybody is waited for at a time: what takes longer than the patience by its mere number is waited for in parts.
const most = 20_000

// again is how long a user waits after a refusal.
const again = 300 * time.Millisecond

// refresh is how often clients ask for metadata by themselves, so that a relocation is followed within a scenario's time.
const refresh = 3 * time.Second

// setting is what a scenario plays on.
type setting struct {
	brokers    int
	partitions int32
	replicas   int16
	cluster    map[string]string // broker settings
	topic      map[string]string // topic settings
	front      bool              // relays between switchback and legacy
	extra      string            // of the server's configuration
}

// stage is a legacy cluster with a topic, the server in front of it, and clients that all tell one history.
type stage struct {
	t          *testing.T
	ctx        context.Context
	cluster    *kafka.Cluster
	server     *server.Server
	topic      string
	partitions int32
	history    history.History
	watch      *watcher
	producers  []clients.Client
	consumers  map[string]clients.Client // by their group
	groups     []string
	moved      bool  // flipped at least once: only then the target's node serves the topic
	swept      int64 // records that sweeps have sent
	maxEpochs  int   // batches that may differ in their leader epoch: those written while legacy was electing
}

func newStage(t *testing.T, set setting) *stage {
	t.Helper()
	ctx := t.Context()
	s := &stage{t: t, ctx: ctx, topic: "orders", partitions: set.partitions, consumers: map[string]clients.Client{}}
	s.cluster = kafka.Run(t, kafka.Options{Brokers: set.brokers, Config: set.cluster, Front: set.front})
	s.must(s.cluster.CreateTopic(ctx, s.topic, set.partitions, set.replicas, set.topic))
	legacy := s.cluster.Addrs()
	if set.front {
		legacy = s.cluster.FrontAddrs()
	}
	s.server = server.Run(t, server.Options{Legacy: legacy, Extra: set.extra})
	s.must(s.server.CaughtUp(ctx, s.topic, int(s.partitions)))
	s.watch = watch(t, s.server, s.topic)
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) producing(name string, rate int, config map[string]string) clients.Producing {
	return clients.Producing{Bootstrap: s.server.Bootstrap(), Topic: s.topic, Name: name, Rate: rate, Config: config}
}

func (s *stage) consuming(name, protocol string, config map[string]string) clients.Consuming {
	return clients.Consuming{Bootstrap: s.server.Bootstrap(), Topic: s.topic, Name: name, Group: "group-" + name, Protocol: protocol, Config: config}
}

func (s *stage) produces(c clients.Client) { s.producers = append(s.producers, c) }

func (s *stage) consumes(group string, c clients.Client) {
	s.consumers[group] = c
	s.groups = append(s.groups, group)
}

// everybody starts a producer of each kind and a consumer of each kind and group protocol.
func (s *stage) everybody(rate int) {
	s.t.Helper()
	python := clients.NeedPython(s.t)
	dist := s.cluster.Dist()
	millis := fmt.Sprint(refresh.Milliseconds())
	java := map[string]string{"metadata.max.age.ms": millis}
	librdkafka := map[string]string{"topic.metadata.refresh.interval.ms": millis}
	s.javaConsumer("java-classic", clients.Classic)
	s.javaConsumer("java-kip848", clients.Consumer)
	c := s.consuming("librdkafka-classic", "", librdkafka)
	s.consumes(c.Group, clients.LibrdkafkaConsumer(s.t, python, &s.history, c))
	s.franzConsumer("franz-classic")
	s.produces(clients.JavaProducer(s.t, dist, &s.history, s.producing("1", rate, java)))
	s.produces(clients.LibrdkafkaProducer(s.t, python, &s.history, s.producing("librdkafka", rate, librdkafka)))
	s.franzProducer("franz", rate)
}

func (s *stage) franzProducer(name string, rate int, options ...kgo.Opt) {
	s.t.Helper()
	options = append([]kgo.Opt{kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(refresh / 10)}, options...)
	s.produces(clients.FranzProducer(s.t, &s.history, s.producing(name, rate, nil), options...))
}

func (s *stage) franzConsumer(name string) {
	s.t.Helper()
	c := s.consuming(name, "", nil)
	s.consumes(c.Group, clients.FranzConsumer(s.t, &s.history, c, kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(refresh/10)))
}

// javaConsumer starts a consumer that rides out a coordinator that is away, as its users expect; franz-go's tells of it.
func (s *stage) javaConsumer(name, protocol string) {
	s.t.Helper()
	c := s.consuming(name, protocol, map[string]string{"metadata.max.age.ms": fmt.Sprint(refresh.Milliseconds())})
	s.consumes(c.Group, clients.JavaConsumer(s.t, s.cluster.Dist(), &s.history, c))
}

// franzReader starts a consumer without a group.
func (s *stage) franzReader(name string) {
	s.t.Helper()
	c := s.consuming(name, "", nil)
	s.consumes(name, clients.FranzReader(s.t, &s.history, c, s.partitions, kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(refresh/10)))
}

// steady waits until every producer has been acknowledged n more records, and every group has read n more.
func (s *stage) steady(n int) {
	s.t.Helper()
	for ; n > most; n -= most {
		s.advance(most)
	}
	s.advance(n)
}

func (s *stage) advance(n int) {
	s.t.Helper()
	acks, reads := map[string]int{}, map[string]int{}
	for _, p := range s.producers {
		acks[p.Name()] = s.history.AcksOf(p.Name())
	}
	for _, group := range s.groups {
		reads[group] = s.history.Reads(group)
	}
	s.must(machine.Until(s.ctx, patience, fmt.Sprintf("%d more records of everybody", n), func(context.Context) error {
		for _, p := range s.producers {
			if got := s.history.AcksOf(p.Name()) - acks[p.Name()]; got < n {
				return fmt.Errorf("%s: %d acknowledged", p.Name(), got)
			}
		}
		for _, group := range s.groups {
			if got := s.history.Reads(group) - reads[group]; got < n {
				return fmt.Errorf("%s: %d read", group, got)
			}
		}
		return nil
	}))
}

// move runs a flip, a rollback or a relocation. One that is refused or given up is tried again, as a user would, within the patience.
func (s *stage) move(what string, command func(context.Context, ...string) (server.Move, error)) server.Move {
	s.t.Helper()
	var done server.Move
	said := ""
	s.must(machine.Until(s.ctx, patience, what, func(ctx context.Context) error {
		if said != "" {
			<-time.After(again)
		}
		m, err := command(ctx, s.topic)
		switch code := server.Code(err); {
		case err == nil:
			done = m
			return nil
		case code == server.CodeRefused || code == server.CodeGivenUp || code == server.CodeNoLegacy:
			if code := fmt.Sprint(code); code != said {
				s.t.Logf("%s: tried again after: %s", what, brief(err))
				said = code
			}
			return err
		default:
			s.t.Fatal(err)
			return nil
		}
	}))
	s.moved = true
	s.t.Log(done)
	return done
}

// brief is the line of a command's error that says why.
func brief(err error) string {
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, "switchback: ") {
			return strings.TrimSpace(line)
		}
	}
	return err.Error()
}

func (s *stage) flip() server.Move     { s.t.Helper(); return s.move("flip", s.server.Flip) }
func (s *stage) rollback() server.Move { s.t.Helper(); return s.move("rollback", s.server.Rollback) }
func (s *stage) relocate() server.Move { s.t.Helper(); return s.move("relocate", s.server.Relocate) }

// home waits until status shows a side as the home of all partitions, at rest.
func (s *stage) home() string {
	s.t.Helper()
	var home string
	s.must(machine.Until(s.ctx, patience, "the route to be at rest", func(ctx context.Context) error {
		status, err := s.server.Status(ctx)
		if err != nil {
			return err
		}
		parts := status.Topic(s.topic)
		if len(parts) != int(s.partitions) {
			return fmt.Errorf("%d partitions are shown", len(parts))
		}
		for _, r := range status.Routes {
			if r.Move != "" {
				return fmt.Errorf("a %s is %s", r.Move, r.Phase)
			}
		}
		home = parts[0].Home
		for _, p := range parts {
			if p.Home != home {
				return fmt.Errorf("partitions are at home on %s and on %s: a unit moves as one", home, p.Home)
			}
		}
		return nil
	}))
	return home
}

// read reads the topic from the servers that addr names.
func (s *stage) read(addr func(partition int32) string) map[history.Place]*logs.Log {
	s.t.Helper()
	out := map[history.Place]*logs.Log{}
	for n := range s.partitions {
		place := history.Place{Topic: s.topic, Partition: n}
		log, err := logs.Read(s.ctx, addr(n), place)
		s.must(err)
		out[place] = log
	}
	return out
}

func (s *stage) readLegacy() map[history.Place]*logs.Log {
	s.t.Helper()
	topic, err := s.cluster.Topic(s.ctx, s.topic)
	s.must(err)
	return s.read(func(n int32) string { return s.cluster.Broker(topic.Partitions[n].Leader).Addr() })
}

func (s *stage) readTarget() map[history.Place]*logs.Log {
	s.t.Helper()
	return s.read(func(int32) string { return s.server.Bootstrap() })
}

// finish stops everybody and holds the run against its promises: nothing lost, doubled, out of order, reset or taken back, both logs equal batch
// by batch, nothing shown that went back.
func (s *stage) finish() *history.Report {
	s.t.Helper()
	for _, p := range s.producers {
		s.must(p.Stop())
	}
	s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
	legacy := s.readLegacy()
	written := map[history.Place][]history.Logged{}
	for place, log := range legacy {
		var err error
		written[place], err = log.History(clients.ParseValue)
		s.must(err)
	}
	s.drain(written)
	if s.moved {
		s.compare(legacy, s.readTarget())
	}
	verified, err := s.server.Verify(s.ctx, s.topic)
	if err != nil || !verified.Equal {
		s.t.Errorf("verify: %+v, %v", verified, err)
	}
	s.watch.stop()
	report := s.history.Check(written, s.groups...)
	s.t.Log(report)
	if !report.OK() {
		s.t.Error("the history is not clean")
	}
	return report
}

// compare demands that both clusters hold the same logs, batch by batch.
func (s *stage) compare(legacy, target map[history.Place]*logs.Log) {
	s.t.Helper()
	batches, epochs := 0, 0
	for place, log := range legacy {
		difference, n := logs.Diff(log, target[place])
		if difference != "" {
			s.t.Errorf("legacy and target hold different logs of %v: %s", place, difference)
		}
		batches += len(log.Batches)
		epochs += n
	}
	s.t.Logf("%d batches on either side, %d with another leader epoch on legacy", batches, epochs)
	if epochs > s.maxEpochs {
		s.t.Errorf("%d batches have another leader epoch on legacy, at most %d may", epochs, s.maxEpochs)
	}
}

// drain waits until every group has read all of the log, and stops the consumers.
func (s *stage) drain(written map[history.Place][]history.Logged) {
	s.t.Helper()
	for _, group := range s.groups {
		s.must(machine.Until(s.ctx, patience, group+" to read the rest", func(context.Context) error {
			for place, log := range written {
				if len(log) == 0 {
					continue
				}
				if end, at := log[len(log)-1].Offset+1, s.history.Position(group, place); at < end {
					return fmt.Errorf("%v: at %d of %d", place, at, end)
				}
			}
			return nil
		}))
		s.must(s.consumers[group].Stop())
	}
}

// assignments returns how often partitions have been given out, by group.
func (s *stage) assignments() map[string]int {
	out := map[string]int{}
	for _, group := range s.groups {
		out[group] = s.history.Assignments(group)
	}
	return out
}

// noRebalance demands that no group has been given a partition since.
func (s *stage) noRebalance(before map[string]int) {
	s.t.Helper()
	for group, n := range s.assignments() {
		if n != before[group] {
			s.t.Errorf("%s rebalanced: %d assignments before, %d now", group, before[group], n)
		}
	}
}

// everyone is all clients.
func (s *stage) everyone() []clients.Client {
	out := append([]clients.Client{}, s.producers...)
	for _, group := range s.groups {
		out = append(out, s.consumers[group])
	}
	return out
}

// loudness returns how many lines above INFO every client has logged.
func (s *stage) loudness() map[string]int {
	out := map[string]int{}
	for _, c := range s.everyone() {
		out[c.Name()] = c.Log().Above()
	}
	return out
}

// quiet demands that no client has logged anything above INFO since.
func (s *stage) quiet(before map[string]int) {
	s.t.Helper()
	for _, c := range s.everyone() {
		if n := c.Log().Above() - before[c.Name()]; n > 0 {
			s.t.Errorf("%s logged %d new lines above INFO:\n%s", c.Name(), n, c.Log().Since(before[c.Name()]))
		}
	}
}

// pauses logs the longest pause that every client has felt since the last call.
func (s *stage) pauses(what string) {
	s.t.Helper()
	for _, c := range s.everyone() {
		gap, _ := c.Pulse().Longest()
		s.t.Logf("%s: longest pause of %s %v", what, c.Name(), gap.Round(time.Millisecond))
		c.Pulse().Reset()
	}
}
