package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxRequestBytes bounds what a command may send: names of topics.
	maxRequestBytes = 1 << 20
	// shutdownTimeout is how long Serve waits for answers that are on their way
	// after their contexts have ended.
	shutdownTimeout = 5 * time.Second
)

// Listen opens the admin address. Only loopback is allowed: there is no password.
func Listen(addr string) (net.Listener, error) {
	fail := func(text, hint string) error {
		return &Error{Op: "listen for commands", Subject: addr, Text: text, Hint: hint, Code: CodeAddress}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fail("not an address", "set admin to a loopback address, 127.0.0.1:PORT")
	}
	if !isLoopback(host) {
		return nil, fail("not a loopback address", "it has no password, so only this machine may reach it: set admin to 127.0.0.1:PORT")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fail(err.Error(), "another program, maybe another switchback, listens there: set admin to a free port")
	}
	return ln, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Serve answers commands on ln from b until ctx ends, which also ends every call
// of b that is under way; it returns when they have, and has closed ln. A nil
// log keeps quiet.
func Serve(ctx context.Context, ln net.Listener, b Backend, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv := &http.Server{
		Handler:           Handler(b, log),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var g errgroup.Group
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve commands: %w", err)
		}
		return nil
	})
	served := make(chan error, 1)
	go func() { served <- g.Wait() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// The contexts of the calls derive from ctx, so this is short.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close() // cuts what did not end; the error says which it was
		log.Warn("commands were cut off", "error", err)
	}
	return <-served
}

// Handler is the HTTP side of b, for Serve and for tests.
func Handler(b Backend, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/version", answer("read version", b.Version))
	mux.HandleFunc("GET /v1/ready", answer("read readiness", b.Ready))
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			answer("read status", b.Status)(w, r)
			return
		}
		out := newStream(w)
		if err := b.WatchStatus(r.Context(), func(s Status) error { return out.send(s.normal()) }); err != nil {
			log.Debug("status watch ended", "error", err)
		}
	})
	mux.HandleFunc("POST /v1/check", stream("check topics", b.Check, func(r CheckReport) Event { return Event{Check: &r} }))
	mux.HandleFunc("POST /v1/flip", stream("flip topics", b.Flip, moved))
	mux.HandleFunc("POST /v1/relocate", stream("relocate topics", b.Relocate, moved))
	mux.HandleFunc("POST /v1/rollback", stream("roll back topics", b.Rollback, moved))
	mux.HandleFunc("POST /v1/verify", stream("verify topics", b.Verify, func(r VerifyReport) Event { return Event{Verify: &r} }))
	return guard(mux)
}

func moved(r MoveReport) Event { return Event{Move: &r} }

// guard refuses what cannot come from a command on this machine. A web page may
// send requests to loopback through the browser of whoever reads it: browsers
// say so with Origin, and a page that has its own name resolve to 127.0.0.1
// shows that name as Host.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) || r.Header.Get("Origin") != "" {
			http.Error(w, "commands are taken from this machine only, and not from web pages", http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "commands are JSON", http.StatusUnsupportedMediaType)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequestBytes)
		next.ServeHTTP(w, r)
	})
}

// answer serves a call without arguments as one JSON object.
func answer[T any](op string, call func(context.Context) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := call(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(Event{Error: AsError(op, err)})
			return
		}
		_ = json.NewEncoder(w).Encode(normal(v)) // a caller that left needs no answer
	}
}

// stream serves a call as JSON lines, the report or the error last.
func stream[Req, Rep any](op string, call func(context.Context, Req, func(Line)) (Rep, error), wrap func(Rep) Event) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		out := newStream(w)
		if err := dec.Decode(&req); err != nil {
			_ = out.send(Event{Error: &Error{Op: op, Text: fmt.Sprintf("request is not understood: %v", err), Code: CodeUsage,
				Hint: "the command and the server are of different versions: use the same for both"}})
			return
		}
		rep, err := call(r.Context(), req, func(l Line) { _ = out.send(Event{Line: &l}) })
		if err != nil {
			_ = out.send(Event{Error: AsError(op, err)})
			return
		}
		_ = out.send(wrap(rep))
	}
}

// A lineWriter pushes JSON lines out one by one.
type lineWriter struct {
	enc   *json.Encoder
	flush func() error
}

func newStream(w http.ResponseWriter) *lineWriter {
	w.Header().Set("Content-Type", "application/jsonl")
	return &lineWriter{enc: json.NewEncoder(io.Writer(w)), flush: http.NewResponseController(w).Flush}
}

func (s *lineWriter) send(v any) error {
	if err := s.enc.Encode(v); err != nil {
		return err
	}
	return s.flush()
}

// normal makes the lists of a Status [] where they are empty: scripts should
// not have to know about null.
func (s Status) normal() Status {
	s.Brokers = nonNil(s.Brokers)
	s.Routes = nonNil(s.Routes)
	s.Partitions = nonNil(s.Partitions)
	s.Clients = nonNil(s.Clients)
	return s
}

func normal(v any) any {
	if s, ok := v.(Status); ok {
		return s.normal()
	}
	return v
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
