package wal_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"switchback/storage/wal"
)

// written is a log with one record per group, closed without a seal (as a crash
// leaves it), and where each group ends in its file.
type written struct {
	dir     string
	records []wal.Record
	at      []wal.Location
}

func writeLog(t *testing.T, sizes ...int) written {
	t.Helper()
	live, dir := t.TempDir(), t.TempDir()
	w, _ := open(t, config(live))
	l := written{dir: dir}
	for n, size := range sizes {
		r := record(n, size)
		l.records = append(l.records, r)
		l.at = append(l.at, putDurably(t, w, r))
	}
	copyFiles(t, live, dir) // while it is open: no seal
	closeWAL(t, w)
	return l
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	for _, path := range segmentFiles(t, from) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTornTail cuts and tears the last segment at every interesting byte. All
// groups that were whole must be there; the torn one may not be; and the log must
// go on: what is appended then survives the next opening.
func TestTornTail(t *testing.T) {
	l := writeLog(t, 100, 0, 700, 3000, 60)
	path := segmentFiles(t, l.dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := len(l.records) - 1
	const header = 40 + 32 // of the frame and of the record
	begin := int(l.at[last].Offset) - header
	end := int(l.at[last].Offset) + len(l.records[last].Head) + len(l.records[last].Body)

	var torn [][]byte
	for cut := begin; cut <= end; cut++ {
		torn = append(torn, whole[:cut])                                            // the file ends
		zeroed := append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...) // the rest was not written
		garbage := bytes.Clone(whole)                                               // one byte is wrong
		garbage[min(cut, end-1)] ^= 0x40                                            //
		holed := bytes.Clone(whole)                                                 // the front was not written
		clear(holed[begin:min(cut, end)])                                           //
		torn = append(torn, zeroed, garbage, holed)
	}
	for i, b := range torn {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		w, f := open(t, config(dir))
		n := len(f.records)
		if n != last && n != last+1 {
			t.Fatalf("tear %d: %d records, %d were acknowledged before the torn one", i, n, last)
		}
		for j, r := range f.records {
			if !equal(r, l.records[j]) {
				t.Fatalf("tear %d: record %d is %+v", i, j, r)
			}
		}
		more := record(77, 50)
		putDurably(t, w, more)
		closeWAL(t, w)
		w, f = open(t, config(dir))
		if len(f.records) != n+1 || !equal(f.records[n], more) {
			t.Fatalf("tear %d: %d records after going on, want %d", i, len(f.records), n+1)
		}
		closeWAL(t, w)
	}
}

// TestDamageIsRefused flips bits everywhere but in the last group: every one must
// be seen, with the file, an offset at or before the flip, and nothing changed.
func TestDamageIsRefused(t *testing.T) {
	l := writeLog(t, 100, 0, 700, 30_000, 20_000, 30_000, 3000, 60)
	files := segmentFiles(t, l.dir)
	if len(files) < 2 {
		t.Fatalf("%d segments, want at least two", len(files))
	}
	random := rand.New(rand.NewPCG(5, 6))
	for i := range len(l.records) - 1 {
		at := l.at[i]
		path := files[at.Segment-1]
		begin := int(at.Offset) - 72
		size := 72 + len(l.records[i].Head) + len(l.records[i].Body)
		for _, flip := range []int{0, 5, 10, 20, 26, 30, 33, 37, 40, 41, 45, 50, 64, 68, 71, 72, size - 1, random.IntN(size), random.IntN(size)} {
			dir := t.TempDir()
			copyFiles(t, l.dir, dir)
			bad := filepath.Join(dir, filepath.Base(path))
			b, err := os.ReadFile(bad)
			if err != nil {
				t.Fatal(err)
			}
			b[begin+min(flip, size-1)] ^= 1
			if err := os.WriteFile(bad, b, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = wal.Open(config(dir), (&found{}).replay)
			var corrupt *wal.CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("record %d, flip at %d: %v", i, flip, err)
			}
			// Damage to a segment's last group shows at the next segment.
			next := i+1 < len(l.at) && l.at[i+1].Segment != at.Segment
			if corrupt.File != bad && !next || corrupt.Offset > int64(begin) {
				t.Fatalf("record %d, flip at %d of %s: told of %s, byte %d", i, begin+flip, bad, corrupt.File, corrupt.Offset)
			}
			if after, err := os.ReadFile(bad); err != nil || !bytes.Equal(after, b) {
				t.Fatalf("record %d: Open changed the file (%v)", i, err)
			}
		}
	}
}

// After a clean close damage to the very last group is seen too.
func TestSealProtectsTheLastGroup(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, config(dir))
	at := putDurably(t, w, record(1, 100))
	closeWAL(t, w)
	path := segmentFiles(t, dir)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at.Offset+50] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *wal.CorruptError
	if _, err := wal.Open(config(dir), (&found{}).replay); !errors.As(err, &corrupt) {
		t.Fatalf("Open = %v", err)
	}
}

