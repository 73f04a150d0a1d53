package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchback/mirror"
	"switchback/offsets"
)

func TestForwardCopyIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(1, 3, "orders", 4)
		for i := range 40 {
			p.produce(i%4, records(fmt.Sprint("before ", i), "x"))
		}
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		for i := range 40 {
			p.produce(i%4, records(fmt.Sprint("after ", i)))
		}
		for i := range 4 {
			r.untilState(p.partition(i), mirror.CaughtUp)
			r.sealed(p.partition(i))
			legacy, _ := p.log(i)
			if err := equal(legacy, r.batches(p.partition(i)), true); err != nil {
				t.Error(err)
			}
			if got := r.log(p.partition(i)).Epochs(); got.Latest() != 3 {
				t.Errorf("target's epochs are %v, legacy's latest is 3", got)
			}
		}
		if c := r.target.imported[p.topics[0].id].Configs["cleanup.policy"]; c == nil || *c != "delete" {
			t.Error("the topic's configs were not imported")
		}
	})
}

func TestFlipAndRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(2, 2, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		for round := range 5 {
			p.produce(0, records(fmt.Sprint("legacy ", round)))
			r.flip(part)
			for i := range 20 {
				if a := r.appendTarget(part, records(fmt.Sprint("target ", round, i))); a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			r.rollback(part)
		}
		p.produce(0, records("last"))
		r.sealed(part)
		legacy, _ := p.log(0)
		if err := equal(legacy, r.batches(part), true); err != nil {
			t.Error(err)
		}
		if len(legacy) != 5*21+1 {
			t.Errorf("legacy holds %d batches, %d were written", len(legacy), 5*21+1)
		}
		s, _ := r.m.Status(part)
		if !s.Exact || s.InexactAt != -1 || s.Counters.ReplayedBatches != 100 || s.Counters.EpochDifferences != 0 {
			t.Errorf("status after all: %+v", s)
		}
		if _, _, differ := r.m.Epochs(part); differ {
			t.Error("epoch lists count as different, and nobody elected")
		}
	})
}

func TestLatencyOfReplayAndCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(3, 1, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		p.produce(0, records("first"))
		r.flip(part)
		r.untilState(part, mirror.Replaying)
		time.Sleep(10 * time.Second) // everybody parked
		began := time.Now()
		a := r.appendTarget(part, records("now"))
		if err := r.m.Await(context.Background(), part, a.Last+1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("replay of an idle partition took %v of virtual time: somebody polls", took)
		}
		r.rollback(part)
		time.Sleep(10 * time.Second)
		began = time.Now()
		end := p.produce(0, records("back")) + 1
		if err := r.m.Await(context.Background(), part, end); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the copy of an idle partition took %v of virtual time: somebody polls", took)
		}
	})
}

func TestRefusedBatchStallsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(4, 1, "orders", 2)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		r.flip(part)
		p.do(func() { p.topics[0].configs["max.message.bytes"] = "1" })
		end := r.appendTarget(part, records("large")).Last + 1
		s := r.untilState(part, mirror.Stalled)
		if !strings.Contains(s.Err, "MESSAGE_TOO_LARGE") && !strings.Contains(s.Err, "too large") || !strings.Contains(s.Remedy, "max.message.bytes") {
			t.Errorf("a stalled partition says %q, remedy %q", s.Err, s.Remedy)
		}
		if !s.Exact || s.InexactAt != -1 {
			t.Error("a stalled partition is still exact")
		}
		time.Sleep(5 * time.Second)
		if s, _ := r.m.Status(part); s.State != mirror.Stalled || !s.Known || s.Drain != mirror.DrainUnknown {
			t.Errorf("after a while: %+v", s)
		}
		p.do(func() { delete(p.topics[0].configs, "max.message.bytes") })
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.m.Await(ctx, part, end); err != nil {
			t.Fatal(err)
		}
		s = r.untilState(part, mirror.Replaying)
		if s.Err != "" {
			t.Errorf("it still says %q", s.Err)
		}
	})
}

