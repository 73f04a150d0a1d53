package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
	"switchback/e2e/raw"
	"switchback/e2e/server"
)

// cpuAim is the clean path's budget: CPU per GB over that of a bare relay.
const cpuAim = 1.25

// relayFlags are what the case can be told.
type relayFlags struct {
	repeats int
	scale   float64
	guarded bool
	only    string
}

// A shape is a size of frames, and how much of it makes a run long enough to be measured in hundredths of a second of CPU.
type shape struct {
	name       string
	bytes      int
	partitions int
	requests   int
}

var shapes = []shape{
	{"1 MiB", 1 << 20, 16, 4_000},
	{"16 KiB", 16 << 10, 1, 80_000},
	{"1 KiB", 1 << 10, 1, 200_000},
}

const (
	loadConns     = 8
	produceWindow = 5       // as a Java producer has
	fetchWindow   = 1       // as every consumer has
	openWindow    = 1 << 16 // of an open loop: as good as none
	openSeconds   = 2       // of an open loop, per repeat
)

// A way is how the load gets to the broker. pid is the process in between, 0 for none.
type way struct {
	name string
	addr string
	pid  int
}

// cell is one load over one way, over all repeats.
type cell struct {
	cpu      time.Duration
	elapsed  time.Duration
	bytes    int64
	requests int64
	times    latencies
}

