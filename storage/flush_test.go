package storage_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
	"switchback/storage/catalog"
	"switchback/storage/catalog/catalogtest"
	"switchback/storage/object"
)

func flush(t tb, e *storage.Engine) {
	t.Helper()
	if err := e.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func reopen(t tb, e *storage.Engine, cfg storage.Config) *storage.Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, cfg)
}

// A life is what many logs go through, the same for the same number.
type life struct {
	t      tb
	engine *storage.Engine
	seq    map[offsets.Partition]int32
	large  int // bytes of the large log's batches; default 3 MiB, which makes objects of its own
}

// partitions of a life: one that grows large, some small ones, one that comes and
// goes.
var lives = []offsets.Partition{
	{Topic: offsets.TopicID{1}, Index: 0}, {Topic: offsets.TopicID{1}, Index: 1},
	{Topic: offsets.TopicID{2}, Index: 0}, {Topic: offsets.TopicID{3}, Index: 7},
}

func (l *life) log(p offsets.Partition) *storage.Log {
	l.t.Helper()
	log, err := l.engine.Create(p, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	log.Configure(storage.Rules{MaxMessageBytes: 8 << 20})
	lead(l.t, log, log.Bounds().Epoch+1)
	return log
}

func (l *life) append(log *storage.Log, size int) {
	l.t.Helper()
	p := log.Partition()
	raw := batchtest.Build(batchtest.Spec{
		Producer: 5, Sequence: l.seq[p], Time: epochTime.UnixMilli() + int64(l.seq[p]),
		Records: batchtest.Values(strings.Repeat(numbered(int(l.seq[p])), 1+size/10)),
	})
	ch := make(chan storage.Appended, 1)
	log.Append(raw, storage.Meta{Principal: fmt.Sprint("user", l.seq[p]%3), ProduceVersion: 9}, func(a storage.Appended) { ch <- a })
	if a := receive(l.t, ch); a.Err != nil {
		l.t.Fatal(a.Err)
	}
	l.seq[p]++
}

// round is one stretch of the life, at most steps of which lie between two flushes.
func (l *life) round(n int) {
	large := l.log(lives[0])
	for range 3 {
		l.append(large, cmp.Or(l.large, 3<<20))
	}
	small := l.log(lives[1])
	for range 5 + n {
		l.append(small, 100)
	}
	switch n {
	case 1:
		if _, err := small.DeleteBefore(4); err != nil {
			l.t.Fatal(err)
		}
	case 2:
		small.Replayed(small.Bounds().Durable - 3)
		if _, err := large.DeleteBefore(5); err != nil {
			l.t.Fatal(err)
		}
	case 4:
		small.Follow()
		if err := l.engine.Reset(lives[1], 1000); err != nil {
			l.t.Fatal(err)
		}
		l.seq[lives[1]] = 0
	}
	if n%2 == 0 {
		l.append(l.log(lives[2]), 10)
	} else {
		if err := l.engine.DeleteTopic(lives[2].Topic); err != nil {
			l.t.Fatal(err)
		}
		l.seq[lives[2]] = 0
	}
	if n == 3 { // is there for good, and has no batch
		l.log(lives[3])
	}
}

// equalEngines compares everything that can be asked about the logs of a life.
func equalEngines(t tb, want, got *storage.Engine) {
	t.Helper()
	for _, p := range lives {
		a, ok := want.Log(p)
		b, there := got.Log(p)
		if ok != there {
			t.Fatalf("log %s: there %v, want %v", p, there, ok)
		}
		if !ok {
			continue
		}
		x, y := a.Bounds(), b.Bounds()
		if x.Leading, y.Leading = false, false; x.Replayed != y.Replayed && y.Replayed == 0 { // a mark may be lost
			x.Replayed = 0
		}
		if x != y {
			t.Fatalf("log %s: bounds %+v, want %+v", p, y, x)
		}
		if diff := gocmp.Diff(a.Epochs(), b.Epochs(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("log %s: epochs %s", p, diff)
		}
		if diff := gocmp.Diff(a.Producers(), b.Producers()); diff != "" {
			t.Fatalf("log %s: producers %s", p, diff)
		}
		if !bytes.Equal(readAll(t, a, x.Start), readAll(t, b, y.Start)) {
			t.Fatalf("log %s holds other bytes", p)
		}
		for at := x.Start; at <= x.End; at++ {
			d, ok := a.Digest(at)
			if other, there := b.Digest(at); ok != there || !d.Equal(other) {
				t.Fatalf("log %s: digest at %d is %+v, %v, want %+v, %v", p, at, other, there, d, ok)
			}
		}
		for at := max(x.Start, y.Replayed); at < x.End; at++ {
			one, _, err := a.Batch(at)
			other, ok, otherErr := b.Batch(at)
			if err != nil || otherErr != nil || !ok || one.Meta != other.Meta || !one.At.Equal(other.At) || !bytes.Equal(one.Raw, other.Raw) {
				t.Fatalf("log %s: batch at %d is %+v, %v, want %+v, %v", p, at, other.Meta, otherErr, one.Meta, err)
			}
			one.Release()
			other.Release()
		}
	}
}

// TestCrashAtEveryStepOfAFlush copies the files at every step of every flush of a
// life, opens the copy, and wants to find everything that was acknowledged, once
// and again after the copy has been flushed and opened once more.
func TestCrashAtEveryStepOfAFlush(t *testing.T) {
	dir := t.TempDir()
	l := &life{t: t, seq: map[offsets.Partition]int32{}}
	seen := map[string]int{}
	cfg := trimmed(dir).WithMerges(2).WithSteps(func(step string) {
		seen[step]++
		left := t.TempDir()
		copyFolder(t, dir, left)
		e := open(t, trimmed(left).WithMerges(2))
		equalEngines(t, l.engine, e)
		flush(t, e)
		equalEngines(t, l.engine, e)
		e = reopen(t, e, trimmed(left))
		equalEngines(t, l.engine, e)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(left); err != nil {
			t.Error(err)
		}
	})
	cfg.SegmentBytes = 4 << 20
	l.engine = open(t, cfg)
	rounds := 3
	if !testing.Short() {
		rounds = 6
	}
	for n := range rounds {
		l.round(n)
		flush(t, l.engine)
	}
	for _, step := range []string{"captured", "written", "committed", "needed", "trimmed", "merged"} {
		if least := map[bool]int{false: rounds, true: 1}[step == "merged"]; seen[step] < least {
			t.Errorf("step %s was seen %d times in %d flushes", step, seen[step], rounds)
		}
	}
	if err := l.engine.Close(); err != nil {
		t.Fatal(err)
	}
	if segments := segmentsOf(t, dir); len(segments) > 2 {
		t.Errorf("the write-ahead log keeps %v", segments)
	}
}

func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestUnknownCommits makes each transaction of a life end unknown in turn, having
// happened or not.
func TestUnknownCommits(t *testing.T) {
	run := func(outcome catalogtest.Outcome, nth int) (transactions int) {
		dir, reference := t.TempDir(), t.TempDir()
		bolt, err := catalog.OpenBolt(filepath.Join(dir, "elsewhere.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer bolt.Close()
		unknown := catalogtest.NewUnknown(bolt, catalogtest.Nth(nth, outcome))
		cfg := trimmed(dir)
		cfg.Catalog, cfg.SegmentBytes = unknown, 128<<10
		l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}, large: 50 << 10}
		r := &life{t: t, engine: open(t, unsynced(reference)), seq: map[offsets.Partition]int32{}, large: 50 << 10}
		for n := range 3 {
			l.round(n)
			r.round(n)
			flush(t, l.engine)
			equalEngines(t, r.engine, l.engine)
		}
		l.engine = reopen(t, l.engine, cfg)
		equalEngines(t, r.engine, l.engine)
		if err := errors.Join(l.engine.Close(), r.engine.Close()); err != nil {
			t.Fatal(err)
		}
		return unknown.Count()
	}
	total := run(catalogtest.Pass, -1)
	for nth := range total {
		for _, o := range []catalogtest.Outcome{catalogtest.Before, catalogtest.After} {
			run(o, nth)
		}
	}
}

// A store with faults: fail is asked before every Put.
type faulty struct {
	object.Store
	mu   sync.Mutex
	fail func(key string) (before, after error)
	puts []string
}

func (f *faulty) Put(ctx context.Context, key string, body io.Reader) (int64, error) {
	f.mu.Lock()
	fail := f.fail
	f.puts = append(f.puts, key)
	f.mu.Unlock()
	before, after := fail(key)
	if before != nil {
		return 0, before
	}
	n, err := f.Store.Put(ctx, key, body)
	return n, errors.Join(err, after)
}

func (f *faulty) set(fail func(key string) (before, after error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// TestFlushOutlivesTheStore: as long as the store does not take anything, nothing
// is lost and the WAL keeps everything; what it took without saying so is in
// nobody's way.
func TestFlushOutlivesTheStore(t *testing.T) {
	dir, reference := t.TempDir(), t.TempDir()
	under, err := object.OpenDir(filepath.Join(dir, "elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	store := &faulty{Store: under}
	cfg := trimmed(dir)
	cfg.Store, cfg.SegmentBytes = store, 4<<20
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}}
	r := &life{t: t, engine: open(t, unsynced(reference)), seq: map[offsets.Partition]int32{}}
	broken := errors.New("store is down")
	for n, fail := range []func(string) (error, error){
		func(string) (error, error) { return broken, nil },
		func(string) (error, error) { return nil, broken },
		func(string) (error, error) { // every other one
			store.mu.Lock()
			defer store.mu.Unlock()
			if len(store.puts)%2 == 0 {
				return broken, nil
			}
			return nil, nil
		},
	} {
		store.set(fail)
		before := len(segmentsOf(t, dir))
		l.round(n)
		r.round(n)
		if err := l.engine.Flush(t.Context()); !errors.Is(err, broken) && n < 2 {
			t.Fatalf("round %d: Flush = %v", n, err)
		}
		if after := len(segmentsOf(t, dir)); after < before {
			t.Fatalf("round %d: %d segments of %d are left", n, after, before)
		}
		equalEngines(t, r.engine, l.engine)
		l.engine = reopen(t, l.engine, cfg)
		equalEngines(t, r.engine, l.engine)
	}
	store.set(func(string) (error, error) { return nil, nil })
	flush(t, l.engine)
	l.engine = reopen(t, l.engine, cfg)
	equalEngines(t, r.engine, l.engine)
	if err := errors.Join(l.engine.Close(), r.engine.Close()); err != nil {
		t.Fatal(err)
	}
}

// cold is an engine whose partition has count batches in one object, and nothing
// in the WAL.
func cold(t *testing.T, count, size int) (*storage.Engine, *storage.Log, storage.Config) {
	t.Helper()
	cfg := trimmed(t.TempDir())
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}}
	log := l.log(partition)
	for range count {
		l.append(log, size)
	}
	flush(t, l.engine)
	e := reopen(t, l.engine, cfg)
	t.Cleanup(func() { _ = e.Close() })
	log, _ = e.Log(partition)
	if log.Hot(0) || log.Extents() != 1 {
		t.Fatalf("hot %v, %d extents", log.Hot(0), log.Extents())
	}
	return e, log, cfg
}

func objectFile(t *testing.T, cfg storage.Config) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "objects", "data", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("objects %v, %v", files, err)
	}
	return files[0]
}