func TestStrangersWriteDiverges(t *testing.T) {
	for _, test := range []struct {
		name    string
		pending bool // the target has a batch at the same offset
	}{{"in front", false}, {"in between", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(5, 1, "orders", 2)
				r := newRig(t, p, mirror.Config{})
				defer r.close()
				part, other := p.partition(0), p.partition(1)
				p.produce(0, records("one"))
				r.flip(part)
				r.flip(other)
				r.untilState(part, mirror.Replaying)
				if test.pending {
					p.do(func() { p.down[0] = true })
					r.appendTarget(part, records("ours"))
					time.Sleep(time.Second)
				}
				p.produce(0, records("a stranger's"))
				p.do(func() { p.down[0] = false })
				s := r.untilState(part, mirror.Diverged)
				if s.InexactAt != 1 || s.Exact || s.Known || s.Remedy == "" {
					t.Errorf("a diverged partition says %+v", s)
				}
				if err := r.m.Await(context.Background(), part, 100); !errors.Is(err, mirror.ErrStopped) {
					t.Errorf("await of a diverged partition: %v", err)
				}
				before, _ := p.log(0)
				r.appendTarget(part, records("after"))
				end := r.appendTarget(other, records("other")).Last + 1
				if err := r.m.Await(context.Background(), other, end); err != nil {
					t.Errorf("the other partition does not go on: %v", err)
				}
				time.Sleep(10 * time.Second)
				if after, _ := p.log(0); len(after) != len(before) {
					t.Error("a diverged partition was written to")
				}
			})
		})
	}
}

// Legacy lost, by an unclean election, what it had: while it is home it is the
// authority, while the target is home it gets its records back.
func TestUncleanElection(t *testing.T) {
	t.Run("home legacy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(6, 2, "orders", 1)
			r := newRig(t, p, mirror.Config{})
			defer r.close()
			part := p.partition(0)
			for i := range 10 {
				p.produce(0, records(fmt.Sprint(i)))
			}
			r.sealed(part)
			p.wipe(0, 6)
			for i := range 7 { // its end is above the copy's again before anybody looks
				p.produce(0, records(fmt.Sprint("again ", i)))
			}
			time.Sleep(time.Second)
			if s, _ := r.m.Status(part); s.Counters.Resets != 0 || s.Known {
				t.Errorf("shortly after: %+v", s)
			}
			if ends, _ := r.m.Ends(context.Background(), []offsets.Partition{part}); ends[0].Digests.Equal() && ends[0].Quiet {
				t.Error("a copy that legacy contradicts could be sealed")
			}
			r.sealed(part)
			legacy, _ := p.log(0)
			if err := equal(legacy, r.batches(part), true); err != nil {
				t.Error(err)
			}
			if s, _ := r.m.Status(part); s.Counters.Resets != 1 {
				t.Errorf("after the copy was made again: %+v", s)
			}
		})
	})
	t.Run("home target", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(7, 2, "orders", 1)
			r := newRig(t, p, mirror.Config{})
			defer r.close()
			part := p.partition(0)
			p.produce(0, records("first"))
			r.flip(part)
			for i := range 10 {
				r.appendTarget(part, records(fmt.Sprint(i)))
			}
			if err := r.m.Await(context.Background(), part, 11); err != nil {
				t.Fatal(err)
			}
			p.wipe(0, 4)
			r.appendTarget(part, records("more"))
			r.until(time.Minute, func() string {
				if legacy, _ := p.log(0); len(legacy) < 12 {
					return fmt.Sprintf("legacy has %d batches", len(legacy))
				}
				return ""
			})
			r.sealed(part)
			legacy, _ := p.log(0)
			if err := equal(legacy, r.batches(part), false); err != nil {
				t.Error(err)
			}
			s, _ := r.m.Status(part)
			if s.Counters.Rewound == 0 || !s.Exact {
				t.Errorf("after legacy got its records back: %+v", s)
			}
			if _, _, differ := r.m.Epochs(part); !differ {
				t.Error("legacy's batches from 4 on are of another epoch, and the lists count as equal")
			}
		})
	})
}

