package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A backend answers with what the test put in.
type backend struct {
	admin.Backend // what a test does not need is not called
	version       func(context.Context) (admin.Version, error)
	watch         func(context.Context, func(admin.Status) error) error
	flip          func(context.Context, admin.FlipRequest, func(admin.Line)) (admin.MoveReport, error)
	verify        func(context.Context, admin.VerifyRequest, func(admin.Line)) (admin.VerifyReport, error)
	status        admin.Status
}

func (b backend) Version(ctx context.Context) (admin.Version, error) { return b.version(ctx) }
func (b backend) Status(context.Context) (admin.Status, error)       { return b.status, nil }
func (b backend) WatchStatus(ctx context.Context, send func(admin.Status) error) error {
	return b.watch(ctx, send)
}

func (b backend) Flip(ctx context.Context, r admin.FlipRequest, p func(admin.Line)) (admin.MoveReport, error) {
	return b.flip(ctx, r, p)
}

func (b backend) Verify(ctx context.Context, r admin.VerifyRequest, p func(admin.Line)) (admin.VerifyReport, error) {
	return b.verify(ctx, r, p)
}

// serve runs a server and returns a client of it, its address, and what ends it.
func serve(t *testing.T, b admin.Backend) (c *admin.Client, addr string, stop func()) {
	t.Helper()
	ln, err := admin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- admin.Serve(ctx, ln, b, nil) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	c, err = admin.NewClient(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); stop() })
	return c, ln.Addr().String(), stop
}

func TestReportsAndProgressArriveAsSent(t *testing.T) {
	want := admin.MoveReport{
		Kind: admin.KindFlip, Topics: []string{"orders"}, Partitions: 12, Home: offsets.Target, Epoch: 7, Attempts: 2,
		Started: time.Unix(1, 0).UTC(), Finished: time.Unix(2, 0).UTC(), HoldMs: 12.5, Seals: []admin.Seal{{Topic: "orders", Partition: 3, Offset: 99}},
	}
	lines := []admin.Line{{At: time.Unix(1, 5).UTC(), Text: "holding"}, {At: time.Unix(1, 6).UTC(), Subject: "orders/3", Text: "late", Warn: true}}
	c, _, _ := serve(t, backend{flip: func(_ context.Context, r admin.FlipRequest, p func(admin.Line)) (admin.MoveReport, error) {
		if len(r.Topics) != 1 || r.Topics[0] != "orders" || !r.AcceptInexact {
			return admin.MoveReport{}, fmt.Errorf("asked for %+v", r)
		}
		for _, l := range lines {
			p(l)
		}
		return want, nil
	}})
	var told []admin.Line
	got, err := c.Flip(t.Context(), admin.FlipRequest{Topics: []string{"orders"}, AcceptInexact: true}, func(l admin.Line) { told = append(told, l) })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got) + cmp.Diff(lines, told); d != "" {
		t.Fatal(d)
	}
}

// A line is seen when it is told, not when the report is there.
func TestProgressIsPushed(t *testing.T) {
	seen := make(chan struct{})
	c, _, _ := serve(t, backend{verify: func(ctx context.Context, _ admin.VerifyRequest, p func(admin.Line)) (admin.VerifyReport, error) {
		p(admin.Line{Text: "reading"})
		select {
		case <-seen:
			return admin.VerifyReport{Equal: true}, nil
		case <-time.After(20 * time.Second):
			return admin.VerifyReport{}, errors.New("the line was not seen")
		}
	}})
	r, err := c.Verify(t.Context(), admin.VerifyRequest{}, func(admin.Line) { close(seen) })
	if err != nil || !r.Equal {
		t.Fatalf("got %+v, %v", r, err)
	}
}

func TestErrorsKeepTheirHintAndCode(t *testing.T) {
	want := &admin.Error{Op: "flip topics", Subject: "orders/3", Text: "lags", Hint: "wait", Code: admin.CodeRefused,
		Findings: []admin.Finding{{Level: admin.Red, Subject: "orders/3", Check: "lag", Fact: "9 batches", Hint: "wait"}}}
	fails := fmt.Errorf("wrapped: %w", want)
	c, _, _ := serve(t, backend{
		flip: func(context.Context, admin.FlipRequest, func(admin.Line)) (admin.MoveReport, error) {
			return admin.MoveReport{}, fails
		},
		verify: func(context.Context, admin.VerifyRequest, func(admin.Line)) (admin.VerifyReport, error) {
			return admin.VerifyReport{}, errors.New("no idea")
		},
		version: func(context.Context) (admin.Version, error) { return admin.Version{}, fails },
	})
	_, moved := c.Flip(t.Context(), admin.FlipRequest{}, nil)
	_, got := c.Version(t.Context())
	for _, err := range []error{moved, got} {
		var e *admin.Error
		if !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		if d := cmp.Diff(want, e); d != "" {
			t.Error(d)
		}
	}
	// An error that says nothing is a failure of the operation.
	_, err := c.Verify(t.Context(), admin.VerifyRequest{}, nil)
	plain := &admin.Error{Op: "verify topics", Text: "no idea", Code: admin.CodeFailed}
	if d := cmp.Diff(plain, admin.AsError("", err)); d != "" {
		t.Error(d)
	}
}

