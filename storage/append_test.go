package storage_test

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

func TestAppendAssignsOffsetsInOrder(t *testing.T) {
	l := leader(t)
	lead(t, l, 7)
	var got answers
	var want []byte
	next := int64(0)
	for n := range 50 {
		raw := batchtest.Build(batchtest.Spec{LeaderEpoch: 99, Records: batchtest.Values("a", numbered(n))})
		stored := bytes.Clone(raw)
		batch.SetBaseOffset(stored, next)
		batch.SetLeaderEpoch(stored, 7)
		want = append(want, stored...)
		next += 2
		l.Append(raw, storage.Meta{}, got.done())
	}
	got.wg.Wait()
	for i, a := range got.all {
		if a.Err != nil || a.Base != int64(2*i) || a.Last != int64(2*i+1) || a.AppendTime != -1 || a.Duplicate {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
	if !bytes.Equal(readAll(t, l, 0), want) {
		t.Fatal("the log does not hold what was appended")
	}
	if b := l.Bounds(); b.End != 100 || b.Durable != 100 || b.Stable != 100 || b.Epoch != 7 || !b.Leading {
		t.Fatalf("bounds %+v", b)
	}
}

// Each row is a row of Kafka's own behaviour, measured on brokers.
func TestProducerStateRefusesWhatKafkaRefuses(t *testing.T) {
	type step struct {
		epoch     int16
		sequence  int32
		records   int
		want      error
		duplicate bool
	}
	for name, steps := range map[string][]step{
		"unknown id, any first sequence": {{0, 17, 1, nil, false}, {0, 18, 1, nil, false}},
		"gap":                            {{0, 0, 1, nil, false}, {0, 2, 1, storage.ErrOutOfOrder, false}},
		"repeat of the last":             {{0, 0, 2, nil, false}, {0, 0, 2, nil, true}},
		"repeat with another count":      {{0, 0, 2, nil, false}, {0, 0, 1, storage.ErrOutOfOrder, false}},
		"partial overlap":                {{0, 0, 2, nil, false}, {0, 1, 2, storage.ErrOutOfOrder, false}},
		"fifth last and sixth last": {
			{0, 0, 1, nil, false}, {0, 1, 1, nil, false}, {0, 2, 1, nil, false}, {0, 3, 1, nil, false},
			{0, 4, 1, nil, false}, {0, 5, 1, nil, false}, {0, 1, 1, nil, true}, {0, 0, 1, storage.ErrOutOfOrder, false},
		},
		"new epoch from zero":          {{0, 5, 1, nil, false}, {1, 0, 1, nil, false}, {1, 1, 1, nil, false}},
		"new epoch not from zero":      {{0, 5, 1, nil, false}, {1, 6, 1, storage.ErrOutOfOrder, false}},
		"older epoch":                  {{3, 0, 1, nil, false}, {2, 1, 1, storage.ErrFenced, false}},
		"older epoch, same sequence":   {{3, 0, 1, nil, false}, {2, 0, 1, storage.ErrFenced, false}},
		"wrap at the end of a batch":   {{0, math.MaxInt32, 1, nil, false}, {0, 0, 1, nil, false}},
		"wrap inside of a batch":       {{0, math.MaxInt32 - 1, 4, nil, false}, {0, 2, 1, nil, false}},
		"repeat of a wrapped batch":    {{0, math.MaxInt32 - 1, 4, nil, false}, {0, math.MaxInt32 - 1, 4, nil, true}},
		"refused leaves no trace":      {{0, 0, 1, nil, false}, {0, 9, 1, storage.ErrOutOfOrder, false}, {0, 1, 1, nil, false}},
		"old epoch's repeat is fenced": {{0, 0, 1, nil, false}, {1, 0, 1, nil, false}, {0, 0, 1, storage.ErrFenced, false}},
	} {
		t.Run(name, func(t *testing.T) {
			l := leader(t)
			bases := map[[2]int32]int64{}
			for i, s := range steps {
				values := make([]string, s.records)
				raw := batchtest.Build(batchtest.Spec{Producer: 5, ProducerEpoch: s.epoch, Sequence: s.sequence, Time: 44, Records: batchtest.Values(values...)})
				a := appendNow(t, l, raw)
				if !errors.Is(a.Err, s.want) || s.want == nil && a.Err != nil || a.Duplicate != s.duplicate {
					t.Fatalf("step %d %+v: %+v", i, s, a)
				}
				key := [2]int32{int32(s.epoch), s.sequence}
				if s.duplicate && (a.Base != bases[key] || a.AppendTime == -1) {
					t.Fatalf("step %d: duplicate answered with %+v, original was at %d", i, a, bases[key])
				}
				if a.Err == nil {
					bases[key] = a.Base
				}
			}
		})
	}
}

func TestProducersWithoutIDAreNeverDuplicates(t *testing.T) {
	l := leader(t)
	for want := range int64(3) {
		if a := appendNow(t, l, batchtest.Build(batchtest.Spec{Records: batchtest.Values("same")})); a.Base != want || a.Duplicate {
			t.Fatalf("%+v, want offset %d", a, want)
		}
	}
}

// A duplicate is answered behind its original, when that is durable.
func TestDuplicateInFlight(t *testing.T) {
	l := leader(t)
	var got answers
	for range 3 {
		l.Append(batchtest.Build(batchtest.Spec{Producer: 5, Records: batchtest.Values("a", "b")}), storage.Meta{}, got.done())
	}
	l.Append(batchtest.Build(batchtest.Spec{Producer: 5, Sequence: 9, Records: batchtest.Values("bad")}), storage.Meta{}, got.done())
	got.wg.Wait()
	for i, a := range got.all[:3] {
		if a.Err != nil || a.Base != 0 || a.Last != 1 || a.Duplicate != (i > 0) {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
	if !errors.Is(got.all[3].Err, storage.ErrOutOfOrder) {
		t.Fatalf("%+v", got.all[3])
	}
}

func TestProducerExpiresLaterThanOnLegacy(t *testing.T) {
	now := epochTime
	cfg := config(t.TempDir())
	cfg.Now = func() time.Time { return now }
	e := open(t, cfg)
	defer e.Close()
	l := create(t, e, 0)
	lead(t, l, 0)
	spec := func(sequence int32) []byte {
		return batchtest.Build(batchtest.Spec{Producer: 5, Sequence: sequence, Time: now.UnixMilli(), Records: batchtest.Values("a")})
	}
	appendNow(t, l, spec(0))
	now = now.Add(24*time.Hour + 30*time.Minute)
	if a := appendNow(t, l, spec(7)); !errors.Is(a.Err, storage.ErrOutOfOrder) {
		t.Fatalf("after 24.5 h: %+v", a)
	}
	now = now.Add(time.Hour)
	if n := len(l.Producers()); n != 0 {
		t.Fatalf("%d producers after 25.5 h", n)
	}
	if a := appendNow(t, l, spec(7)); a.Err != nil {
		t.Fatalf("after 25.5 h: %+v", a)
	}
}

func TestLeadAndFollow(t *testing.T) {
	l := create(t, engine(t), 10)
	one := func() []byte { return batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")}) }
	if a := appendNow(t, l, one()); !errors.Is(a.Err, storage.ErrNotLeader) {
		t.Fatalf("before Lead: %+v", a)
	}
	lead(t, l, 4)
	lead(t, l, 4)
	appendNow(t, l, one())
	lead(t, l, 6)
	lead(t, l, 8)
	appendNow(t, l, one())
	if err := l.Lead(5); !errors.Is(err, storage.ErrStaleEpoch) {
		t.Fatalf("lower epoch: %v", err)
	}
	if end := l.Follow(); end != 12 {
		t.Fatalf("Follow = %d", end)
	}
	if a := appendNow(t, l, one()); !errors.Is(a.Err, storage.ErrNotLeader) {
		t.Fatalf("after Follow: %+v", a)
	}
	if err := l.Lead(7); !errors.Is(err, storage.ErrStaleEpoch) {
		t.Fatalf("lower epoch after Follow: %v", err)
	}
	// Kafka's list: epoch 6 held no record and 8 began at the same offset.
	want := offsets.Epochs{{Epoch: 4, Start: 10}, {Epoch: 8, Start: 11}}
	if got := l.Epochs(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("epochs %v, want %v", got, want)
	}
}

func TestMetaIsKept(t *testing.T) {
	dir := t.TempDir()
	e := open(t, config(dir))
	l := create(t, e, 0)
	lead(t, l, 0)
	metas := []storage.Meta{{}, {"tx-1", 12, "User:alice"}, {string(bytes.Repeat([]byte("x"), 3000)), 9, "User:ANONYMOUS"}}
	for i, m := range metas {
		ch := make(chan storage.Appended, 1)
		l.Append(batchtest.Build(batchtest.Spec{Records: batchtest.Values(numbered(i))}), m, func(a storage.Appended) { ch <- a })
		receive(t, ch)
	}
	check := func(l *storage.Log) {
		t.Helper()
		for i, want := range metas {
			b, ok, err := l.Batch(int64(i))
			if err != nil || !ok || b.Meta != want || b.Header.BaseOffset != int64(i) || !b.At.Equal(epochTime) {
				t.Fatalf("batch %d: %+v, %v, %v", i, b, ok, err)
			}
			if err := batch.CheckCRC(b.Raw); err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		if _, ok, err := l.Batch(int64(len(metas))); ok || err != nil {
			t.Fatalf("batch behind the end: %v, %v", ok, err)
		}
	}
	check(l)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, config(dir))
	defer e.Close()
	l, _ = e.Log(partition)
	check(l)
}
