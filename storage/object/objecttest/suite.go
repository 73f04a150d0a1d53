package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"switchback/storage/object"
)

// Run tests a store. open returns an empty one; it is called once per test, which
// closes what it gets.
func Run(t *testing.T, open func(t *testing.T) object.Store) {
	for name, test := range map[string]func(*testing.T, object.Store){
		"put and get": putAndGet, "list": list, "many keys": manyKeys, "delete": remove, "broken body": brokenBody,
		"cancelled": cancelled, "large body": largeBody, "all at once": allAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			test(t, s)
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Errorf("close twice: %v", err)
			}
		})
	}
}

func put(t *testing.T, s object.Store, key string, b []byte) {
	t.Helper()
	if n, err := s.Put(t.Context(), key, bytes.NewReader(b)); err != nil || n != int64(len(b)) {
		t.Fatalf("put %s: %d bytes, %v", key, n, err)
	}
}

func putAndGet(t *testing.T, s object.Store) {
	ctx := t.Context()
	b := []byte("0123456789")
	put(t, s, "data/a", b)
	put(t, s, "data/empty", nil)
	for from := range int64(11) {
		for n := range 11 - from {
			got, err := s.Get(ctx, "data/a", from, n)
			if err != nil || !bytes.Equal(got, b[from:from+n]) {
				t.Fatalf("%d bytes at %d: %q, %v", n, from, got, err)
			}
		}
		tail, size, err := s.Tail(ctx, "data/a", from+5)
		if want := b[max(0, 5-from):]; err != nil || size != 10 || !bytes.Equal(tail, want) {
			t.Fatalf("last %d bytes: %q of %d, %v", from+5, tail, size, err)
		}
	}
	if tail, size, err := s.Tail(ctx, "data/empty", 5); err != nil || size != 0 || len(tail) != 0 {
		t.Fatalf("end of an empty object: %q of %d, %v", tail, size, err)
	}
	for _, r := range [][2]int64{{0, 11}, {10, 1}, {11, 1}, {9, 2}, {-1, 2}, {1 << 40, 1}} {
		if b, err := s.Get(ctx, "data/a", r[0], r[1]); !errors.Is(err, object.ErrTruncated) {
			t.Errorf("%d bytes at %d: %q, %v", r[1], r[0], b, err)
		}
	}
	if _, err := s.Get(ctx, "data/b", 0, 1); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("get what is not there: %v", err)
	}
	if _, _, err := s.Tail(ctx, "data/b", 1); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("end of what is not there: %v", err)
	}
}

func keys(t *testing.T, s object.Store, prefix, after string) []string {
	t.Helper()
	all, err := s.List(t.Context(), prefix, after)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, i := range all {
		found = append(found, i.Key)
	}
	return found
}

func list(t *testing.T, s object.Store) {
	began := time.Now().Add(-time.Minute)
	for _, key := range []string{"data/b", "data/a", "data/c/d", "other/a"} {
		put(t, s, key, []byte(key))
	}
	for _, c := range []struct{ prefix, after, want string }{
		{"", "", "[data/a data/b data/c/d other/a]"},
		{"data/", "", "[data/a data/b data/c/d]"},
		{"data/", "data/a", "[data/b data/c/d]"},
		{"data/", "data/aa", "[data/b data/c/d]"},
		{"data/b", "", "[data/b]"},
		{"nothing/", "", "[]"},
	} {
		if got := fmt.Sprint(keys(t, s, c.prefix, c.after)); got != c.want {
			t.Errorf("list %q after %q: %s, want %s", c.prefix, c.after, got, c.want)
		}
	}
	all, err := s.List(t.Context(), "other/", "")
	if err != nil || len(all) != 1 || all[0].Size != 7 || all[0].Modified.Before(began) || all[0].Modified.After(time.Now().Add(time.Minute)) {
		t.Errorf("%+v, %v", all, err)
	}
}

