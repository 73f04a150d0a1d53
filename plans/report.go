package plans

import (
	"time"

	"switchback/offsets"
)

// Options of a flip or a rollback.
type Options struct {
	// AcceptInexact lets topics through whose way back keeps records and offsets
	// but not bytes.
	AcceptInexact bool
}

// A Line is one step of a move, as a fact.
type Line struct {
	At      time.Time
	Subject string // topics
	Text    string
	Warn    bool
}

// A Report says what a move did to one unit.
type Report struct {
	Unit       string
	Kind       Kind
	Topics     []string
	Partitions int
	Home       offsets.Side // after it
	Relocated  bool         // after it
	Epoch      int64        // route epoch after it
	Attempts   int          // holds; 1 when the first one did it
	Started    time.Time
	Finished   time.Time
	// Hold is the longest time for which an instance held produce in the attempt
	// that did it; 0 for relocations.
	Hold time.Duration
	// Drain is the part of Hold between the last instance's drain and the seal:
	// what the copy took.
	Drain time.Duration
	Seals []PartSeal // of flips and rollbacks
	// Unverified counts parts whose logs were equal in length but not yet read
	// back on both sides when they were sealed.
	Unverified int
	Marks      []Mark // of the attempt that did it
}

// A PartSeal is the offset at which a partition's home changed: the first one
// that is written at the new home.
type PartSeal struct {
	Part   Part
	Offset int64
}

// A Mark is when a move passed a state, counted from the write of the hold.
type Mark struct {
	State string
	After time.Duration
}

// A CheckReport says whether a move would be let through now.
type CheckReport struct {
	Kind       Kind
	Unit       string
	Topics     []string
	Partitions int
	Ready      bool // no Finding is a Refusal
	Findings   []Finding
	Steps      []Step
	// Pause is how long produce would wait, from what was measured just now.
	Pause time.Duration
}

// A Step is what a move would do.
type Step struct {
	Name   string
	What   string
	Holds  bool // produce waits during it
	Expect time.Duration
}

func reportOf(r Record, kind Kind) Report {
	rep := Report{Unit: r.Unit, Kind: kind, Topics: r.Topics(), Partitions: len(r.Parts), Home: r.Home, Relocated: r.Relocated, Epoch: r.Epoch}
	if r.Last != nil {
		rep.Attempts, rep.Started, rep.Finished, rep.Unverified = r.Last.Attempts, r.Last.Started, r.Last.Finished, r.Last.Unverified
	}
	if kind == Flip || kind == Rollback {
		for i, at := range r.Seal {
			rep.Seals = append(rep.Seals, PartSeal{r.Parts[i], at})
		}
	}
	return rep
}
