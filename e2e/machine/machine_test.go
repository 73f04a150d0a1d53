package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchback/e2e/machine"
)

func sh(script string, out *bytes.Buffer) machine.Command {
	return machine.Command{Name: "sh", Path: "sh", Args: []string{"-c", script}, Stdout: out, Stderr: out}
}

func TestProcessEndsAsItEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := machine.Run(ctx, sh("echo hello", &out)); err != nil || out.String() != "hello\n" {
		t.Fatalf("%q, %v", out.String(), err)
	}
	p, err := machine.Start(sh("exit 7", &out))
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(ctx); !errors.As(err, &exit) || p.ExitCode() != 7 || p.Alive() {
		t.Fatalf("code %d, %v", p.ExitCode(), err)
	}
	if err := p.Kill(); err != nil {
		t.Fatalf("kill what is gone: %v", err)
	}
	if _, err := machine.Start(machine.Command{Name: "none", Path: "/no/such/program"}); err == nil {
		t.Fatal("started what is not there")
	}
}

func TestProcessIsPausedAndKilled(t *testing.T) {
	var out bytes.Buffer
	p, err := machine.Start(sh("exec sleep 60", &out))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	err = machine.Until(t.Context(), 10*time.Second, "state T", func(context.Context) error {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
		if err == nil && !bytes.Contains(status, []byte("T (stopped)")) {
			err = errors.New("not stopped")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Resume(), p.Stop(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Fatal("alive after stop")
	}
	stubborn, err := machine.Start(sh(`trap "" TERM; while :; do sleep 0.1; done`, &out))
	if err != nil {
		t.Fatal(err)
	}
	// The trap may not be set yet when the first signal comes: then it was stopped in good order.
	if err := stubborn.Stop(500 * time.Millisecond); err != nil && !strings.Contains(err.Error(), "killed") {
		t.Fatal(err)
	}
	if stubborn.Alive() {
		t.Fatal("alive after it was killed")
	}
}

// TestChildrenDieWithTheirParent runs this test binary as a parent that starts a child and is killed.
func TestChildrenDieWithTheirParent(t *testing.T) {
	if os.Getenv("MACHINE_TEST_PARENT") != "" {
		p, err := machine.Start(machine.Command{Name: "sleep", Path: "sleep", Args: []string{"120"}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("child %d\n", p.PID())
		<-p.Done()
		return
	}
	pids := make(chan string, 1)
	parent, err := machine.Start(machine.Command{
		Name: "parent", Path: os.Args[0], Args: []string{"-test.run", "^TestChildrenDieWithTheirParent$"},
		Env: []string{"MACHINE_TEST_PARENT=1"},
		Stdout: &machine.Lines{Each: func(line []byte) {
			if pid, ok := strings.CutPrefix(string(line), "child "); ok {
				pids <- pid
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var pid string
	select {
	case pid = <-pids:
	case <-time.After(20 * time.Second):
		t.Fatal("no child in 20 s")
	}
	if err := parent.Kill(); err != nil {
		t.Fatal(err)
	}
	err = machine.Until(t.Context(), 10*time.Second, "the child to die", func(context.Context) error {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil || bytes.Contains(status, []byte("Z (zombie)")) {
			return nil
		}
		return errors.New("it lives")
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPortsAreFreeAndHandedOutOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		first, err := machine.Ports(3)
		if err != nil {
			t.Fatal(err)
		}
		for port := first; port < first+3; port++ {
			if seen[port] {
				t.Fatalf("port %d twice", port)
			}
			seen[port] = true
			listener, err := net.Listen("tcp", machine.Loopback(port))
			if err != nil {
				t.Fatal(err)
			}
			listener.Close()
		}
	}
}

func TestCacheEntriesAreWholeOrAbsent(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx := t.Context()
	broken := errors.New("broken")
	_, err := machine.Cached(ctx, "entry", func(dir, final string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o644); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for range 2 {
		filled := 0
		dir, err := machine.Cached(ctx, "entry", func(dir, final string) error {
			filled++
			return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
			t.Fatalf("%v, %v", entries, err)
		}
	}
}

func TestLockWaitsAndGivesUp(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	unlock, err := machine.Lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := machine.Lock(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("taken twice: %v", err)
	}
	unlock()
	again, err := machine.Lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestLines(t *testing.T) {
	var got []string
	lines := &machine.Lines{Each: func(line []byte) { got = append(got, string(line)) }}
	for _, piece := range []string{"one\ntw", "o", "\r\n\nthree\nrest"} {
		if n, err := lines.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"one", "two", "", "three"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}

func TestTails(t *testing.T) {
	tail := machine.NewTail(4)
	fmt.Fprint(tail, "abc")
	fmt.Fprint(tail, "defg")
	if tail.String() != "defg" {
		t.Fatal(tail.String())
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("abcdefg"), 0o644); err != nil {
		t.Fatal(err)
	}
	if machine.FileTail(file, 3) != "efg" || machine.FileTail(file, 30) != "abcdefg" || !strings.Contains(machine.FileTail(file+"x", 3), syscall.ENOENT.Error()) {
		t.Fatal("file tail")
	}
}

func TestUntilSaysWhatWasMissing(t *testing.T) {
	err := machine.Until(t.Context(), 50*time.Millisecond, "the moon", func(context.Context) error { return errors.New("it is made of cheese") })
	if err == nil || !strings.Contains(err.Error(), "the moon") || !strings.Contains(err.Error(), "cheese") {
		t.Fatal(err)
	}
}
