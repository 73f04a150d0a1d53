package objects

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchback/e2e/machine"
)

// Keys and bucket of the server.
const (
	AccessKey = "switchback"
	SecretKey = "switchback-secret"
	Bucket    = "objects"
)

// The build downloads and compiles a few hundred packages.
const (
	buildPatience = 10 * time.Minute
	startPatience = time.Minute
)

// Binary builds the server that e2e/s3 pins, once per user, and ends the test when that cannot be done here.
func Binary(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildPatience)
	defer cancel()
	path, err := build(ctx)
	if err != nil {
		machine.Missing(t, fmt.Sprintf("versitygw cannot be built (%v)", err), "a way to Go's modules")
	}
	return path
}

func build(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	root := strings.TrimSpace(string(out))
	dir, err := machine.Cached(ctx, "bin", func(string, string) error { return nil })
	if err != nil {
		return "", err
	}
	unlock, err := machine.Lock(ctx, "versitygw")
	if err != nil {
		return "", err
	}
	defer unlock()
	path, said := filepath.Join(dir, "versitygw"), machine.NewTail(4<<10)
	err = machine.Run(ctx, machine.Command{
		Name: "go build", Path: "go", Dir: root, Stdout: said, Stderr: said,
		Args: []string{"build", "-modfile=e2e/s3/go.mod", "-o", path, "github.com/versity/versitygw/cmd/versitygw"},
	})
	if err != nil {
		return "", fmt.Errorf("build versitygw: %w\n%s", err, said)
	}
	return path, nil
}

// A Server is an S3 server over a folder of the test, with one empty bucket.
type Server struct {
	Address string // host:port
	process *machine.Process
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	path := Binary(t)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	port, err := machine.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: machine.Loopback(port)}
	said := machine.NewTail(8 << 10)
	s.process, err = machine.Start(machine.Command{
		Name: "versitygw", Path: path, Stdout: said, Stderr: said,
		Args: []string{"--port", s.Address, "--access", AccessKey, "--secret", SecretKey, "--keep-alive", "--quiet", "posix", root},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.process.Kill(); err != nil {
			t.Error(err)
		}
	})
	err = machine.Until(t.Context(), startPatience, "versitygw to listen", func(ctx context.Context) error {
		if !s.process.Alive() {
			return fmt.Errorf("it has ended: %s", said)
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return s
}
