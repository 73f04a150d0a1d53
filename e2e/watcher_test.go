package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/raw"
	"switchback/e2e/server"
)

// glance is how often a watcher asks for metadata.
const glance = 50 * time.Millisecond

// watcher looks at what clients are shown for as long as a scenario runs: a topic id that changes, a leader epoch that goes back, an address that is
// not the server's are faults.
type watcher struct {
	t      *testing.T
	server *server.Server
	topic  string
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	faults []string
	seen   int
	id     [16]byte
	epochs map[int32]int32
}

// maxWatched bounds the faults that are kept.
const maxWatched = 20

func watch(t *testing.T, s *server.Server, topic string) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t: t, server: s, topic: topic, cancel: cancel, done: make(chan struct{}), epochs: map[int32]int32{}}
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
	})
	return w
}

// stop ends the watcher and reports what it saw.
func (w *watcher) stop() {
	w.t.Helper()
	w.cancel()
	<-w.done
	for _, fault := range w.faults {
		w.t.Errorf("shown to clients: %s", fault)
	}
	if w.seen == 0 {
		w.t.Error("the watcher saw no metadata")
	}
}

func (w *watcher) run(ctx context.Context) {
	ticks := time.NewTicker(glance)
	defer ticks.Stop()
	var conn *raw.Conn
	for {
		select {
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
			return
		case <-ticks.C:
		}
		// A server that is down or killed is the scenario's business: the next glance comes.
		look, cancel := context.WithTimeout(ctx, 5*time.Second)
		if conn == nil {
			conn, _ = raw.Dial(look, w.server.Bootstrap())
		}
		if conn != nil {
			metadata, err := conn.Metadata(look, w.topic)
			if err != nil {
				conn.Close()
				conn = nil
			} else {
				w.look(metadata)
			}
		}
		cancel()
	}
}

func (w *watcher) look(m *kmsg.MetadataResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen++
	for _, b := range m.Brokers {
		if !w.server.Shows(b.Host, b.Port) {
			w.fault("node %d at %s:%d, which is not the server's", b.NodeID, b.Host, b.Port)
		}
	}
	for _, t := range m.Topics {
		if t.ErrorCode != 0 {
			continue
		}
		if w.id == [16]byte{} {
			w.id = t.TopicID
		}
		if t.TopicID != w.id {
			w.fault("topic id %x, before it was %x", t.TopicID, w.id)
		}
		for _, p := range t.Partitions {
			if p.LeaderEpoch < 0 {
				continue // no leader at the moment
			}
			if last, ok := w.epochs[p.Partition]; ok && p.LeaderEpoch < last {
				w.fault("leader epoch %d of partition %d, before it was %d", p.LeaderEpoch, p.Partition, last)
			}
			w.epochs[p.Partition] = p.LeaderEpoch
		}
	}
}

func (w *watcher) fault(format string, args ...any) {
	if len(w.faults) < maxWatched {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}