// An election while the target is home: what it has appended under the old epoch
// and legacy gets under the new one is counted, and the lists count as different.
func TestElectionWhileReplaying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(8, 2, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		r.flip(part)
		r.untilState(part, mirror.Replaying)
		p.do(func() { p.down[0], p.down[1] = true, true })
		for i := range 5 {
			r.appendTarget(part, records(fmt.Sprint("old epoch ", i)))
		}
		p.do(func() { p.down[0], p.down[1] = false, false })
		p.elect(0)
		r.until(time.Minute, func() string {
			if s, _ := r.m.Status(part); s.Confirmed < 5 {
				return "not replayed"
			}
			return ""
		})
		if e := r.log(part).Bounds().Epoch; e != 4 {
			t.Errorf("the target stamps epoch %d, legacy's is 4", e)
		}
		r.appendTarget(part, records("new epoch"))
		r.rollback(part)
		s, _ := r.m.Status(part)
		if s.Counters.EpochDifferences != 5 {
			t.Errorf("%d epoch differences, 5 batches were acknowledged under the old one", s.Counters.EpochDifferences)
		}
		if _, _, differ := r.m.Epochs(part); !differ {
			t.Error("the lists count as equal")
		}
		p.produce(0, records("legacy again"))
		r.sealed(part)
		legacy, _ := p.log(0)
		if err := equal(legacy, r.batches(part), false); err != nil {
			t.Error(err)
		}
	})
}

// A follower that does not fetch: a round times out above the high watermark.
// Nothing is sent again, nothing is confirmed, and no seal is given.
func TestHighWatermarkBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(9, 2, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		r.flip(part)
		r.untilState(part, mirror.Replaying)
		p.do(func() { p.topics[0].parts[0].paused = true })
		r.appendTarget(part, records("above"))
		time.Sleep(10 * time.Second)
		if legacy, end := p.log(0); len(legacy) != 1 || end != 1 {
			t.Fatalf("legacy's log has %d batches, one was sent", len(legacy))
		}
		if s, _ := r.m.Status(part); s.Known || s.State == mirror.Diverged {
			t.Errorf("while the follower is away: %+v", s)
		}
		ends, _ := r.m.Ends(context.Background(), []offsets.Partition{part})
		if e := ends[0]; e.Legacy.LogEnd != 1 || e.Legacy.HighWatermark != 0 || e.Quiet {
			t.Errorf("ends while the follower is away: %+v", e)
		}
		p.do(func() { p.topics[0].parts[0].paused = false })
		if err := r.m.Await(context.Background(), part, 1); err != nil {
			t.Fatal(err)
		}
		r.rollback(part)
	})
}

func TestLogStartIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(10, 1, "orders", 1)
		part := p.partition(0)
		for i := range 10 {
			p.produce(0, records(fmt.Sprint(i), "x", "y"))
		}
		cut := func(start int64) {
			p.do(func() {
				pp := p.topics[0].parts[0]
				pp.start = start
				for _, l := range pp.replicas {
					for len(l.batches) > 0 && header(l.batches[0]).LastOffset() < start {
						l.batches = l.batches[1:]
					}
				}
			})
		}
		cut(7) // within a batch
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		started := func(want int64) {
			t.Helper()
			r.until(time.Minute, func() string {
				if l, ok := r.target.engine.Log(part); !ok || l.Bounds().Start != want || l.Bounds().Durable != 30 {
					return fmt.Sprintf("the target does not begin at %d", want)
				}
				return ""
			})
		}
		started(7)
		cut(12)
		p.produce(0, records("x"))
		r.until(time.Minute, func() string {
			if b := r.log(part).Bounds(); b.Start != 12 || b.End != 31 {
				return fmt.Sprintf("%+v", b)
			}
			return ""
		})
		legacy, _ := p.log(0)
		if err := equal(legacy, r.batches(part), true); err != nil {
			t.Error(err)
		}
		// Retention overtakes a mirror that was away.
		r.stop()
		p.produce(0, records("lost"))
		p.produce(0, records("kept"))
		cut(32)
		r.start()
		r.until(time.Minute, func() string {
			if b := r.log(part).Bounds(); b.Start != 32 || b.End != 33 {
				return fmt.Sprintf("%+v", b)
			}
			return ""
		})
		if s, _ := r.m.Status(part); s.Counters.Overtaken != 1 {
			t.Errorf("%d times overtaken", s.Counters.Overtaken)
		}
	})
}

