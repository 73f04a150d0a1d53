package mirror

import (
	"time"

	"switchback/offsets"
)

// A State says how a partition's copy is doing.
type State uint8

// The states. Stalled resumes by itself when its cause goes away; Diverged and
// Stopped stay.
const (
	Unreachable State = iota // legacy has no leader for it, does not answer, or was not asked yet
	Settling                 // legacy's end is being read and compared; nothing is sent or copied before
	Copying                  // home legacy, the target is behind
	CaughtUp                 // home legacy, the target has everything below legacy's high watermark
	Replaying                // home target, legacy follows
	Stalled                  // legacy refuses the next batch and has written nothing of it
	Diverged                 // legacy holds something else than the target: rollback is not exact any more
	Stopped                  // cannot be copied: the topic is gone, or holds a format that is not supported
)

var stateNames = [...]string{"unreachable", "settling", "copying", "caught-up", "replaying", "stalled", "diverged", "stopped"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText writes the name of the state.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is what is known about one partition at one moment, without asking
// anybody. Offsets are next offsets.
type Status struct {
	Partition offsets.Partition `json:"partition"`
	Name      string            `json:"topic"` // empty until legacy has told it
	Home      offsets.Side      `json:"home"`
	State     State             `json:"state"`
	Err       string            `json:"error,omitempty"`  // why it is not going on
	Remedy    string            `json:"remedy,omitempty"` // what an operator can do about it

	Leader int32 `json:"leader"` // on legacy, -1 none
	Epoch  int32 `json:"epoch"`  // legacy's leader epoch, -1 unknown

	TargetStart int64 `json:"target_start"`
	TargetEnd   int64 `json:"target_end"` // durable
	LegacyStart int64 `json:"legacy_start"`
	LegacyHigh  int64 `json:"legacy_high"` // high watermark, as the last answer told it; -1 unknown

	Confirmed int64   `json:"confirmed"` // the side that is not home holds, and serves, everything below
	Known     bool    `json:"known"`     // Confirmed is exact; false while settling or stopped
	Verified  int64   `json:"verified"`  // everything below was read back from legacy and equals the target
	From      int64   `json:"from"`      // where this process began to read back
	Backlog   Backlog `json:"backlog"`   // what the side that is not home lacks

	Drain time.Duration `json:"drain_ns"` // time it would take now to bring the other side level, from measured rates; DrainUnknown when nothing moves

	Exact     bool  `json:"exact"`      // rollback, or a flip, would be exact as far as anybody knows
	InexactAt int64 `json:"inexact_at"` // first offset that differs, -1 none

	Counters Counters `json:"counters"`
}

// DrainUnknown is the drain time of a backlog that does not shrink.
const DrainUnknown = time.Duration(1<<63 - 1)

// A Backlog is what one side holds and the other does not.
type Backlog struct {
	Offsets int64 `json:"offsets"`
	Batches int64 `json:"batches"` // exact while home is target, otherwise -1: legacy does not tell
	Bytes   int64 `json:"bytes"`   // estimated from the average batch, -1 unknown
}

// Counters of one partition since the process started.
type Counters struct {
	CopiedBatches, CopiedBytes     int64 // legacy -> target
	ReplayedBatches, ReplayedBytes int64 // target -> legacy
	ReadBackBatches                int64 // compared
	Duplicates                     int64 // replayed batches that legacy held already, at the right offset
	Retries                        int64 // rounds in which this partition's batch was not taken
	Settled                        int64 // times that legacy's end was read and compared
	Rewound                        int64 // times that legacy had lost what it had confirmed, and replay went back
	Resets                         int64 // times that the copy was dropped and made again
	Overtaken                      int64 // times that legacy's retention deleted what had not been copied
	EpochDifferences               int64 // batches whose leader epoch on legacy is not the target's
	Compacted                      int64 // batches that legacy's cleaner removed or shrank
}

// status is a snapshot.
func (t *twin) status(now time.Time) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.log.Bounds()
	s := Status{
		Partition: t.id, Name: t.name, Home: t.home,
		Leader: t.leader, Epoch: t.epoch,
		TargetStart: b.Start, TargetEnd: b.Durable, LegacyStart: t.legacyStart, LegacyHigh: t.high,
		Verified: t.pos, From: t.chainFrom,
		Exact: t.unsound == sound, InexactAt: -1,
		Counters: t.counts,
	}
	s.Confirmed, s.Known = t.held()
	if t.home == offsets.Target {
		s.backlogToLegacy(t, b)
		s.Drain = t.drain(now)
	} else {
		s.backlogToTarget(t, b)
	}
	t.explain(&s, now)
	return s
}

// backlogToLegacy fills in what replay still has to do. t.mu is held.
func (s *Status) backlogToLegacy(t *twin, b Bounds) {
	s.Backlog = Backlog{Offsets: max(b.Durable-s.Confirmed, 0), Batches: -1, Bytes: -1}
	if n, ok := t.backlog(b.Durable); ok {
		s.Backlog.Batches, s.Backlog.Bytes = n, int64(float64(n)*t.speed.size)
	}
}

// backlogToTarget fills in what the forward copy still has to do. t.mu is held.
func (s *Status) backlogToTarget(t *twin, b Bounds) {
	s.Backlog = Backlog{Offsets: max(t.high-b.Durable, 0), Batches: -1, Bytes: -1}
	switch {
	case t.high < 0 || !t.settled:
		s.Drain = DrainUnknown
	case s.Backlog.Offsets == 0:
	case t.speed.rate < 1:
		s.Drain = DrainUnknown
	default:
		s.Drain = time.Duration(float64(s.Backlog.Offsets) / t.speed.rate * float64(time.Second))
	}
}

// explain fills in the state and why it is that. t.mu is held.
func (t *twin) explain(s *Status, now time.Time) {
	if t.policy.inexact() {
		s.Exact, s.InexactAt = false, t.from
		s.Remedy = "legacy rewrites batches of this topic (message.timestamp.type or compression.type): offsets stay exact, bytes do not"
	}
	if t.doubt != nil {
		s.Err, s.Remedy = t.doubt.err, t.doubt.remedy
	}
	switch {
	case t.stop != nil:
		s.State, s.Err, s.Remedy = t.stop.state, t.stop.err, t.stop.remedy
		s.Exact, s.InexactAt = false, t.stop.at
	case t.doubt != nil && (t.doubt.refused || t.doubt.sending && now.Sub(t.doubt.since) > stallAfter):
		s.State = Stalled
	case t.leader < 0 || t.name == "":
		s.State = Unreachable
		if s.Err == "" {
			s.Err = "legacy shows no leader for this partition"
		}
	case t.away != "":
		s.State, s.Err = Unreachable, t.away
	case !t.settled:
		s.State = Settling
	case t.home == offsets.Target:
		s.State = Replaying
	case s.Backlog.Offsets == 0 && t.high >= 0:
		s.State = CaughtUp
	default:
		s.State = Copying
	}
}
