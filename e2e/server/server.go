package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchback/e2e/machine"
)

// Patience of this package.
const (
	startPatience = 60 * time.Second // from a start to ready
	stopGrace     = 20 * time.Second
	buildPatience = 10 * time.Minute // a cold build, on a machine that does much else
)

// legacyPorts is how many legacy brokers a server has ports for.
const legacyPorts = 8

// Options say how a server is started.
type Options struct {
	Legacy []string // bootstrap addresses of the legacy cluster
	Dir    string   // configuration, data and log; the test's temporary folder when empty
	Extra  string   // YAML that is added to the configuration
	Env    []string // of the first life only
	Args   []string // of serve

	StartTimeout time.Duration // how long legacy is tried for; 30 s when 0
}

// Server is the switchback binary with its data folder, over all its lives.
type Server struct {
	binary  string
	dir     string
	config  string
	listen  int // port of the target's node, the bootstrap address
	ports   [2]int
	admin   int
	args    []string
	process *machine.Process
}

// Run starts a server for the length of a test and waits until it is ready.
func Run(t testing.TB, o Options) *Server {
	t.Helper()
	s := New(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	if err := s.Start(ctx, o.Env...); err != nil {
		t.Fatal(err)
	}
	t.Logf("switchback is ready at %s", s.Bootstrap())
	return s
}

// New prepares a server without starting it: for those who expect a start to fail.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	binary, err := Binary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := machine.Ports(legacyPorts + 2)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		binary: binary, dir: o.Dir, config: filepath.Join(o.Dir, "switchback.yaml"), args: o.Args,
		admin: first, listen: first + 1, ports: [2]int{first + 2, first + 1 + legacyPorts},
	}
	if err := os.WriteFile(s.config, []byte(s.yaml(o)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- switchback, last lines of its log\n%s", s.Tail(16<<10))
		}
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Server) yaml(o Options) string {
	var quoted []string
	for _, addr := range o.Legacy {
		quoted = append(quoted, fmt.Sprintf("%q", addr))
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 30 * time.Second
	}
	return fmt.Sprintf("legacy:\n  bootstrap: [%s]\n  startTimeout: %v\nlisten: %s\nports: %d-%d\nadmin: %s\ndata: %q\n%s",
		strings.Join(quoted, ", "), o.StartTimeout, machine.Loopback(s.listen), s.ports[0], s.ports[1], machine.Loopback(s.admin), s.Data(), o.Extra)
}

// Bootstrap is the address that clients change to: the target's node.
func (s *Server) Bootstrap() string { return machine.Loopback(s.listen) }

// Data is the data folder.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// Config is the configuration file.
func (s *Server) Config() string { return s.config }

// LogFile is what the server printed, over all its lives.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "switchback.log") }

// Tail returns the end of the log.
func (s *Server) Tail(keep int64) string { return machine.FileTail(s.LogFile(), keep) }

// Process is the server's process of now.
func (s *Server) Process() *machine.Process { return s.process }

// Occupy takes the port of the server's bootstrap address, as another program would.
func (s *Server) Occupy(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", s.Bootstrap())
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Start starts the server, again after it has ended, and waits until it is ready.
func (s *Server) Start(ctx context.Context, env ...string) error {
	if err := s.Launch(env...); err != nil {
		return err
	}
	return s.Ready(ctx)
}

// Launch starts the server and waits for nothing.
func (s *Server) Launch(env ...string) error {
	if s.Alive() {
		return errors.New("start switchback: it runs")
	}
	out, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start switchback: %w", err)
	}
	defer out.Close() // the child has its own
	s.process, err = machine.Start(machine.Command{
		Name: "switchback", Path: s.binary, Args: append([]string{"serve", "--config", s.config}, s.args...),
		Env: append(env, "GORACE=halt_on_error=1"), Stdout: out, Stderr: out,
	})
	return err
}

// Ready waits until the server answers its commands.
func (s *Server) Ready(ctx context.Context) error {
	return machine.Until(ctx, startPatience, "switchback", func(ctx context.Context) error {
		if !s.Alive() {
			return fmt.Errorf("it has ended with code %d:\n%s", s.process.ExitCode(), s.Tail(2<<10))
		}
		_, err := s.Status(ctx)
		return err
	})
}

// Alive reports whether the server's process has not ended.
func (s *Server) Alive() bool { return s.process != nil && s.process.Alive() }

// Kill ends the server where it is (SIGKILL).
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.Kill()
}

// Stop ends the server as an operator does.
func (s *Server) Stop() error { return s.process.Stop(stopGrace) }

// Pause stops the server where it is, with its connections open.
func (s *Server) Pause() error { return s.process.Pause() }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.process.Resume() }

// Shows reports whether clients may be told to go to an address: it is one of this server's listeners.
func (s *Server) Shows(host string, port int32) bool {
	return host == "127.0.0.1" && (int(port) == s.listen || int(port) >= s.ports[0] && int(port) <= s.ports[1])
}
