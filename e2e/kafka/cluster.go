package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
	"switchback/e2e/raw"
	"switchback/e2e/relay"
)

// controllerID is the node id of the controller; brokers are 1, 2, 3.
const controllerID = 100

// startPatience bounds the start of a cluster, on a machine that does much else.
const startPatience = 90 * time.Second

// Options say what cluster to start.
type Options struct {
	Brokers int               // 1 to 3; 0 is 1
	Config  map[string]string // broker settings on top of ours
	Dir     string            // where data and logs go; Run takes the test's temporary folder
	Heap    string            // of a broker, "512m" when empty
	Full    bool              // the whole JIT: for measuring
	Front   bool              // a second listener per broker behind a relay.Relay, which alone it tells those who come that way

	flags []string // for the JVMs of brokers
}

// Cluster is a running cluster.
type Cluster struct {
	dist       *Distribution
	options    Options
	id         string
	controller *node
	brokers    []*Broker
	unlock     func()
	closed     bool
}

// Run starts a cluster for the length of a test. It is skipped, or fails, where the machine lacks what is needed (machine.Need). When the
// test fails, the ends of the brokers' logs are printed.
func Run(t testing.TB, o Options) *Cluster {
	t.Helper()
	dist := Need(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // other test binaries may hold the machine for long
	defer cancel()
	unlock, err := alone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := start(ctx, dist, o)
	if err != nil {
		unlock()
		t.Fatal(err)
	}
	c.unlock = unlock
	t.Logf("Apache Kafka 4.2.0 with %d brokers at %s after %v", len(c.brokers), c.Bootstrap(), time.Since(began).Round(10*time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(8 << 10))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Start starts a cluster without a test around it. The caller closes it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	dist, err := Get(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := alone(ctx)
	if err != nil {
		return nil, err
	}
	c, err := start(ctx, dist, o)
	if err != nil {
		unlock()
		return nil, err
	}
	c.unlock = unlock
	return c, nil
}

// using counts the clusters of this process; the machine's lock is held while there is one.
var using struct {
	sync.Mutex
	n      int
	unlock func()
}

// alone waits until no other process runs a cluster: two at a time on two cores would make every deadline a lie.
func alone(ctx context.Context) (func(), error) {
	using.Lock()
	defer using.Unlock()
	if using.n == 0 {
		unlock, err := machine.Lock(ctx, "cluster")
		if err != nil {
			return nil, err
		}
		using.unlock = unlock
	}
	using.n++
	var once sync.Once
	return func() {
		once.Do(func() {
			using.Lock()
			defer using.Unlock()
			if using.n--; using.n == 0 {
				using.unlock()
			}
		})
	}, nil
}

func start(ctx context.Context, dist *Distribution, o Options) (c *Cluster, err error) {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Brokers < 1 || o.Brokers > 3 {
		return nil, fmt.Errorf("start cluster: %d brokers, can do 1 to 3", o.Brokers)
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "switchback-kafka-"); err != nil {
			return nil, fmt.Errorf("start cluster: %w", err)
		}
	}
	c = &Cluster{dist: dist, options: o, id: uuid()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start cluster: %w\n%s", err, c.Logs(4<<10)), c.Close())
			c = nil
		}
	}()
	port, err := machine.Ports(1)
	if err != nil {
		return nil, err
	}
	c.controller = c.node("controller", controllerID, port)
	for id := 1; id <= o.Brokers; id++ {
		if port, err = machine.Ports(3); err != nil {
			return nil, err
		}
		b := &Broker{node: c.node(fmt.Sprintf("broker-%d", id), id, port), cluster: c}
		c.brokers = append(c.brokers, b)
		if o.Front {
			if b.front, err = relay.Listen(port+2, machine.Loopback(port+1)); err != nil {
				return nil, err
			}
		}
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if err := c.controller.launch(); err != nil {
		return nil, err
	}
	for _, b := range c.brokers {
		if err := b.node.launch(); err != nil {
			return nil, err
		}
	}
	for _, b := range c.brokers {
		if err := b.Ready(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ID is the cluster's id.
func (c *Cluster) ID() string { return c.id }

// Bootstrap names all brokers, separated by commas.
func (c *Cluster) Bootstrap() string { return strings.Join(c.Addrs(), ",") }

// Addrs are the addresses of all brokers, those that are down included.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.Addr())
	}
	return addrs
}

// FrontAddrs are the addresses of the relays in front of all brokers (Options.Front).
func (c *Cluster) FrontAddrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.front.Addr())
	}
	return addrs
}

// Brokers are all brokers in the order of their ids.
func (c *Cluster) Brokers() []*Broker { return c.brokers }

// Broker returns the broker with a node id, 1 and up.
func (c *Cluster) Broker(id int32) *Broker { return c.brokers[id-1] }

// Dist is what the cluster runs: for running tools of the same version.
func (c *Cluster) Dist() *Distribution { return c.dist }

// Logs returns the last bytes of the log of every process.
func (c *Cluster) Logs(each int64) string {
	var out strings.Builder
	for _, n := range c.nodes() {
		fmt.Fprintf(&out, "--- %s, last lines of its log\n%s\n", n.name, machine.FileTail(n.log, each))
	}
	return out.String()
}

// Close kills all processes and removes a folder that Start made. Twice is as good as once.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes() {
		if n.process != nil {
			errs = append(errs, n.process.Kill())
		}
	}
	for _, b := range c.brokers {
		if b.front != nil && !c.closed {
			errs = append(errs, b.front.Close())
		}
	}
	c.closed = true
	errs = append(errs, os.RemoveAll(c.options.Dir))
	if c.unlock != nil {
		c.unlock()
	}
	return errors.Join(errs...)
}

// shutdown ends the brokers and then the controller as an operator would.
func (c *Cluster) shutdown(grace time.Duration) error {
	var errs []error
	for _, b := range c.brokers {
		errs = append(errs, b.node.process.Stop(grace))
	}
	errs = append(errs, c.controller.process.Stop(grace))
	return errors.Join(errs...)
}

func (c *Cluster) nodes() []*node {
	var nodes []*node
	if c.controller != nil {
		nodes = append(nodes, c.controller)
	}
	for _, b := range c.brokers {
		nodes = append(nodes, b.node)
	}
	return nodes
}

// Dial connects to the first broker that answers.
func (c *Cluster) Dial(ctx context.Context) (*raw.Conn, error) {
	var errs []error
	for _, b := range c.brokers {
		if !b.Alive() || b.paused.Load() {
			continue
		}
		conn, err := raw.Dial(ctx, b.Addr())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("dial any broker: %w", errors.Join(append(errs, errors.New("none answers"))...))
}

// request sends one request to any broker; requests for the controller are forwarded by the broker (KIP-590).
func (c *Cluster) request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Request(ctx, req)
}

func (c *Cluster) node(name string, id, port int) *node {
	return &node{
		cluster: c, name: name, id: id, port: port,
		dir: filepath.Join(c.options.Dir, name),
		log: filepath.Join(c.options.Dir, name+".log"),
	}
}
