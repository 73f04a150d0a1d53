package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"switchback/e2e/machine"
)

// Exit codes of the commands that scenarios tell apart; `switchback help exit-codes` has all of them.
const (
	CodeNoServer     = 4
	CodeNoLegacy     = 5
	CodeRefused      = 6
	CodeGivenUp      = 7
	CodeDiffers      = 8
	CodeNotOwner     = 9
	CodeUnknownTopic = 10
	CodeAddress      = 11
)

// Failure is a command that ended with another code than 0.
type Failure struct {
	Args []string
	Code int
	Said string // standard error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("switchback %v: exit code %d\n%s", f.Args, f.Code, f.Said)
}

// Code returns the exit code that an error of a command stands for, 0 for nil and -1 for another error.
func Code(err error) int {
	var f *Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.Code
	}
	return -1
}

// Command runs a command of the binary against this server and returns its standard output. An exit code that is not 0 is a *Failure; the output is
// returned all the same.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	said := machine.NewTail(16 << 10)
	p, err := machine.Start(machine.Command{
		Name: "switchback " + args[0], Path: s.binary, Args: append(args, "--admin", machine.Loopback(s.admin)), Stdout: &out, Stderr: said,
	})
	if err != nil {
		return "", err
	}
	err = p.Wait(ctx)
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", errors.Join(err, p.Kill())
	}
	return out.String(), &Failure{Args: args, Code: p.ExitCode(), Said: said.String()}
}

// Move is what a flip, a relocation or a rollback reports.
type Move struct {
	Kind       string    `json:"kind"`
	Partitions int       `json:"partitions"`
	Home       string    `json:"home"`
	Relocated  bool      `json:"relocated"`
	Epoch      int64     `json:"epoch"`
	Attempts   int       `json:"attempts"`
	HoldMs     float64   `json:"hold_ms"`
	DrainMs    float64   `json:"drain_ms"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
}

func (m Move) String() string {
	return fmt.Sprintf("%s to %s: hold %.1f ms, drain %.1f ms, %d attempts, %v in all", m.Kind, m.Home, m.HoldMs, m.DrainMs, m.Attempts, m.Finished.Sub(m.Started).Round(time.Millisecond))
}

func (s *Server) move(ctx context.Context, command string, topics []string, flags ...string) (Move, error) {
	args := append(append([]string{command}, topics...), append(flags, "--json")...)
	out, err := s.Command(ctx, args...)
	if err != nil {
		return Move{}, err
	}
	var m Move
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		return Move{}, fmt.Errorf("read report of %s: %w\n%s", command, err, out)
	}
	return m, nil
}

// Flip makes the target the home of topics.
func (s *Server) Flip(ctx context.Context, topics ...string) (Move, error) {
	return s.move(ctx, "flip", topics)
}

// Rollback makes legacy the home of topics again.
func (s *Server) Rollback(ctx context.Context, topics ...string) (Move, error) {
	return s.move(ctx, "rollback", topics)
}

// Relocate shows the target's node as the leader of topics.
func (s *Server) Relocate(ctx context.Context, topics ...string) (Move, error) {
	return s.move(ctx, "relocate", topics)
}

// RelocateBack takes a relocation back.
func (s *Server) RelocateBack(ctx context.Context, topics ...string) (Move, error) {
	return s.move(ctx, "relocate", topics, "--back")
}

// Verification is what verify reports.
type Verification struct {
	Equal      bool `json:"equal"`
	Partitions []struct {
		Topic        string `json:"topic"`
		Partition    int32  `json:"partition"`
		Equal        bool   `json:"equal"`
		From         int64  `json:"from"`
		To           int64  `json:"to"`
		Batches      int64  `json:"batches"`
		EpochsDiffer int64  `json:"epochs_differ"`
	} `json:"partitions"`
}

// Verify compares topics on both clusters.
func (s *Server) Verify(ctx context.Context, topics ...string) (Verification, error) {
	out, err := s.Command(ctx, append(append([]string{"verify"}, topics...), "--json")...)
	var v Verification
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("read report of verify: %w\n%s", err, out)
	}
	return v, nil
}
