package plans

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"switchback/offsets"
)

// A Level says what a Finding means for a move.
type Level int

// Levels, from harmless to forbidding.
const (
	OK      Level = iota // as it should be
	Warning              // goes, at a price that is told
	Refusal              // the move is refused
)

func (l Level) String() string { return [...]string{"ok", "warning", "refusal"}[l] }

// A Finding is one thing that was looked at before a move.
type Finding struct {
	Level   Level
	Subject string // topic, or topic/partition
	Check   string // "legacy", "copy", "lag", "exact", "config", "transactions", "leader", "quiet", "bypass", "internal"
	Fact    string // what was found, with figures
	Hint    string // what to do about it, unless OK
	// Passes: a Refusal that goes away by itself, so that a move which has begun
	// waits for it.
	Passes bool
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Subject, f.Fact) }

// maxSameFindings bounds how many partitions are named for the same check; the
// rest is counted.
const maxSameFindings = 5

// A verdict collects findings and keeps their number bounded.
type verdict struct {
	findings []Finding
	counts   map[string]int // refusals and warnings by check
}

func (v *verdict) add(f Finding) {
	if v.counts == nil {
		v.counts = make(map[string]int)
	}
	v.counts[f.Check]++
	if v.counts[f.Check] <= maxSameFindings {
		v.findings = append(v.findings, f)
	}
}

