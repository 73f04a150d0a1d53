package admin

import (
	"time"

	"switchback/offsets"
)

// A Line is one step of something that takes a while, as a fact.
type Line struct {
	At      time.Time `json:"at"`
	Subject string    `json:"subject,omitempty"` // topic, or topic/partition
	Text    string    `json:"text"`
	Warn    bool      `json:"warn,omitempty"`
}

// A Level says what a Finding means for a flip.
type Level string

// Levels, from harmless to forbidding.
const (
	Green Level = "green" // as it should be
	Amber Level = "amber" // goes, at a price that is told
	Red   Level = "red"   // the flip would be refused
)

// A Finding is one thing that was looked at before a flip.
type Finding struct {
	Level   Level  `json:"level"`
	Subject string `json:"subject"`        // topic, or topic/partition
	Check   string `json:"check"`          // what was looked at: "lag", "transactions", "bypass", "config"
	Fact    string `json:"fact"`           // what was found, with figures
	Hint    string `json:"hint,omitempty"` // what to do about it, unless green
}

// A CheckReport says whether a flip would be let through now.
type CheckReport struct {
	Topics   []string  `json:"topics"`
	Ready    bool      `json:"ready"` // no Finding is Red
	Findings []Finding `json:"findings"`
}

// MoveKind is what a move does.
type MoveKind string

// Kinds of moves.
const (
	KindFlip     MoveKind = "flip"
	KindRelocate MoveKind = "relocate"
	KindTakeBack MoveKind = "relocate back"
	KindRollback MoveKind = "rollback"
)

// A MoveReport says what a flip, relocation or rollback did.
type MoveReport struct {
	Kind       MoveKind     `json:"kind"`
	Topics     []string     `json:"topics"`
	Partitions int          `json:"partitions"`
	Home       offsets.Side `json:"home"`      // after it
	Relocated  bool         `json:"relocated"` // after it
	Epoch      int64        `json:"epoch"`     // of the route, after it
	Attempts   int          `json:"attempts"`  // 1 when the first one did it
	Started    time.Time    `json:"started"`
	Finished   time.Time    `json:"finished"`
	// HoldMs is how long produce waited in the proxy in the attempt that did
	// it, in milliseconds; 0 for relocations, which hold nothing.
	HoldMs float64 `json:"hold_ms"`
	// DrainMs is how much of HoldMs a rollback spent on the reverse copy.
	DrainMs float64 `json:"drain_ms,omitempty"`
	Seals   []Seal  `json:"seals,omitempty"` // per partition, for flips and rollbacks
}

// A Seal is the end of a partition at which its home changed.
type Seal struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // the first offset written at the new home
}

// A VerifyReport compares two logs.
type VerifyReport struct {
	Equal      bool                `json:"equal"` // every partition is
	Partitions []VerifiedPartition `json:"partitions"`
	ElapsedMs  float64             `json:"elapsed_ms"`
}

// A VerifiedPartition is the comparison of one partition's logs, from the later
// start to the earlier end of the two.
type VerifiedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Equal     bool   `json:"equal"`
	From      int64  `json:"from"` // first offset compared
	To        int64  `json:"to"`   // first offset not compared
	Batches   int64  `json:"batches"`
	Bytes     int64  `json:"bytes"`
	// Digests chain (offset, length, CRC) of every batch read, hexadecimal.
	LegacyDigest string `json:"legacy_digest"`
	TargetDigest string `json:"target_digest"`
	// EpochsDiffer counts batches that are equal but carry another partition
	// leader epoch: acknowledged by the target while legacy was electing.
	EpochsDiffer int64       `json:"epochs_differ"`
	First        *Difference `json:"first_difference,omitempty"`
}

// A Difference is the first place where two logs part.
type Difference struct {
	Offset int64  `json:"offset"`
	Legacy string `json:"legacy"` // what stands there, for people
	Target string `json:"target"`
}

// An Event is one JSON line of a streamed answer. Exactly one field is set; a
// report or an error is the last line.
type Event struct {
	Line   *Line         `json:"line,omitempty"`
	Check  *CheckReport  `json:"check,omitempty"`
	Move   *MoveReport   `json:"move,omitempty"`
	Verify *VerifyReport `json:"verify,omitempty"`
	Error  *Error        `json:"error,omitempty"`
}
