package plans_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchback/offsets"
	"switchback/plans"
)

var limits = plans.Limits{Hold: 300 * time.Millisecond, Stop: 2 * time.Second, Attempts: 3, Backoff: 500 * time.Millisecond, Prepare: 45 * time.Second, MaxDrain: 100 * time.Millisecond}

// allowed are the transitions of doc.go.
var allowed = map[plans.Phase]map[plans.Phase]bool{
	plans.Watching:  {plans.Watching: true, plans.Holding: true, "": true}, // to itself: a relocation is taken back
	plans.Holding:   {plans.Committed: true, plans.Expired: true},
	plans.Expired:   {plans.Holding: true, plans.Expired: true, "": true},
	plans.Committed: {"": true},
}

func drawRecord(t *rapid.T) plans.Record {
	n := rapid.IntRange(1, 3).Draw(t, "parts")
	r := plans.Record{Unit: "u", Epoch: rapid.Int64Range(0, 5).Draw(t, "epoch")}
	kind := rapid.SampledFrom([]plans.Kind{plans.Flip, plans.Rollback}).Draw(t, "kind")
	phase := rapid.SampledFrom([]plans.Phase{"", plans.Watching, plans.Holding, plans.Expired, plans.Committed}).Draw(t, "phase")
	to := offsets.Target
	if kind == plans.Rollback {
		to = offsets.Legacy
	}
	r.Home = to.Other()
	for i := range n {
		r.Parts = append(r.Parts, plans.Part{Name: "t", Index: int32(i)})
		r.Shown = append(r.Shown, offsets.Shown{Relocated: offsets.NotRelocated})
		r.Seal = append(r.Seal, 1)
		r.Epochs = append(r.Epochs, 1)
	}
	if kind == plans.Rollback && phase != plans.Committed && rapid.Bool().Draw(t, "relocated") {
		r.Relocated = true
		for i := range r.Shown {
			r.Shown[i] = r.Shown[i].Relocate(1)
		}
	}
	if phase == "" {
		return r
	}
	r.Move = &plans.Move{ID: "m", Kind: kind, To: to, Phase: phase, Epoch: r.Epoch + 2, Attempt: rapid.IntRange(0, 4).Draw(t, "attempt"),
		Hold: limits.Hold, Stop: limits.Stop, Final: rapid.Bool().Draw(t, "final"), AcceptInexact: rapid.Bool().Draw(t, "accept")}
	if phase == plans.Committed {
		r.Home, r.Epoch = to, r.Move.Epoch
	}
	return r
}

func drawEnds(t *rapid.T) plans.Ends {
	few := rapid.Int64Range(7, 8)
	e := plans.Ends{LegacyEnd: few.Draw(t, "end"), LegacyHW: few.Draw(t, "hw"), LegacyEpoch: rapid.Int32Range(-1, 1).Draw(t, "leader epoch"),
		TargetEnd: few.Draw(t, "target"), TargetDurable: few.Draw(t, "durable"), Known: rapid.Bool().Draw(t, "known"), Quiet: rapid.Bool().Draw(t, "quiet")}
	if rapid.IntRange(0, 2).Draw(t, "all well") > 0 {
		e = plans.Ends{LegacyEnd: 7, LegacyHW: 7, TargetEnd: 7, TargetDurable: 7, Known: true, Quiet: true}
	}
	if rapid.IntRange(0, 9).Draw(t, "digests") == 0 {
		e.Target = e.Target.Add(offsets.Entry{})
	}
	return e
}

func drawFacts(t *rapid.T, r plans.Record) plans.Facts {
	now := time.Unix(1000, 0)
	f := plans.Facts{Now: now, Since: now.Add(-time.Duration(rapid.Int64Range(0, 3000).Draw(t, "age")) * time.Millisecond),
		Interrupted: rapid.IntRange(0, 5).Draw(t, "interrupted") == 0, Claimed: rapid.Int64Range(0, 8).Draw(t, "claimed"),
		Copied: rapid.Bool().Draw(t, "copied"), Switched: rapid.Bool().Draw(t, "switched")}
	if rapid.Bool().Draw(t, "looked") {
		for range r.Parts {
			f.Looks = append(f.Looks, plans.Look{State: rapid.SampledFrom([]plans.CopyState{plans.CaughtUp, plans.CaughtUp, plans.CaughtUp, plans.Diverged}).Draw(t, "state"),
				Leader: true, Epoch: 2, Exact: true})
		}
	}
	if rapid.Bool().Draw(t, "bypass") {
		f.Bypass = &plans.Bypass{Over: time.Second}
	}
	if r.Move == nil {
		return f
	}
	hold := fmt.Sprintf("%s/%d", r.Move.ID, r.Move.Attempt)
	all := true
	for i := range rapid.IntRange(0, 2).Draw(t, "instances") {
		in := plans.InstanceFacts{ID: fmt.Sprint(i), Ack: plans.Ack{Watched: fmt.Sprintf("%s@%d", hold, r.Epoch), Held: hold}}
		for range r.Parts {
			in.Ack.Acked = append(in.Ack.Acked, rapid.Int64Range(-1, 8).Draw(t, "acked"))
		}
		if rapid.IntRange(0, 4).Draw(t, "late") == 0 {
			in.Ack, all = plans.Ack{Watched: "m/9", Held: "m/9"}, false
		}
		f.Instances = append(f.Instances, in)
	}
	for range rapid.IntRange(0, 2).Draw(t, "sights") {
		s := plans.Sight{Drained: all && rapid.Bool().Draw(t, "drained")}
		for range r.Parts {
			s.Ends = append(s.Ends, drawEnds(t))
		}
		f.Sights = append(f.Sights, s)
	}
	return f
}

