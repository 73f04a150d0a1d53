package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchback/e2e/kafka"
	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// TestRefusals: what must not be done is not done, and the command says why and what to do, with its own exit code.
func TestRefusals(t *testing.T) {
	s := newStage(t, setting{brokers: 1, partitions: 2, replicas: 1})
	s.franzProducer("franz", 100)
	s.franzReader("reader")
	s.steady(50)
	s.must(s.cluster.CreateTopic(s.ctx, "stamped", 1, 1, map[string]string{"message.timestamp.type": "LogAppendTime"}))
	s.must(s.cluster.CreateTopic(s.ctx, "squeezed", 1, 1, map[string]string{"compression.type": "zstd"}))
	s.must(s.server.CaughtUp(s.ctx, "stamped", 1))
	s.must(s.server.CaughtUp(s.ctx, "squeezed", 1))

	s.refused(server.CodeUnknownTopic, "nosuch", "flip", "nosuch")
	s.refused(server.CodeRefused, "", "rollback", s.topic)
	s.refused(server.CodeRefused, "", "relocate", s.topic)
	s.refused(server.CodeRefused, "LogAppendTime", "flip", "stamped")
	s.refused(server.CodeRefused, "compression.type", "flip", "squeezed")
	s.refused(server.CodeRefused, "LogAppendTime", "flip", "--dry-run", "stamped")
	if out, err := s.server.Command(s.ctx, "flip", "--dry-run", s.topic); err != nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	if home := s.home(); home != "legacy" {
		t.Fatalf("a dry run moved the topic to %s", home)
	}
	s.flip()
	s.refused(server.CodeRefused, "", "flip", s.topic)
	s.steady(50)

	s.secondServer()
	s.emptyFolder()
	s.otherCluster()
	s.finish()
}

// refused runs a command that must end with a code, name what it is about, and give a hint.
func (s *stage) refused(code int, names string, args ...string) {
	s.t.Helper()
	out, err := s.server.Command(s.ctx, args...)
	if server.Code(err) != code {
		s.t.Errorf("%v: want exit code %d, got %v\n%s", args, code, err, out)
		return
	}
	if text := out + err.Error(); !strings.Contains(text, names) || !strings.Contains(text, "->") {
		s.t.Errorf("%v: does not name %q, or says nothing of what to do:\n%s", args, names, text)
	}
}

// fails starts a server that must end by itself with a code.
func (s *stage) fails(other *server.Server, code int, names ...string) {
	s.t.Helper()
	s.must(other.Launch())
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	err := other.Process().Wait(ctx)
	if ctx.Err() != nil || other.Process().ExitCode() != code {
		s.t.Errorf("want exit code %d, got %v:\n%s", code, err, other.Tail(2<<10))
	}
	for _, name := range names {
		if !strings.Contains(other.Tail(4<<10), name) {
			s.t.Errorf("it does not name %q:\n%s", name, other.Tail(2<<10))
		}
	}
}

// secondServer: two servers on one data folder.
func (s *stage) secondServer() {
	s.t.Helper()
	second := server.New(s.t, server.Options{Legacy: s.cluster.Addrs()})
	s.must(os.Symlink(s.server.Data(), second.Data()))
	s.fails(second, server.CodeNotOwner, "in use")
}

// emptyFolder: legacy belongs to another data folder.
func (s *stage) emptyFolder() {
	s.t.Helper()
	s.fails(server.New(s.t, server.Options{Legacy: s.cluster.Addrs()}), server.CodeNotOwner, "--adopt")
}

// otherCluster: the data folder belongs to another legacy cluster.
func (s *stage) otherCluster() {
	s.t.Helper()
	other, err := kafka.Start(s.ctx, kafka.Options{Dir: filepath.Join(s.t.TempDir(), "other")})
	s.must(err)
	defer other.Close()
	moved := server.New(s.t, server.Options{Legacy: other.Addrs()})
	s.must(s.server.Stop())
	s.must(os.Symlink(s.server.Data(), moved.Data()))
	s.fails(moved, server.CodeNotOwner, other.ID(), s.cluster.ID())
	s.must(s.server.Start(s.ctx))
	s.steady(50)
}

// TestStartsThatFail: a configuration that is wrong, a legacy that never answers, a port that is taken.
func TestStartsThatFail(t *testing.T) {
	s := &stage{t: t, ctx: t.Context()}
	nobody, err := machine.Ports(1)
	s.must(err)
	legacy := []string{machine.Loopback(nobody)}

	wrong := server.New(t, server.Options{Legacy: legacy, Extra: "flip:\n  hold: 300ms\n  holt: 2s\n"})
	s.fails(wrong, 3, "holt", "switchback.yaml:")

	began := time.Now()
	s.fails(server.New(t, server.Options{Legacy: legacy, StartTimeout: 2 * time.Second}), server.CodeNoLegacy, legacy[0])
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("gave up after %v, was to try for 2 s", took)
	}
	cluster := kafka.Run(t, kafka.Options{})
	taken := server.New(t, server.Options{Legacy: cluster.Addrs()})
	listener := taken.Occupy(t)
	defer listener.Close()
	s.fails(taken, server.CodeAddress, taken.Bootstrap())
}
