package plans

import (
	"fmt"
	"time"

	"switchback/offsets"
)

// Limits are the figures by which Next decides.
type Limits struct {
	Hold     time.Duration // how long an instance holds before it expires the hold
	Stop     time.Duration // how long it holds before it abandons
	Attempts int           // holds until the move is given up
	Backoff  time.Duration // between two holds; doubles from attempt to attempt
	Prepare  time.Duration // how long what passes by itself is waited for before a hold
	MaxDrain time.Duration // measured time to copy what waits, above which no hold begins
}

// Facts are what a runner knows when it asks Next. What it has not asked for yet
// is zero, and Next asks for it when it matters. A runner forgets Looks, Bypass
// and Sights whenever Phase or Attempt has changed.
type Facts struct {
	Now         time.Time
	Since       time.Time // when this runner first saw the record in this phase and attempt
	Interrupted bool      // the caller wants it to end

	Looks    []Look
	LookErr  string    // why the last try to look failed
	LookedAt time.Time // end of the last try
	Bypass   *Bypass
	Claimed  int64 // highest route epoch that this runner has claimed
	// Failed is why a fact cannot be had that no move goes without.
	Failed string

	// Instances are all that are registered, with their acknowledgements.
	Instances []InstanceFacts
	// HeldAt is since when this runner has seen every instance's acknowledgement of
	// the present hold; zero again when an instance comes that has not given it.
	HeldAt time.Time
	Sights []Sight // of this hold, oldest first, at most the last two
	// EndsErr is why the last try to read the ends failed, EndsAt its end.
	EndsErr string
	EndsAt  time.Time
	// Obstacle is what stood in the way of the last hold.
	Obstacle string

	Copied   bool // SetCopy was obeyed for the committed home
	Switched bool // OpenTarget or CloseTarget was
}

// InstanceFacts is a registered instance and what it has acknowledged.
type InstanceFacts struct {
	ID  string
	Ack Ack // zero when it stems from an earlier incarnation
}

// A Verb is what a runner does next.
type Verb int

// Verbs. Those that begin with Ask fill in Facts.
const (
	Done      Verb = iota // nothing is left to do
	Wait                  // until Action.Until, or until something in the catalog changes
	Write                 // compare-and-set the record to Action.Record
	AskLook               // World.Look
	AskBypass             // World.Bypass
	AskClaim              // World.Claim of the move's epoch
	AskEnds               // World.Ends, once
	ActCopy               // World.SetCopy for the record's home
	ActSwitch             // World.OpenTarget or CloseTarget for the record's home
)

func (v Verb) String() string {
	return [...]string{"done", "wait", "write", "look", "bypass", "claim", "ends", "copy", "switch"}[v]
}

// An Action is what Next decided.
type Action struct {
	Do       Verb
	Record   Record    // Write: what shall stand in the catalog
	Until    time.Time // Wait
	Obstacle string    // Wait: what is waited for
	At       string    // failpoint that has been reached when the action was done
	Findings []Finding // why a Write ends the move
}

const (
	lookEvery = 50 * time.Millisecond // while something that passes by itself is waited for
	endsEvery = time.Millisecond      // between two readings of ends that did not agree
	retryEnds = 5 * time.Millisecond  // after ends could not be read
)

// Next decides what a runner does about a unit. It is the whole machine; it does
// no I/O and reads no clock.
func Next(r Record, f Facts, limits Limits) Action {
	switch r.Phase() {
	case Watching, Expired:
		return nextPrepare(r, f, limits)
	case Holding:
		return nextHolding(r, f)
	case Committed:
		return nextCommitted(r, f)
	}
	return Action{Do: Done}
}

