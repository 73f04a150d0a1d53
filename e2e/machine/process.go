package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Command says what to start. Stdout and Stderr may be nil; they are written by one goroutine each and are complete once Done is
// closed.
type Command struct {
	Name           string // how messages call it
	Path           string
	Args           []string
	Env            []string // added to the environment of this process
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Process is a child that lives at most as long as the process that started it.
type Process struct {
	name string
	pid  int
	done chan struct{}

	cmd *exec.Cmd
	err error // how the child ended; to be read after done is closed
}

// Start starts a child. The kernel kills a child with Pdeathsig when the thread that started it ends, so a goroutine of its own is
// wired to that thread and stays there until the child has ended.
func Start(c Command) (*Process, error) {
	p := &Process{name: c.Name, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.Command(c.Path, c.Args...)
		cmd.Env = append(os.Environ(), c.Env...)
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, c.Stdin, c.Stdout, c.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", c.Name, err)
			return
		}
		p.cmd, p.pid = cmd, cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Run starts a child, waits for its end, and kills it when ctx ends first.
func Run(ctx context.Context, c Command) error {
	p, err := Start(c)
	if err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.Join(err, p.Kill())
		}
		return err
	}
	return nil
}

// Name is the name that the command was given.
func (p *Process) Name() string { return p.name }

// PID is the child's process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has ended and its output has been read to the end.
func (p *Process) Done() <-chan struct{} { return p.done }

// Alive reports whether the child has not ended yet.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the child's end. It returns nil for exit code 0, an *exec.ExitError (wrapped) for another end, and ctx's error when
// ctx ended first; the child goes on then.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, ctx.Err())
		}
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// ExitCode is the child's exit code, -1 while it runs or when a signal ended it.
func (p *Process) ExitCode() int {
	if p.Alive() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill kills the child (SIGKILL) and waits until it is gone. It is no error when it was gone already.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop asks the child to end (SIGTERM), waits for grace, and kills it after that. A child that had to be killed is an error.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("stop %s: still alive after %v, killed", p.name, grace), p.Kill())
	}
}

// Pause stops the child where it is (SIGSTOP): its sockets stay open and answer nothing.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused child go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	// os.Process holds a pidfd or has been reaped: it never signals a pid that is not this child's.
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	return nil
}
