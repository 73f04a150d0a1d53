package plans

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"switchback/offsets"
	"switchback/storage/catalog"
)

// A Runner executes what Next decides. Several runners, in this process or in
// others, may work on one catalog: each write is a compare-and-set. Its methods
// may be called from several goroutines; two moves of one unit at the same time
// are refused with ErrBusy.
type Runner struct {
	ledger ledger
	world  World
	cfg    Config
	log    *slog.Logger
	nudge  chan struct{} // capacity 1: Tend shall look at once

	mu        sync.Mutex
	driven    map[string]bool            // units that a call of this runner works on; guarded by mu
	settled   map[string]int64           // route epoch up to which the world obeyed, by unit; guarded by mu
	suspects  map[offsets.Partition]bool // see CopyStopped; guarded by mu
	writeCost time.Duration              // of a catalog write, smoothed; guarded by mu
}

// NewRunner makes a Runner. It starts no goroutine and reads nothing.
func NewRunner(cat catalog.Catalog, world World, cfg Config) *Runner {
	cfg = cfg.withDefaults()
	return &Runner{
		ledger: ledger{cat}, world: world, cfg: cfg, log: cfg.Logger,
		nudge:  make(chan struct{}, 1),
		driven: make(map[string]bool), settled: make(map[string]int64), suspects: make(map[offsets.Partition]bool),
		writeCost: 2 * time.Millisecond,
	}
}

// Records reads all records, in the order of their units.
func (r *Runner) Records(ctx context.Context) ([]Record, error) {
	all, err := r.ledger.list(ctx, nil)
	if err != nil {
		return nil, err
	}
	records := make([]Record, len(all))
	for i, s := range all {
		records[i] = s.Record
	}
	return records, nil
}

// Flip makes the target the home of all partitions of topics, as one unit. It
// returns when that is done and instances have applied it, or with an *Error when
// it was refused, given up, interrupted (ctx ended before COMMIT), or committed
// but not finished (ErrUnfinished). After anything but the last, traffic goes on
// where it was. progress, which may be nil, is called on this goroutine.
func (r *Runner) Flip(ctx context.Context, topics []string, opts Options, progress func(Line)) (Report, error) {
	parts, err := r.resolve(ctx, Flip, topics)
	if err != nil {
		return Report{}, err
	}
	subject := strings.Join(topics, ", ")
	release, err := r.drive(Flip, subject, unitOf(parts))
	if err != nil {
		return Report{}, err
	}
	defer release()
	if err := r.admit(ctx, Flip, parts, opts); err != nil {
		return Report{}, err
	}
	m := r.newMove(Flip, offsets.Target, opts)
	unit, err := r.start(ctx, Flip, subject, func(all []stored, epoch int64) (change, error) {
		unit, left, gone, err := form(all, parts)
		if err != nil {
			return change{}, err
		}
		next := stored{unit.clone(), unit.rev}
		next.Move, next.Since = m.at(epoch+1), time.Now()
		return change{epochs: 2, put: append(left, next), delete: gone, subject: unit.Unit, id: m.ID}, nil
	})
	if err != nil {
		return Report{}, err
	}
	return r.run(ctx, unit, m, progress)
}