// nextPrepare: produce flows to the old home. Everything that can be done before
// a hold is done before it.
func nextPrepare(r Record, f Facts, limits Limits) Action {
	m := r.Move
	switch {
	case f.Interrupted:
		return rest(r, f, "interrupted", nil)
	case m.Phase == Expired && (m.Final || m.Attempt >= limits.Attempts):
		return rest(r, f, lastReason(m, f), nil)
	case m.Phase == Expired && f.Now.Before(f.Since.Add(limits.backoff(m.Attempt))):
		return Action{Do: Wait, Until: f.Since.Add(limits.backoff(m.Attempt)), Obstacle: m.Reason}
	case f.Failed != "":
		return rest(r, f, f.Failed, nil)
	case f.Looks == nil && f.LookErr == "":
		return Action{Do: AskLook}
	case f.Looks == nil:
		return orWait(r, f, limits, f.LookErr, nil, true)
	}
	bad, passes := refusals(Judge(m.Kind, r.Parts, f.Looks, m.AcceptInexact, limits))
	if len(bad) > 0 {
		return orWait(r, f, limits, bad[0].String(), bad, passes)
	}
	if m.Kind == Rollback && r.Relocated {
		return takeBackFirst(r, f)
	}
	for _, in := range f.Instances {
		if in.Ack.Watched != r.watchTag() {
			return orWait(r, f, limits, fmt.Sprintf("instance %s does not follow produce yet", in.ID), nil, true)
		}
	}
	if f.Bypass == nil {
		return Action{Do: AskBypass}
	}
	if bad, _ := refusals(judgeBypass(r.Parts, *f.Bypass)); len(bad) > 0 {
		return rest(r, f, bad[0].String(), bad)
	}
	if f.Claimed < m.Epoch {
		return Action{Do: AskClaim, At: AtClaimed}
	}
	return hold(r, f, limits)
}

// orWait waits for what passes by itself, within bounds, and gives up otherwise.
func orWait(r Record, f Facts, limits Limits, obstacle string, bad []Finding, passes bool) Action {
	if !passes || f.Now.After(f.Since.Add(limits.Prepare)) {
		return rest(r, f, obstacle, bad)
	}
	if again := f.LookedAt.Add(lookEvery); f.Now.Before(again) {
		return Action{Do: Wait, Until: again, Obstacle: obstacle}
	}
	return Action{Do: AskLook, Obstacle: obstacle}
}

// lastReason is why the last hold ended, with what this runner saw in its way.
func lastReason(m *Move, f Facts) string {
	if m.Final || f.Obstacle == "" {
		return m.Reason
	}
	return fmt.Sprintf("%s: %s", m.Reason, f.Obstacle)
}

func takeBackFirst(r Record, f Facts) Action {
	next := r.clone()
	next.takeBack(f.Looks)
	next.Epoch = r.Move.Epoch - 1
	next.Since = f.Now
	return Action{Do: Write, Record: next, At: AtTakenBack}
}

func hold(r Record, f Facts, limits Limits) Action {
	next := r.clone()
	m := next.Move
	m.Phase, m.Attempt, m.Reason = Holding, m.Attempt+1, ""
	m.Hold, m.Stop = limits.Hold, limits.Stop
	// A hold stays below a tenth of the smallest timeout that a client gives its
	// produce, so that no client gives up on us.
	for _, l := range f.Looks {
		if l.ProduceTimeout > 0 {
			m.Hold, m.Stop = min(m.Hold, l.ProduceTimeout/10), min(m.Stop, l.ProduceTimeout/10)
		}
	}
	next.Since = f.Now
	return Action{Do: Write, Record: next, At: AtHolding}
}

// nextHolding: everything in here costs producers time. The ends are asked for
// while instances still drain, so that the connections are warm and the first of
// the two equal sights may be there already.
func nextHolding(r Record, f Facts) Action {
	m := r.Move
	age := f.Now.Sub(f.Since)
	switch {
	case f.Interrupted:
		return expire(r, f.Now, "interrupted", true)
	case age >= m.Stop:
		// No instance is left that could keep the deadline.
		return expire(r, f.Now, fmt.Sprintf("no instance ended the hold within %s", m.Stop), false)
	case age >= m.Hold:
		// Too late: instances end it. (A COMMIT that is tried at about the same time
		// as an expiry is no harm, only one of them can win.)
		return Action{Do: Wait, Until: f.Since.Add(m.Stop), Obstacle: holdObstacle(r, f)}
	}
	if again := f.EndsAt.Add(retryEnds); f.EndsErr != "" && f.Now.Before(again) {
		return Action{Do: Wait, Until: again, Obstacle: holdObstacle(r, f)}
	}
	fresh := len(f.Sights) > 0 && f.Sights[len(f.Sights)-1].Drained
	if len(f.Sights) == 2 && fresh {
		seal := judgeSeal(r, f.Sights[0], f.Sights[1], ackedBy(r, f.Instances))
		switch {
		case seal.OK:
			return commit(r, f, seal)
		case seal.Final:
			return expire(r, f.Now, seal.Obstacle, true)
		}
	}
	if n := len(f.Sights); n > 0 && (f.HeldAt.IsZero() || fresh) {
		if at := f.Sights[n-1].Began.Add(endsEvery); f.Now.Before(at) {
			return Action{Do: Wait, Until: at, Obstacle: holdObstacle(r, f)}
		}
	}
	return Action{Do: AskEnds}
}

