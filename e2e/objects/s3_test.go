package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"switchback/storage/object"
	"switchback/storage/object/objecttest"
)

func config(address, prefix string) object.S3Config {
	return object.S3Config{
		Bucket: Bucket, Prefix: prefix, Endpoint: "http://" + address, Region: "us-east-1", PathStyle: true,
		AccessKey: AccessKey, SecretKey: SecretKey, PartSize: 5 << 20,
	}
}

func open(t *testing.T, cfg object.S3Config) object.Store {
	t.Helper()
	s, err := object.OpenS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestS3 runs what every store has to do over a real server, each test under a prefix of its own.
func TestS3(t *testing.T) {
	server := Start(t)
	n := 0
	objecttest.Run(t, func(t *testing.T) object.Store {
		n++
		return open(t, config(server.Address, fmt.Sprintf("/test/%d/", n)))
	})
}

func TestS3OpenRefuses(t *testing.T) {
	server := Start(t)
	for name, c := range map[string]struct {
		change func(*object.S3Config)
		says   string
	}{
		"no bucket":      {func(c *object.S3Config) { c.Bucket = "" }, "no bucket"},
		"another bucket": {func(c *object.S3Config) { c.Bucket = "nothing-here" }, "nothing-here"},
		"a wrong secret": {func(c *object.S3Config) { c.SecretKey = "wrong" }, "403"},
		"nobody there":   {func(c *object.S3Config) { c.Endpoint, c.Attempts = "http://127.0.0.1:1", 2 }, "refused"},
	} {
		cfg := config(server.Address, "")
		c.change(&cfg)
		if s, err := object.OpenS3(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// first makes the first request of some kind fail.
func first(f Fault, is func(*http.Request) bool) func(int, *http.Request) Fault {
	done := false
	return func(_ int, r *http.Request) Fault {
		if done || !is(r) {
			return Pass
		}
		done = true
		return f
	}
}

func method(m, query string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m && strings.Contains(r.URL.RawQuery, query) }
}

// TestS3OneFault makes one request of each kind fail in each way that it can: the call succeeds all the same, and what is stored is
// what was put.
func TestS3OneFault(t *testing.T) {
	server := Start(t)
	proxy := NewProxy(t, server.Address)
	cfg := config(proxy.Address, "")
	cfg.Timeout = time.Second
	s := open(t, cfg)
	small, large := []byte("0123456789"), bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	requests := map[string]func(*http.Request) bool{
		"put":             method(http.MethodPut, "x-id=PutObject"),
		"create upload":   method(http.MethodPost, "uploads"),
		"put part":        method(http.MethodPut, "x-id=UploadPart"),
		"complete upload": method(http.MethodPost, "uploadId"),
		"get":             method(http.MethodGet, "x-id=GetObject"),
		"list":            method(http.MethodGet, "list-type=2"),
		"delete":          method(http.MethodDelete, ""),
	}
	faults := map[Fault][]string{
		LostAck:     {"put", "create upload", "put part", "complete upload", "get", "list", "delete"},
		Reset:       {"put", "create upload", "put part", "complete upload", "get", "list", "delete"},
		Unavailable: {"put", "create upload", "put part", "complete upload", "get", "list", "delete"},
		CutBody:     {"create upload", "complete upload", "get", "list"},
		SlowBody:    {"create upload", "complete upload", "get", "list"},
		WholeObject: {"get"},
		OtherRange:  {"get"},
	}
	n := 0
	for fault, hit := range faults {
		for _, name := range hit {
			n++
			prefix := fmt.Sprintf("%d/", n)
			met := false
			proxy.Decide(first(fault, func(r *http.Request) bool {
				met = met || requests[name](r)
				return requests[name](r)
			}))
			if err := life(t.Context(), s, prefix, small, large); err != nil {
				t.Errorf("%s, fault %d: %v", name, fault, err)
			}
			if !met {
				t.Errorf("%s, fault %d: no such request", name, fault)
			}
		}
	}
}

// life does everything once.
func life(ctx context.Context, s object.Store, prefix string, small, large []byte) error {
	for key, b := range map[string][]byte{"small": small, "large": large} {
		if n, err := s.Put(ctx, prefix+key, bytes.NewReader(b)); err != nil || n != int64(len(b)) {
			return fmt.Errorf("put %s: %d bytes, %w", key, n, err)
		}
		if got, err := s.Get(ctx, prefix+key, 3, 5); err != nil || !bytes.Equal(got, b[3:8]) {
			return fmt.Errorf("get %s: %q, %w", key, got, err)
		}
		if got, size, err := s.Tail(ctx, prefix+key, 7); err != nil || size != int64(len(b)) || !bytes.Equal(got, b[len(b)-7:]) {
			return fmt.Errorf("end of %s: %q of %d, %w", key, got, size, err)
		}
	}
	got, err := s.Get(ctx, prefix+"large", 0, int64(len(large)))
	if err != nil || !bytes.Equal(got, large) {
		return fmt.Errorf("get all of large: %d bytes, %w", len(got), err)
	}
	if err := s.Delete(ctx, prefix+"small"); err != nil {
		return err
	}
	all, err := s.List(ctx, prefix, "")
	if err != nil || len(all) != 1 || all[0].Key != prefix+"large" || all[0].Size != int64(len(large)) {
		return fmt.Errorf("list %v, %w", all, err)
	}
	return nil
}

// TestS3Storm: while the server refuses everything, calls fail in bounded time after a bounded number of requests, and the store is as
// good as new when the storm is over.
func TestS3Storm(t *testing.T) {
	server := Start(t)
	proxy := NewProxy(t, server.Address)
	s := open(t, config(proxy.Address, ""))
	if _, err := s.Put(t.Context(), "a", bytes.NewReader([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []Fault{Unavailable, Reset, LostAck, CutBody} {
		proxy.Decide(func(int, *http.Request) Fault { return fault })
		_, err := s.Get(t.Context(), "a", 0, 1)
		if err == nil || errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrTruncated) {
			t.Errorf("fault %d: %v", fault, err)
		}
		if n := proxy.Count(); n < 5 || n > 10 { // a broken connection that was idle may be tried again by net/http
			t.Errorf("fault %d: %d requests for five tries", fault, n)
		}
	}
	proxy.Decide(nil)
	if b, err := s.Get(t.Context(), "a", 0, 1); err != nil || string(b) != "a" {
		t.Errorf("after the storm: %q, %v", b, err)
	}
}