// TestNextKeepsTheLaws shows Next any record with any facts.
func TestNextKeepsTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		f := drawFacts(t, r)
		before, _ := json.Marshal(r)
		act := plans.Next(r, f, limits)
		if after, _ := json.Marshal(r); string(after) != string(before) {
			t.Fatalf("Next changed its record:\n%s\n%s", before, after)
		}
		if r.Move == nil {
			if act.Do != plans.Done {
				t.Fatalf("a record at rest asks for %s", act.Do)
			}
			return
		}
		switch act.Do {
		case plans.Done:
			t.Fatal("a move is done while it is in the record")
		case plans.ActCopy, plans.ActSwitch:
			if r.Move.Phase != plans.Committed {
				t.Fatalf("%s before COMMIT", act.Do)
			}
		case plans.AskClaim:
			if r.Move.Phase == plans.Holding || r.Move.Phase == plans.Committed {
				t.Fatal("claims while producers wait")
			}
		case plans.Wait:
			if !act.Until.After(f.Now) || act.Obstacle == "" && r.Move.Phase != plans.Expired {
				t.Fatalf("waits until %s for %q", act.Until, act.Obstacle)
			}
		}
		if act.Do != plans.Write {
			return
		}
		next := act.Record
		if !allowed[r.Move.Phase][next.Phase()] {
			t.Fatalf("%s went to %q", r.Move.Phase, next.Phase())
		}
		if next.Epoch < r.Epoch || len(next.Parts) != len(r.Parts) {
			t.Fatalf("from %+v to %+v", r, next)
		}
		if (next.Home != r.Home) != (next.Phase() == plans.Committed) {
			t.Fatalf("home went from %s to %s in a write to %q", r.Home, next.Home, next.Phase())
		}
		for i := range r.Shown {
			if next.Shown[i].Epoch(2) < r.Shown[i].Epoch(2) {
				t.Fatalf("shown epoch fell from %d to %d", r.Shown[i].Epoch(2), next.Shown[i].Epoch(2))
			}
		}
		switch next.Phase() {
		case plans.Holding:
			if f.Interrupted || next.Relocated || f.Claimed < r.Move.Epoch || f.Bypass == nil || next.Move.Attempt != r.Move.Attempt+1 {
				t.Fatalf("holds with %+v", f)
			}
		case plans.Committed:
			mayCommit(t, r, f, next)
		case "":
			if r.Move.Phase == plans.Committed && !(f.Copied && f.Switched && next.Last.Done) {
				t.Fatalf("opened before the world obeyed: %+v", f)
			}
			if r.Move.Phase != plans.Committed && next.Last.Done {
				t.Fatal("a move that did not commit says that it is done")
			}
		}
	})
}