// TestDamagedObjects: every question about what cannot be read gets an error that
// names the log and the object, never a shorter answer; it is answered again when
// the object is there again.
func TestDamagedObjects(t *testing.T) {
	ask := map[string]func(l *storage.Log) error{
		"read":    func(l *storage.Log) error { _, err := l.Read(3, 1<<20, true, false); return err },
		"batch":   func(l *storage.Log) error { _, _, err := l.Batch(3); return err },
		"entries": func(l *storage.Log) error { _, err := l.Entries(3, 5); return err },
		"time":    func(l *storage.Log) error { _, _, err := l.OffsetForTime(epochTime.UnixMilli() + 3); return err },
		"largest": func(l *storage.Log) error { _, _, err := l.MaxTimestampOffset(); return err },
		"replica": func(l *storage.Log) error {
			l.Follow()
			_, err := l.Replicate(batchtest.Build(batchtest.Spec{Base: 3, Records: batchtest.Values("x")}))
			return err
		},
	}
	damage := map[string]func(whole []byte, path string) error{
		"missing": func(_ []byte, path string) error { return os.Remove(path) },
		"cut":     func(b []byte, path string) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"empty":   func(_ []byte, path string) error { return os.WriteFile(path, nil, 0o600) },
		"flipped": func(b []byte, path string) error {
			b = bytes.Clone(b)
			b[100] ^= 1 // of the first block
			return os.WriteFile(path, b, 0o600)
		},
	}
	for how, spoil := range damage {
		for what, question := range ask {
			t.Run(how+" "+what, func(t *testing.T) {
				_, log, cfg := cold(t, 10, 100)
				path := objectFile(t, cfg)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := spoil(whole, path); err != nil {
					t.Fatal(err)
				}
				err = question(log)
				if err == nil || errors.As(err, &storage.ErrDiverged{}) || errors.As(err, &storage.ErrOffsetOutOfRange{}) {
					t.Fatalf("answer: %v", err)
				}
				for _, name := range []string{partition.String(), filepath.Base(path)} {
					if !strings.Contains(err.Error(), name) {
						t.Errorf("%q does not name %s", err, name)
					}
				}
				if _, ok := log.Digest(3); ok {
					t.Error("a digest of what cannot be read")
				}
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := question(log); err != nil && !errors.As(err, &storage.ErrDiverged{}) {
					t.Fatalf("after it was repaired: %v", err)
				}
			})
		}
	}
}

