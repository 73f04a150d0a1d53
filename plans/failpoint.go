package plans

// Failpoint, when it is set before anything runs, is called at every state that
// a move passes, with one of Failpoints. Tests kill the process there.
var Failpoint func(name string)

// States at which a move can be cut short; for flips and rollbacks they are
// preceded by "flip." and "rollback.".
const (
	AtChecked   = "checked"    // before anything was written
	AtWatching  = "watching"   // the move is recorded
	AtTakenBack = "taken-back" // rollback only: the relocation is taken back
	AtClaimed   = "claimed"    // legacy knows the route epoch
	AtHolding   = "holding"    // the hold is recorded
	AtHeld      = "held"       // every instance holds and has drained
	AtSealed    = "sealed"     // both logs are equal and frozen, COMMIT comes next
	AtCommitted = "committed"  // COMMIT is recorded
	AtCopied    = "copied"     // the copy runs the other way
	AtSwitched  = "switched"   // the target is open, or closed after a rollback
	AtOpened    = "opened"     // the record is at rest again, instances apply it
	AtExpired   = "expired"    // an attempt missed its deadline

	AtRelocated    = "relocate.done"
	AtTookBack     = "relocate-back.done"
	AtAgentHold    = "agent.hold"    // the gate holds
	AtAgentDrained = "agent.drained" // and has drained, nothing is acknowledged yet
	AtAgentAcked   = "agent.acked"   // the acknowledgement is recorded
	AtAgentApplied = "agent.applied" // the gate has the route
)

// Failpoints lists every name that Failpoint may be called with.
func Failpoints() []string {
	states := []string{AtChecked, AtWatching, AtClaimed, AtHolding, AtHeld, AtSealed, AtCommitted, AtCopied, AtSwitched, AtOpened, AtExpired}
	var names []string
	for _, kind := range []Kind{Flip, Rollback} {
		for _, at := range states {
			names = append(names, string(kind)+"."+at)
		}
	}
	return append(names, string(Rollback)+"."+AtTakenBack,
		AtRelocated, AtTookBack, AtAgentHold, AtAgentDrained, AtAgentAcked, AtAgentApplied)
}

func failpoint(name string) {
	if Failpoint != nil {
		Failpoint(name)
	}
}
