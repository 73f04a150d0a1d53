package wal_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"switchback/storage/wal"
)

const sector = 512

// A powerCut is a disk that can lose power: what was synced stays, of what was
// written since any subset of sectors.
type powerCut struct {
	mu    sync.Mutex
	files map[string]*image
}

type image struct {
	durable []byte
	pending []write
}

type write struct {
	off int64
	b   []byte
}

func (p *powerCut) open(name string, flag int) (wal.File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// A segment is made under another name and renamed when it is durable.
	key := strings.TrimSuffix(filepath.Base(name), ".tmp")
	if p.files[key] == nil || flag&os.O_TRUNC != 0 {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p.files[key] = &image{durable: b}
	}
	return &powerFile{f, p, p.files[key]}, nil
}

type powerFile struct {
	*os.File
	disk  *powerCut
	image *image
}

func (f *powerFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	f.image.pending = append(f.image.pending, write{off, append([]byte(nil), b...)})
	f.disk.mu.Unlock()
	return f.File.WriteAt(b, off)
}

func (f *powerFile) Datasync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for _, w := range f.image.pending {
		f.image.durable = overlay(f.image.durable, w.off, w.b)
	}
	f.image.pending = nil
	return nil
}

func overlay(b []byte, off int64, with []byte) []byte {
	if need := int(off) + len(with); need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[off:], with)
	return b
}

// cut is what is on the disk when the power goes now, in a folder of its own.
// Segments that do not have their name yet are not there.
func (p *powerCut) cut(t *testing.T, live string, random *rand.Rand) string {
	dir := t.TempDir()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, i := range p.files {
		if _, err := os.Stat(filepath.Join(live, name)); err != nil {
			continue
		}
		b := append([]byte(nil), i.durable...)
		for _, w := range i.pending {
			for at := 0; at < len(w.b); at += sector {
				if random.IntN(2) == 0 {
					b = overlay(b, w.off+int64(at), w.b[at:min(at+sector, len(w.b))])
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Error(err)
		}
	}
	return dir
}

// TestPowerFailure cuts the power at random moments, some right when a record is
// acknowledged, and demands every record that was acknowledged by then.
func TestPowerFailure(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		live := t.TempDir()
		disk := &powerCut{files: map[string]*image{}}
		cfg := config(live)
		cfg.OpenFile = disk.open
		w, _ := open(t, cfg)

		type failure struct {
			dir   string
			acked int
		}
		var failures []failure
		var want []wal.Record
		var all sync.WaitGroup
		acked := 0 // announcer only
		for n := range 150 {
			r := record(n, random.IntN(3000))
			want = append(want, r)
			if err := w.Reserve(wal.Size(len(r.Head), len(r.Body))); err != nil {
				t.Fatal(err)
			}
			all.Add(1)
			cutHere := random.IntN(15) == 0
			_, err := w.Append(r, waiterFunc(func(_ wal.Location, err error) {
				defer all.Done()
				if err != nil {
					t.Error(err)
				}
				acked++
				if cutHere {
					own := rand.New(rand.NewPCG(seed, uint64(acked)))
					failures = append(failures, failure{disk.cut(t, live, own), acked})
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			if random.IntN(4) == 0 {
				all.Wait() // small groups, too
			}
		}
		all.Wait()
		closeWAL(t, w)
		for _, f := range failures {
			w, got := open(t, config(f.dir))
			if len(got.records) < f.acked {
				t.Fatalf("%d records, %d were acknowledged", len(got.records), f.acked)
			}
			for i, r := range got.records {
				if !equal(r, want[i]) {
					t.Fatalf("record %d of %d is another", i, len(got.records))
				}
			}
			closeWAL(t, w)
		}
	}
}
