package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Mirror copies between the clusters. Make one with New.
type Mirror struct {
	cfg    Config
	legacy Legacy
	store  Store

	refresh   chan struct{} // capacity 1: legacy's metadata is old
	wakePacer chan struct{} // capacity 1
	ran       atomic.Bool

	mu      sync.Mutex // guards what follows
	twins   map[offsets.Partition]*twin
	homes   map[offsets.Partition]home // of partitions that are not known yet
	queries map[queryKey]*query
	closed  bool

	pacedMu sync.Mutex // innermost
	paced   map[*twin]struct{}

	// Of the conductor, nobody else's.
	topics  map[offsets.TopicID]*topic
	brokers map[int32]*broker
	blind   bool // topic configs could not be read when they were last asked for
}

type home struct {
	side offsets.Side
	from int64
}

// New checks the config. It starts no goroutine and asks nobody.
func New(cfg Config, legacy Legacy, store Store) (*Mirror, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Mirror{
		cfg: cfg, legacy: legacy, store: store,
		refresh: make(chan struct{}, 1), wakePacer: make(chan struct{}, 1),
		twins: make(map[offsets.Partition]*twin), homes: make(map[offsets.Partition]home), queries: make(map[queryKey]*query),
		paced:  make(map[*twin]struct{}),
		topics: make(map[offsets.TopicID]*topic), brokers: make(map[int32]*broker),
	}, nil
}

// Run mirrors until ctx ends, and returns when everything has stopped. It
// returns ctx's error. It may be called once.
func (m *Mirror) Run(ctx context.Context) error {
	if m.ran.Swap(true) {
		return fmt.Errorf("run mirror: it has run before")
	}
	var group sync.WaitGroup
	group.Go(func() { m.pace(ctx) })
	m.conduct(ctx, &group)
	group.Wait()
	m.closeQueries()
	m.releaseAll()
	for _, t := range m.all() {
		t.mu.Lock()
		t.subscribe(nil)
		t.mu.Unlock()
	}
	return ctx.Err()
}

// wantRefresh asks the conductor for fresh metadata.
func (m *Mirror) wantRefresh() { poke(m.refresh) }

func (m *Mirror) twin(p offsets.Partition) *twin {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.twins[p]
}

func (m *Mirror) all() []*twin {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*twin, 0, len(m.twins))
	for _, t := range m.twins {
		all = append(all, t)
	}
	return all
}

// add makes the twin of a log that the store has, unless there is one.
func (m *Mirror) add(p offsets.Partition) (*twin, error) {
	if t := m.twin(p); t != nil {
		return t, nil
	}
	log, err := m.store.Log(p)
	if err != nil {
		return nil, err
	}
	t := &twin{
		id: p, m: m, log: log, fresh: true, goal: -1,
		leader: -1, epoch: -1, led: -1, listEpoch: -1, lastEpoch: -1, high: -1, batches: -1,
		sealQuiet: time.Now().Add(m.cfg.QuietTime), // what another process left under way
	}
	t.stand(log.Bounds().End)
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.twins[p]; other != nil {
		return other, nil
	}
	if h, ok := m.homes[p]; ok {
		delete(m.homes, p)
		t.turnTo(h)
	}
	m.twins[p] = t
	return t, nil
}