// holdObstacle is what keeps a hold from being committed, as far as is known.
func holdObstacle(r Record, f Facts) string {
	for _, in := range f.Instances {
		if in.Ack.Held != r.Move.holdTag() {
			return fmt.Sprintf("instance %s has produce in flight that is not answered", in.ID)
		}
	}
	if f.EndsErr != "" {
		return f.EndsErr
	}
	if len(f.Sights) < 2 {
		return "the ends of both logs were not read in time"
	}
	seal := judgeSeal(r, f.Sights[0], f.Sights[1], ackedBy(r, f.Instances))
	return or(seal.Obstacle, "both logs were equal, but not yet read again after the last instance had drained")
}

// commit is the flip.
func commit(r Record, f Facts, seal Seal) Action {
	next := r.clone()
	next.Home, next.Epoch = r.Move.To, r.Move.Epoch
	next.Seal, next.Epochs = make([]int64, len(r.Parts)), make([]int32, len(r.Parts))
	for i, e := range f.Sights[1].Ends {
		next.Seal[i], next.Epochs[i] = e.TargetEnd, e.LegacyEpoch
	}
	next.Move.Phase, next.Move.Unverified = Committed, seal.Unverified
	next.Since = f.Now
	return Action{Do: Write, Record: next, At: AtCommitted}
}

// nextCommitted: the home has changed, and nobody writes to it before it is open.
// The copy turns first when the target opens, because what it replicates must not
// meet a leader; it turns last when the target closes.
func nextCommitted(r Record, f Facts) Action {
	switch {
	case r.Home == offsets.Target && !f.Copied:
		return Action{Do: ActCopy, At: AtCopied}
	case !f.Switched:
		return Action{Do: ActSwitch, At: AtSwitched}
	case !f.Copied:
		return Action{Do: ActCopy, At: AtCopied}
	}
	next := r.clone()
	next.Last = outcome(r.Move, f.Now, true, "")
	next.Move, next.Since = nil, f.Now
	return Action{Do: Write, Record: next, At: AtOpened}
}

// expire ends a hold: from here on produce flows to the old home.
func expire(r Record, now time.Time, reason string, final bool) Action {
	next := r.clone()
	next.Move.Phase, next.Move.Reason, next.Move.Final = Expired, reason, final
	next.Since = now
	return Action{Do: Write, Record: next, At: AtExpired}
}

// rest ends a move that has not committed.
func rest(r Record, f Facts, reason string, bad []Finding) Action {
	next := r.clone()
	next.Last = outcome(r.Move, f.Now, false, reason)
	next.Move, next.Since = nil, f.Now
	return Action{Do: Write, Record: next, Findings: bad}
}

func outcome(m *Move, now time.Time, done bool, reason string) *Outcome {
	return &Outcome{ID: m.ID, Kind: m.Kind, Done: done, Reason: reason, Attempts: m.Attempt,
		Unverified: m.Unverified, Started: m.Started, Finished: now}
}

// takeBack shows legacy's leaders again.
func (r *Record) takeBack(looks []Look) {
	for i := range r.Shown {
		r.Shown[i] = r.Shown[i].TakeBack(looks[i].Epoch)
	}
	r.Relocated = false
}

// ackedBy is the highest acknowledged next offset of each part over all instances.
func ackedBy(r Record, instances []InstanceFacts) []int64 {
	acked := make([]int64, len(r.Parts))
	for i := range acked {
		acked[i] = -1
	}
	for _, in := range instances {
		for i, at := range in.Ack.Acked {
			if i < len(acked) {
				acked[i] = max(acked[i], at)
			}
		}
	}
	return acked
}

// held says that every instance has acknowledged the present hold.
func held(r Record, instances []InstanceFacts) bool {
	for _, in := range instances {
		if in.Ack.Held != r.Move.holdTag() {
			return false
		}
	}
	return true
}

// backoff is how long to wait after the attempt-th hold.
func (l Limits) backoff(attempt int) time.Duration {
	return l.Backoff << min(max(attempt-1, 0), 5)
}
