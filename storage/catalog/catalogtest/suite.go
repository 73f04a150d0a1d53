package catalogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchback/storage/catalog"
)

const patience = 10 * time.Second

// Run checks that a catalog keeps the contract. open returns an empty one, which
// Run closes.
func Run(t *testing.T, open func(t *testing.T) catalog.Catalog) {
	for name, test := range map[string]func(*testing.T, catalog.Catalog){
		"absent":          testAbsent,
		"revisions":       testRevisions,
		"compare":         testCompare,
		"all or nothing":  testAllOrNothing,
		"list":            testList,
		"own copies":      testOwnCopies,
		"limits":          testLimits,
		"done context":    testDoneContext,
		"watch":           testWatch,
		"watch ends":      testWatchEnds,
		"one of many":     testOneOfManyWins,
		"close":           testClose,
		"unknown outcome": testUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			defer func() { _ = c.Close() }()
			test(t, c)
		})
	}
}

func get(t *testing.T, c catalog.Catalog, key string) catalog.KV {
	t.Helper()
	kv, err := c.Get(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func txn(t *testing.T, c catalog.Catalog, cmps []catalog.Compare, ops ...catalog.Op) int64 {
	t.Helper()
	rev, err := c.Txn(context.Background(), cmps, ops)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func put(key, value string) catalog.Op { return catalog.Op{Key: key, Value: []byte(value)} }

func testAbsent(t *testing.T, c catalog.Catalog) {
	if kv := get(t, c, "nothing"); kv.Key != "nothing" || kv.Rev != 0 || kv.Value != nil {
		t.Fatalf("%+v", kv)
	}
	if kvs, err := c.List(context.Background(), ""); err != nil || len(kvs) != 0 {
		t.Fatalf("%v, %v", kvs, err)
	}
}

func testRevisions(t *testing.T, c catalog.Catalog) {
	last := int64(0)
	for i := range 5 {
		rev := txn(t, c, nil, put("a", fmt.Sprint(i)), put("b", fmt.Sprint(i)))
		if rev <= last {
			t.Fatalf("revision %d after %d", rev, last)
		}
		last = rev
		for _, key := range []string{"a", "b"} {
			if kv := get(t, c, key); kv.Rev != rev || string(kv.Value) != fmt.Sprint(i) {
				t.Fatalf("%+v, want revision %d", kv, rev)
			}
		}
	}
	txn(t, c, nil, catalog.Op{Key: "a", Delete: true}, catalog.Op{Key: "never was", Delete: true})
	if kv := get(t, c, "a"); kv.Rev != 0 || kv.Value != nil {
		t.Fatalf("deleted: %+v", kv)
	}
	if rev := txn(t, c, nil, put("a", "again")); rev <= last {
		t.Fatalf("revision %d after a deletion, had %d before", rev, last)
	}
	txn(t, c, nil, put("empty", ""))
	if kv := get(t, c, "empty"); kv.Rev == 0 || kv.Value == nil || len(kv.Value) != 0 {
		t.Fatalf("empty value: %+v", kv)
	}
	txn(t, c, nil, put("twice", "first"), put("twice", "second"))
	if kv := get(t, c, "twice"); string(kv.Value) != "second" {
		t.Fatalf("operations are not in order: %+v", kv)
	}
}

func testCompare(t *testing.T, c catalog.Catalog) {
	ctx := context.Background()
	absent := []catalog.Compare{{Key: "k"}}
	rev := txn(t, c, absent, put("k", "1"))
	if _, err := c.Txn(ctx, absent, []catalog.Op{put("k", "2")}); !errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("created twice: %v", err)
	}
	next, err := catalog.Put(ctx, c, catalog.KV{Key: "k", Value: []byte("2"), Rev: rev})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Put(ctx, c, catalog.KV{Key: "k", Value: []byte("3"), Rev: rev}); !errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("stale revision: %v", err)
	}
	if kv := get(t, c, "k"); string(kv.Value) != "2" || kv.Rev != next {
		t.Fatalf("%+v, want revision %d", kv, next)
	}
	if _, err := c.Txn(ctx, []catalog.Compare{{Key: "k", Rev: next}}, nil); err != nil {
		t.Fatalf("compare without operations: %v", err)
	}
	if kv := get(t, c, "k"); kv.Rev != next {
		t.Fatalf("a compare changed the revision: %+v", kv)
	}
}

func testAllOrNothing(t *testing.T, c catalog.Catalog) {
	txn(t, c, nil, put("a", "1"))
	_, err := c.Txn(context.Background(),
		[]catalog.Compare{{Key: "b"}, {Key: "a", Rev: 1 << 40}},
		[]catalog.Op{put("b", "1"), {Key: "a", Delete: true}})
	if !errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("%v", err)
	}
	if get(t, c, "b").Rev != 0 || get(t, c, "a").Rev == 0 {
		t.Fatal("half of a transaction happened")
	}
}

func testList(t *testing.T, c catalog.Catalog) {
	txn(t, c, nil, put("t/2", "two"), put("t/10", "ten"), put("t/1", "one"), put("u/1", "no"), put("s", "no"), put("t", "no"))
	kvs, err := c.List(context.Background(), "t/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, kv := range kvs {
		got = append(got, kv.Key+"="+string(kv.Value))
		if kv.Rev == 0 {
			t.Fatalf("%+v", kv)
		}
	}
	if diff := cmp.Diff([]string{"t/1=one", "t/10=ten", "t/2=two"}, got); diff != "" {
		t.Fatal(diff)
	}
	if kvs, err = c.List(context.Background(), ""); err != nil || len(kvs) != 6 {
		t.Fatalf("%d pairs in all, %v", len(kvs), err)
	}
}

