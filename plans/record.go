package plans

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchback/offsets"
	"switchback/storage/catalog"
)

// Prefixes and keys of the catalog that this package owns.
const (
	RoutesPrefix    = "routes/"     // routes/UNIT: Record
	InstancesPrefix = "instances/"  // instances/INSTANCE: Instance
	AcksPrefix      = "acks/"       // acks/UNIT/INSTANCE: Ack
	epochKey        = "plans/epoch" // highest route epoch that was ever given to a move
)

// MaxParts bounds a unit, so that its record stays well below what a catalog
// takes in one write.
const MaxParts = 4096

// A Part is a partition with the name of its topic, which is for people only: a
// topic is its id.
type Part struct {
	Topic offsets.TopicID `json:"topic"`
	Name  string          `json:"name"`
	Index int32           `json:"index"`
}

// Partition is the part without its name.
func (p Part) Partition() offsets.Partition {
	return offsets.Partition{Topic: p.Topic, Index: p.Index}
}

func (p Part) String() string { return fmt.Sprintf("%s/%d", p.Name, p.Index) }

// A Record is what the catalog holds about a unit. Its zero Move means at rest.
//
// Invariant: Shown has the length of Parts; Seal and Epochs are empty before the
// first COMMIT and have it too afterwards. Parts are sorted and never change.
// Epoch never falls. Home changes only in the write that makes Move.Phase
// Committed.
type Record struct {
	Unit  string       `json:"unit"`
	Parts []Part       `json:"parts"`
	Home  offsets.Side `json:"home"`
	// Epoch is the route epoch: it rises whenever Home or Shown changes.
	Epoch int64 `json:"epoch"`
	// Relocated says that clients are shown the target's node as leader.
	Relocated bool            `json:"relocated"`
	Shown     []offsets.Shown `json:"shown"`
	// Seal is the end of each part when Home last changed: the first offset that
	// was written at the new home.
	Seal []int64 `json:"seal,omitempty"`
	// Epochs is legacy's leader epoch of each part at the seal.
	Epochs []int32   `json:"leader_epochs,omitempty"`
	Move   *Move     `json:"move,omitempty"`
	Last   *Outcome  `json:"last,omitempty"`
	Since  time.Time `json:"since"` // of the last write, for people
}

// A Kind is what a move does.
type Kind string

// Kinds of moves. Relocate and TakeBack are single writes and never stand in a
// Move, only in an Outcome.
const (
	Flip     Kind = "flip"
	Rollback Kind = "rollback"
	Relocate Kind = "relocate"
	TakeBack Kind = "relocate back"
)

// A Phase is where a move stands.
type Phase string

// Phases of a move.
const (
	// Watching: produce flows to the old home and is followed.
	Watching Phase = "watching"
	// Holding: produce waits in every instance, for at most Move.Hold.
	Holding Phase = "holding"
	// Expired: produce flows to the old home again; another attempt may follow.
	Expired Phase = "expired"
	// Committed: the home has changed; produce waits until the new home is open.
	Committed Phase = "committed"
)

// A Move is a flip or rollback in progress.
type Move struct {
	ID    string       `json:"id"` // random
	Kind  Kind         `json:"kind"`
	To    offsets.Side `json:"to"`
	Phase Phase        `json:"phase"`
	By    string       `json:"by"` // the runner, for people
	// Epoch is the route epoch that COMMIT gives. The one below it belongs to the
	// move as well, for a relocation that a rollback takes back first.
	Epoch   int64 `json:"epoch"`
	Attempt int   `json:"attempt"` // holds so far, the present one included
	// Hold and Stop are for how long an instance may hold before it expires the
	// hold, and before it abandons what it holds.
	Hold          time.Duration `json:"hold"`
	Stop          time.Duration `json:"stop"`
	AcceptInexact bool          `json:"accept_inexact,omitempty"`
	Reason        string        `json:"reason,omitempty"` // why the last hold expired
	// Final: no further attempt can succeed.
	Final bool `json:"final,omitempty"`
	// Unverified counts parts that were committed before every byte on the side
	// that was written by replay had been read back.
	Unverified int       `json:"unverified,omitempty"`
	Started    time.Time `json:"started"`
}

// holdTag names a hold in acknowledgements.
func (m *Move) holdTag() string { return fmt.Sprintf("%s/%d", m.ID, m.Attempt) }

