package storage_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

// TestLogIsTheNaiveLog drives an engine and the dumb alternative through the same
// random life: appends of several producers, repeats, transactions, replicas with
// gaps and overlaps, changes of leadership, deletions, resets, flushes to objects
// and their merges, clean restarts and crashes. After every step every question must get the same answer.
func TestLogIsTheNaiveLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		defer m.close()
		t.Repeat(map[string]func(*rapid.T){
			"append":    m.append,
			"repeat":    m.repeat,
			"replicate": m.replicate,
			"deliver":   m.deliverAgain,
			"diverge":   m.diverge,
			"lead":      m.lead,
			"follow":    m.follow,
			"learn":     m.learn,
			"delete":    m.deleteBefore,
			"reset":     m.reset,
			"flush":     m.flush,
			"restart":   m.restart,
			"crash":     m.crash,
			"":          m.check,
		})
	})
}

type machine struct {
	dirs   []string
	engine *storage.Engine
	log    *storage.Log
	naive  naiveLog
	sent   [][]byte // as clients sent them
}

func newMachine(t *rapid.T) *machine {
	m := &machine{}
	dir := m.folder(t)
	m.engine = open(t, trimmed(dir).WithMerges(2))
	start := rapid.SampledFrom([]int64{0, 5, 1 << 31, 1 << 40}).Draw(t, "start")
	m.log = create(t, m.engine, start)
	m.naive.reset(start)
	return m
}

func (m *machine) folder(t tb) string {
	dir, err := os.MkdirTemp("", "storage-model")
	if err != nil {
		t.Fatal(err)
	}
	m.dirs = append(m.dirs, dir)
	return dir
}

func (m *machine) close() {
	_ = m.engine.Close()
	for _, dir := range m.dirs {
		_ = os.RemoveAll(dir)
	}
}

func drawSpec(t *rapid.T) batchtest.Spec {
	s := batchtest.Spec{
		Producer: rapid.Int64Range(0, 3).Draw(t, "producer"),
		Sequence: rapid.SampledFrom([]int32{0, 1, 2, 3, 4, 1<<31 - 2, 1<<31 - 1}).Draw(t, "sequence"),
		Time:     epochTime.UnixMilli() - int64(rapid.IntRange(0, 1000).Draw(t, "age")),
	}
	s.ProducerEpoch = int16(rapid.IntRange(0, 2).Draw(t, "producer epoch"))
	for i := range rapid.IntRange(1, 3).Draw(t, "records") {
		s.Records = append(s.Records, batch.Record{
			OffsetDelta: int32(i), TimestampDelta: rapid.Int64Range(0, 50).Draw(t, "timestamp"),
			Value: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value"),
		})
	}
	if s.Producer > 0 && rapid.Bool().Draw(t, "transactional") {
		s.Attributes = batch.TransactionalFlag
	}
	return s
}

// inSequence makes it likely that a batch is taken.
func (m *machine) inSequence(s batchtest.Spec) batchtest.Spec {
	epoch, last, open := m.naive.producer(s.Producer)
	if s.Producer == 0 || epoch == -1 {
		return s
	}
	s.ProducerEpoch, s.Sequence = epoch, 0
	if len(last) > 0 {
		s.Sequence = batch.AddSequence(last[len(last)-1].LastSequence(), 1)
	}
	if open {
		s.Attributes = batch.TransactionalFlag
	}
	return s
}

func (m *machine) append(t *rapid.T) {
	s := drawSpec(t)
	if rapid.IntRange(0, 3).Draw(t, "in sequence") > 0 {
		s = m.inSequence(s)
	}
	raw := batchtest.Build(s)
	m.sent = append(m.sent, raw)
	m.send(t, raw)
}

func (m *machine) repeat(t *rapid.T) {
	if len(m.sent) == 0 {
		t.Skip("nothing was sent")
	}
	recent := m.sent[max(0, len(m.sent)-8):]
	m.send(t, rapid.SampledFrom(recent).Draw(t, "sent"))
}

func (m *machine) send(t *rapid.T, raw []byte) {
	h := header(t, raw)
	base, duplicate, want := m.naive.verdict(h)
	a := appendNow(t, m.log, bytes.Clone(raw))
	if !errors.Is(a.Err, want) || want == nil && (a.Base != base || a.Duplicate != duplicate) {
		t.Fatalf("Append = %+v, want offset %d, duplicate %v, error %v", a, base, duplicate, want)
	}
	if want == nil && !duplicate {
		stored := bytes.Clone(raw)
		batch.SetBaseOffset(stored, base)
		batch.SetLeaderEpoch(stored, m.naive.leaderEpoch)
		m.naive.add(stored)
	}
}