// manyKeys is more than a server lists at once.
func manyKeys(t *testing.T, s object.Store) {
	const count = 1203
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for n := w; n < count; n += 8 {
				if _, err := s.Put(t.Context(), fmt.Sprintf("data/%05d", n), bytes.NewReader([]byte{1})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got := keys(t, s, "data/", "data/00001")
	if len(got) != count-2 {
		t.Fatalf("%d keys, want %d", len(got), count-2)
	}
	for n, key := range got {
		if want := fmt.Sprintf("data/%05d", n+2); key != want {
			t.Fatalf("key %d is %s, want %s", n, key, want)
		}
	}
}

func remove(t *testing.T, s object.Store) {
	put(t, s, "data/a", []byte("a"))
	put(t, s, "data/b", []byte("b"))
	for range 2 {
		if err := s.Delete(t.Context(), "data/a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "never/there"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(keys(t, s, "", "")); got != "[data/b]" {
		t.Fatalf("left: %s", got)
	}
	if _, err := s.Get(t.Context(), "data/a", 0, 1); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("get what was deleted: %v", err)
	}
}

var errBody = errors.New("body is broken")

func brokenBody(t *testing.T, s object.Store) {
	for _, size := range []int64{0, 10, 20 << 20} {
		body := io.MultiReader(io.LimitReader(zeros{}, size), broken{})
		if _, err := s.Put(t.Context(), "data/a", body); !errors.Is(err, errBody) {
			t.Errorf("broken after %d bytes: %v", size, err)
		}
	}
	if got := keys(t, s, "", ""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBody }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func cancelled(t *testing.T, s object.Store) {
	put(t, s, "data/a", []byte("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := s.Put(ctx, "data/b", bytes.NewReader([]byte("b")))
	_, getErr := s.Get(ctx, "data/a", 0, 1)
	_, _, tailErr := s.Tail(ctx, "data/a", 1)
	_, listErr := s.List(ctx, "", "")
	for name, err := range map[string]error{"put": putErr, "get": getErr, "tail": tailErr, "list": listErr, "delete": s.Delete(ctx, "data/a")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := fmt.Sprint(keys(t, s, "", "")); got != "[data/a]" {
		t.Errorf("left: %s", got)
	}
}

// largeBody streams 64 MiB and wants memory to stay far below.
func largeBody(t *testing.T, s object.Store) {
	const size, most = 64 << 20, 48 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	body := &noisy{random: rand.NewChaCha8([32]byte{1}), left: size, most: &after}
	if n, err := s.Put(t.Context(), "data/large", body); err != nil || n != size {
		t.Fatalf("put: %d bytes, %v", n, err)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
		t.Errorf("memory grew by %d bytes", grown)
	}
	random := rand.NewChaCha8([32]byte{1})
	for at := int64(0); at < size; at += 8 << 20 {
		want := make([]byte, 8<<20)
		_, _ = random.Read(want)
		got, err := s.Get(t.Context(), "data/large", at, int64(len(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("at %d: %v", at, err)
		}
	}
}

// noisy is random bytes that look at the heap now and then.
type noisy struct {
	random *rand.ChaCha8
	left   int
	reads  int
	most   *runtime.MemStats
}

func (n *noisy) Read(b []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	if n.reads++; n.reads%256 == 0 {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > n.most.HeapAlloc {
			*n.most = now
		}
	}
	// In steps of 8, so that the bytes do not depend on how they are read.
	size := min(n.left, max(8, len(b)&^7))
	if size > len(b) {
		return 0, io.ErrShortBuffer
	}
	_, _ = n.random.Read(b[:size])
	n.left -= size
	return size, nil
}

// allAtOnce: whoever lists sees whole objects only.
func allAtOnce(t *testing.T, s object.Store) {
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 20 {
				key := fmt.Sprintf("data/%d-%d", w, n)
				b := bytes.Repeat([]byte{byte(n)}, 10_000)
				if _, err := s.Put(t.Context(), key, bytes.NewReader(b)); err != nil {
					t.Error(err)
				}
				got, err := s.Get(t.Context(), key, 0, 10_000)
				if err != nil || !bytes.Equal(got, b) {
					t.Errorf("%s after put: %v", key, err)
				}
				if n%2 == 1 {
					if err := s.Delete(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
			}
		})
		all.Go(func() {
			for range 20 {
				infos, err := s.List(t.Context(), "data/", "")
				if err != nil {
					t.Error(err)
				}
				for _, i := range infos {
					if i.Size != 10_000 {
						t.Errorf("%s is listed with %d bytes", i.Key, i.Size)
					}
				}
			}
		})
	}
	all.Wait()
	if got := keys(t, s, "", ""); len(got) != 40 {
		t.Errorf("%d objects are left, want 40", len(got))
	}
}
