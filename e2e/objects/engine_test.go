package objects

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"switchback/e2e/machine"
	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

// TestEngineOverS3 lets an engine live over a bucket that fails at random: it appends, flushes, reads what is cold, is closed and opened
// again on the same folder, and in the end holds exactly what was acknowledged.
func TestEngineOverS3(t *testing.T) {
	server := Start(t)
	proxy := NewProxy(t, server.Address)
	cfg := config(proxy.Address, "engine")
	cfg.Timeout, cfg.Attempts = 2*time.Second, 3
	store := open(t, cfg)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	faults := []Fault{LostAck, Reset, Unavailable, CutBody, OtherRange}
	storm := func(percent int) {
		proxy.Decide(func(int, *http.Request) Fault {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(100) < percent {
				return faults[random.IntN(len(faults))]
			}
			return Pass
		})
	}
	dir := t.TempDir()
	p := offsets.Partition{Topic: offsets.TopicID{1}, Index: 2}
	var want []byte
	rounds := machine.Size(t, "restarts", 4, 40)
	for round := range rounds {
		e, err := storage.Open(storage.Config{
			Dir: dir, ClusterID: "legacy", Store: store, StoreName: "s3", SegmentBytes: 1 << 20, KeepBytes: -1,
			FlushBytes: 4 << 20, CacheBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := e.Create(p, 0)
		if err == nil {
			err = l.Lead(int32(round))
		}
		if err != nil {
			t.Fatal(err)
		}
		storm(40)
		want = append(want, appendMany(t, l, round)...)
		_ = e.Flush(t.Context()) // it may fail: nothing is lost by that
		if err := readSome(l, want); err != nil {
			t.Logf("round %d: in the storm: %v", round, err) // but it must not be wrong
		}
		storm(0)
		if round%2 == 0 {
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := readSome(l, want); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// appendMany appends 8 MiB and returns them as they are stored.
func appendMany(t *testing.T, l *storage.Log, round int) []byte {
	t.Helper()
	var stored []byte
	for n := range 16 {
		raw := batchtest.Build(batchtest.Spec{Producer: 7, ProducerEpoch: int16(round), Sequence: int32(n), Time: time.Now().UnixMilli(),
			Records: batchtest.Values(strings.Repeat(string(rune('a'+n)), 512<<10))})
		done := make(chan storage.Appended, 1)
		l.Append(raw, storage.Meta{}, func(a storage.Appended) { done <- a })
		a := <-done
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		batch.SetBaseOffset(raw, a.Base)
		batch.SetLeaderEpoch(raw, int32(round))
		stored = append(stored, raw...)
	}
	return stored
}

var errWrong = errors.New("the log holds other bytes")

// readSome reads the log from its start on and compares.
func readSome(l *storage.Log, want []byte) error {
	from := int64(0)
	for len(want) > 0 {
		c, err := l.Read(from, 1<<20, true, false)
		if err != nil {
			return err
		}
		for _, s := range c.Segments {
			if !bytes.HasPrefix(want, s) {
				panic(errWrong) // an error may be excused in a storm, this not
			}
			want = want[len(s):]
		}
		if c.Next == from {
			panic(errWrong)
		}
		from = c.Next
		c.Release()
	}
	return nil
}
