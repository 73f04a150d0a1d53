package demo

import "fmt"

// Verdicts.
const (
	ok     = "ok"
	failed = "failed"
)

// A Result is what a demo found; `switchback demo --json` prints it. Names of
// keys are relied on.
type Result struct {
	Verdict string `json:"verdict"` // "ok" or "failed"
	// Lost: acknowledged records that are not at their acknowledged offset on
	// legacy at the end, and records of the log that a group never saw.
	Lost int64 `json:"lost"`
	// Duplicated: records that stand in the log more than once, and records that
	// a group read again.
	Duplicated int64 `json:"duplicated"`
	// Reordered: records behind a later one of the same producer and partition.
	Reordered int64 `json:"reordered"`
	// Strange: records in the log that nobody sent, and records that a group
	// read otherwise than they stand in the log.
	Strange int64 `json:"strange"`
	// ClientErrors: failures that a producer or consumer was told.
	ClientErrors int64 `json:"client_errors"`
	// ClientWarnings: lines above INFO in the clients' logs; they don't decide.
	ClientWarnings int64 `json:"client_warnings"`
	// Rebalances after the groups had settled.
	Rebalances int64 `json:"rebalances"`
	// CommitsBack: committed offsets that were lower than one scene before.
	CommitsBack int64 `json:"commits_back"`
	// DigestsEqual: what `switchback verify` said at the end.
	DigestsEqual bool `json:"digests_equal"`
	// PauseMs: the longest time between two acknowledgements of one producer,
	// measured at the producers.
	PauseMs struct {
		Flip     float64 `json:"flip"`
		Rollback float64 `json:"rollback"`
		Relocate float64 `json:"relocate"`
		Quiet    float64 `json:"quiet"` // when nothing moved, to compare
	} `json:"pause_ms"`
	// SilenceMs: the longest time in which a group received nothing.
	SilenceMs struct {
		Relocate float64 `json:"relocate"`
	} `json:"silence_ms"`
	// HoldMs: how long switchback says that it held producers.
	HoldMs struct {
		Flip     float64 `json:"flip"`
		Rollback float64 `json:"rollback"`
	} `json:"hold_ms"`
	Records    int64    `json:"records"` // acknowledged
	Legacy     string   `json:"legacy"`  // what kind of cluster it was
	Topic      string   `json:"topic"`
	Partitions int      `json:"partitions"`
	Groups     []string `json:"groups"` // with their protocol
	ElapsedS   float64  `json:"elapsed_s"`
	Problems   []string `json:"problems,omitempty"` // why it failed, the first ones
	Error      string   `json:"error,omitempty"`    // why it could not be carried through
}

// maxProblems bounds what is told.
const maxProblems = 20

func (r *Result) addProblems(texts ...string) {
	for _, t := range texts {
		if len(r.Problems) < maxProblems {
			r.Problems = append(r.Problems, t)
		}
	}
}

// conclude decides the verdict. A demo in which nothing happened has shown
// nothing.
func (r *Result) conclude(err error) {
	if err != nil {
		r.Error = err.Error()
		r.addProblems(r.Error)
		return
	}
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"lost", r.Lost}, {"duplicated", r.Duplicated}, {"reordered", r.Reordered}, {"strange", r.Strange},
		{"client errors", r.ClientErrors}, {"rebalances", r.Rebalances}, {"commits that went back", r.CommitsBack},
	} {
		if c.n > 0 {
			r.addProblems(fmt.Sprintf("%s: %d", c.name, c.n))
			err = fmt.Errorf("%s: %d", c.name, c.n)
		}
	}
	if !r.DigestsEqual {
		r.addProblems("legacy and target differ")
	}
	if r.Records == 0 {
		r.addProblems("no record was acknowledged")
	}
	if err == nil && r.DigestsEqual && r.Records > 0 {
		r.Verdict = ok
	}
}

// OK says whether everything was as promised.
func (r *Result) OK() bool { return r.Verdict == ok }