// TestLargeMemory: what does not fit into the catalog is in an object, and found
// again by flushes that write none.
func TestLargeMemory(t *testing.T) {
	cfg := trimmed(t.TempDir())
	e := open(t, cfg)
	l := create(t, e, 0)
	lead(t, l, 0)
	const producers = 500
	send := func(l *storage.Log, producer int, sequence int32) storage.Appended {
		return appendNow(t, l, batchtest.Build(batchtest.Spec{
			Producer: int64(producer), Sequence: sequence, Time: epochTime.UnixMilli(), Records: batchtest.Values("x"),
		}))
	}
	for p := 1; p <= producers; p++ {
		if a := send(l, p, 0); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	want := l.Producers()
	for round := range 3 {
		flush(t, e)
		if _, err := l.DeleteBefore(int64(round + 1)); err != nil { // dirty, without a batch
			t.Fatal(err)
		}
		flush(t, e)
		e = reopen(t, e, cfg)
		l, _ = e.Log(partition)
		if diff := gocmp.Diff(want, l.Producers()); diff != "" {
			t.Fatal(diff)
		}
		lead(t, l, int32(round+1))
		for _, p := range []int{1, producers / 2, producers} {
			if a := send(l, p, 0); !a.Duplicate || a.Base != int64(p-1) {
				t.Fatalf("producer %d again: %+v", p, a)
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadersAndWritersDuringFlushes lets everything happen at once, with a WAL
// that drops what it can: readers must always find what was acknowledged.
func TestReadersAndWritersDuringFlushes(t *testing.T) {
	var flushes atomic.Int64
	cfg := trimmed(t.TempDir()).WithSteps(func(step string) {
		if step == "trimmed" {
			flushes.Add(1)
		}
	})
	cfg.FlushBytes = 128 << 10
	e := open(t, cfg)
	duration := time.Second
	if testing.Short() {
		duration = 300 * time.Millisecond
	}
	stop, late := time.Now().Add(duration), time.Now().Add(patience)
	goOn := func() bool { return time.Now().Before(stop) || flushes.Load() < 4 && time.Now().Before(late) }
	var all sync.WaitGroup
	var logs []*storage.Log
	for n := range 3 {
		l, err := e.Create(offsets.Partition{Topic: offsets.TopicID{9}, Index: int32(n)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		lead(t, l, 0)
		logs = append(logs, l)
	}
	for n, l := range logs {
		all.Go(func() {
			var sent sync.WaitGroup
			for i := 0; goOn(); i++ {
				raw := batchtest.Build(batchtest.Spec{Records: batchtest.Values(strings.Repeat(numbered(i), 1+i%300))})
				sent.Add(1)
				l.Append(raw, storage.Meta{}, func(a storage.Appended) {
					if a.Err != nil || a.Base != int64(i) {
						t.Errorf("log %d: %+v, want offset %d", n, a, i)
					}
					sent.Done()
				})
			}
			sent.Wait()
		})
		for seed := range uint64(2) {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(n)))
				for goOn() {
					lookAround(t, l, random)
				}
			})
		}
	}
	all.Wait()
	flush(t, e)
	if flushes.Load() < 4 {
		t.Errorf("%d flushes meanwhile", flushes.Load())
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// lookAround reads somewhere and checks that record n is at offset n.
func lookAround(t *testing.T, l *storage.Log, random *rand.Rand) {
	end := l.Bounds().Durable
	if end == 0 {
		return
	}
	from := random.Int64N(end)
	c, err := l.Read(from, 64<<10, true, false)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Release()
	next := from
	for _, s := range c.Segments {
		err := batch.Walk(s, func(h batch.Header, raw []byte) error {
			r, _, err := batch.ReadRecord(raw[batch.HeaderSize:])
			if err == nil && (h.BaseOffset != next || !strings.HasPrefix(string(r.Value), numbered(int(next)))) {
				err = fmt.Errorf("batch at %d with %.20q where %d was expected", h.BaseOffset, r.Value, next)
			}
			next++
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if next != c.Next || next == from {
		t.Errorf("read from %d to %d, next is %d", from, next, c.Next)
	}
	if b, ok, err := l.Batch(from); err != nil || !ok || b.Header.BaseOffset != from {
		t.Errorf("batch at %d: %d, %v, %v", from, b.Header.BaseOffset, ok, err)
	} else {
		b.Release()
	}
	if listed, err := l.Entries(from, 20); err != nil || len(listed) == 0 || listed[0].Base != from {
		t.Errorf("entries from %d: %v, %v", from, listed, err)
	}
	if _, ok := l.Digest(from); !ok {
		t.Errorf("no digest at %d", from)
	}
}

func TestOpenRefusesACatalogOfAnotherFolder(t *testing.T) {
	shared, err := catalog.OpenBolt(filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	first, second := trimmed(t.TempDir()), trimmed(t.TempDir())
	first.Catalog, second.Catalog = shared, shared
	e := open(t, first)
	if _, err := storage.Open(second); !errors.Is(err, storage.ErrForeign) {
		t.Fatalf("Open = %v", err)
	}
	// Somebody who goes about the lock, as with a copied folder.
	create(t, e, 0)
	kv, err := shared.Get(t.Context(), "storage/folder")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Put(t.Context(), shared, kv); err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Fatalf("Flush = %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRefusesAnotherStore: objects that are somewhere else would be missed only when they are read.
func TestOpenRefusesAnotherStore(t *testing.T) {
	store, err := object.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	own := trimmed(t.TempDir())
	named := own
	named.Store, named.StoreName = store, "s3://bucket/a"
	for _, c := range []struct{ first, second storage.Config }{{own, named}, {named, own}} {
		dir := t.TempDir()
		c.first.Dir, c.second.Dir = dir, dir
		if err := open(t, c.first).Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Open(c.second); !errors.Is(err, storage.ErrElsewhere) || !strings.Contains(err.Error(), "s3://bucket/a") {
			t.Errorf("Open = %v", err)
		}
		if err := open(t, c.first).Close(); err != nil {
			t.Fatal(err)
		}
	}
}
