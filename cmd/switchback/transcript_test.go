package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

var rewrite = flag.Bool("rewrite", false, "write what commands say into the transcripts")

// TestTranscripts runs the commands of testdata/*.txt against a stock server,
// over HTTP as in life, and holds what they say against the transcript. A line
// that begins with "$ switchback" is a command; what follows is its stdout, then
// its stderr with "! " before each line, then its exit code unless it is 0.
func TestTranscripts(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ln, err := admin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- admin.Serve(ctx, ln, stock{}, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(text), ln.Addr().String())
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("-want +got (go test ./cmd/switchback -rewrite takes the new one):\n%s", d)
			}
		})
	}
}

// replay runs the commands of a transcript and returns it as it should read.
// Lines before the first command are kept.
func replay(t *testing.T, transcript, addr string) string {
	var b strings.Builder
	begun := false
	for line := range strings.Lines(transcript) {
		command, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "$ switchback")
		switch {
		case is:
			if begun {
				b.WriteString("\n")
			}
			begun = true
			b.WriteString(line)
			b.WriteString(execute(t, strings.Fields(command), addr))
		case !begun:
			b.WriteString(line)
		}
	}
	return b.String()
}

func execute(t *testing.T, args []string, addr string) string {
	var out, errs bytes.Buffer
	p := &program{out: &out, err: &errs,
		start: func(_ context.Context, cfg config.Config, _ startOptions) (running, error) { return starting(cfg) },
		reach: func(at string) (admin.Backend, error) {
			if at == config.Default().Admin {
				at = addr // the stock server is where a server is by default
			}
			return admin.NewClient(at)
		},
	}
	code := p.run(t.Context(), args)
	s := out.String()
	if errs.Len() > 0 {
		for line := range strings.Lines(errs.String()) {
			s += strings.TrimRight("! "+line, " ")
		}
	}
	if code != 0 {
		s += fmt.Sprintf("[exit code %d]\n", code)
	}
	return strings.NewReplacer(addr, "ADMIN", runtime.Version(), "GO").Replace(s)
}

// starting is a start that goes as the configuration's data folder says.
func starting(cfg config.Config) (running, error) {
	switch cfg.Data {
	case "locked":
		return nil, &admin.Error{Op: "open data folder", Subject: "locked", Text: "another server uses it", Hint: "stop that one first, or give this one its own folder", Code: admin.CodeNotOwner}
	case "hinted":
		return nil, hinted{errors.New("own legacy: another owner")}
	}
	return ended{}, nil
}

type hinted struct{ error }

func (hinted) Hint() string { return "serve --adopt takes over" }

// ended is a server that stops by itself, at once.
type ended struct{}

func (ended) Addr() string           { return "127.0.0.1:19092" }
func (ended) AdminAddr() string      { return "127.0.0.1:7070" }
func (ended) Backend() admin.Backend { return stock{} }
func (ended) Wait() error {
	return &admin.Error{Op: "write log", Text: "no space left on device", Hint: "make room and start again", Code: admin.CodeStorage}
}
func (ended) Close() error { return nil }
