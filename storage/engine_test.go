package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
	"switchback/storage/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpenRefusesALockedFolder(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	if _, err := storage.Open(config(dir)); !errors.Is(err, storage.ErrLocked) {
		t.Fatalf("second engine: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesAForeignFolder(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	create(t, e, 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := config(dir)
	cfg.ClusterID = "another"
	if _, err := storage.Open(cfg); !errors.Is(err, storage.ErrForeign) {
		t.Fatalf("another cluster: %v", err)
	}
	e = open(t, config(dir)) // and the refusal let go of the lock
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	made := t.TempDir()
	e := open(t, config(made))
	l := create(t, e, 0)
	lead(t, l, 0)
	for n := range 20 {
		appendNow(t, l, batchtest.Build(batchtest.Spec{Records: batchtest.Values(numbered(n))}))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join("wal", "0000000000000001.wal")
	for name, c := range map[string]struct {
		file   string
		change func(b []byte) []byte
		least  int64 // offset that is told
	}{
		"flip in the middle": {segment, func(b []byte) []byte { b[4096+5*512+60] ^= 1; return b }, 4096},
		"no folder file":     {"FOLDER", func([]byte) []byte { return nil }, 0},
		"folder file cut":    {"FOLDER", func(b []byte) []byte { return b[:20] }, 0},
		"folder id cut":      {"FOLDER", func(b []byte) []byte { return bytes.Replace(b, []byte(`_id": "`), []byte(`_id": "0`), 2) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, made, dir)
			path := filepath.Join(dir, c.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if b = c.change(b); b == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(dir)
			if name == "folder id cut" {
				cfg.ClusterID = "0legacy"
			}
			_, err = storage.Open(cfg)
			var corrupt *storage.CorruptError
			if !errors.As(err, &corrupt) || corrupt.File != path || corrupt.Offset < c.least || corrupt.Hint() == "" {
				t.Fatalf("Open = %v", err)
			}
		})
	}
}

func TestCreateDeleteReset(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	one := func() []byte { return batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")}) }
	l := create(t, e, 5)
	if again := create(t, e, 99); again != l || again.Bounds().Start != 5 {
		t.Fatal("a second Create made another log")
	}
	sibling := offsets.Partition{Topic: partition.Topic, Index: 4}
	stranger := offsets.Partition{Topic: offsets.TopicID{2}}
	for _, p := range []offsets.Partition{sibling, stranger} {
		if err := e.Reset(p, 7); err != nil { // creates
			t.Fatal(err)
		}
	}
	lead(t, l, 1)
	appendNow(t, l, one())
	if err := e.Reset(partition, 0); !errors.Is(err, storage.ErrLeading) {
		t.Fatalf("Reset while leading: %v", err)
	}
	l.Follow()
	if err := e.Reset(partition, 50); err != nil {
		t.Fatal(err)
	}
	if b := l.Bounds(); b.Start != 50 || b.End != 50 || b.Epoch != -1 || l.Size() != 0 {
		t.Fatalf("after Reset: %+v", b)
	}
	lead(t, l, 3)
	if a := appendNow(t, l, one()); a.Base != 50 || a.LogStart != 50 {
		t.Fatalf("after Reset: %+v", a)
	}

	if err := e.DeleteTopic(partition.Topic); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteTopic(partition.Topic); err != nil {
		t.Fatalf("again: %v", err)
	}
	if a := appendNow(t, l, one()); !errors.Is(a.Err, storage.ErrDeleted) {
		t.Fatalf("append to a deleted topic: %+v", a)
	}
	if _, err := l.Read(50, 100, true, false); !errors.Is(err, storage.ErrDeleted) {
		t.Fatalf("read of a deleted topic: %v", err)
	}
	if _, err := l.Replicate(one()); !errors.Is(err, storage.ErrDeleted) {
		t.Fatalf("replica of a deleted topic: %v", err)
	}
	check := func(e *storage.Engine, reborn bool) {
		t.Helper()
		if _, ok := e.Log(partition); ok != reborn {
			t.Fatalf("the deleted partition is there: %v", ok)
		}
		if _, ok := e.Log(sibling); ok {
			t.Fatal("its sibling is there")
		}
		if l, ok := e.Log(stranger); !ok || l.Bounds().Start != 7 {
			t.Fatal("another topic is gone")
		}
	}
	check(e, false)
	fresh := create(t, e, 2)
	if fresh == l || fresh.Bounds().End != 2 {
		t.Fatal("the old log came back")
	}
	check(e, true)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	defer e.Close()
	check(e, true)
}

func TestClosedEngineRefuses(t *testing.T) {
	e := open(t, config(t.TempDir()))
	l := create(t, e, 0)
	lead(t, l, 0)
	raw := batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")})
	appendNow(t, l, bytes.Clone(raw))
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if a := appendNow(t, l, bytes.Clone(raw)); !errors.Is(a.Err, storage.ErrClosed) {
		t.Fatalf("Append: %+v", a)
	}
	if a := appendNow(t, l, raw[:10]); !errors.Is(a.Err, storage.ErrClosed) && !errors.Is(a.Err, storage.ErrInvalidRecord) {
		t.Fatalf("Append of nonsense: %+v", a)
	}
	_, replica := l.Replicate(raw)
	_, read := l.Read(0, 100, true, false)
	_, _, one := l.Batch(0)
	_, deleted := l.DeleteBefore(1)
	_, created := e.Create(offsets.Partition{Topic: offsets.TopicID{9}}, 0)
	for what, err := range map[string]error{
		"Replicate": replica, "Read": read, "Batch": one, "DeleteBefore": deleted, "Create": created,
		"Lead": l.Lead(5), "LearnEpoch": l.LearnEpoch(9, 9), "DeleteTopic": e.DeleteTopic(partition.Topic), "Reset": e.Reset(partition, 0),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A dying disk: everybody in flight is told, nothing is acknowledged afterwards,
// and what was acknowledged is there after the next Open.
func TestDeadEngine(t *testing.T) {
	dir := t.TempDir()
	disk := &disk{}
	e := open(t, config(dir).WithFiles(disk.open))
	l := create(t, e, 0)
	lead(t, l, 0)
	spec := func(n int) []byte {
		return batchtest.Build(batchtest.Spec{Producer: 1, Sequence: int32(n), Records: batchtest.Values(numbered(n))})
	}
	for n := range 10 {
		if a := appendNow(t, l, spec(n)); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	disk.fail()
	var got answers
	for n := 10; n < 20; n++ {
		l.Append(spec(n), storage.Meta{}, got.done())
	}
	got.wg.Wait()
	for _, a := range got.all {
		if !errors.Is(a.Err, storage.ErrDead) {
			t.Fatalf("%+v", a)
		}
	}
	<-e.Dead()
	if err := e.Err(); !errors.Is(err, storage.ErrDead) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Err = %v", err)
	}
	if a := appendNow(t, l, spec(3)); !errors.Is(a.Err, storage.ErrDead) {
		t.Fatalf("a duplicate is answered by a dead engine: %+v", a)
	}
	if err := l.Lead(9); !errors.Is(err, storage.ErrDead) {
		t.Fatalf("Lead = %v", err)
	}
	if b := l.Bounds(); b.Durable != 10 {
		t.Fatalf("bounds %+v", b)
	}
	if n := len(readAll(t, l, 0)); n == 0 {
		t.Fatal("what is durable cannot be read")
	}
	if err := e.Close(); !errors.Is(err, storage.ErrDead) {
		t.Fatalf("Close = %v", err)
	}
	e = open(t, config(dir))
	defer e.Close()
	l, _ = e.Log(partition)
	if b := l.Bounds(); b.Durable < 10 || b.Durable > 20 { // written, but never synced: may be there
		t.Fatalf("after Open: %+v", b)
	}
}

// A reset while batches are on their way to the disk: they must not come back.
func TestResetOvertakesWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	disk := &disk{}
	e := open(t, config(dir).WithFiles(disk.open))
	l := create(t, e, 0)
	resume := disk.hold()
	for n := range int64(3) {
		if _, err := l.Replicate(batchtest.Build(batchtest.Spec{Base: n, Records: batchtest.Values(numbered(int(n)))})); err != nil {
			t.Fatal(err)
		}
	}
	reset := make(chan error, 1)
	moved := make(chan struct{}, 1)
	defer l.Subscribe(moved)()
	go func() { reset <- e.Reset(partition, 100) }()
	for l.Bounds().Start != 100 {
		receive(t, moved)
	}
	want := batchtest.Build(batchtest.Spec{Base: 100, Records: batchtest.Values("new")})
	if _, err := l.Replicate(want); err != nil {
		t.Fatal(err)
	}
	resume()
	if err := receive(t, reset); err != nil {
		t.Fatal(err)
	}
	durable(t, l)
	check := func() {
		t.Helper()
		if b := l.Bounds(); b.Start != 100 || b.Durable != 101 || !bytes.Equal(readAll(t, l, 100), want) {
			t.Fatalf("after the reset: %+v", b)
		}
	}
	check()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	defer e.Close()
	l, _ = e.Log(partition)
	check()
}

// A disk that fails, or that takes its time.
type disk struct {
	mu   sync.Mutex
	dead bool
}

// hold makes syncs wait until resume is called.
func (d *disk) hold() (resume func()) {
	d.mu.Lock()
	return d.mu.Unlock
}

func (d *disk) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

func (d *disk) open(name string, flag int) (wal.File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	return &diskFile{f, d}, err
}

type diskFile struct {
	*os.File
	disk *disk
}

func (f *diskFile) Datasync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.dead {
		return fmt.Errorf("planted: %w", syscall.EIO)
	}
	return f.Sync()
}

func TestSubscribe(t *testing.T) {
	e := engine(t)
	l := create(t, e, 0)
	ch := make(chan struct{}, 1)
	cancel := l.Subscribe(ch)
	for _, move := range []func(){
		func() { lead(t, l, 1) },
		func() { appendNow(t, l, batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")})) },
		func() { l.Follow() },
		func() {
			if _, err := l.DeleteBefore(-1); err != nil {
				t.Fatal(err)
			}
		},
	} {
		move()
		receive(t, ch)
	}
	cancel()
	cancel()
	for len(ch) > 0 {
		<-ch
	}
	l.Follow()
	if len(ch) != 0 {
		t.Fatal("woken after cancel")
	}
}

func TestDeleteBefore(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	l := create(t, e, 0)
	lead(t, l, 2)
	for range 5 {
		appendNow(t, l, batchtest.Build(batchtest.Spec{Records: batchtest.Values("a", "b")}))
	}
	if _, err := l.DeleteBefore(11); !errors.As(err, &storage.ErrOffsetOutOfRange{}) {
		t.Fatalf("beyond the end: %v", err)
	}
	before, _ := l.Digest(10)
	for _, c := range []struct{ to, want int64 }{{3, 3}, {2, 3}, {0, 3}, {4, 4}} {
		if start, err := l.DeleteBefore(c.to); err != nil || start != c.want {
			t.Fatalf("DeleteBefore(%d) = %d, %v", c.to, start, err)
		}
	}
	if _, err := l.Read(3, 100, true, false); !errors.As(err, &storage.ErrOffsetOutOfRange{}) {
		t.Fatalf("read below the start: %v", err)
	}
	c, err := l.Read(4, 1, true, false)
	if err != nil || header(t, c.Segments[0]).BaseOffset != 4 {
		t.Fatalf("read at the start: %+v, %v", c, err)
	}
	c.Release()
	c.Release()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	defer e.Close()
	l, _ = e.Log(partition)
	if b := l.Bounds(); b.Start != 4 || b.End != 10 {
		t.Fatalf("after a restart: %+v", b)
	}
	if after, ok := l.Digest(10); !ok || !after.Equal(before) {
		t.Fatalf("digest %+v, was %+v", after, before)
	}
	if start, err := l.DeleteBefore(-1); err != nil || start != 10 {
		t.Fatalf("DeleteBefore(-1) = %d, %v", start, err)
	}
	if got := l.Epochs(); len(got) != 1 || got[0] != (offsets.EpochStart{Epoch: 2, Start: 10}) {
		t.Fatalf("epochs %v", got)
	}
}

// Legacy's log may start in the middle of a batch.
func TestFirstReplicaMayBeginBelowTheStart(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	l := create(t, e, 1000)
	below := batchtest.Build(batchtest.Spec{Base: 900, Records: batchtest.Values("a")})
	replicate(t, l, below) // nothing to compare with, nothing to keep
	around := batchtest.Build(batchtest.Spec{Base: 998, Records: batchtest.Values("a", "b", "c", "d")})
	replicate(t, l, around)
	replicate(t, l, around)
	check := func() {
		t.Helper()
		if b := l.Bounds(); b.Start != 1000 || b.End != 1002 {
			t.Fatalf("bounds %+v", b)
		}
		if !bytes.Equal(readAll(t, l, 1000), around) {
			t.Fatal("the batch is not there")
		}
	}
	check()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	defer e.Close()
	l, _ = e.Log(partition)
	check()
}

func TestReplicateRefuses(t *testing.T) {
	l := create(t, engine(t), 0)
	good := batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")})
	next := batchtest.Build(batchtest.Spec{Base: 1, Records: batchtest.Values("b")})
	bad := bytes.Clone(next)
	bad[len(bad)-1] ^= 1
	old := bytes.Clone(next)
	old[16] = 1
	for what, raw := range map[string][]byte{"checksum": bad, "magic": old} {
		if err := e2(l.Replicate(append(bytes.Clone(good), raw...))); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if err := e2(l.Replicate(bad)); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("checksum: %v", err)
	}
	// A partial batch at the end is left out; leading, nothing is taken.
	if end, err := l.Replicate(append(bytes.Clone(next), next[:30]...)); err != nil || end != 2 {
		t.Fatalf("Replicate = %d, %v", end, err)
	}
	lead(t, l, 0)
	more := batchtest.Build(batchtest.Spec{Base: 2, Records: batchtest.Values("c")})
	if err := e2(l.Replicate(more)); !errors.Is(err, storage.ErrLeading) {
		t.Fatalf("while leading: %v", err)
	}
	if err := e2(l.Replicate(next)); err != nil {
		t.Fatalf("what is there, while leading: %v", err)
	}
	marker := batchtest.Marker(2, 0, 7, 0, batch.MarkerCommit, 5)
	if end, err := l.Replicate(marker); err != nil || end != 3 {
		t.Fatalf("a marker at the end, while leading: %d, %v", end, err)
	}
}

func e2(_ int64, err error) error { return err }

func TestTransactional(t *testing.T) {
	l := create(t, engine(t), 0)
	replicate(t, l, batchtest.Build(batchtest.Spec{Producer: 3, Records: batchtest.Values("a")}))
	if l.Transactional() {
		t.Fatal("an idempotent producer counts as transactional")
	}
	replicate(t, l, batchtest.Build(batchtest.Spec{Base: 1, Producer: 4, Attributes: batch.TransactionalFlag, Records: batchtest.Values("a")}))
	if !l.Transactional() || l.Bounds().Stable != 1 {
		t.Fatalf("%v, %+v", l.Transactional(), l.Bounds())
	}
}

// A batch larger than the queue, and than a segment, gets through both ways.
func TestLargeBatches(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.QueueBytes = 1 << 20
	e := open(t, cfg)
	l := create(t, e, 0)
	lead(t, l, 0)
	l.Configure(storage.Rules{MaxMessageBytes: 8 << 20})
	big := func(base int64) []byte {
		return batchtest.Build(batchtest.Spec{Base: base, Records: []batch.Record{{Value: bytes.Repeat([]byte("x"), 3<<20)}}})
	}
	small := batchtest.Build(batchtest.Spec{Base: 1, Records: batchtest.Values("small")})
	if a := appendNow(t, l, big(0)); a.Err != nil {
		t.Fatal(a.Err)
	}
	l.Follow()
	replicate(t, l, append(append(bytes.Clone(small), big(2)...), batchtest.Build(batchtest.Spec{Base: 3, Records: batchtest.Values("small")})...))
	want := readAll(t, l, 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, cfg)
	defer e.Close()
	l, _ = e.Log(partition)
	if got := readAll(t, l, 0); !bytes.Equal(got, want) || l.Bounds().End != 4 {
		t.Fatal("not the same after a restart")
	}
}
