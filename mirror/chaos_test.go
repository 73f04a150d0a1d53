package mirror_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchback/mirror"
	"switchback/offsets"
)

var (
	chaosSeed = flag.Uint64("mirror.seed", 0, "run the chaos test with this seed only")
	chaosRuns = flag.Int("mirror.runs", 12, "how many seeds the chaos test runs")
)

// TestChaos is the promise of the package: whatever legacy does, short of an
// unclean election while it is home and of writes that are not ours, both logs
// are equal in the end and hold every acknowledged record once, at its offset.
func TestChaos(t *testing.T) {
	if *chaosSeed != 0 {
		synctest.Test(t, func(t *testing.T) { chaos(t, *chaosSeed) })
		return
	}
	for seed := uint64(1); seed <= uint64(*chaosRuns); seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

// A written record is one that a client was told the offset of.
type written struct {
	offset int64
	value  string
}

type world struct {
	*rig
	p    *paper
	rng  *rand.Rand
	mu   sync.Mutex // guards rng and acked
	acks [][]written
	hold []chan struct{} // capacity 1: who writes to this partition, or lets nobody; no mutex, for which virtual time stands still
	side []offsets.Side
}

func (w *world) dice(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

const chaosPartitions = 3

func chaos(t *testing.T, seed uint64) {
	p := newPaper(seed, 3, "chaos", chaosPartitions)
	w := &world{
		rig: newRig(t, p, mirror.Config{}), p: p, rng: rand.New(rand.NewPCG(seed, 7)),
		acks: make([][]written, chaosPartitions), hold: make([]chan struct{}, chaosPartitions), side: make([]offsets.Side, chaosPartitions),
	}
	for i := range w.hold {
		w.hold[i] = make(chan struct{}, 1)
	}
	defer w.close()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d: go test ./mirror -run TestChaos -mirror.seed %d", seed, seed)
		}
	}()
	for i := range chaosPartitions {
		w.untilState(p.partition(i), mirror.CaughtUp)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range chaosPartitions {
		clients.Go(func() { w.client(ctx, i) })
	}
	for range 25 {
		p.do(func() {
			p.faults = paperFaults{lostBefore: 0.02, lostAfter: 0.02, late: 0.02, refused: 0.05, timedOut: 0.05}
		})
		for range w.dice(12) {
			w.strike()
			time.Sleep(time.Duration(w.dice(400)) * time.Millisecond)
		}
		w.turn(w.dice(chaosPartitions))
	}
	cancel()
	clients.Wait()
	w.heal()
	for i := range chaosPartitions {
		w.check(i)
	}
}

// client writes batches with unique values to wherever the home is.
func (w *world) client(ctx context.Context, i int) {
	for n := 0; ctx.Err() == nil; n++ {
		w.hold[i] <- struct{}{}
		value := fmt.Sprintf("%d-%d", i, n)
		if w.side[i] == offsets.Legacy {
			// acks=-1: acknowledged when the high watermark has passed it
			if base := w.p.produce(i, records(value)); w.p.committed(i, base) {
				w.ack(i, base, value)
			}
		} else if a := w.appendTarget(w.p.partition(i), records(value, "second")); a.Err == nil {
			w.ack(i, a.Base, value)
		}
		<-w.hold[i]
		time.Sleep(time.Duration(5+w.dice(60)) * time.Millisecond)
	}
}

func (w *world) ack(i int, offset int64, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks[i] = append(w.acks[i], written{offset, value})
}

// strike does something unpleasant to legacy, or to us.
func (w *world) strike() {
	i := w.dice(chaosPartitions)
	node := int32(w.dice(3))
	switch w.dice(7) {
	case 0, 1:
		w.p.elect(i)
	case 2:
		w.p.do(func() { w.p.topics[0].parts[i].paused = !w.p.topics[0].parts[i].paused })
	case 3:
		w.p.do(func() { w.p.down[node] = true })
	case 4:
		w.p.do(func() { clear(w.p.down) })
	case 5:
		// Everything that is under way belongs to clients of the target's log, which
		// must not see it closed.
		for j := range w.hold {
			w.hold[j] <- struct{}{}
		}
		w.restart(w.dice(2) == 0)
		for j := range w.hold {
			<-w.hold[j]
		}
	case 6:
		w.p.do(func() { w.p.faults.delay = time.Duration(w.p.rng.IntN(3)) * time.Millisecond })
	}
}

// heal ends all faults and lets every partition have a leader and followers.
func (w *world) heal() {
	w.p.do(func() {
		w.p.faults = paperFaults{}
		clear(w.p.down)
		for _, pp := range w.p.topics[0].parts {
			pp.paused = false
		}
	})
}

// turn flips or rolls back a partition, in quiet.
func (w *world) turn(i int) {
	w.heal()
	w.hold[i] <- struct{}{}
	defer func() { <-w.hold[i] }()
	part := w.p.partition(i)
	if w.side[i] == offsets.Legacy {
		w.flip(part)
	} else {
		w.rollback(part)
	}
	w.side[i] = w.side[i].Other()
}

func (w *world) check(i int) {
	w.t.Helper()
	part := w.p.partition(i)
	if w.side[i] == offsets.Target {
		w.log(part).Follow()
	}
	w.sealed(part)
	legacy, _ := w.p.log(i)
	if err := equal(legacy, w.batches(part), false); err != nil {
		w.t.Error(err)
	}
	at := make(map[int64]string)
	seen := make(map[string]bool)
	for _, b := range legacy {
		v := firstValue(w.t, b)
		if seen[v] {
			w.t.Errorf("partition %d: %q is there twice", i, v)
		}
		seen[v] = true
		at[header(b).BaseOffset] = v
	}
	for _, a := range w.acks[i] {
		if at[a.offset] != a.value {
			w.t.Errorf("partition %d: %q was acknowledged at %d, which holds %q", i, a.value, a.offset, at[a.offset])
		}
	}
	if s, _ := w.m.Status(part); !s.Exact || s.Counters.Resets != 0 {
		w.t.Errorf("partition %d: %+v", i, s)
	}
	if len(w.acks[i]) < 100 {
		w.t.Errorf("partition %d: only %d records were acknowledged", i, len(w.acks[i]))
	}
}