func testOwnCopies(t *testing.T, c catalog.Catalog) {
	value := []byte("value")
	txn(t, c, nil, catalog.Op{Key: "k", Value: value})
	value[0] = 'X'
	kv := get(t, c, "k")
	kv.Value[0] = 'Y'
	if again := get(t, c, "k"); string(again.Value) != "value" {
		t.Fatalf("%s", again.Value)
	}
}

func testLimits(t *testing.T, c catalog.Catalog) {
	many := make([]catalog.Op, catalog.MaxOps+1)
	cmps := make([]catalog.Compare, catalog.MaxCompares+1)
	for i := range many {
		many[i], cmps[i] = put(fmt.Sprint("k", i), "v"), catalog.Compare{Key: fmt.Sprint("k", i)}
	}
	for name, f := range map[string]func() error{
		"empty key":     func() error { _, err := c.Txn(context.Background(), nil, []catalog.Op{put("", "v")}); return err },
		"empty get":     func() error { _, err := c.Get(context.Background(), ""); return err },
		"empty compare": func() error { _, err := c.Txn(context.Background(), []catalog.Compare{{}}, nil); return err },
		"long key": func() error {
			_, err := c.Get(context.Background(), strings.Repeat("k", catalog.MaxKeyLength+1))
			return err
		},
		"many ops":      func() error { _, err := c.Txn(context.Background(), nil, many); return err },
		"many compares": func() error { _, err := c.Txn(context.Background(), cmps, nil); return err },
		"too many bytes": func() error {
			_, err := c.Txn(context.Background(), nil, []catalog.Op{{Key: "k", Value: make([]byte, catalog.MaxTxnBytes)}})
			return err
		},
	} {
		if err := f(); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	txn(t, c, cmps[:catalog.MaxCompares], many[:catalog.MaxOps]...)
	big := bytes.Repeat([]byte("v"), catalog.MaxTxnBytes-1)
	txn(t, c, nil, catalog.Op{Key: "k", Value: big})
	if kv := get(t, c, "k"); !bytes.Equal(kv.Value, big) {
		t.Errorf("%d bytes came back, want %d", len(kv.Value), len(big))
	}
}

func testDoneContext(t *testing.T, c catalog.Catalog) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Txn(ctx, nil, []catalog.Op{put("k", "v")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("Txn: %v", err)
	}
	if get(t, c, "k").Rev != 0 {
		t.Fatal("a refused transaction happened")
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Fatalf("Get: %v", err)
	}
	if _, err := c.List(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Fatalf("List: %v", err)
	}
}

func woken(t *testing.T, ch <-chan struct{}) bool {
	t.Helper()
	select {
	case _, ok := <-ch:
		return ok
	case <-time.After(patience):
		t.Fatal("no wake-up")
		return false
	}
}

func testWatch(t *testing.T, c catalog.Catalog) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := c.Watch(ctx, "routes/")
	if err != nil {
		t.Fatal(err)
	}
	if !woken(t, ch) {
		t.Fatal("closed")
	}
	for i := range 3 { // a change per wake-up
		txn(t, c, nil, put("routes/a", fmt.Sprint(i)))
		for string(get(t, c, "routes/a").Value) != fmt.Sprint(i) || !woken(t, ch) {
			t.Fatal("woken without the change")
		}
	}
	for i := range 10 { // many changes, at least one wake-up behind the last
		txn(t, c, nil, put("routes/a", fmt.Sprint("many ", i)))
	}
	woken(t, ch)
	txn(t, c, nil, catalog.Op{Key: "routes/a", Delete: true})
	woken(t, ch)
}

func testWatchEnds(t *testing.T, c catalog.Catalog) {
	ctx, cancel := context.WithCancel(context.Background())
	ended, err := c.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	stays, err := c.Watch(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for woken(t, ended) {
	}
	txn(t, c, nil, put("k", "v"))
	if !woken(t, stays) {
		t.Fatal("the other watch ended too")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for woken(t, stays) {
	}
}

func testOneOfManyWins(t *testing.T, c catalog.Catalog) {
	const writers, rounds = 8, 10
	for round := range rounds {
		rev := get(t, c, "k").Rev
		var mu sync.Mutex
		won := 0
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				_, err := catalog.Put(context.Background(), c, catalog.KV{Key: "k", Value: []byte(fmt.Sprint(round, w)), Rev: rev})
				if err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				} else if !errors.Is(err, catalog.ErrConflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("%d writers won", won)
		}
	}
}

func testClose(t *testing.T, c catalog.Catalog) {
	txn(t, c, nil, put("k", "v"))
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	if _, err := c.Get(ctx, "k"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if _, err := c.List(ctx, "k"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("List: %v", err)
	}
	if _, err := c.Txn(ctx, nil, []catalog.Op{put("k", "w")}); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("Txn: %v", err)
	}
	if _, err := c.Watch(ctx, "k"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
}

// The wrapper around this catalog tells ErrUnknown, and only the effect differs.
func testUnknown(t *testing.T, c catalog.Catalog) {
	for n, outcome := range []Outcome{Pass, Before, After} {
		u := NewUnknown(c, Nth(0, outcome))
		key := fmt.Sprint("k", n)
		_, err := u.Txn(context.Background(), []catalog.Compare{{Key: key}}, []catalog.Op{put(key, "v")})
		if errors.Is(err, catalog.ErrUnknown) != (outcome != Pass) {
			t.Errorf("%v: %v", outcome, err)
		}
		if happened := get(t, u, key).Rev != 0; happened != (outcome != Before) {
			t.Errorf("%v: happened is %v", outcome, happened)
		}
		if _, err := u.Txn(context.Background(), nil, []catalog.Op{put(key, "w")}); err != nil || u.Count() != 2 {
			t.Errorf("%v: second transaction: %v", outcome, err)
		}
	}
}
