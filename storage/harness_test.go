package storage_test

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

// tb is what testing.TB and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// epochTime is the clock of tests that do not care.
var epochTime = time.UnixMilli(1_700_000_000_000)

func config(dir string) storage.Config {
	return storage.Config{
		Dir: dir, ClusterID: "legacy", SegmentBytes: 64 << 10,
		Now:    func() time.Time { return epochTime },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// unsynced is config without the wait for the disk, for tests in which the
// machine stays up.
func unsynced(dir string) storage.Config {
	return config(dir).WithFiles(func(name string, flag int) (wal.File, error) {
		f, err := os.OpenFile(name, flag, 0o600)
		return unsyncedFile{f}, err
	})
}

// trimmed is unsynced with a WAL that keeps nothing that objects have.
func trimmed(dir string) storage.Config {
	cfg := unsynced(dir)
	cfg.KeepBytes = -1
	return cfg
}

type unsyncedFile struct{ *os.File }

func (unsyncedFile) Datasync() error { return nil }

func open(t tb, cfg storage.Config) *storage.Engine {
	t.Helper()
	e, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// engine is one that the test's end closes.
func engine(t *testing.T) *storage.Engine {
	t.Helper()
	e := open(t, config(t.TempDir()))
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

var partition = offsets.Partition{Topic: offsets.TopicID{1}, Index: 3}

func create(t tb, e *storage.Engine, start int64) *storage.Log {
	t.Helper()
	l, err := e.Create(partition, start)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// leader is a log that is open for appends.
func leader(t *testing.T) *storage.Log {
	t.Helper()
	l := create(t, engine(t), 0)
	lead(t, l, 0)
	return l
}

func lead(t tb, l *storage.Log, epoch int32) {
	t.Helper()
	if err := l.Lead(epoch); err != nil {
		t.Fatal(err)
	}
}

// appendNow waits for the answer.
func appendNow(t tb, l *storage.Log, raw []byte) storage.Appended {
	t.Helper()
	ch := make(chan storage.Appended, 1)
	l.Append(raw, storage.Meta{}, func(a storage.Appended) { ch <- a })
	return receive(t, ch)
}

func replicate(t tb, l *storage.Log, raw []byte) {
	t.Helper()
	if _, err := l.Replicate(raw); err != nil {
		t.Fatal(err)
	}
	durable(t, l)
}

const patience = 20 * time.Second

func receive[T any](t tb, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("no answer")
		panic("unreachable")
	}
}

// durable waits until everything in the log is.
func durable(t tb, l *storage.Log) {
	t.Helper()
	moved := make(chan struct{}, 1)
	defer l.Subscribe(moved)()
	deadline := time.After(patience)
	for {
		if b := l.Bounds(); b.Durable == b.End {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			t.Fatalf("not durable: %+v", l.Bounds())
		}
	}
}

// readAll is the bytes of the whole log from an offset on.
func readAll(t tb, l *storage.Log, from int64) []byte {
	t.Helper()
	var all []byte
	for {
		c, err := l.Read(from, 1<<20, true, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Segments {
			all = append(all, s...)
		}
		done := c.Next == from
		from = c.Next
		c.Release()
		if done {
			return all
		}
	}
}

// copyFolder is what a crash at this moment would leave: the files as they are,
// without the lock.
func copyFolder(t tb, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func header(t tb, raw []byte) batch.Header {
	t.Helper()
	h, err := batch.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answers collects completions in their order.
type answers struct {
	mu  sync.Mutex
	all []storage.Appended
	wg  sync.WaitGroup
}

func (a *answers) done() func(storage.Appended) {
	a.wg.Add(1)
	return func(one storage.Appended) {
		a.mu.Lock()
		a.all = append(a.all, one)
		a.mu.Unlock()
		a.wg.Done()
	}
}

func numbered(n int) string { return fmt.Sprintf("record %d", n) }
