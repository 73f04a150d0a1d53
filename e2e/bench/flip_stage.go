package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// stage stands in for a test, so that the harness serves a bench as well: what a test would log goes to standard error, what would fail it is an
// error of the run, and what is to be cleaned up is.
type stage struct {
	testing.TB // nil: of a test there is only what follows
	dir        string
	errs       []error
	undo       []func()
}

// play runs do on a stage, on a goroutine of its own that Fatal can end, and cleans up after it. do makes all its calls of t there.
func play(dir string, do func(t testing.TB) error) error {
	s := &stage{dir: dir}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, undo := range slices.Backward(s.undo) {
				undo()
			}
		}()
		if err := do(s); err != nil {
			s.errs = append(s.errs, err)
		}
	}()
	<-done
	return errors.Join(s.errs...)
}

func (s *stage) Helper()                      {}
func (s *stage) Failed() bool                 { return len(s.errs) > 0 }
func (s *stage) Cleanup(undo func())          { s.undo = append(s.undo, undo) }
func (s *stage) Error(args ...any)            { s.errs = append(s.errs, errors.New(line(args))) }
func (s *stage) Log(args ...any)              { fmt.Fprintln(os.Stderr, line(args)) }
func (s *stage) Fatal(args ...any)            { s.Error(args...); runtime.Goexit() }
func (s *stage) TempDir() string              { return s.dir }
func line(args []any) string                  { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }
func (s *stage) Logf(f string, args ...any)   { s.Log(fmt.Sprintf(f, args...)) }
func (s *stage) Errorf(f string, args ...any) { s.Error(fmt.Sprintf(f, args...)) }
func (s *stage) Fatalf(f string, args ...any) { s.Fatal(fmt.Sprintf(f, args...)) }
