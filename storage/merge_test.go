package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch/batchtest"
	"switchback/storage/object"
)

// A clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func objectsIn(t *testing.T, cfg storage.Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "objects", "data", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestMergesKeepExtentsFew flushes a small log many times: its extents stay few,
// its bytes and what was told with them the same, and what is not needed is
// removed, but not at once.
func TestMergesKeepExtentsFew(t *testing.T) {
	now := &clock{now: epochTime}
	cfg, reference := trimmed(t.TempDir()), unsynced(t.TempDir())
	cfg.Now, reference.Now = now.read, now.read
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}, large: 10}
	r := &life{t: t, engine: open(t, reference), seq: map[offsets.Partition]int32{}, large: 10}
	const flushes = 100
	for n := range flushes {
		for _, one := range []*life{l, r} {
			one.append(one.log(lives[0]), 500)
			one.append(one.log(lives[1]), 50)
		}
		flush(t, l.engine)
		log, _ := l.engine.Log(lives[0])
		if got := log.Extents(); got > 2*8 {
			t.Fatalf("%d extents after %d flushes", got, n+1)
		}
		if n%25 == 24 {
			l.engine = reopen(t, l.engine, cfg)
			equalEngines(t, r.engine, l.engine)
		}
	}
	before := len(objectsIn(t, cfg))
	if before < flushes { // the clock stood still: all that ever were are there
		t.Fatalf("%d objects after %d flushes", before, flushes)
	}
	orphans, err := l.engine.Orphans(t.Context())
	if err != nil || len(orphans) == 0 {
		t.Fatalf("orphans %v, %v", orphans, err)
	}
	foreign := filepath.Join(cfg.Dir, "objects", "data", "somebody-else")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now.pass(6 * time.Minute)
	flush(t, l.engine)
	now.pass(6 * time.Minute)
	flush(t, l.engine)
	if got := len(objectsIn(t, cfg)); got < before {
		t.Fatalf("%d objects of %d are left: some went too early", got, before)
	}
	now.pass(6 * time.Minute)
	flush(t, l.engine)
	left := objectsIn(t, cfg)
	if len(left) > 2*16+1 {
		t.Fatalf("%d objects are left", len(left))
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Fatalf("what is not ours: %v", err)
	}
	equalEngines(t, r.engine, l.engine)
	l.engine = reopen(t, l.engine, cfg)
	equalEngines(t, r.engine, l.engine)
	for _, one := range []*life{l, r} {
		if err := one.engine.DeleteTopic(lives[0].Topic); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		flush(t, l.engine)
		now.pass(6 * time.Minute)
	}
	if got := objectsIn(t, cfg); len(got) != 1 {
		t.Fatalf("objects of a deleted topic: %v", got)
	}
	if err := errors.Join(l.engine.Close(), r.engine.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestMergeOfDamagedObjects: what cannot be read is not merged, is not lost, and
// keeps nobody else from being flushed and merged.
func TestMergeOfDamagedObjects(t *testing.T) {
	cfg := trimmed(t.TempDir())
	cfg.Now = (&clock{now: epochTime}).read
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}}
	defer func() { _ = l.engine.Close() }()
	log, other := l.log(lives[0]), l.log(lives[2])
	l.append(log, 100)
	flush(t, l.engine)
	damaged := objectsIn(t, cfg)[0]
	whole, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(whole)
	spoilt[50] ^= 1
	if err := os.WriteFile(damaged, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		l.append(log, 100)
		l.append(other, 100)
		flush(t, l.engine)
	}
	if log.Extents() != 13 || other.Extents() > 8 {
		t.Fatalf("%d extents with a damaged one, %d without", log.Extents(), other.Extents())
	}
	if err := os.WriteFile(damaged, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	l.engine = reopen(t, l.engine, cfg) // or wait ten minutes
	flush(t, l.engine)
	log, _ = l.engine.Log(lives[0])
	if log.Extents() != 1 {
		t.Fatalf("%d extents after it was repaired", log.Extents())
	}
	if n := len(readAll(t, log, 0)); n == 0 {
		t.Fatal("nothing is left")
	}
}

// TestAnotherObjectUnderTheSameKey: an object that is whole and holds something
// else is noticed by the digests when it is merged.
func TestAnotherObjectUnderTheSameKey(t *testing.T) {
	cfg := trimmed(t.TempDir())
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}}
	defer func() { _ = l.engine.Close() }()
	log := l.log(lives[0])
	l.append(log, 100)
	flush(t, l.engine)
	path := objectsIn(t, cfg)[0]
	id, err := object.ParseKey(object.Prefix + filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := object.NewWriter(&b, id, epochTime)
	w.Begin(object.Part{Topic: lives[0].Topic, Index: lives[0].Index})
	raw := batchtest.Build(batchtest.Spec{Records: batchtest.Values("another")})
	if err := errors.Join(w.Append(raw, object.Batch{}), w.Finish(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		l.append(log, 100)
		flush(t, l.engine)
	}
	if log.Extents() != 10 {
		t.Fatalf("%d extents: it was merged", log.Extents())
	}
}

// TestLargeMergesStandAlone: what is large is merged into an object of its own,
// and full ones are left alone.
func TestLargeMergesStandAlone(t *testing.T) {
	cfg := trimmed(t.TempDir()).WithMerges(2)
	cfg.SegmentBytes = 4 << 20
	l := &life{t: t, engine: open(t, cfg), seq: map[offsets.Partition]int32{}}
	defer func() { _ = l.engine.Close() }()
	log := l.log(lives[0])
	for range 6 {
		l.append(log, 3<<20)
		flush(t, l.engine)
	}
	if log.Extents() > 3 {
		t.Fatalf("%d extents", log.Extents())
	}
	l.engine = reopen(t, l.engine, cfg)
	log, _ = l.engine.Log(lives[0])
	if got := readAll(t, log, 0); len(got) < 14<<20 || strings.Count(string(got[:100]), "record") == 0 {
		t.Fatalf("%d bytes", len(got))
	}
}
