package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

// A Server is the Switchback that the demo runs, in this process.
type Server interface {
	Addr() string           // bootstrap address for clients
	Backend() admin.Backend // what the commands call
	Close() error
}

// Options say what to run.
type Options struct {
	// Start starts a server. Required.
	Start func(context.Context, config.Config) (Server, error)
	// Legacy are brokers of a real cluster, host:port,...; empty for one of the
	// demo's own, in this process.
	Legacy string
	// Rate is records per second of all producers together. 0: 5,000.
	Rate int
	// Scene is how long the clients run undisturbed in each scene. 0: 3 s.
	Scene time.Duration
	// Tell is called with each line of the story. Required.
	Tell func(admin.Line)
}

const (
	partitions = 6
	producers  = 2
	members    = 2 // of each consumer group

	// ownLimit and realLimit bound the demo on a cluster of its own and on a real
	// one, cleaning up not included.
	ownLimit  = 55 * time.Second
	realLimit = 120 * time.Second
	// settle bounds each wait for something that should be there at once.
	settle = 15 * time.Second
	// after is how long clients are watched after a move, so that what it did to
	// them is seen.
	after = 700 * time.Millisecond
)

// A stage is a running demo.
type stage struct {
	Options
	life   context.Context // of the server: without the limit, which ends the play
	began  time.Time
	result *Result
	legacy *cluster
	server Server
	load   *load
}

// Run runs the demo. The Result is complete when the error is nil; its Verdict
// says whether everything was as promised. An error means that the demo could
// not be carried to its end, and is in the Result too.
func Run(ctx context.Context, opts Options) (*Result, error) {
	if opts.Rate == 0 {
		opts.Rate = 5000
	}
	if opts.Scene == 0 {
		opts.Scene = 3 * time.Second
	}
	s := &stage{Options: opts, life: ctx, began: time.Now(), result: &Result{Verdict: failed}}
	limit := ownLimit
	if opts.Legacy != "" {
		limit = realLimit
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s", limit))
	defer cancel()
	err := s.play(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(bounded), err)
	}
	if cerr := s.clean(context.WithoutCancel(ctx)); cerr != nil {
		err = errors.Join(err, cerr)
	}
	s.result.ElapsedS = time.Since(s.began).Seconds()
	s.result.conclude(err)
	s.verdict()
	return s.result, err
}

// play is the story, scene by scene.
func (s *stage) play(ctx context.Context) error {
	for _, scene := range []struct {
		name string
		play func(context.Context) error
	}{
		{"start legacy", s.startLegacy},
		{"start switchback", s.startServer},
		{"start clients", s.startClients},
		{"mirror", s.mirror},
		{"flip", s.flip},
		{"relocate", s.relocate},
		{"roll back", s.rollback},
		{"stop clients", s.stopClients},
		{"verify", s.verify},
		{"check the ledger", s.audit},
	} {
		if err := scene.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", scene.name, err)
		}
	}
	return nil
}

func (s *stage) tell(format string, args ...any) {
	s.Tell(admin.Line{At: time.Now(), Text: fmt.Sprintf(format, args...)})
}

func (s *stage) warn(format string, args ...any) {
	s.Tell(admin.Line{At: time.Now(), Text: fmt.Sprintf(format, args...), Warn: true})
}

// run lets the clients work for a while.
func (s *stage) run(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await polls a fact that no one pushes until it is true. what completes "the
// demo waited in vain for ...".
func await(ctx context.Context, what string, fact func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := fact()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("waited in vain for %s: %w", what, err)
			}
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
}