func (m *machine) replicate(t *rapid.T) {
	var raw []byte
	end, epoch := m.naive.end, max(m.naive.epochs.Latest(), 0)
	var added [][]byte
	for range rapid.IntRange(1, 4).Draw(t, "batches") {
		end += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 7}).Draw(t, "gap"))
		epoch += int32(rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "epochs"))
		var one []byte
		if rapid.IntRange(0, 3).Draw(t, "marker") == 0 {
			one = batchtest.Marker(end, epoch, rapid.Int64Range(1, 3).Draw(t, "producer"), int16(rapid.IntRange(0, 2).Draw(t, "producer epoch")),
				rapid.SampledFrom([]batch.MarkerType{batch.MarkerAbort, batch.MarkerCommit}).Draw(t, "type"), epochTime.UnixMilli())
		} else {
			s := drawSpec(t)
			s.Base, s.LeaderEpoch = end, epoch
			one = batchtest.Build(s)
		}
		added = append(added, one)
		end = header(t, one).LastOffset() + 1
		raw = append(raw, one...)
	}
	cut := rapid.IntRange(0, 10).Draw(t, "bytes of a cut batch")
	got, err := m.log.Replicate(append(bytes.Clone(raw), raw[:cut]...))
	if m.naive.leading {
		if h := header(t, raw); !errors.Is(err, storage.ErrLeading) && !(h.Control() && h.BaseOffset == m.naive.end) {
			t.Fatalf("while leading: %v", err)
		}
		if h := header(t, raw); err == nil || got != m.naive.end {
			for _, one := range added { // a prefix of markers right at the end is taken
				if h = header(t, one); h.Control() && h.BaseOffset == m.naive.end {
					m.naive.add(one)
					continue
				}
				break
			}
		}
		if got != m.naive.end {
			t.Fatalf("while leading: end %d, want %d", got, m.naive.end)
		}
		return
	}
	if err != nil || got != end {
		t.Fatalf("Replicate = %d, %v, want %d", got, err, end)
	}
	for _, one := range added {
		m.naive.add(one)
	}
}

// deliverAgain replicates what is there already: nothing happens.
func (m *machine) deliverAgain(t *rapid.T) {
	if len(m.naive.batches) == 0 {
		t.Skip("the log is empty")
	}
	from := rapid.IntRange(0, len(m.naive.batches)-1).Draw(t, "from")
	var raw []byte
	for _, b := range m.naive.batches[from:min(from+3, len(m.naive.batches))] {
		raw = append(raw, b.raw...)
	}
	if end, err := m.log.Replicate(raw); err != nil || end != m.naive.end {
		t.Fatalf("Replicate = %d, %v, want %d", end, err, m.naive.end)
	}
}

// diverge replicates something else where there is something.
func (m *machine) diverge(t *rapid.T) {
	held := m.naive.batches[m.naive.firstHeld():]
	if len(held) == 0 {
		t.Skip("the log is empty")
	}
	b := rapid.SampledFrom(held).Draw(t, "batch")
	raw := bytes.Clone(b.raw)
	h := b.Header
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0: // other bytes
		batch.SetMaxTimestamp(raw, h.MaxTimestamp+1)
		batch.RewriteCRC(raw)
	case 1: // other place, overlapping
		if h.LastOffsetDelta == 0 {
			t.Skip("no room for an overlap")
		}
		batch.SetBaseOffset(raw, h.BaseOffset+1)
	case 2: // more offsets
		h.LastOffsetDelta += 2
		raw = batchtest.Seal(h, raw[batch.HeaderSize:])
	}
	_, err := m.log.Replicate(raw)
	var diverged storage.ErrDiverged
	if !errors.As(err, &diverged) || diverged.Offset != header(t, raw).BaseOffset {
		t.Fatalf("Replicate of another batch at %d: %v", header(t, raw).BaseOffset, err)
	}
}

