package server

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"switchback/plans"
)

// instanceID names the one data plane that a data folder has.
const instanceID = "proxy-1"

// assemblePlans makes the flip machine and its agent.
func (s *Server) assemblePlans() {
	cfg := plans.Config{
		Name: "server " + s.owned.ID, Hold: s.cfg.Flip.Hold, Stop: s.cfg.Flip.HardStop, Attempts: s.cfg.Flip.Attempts,
		MaxDrain: s.cfg.Rollback.MaxDrain, RelocateAfter: s.cfg.Copy.Stopped, Logger: s.log,
	}
	s.runner = plans.NewRunner(s.catalog, s.world, cfg)
	s.agent = plans.NewAgent(s.catalog, gate{s.proxy, s.broker}, instanceID, cfg)
	armFailpoint()
}

// restore brings every unit to a home that works, and gives the routes to the
// proxy, before anybody is served.
func (s *Server) restore(ctx context.Context) error {
	if err := s.runner.Resume(ctx); err != nil {
		return fmt.Errorf("resume moves: %w", err)
	}
	if err := s.agent.Restore(ctx); err != nil {
		return fmt.Errorf("restore routes: %w", err)
	}
	return nil
}

// FailpointEnv names a state of a move (plans.Failpoints lists them). A server
// that reaches it kills itself, for tests of what a crash leaves.
const FailpointEnv = "SWITCHBACK_FAILPOINT"

var failpointOnce sync.Once

// armFailpoint sets the hook once, before anything runs: a demo and tests start
// several servers in one process.
func armFailpoint() {
	failpointOnce.Do(func() {
		deadly := os.Getenv(FailpointEnv)
		if deadly == "" {
			return
		}
		plans.Failpoint = func(name string) {
			if name != deadly {
				return
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // no answer comes from the dead
			select {}
		}
	})
}