// An Outcome is how the last move of a unit ended.
type Outcome struct {
	ID         string    `json:"id"`
	Kind       Kind      `json:"kind"`
	Done       bool      `json:"done"`
	Reason     string    `json:"reason,omitempty"` // why it was not done, or done by itself
	Attempts   int       `json:"attempts,omitempty"`
	Unverified int       `json:"unverified,omitempty"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
}

// An Instance is a registered data plane.
type Instance struct {
	ID          string    `json:"id"`
	Incarnation string    `json:"incarnation"` // random, new at every start
	Started     time.Time `json:"started"`
}

// An Ack is what one instance has done for one unit.
type Ack struct {
	Incarnation string  `json:"incarnation"`
	Watched     string  `json:"watched,omitempty"` // attempt for which produce is followed
	Held        string  `json:"held,omitempty"`    // attempt for which produce is held and drained
	Acked       []int64 `json:"acked,omitempty"`   // with Held: acknowledged next offset per part, -1 unknown
	Applied     int64   `json:"applied"`           // route epoch last applied
	// HeldFor is how long the hold lasted that ended with Applied.
	HeldFor time.Duration `json:"held_for,omitempty"`
}

// A Route is what a data plane needs to know about a partition.
type Route struct {
	Home  offsets.Side
	Epoch int64
	Shown offsets.Shown
}

// Routes are those of all parts.
func (r Record) Routes() map[offsets.Partition]Route {
	routes := make(map[offsets.Partition]Route, len(r.Parts))
	for i, p := range r.Parts {
		routes[p.Partition()] = Route{Home: r.Home, Epoch: r.Epoch, Shown: r.Shown[i]}
	}
	return routes
}

// Partitions are the parts without names, in the order of Parts.
func (r Record) Partitions() []offsets.Partition {
	parts := make([]offsets.Partition, len(r.Parts))
	for i, p := range r.Parts {
		parts[i] = p.Partition()
	}
	return parts
}

// Topics are the names of the unit's topics, sorted.
func (r Record) Topics() []string {
	var names []string
	for _, p := range r.Parts {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Phase is that of the move, empty at rest.
func (r Record) Phase() Phase {
	if r.Move == nil {
		return ""
	}
	return r.Move.Phase
}

// watchTag names in acknowledgements what is watched for: it differs whenever
// instances have applied a route since, and may have stopped to watch.
func (r Record) watchTag() string { return fmt.Sprintf("%s@%d", r.Move.holdTag(), r.Epoch) }

// clone copies what a transition may change.
func (r Record) clone() Record {
	r.Shown = slices.Clone(r.Shown)
	r.Seal = slices.Clone(r.Seal)
	r.Epochs = slices.Clone(r.Epochs)
	if r.Move != nil {
		m := *r.Move
		r.Move = &m
	}
	return r
}

func (r Record) key() string { return RoutesPrefix + r.Unit }

// A stored record and the revision at which it was read; 0: not in the catalog.
type stored struct {
	Record
	rev int64
}

// ParseRecord reads a value under RoutesPrefix.
func ParseRecord(kv catalog.KV) (Record, error) {
	var r Record
	err := json.Unmarshal(kv.Value, &r)
	switch {
	case err != nil:
	case RoutesPrefix+r.Unit != kv.Key:
		err = fmt.Errorf("unit %q under another key", r.Unit)
	case len(r.Shown) != len(r.Parts):
		err = fmt.Errorf("%d shown epochs for %d parts", len(r.Shown), len(r.Parts))
	case len(r.Seal) != 0 && len(r.Seal) != len(r.Parts), len(r.Epochs) != len(r.Seal):
		err = fmt.Errorf("%d seals and %d leader epochs for %d parts", len(r.Seal), len(r.Epochs), len(r.Parts))
	case r.Home == offsets.Target && len(r.Seal) == 0:
		err = errors.New("home is the target without a seal")
	}
	if err != nil {
		return Record{}, fmt.Errorf("parse record %s: %w", kv.Key, err)
	}
	return r, nil
}

// unitOf is the id of a set of parts: the same set is the same unit for ever.
// It sorts parts.
func unitOf(parts []Part) string {
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Index, b.Index))
	})
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintln(h, p.Partition())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// newID is the name of a move or an incarnation.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}