func (m *machine) lead(t *rapid.T) {
	epoch := m.naive.leaderEpoch + int32(rapid.IntRange(-1, 3).Draw(t, "epoch"))
	err := m.log.Lead(epoch)
	if epoch < m.naive.leaderEpoch {
		if !errors.Is(err, storage.ErrStaleEpoch) {
			t.Fatalf("Lead(%d) after %v: %v", epoch, m.naive.epochs, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.naive.leading, m.naive.leaderEpoch = true, epoch
	m.naive.epochs = m.naive.epochs.Assign(epoch, m.naive.end)
}

func (m *machine) follow(t *rapid.T) {
	if end := m.log.Follow(); end != m.naive.end {
		t.Fatalf("Follow = %d, want %d", end, m.naive.end)
	}
	m.naive.leading = false
}

// learn tells of an epoch without records at the end.
func (m *machine) learn(t *rapid.T) {
	epoch := m.naive.epochs.Latest() + int32(rapid.IntRange(1, 2).Draw(t, "epoch"))
	if err := m.log.LearnEpoch(epoch, m.naive.end); err != nil {
		t.Fatal(err)
	}
	m.naive.epochs = m.naive.epochs.Assign(epoch, m.naive.end)
	m.naive.leaderEpoch = max(m.naive.leaderEpoch, epoch)
}

func (m *machine) deleteBefore(t *rapid.T) {
	durable(t, m.log)
	to := rapid.Int64Range(m.naive.start-2, m.naive.end+1).Draw(t, "to")
	got, err := m.log.DeleteBefore(to)
	if to == -1 {
		to = m.naive.end
	}
	if to > m.naive.end || to < 0 {
		if !errors.As(err, &storage.ErrOffsetOutOfRange{}) {
			t.Fatalf("DeleteBefore(%d) of %+v: %v", to, m.log.Bounds(), err)
		}
		return
	}
	if to > m.naive.start {
		m.naive.start = to
		m.naive.epochs = m.naive.epochs.TruncateStart(to)
	}
	if err != nil || got != m.naive.start {
		t.Fatalf("DeleteBefore(%d) = %d, %v, want %d", to, got, err, m.naive.start)
	}
}

func (m *machine) reset(t *rapid.T) {
	to := rapid.Int64Range(0, 1<<33).Draw(t, "to")
	err := m.engine.Reset(partition, to)
	if m.naive.leading {
		if !errors.Is(err, storage.ErrLeading) {
			t.Fatalf("Reset while leading: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.naive.reset(to)
}

// flush moves everything into objects; the WAL drops the segments of earlier
// incarnations.
func (m *machine) flush(t *rapid.T) {
	if err := m.engine.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) restart(t *rapid.T) {
	if err := m.engine.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopen(t, m.dirs[len(m.dirs)-1])
}

// crash goes on with a copy of the files as they are.
func (m *machine) crash(t *rapid.T) {
	durable(t, m.log) // what is not may be lost: that is TestTornTail's business
	from := m.dirs[len(m.dirs)-1]
	to := m.folder(t)
	m.settleControl(t)
	copyFolder(t, from, to)
	if err := m.engine.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopen(t, to)
}

// settleControl waits until records that nobody waits for (epochs) are durable:
// a record behind them is.
func (m *machine) settleControl(t tb) {
	if err := m.engine.DeleteTopic(offsets.TopicID{99}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.engine.Create(offsets.Partition{Topic: offsets.TopicID{99}}, 0); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) reopen(t *rapid.T, dir string) {
	m.engine = open(t, trimmed(dir).WithMerges(2))
	l, ok := m.engine.Log(partition)
	if !ok {
		t.Fatal("the partition is gone")
	}
	m.log = l
	m.naive.leading = false
}

func (m *machine) check(t *rapid.T) {
	durable(t, m.log)
	n := &m.naive
	b := m.log.Bounds()
	want := storage.Bounds{
		Start: n.start, End: n.end, Durable: n.end, Stable: n.stable(), Epoch: n.epochs.Latest(), Leading: n.leading,
		MaxTimestamp: b.MaxTimestamp, Replayed: b.Replayed,
	}
	if b != want {
		t.Fatalf("bounds %+v, want %+v", b, want)
	}
	if diff := cmp.Diff(n.epochs, m.log.Epochs(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("epochs: %s", diff)
	}
	if !bytes.Equal(readAll(t, m.log, n.start), n.bytes(n.start)) {
		t.Fatal("the log holds other bytes")
	}
	m.checkProducers(t)
	m.checkDigests(t)
	m.checkRead(t)
	m.checkTimes(t)
}

func (m *machine) checkProducers(t *rapid.T) {
	seen := 0
	for id := range int64(4) {
		epoch, last, open := m.naive.producer(id)
		if id == 0 || epoch == -1 {
			continue
		}
		seen++
		for _, p := range m.log.Producers() {
			if p.ProducerID != id {
				continue
			}
			sequence := int32(-1)
			if len(last) > 0 {
				sequence = last[len(last)-1].LastSequence()
			}
			if p.Epoch != epoch || p.LastSequence != sequence || (p.TxnStart >= 0) != open {
				t.Fatalf("producer %+v, want epoch %d, sequence %d, open %v", p, epoch, sequence, open)
			}
		}
	}
	if n := len(m.log.Producers()); n != seen {
		t.Fatalf("%d producers, want %d", n, seen)
	}
}

func (m *machine) checkDigests(t *rapid.T) {
	n := &m.naive
	var entries []offsets.Entry
	for _, b := range n.batches {
		entries = append(entries, b.entry())
	}
	listed, err := m.log.Entries(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// What is deleted may be forgotten.
	forgotten := len(entries) - len(listed)
	if forgotten < 0 || forgotten > n.firstHeld() {
		t.Fatalf("%d entries of %d, %d are deleted", len(listed), len(entries), n.firstHeld())
	}
	if diff := cmp.Diff(entries[forgotten:], listed, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("entries: %s", diff)
	}
	var least, most int64 // an object counts as a whole
	for _, b := range n.batches {
		most += int64(len(b.raw))
		if b.LastOffset() >= n.start {
			least += int64(len(b.raw))
		}
	}
	if got := m.log.Size(); got < least || got > most {
		t.Fatalf("Size() = %d, want %d to %d", got, least, most)
	}
	for at := max(n.origin, n.end-20) - 1; at <= n.end+1; at++ {
		got, ok := m.log.Digest(at)
		want, wantOK := n.digest(at)
		if !ok && at < n.start {
			continue // forgotten
		}
		if ok != wantOK || ok && !got.Equal(want) {
			t.Fatalf("Digest(%d) = %+v, %v, want %+v, %v", at, got, ok, want, wantOK)
		}
	}
}

// checkRead reads from somewhere with some limit, both isolations.
func (m *machine) checkRead(t *rapid.T) {
	n := &m.naive
	from := rapid.Int64Range(n.start-1, n.end+1).Draw(t, "from")
	limit := rapid.IntRange(0, 600).Draw(t, "limit")
	minOne, committed := rapid.Bool().Draw(t, "min one"), rapid.Bool().Draw(t, "committed")
	c, err := m.log.Read(from, limit, minOne, committed)
	if from < n.start || from > n.end {
		if !errors.As(err, &storage.ErrOffsetOutOfRange{}) {
			t.Fatalf("Read(%d) of %+v: %v", from, m.log.Bounds(), err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	end := n.end
	if committed {
		end = n.stable()
	}
	var want []byte
	next := from
	for _, b := range n.batches {
		if b.LastOffset() < from {
			continue
		}
		if len(want) > 0 && next == c.Next && !m.log.Hot(from) {
			break // a read from objects need not go on behind them
		}
		if b.BaseOffset >= end || len(want)+len(b.raw) > limit && (len(want) > 0 || !minOne) {
			break
		}
		want, next = append(want, b.raw...), b.LastOffset()+1
	}
	if got := bytes.Join(c.Segments, nil); !bytes.Equal(got, want) || c.Next != next {
		t.Fatalf("Read(%d, %d, %v, %v) = %d bytes, next %d, want %d and %d", from, limit, minOne, committed, len(got), c.Next, len(want), next)
	}
	aborted := n.aborted(from, next)
	if !committed || len(want) == 0 {
		aborted = nil
	}
	got := map[storage.AbortedTxn]bool{}
	for _, a := range c.Aborted {
		got[a] = true
	}
	if diff := cmp.Diff(aborted, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("aborted in [%d, %d): %s", from, next, diff)
	}
}

func (m *machine) checkTimes(t *rapid.T) {
	ts := epochTime.UnixMilli() - int64(rapid.IntRange(-60, 1010).Draw(t, "ago"))
	found, ok, err := m.log.OffsetForTime(ts)
	wantOffset, wantTimestamp, wantOK := m.naive.forTime(ts)
	if err != nil || ok != wantOK || ok && (found.Offset != wantOffset || found.Timestamp != wantTimestamp) {
		t.Fatalf("OffsetForTime(%d) = %+v, %v, %v, want %d, %d, %v", ts, found, ok, err, wantOffset, wantTimestamp, wantOK)
	}
	largest, everLargest := m.naive.largestTime()
	wantOffset, _, _ = m.naive.forTime(largest)
	found, ok, err = m.log.MaxTimestampOffset()
	if err != nil || ok != (largest >= 0) || ok && (found.Offset != wantOffset || found.Timestamp != largest) {
		t.Fatalf("MaxTimestampOffset = %+v, %v, %v, want %d, %d", found, ok, err, wantOffset, largest)
	}
	if b := m.log.Bounds(); b.MaxTimestamp != everLargest {
		t.Fatalf("bounds %+v, want largest timestamp %d", b, everLargest)
	}
}