// done adds what was left out, and one OK for every check in all that found nothing.
func (v *verdict) done(subject string, all map[string]string) []Finding {
	for i, f := range v.findings {
		if more := v.counts[f.Check] - maxSameFindings; more > 0 && lastOf(v.findings, f.Check) == i {
			v.findings[i].Fact += fmt.Sprintf(" (and %d more)", more)
		}
	}
	for _, check := range slices.Sorted(keys(all)) {
		if v.counts[check] == 0 {
			v.findings = append(v.findings, Finding{Level: OK, Subject: subject, Check: check, Fact: all[check]})
		}
	}
	slices.SortStableFunc(v.findings, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
	return v.findings
}

func lastOf(all []Finding, check string) int {
	last := -1
	for i, f := range all {
		if f.Check == check {
			last = i
		}
	}
	return last
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Judge says what stands in the way of a flip or rollback of parts, from what is
// known about them. It is pure. Refusals come first.
func Judge(kind Kind, parts []Part, looks []Look, acceptInexact bool, limits Limits) []Finding {
	var v verdict
	topics := make(map[offsets.TopicID]bool)
	var worst time.Duration
	for i, p := range parts {
		l := looks[i]
		worst = max(worst, l.Drain)
		v.judgeCopy(p, l, limits)
		v.judgeExact(kind, p, l, acceptInexact)
		if kind == Flip && !topics[p.Topic] {
			v.judgeTopic(p, l, acceptInexact)
		}
		topics[p.Topic] = true
	}
	all := map[string]string{
		"copy":   "the copy runs",
		"lag":    fmt.Sprintf("what waits is copied in about %s (limit %s)", round(worst), limits.MaxDrain),
		"exact":  "what is written after a flip comes back byte for byte",
		"leader": "legacy has a leader for every partition",
		"quiet":  "no request of a dead connection can be late",
	}
	if kind == Flip {
		all["transactions"] = "no transactional producers"
		all["config"] = "legacy keeps batches as they are sent"
		all["internal"] = "a topic of users"
	}
	return v.done(subject(parts), all)
}

func (v *verdict) judgeCopy(p Part, l Look, limits Limits) {
	bad := Finding{Level: Refusal, Subject: p.String(), Passes: true}
	switch l.State {
	case Copying, CaughtUp, Replaying:
	case Unreachable:
		bad.Check, bad.Fact, bad.Hint = "legacy", "legacy does not answer"+because(l.Err), or(l.Remedy, "start the legacy cluster, or wait until it can be reached")
		v.add(bad)
		return
	default:
		bad.Check, bad.Fact, bad.Hint = "copy", fmt.Sprintf("the copy is %s%s", l.State, because(l.Err)), or(l.Remedy, "see `switchback status`")
		bad.Passes = false
		v.add(bad)
		return
	}
	switch {
	case l.Drain < 0 && l.Batches > 0:
		bad.Check, bad.Fact, bad.Hint = "lag", fmt.Sprintf("%d batches wait to be copied, at a speed not measured yet", l.Batches), "wait until the copy has caught up"
		v.add(bad)
	case l.Drain > limits.MaxDrain:
		bad.Check, bad.Hint = "lag", "wait until the copy has caught up; if it does not, give producers a linger so that batches get larger"
		bad.Fact = fmt.Sprintf("%d batches (%d bytes) wait to be copied, which takes about %s (limit %s)", l.Batches, l.Bytes, round(l.Drain), limits.MaxDrain)
		v.add(bad)
	}
	if !l.Leader {
		v.add(Finding{Level: Refusal, Subject: p.String(), Check: "leader", Passes: true,
			Fact: "legacy has no leader for it", Hint: "wait for the election, or start the broker that holds it"})
	}
	if l.QuietIn > 0 {
		v.add(Finding{Level: Refusal, Subject: p.String(), Check: "quiet", Passes: true,
			Fact: fmt.Sprintf("a request of a lost connection may be late for another %s", round(l.QuietIn)), Hint: "wait"})
	}
}

func (v *verdict) judgeExact(kind Kind, p Part, l Look, accept bool) {
	if l.Exact {
		return
	}
	f := Finding{Level: Refusal, Subject: p.String(), Check: "exact",
		Fact: fmt.Sprintf("not exact from offset %d on%s", l.InexactFrom, because(l.Why)),
		Hint: "accept it with --accept-inexact, or see `switchback verify`"}
	if kind == Rollback {
		f.Fact = fmt.Sprintf("the way back is not exact from offset %d on%s", l.InexactFrom, because(l.Why))
	}
	if accept {
		f.Level = Warning
	}
	v.add(f)
}

func (v *verdict) judgeTopic(p Part, l Look, accept bool) {
	if l.Internal {
		v.add(Finding{Level: Refusal, Subject: p.Name, Check: "internal", Fact: "a topic of Kafka's own",
			Hint: "it stays on legacy with its coordinators"})
	}
	if l.Transactional {
		v.add(Finding{Level: Refusal, Subject: p.Name, Check: "transactions", Fact: "it has transactional producers",
			Hint: "topics with transactions stay on legacy for now"})
	}
	if len(l.Configs) == 0 {
		return
	}
	f := Finding{Level: Refusal, Subject: p.Name, Check: "config",
		Fact: "legacy changes batches: " + strings.Join(l.Configs, ", ") + "; offsets and records come back, bytes do not",
		Hint: "set message.timestamp.type=CreateTime and compression.type=producer on legacy, or accept it with --accept-inexact"}
	if accept {
		f.Level = Warning
	}
	v.add(f)
}

// judgeBypass says what writers beside the proxies mean.
func judgeBypass(parts []Part, b Bypass) []Finding {
	if b.Over == 0 {
		return []Finding{{Level: Warning, Subject: subject(parts), Check: "bypass",
			Fact: "writers that bypass the proxy are looked for once the move has begun"}}
	}
	var v verdict
	for _, s := range b.Strangers {
		v.add(Finding{Level: Refusal, Subject: s.Part.String(), Check: "bypass",
			Fact: fmt.Sprintf("%d records in %s (%.1f/s) reached legacy without passing the proxy", s.Records, round(b.Over), s.Rate),
			Hint: "point that producer at the proxy's address"})
	}
	return v.done(subject(parts), map[string]string{"bypass": fmt.Sprintf("every record of %s came through the proxy", round(b.Over))})
}

// refusals are the findings that forbid; waits says that all of them pass.
func refusals(all []Finding) (list []Finding, passes bool) {
	passes = true
	for _, f := range all {
		if f.Level == Refusal {
			list = append(list, f)
			passes = passes && f.Passes
		}
	}
	return list, passes
}

// refused is the error for an operator; nil when nothing forbids.
func refused(kind Kind, topics []string, all []Finding) error {
	list, _ := refusals(all)
	if len(list) == 0 {
		return nil
	}
	class := ErrRefused
	if list[0].Check == "legacy" {
		class = ErrLegacyAway
	}
	return &Error{Op: string(kind), Subject: strings.Join(topics, ", "), Findings: list, Hint: list[0].Hint,
		Err: fmt.Errorf("%w: %s", class, list[0])}
}

func subject(parts []Part) string { return strings.Join(Record{Parts: parts}.Topics(), ", ") }

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// round is a duration as people read it.
func round(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