// runRelay measures what it costs to stand between clients and a broker. First the clean path, then, with one of 100 topics moved to the
// target, what looking into requests costs on top.
func runRelay(ctx context.Context, args []string) ([]Row, error) {
	var o relayFlags
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.IntVar(&o.repeats, "repeats", 3, "rounds of all ways, one after the other")
	flags.Float64Var(&o.scale, "scale", 1, "length of each run; below 1 figures get rough")
	flags.BoolVar(&o.guarded, "guarded", true, "also with one of 100 topics moved")
	flags.StringVar(&o.only, "only", "", "measure cases whose name contains this, such as \"Fetch 16 KiB\"")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.repeats < 1 || o.scale <= 0 {
		return nil, fmt.Errorf("repeats and scale are above zero")
	}
	dir, err := os.MkdirTemp("", "switchback-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b, err := newRelayBench(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	defer b.stop()
	rows, err := b.clean(ctx)
	if err != nil || !o.guarded {
		return rows, err
	}
	guarded, err := b.guardedRows(ctx)
	return append(rows, guarded...), err
}

// relayBench is the broker and what stands in front of it.
type relayBench struct {
	flags                relayFlags
	children             []*machine.Process
	proxy                *proxyProcess
	direct, splice, ours way
	id                   [16]byte // of steadyTopic
	produce, fetch       int16    // versions
}

func newRelayBench(ctx context.Context, dir string, o relayFlags) (b *relayBench, err error) {
	b = &relayBench{flags: o}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	_, brokerAddr, err := b.part(ctx, "part-relay-broker")
	if err != nil {
		return nil, err
	}
	b.direct = way{"direct", brokerAddr, 0}
	relay, relayAddr, err := b.part(ctx, "part-relay-splice", spliceTo+"="+brokerAddr)
	if err != nil {
		return nil, err
	}
	b.splice = way{"relay", relayAddr, relay.PID()}
	if b.proxy, err = startProxy(ctx, dir, brokerAddr); err != nil {
		return nil, err
	}
	conn, err := raw.Dial(ctx, b.proxy.bootstrap)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	metadata, err := conn.Metadata(ctx, steadyTopic)
	if err != nil {
		return nil, err
	}
	node, _, err := conn.LeaderAddr(ctx, steadyTopic, 0)
	if err != nil {
		return nil, err
	}
	b.id = metadata.Topics[0].TopicID
	b.ours = way{"ours", node, b.proxy.process.PID()}
	b.produce, b.fetch = conn.Versions()[int16(kmsg.Produce)].Max, conn.Versions()[int16(kmsg.Fetch)].Max
	if b.produce < 9 || b.fetch < 12 {
		return nil, fmt.Errorf("proxy offers Produce %d and Fetch %d, too old for this load", b.produce, b.fetch)
	}
	return b, nil
}

// part starts this program again as one of its parts, and waits for the address that it prints.
func (b *relayBench) part(ctx context.Context, name string, env ...string) (*machine.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("find own program: %w", err)
	}
	first := make(chan string, 1)
	p, err := machine.Start(machine.Command{Name: name, Path: self, Args: []string{name}, Env: env, Stderr: os.Stderr,
		Stdout: &machine.Lines{Each: func(line []byte) { first <- string(line) }}})
	if err != nil {
		return nil, "", err
	}
	b.children = append(b.children, p)
	select {
	case addr := <-first:
		return p, addr, nil
	case <-p.Done():
		return nil, "", fmt.Errorf("%s ended with code %d", name, p.ExitCode())
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}

func (b *relayBench) stop() {
	if b.proxy != nil {
		b.children = append(b.children, b.proxy.process)
	}
	for _, p := range slices.Backward(b.children) {
		if err := p.Kill(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// proxyProcess is the built binary in front of the broker.
type proxyProcess struct {
	process   *machine.Process
	binary    string
	bootstrap string
	admin     string
	log       string
}

// startProxy builds and starts `switchback serve`, and waits until it says that it is up. It mirrors the one topic that is moved later, so
// that nothing but the load passes through it.
func startProxy(ctx context.Context, dir, legacy string) (*proxyProcess, error) {
	binary, err := server.Binary(ctx)
	if err != nil {
		return nil, err
	}
	first, err := machine.Ports(4)
	if err != nil {
		return nil, err
	}
	p := &proxyProcess{binary: binary, bootstrap: machine.Loopback(first), admin: machine.Loopback(first + 1), log: filepath.Join(dir, "switchback.log")}
	config := filepath.Join(dir, "switchback.yaml")
	yaml := fmt.Sprintf("legacy:\n  bootstrap: [%q]\nlisten: %s\nports: %d-%d\nadmin: %s\ndata: %q\ntopics:\n  include: [%q]\n",
		legacy, p.bootstrap, first+2, first+3, p.admin, filepath.Join(dir, "data"), movedTopic)
	if err := os.WriteFile(config, []byte(yaml), 0o644); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	said, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer said.Close()
	up := make(chan struct{}, 1)
	p.process, err = machine.Start(machine.Command{Name: "switchback", Path: binary, Args: []string{"serve", "--config", config}, Stderr: said,
		Stdout: &machine.Lines{Each: func([]byte) {
			select {
			case up <- struct{}{}: // the first line says that it is up
			default:
			}
		}}})
	if err != nil {
		return nil, err
	}
	select {
	case <-up:
		return p, nil
	case <-p.process.Done():
		return nil, fmt.Errorf("switchback ended with code %d:\n%s", p.process.ExitCode(), machine.FileTail(p.log, 4<<10))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// flip moves movedTopic to the target, once the mirror has it.
func (p *proxyProcess) flip(ctx context.Context) error {
	return machine.Until(ctx, time.Minute, "flip", func(ctx context.Context) error {
		said := machine.NewTail(4 << 10)
		err := machine.Run(ctx, machine.Command{Name: "switchback flip", Path: p.binary, Args: []string{"flip", movedTopic, "--admin", p.admin}, Stdout: said, Stderr: said})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, said)
		}
		return nil
	})
}

// load is Produce or Fetch in one shape.
func (b *relayBench) load(key kmsg.Key, s shape) load {
	if key == kmsg.Produce {
		return newLoad(key, b.produce, b.id, s.bytes, s.partitions, loadConns, produceWindow)
	}
	return newLoad(key, b.fetch, b.id, s.bytes, s.partitions, loadConns, fetchWindow)
}

// saturate measures a load that goes as fast as it can.
func (b *relayBench) saturate(ctx context.Context, w way, l load, n int, into *cell) error {
	var before time.Duration
	elapsed, err := l.drive(ctx, w.addr, n, func() (err error) {
		before, err = cpuIn(w)
		return err
	}, atOnce, func(time.Duration) {})
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	after, err := cpuIn(w)
	if err != nil {
		return err
	}
	n = n / l.conns * l.conns
	into.cpu += after - before
	into.elapsed += elapsed
	into.requests += int64(n)
	into.bytes += int64(n) * l.bytes
	return nil
}

// open measures a load at a rate.
func (b *relayBench) open(ctx context.Context, w way, l load, perSecond float64, into *cell) error {
	l.window = openWindow
	n := int(perSecond * openSeconds * min(1, b.flags.scale))
	_, err := l.drive(ctx, w.addr, n, func() error { return nil }, steadily(perSecond, l.conns), into.times.add)
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

func cpuIn(w way) (time.Duration, error) {
	if w.pid == 0 {
		return 0, nil
	}
	return cpuOf(w.pid)
}

func (c *cell) perGB() float64 { return c.cpu.Seconds() / (float64(c.bytes) / 1e9) }
func (c *cell) perRequest() float64 {
	return float64(c.cpu) / float64(time.Microsecond) / float64(c.requests)
}
func (c *cell) megabytes() float64 { return float64(c.bytes) / 1e6 / c.elapsed.Seconds() }
func (c *cell) rate() float64      { return float64(c.requests) / c.elapsed.Seconds() }

// A wanted is a case that is to be measured.
type wanted struct {
	name  string
	key   kmsg.Key
	shape shape
}

func (b *relayBench) cases() (all []wanted) {
	for _, s := range shapes {
		for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch} {
			if name := key.Name() + " " + s.name; strings.Contains(name, b.flags.only) {
				all = append(all, wanted{name, key, s})
			}
		}
	}
	return all
}

// clean is the clean path: all ways in turn, in another order every round.
func (b *relayBench) clean(ctx context.Context) (rows []Row, err error) {
	for _, c := range b.cases() {
		cells, err := b.measure(ctx, c.name, b.load(c.key, c.shape), c.shape, []way{b.direct, b.splice, b.ours}, true)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
		direct, relay, ours := cells[0], cells[1], cells[2]
		rows = append(rows,
			beside(c.name, "CPU s/GB, peer: relay", ours.perGB(), relay.perGB()).ratioAtMost(cpuAim),
			beside(c.name, "CPU us/request, peer: relay", ours.perRequest(), relay.perRequest()),
			beside(c.name, "MB/s, peer: relay", ours.megabytes(), relay.megabytes()),
			beside(c.name, "MB/s, peer: direct", ours.megabytes(), direct.megabytes()),
		)
		for _, p := range []float64{0.50, 0.99} {
			base := direct.times.percentile(p)
			rows = append(rows, beside(c.name, fmt.Sprintf("p%.0f us added at half load, peer: relay", 100*p), ours.times.percentile(p)-base, relay.times.percentile(p)-base))
		}
	}
	return rows, nil
}

// guardedRows is the same load after one of the other topics has moved: requests are looked into now, and pass.
func (b *relayBench) guardedRows(ctx context.Context) (rows []Row, err error) {
	if err := b.proxy.flip(ctx); err != nil {
		return nil, err
	}
	for _, c := range b.cases() {
		name := fmt.Sprintf("%s, 1 of %d topics moved", c.name, topics)
		cells, err := b.measure(ctx, name, b.load(c.key, c.shape), c.shape, []way{b.splice, b.ours}, false)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", name, err)
		}
		relay, ours := cells[0], cells[1]
		rows = append(rows,
			beside(name, "CPU s/GB, peer: relay", ours.perGB(), relay.perGB()),
			beside(name, "CPU us/request, peer: relay", ours.perRequest(), relay.perRequest()),
		)
	}
	return rows, nil
}

// measure runs one load over several ways in turn, and then, when latency is asked for, at half of what the second way could carry.
func (b *relayBench) measure(ctx context.Context, name string, l load, s shape, ways []way, latency bool) ([]*cell, error) {
	cells := make([]*cell, len(ways))
	for i := range cells {
		cells[i] = new(cell)
	}
	n := max(l.conns, int(float64(s.requests)*b.flags.scale)/b.flags.repeats)
	turns := func(do func(w way, into *cell) error) error {
		for round := range b.flags.repeats {
			for i := range ways {
				at := (i + round) % len(ways)
				if err := do(ways[at], cells[at]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := turns(func(w way, into *cell) error { return b.saturate(ctx, w, l, n, into) }); err != nil {
		return nil, err
	}
	if latency {
		half := cells[1].rate() / 2
		if err := turns(func(w way, into *cell) error { return b.open(ctx, w, l, half, into) }); err != nil {
			return nil, err
		}
	}
	last := cells[len(cells)-1]
	fmt.Fprintf(os.Stderr, "%s: %.2f CPU-s/GB, %.0f MB/s\n", name, last.perGB(), last.megabytes())
	return cells, nil
}
