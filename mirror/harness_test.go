package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"switchback/mirror"
	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

// A target is the real engine behind the mirror's Store, as the server wires it,
// without the broker.
type target struct {
	dir    string
	engine *storage.Engine

	mu       sync.Mutex
	imported map[offsets.TopicID]mirror.Topic
	removed  map[offsets.TopicID]bool
}

func openTarget(t *testing.T, dir string) *target {
	t.Helper()
	e, err := storage.Open(storage.Config{Dir: dir, ClusterID: "paper", SegmentBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return &target{dir: dir, engine: e, imported: make(map[offsets.TopicID]mirror.Topic), removed: make(map[offsets.TopicID]bool)}
}

func (s *target) Import(_ context.Context, t mirror.Topic) error {
	for i := range t.Partitions {
		l, err := s.engine.Create(offsets.Partition{Topic: t.ID, Index: i}, 0)
		if err != nil {
			return err
		}
		l.Configure(storage.Rules{TimestampAfterMaxMs: 1 << 62, TimestampBeforeMaxMs: 1 << 62})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imported[t.ID] = t
	return nil
}

func (s *target) Log(p offsets.Partition) (mirror.Log, error) {
	l, ok := s.engine.Log(p)
	if !ok {
		return nil, mirror.ErrAbsent
	}
	return targetLog{l}, nil
}

func (s *target) Reset(p offsets.Partition, start int64) error { return s.engine.Reset(p, start) }

func (s *target) Remove(_ context.Context, id offsets.TopicID) error {
	s.mu.Lock()
	s.removed[id] = true
	s.mu.Unlock()
	return s.engine.DeleteTopic(id)
}

type targetLog struct{ *storage.Log }

func (l targetLog) Replicate(raw []byte) (int64, error) {
	end, err := l.Log.Replicate(raw)
	if d := (storage.ErrDiverged{}); errors.As(err, &d) {
		err = fmt.Errorf("%w: %w", mirror.ErrDiffers, err)
	}
	return end, err
}

func (l targetLog) Bounds() mirror.Bounds {
	b := l.Log.Bounds()
	return mirror.Bounds{Start: b.Start, End: b.End, Durable: b.Durable, Epoch: b.Epoch, Leading: b.Leading, Replayed: b.Replayed}
}

func (l targetLog) Batch(at int64) (mirror.Batch, bool, error) {
	b, ok, err := l.Log.Batch(at)
	if !ok || err != nil {
		return mirror.Batch{}, ok, err
	}
	return mirror.Batch{Header: b.Header, Raw: b.Raw, At: b.At, Release: b.Release}, true, nil
}

// A rig is a mirror between a legacy cluster and a target.
type rig struct {
	t      *testing.T
	legacy mirror.Legacy
	target *target
	cfg    mirror.Config
	m      *mirror.Mirror
	stop   func()
	homes  map[offsets.Partition]int64 // seals of those whose home is the target
}

func newRig(t *testing.T, legacy mirror.Legacy, cfg mirror.Config) *rig {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &rig{t: t, legacy: legacy, target: openTarget(t, t.TempDir()), cfg: cfg, homes: make(map[offsets.Partition]int64)}
	r.start()
	return r
}

// start runs a mirror, as after a start of the server.
func (r *rig) start() {
	r.t.Helper()
	m, err := mirror.New(r.cfg, r.legacy, r.target)
	if err != nil {
		r.t.Fatal(err)
	}
	for p, seal := range r.homes {
		m.SetHome(p, offsets.Target, seal)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	r.m = m
	r.stop = func() { cancel(); <-done }
}

func (r *rig) close() {
	r.stop()
	if err := r.target.engine.Close(); err != nil {
		r.t.Error(err)
	}
}

// restart is a restart of the server; reopen closes the engine as well.
func (r *rig) restart(reopen bool) {
	r.t.Helper()
	leading := make(map[offsets.Partition]int32)
	r.stop()
	if reopen {
		for p := range r.homes {
			leading[p] = r.log(p).Bounds().Epoch
		}
		imported := r.target.imported
		if err := r.target.engine.Close(); err != nil {
			r.t.Fatal(err)
		}
		r.target = openTarget(r.t, r.target.dir)
		for _, topic := range imported {
			if err := r.target.Import(context.Background(), topic); err != nil {
				r.t.Fatal(err)
			}
		}
		for p, epoch := range leading {
			if err := r.log(p).Lead(epoch); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.start()
}

func (r *rig) log(p offsets.Partition) *storage.Log {
	r.t.Helper()
	l, ok := r.target.engine.Log(p)
	if !ok {
		r.t.Fatalf("no log of %s", p)
	}
	return l
}

// until waits for a condition, which says what is missing.
func (r *rig) until(within time.Duration, cond func() string) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for {
		missing := cond()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("after %v: %s\n%s", within, missing, r.describe())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) describe() string {
	var b bytes.Buffer
	for _, s := range r.m.All() {
		fmt.Fprintf(&b, "%s/%d home %s %s: target [%d,%d) high %d confirmed %d/%v verified %d drain %v epoch %d err %q %+v\n", s.Name, s.Partition.Index, s.Home, s.State,
			s.TargetStart, s.TargetEnd, s.LegacyHigh, s.Confirmed, s.Known, s.Verified, s.Drain, s.Epoch, s.Err, s.Counters)
	}
	return b.String()
}

func (r *rig) untilState(p offsets.Partition, want mirror.State) mirror.Status {
	r.t.Helper()
	var s mirror.Status
	r.until(time.Minute, func() string {
		var ok bool
		if s, ok = r.m.Status(p); ok && s.State == want {
			return ""
		}
		return fmt.Sprintf("%s is %s, not %s", p, s.State, want)
	})
	return s
}

// sealed waits until a seal would be given, as the flip machine asks for it: all
// ends equal, twice, digests equal, quiet.
func (r *rig) sealed(p offsets.Partition) int64 {
	r.t.Helper()
	var before mirror.Ends
	times := 0
	r.until(2*time.Minute, func() string {
		ends, err := r.m.Ends(context.Background(), []offsets.Partition{p})
		if err != nil {
			return err.Error()
		}
		e := ends[0]
		if e.Err != nil {
			times = 0
			return e.Err.Error()
		}
		if l, tg := e.Legacy, e.Target; l.LogEnd != l.HighWatermark || l.LogEnd != tg.End || tg.End != tg.Durable || !e.Digests.Equal() || !e.Quiet {
			times = 0
			return fmt.Sprintf("ends of %s are not level: %+v", p, e)
		}
		if times++; times > 1 && before.Legacy == e.Legacy {
			return ""
		}
		before = e
		return "once more"
	})
	return before.Legacy.LogEnd
}

// flip moves a partition's home to the target. Nobody writes meanwhile.
func (r *rig) flip(p offsets.Partition) {
	r.t.Helper()
	seal := r.sealed(p)
	r.homes[p] = seal
	s, _ := r.m.Status(p)
	if err := r.log(p).Lead(s.Epoch); err != nil {
		r.t.Fatal(err)
	}
	r.m.SetHome(p, offsets.Target, seal)
}

// rollback moves it back.
func (r *rig) rollback(p offsets.Partition) {
	r.t.Helper()
	r.log(p).Follow()
	end := r.sealed(p)
	delete(r.homes, p)
	r.m.SetHome(p, offsets.Legacy, end)
}

// appendTarget appends one batch as the broker does and waits for its answer.
func (r *rig) appendTarget(p offsets.Partition, raw []byte) storage.Appended {
	r.t.Helper()
	done := make(chan storage.Appended, 1)
	r.log(p).Append(raw, storage.Meta{}, func(a storage.Appended) { done <- a })
	return <-done
}

// records is a batch of a producer without an id: nothing but the mirror keeps it
// from being written twice.
func records(values ...string) []byte {
	return batchtest.Build(batchtest.Spec{Time: 1_700_000_000_000, Records: batchtest.Values(values...)})
}

// targetLog reads everything that the target holds.
func (r *rig) batches(p offsets.Partition) (all [][]byte) {
	r.t.Helper()
	l := r.log(p)
	b := l.Bounds()
	for at := b.Start; at < b.Durable; {
		got, ok, err := l.Batch(at)
		if err != nil || !ok {
			r.t.Fatalf("read target at %d: %v %v", at, ok, err)
		}
		all = append(all, append([]byte(nil), got.Raw...))
		at = got.Header.LastOffset() + 1
		got.Release()
	}
	return all
}

// equal compares logs byte for byte; the partition leader epoch is compared when
// epochs is true.
func equal(legacy, target [][]byte, epochs bool) error {
	for i := range max(len(legacy), len(target)) {
		switch {
		case i >= len(legacy):
			return fmt.Errorf("legacy has no batch like the target's at %d", header(target[i]).BaseOffset)
		case i >= len(target):
			return fmt.Errorf("the target has no batch like legacy's at %d", header(legacy[i]).BaseOffset)
		}
		a, b := bytes.Clone(legacy[i]), bytes.Clone(target[i])
		if !epochs {
			batch.SetLeaderEpoch(a, 0)
			batch.SetLeaderEpoch(b, 0)
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("batch %d differs: legacy %+v, target %+v", i, header(legacy[i]), header(target[i]))
		}
	}
	return nil
}

func firstValue(t *testing.T, raw []byte) string {
	t.Helper()
	r, _, err := batch.ReadRecord(raw[batch.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Value)
}

func setBase(raw []byte, offset int64) { batch.SetBaseOffset(raw, offset) }

// shrink takes the last record out of a batch of two, as a cleaner does: offsets
// stay.
func shrink(raw []byte) []byte {
	h := header(raw)
	first, _, _ := batch.ReadRecord(raw[batch.HeaderSize:])
	h.NumRecords = 1
	out := batchtest.Seal(h, batch.AppendRecord(nil, first))
	return out
}
