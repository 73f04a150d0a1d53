package storage_test

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

// TestEveryPrefixOfTheWAL cuts the WAL at every interesting byte and opens what
// is left. The log must be a prefix of what was appended, hold every batch that
// was acknowledged before the cut, byte for byte, and go on from there with the
// producer's next sequence.
func TestEveryPrefixOfTheWAL(t *testing.T) {
	made := t.TempDir()
	e := open(t, config(made))
	l := create(t, e, 0)
	lead(t, l, 1)
	segment := filepath.Join(made, "wal", "0000000000000001.wal")

	const count = 12
	var stored [][]byte
	var acked []int64 // size of the WAL when batch n was acknowledged
	for n := range count {
		a := appendNow(t, l, sequenced(n))
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		c, err := l.Read(a.Base, 1, true, false)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, bytes.Clone(c.Segments[0]))
		c.Release()
		acked = append(acked, used(t, segment))
	}
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.ReadFile(filepath.Join(made, "FOLDER"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	cuts := map[int64]bool{}
	for _, end := range acked {
		for d := int64(-520); d <= 520; d += 26 {
			cuts[end+d] = true
		}
		for d := int64(-2); d <= 2; d++ {
			cuts[end+d] = true
		}
	}
	for cut := range cuts {
		if cut < acked[0] || cut > int64(len(whole)) {
			continue
		}
		for _, zeros := range []bool{false, true} {
			dir := t.TempDir()
			left := bytes.Clone(whole)
			if clear(left[cut:]); !zeros {
				left = left[:cut]
			}
			plant(t, dir, folder, left)
			e := open(t, unsynced(dir))
			l, ok := e.Log(partition)
			if !ok {
				t.Fatal("the partition is gone")
			}
			kept := int(l.Bounds().Durable)
			least := 0
			for least < count && acked[least] <= cut {
				least++
			}
			if kept < least || kept > count {
				t.Fatalf("cut at %d: %d batches, %d were acknowledged", cut, kept, least)
			}
			if !bytes.Equal(readAll(t, l, 0), bytes.Join(stored[:kept], nil)) {
				t.Fatalf("cut at %d: other bytes", cut)
			}
			lead(t, l, 1)
			if a := appendNow(t, l, sequenced(kept-1)); !a.Duplicate || a.Base != int64(kept-1) {
				t.Fatalf("cut at %d: repeat of the last batch: %+v", cut, a)
			}
			if a := appendNow(t, l, sequenced(kept)); a.Err != nil || a.Base != int64(kept) {
				t.Fatalf("cut at %d: next batch: %+v", cut, a)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// sequenced ends in a byte that is not zero: used relies on it.
func sequenced(n int) []byte {
	records := batchtest.Values(strings.Repeat(numbered(n), 1+n*5))
	records[0].Headers, records[0].NumHeaders = batch.AppendHeader(nil, "header", []byte("value")), 1
	return batchtest.Build(batchtest.Spec{Producer: 9, Sequence: int32(n), Records: records})
}

// used is where the last frame of a segment ends: behind it are zeros.
func used(t *testing.T, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(bytes.TrimRight(b, "\x00")))
}

func plant(t *testing.T, dir string, folder, segment []byte) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"FOLDER": folder, "wal/0000000000000001.wal": segment} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const killEnv = "STORAGE_KILL_CHILD"

// TestKill9 kills a process that appends as fast as it can, again and again, on
// the same folder. The child tells each acknowledgement before it counts; the
// parent then looks that all of them are there, with the right bytes, and that
// every log is dense and every producer's state goes on.
func TestKill9(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		killChild(dir)
	}
	rounds := 25
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked := map[string]uint32{} // "partition offset" -> checksum
	for round := range rounds {
		child := exec.Command(os.Args[0], "-test.run", "^TestKill9$")
		child.Env = append(os.Environ(), killEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		enough := 1 + random.IntN(3000)
		for n := 0; lines.Scan(); n++ {
			var p, offset int64
			var sum uint32
			if _, err := fmt.Sscanf(lines.Text(), "ack %d %d %x.", &p, &offset, &sum); err != nil {
				if n < enough {
					t.Fatalf("child says %q", lines.Text())
				}
				break // cut by the kill
			}
			acked[fmt.Sprintf("%d %d", p, offset)] = sum
			if n == enough {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait()
		checkKilled(t, dir, acked, round)
	}
	t.Logf("%d acknowledged batches survived %d kills", len(acked), rounds)
}

const killPartitions = 4

func killPartition(n int) offsets.Partition {
	return offsets.Partition{Topic: offsets.TopicID{8}, Index: int32(n)}
}

// killChild appends from one goroutine per partition until it is killed. Half of
// the partitions are fed as a replica is.
func killChild(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
	cfg := config(dir)
	cfg.SegmentBytes = 1 << 20
	e, err := storage.Open(cfg)
	if err != nil {
		fail(err)
	}
	out := make(chan string, 64)
	var all sync.WaitGroup
	for p := range killPartitions {
		l, err := e.Create(killPartition(p), 0)
		if err != nil {
			fail(err)
		}
		all.Go(func() {
			if err := killAppend(l, p, out); err != nil {
				fail(err)
			}
		})
	}
	for line := range out {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			os.Exit(0)
		}
	}
}

func killAppend(l *storage.Log, p int, out chan<- string) error {
	next := int(l.Bounds().End)
	tell := func(offset int64, raw []byte) {
		out <- fmt.Sprintf("ack %d %d %08x.\n", p, offset, crc32.ChecksumIEEE(raw[batch.HeaderSize:]))
	}
	for n := next; ; n++ {
		raw := batchtest.Build(batchtest.Spec{Base: int64(n), Producer: int64(p + 1), Sequence: int32(n), Records: batchtest.Values(strings.Repeat(numbered(n), 1+n%60))})
		if p%2 == 1 {
			moved := make(chan struct{}, 1)
			cancel := l.Subscribe(moved)
			if _, err := l.Replicate(raw); err != nil {
				return err
			}
			for l.Bounds().Durable <= int64(n) {
				<-moved
			}
			cancel()
			tell(int64(n), raw)
			continue
		}
		if n == next {
			if err := l.Lead(int32(n)); err != nil { // an epoch per life
				return err
			}
		}
		batch.SetBaseOffset(raw, 0)
		done := make(chan storage.Appended, 1)
		l.Append(raw, storage.Meta{Principal: "User:child"}, func(a storage.Appended) { done <- a })
		a := <-done
		if a.Err != nil {
			return a.Err
		}
		if a.Base != int64(n) {
			return fmt.Errorf("offset %d, want %d", a.Base, n)
		}
		tell(a.Base, raw)
	}
}

func checkKilled(t *testing.T, dir string, acked map[string]uint32, round int) {
	t.Helper()
	e := open(t, config(dir))
	defer func() {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	found := 0
	for p := range killPartitions {
		l, ok := e.Log(killPartition(p))
		if !ok {
			continue
		}
		next := int64(0)
		err := batch.Walk(readAll(t, l, 0), func(h batch.Header, raw []byte) error {
			if h.BaseOffset != next {
				return fmt.Errorf("batch at %d, want %d", h.BaseOffset, next)
			}
			next = h.LastOffset() + 1
			if err := batch.CheckCRC(raw); err != nil {
				return err
			}
			if sum, ok := acked[fmt.Sprintf("%d %d", p, h.BaseOffset)]; ok {
				found++
				if crc32.ChecksumIEEE(raw[batch.HeaderSize:]) != sum {
					return fmt.Errorf("other bytes at %d", h.BaseOffset)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("round %d, partition %d: %v", round, p, err)
		}
		if b := l.Bounds(); b.End != next || b.Durable != next {
			t.Fatalf("round %d, partition %d: %+v, last batch ends at %d", round, p, b, next)
		}
		if states := l.Producers(); next > 0 && (len(states) != 1 || int64(states[0].LastSequence) != next-1) {
			t.Fatalf("round %d, partition %d: producers %+v, want sequence %d", round, p, states, next-1)
		}
	}
	if found != len(acked) {
		t.Fatalf("round %d: %d of %d acknowledged batches are there", round, found, len(acked))
	}
}
