package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/e2e/clients"
	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// failpointVariable names the state at which a server kills itself.
const failpointVariable = "SWITCHBACK_FAILPOINT"

// States at which a move can be cut short, in the server's own words, in the order in which they are passed.
var (
	moveStates  = []string{"checked", "watching", "claimed", "holding", "held", "sealed", "committed", "copied", "switched", "opened"}
	agentStates = []string{"agent.hold", "agent.drained", "agent.acked"}
)

// applied is passed at every start too, once there is a route: it comes first, while there is none.
const applied = "agent.applied"

// retryEOF is for franz-go in front of a server that dies by SIGKILL: a connection whose first request was read and not answered ends with
// EOF then, which franz-go takes for a wrong TLS setting, and gives the record up. A killed Kafka does the same to it.
var retryEOF = kgo.AlwaysRetryEOF()

// TestKilledAtEveryState: the server kills itself (SIGKILL) at each state of a flip and of a rollback. After a restart it has resumed or undone the
// move, all partitions are at home on the same side, and the clients, who felt a pause, have lost and doubled nothing.
func TestKilledAtEveryState(t *testing.T) {
	s := newStage(t, setting{brokers: 1, partitions: 4, replicas: 1})
	s.franzProducer("franz", 300, retryEOF)
	s.javaConsumer("java-classic", clients.Classic)
	s.franzReader("reader")
	s.steady(100)
	states := []string{applied + "/flip"}
	for _, state := range moveStates {
		states = append(states, "flip."+state, "rollback."+state)
	}
	for _, state := range agentStates {
		states = append(states, state+"/flip", state+"/rollback")
	}
	for _, state := range append(states, "relocate.done", "rollback.taken-back", "relocate-back.done") {
		s.killedAt(state)
	}
	s.killedAtStart(applied)
	s.finish()
}

// killedAtStart kills the server at a state that a start passes.
func (s *stage) killedAtStart(state string) {
	s.t.Helper()
	s.must(s.server.Stop())
	s.must(s.server.Launch(failpointVariable + "=" + state))
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := s.server.Process().Wait(ctx); ctx.Err() != nil || s.server.Process().ExitCode() != -1 {
		s.t.Fatalf("%s: the server was not killed at its start: %v", state, err)
	}
	s.must(s.server.Start(s.ctx))
	s.steady(50)
}

// killedAt kills the server once at a state and starts it again.
func (s *stage) killedAt(state string) {
	s.t.Helper()
	name, move, ok := strings.Cut(state, "/") // "agent.hold/flip": the same state of two moves
	if !ok {
		move = state
	}
	want, command := s.before(move)
	s.reach(want)
	s.must(s.server.Stop())
	s.must(s.server.Start(s.ctx, failpointVariable+"="+name))
	s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
	s.steady(20)
	s.must(machine.Until(s.ctx, patience, state+" to kill the server", func(ctx context.Context) error {
		_, err := command(ctx, s.topic) // refused while it is not the time; without a report when the server dies meanwhile
		select {
		case <-s.server.Process().Done():
			return nil
		case <-time.After(again):
			return errors.Join(errors.New("the server lives after the command"), err)
		}
	}))
	if s.server.Process().ExitCode() != -1 {
		s.t.Fatalf("%s: the server ended with code %d, and was not killed", state, s.server.Process().ExitCode())
	}
	began := time.Now()
	s.must(s.server.Start(s.ctx))
	home := s.home()
	s.steady(50)
	s.t.Logf("%s: killed, at home on %s after the restart, clients go on %v after it began", state, home, time.Since(began).Round(time.Millisecond))
}

// place is where a topic stands.
type place struct {
	home      string
	relocated bool
}

// before says where a topic must stand before a move that passes a state, and the command of the move.
func (s *stage) before(state string) (place, func(context.Context, ...string) (server.Move, error)) {
	switch {
	case state == "rollback.taken-back":
		return place{"target", true}, s.server.Rollback
	case state == "relocate.done":
		return place{"target", false}, s.server.Relocate
	case state == "relocate-back.done":
		return place{"target", true}, s.server.RelocateBack
	case strings.HasPrefix(state, "flip"):
		return place{"legacy", false}, s.server.Flip
	}
	return place{"target", false}, s.server.Rollback
}

// reach brings the topic where it must stand.
func (s *stage) reach(want place) {
	s.t.Helper()
	status, err := s.server.Status(s.ctx)
	s.must(err)
	p := status.Topic(s.topic)[0]
	have := place{p.Home, p.Relocated}
	switch {
	case have == want:
		return
	case have.home != want.home && want.home == "legacy":
		s.rollback()
	case have.home != want.home:
		s.flip()
		have.relocated = false
	}
	if want.home == "target" && have.relocated != want.relocated {
		if want.relocated {
			s.relocate()
		} else {
			s.move("relocate back", s.server.RelocateBack)
		}
	}
}

// TestKilledAtRandom: the server is killed at any moment while it flips and rolls back under load.
func TestKilledAtRandom(t *testing.T) {
	kills := machine.Size(t, "random kills", 10, 30)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStage(t, setting{brokers: 1, partitions: 4, replicas: 1})
	s.franzProducer("franz", 500, retryEOF)
	s.javaConsumer("java-classic", clients.Classic)
	s.franzReader("reader")
	s.steady(100)
	for n := range kills {
		command, what := s.server.Flip, "flip"
		if s.home() == "target" {
			command, what = s.server.Rollback, "rollback"
		}
		s.must(s.server.CaughtUp(s.ctx, s.topic, int(s.partitions)))
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		ended := make(chan error, 1)
		go func() {
			_, err := command(ctx, s.topic)
			ended <- err
		}()
		after := time.Duration(random.IntN(900)) * time.Millisecond
		timer := time.NewTimer(after)
		<-timer.C
		s.must(s.server.Kill())
		err := <-ended
		cancel()
		s.must(s.server.Start(s.ctx))
		home := s.home()
		s.steady(50)
		t.Logf("kill %d, %v into a %s (which said: %v): at home on %s", n, after, what, firstLine(err), home)
	}
	s.finish()
}

func firstLine(err error) string {
	if err == nil {
		return "done"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