// SetHome says which way the copy of a partition runs. For Target, from is the
// seal: legacy is written from there on, and what it already holds above it is
// compared first. For Legacy it is where the target stopped taking writes. When
// it returns, nothing of the other direction is applied any more.
//
// Every partition begins with home legacy. One whose home is the target must be
// told before Run, otherwise legacy would count as the authority. Saying the
// same again changes nothing.
func (m *Mirror) SetHome(p offsets.Partition, side offsets.Side, from int64) {
	t, err := m.add(p)
	if err != nil {
		m.mu.Lock()
		if t = m.twins[p]; t == nil {
			m.homes[p] = home{side, from}
		}
		m.mu.Unlock()
		if t == nil {
			return
		}
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnTo(home{side, from})
	if t.broker != nil {
		poke(t.broker.wakeReader)
		poke(t.broker.wakeWriter)
	}
}

// turnTo changes the direction. reading and mu are held.
func (t *twin) turnTo(h home) {
	if t.home == h.side && (h.side == offsets.Legacy || t.from == h.from) {
		return
	}
	// A rollback of a partition that is level goes on without asking legacy again:
	// its end is where the reader is.
	level := t.settled && t.flight == nil && t.stop == nil && t.pos == t.log.Bounds().End
	t.home, t.from = h.side, h.from
	t.stop, t.doubt = nil, nil
	t.unsound = sound
	t.turn()
	if h.side == offsets.Legacy {
		t.settled = level
		t.release(true)
	} else {
		t.begin()
	}
	t.subscribe(t.broker)
}

// begin sets where replay begins as far as it is known. reading and mu are held.
func (t *twin) begin() {
	t.marked, t.batches = 0, -1
	if t.fresh {
		// After a start: what was read back before counts, and the process of before
		// may have left a produce under way.
		t.stand(max(t.from, t.log.Bounds().Replayed))
		t.lost = &loss{end: 1<<63 - 1}
	}
	t.confirmed = t.pos
}

// Disturbed tells that a connection to a legacy broker was lost at a time with
// produce of clients in flight, which may still be handled there. Partitions
// that it leads, and whose home is legacy, are not quiet (see Ends) before quiet
// has passed since then; less than Config.QuietTime counts as that. Replay is not
// held up: no client's produce to legacy can be under way for a partition that
// was sealed when it was quiet.
func (m *Mirror) Disturbed(node int32, at time.Time, quiet time.Duration) {
	until := at.Add(max(quiet, m.cfg.QuietTime))
	for _, t := range m.all() {
		t.mu.Lock()
		if t.leader == node && t.home == offsets.Legacy && until.After(t.sealQuiet) {
			t.sealQuiet = until
		}
		t.mu.Unlock()
	}
}

// Confirmed is the offset below which the side that is not home holds everything
// and would serve it. known is false while that is not certain (settling), and
// for partitions that are not mirrored.
func (m *Mirror) Confirmed(p offsets.Partition) (offset int64, known bool) {
	t := m.twin(p)
	if t == nil {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held()
}

// Await returns when Confirmed has reached offset, or with ctx's error, or with
// ErrStopped or ErrAbsent when that is not going to happen.
func (m *Mirror) Await(ctx context.Context, p offsets.Partition, offset int64) error {
	t := m.twin(p)
	if t == nil {
		return fmt.Errorf("await %s: %w", p, ErrAbsent)
	}
	moved := make(chan struct{}, 1)
	var log Log
	cancel := func() {}
	defer func() { cancel() }()
	for {
		t.mu.Lock()
		if t.home == offsets.Legacy && t.log != log { // also when the copy was made anew
			cancel()
			log = t.log
			cancel = log.Subscribe(moved)
		}
		held, known := t.held()
		stop := t.stop
		changed := t.watch()
		t.mu.Unlock()
		switch {
		case known && held >= offset:
			return nil
		case stop != nil:
			return fmt.Errorf("await %s at %d: %w: %s", p, offset, ErrStopped, stop.err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-moved:
		}
	}
}

// HomeEnd asks the home for its high watermark of this moment.
func (m *Mirror) HomeEnd(ctx context.Context, p offsets.Partition) (int64, error) {
	t := m.twin(p)
	if t == nil {
		return 0, fmt.Errorf("find home end of %s: %w", p, ErrAbsent)
	}
	for {
		t.mu.Lock()
		x := ref{t: t, name: t.name, epoch: t.epoch}
		leader, side, log := t.leader, t.home, t.log
		changed := t.watch()
		t.mu.Unlock()
		if side == offsets.Target {
			return log.Bounds().Durable, nil
		}
		end, code, err := m.listEnd(ctx, leader, x)
		if err == nil && code == 0 {
			return end, nil
		}
		if err == nil && classOf(code) == refused {
			return 0, fmt.Errorf("find home end of %s: %s", p, describe("list offsets", code))
		}
		m.wantRefresh()
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("find home end of %s: %w: %w", p, ErrUnreachable, ctx.Err())
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// listEnd asks legacy for one high watermark.
func (m *Mirror) listEnd(ctx context.Context, leader int32, x ref) (end int64, code int16, err error) {
	if leader < 0 || x.name == "" {
		return 0, missing, nil
	}
	r := newRoll([]ref{x})
	resp, err := inquire[*kmsg.ListOffsetsResponse](ctx, m, forReads, leader, r.list(latest))
	code = missing
	if err == nil {
		r.eachListed(resp, func(_ ref, p *kmsg.ListOffsetsResponseTopicPartition) { end, code = p.Offset, p.ErrorCode })
	}
	return end, code, err
}

// Epochs is the list of leader epochs of the home's log, its end, and whether
// the other side's list is, or may be, another one.
func (m *Mirror) Epochs(p offsets.Partition) (list offsets.Epochs, logEnd int64, differ bool) {
	t := m.twin(p)
	if t == nil {
		return nil, 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.home == offsets.Legacy && t.listEpoch >= 0 {
		return t.list, max(t.high, t.log.Bounds().Durable), t.differs
	}
	return t.log.Epochs(), t.log.Bounds().Durable, t.differs
}

// Status is what is known about a partition; ok is false when it isn't mirrored.
func (m *Mirror) Status(p offsets.Partition) (s Status, ok bool) {
	t := m.twin(p)
	if t == nil {
		return Status{}, false
	}
	return t.status(time.Now()), true
}

// All is Status of every partition, by topic name and index.
func (m *Mirror) All() []Status {
	now := time.Now()
	twins := m.all()
	all := make([]Status, len(twins))
	for i, t := range twins {
		all[i] = t.status(now)
	}
	slices.SortFunc(all, func(a, b Status) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		if c := strings.Compare(a.Partition.Topic.String(), b.Partition.Topic.String()); c != 0 {
			return c
		}
		return int(a.Partition.Index) - int(b.Partition.Index)
	})
	return all
}