// A topic that is deleted, and one that is created again under its name.
func TestTopicDeletedAndCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(11, 1, "orders", 2)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part, moved := p.partition(0), p.partition(1)
		p.produce(0, records("x"))
		r.flip(part)
		old := p.topics[0]
		fresh := newPaper(12, 1, "orders", 1).topics[0]
		p.do(func() { p.topics = []*paperTopic{fresh}; p.topology() })
		s := r.untilState(part, mirror.Diverged)
		if s.Exact || r.target.removed[old.id] {
			t.Errorf("a topic whose home is the target was given up: %+v", s)
		}
		if s, _ := r.m.Status(moved); s.State != mirror.Stopped {
			t.Errorf("its other partition is %s", s.State)
		}
		newer := newPaper(13, 1, "orders", 1).topics[0]
		r.untilState(offsets.Partition{Topic: fresh.id}, mirror.CaughtUp)
		p.do(func() { p.topics = []*paperTopic{newer}; p.topology() })
		r.until(time.Minute, func() string {
			r.target.mu.Lock()
			defer r.target.mu.Unlock()
			if !r.target.removed[fresh.id] {
				return "the copy of a deleted topic is still there"
			}
			return ""
		})
		r.untilState(offsets.Partition{Topic: newer.id}, mirror.CaughtUp)
	})
}

// Legacy takes a batch for a duplicate of another one (same producer, epoch,
// sequence and count): it answers no error and writes nothing.
func TestTakenForDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(14, 1, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		p.produce(0, records("zero"))
		r.flip(part)
		r.untilState(part, mirror.Replaying)
		p.do(func() { p.faults.duplicate = true })
		r.appendTarget(part, records("one"))
		s := r.untilState(part, mirror.Stalled)
		if s.Confirmed != 1 || !s.Exact {
			t.Errorf("nothing was written, and status says %+v", s)
		}
		p.do(func() { p.faults.duplicate = false })
		if err := r.m.Await(context.Background(), part, 2); err != nil {
			t.Fatal(err)
		}
		r.rollback(part)
	})
}

// A produce sits in a broker's queue while leadership goes away and comes back:
// nothing of its partition is sent, by any leader's writer, until it is answered.
func TestLeaderComesBackToQueuedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(15, 2, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		r.flip(part)
		r.untilState(part, mirror.Replaying)
		stuck := make(chan struct{})
		p.do(func() { p.faults.stuck = stuck })
		for i := range 3 {
			r.appendTarget(part, records(fmt.Sprint(i)))
		}
		time.Sleep(100 * time.Millisecond)
		p.do(func() { p.faults.stuck = nil })
		p.elect(0)
		time.Sleep(100 * time.Millisecond)
		if legacy, _ := p.log(0); len(legacy) != 0 {
			t.Error("the new leader's writer did not wait for the request that is under way")
		}
		p.elect(0)
		time.Sleep(100 * time.Millisecond)
		close(stuck)
		if err := r.m.Await(context.Background(), part, 3); err != nil {
			t.Fatal(err)
		}
		r.rollback(part)
		legacy, _ := p.log(0)
		if err := equal(legacy, r.batches(part), false); err != nil || len(legacy) != 3 {
			t.Errorf("legacy holds %d batches: %v", len(legacy), err)
		}
	})
}
