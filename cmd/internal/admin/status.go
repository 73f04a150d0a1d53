package admin

import (
	"time"

	"switchback/offsets"
)

// A Version says which program answers.
type Version struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"` // of the source it was built from
}

// Ready says whether a server does its work.
type Ready struct {
	Ready     bool     `json:"ready"`
	Waiting   []string `json:"waiting,omitempty"` // what is missing, for people
	Bootstrap string   `json:"bootstrap"`         // address for clients, host:port
}

// A Status is a picture of one moment. Lists are sorted and never nil in JSON.
type Status struct {
	At         time.Time    `json:"at"`
	Process    Process      `json:"server"`
	Brokers    []Broker     `json:"brokers"`
	Routes     []Route      `json:"routes"`
	Partitions []Partition  `json:"partitions"`
	Clients    []Connection `json:"clients"`
	// ClientsOmitted counts connections beyond what is kept for people to see.
	ClientsOmitted int `json:"clients_omitted,omitempty"`
}

// A Process is the server that answers.
type Process struct {
	Version   Version   `json:"version"`
	ClusterID string    `json:"cluster_id"` // legacy's, which is what clients see
	Owner     string    `json:"owner"`      // owner id of the data folder
	Bootstrap string    `json:"bootstrap"`  // address for clients, host:port
	Node      int32     `json:"node"`       // the target's node id
	Started   time.Time `json:"started"`
	// Legacy is "up", or what is known about its absence.
	Legacy string `json:"legacy"`
	// Storage is "ok", or the error that ended this incarnation's writes.
	Storage string `json:"storage"`
}

// A Broker is a node of legacy and the address of ours that stands for it.
type Broker struct {
	Node       int32  `json:"node"`
	Legacy     string `json:"legacy"` // its own address; told to operators only
	Listen     string `json:"listen"` // what clients are told
	Up         bool   `json:"up"`
	Controller bool   `json:"controller,omitempty"`
}

// A Route is what is recorded about a unit, a set of partitions that moves as
// one. Topics that never moved have none.
type Route struct {
	Unit       string       `json:"unit"`
	Topics     []string     `json:"topics"`
	Partitions int          `json:"partitions"`
	Home       offsets.Side `json:"home"`
	Relocated  bool         `json:"relocated"`
	Epoch      int64        `json:"epoch"`
	// Move is the move in progress ("flip"), Phase where it stands ("holding");
	// both empty at rest.
	Move  string `json:"move,omitempty"`
	Phase string `json:"phase,omitempty"`
	// Note is how the last move ended, or what a resumed one waits for.
	Note  string    `json:"note,omitempty"`
	Since time.Time `json:"since"` // of this state
}

// A Partition is where one partition lives and how its copy does.
type Partition struct {
	Topic      string          `json:"topic"`
	TopicID    offsets.TopicID `json:"topic_id"`
	Index      int32           `json:"partition"`
	Home       offsets.Side    `json:"home"`
	Relocated  bool            `json:"relocated"`
	Wire       string          `json:"wire"`         // clean, watched, held, moved, shifted
	Leader     int32           `json:"leader"`       // legacy's, -1 when there is none
	Epoch      int32           `json:"leader_epoch"` // legacy's
	ShownEpoch int32           `json:"shown_leader_epoch"`
	Lag        Lag             `json:"copy"`
}

// States of a copy.
const (
	Copying     = "copying"     // behind, and getting nearer
	CaughtUp    = "caught-up"   // home is legacy, everything is on the target
	Replaying   = "replaying"   // home is the target, legacy is kept equal
	Stalled     = "stalled"     // legacy refuses a batch; resumes by itself after Remedy
	Diverged    = "diverged"    // the logs differ; the way back is not exact any more
	Unreachable = "unreachable" // the other side does not answer
	Stopped     = "stopped"     // nothing is copied
)

// A Lag is what the mirror measured about one partition.
type Lag struct {
	State     string `json:"state"`
	Confirmed int64  `json:"confirmed"` // the side that is not home holds everything below
	HomeEnd   int64  `json:"home_end"`  // of the home, as last seen
	Batches   int64  `json:"batches"`   // waiting to be copied; at most, while home is legacy
	Bytes     int64  `json:"bytes"`
	// DrainMs is the measured time to copy what waits, in milliseconds; -1 when
	// there is no measurement.
	DrainMs float64 `json:"drain_ms"`
	// Exact: a rollback brings back every byte. When not, from InexactFrom on,
	// for the reason Why.
	Exact       bool   `json:"rollback_exact"`
	InexactFrom int64  `json:"inexact_from,omitempty"`
	Why         string `json:"why,omitempty"`
	Err         string `json:"error,omitempty"`
	Remedy      string `json:"remedy,omitempty"`
}

// A Connection is one client connection.
type Connection struct {
	Connection uint64    `json:"connection"`
	ClientID   string    `json:"client_id"`
	Host       string    `json:"host"` // host:port
	Principal  string    `json:"principal,omitempty"`
	Software   string    `json:"software,omitempty"` // name and version, as ApiVersions said
	Node       int32     `json:"node"`               // the node it is connected to
	Since      time.Time `json:"since"`
	Requests   int64     `json:"requests"`
}