// TestNextCommitsWhatIsSealed: a hold that is sealed is committed, and is not when
// any one of the things that make a seal is missing.
func TestNextCommitsWhatIsSealed(t *testing.T) {
	base := func(home offsets.Side) (plans.Record, plans.Facts) {
		kind := plans.Flip
		if home == offsets.Target {
			kind = plans.Rollback
		}
		r := plans.Record{Unit: "u", Home: home, Epoch: 4, Parts: []plans.Part{{Name: "t"}, {Name: "t", Index: 1}}, Shown: make([]offsets.Shown, 2),
			Move: &plans.Move{ID: "m", Kind: kind, To: home.Other(), Phase: plans.Holding, Epoch: 6, Attempt: 1, Hold: limits.Hold, Stop: limits.Stop}}
		f := plans.Facts{Now: time.Unix(1000, 0), Since: time.Unix(1000, 0).Add(-time.Millisecond), Claimed: 6}
		for i := range 2 {
			f.Instances = append(f.Instances, plans.InstanceFacts{ID: fmt.Sprint(i), Ack: plans.Ack{Held: "m/1", Acked: []int64{7, -1}}})
			ends := plans.Ends{LegacyEnd: 7, LegacyHW: 7, LegacyEpoch: 2, TargetEnd: 7, TargetDurable: 7, Known: true, Quiet: true}
			f.Sights = append(f.Sights, plans.Sight{Drained: i == 1, Ends: []plans.Ends{ends, ends}})
		}
		return r, f
	}
	faults := map[string]func(*plans.Record, *plans.Facts){
		"interrupted":        func(_ *plans.Record, f *plans.Facts) { f.Interrupted = true },
		"too late":           func(_ *plans.Record, f *plans.Facts) { f.Since = f.Now.Add(-limits.Hold) },
		"not drained":        func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Drained = false },
		"one sight":          func(_ *plans.Record, f *plans.Facts) { f.Sights = f.Sights[1:] },
		"log end above hw":   func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Ends[1].LegacyHW = 6 },
		"target behind":      func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Ends[1].TargetEnd = 6 },
		"target not durable": func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Ends[1].TargetDurable = 6 },
		"acknowledged more":  func(_ *plans.Record, f *plans.Facts) { f.Instances[1].Ack.Acked = []int64{-1, 8} },
		"not quiet":          func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Ends[1].Quiet = false },
		"elected":            func(_ *plans.Record, f *plans.Facts) { f.Sights[0].Ends[1].LegacyEpoch = 1 },
		"no leader":          func(_ *plans.Record, f *plans.Facts) { f.Sights[1].Ends[1].LegacyEpoch = -1 },
		"grew": func(_ *plans.Record, f *plans.Facts) {
			e := &f.Sights[0].Ends[1]
			e.LegacyEnd, e.LegacyHW, e.TargetEnd, e.TargetDurable = 6, 6, 6, 6
		},
		"digests differ": func(_ *plans.Record, f *plans.Facts) {
			f.Sights[1].Ends[1].Legacy = offsets.Digest{}.Add(offsets.Entry{CRC: 1})
		},
	}
	for _, home := range []offsets.Side{offsets.Legacy, offsets.Target} {
		r, f := base(home)
		act := plans.Next(r, f, limits)
		if act.Do != plans.Write || act.Record.Phase() != plans.Committed || act.Record.Home == home || act.Record.Epoch != 6 || act.Record.Seal[1] != 7 || act.Record.Epochs[1] != 2 {
			t.Errorf("home %s, sealed: %s %+v", home, act.Do, act.Record)
		}
		for name, plant := range faults {
			r, f := base(home)
			// Accepting that bytes differ accepts nothing else.
			if r.Move.AcceptInexact = name != "digests differ"; r.Move.AcceptInexact {
				f.Sights[1].Ends[0].Target = offsets.Digest{}.Add(offsets.Entry{CRC: 2})
				f.Sights[1].Ends[1].Target = offsets.Digest{}.Add(offsets.Entry{CRC: 2})
			}
			plant(&r, &f)
			if act := plans.Next(r, f, limits); act.Do == plans.Write && act.Record.Phase() == plans.Committed {
				t.Errorf("home %s, %s: committed", home, name)
			}
		}
		r, f = base(home)
		f.Sights[1].Ends[0].Known = false
		if act := plans.Next(r, f, limits); act.Record.Phase() != plans.Committed || act.Record.Move.Unverified != 1 {
			t.Errorf("home %s, digests not known: %s %+v", home, act.Do, act.Record.Move)
		}
	}
}

// mayCommit is the definition of a seal, spelled out.
func mayCommit(t *rapid.T, r plans.Record, f plans.Facts, next plans.Record) {
	if f.Interrupted || f.Now.Sub(f.Since) >= r.Move.Hold || len(f.Sights) != 2 || !f.Sights[1].Drained {
		t.Fatalf("committed with %+v", f)
	}
	for _, in := range f.Instances {
		if in.Ack.Held != fmt.Sprintf("%s/%d", r.Move.ID, r.Move.Attempt) {
			t.Fatalf("committed without instance %s", in.ID)
		}
	}
	for i := range r.Parts {
		a, b := f.Sights[0].Ends[i], f.Sights[1].Ends[i]
		for _, in := range f.Instances {
			if in.Ack.Acked[i] > b.LegacyEnd {
				t.Fatalf("committed at %d, %d is acknowledged", b.LegacyEnd, in.Ack.Acked[i])
			}
		}
		for _, e := range []plans.Ends{a, b} {
			if e.LegacyEnd != 7 && e.LegacyEnd != 8 || e.LegacyEnd != e.LegacyHW || e.LegacyEnd != e.TargetEnd || e.LegacyEnd != e.TargetDurable || e.LegacyEpoch < 0 {
				t.Fatalf("committed with ends %+v", e)
			}
		}
		if a.LegacyEnd != b.LegacyEnd || a.LegacyEpoch != b.LegacyEpoch || !b.Quiet {
			t.Fatalf("committed with %+v, then %+v", a, b)
		}
		if b.Known && b.Legacy != b.Target && !r.Move.AcceptInexact {
			t.Fatalf("committed with digests %+v", b)
		}
		if next.Seal[i] != b.LegacyEnd || next.Epochs[i] != b.LegacyEpoch {
			t.Fatalf("sealed %d of epoch %d at %+v", next.Seal[i], next.Epochs[i], b)
		}
	}
	if next.Epoch != r.Move.Epoch {
		t.Fatalf("committed under route epoch %d, claimed %d", next.Epoch, r.Move.Epoch)
	}
}
