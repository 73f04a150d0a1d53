// Package plans decides. It moves the home of topics from legacy to the target
// and back, so that at every instant at most one cluster takes their writes, and
// so that a crash of anything at any instant ends in the one or in the other.
//
// # One record, one compare-and-set
//
// A unit is a set of (topic id, partition) that moves together. Everything that
// must survive is in its [Record] in the catalog: home, route epoch, what clients
// are shown, the seal at which the home changed, and the [Move] in progress. The
// life of a flip or a rollback is the life of that record:
//
//	at rest -> watching -> holding -> committed -> at rest (the new home)
//	              ^           |
//	              +- expired <+                 -> at rest (the old home)
//
// COMMIT is one compare-and-set, holding -> committed. The expiry of a hold is
// another on the same record, holding -> expired. Exactly one of them wins, and
// nothing that happened before COMMIT has to be undone but the hold. After COMMIT
// there is no way but forwards: what is left to do is idempotent and whoever
// finds the record does it. A rollback is the same list with the sides exchanged.
// A relocation, which changes only what clients are shown, is a single write.
//
// # Who does what
//
// [Next] is a pure function from a Record and [Facts] to an [Action]: all
// transitions are in next.go. A [Runner] gathers facts, executes actions, and
// tends units that nobody drives (it finishes what was committed, and relocates
// where the copy has stopped). An [Agent] lives with a data plane: it holds,
// drains, acknowledges and applies. The deadline of a hold is kept by the agents,
// each by its own clock from the instant at which it began to hold, so that a
// dead runner is never an outage. An agent that cannot reach the catalog at the
// deadline neither releases nor expires; at the hard stop it abandons, which
// closes connections and forwards nothing.
//
// Runners and agents speak only through the catalog, also when they live in one
// process: routes/UNIT, acks/UNIT/INSTANCE, instances/INSTANCE and plans/epoch. A
// hold needs the acknowledgement of every registered instance. An agent registers
// before it reads the routes, and a runner reads the instances after it wrote the
// hold, so no instance is missed. An instance is replaced by its own next
// incarnation and never leaves because a lease ran out.
//
// Route epochs rise over all units, because legacy keeps only the highest
// (World.Claim) to recognise a data folder that is older than itself. They are
// also the fence of every act: a [World] refuses an [Order] of a lower epoch than
// it has obeyed, so that a runner that stalled for an hour does no harm when it
// wakes up.
//
// # Writes that end unknown
//
// A catalog write may end unknown, and happen a little later. Nothing here is
// decided from the answer of such a write: the record is read again and Next
// decides again. The same decision makes the same compare-and-set, which succeeds
// or finds that the first one did.
//
// # What it does not promise
//
// It does not know whether a request of a dead connection still sits in a
// broker's queue: World says when it is quiet. It does not see writers that
// bypass the proxy after a flip: the mirror does, and says diverged.
//
// # Goroutines
//
// Constructors start none. Runner methods run on the caller's goroutine and start
// none; Tend is a loop on it. Agent.Run owns one goroutine that writes
// acknowledgements, one per unit that is being watched, and three per hold, and
// waits for all of them. Watches end with the context of the call that made them.
//
// At a crash, Resume undoes moves that had not committed and finishes those that
// had; Agent.Restore then gives the data plane all routes before it serves.
package plans
