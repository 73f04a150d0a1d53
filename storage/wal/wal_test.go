package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchback/storage/wal"
)

const patience = 20 * time.Second

func config(dir string) wal.Config {
	return wal.Config{
		Dir: dir, Folder: [16]byte{7}, SegmentBytes: 64 << 10, FrameBytes: 4 << 10,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// found is what a log holds.
type found struct {
	records []wal.Record
	at      []wal.Location
}

func (f *found) replay(r wal.Record, _ uint64, at wal.Location) error {
	r.Head, r.Body = bytes.Clone(r.Head), bytes.Clone(r.Body)
	f.records = append(f.records, r)
	f.at = append(f.at, at)
	return nil
}

func open(t *testing.T, cfg wal.Config) (*wal.WAL, *found) {
	t.Helper()
	f := &found{}
	w, err := wal.Open(cfg, f.replay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, f
}

// outcome is a Waiter that remembers.
type outcome struct {
	ch chan struct{}
	at wal.Location
	e  error
}

func newOutcome() *outcome { return &outcome{ch: make(chan struct{})} }

func (o *outcome) Committed(at wal.Location, err error) {
	o.at, o.e = at, err
	close(o.ch)
}

func (o *outcome) wait(t *testing.T) (wal.Location, error) {
	t.Helper()
	select {
	case <-o.ch:
		return o.at, o.e
	case <-time.After(patience):
		t.Fatal("the waiter was not told")
		return o.at, nil
	}
}

// record has a head and body that say which it is.
func record(n, size int) wal.Record {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(n + i)
	}
	return wal.Record{Kind: uint8(1 + n%5), Topic: [16]byte{byte(n)}, Partition: int32(n), Head: binary.BigEndian.AppendUint32(nil, uint32(n)), Body: body}
}

func put(t *testing.T, w *wal.WAL, r wal.Record) *outcome {
	t.Helper()
	if err := w.Reserve(wal.Size(len(r.Head), len(r.Body))); err != nil {
		t.Fatal(err)
	}
	o := newOutcome()
	if _, err := w.Append(r, o); err != nil {
		t.Fatal(err)
	}
	return o
}

func putDurably(t *testing.T, w *wal.WAL, r wal.Record) wal.Location {
	t.Helper()
	at, err := put(t, w, r).wait(t)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func closeWAL(t *testing.T, w *wal.WAL) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func equal(a, b wal.Record) bool {
	return a.Kind == b.Kind && a.Topic == b.Topic && a.Partition == b.Partition && bytes.Equal(a.Head, b.Head) && bytes.Equal(a.Body, b.Body)
}

func TestRecordsComeBackInOrder(t *testing.T) {
	dir := t.TempDir()
	var want []wal.Record
	var places []wal.Location
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 5 {
		w, f := open(t, config(dir))
		if len(f.records) != len(want) {
			t.Fatalf("round %d: %d records, want %d", round, len(f.records), len(want))
		}
		for i := range want {
			if !equal(f.records[i], want[i]) || f.at[i] != places[i] {
				t.Fatalf("round %d: record %d is %+v at %v", round, i, f.records[i], f.at[i])
			}
		}
		var waiters []*outcome
		for range 60 {
			r := record(len(want), []int{0, 1, 400, 5000, random.IntN(70_000)}[random.IntN(5)])
			want = append(want, r)
			waiters = append(waiters, put(t, w, r))
		}
		for i, o := range waiters {
			at, err := o.wait(t)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, at)
			r := want[len(places)-1]
			b := make([]byte, len(r.Head)+len(r.Body))
			if err := w.ReadAt(b, at, 0); err != nil || !bytes.Equal(b, append(bytes.Clone(r.Head), r.Body...)) {
				t.Fatalf("round %d: record %d read back as %x, %v", round, i, b, err)
			}
		}
		closeWAL(t, w)
	}
}

func TestWaitersAreToldInOrder(t *testing.T) {
	w, _ := open(t, config(t.TempDir()))
	var mu sync.Mutex
	var told []int
	var all sync.WaitGroup
	const writers, each = 8, 200
	next := 0
	var order sync.Mutex // call order
	for range writers {
		all.Go(func() {
			for range each {
				r := record(1, 100)
				if err := w.Reserve(wal.Size(len(r.Head), len(r.Body))); err != nil {
					t.Error(err)
					return
				}
				order.Lock()
				n := next
				next++
				tell := waiterFunc(func(_ wal.Location, err error) {
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					told = append(told, n)
					mu.Unlock()
					all.Done()
				})
				all.Add(1)
				var err error
				if n%3 == 0 { // some have nothing to write
					w.Unreserve(wal.Size(len(r.Head), len(r.Body)))
					err = w.Pass(tell)
				} else {
					_, err = w.Append(r, tell)
				}
				order.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, n := range told {
		if n != i {
			t.Fatalf("call %d was told as number %d", n, i)
		}
	}
}

type waiterFunc func(wal.Location, error)

func (f waiterFunc) Committed(at wal.Location, err error) { f(at, err) }

func TestQueueIsBounded(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.QueueBytes = 1 << 20
	gate := make(chan struct{})
	cfg.OpenFile = func(name string, flag int) (wal.File, error) {
		f, err := os.OpenFile(name, flag, 0o600)
		return &gatedFile{File: f, gate: gate}, err
	}
	w, _ := open(t, cfg)
	var told sync.WaitGroup
	queued := make(chan int, 100)
	go func() {
		r := record(0, 100_000)
		for i := range 20 {
			if w.Reserve(wal.Size(len(r.Head), len(r.Body))) != nil {
				return
			}
			told.Add(1)
			_, _ = w.Append(r, waiterFunc(func(wal.Location, error) { told.Done() }))
			queued <- i
		}
		close(queued)
	}()
	for range 10 {
		<-queued
	}
	select {
	case i := <-queued:
		t.Fatalf("appender %d got in beyond the bound", i)
	case <-time.After(50 * time.Millisecond): // nothing to wait for: the absence is the point
	}
	if w.TryReserve(100_000) {
		t.Fatal("TryReserve beyond the bound")
	}
	close(gate)
	for range queued {
		// the rest gets in
	}
	told.Wait()
	// One record larger than the queue gets in alone.
	putDurably(t, w, record(1, 3<<20))
}

// A gatedFile syncs frames only when the gate is open; the first sync is the
// segment's own.
type gatedFile struct {
	*os.File
	gate  chan struct{}
	syncs int
}

func (f *gatedFile) Datasync() error {
	if f.syncs++; f.syncs > 1 {
		<-f.gate
	}
	return f.Sync()
}

func TestFailedSyncEndsTheLog(t *testing.T) {
	for _, what := range []string{"write", "sync", "create"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config(dir)
			fault := &faults{}
			cfg.OpenFile = fault.open
			w, _ := open(t, cfg)
			good := record(1, 100)
			putDurably(t, w, good)
			fault.set(what)
			size := 100
			if what == "create" {
				size = 70_000 // does not fit into the segment
			}
			bad := put(t, w, record(2, size))
			pass := newOutcome()
			if err := w.Pass(pass); err != nil {
				t.Fatal(err)
			}
			for _, o := range []*outcome{bad, pass} {
				if _, err := o.wait(t); !errors.Is(err, wal.ErrDead) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("told %v", err)
				}
			}
			select {
			case <-w.Dead():
			default:
				t.Fatal("Dead is open")
			}
			fault.set("") // the disk is well again, the log stays dead
			if err := w.Reserve(10); !errors.Is(err, wal.ErrDead) {
				t.Fatalf("Reserve = %v", err)
			}
			pass = newOutcome()
			if err := w.Pass(pass); err != nil {
				t.Fatal(err)
			}
			if _, err := pass.wait(t); !errors.Is(err, wal.ErrDead) {
				t.Fatalf("later waiter told %v", err)
			}
			if err := w.Close(); !errors.Is(err, wal.ErrDead) {
				t.Fatalf("Close = %v", err)
			}
			_, f := open(t, config(dir))
			if len(f.records) == 0 || !equal(f.records[0], good) || len(f.records) > 2 {
				t.Fatalf("recovered %d records", len(f.records))
			}
		})
	}
}

type faults struct {
	mu   sync.Mutex
	what string
}

func (f *faults) set(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.what = what
}

func (f *faults) is(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.what == what {
		return fmt.Errorf("planted: %w", syscall.EIO)
	}
	return nil
}

func (f *faults) open(name string, flag int) (wal.File, error) {
	if err := f.is("create"); err != nil && flag&os.O_CREATE != 0 {
		return nil, err
	}
	file, err := os.OpenFile(name, flag, 0o600)
	return &faultyFile{file, f}, err
}

type faultyFile struct {
	*os.File
	faults *faults
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.faults.is("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultyFile) Datasync() error {
	if err := f.faults.is("sync"); err != nil {
		return err
	}
	return f.Sync()
}

func TestClosedLogRefuses(t *testing.T) {
	w, _ := open(t, config(t.TempDir()))
	if err := w.Reserve(100); err != nil {
		t.Fatal(err)
	}
	closeWAL(t, w)
	closeWAL(t, w)
	if _, err := w.Append(record(1, 10), newOutcome()); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("Append = %v", err)
	}
	if err := w.Pass(newOutcome()); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("Pass = %v", err)
	}
	if err := w.Reserve(100); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("Reserve = %v", err)
	}
	if err := w.ReadAt(make([]byte, 4), wal.Location{Segment: 1, Offset: 4096}, 0); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("ReadAt = %v", err)
	}
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
