package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// longEnough bounds every wait of a topology test.
const longEnough = 20 * time.Second

func newLegacy(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(4, "topic")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// follow runs a topology for the length of a test.
func follow(t *testing.T, bootstrap ...string) (*Topology, context.Context) {
	t.Helper()
	topo := NewTopology(bootstrap, "test", slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = topo.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return topo, ctx
}

// until waits for a snapshot that holds.
func until(t *testing.T, topo *Topology, what string, holds func(*Snapshot) bool) *Snapshot {
	t.Helper()
	deadline := time.After(longEnough)
	for {
		changed := topo.Changed()
		if s := topo.Snapshot(); holds(s) {
			return s
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestTopologyShowsLegacy(t *testing.T) {
	legacy := newLegacy(t)
	topo, ctx := follow(t, legacy.ListenAddrs()[0])
	s := until(t, topo, "three brokers", func(s *Snapshot) bool { return len(s.Brokers) == 3 })
	if s.ClusterID == "" || s.ApiVersions == nil || s.Controller < 0 {
		t.Errorf("snapshot %+v", s)
	}
	id, ok := topo.TopicID("topic")
	if !ok || id != offsets.TopicID(legacy.TopicInfo("topic").TopicID) {
		t.Errorf("topic id %v, %v", id, ok)
	}
	p := offsets.Partition{Topic: id, Index: 2}
	leader, epoch, ok := topo.Leader(p)
	if !ok || leader != legacy.LeaderFor("topic", 2) || epoch < 0 {
		t.Errorf("leader %d epoch %d, %v", leader, epoch, ok)
	}
	for _, unknown := range []offsets.Partition{{Topic: id, Index: 99}, {Topic: id, Index: -1}, {Index: 0}} {
		if _, _, ok := topo.Leader(unknown); ok {
			t.Errorf("leader of %v is known", unknown)
		}
	}
	conn, err := topo.Dial(ctx, leader)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if addr, _ := topo.Addr(leader); conn.Addr() != addr {
		t.Errorf("dialled %s, want %s", conn.Addr(), addr)
	}
	if _, err := topo.Dial(ctx, 77); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("dial of an unknown broker: %v", err)
	}
}

func TestTopologyFollowsChanges(t *testing.T) {
	legacy := newLegacy(t)
	topo, ctx := follow(t, legacy.ListenAddrs()[0])
	until(t, topo, "brokers", func(s *Snapshot) bool { return len(s.Brokers) == 3 })
	id, _ := topo.TopicID("topic")
	p := offsets.Partition{Topic: id, Index: 0}

	before, epoch, _ := topo.Leader(p)
	to := (before + 1) % 3
	if err := legacy.MoveTopicPartition("topic", 0, to); err != nil {
		t.Fatal(err)
	}
	if err := topo.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if leader, e, _ := topo.Leader(p); leader != to || e <= epoch {
		t.Errorf("leader %d epoch %d after a move to %d from epoch %d", leader, e, to, epoch)
	}

	node, port, err := legacy.AddNode(-1, 0)
	if err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the new broker", func(s *Snapshot) bool { _, ok := s.Brokers[node]; return ok })
	if addr, _ := topo.Addr(node); addr != net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) {
		t.Errorf("new broker at %s, want port %d", addr, port)
	}

	// The broker comes back under its id at another address.
	if err := legacy.RemoveNode(node); err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the broker gone", func(s *Snapshot) bool { _, ok := s.Brokers[node]; return !ok })
	if _, port, err = legacy.AddNode(node, 0); err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the broker's new address", func(s *Snapshot) bool {
		return s.Brokers[node].Addr == net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	})

	if err := legacy.CreateTopic("another", 2, nil); err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the new topic", func(s *Snapshot) bool { return s.Topics["another"] != nil })
	if err := legacy.DeleteTopic("topic"); err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the topic gone", func(s *Snapshot) bool { return s.TopicsByID[id] == nil })
	if err := legacy.CreateTopic("topic", 1, nil); err != nil {
		t.Fatal(err)
	}
	until(t, topo, "the topic again, with another id", func(s *Snapshot) bool {
		again := s.Topics["topic"]
		return again != nil && again.ID != id && len(again.Partitions) == 1
	})
}

// Nothing changes: no new snapshot, and Changed stays open.
func TestTopologyIsQuiet(t *testing.T) {
	legacy := newLegacy(t)
	topo, ctx := follow(t, legacy.ListenAddrs()...)
	until(t, topo, "brokers", func(s *Snapshot) bool { return len(s.Brokers) == 3 })
	before, changed := topo.Snapshot(), topo.Changed()
	for range 3 {
		if err := topo.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-changed:
		t.Errorf("changed: %+v, was %+v", topo.Snapshot(), before)
	default:
	}
	if topo.Snapshot() != before {
		t.Error("the snapshot is another one")
	}
}

// The broker that was asked dies; another one is asked. All die; the last
// snapshot stays, and the error says so.
func TestTopologyOutlivesBrokers(t *testing.T) {
	legacy := newLegacy(t)
	topo, ctx := follow(t, "127.0.0.1:1", legacy.ListenAddrs()[0]) // nobody listens on the first
	until(t, topo, "brokers", func(s *Snapshot) bool { return len(s.Brokers) == 3 })
	for node := range int32(2) {
		if err := legacy.RemoveNode(node); err != nil {
			t.Fatal(err)
		}
		if err := topo.Refresh(ctx); err != nil {
			t.Fatalf("after broker %d left: %v", node, err)
		}
	}
	until(t, topo, "one broker", func(s *Snapshot) bool { return len(s.Brokers) == 1 })
	legacy.Close()
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := topo.Refresh(short); err == nil {
		t.Error("a refresh without legacy succeeds")
	}
	if s := topo.Snapshot(); len(s.Brokers) != 1 || s.Topics["topic"] == nil {
		t.Errorf("snapshot %+v, want the last one", s)
	}
}

// Callers share questions, and each sees one that began after its call.
func TestTopologyCoalesces(t *testing.T) {
	legacy := newLegacy(t)
	topo := NewTopology(legacy.ListenAddrs(), "test", slog.New(slog.DiscardHandler))
	defer topo.disconnect()
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	if err := topo.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := 0
	first, release := make(chan struct{}), make(chan struct{})
	legacy.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		legacy.KeepControl()
		mu.Lock()
		asked++
		n := asked
		mu.Unlock()
		if n == 1 {
			close(first)
			legacy.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	results := make(chan error, 2)
	go func() { results <- topo.Refresh(ctx) }()
	<-first
	second := topo.pendingRefresh()
	for range 20 {
		if topo.pendingRefresh() != second {
			t.Fatal("two callers wait for different questions")
		}
	}
	go func() { results <- topo.Refresh(ctx) }()
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	<-second.done
	mu.Lock()
	defer mu.Unlock()
	if asked != 2 {
		t.Errorf("legacy was asked %d times, want 2: one that had begun, one for everybody after", asked)
	}
}

// A caller that is called off doesn't take the others' answer with it.
func TestTopologyCalledOff(t *testing.T) {
	legacy := newLegacy(t)
	topo := NewTopology(legacy.ListenAddrs(), "test", slog.New(slog.DiscardHandler))
	defer topo.disconnect()
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	mine, callOff := context.WithCancel(ctx)
	topo.asking <- struct{}{} // somebody asks; nobody can begin
	r := topo.pendingRefresh()
	callOff()
	topo.perform(mine, r) // the one who asks for r has been called off
	<-topo.asking
	if !r.calledOff {
		t.Fatal("the refresh was not called off")
	}
	if err := topo.Refresh(ctx); err != nil {
		t.Errorf("another caller: %v", err)
	}
}

// Another cluster at an address of legacy is not believed.
func TestTopologyRefusesAnotherCluster(t *testing.T) {
	legacy := newLegacy(t, kfake.ClusterID("first"))
	other := newLegacy(t, kfake.ClusterID("second"))
	topo := NewTopology(legacy.ListenAddrs()[:1], "test", slog.New(slog.DiscardHandler))
	defer topo.disconnect()
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	if err := topo.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	legacy.Close()
	topo.bootstrap = other.ListenAddrs()[:1]
	if err := topo.Refresh(ctx); !errors.Is(err, ErrForeignCluster) {
		t.Errorf("%v, want ErrForeignCluster", err)
	}
	if got := topo.Snapshot().ClusterID; got != "first" {
		t.Errorf("cluster id %q", got)
	}
}

func metadataOf(id string, epoch int32, leader int32) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version, resp.ClusterID = 12, kmsg.StringPtr(id)
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, "host", 9092
	resp.Brokers = append(resp.Brokers, b)
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID = kmsg.StringPtr("topic"), [16]byte{1}
	p := kmsg.NewMetadataResponseTopicPartition()
	p.Leader, p.LeaderEpoch = leader, epoch
	topic.Partitions = append(topic.Partitions, p)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func TestTopologyLearns(t *testing.T) {
	topo := NewTopology(nil, "test", slog.New(slog.DiscardHandler))
	versions := kmsg.NewPtrApiVersionsResponse()
	know := func(resp *kmsg.MetadataResponse) {
		_ = topo.replace(func(old *Snapshot) (*Snapshot, error) { return whole(old, resp, versions), nil })
	}
	woken := func() bool {
		select {
		case <-topo.wake:
			return true
		default:
			return false
		}
	}
	p := offsets.Partition{Topic: offsets.TopicID{1}}
	want := func(what string, leader, epoch int32) {
		t.Helper()
		if l, e, _ := topo.Leader(p); l != leader || e != epoch {
			t.Errorf("%s: leader %d epoch %d, want %d and %d", what, l, e, leader, epoch)
		}
	}
	know(metadataOf("id", 5, 1))
	topo.Learn(metadataOf("id", 7, 2))
	want("higher epoch", 2, 7)
	topo.Learn(metadataOf("id", 6, 1))
	want("lower epoch", 2, 7)
	know(metadataOf("id", 6, 1))
	want("whole answer of a broker that lags", 2, 7)
	topo.Learn(metadataOf("another", 9, 1))
	want("another cluster", 2, 7)
	if !woken() {
		t.Error("another cluster was not asked after")
	}

	moved := metadataOf("id", 7, 2)
	moved.Brokers[0].Port = 9093
	topo.Learn(moved)
	if addr, _ := topo.Addr(1); addr != "host:9092" || !woken() {
		t.Errorf("address %s; a passing answer may be old, legacy must be asked", addr)
	}
	added := metadataOf("id", 7, 2)
	added.Brokers[0].NodeID = 2
	topo.Learn(added)
	if addr, ok := topo.Addr(2); !ok || addr != "host:9092" || !woken() {
		t.Errorf("new broker at %q, %v", addr, ok)
	}
	recreated := metadataOf("id", 9, 2)
	recreated.Topics[0].TopicID = [16]byte{2}
	topo.Learn(recreated)
	want("recreated", 2, 7)
	if !woken() {
		t.Error("a recreated topic was not asked after")
	}
	know(recreated)
	if _, ok := topo.Snapshot().TopicsByID[offsets.TopicID{1}]; ok {
		t.Error("the deleted topic is still known")
	}
	topo.Learn(recreated)
	if woken() {
		t.Error("legacy is asked though nothing differs")
	}
}
