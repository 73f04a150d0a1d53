package wal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"switchback/storage/wal"
)

// numbered is what a log holds, with the numbers.
type numbered struct {
	found
	numbers []uint64
}

func (f *numbered) replay(r wal.Record, number uint64, at wal.Location) error {
	f.numbers = append(f.numbers, number)
	return f.found.replay(r, number, at)
}

func openNumbered(t *testing.T, cfg wal.Config) (*wal.WAL, *numbered) {
	t.Helper()
	f := &numbered{}
	w, err := wal.Open(cfg, f.replay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, f
}

func shut(t *testing.T, w *wal.WAL) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled is a closed log of count records of 20 KiB, three to a segment, and where
// each of them is.
func filled(t *testing.T, cfg wal.Config, count int) []wal.Location {
	t.Helper()
	w, _ := openNumbered(t, cfg)
	var places []wal.Location
	for n := range count {
		places = append(places, putDurably(t, w, record(n, 20<<10)))
	}
	shut(t, w)
	return places
}

func segmentsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRecordsAreNumberedAcrossRestarts(t *testing.T) {
	cfg := config(t.TempDir())
	next := uint64(1)
	for round := range 4 {
		w, f := openNumbered(t, cfg)
		if got := w.Next(); got != next {
			t.Fatalf("round %d: next is %d, want %d", round, got, next)
		}
		for i, number := range f.numbers {
			if number != uint64(i)+1 {
				t.Fatalf("round %d: record %d has number %d", round, i+1, number)
			}
		}
		if len(f.numbers) != int(next)-1 {
			t.Fatalf("round %d: %d records, want %d", round, len(f.numbers), next-1)
		}
		for n := range 5 * round {
			r := record(n, 9<<10)
			if err := w.Reserve(wal.Size(len(r.Head), len(r.Body))); err != nil {
				t.Fatal(err)
			}
			number, err := w.Append(r, newOutcome())
			if err != nil || number != next {
				t.Fatalf("Append = %d, %v, want %d", number, err, next)
			}
			next++
		}
		shut(t, w)
	}
}

// TestTrim removes what lies below each record in turn, and opens what is left.
func TestTrim(t *testing.T) {
	const count = 14
	for before := uint64(1); before <= count+1; before++ {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			cfg := config(t.TempDir())
			places := filled(t, cfg, count)
			cfg.Oldest = before
			w, f := openNumbered(t, cfg)
			if want := count - int(before) + 1; len(f.numbers) != want || want > 0 && f.numbers[0] != before {
				t.Fatalf("replayed %v, want %d from %d on", f.numbers, want, before)
			}
			was, going := w.Oldest(), uint32(0)
			err := w.Trim(before, func(oldest uint32) {
				if going = oldest; w.Oldest() != was {
					t.Error("told when it has gone")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if now := w.Oldest(); now != was && going != now {
				t.Fatalf("told that %d would be the oldest, %d is", going, now)
			}
			for n, at := range places {
				b := make([]byte, 4)
				err := w.ReadAt(b, at, 0)
				gone := at.Segment < w.Oldest()
				if gone != errors.Is(err, wal.ErrTrimmed) || !gone && (err != nil || b[3] != byte(n)) {
					t.Fatalf("record %d in segment %d of those from %d on: %v, %v", n+1, at.Segment, w.Oldest(), b, err)
				}
				if gone && uint64(n)+1 >= before {
					t.Fatalf("record %d is gone, those from %d on are wanted", n+1, before)
				}
			}
			if before <= count { // the record before it goes with its segment, if that ends there
				first := places[before-1].Segment
				if w.Oldest() != first {
					t.Fatalf("oldest is %d, want %d", w.Oldest(), first)
				}
			}
			putDurably(t, w, record(count, 100))
			shut(t, w)
			again, f := openNumbered(t, cfg)
			if last := f.numbers[len(f.numbers)-1]; last != count+1 || again.Next() != count+2 {
				t.Fatalf("the last record has number %d, next is %d", last, again.Next())
			}
		})
	}
}

// TestTrimKeepsForReaders: what is trimmed and kept can be read, until the later
// segments hold enough, and is not replayed.
func TestTrimKeepsForReaders(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.KeepBytes = 2 * cfg.SegmentBytes
	w, _ := openNumbered(t, cfg)
	var places []wal.Location
	for n := range 12 {
		places = append(places, putDurably(t, w, record(n, 20<<10)))
	}
	last := places[len(places)-1].Segment
	if err := w.Trim(w.Next(), func(uint32) {}); err != nil {
		t.Fatal(err)
	}
	if w.Oldest() != last-2 {
		t.Fatalf("oldest is %d of %d, want two beside the last", w.Oldest(), last)
	}
	cfg.Oldest = w.Next()
	shut(t, w)
	again, f := openNumbered(t, cfg)
	if len(f.numbers) != 0 {
		t.Fatalf("replayed %v", f.numbers)
	}
	if again.Oldest() < last-1 {
		t.Fatalf("oldest is %d: useless segments were read", again.Oldest())
	}
}

// TestReadersKeepTheirFile reads while the segments go.
func TestReadersKeepTheirFile(t *testing.T) {
	cfg := config(t.TempDir())
	w, _ := openNumbered(t, cfg)
	var mu sync.Mutex
	var places []wal.Location
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			b := make([]byte, 4)
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				all := places
				mu.Unlock()
				for n := max(0, len(all)-8); n < len(all); n++ {
					err := w.ReadAt(b, all[n], 0)
					if err != nil && !errors.Is(err, wal.ErrTrimmed) || err == nil && b[3] != byte(n) {
						t.Errorf("record %d: %v, %v", n, b, err)
						return
					}
				}
			}
		})
	}
	for n := range 100 {
		at := putDurably(t, w, record(n, 20<<10))
		mu.Lock()
		places = append(places, at)
		mu.Unlock()
		if err := w.Trim(w.Next(), func(uint32) {}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if names := segmentsIn(t, cfg.Dir); len(names) != 1 {
		t.Fatalf("left: %v", names)
	}
}

// TestMissingSegments: what is wanted and is not there is refused, whatever is
// missing; what is not wanted may be missing in any order.
func TestMissingSegments(t *testing.T) {
	made := config(t.TempDir())
	places := filled(t, made, 12)
	last := places[len(places)-1].Segment
	for missing := uint32(1); missing <= last; missing++ {
		for oldest := uint64(0); oldest <= 14; oldest++ {
			cfg := config(t.TempDir())
			if err := os.CopyFS(cfg.Dir, os.DirFS(made.Dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(cfg.Dir, fmt.Sprintf("%016x.wal", missing))); err != nil {
				t.Fatal(err)
			}
			cfg.Oldest = oldest
			f := &numbered{}
			w, err := wal.Open(cfg, f.replay)
			wanted := oldest > 13 // beyond the end: never
			end := 13             // the number of the first that is not there
			for n, at := range places {
				wanted = wanted || at.Segment == missing && uint64(n)+1 >= oldest
				if at.Segment == last && missing == last {
					end = min(end, n+1)
				}
			}
			if missing == last { // nothing says that there was something, unless it is wanted
				wanted = oldest > uint64(end)
			}
			if wanted != (err != nil) {
				t.Fatalf("segment %d of %d missing, oldest %d: %v", missing, last, oldest, err)
			}
			if corrupt, ok := errors.AsType[*wal.CorruptError](err); err != nil && (!ok || !strings.HasPrefix(corrupt.File, cfg.Dir)) {
				t.Fatalf("segment %d missing, oldest %d: %v", missing, oldest, err)
			}
			if err == nil {
				if want := max(0, end-int(max(oldest, 1))); len(f.numbers) != want {
					t.Fatalf("segment %d missing, oldest %d: replayed %v", missing, oldest, f.numbers)
				}
				shut(t, w)
			}
		}
	}
}

func TestAnEmptyFolderIsNotAWantedLog(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Oldest = 2
	_, err := wal.Open(cfg, (&numbered{}).replay)
	if _, ok := errors.AsType[*wal.CorruptError](err); !ok {
		t.Fatalf("Open = %v", err)
	}
}