// Rollback makes legacy the home again of the units that consist of topics, one
// after the other, and takes their relocation back first. The reports are of the
// units that are done; otherwise it is like Flip.
func (r *Runner) Rollback(ctx context.Context, topics []string, opts Options, progress func(Line)) ([]Report, error) {
	units, err := r.moved(ctx, Rollback, topics)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for _, unit := range units {
		report, err := r.rollback(ctx, unit.Record, opts, progress)
		if err != nil {
			return reports, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

func (r *Runner) rollback(ctx context.Context, unit Record, opts Options, progress func(Line)) (Report, error) {
	subject := strings.Join(unit.Topics(), ", ")
	release, err := r.drive(Rollback, subject, unit.Unit)
	if err != nil {
		return Report{}, err
	}
	defer release()
	if err := r.admit(ctx, Rollback, unit.Parts, opts); err != nil {
		return Report{}, err
	}
	m := r.newMove(Rollback, offsets.Legacy, opts)
	began, err := r.start(ctx, Rollback, subject, func(all []stored, epoch int64) (change, error) {
		now, err := atRest(Rollback, all, unit.Unit)
		if err != nil {
			return change{}, err
		}
		next := stored{now.clone(), now.rev}
		next.Move, next.Since = m.at(epoch+1), time.Now()
		return change{epochs: 2, put: []stored{next}, subject: unit.Unit, id: m.ID}, nil
	})
	if err != nil {
		return Report{}, err
	}
	return r.run(ctx, began, m, progress)
}

// moved reads the units of topics whose home is the target.
func (r *Runner) moved(ctx context.Context, kind Kind, topics []string) ([]stored, error) {
	all, err := r.ledger.list(ctx, nil)
	if err != nil {
		return nil, &Error{Op: string(kind), Subject: strings.Join(topics, ", "), Err: err, Hint: catalogHint}
	}
	units, err := moved(kind, all, topics)
	if !errors.Is(err, ErrNotMoved) {
		return units, err
	}
	// A topic that does not exist is told as such, if legacy can say so.
	if _, unknown := r.resolve(ctx, kind, topics); errors.Is(unknown, ErrUnknownTopic) {
		return nil, unknown
	}
	return nil, err
}

const catalogHint = "the catalog in the data folder cannot be read or written; see the server's log"

// atRest finds a unit whose home is the target and that nobody moves.
func atRest(kind Kind, all []stored, unit string) (stored, error) {
	for _, s := range all {
		if s.Unit != unit {
			continue
		}
		subject := strings.Join(s.Topics(), ", ")
		switch {
		case s.Move != nil:
			return stored{}, &Error{Op: string(kind), Subject: subject, Err: fmt.Errorf("%w: %s, %s", ErrBusy, s.Move.Kind, s.Move.Phase), Hint: "wait for it to end; `switchback status` shows it"}
		case s.Home != offsets.Target:
			return stored{}, &Error{Op: string(kind), Subject: subject, Err: ErrNotMoved, Hint: "`switchback status` shows what has moved"}
		}
		return s, nil
	}
	return stored{}, &Error{Op: string(kind), Subject: unit, Err: ErrNotMoved, Hint: "`switchback status` shows what has moved"}
}

// drive reserves a unit for the caller until release.
func (r *Runner) drive(kind Kind, subject, unit string) (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driven[unit] {
		return nil, &Error{Op: string(kind), Subject: subject, Err: ErrBusy, Hint: "wait for it to end; `switchback status` shows it"}
	}
	r.driven[unit] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.driven, unit)
	}, nil
}

// admit is the check before anything is written.
func (r *Runner) admit(ctx context.Context, kind Kind, parts []Part, opts Options) error {
	findings, _, err := r.judge(ctx, kind, parts, opts)
	if err != nil {
		return err
	}
	failpoint(string(kind) + "." + AtChecked)
	return refused(kind, Record{Parts: parts}.Topics(), findings)
}

func (r *Runner) judge(ctx context.Context, kind Kind, parts []Part, opts Options) ([]Finding, []Look, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	looks, err := r.look(ctx, parts)
	if err != nil {
		return nil, nil, &Error{Op: string(kind), Subject: subject(parts), Err: err, Hint: "see the server's log"}
	}
	findings := Judge(kind, parts, looks, opts.AcceptInexact, r.cfg.limits())
	for i, f := range findings {
		// An election or a late request is over in seconds: a move may begin, and
		// waits before it holds.
		if f.Level == Refusal && (f.Check == "leader" || f.Check == "quiet") {
			findings[i].Level, findings[i].Hint = Warning, "none needed: the move waits for it before it holds anything"
		}
	}
	return findings, looks, nil
}

// look asks the world and checks the shape of its answer.
func (r *Runner) look(ctx context.Context, parts []Part) ([]Look, error) {
	looks, err := r.world.Look(ctx, parts)
	if err == nil && len(looks) != len(parts) {
		err = fmt.Errorf("%d answers for %d partitions", len(looks), len(parts))
	}
	if err != nil {
		return nil, fmt.Errorf("look at the copy: %w", err)
	}
	return looks, nil
}

// start makes a change and turns errors of the catalog into an operator's.
func (r *Runner) start(ctx context.Context, kind Kind, subject string, build func([]stored, int64) (change, error)) (stored, error) {
	// Not cut short by ctx: a write whose caller left may have happened.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.ActTimeout)
	defer cancel()
	unit, err := r.ledger.start(ctx, build)
	var typed *Error
	if err != nil && !errors.As(err, &typed) {
		return stored{}, &Error{Op: string(kind), Subject: subject, Err: err, Hint: catalogHint}
	}
	return unit, err
}

func (r *Runner) newMove(kind Kind, to offsets.Side, opts Options) Move {
	return Move{ID: newID(), Kind: kind, To: to, Phase: Watching, By: r.cfg.Name, AcceptInexact: opts.AcceptInexact, Started: time.Now()}
}

// at is the move with its route epoch.
func (m Move) at(epoch int64) *Move {
	m.Epoch = epoch
	return &m
}