func TestWatchIsPushedAndEnds(t *testing.T) {
	more := make(chan struct{})
	c, _, stop := serve(t, backend{watch: func(ctx context.Context, send func(admin.Status) error) error {
		for {
			if err := send(admin.Status{}); err != nil {
				return err
			}
			select {
			case <-more:
			case <-ctx.Done():
				return nil
			}
		}
	}})
	// The reader leaves: no error.
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
	defer leave()
	n := 0
	err := c.WatchStatus(ctx, func(s admin.Status) error {
		if s.Partitions == nil || s.Clients == nil || s.Routes == nil || s.Brokers == nil {
			t.Error("null for an empty list")
		}
		if n++; n == 3 {
			leave()
			return nil
		}
		more <- struct{}{}
		return nil
	})
	if err != nil || n != 3 {
		t.Fatalf("%d pushes, %v", n, err)
	}
	// The reader fails: its error.
	full := errors.New("disk full")
	if err := c.WatchStatus(t.Context(), func(admin.Status) error { return full }); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	// The server ends: that is told.
	err = c.WatchStatus(t.Context(), func(admin.Status) error { go stop(); return nil })
	if e := admin.AsError("", err); err == nil || e.Code != admin.CodeNoServer {
		t.Fatalf("got %v", err)
	}
}

// A command that is interrupted ends the context of what it asked for.
func TestInterruptReachesTheBackend(t *testing.T) {
	ended := make(chan struct{})
	c, _, _ := serve(t, backend{flip: func(ctx context.Context, _ admin.FlipRequest, p func(admin.Line)) (admin.MoveReport, error) {
		p(admin.Line{Text: "begun"})
		<-ctx.Done()
		close(ended)
		return admin.MoveReport{}, ctx.Err()
	}})
	ctx, interrupt := context.WithCancel(t.Context())
	_, err := c.Flip(ctx, admin.FlipRequest{}, func(admin.Line) { interrupt() })
	if !errors.Is(err, context.Canceled) || admin.AsError("", err).Code != admin.CodeInterrupted {
		t.Fatalf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the backend was not told")
	}
}

// A server that is stopped ends what it is doing and says how.
func TestStopEndsCalls(t *testing.T) {
	begun := make(chan struct{})
	c, _, stop := serve(t, backend{flip: func(ctx context.Context, _ admin.FlipRequest, _ func(admin.Line)) (admin.MoveReport, error) {
		close(begun)
		<-ctx.Done()
		return admin.MoveReport{}, &admin.Error{Op: "flip topics", Text: "the server stops", Code: admin.CodeGivenUp}
	}})
	go func() { <-begun; stop() }()
	_, err := c.Flip(t.Context(), admin.FlipRequest{}, nil)
	if admin.AsError("", err).Code != admin.CodeGivenUp {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "10.0.0.1:0", "kafka.example:0", "[::]:0", "nothing"} {
		if ln, err := admin.Listen(addr); err == nil {
			ln.Close()
			t.Errorf("listens on %s", addr)
		} else if e := admin.AsError("", err); e.Code != admin.CodeAddress || e.Hint == "" {
			t.Errorf("%s: %v", addr, err)
		}
		if _, err := admin.NewClient(addr); admin.AsError("", err).Code != admin.CodeUsage {
			t.Errorf("%s: %v", addr, err)
		}
	}
	ln, err := admin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := admin.Listen(ln.Addr().String()); admin.AsError("", err).Code != admin.CodeAddress {
		t.Errorf("a port twice: %v", err)
	}
}

// A web page must not be able to drive a server through its reader's browser.
func TestWebPagesAreRefused(t *testing.T) {
	called := false
	_, addr, _ := serve(t, backend{
		flip: func(context.Context, admin.FlipRequest, func(admin.Line)) (admin.MoveReport, error) {
			called = true
			return admin.MoveReport{}, nil
		},
	})
	for name, change := range map[string]func(*http.Request){
		"from a page":        func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"under another name": func(r *http.Request) { r.Host = "evil.example" },
		"as a form":          func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"with an unknown parameter": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`{"force":true}`))
			r.ContentLength = 14
		},
		"too long": func(r *http.Request) {
			body := `{"topics":["` + strings.Repeat("x", 2<<20) + `"]}`
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/flip", strings.NewReader(`{"topics":["orders"]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var e admin.Event
		refused := resp.StatusCode >= 400 || json.Unmarshal(body, &e) == nil && e.Error != nil
		if !refused || called {
			t.Errorf("%s: %s %s, called: %v", name, resp.Status, body, called)
		}
	}
}

// Whatever answers at the admin address, a command says what to do.
func TestWrongServers(t *testing.T) {
	for name, answer := range map[string]string{
		"another program":  "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
		"an older version": "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"move\":[]}\n",
		"gone half-way":    "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"line\":{\"text\":\"x\"}}\n",
		"nothing":          "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"not HTTP":         "SSH-2.0-OpenSSH\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			}()
			c, err := admin.NewClient(ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Flip(t.Context(), admin.FlipRequest{}, nil)
			c.Close()
			ln.Close()
			<-done
			var e *admin.Error
			if !errors.As(err, &e) || e.Hint == "" || e.Code == admin.CodeOK {
				t.Fatalf("got %v", err)
			}
		})
	}
}