func TestSegmentsThatDoNotBelong(t *testing.T) {
	l := writeLog(t, 50_000, 50_000, 50_000)
	files := segmentFiles(t, l.dir)
	if len(files) != 3 {
		t.Fatalf("%d segments", len(files))
	}
	name := func(i int) string { return filepath.Base(files[i]) }
	move := func(t *testing.T, from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, change := range map[string]func(t *testing.T, dir string){
		"first missing":  func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, name(0))) },
		"middle missing": func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, name(1))) },
		"renamed":        func(t *testing.T, dir string) { move(t, files[0], filepath.Join(dir, name(1))) },
		"header damaged": func(t *testing.T, dir string) {
			b, _ := os.ReadFile(files[2])
			b[30] ^= 1
			_ = os.WriteFile(filepath.Join(dir, name(2)), b, 0o600)
		},
		"header cut": func(t *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, name(2)), 100) },
		"empty file": func(t *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, name(1)), 0) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			copyFiles(t, l.dir, dir)
			change(t, dir)
			var corrupt *wal.CorruptError
			if _, err := wal.Open(config(dir), (&found{}).replay); !errors.As(err, &corrupt) {
				t.Fatalf("Open = %v", err)
			}
		})
	}
	t.Run("other folder", func(t *testing.T) {
		cfg := config(l.dir)
		cfg.Folder = [16]byte{8}
		var corrupt *wal.CorruptError
		if _, err := wal.Open(cfg, (&found{}).replay); !errors.As(err, &corrupt) {
			t.Fatalf("Open = %v", err)
		}
	})
	t.Run("half-made segment", func(t *testing.T) {
		dir := t.TempDir()
		copyFiles(t, l.dir, dir)
		left := filepath.Join(dir, "0000000000000004.wal.tmp")
		if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, f := open(t, config(dir))
		if len(f.records) != 3 {
			t.Fatalf("%d records", len(f.records))
		}
	})
}

func TestManyEmptyLivesLeaveNoFiles(t *testing.T) {
	dir := t.TempDir()
	for range 5 {
		w, _ := open(t, config(dir))
		closeWAL(t, w)
	}
	if files := segmentFiles(t, dir); len(files) != 1 {
		t.Fatalf("%d segments", len(files))
	}
}

// FuzzRecover opens a log whose segment a fuzzer has had its way with: never a
// panic, never a record that was not written.
func FuzzRecover(f *testing.F) {
	f.Add(uint32(4096), []byte("junk"), uint32(1<<20))
	f.Add(uint32(5000), []byte{}, uint32(9000))
	f.Fuzz(func(t *testing.T, at uint32, junk []byte, size uint32) {
		dir := t.TempDir()
		w, _ := open(t, config(dir))
		var want []wal.Record
		for n := range 3 {
			want = append(want, record(n, 600))
			putDurably(t, w, want[n])
		}
		closeWAL(t, w)
		path := segmentFiles(t, dir)[0]
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copy(b[int(at)%len(b):], junk)
		if err := os.WriteFile(path, b[:min(int(size), len(b))], 0o600); err != nil {
			t.Fatal(err)
		}
		got := &found{}
		w, err = wal.Open(config(dir), got.replay)
		if err == nil {
			closeWAL(t, w)
		}
		for i, r := range got.records {
			if i >= len(want) || !equal(r, want[i]) {
				t.Fatalf("record %d is %+v", i, r)
			}
		}
	})
}
