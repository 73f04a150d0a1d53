package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

// A runner runs until it is closed.
type runner struct {
	ended
	once   sync.Once
	closed chan struct{}
}

func (r *runner) Wait() error  { <-r.closed; return nil }
func (r *runner) Close() error { r.once.Do(func() { close(r.closed) }); return nil }

func TestServeStopsWhenItIsTold(t *testing.T) {
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "switchback.yaml")
	if err := os.WriteFile(file, []byte("data: here\nlog: {level: error}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	srv := &runner{closed: make(chan struct{})}
	p := &program{out: &out, err: &out, start: func(_ context.Context, cfg config.Config, opts startOptions) (running, error) {
		if cfg.Data != "here" || !opts.Adopt || opts.Log == nil || opts.Log.Enabled(ctx, 0) {
			t.Errorf("started with %+v, %+v", cfg, opts)
		}
		stop() // as a signal would
		return srv, nil
	}}
	if code := p.run(ctx, []string{"serve", "-c", file, "--adopt"}); code != admin.CodeOK {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	select {
	case <-srv.closed:
	default:
		t.Fatal("the server was not closed")
	}
}

func TestExampleIsPrinted(t *testing.T) {
	var out bytes.Buffer
	p := &program{out: &out, err: &out}
	if code := p.run(t.Context(), []string{"serve", "--example"}); code != admin.CodeOK || out.String() != config.Example() {
		t.Fatalf("exit code %d, printed %q", code, &out)
	}
}

// An interrupted command says so and what becomes of what it began.
func TestInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p := &program{out: &out, err: &errs, reach: func(string) (admin.Backend, error) { return admin.NewClient("127.0.0.1:1") }}
	if code := p.run(ctx, []string{"flip", "orders"}); code != admin.CodeInterrupted || !strings.Contains(errs.String(), "switchback status") {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
}

// Every command has help that names its exit codes, and every code that a help
// names is in the table.
func TestHelpTeaches(t *testing.T) {
	p := &program{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	for _, c := range p.root().Commands() {
		if !c.Runnable() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !strings.Contains(c.Long, "Exit codes:") {
			t.Errorf("%s: help does not say its exit codes", c.Name())
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimRight(line, "\n")) > 85 {
				t.Errorf("%s: help has a line of %d characters: %q", c.Name(), len(line), line)
			}
		}
	}
	for i := 1; i < len(admin.Codes); i++ {
		if admin.Codes[i].Code <= admin.Codes[i-1].Code {
			t.Errorf("exit code %d stands behind %d", admin.Codes[i].Code, admin.Codes[i-1].Code)
		}
	}
}
