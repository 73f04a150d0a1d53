package mirror

import (
	"context"
	"fmt"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Settling finds out where legacy's log ends and that it is still the log that
// we know. A twin whose home is legacy is settled by the reader of its leader,
// one whose home is the target by the writer: the one that must not go on before.
//
//	ask     log end of the current epoch, log start, epoch list (fenced by the epoch)
//	judge   how much of what we know can still be true: position, what to compare
//	compare home target: read legacy back up to its log end, which proves that its
//	        high watermark has reached it too
//	settled home target: replay goes on from there

// facts are legacy's answers about one twin.
type facts struct {
	ref
	code  int16 // of the first answer with an error
	end   int64 // log end of epoch
	start int64 // log start
	list  offsets.Epochs
}

// unsettledRef is the twin's question, if it is time to ask.
func (t *twin) unsettledRef(now time.Time, home offsets.Side, node int32) (x ref, ask bool, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled || t.goal >= 0 || t.home != home || t.leader != node || t.epoch < 0 || t.name == "" || t.stop != nil || t.flight != nil {
		return ref{}, false, time.Time{}
	}
	if now.Before(t.due) {
		return ref{}, false, t.due
	}
	return ref{t: t, name: t.name, epoch: t.epoch, era: t.era}, true, time.Time{}
}

// ask settles refs over conn, or finds out how far off that is. An error means
// that the connection is of no use any more.
func (m *Mirror) ask(ctx context.Context, conn Conn, refs []ref) error {
	all := make([]*facts, len(refs))
	for i, x := range refs {
		all[i] = &facts{ref: x, end: -1, start: -1}
	}
	if err := askEnds(ctx, conn, all); err != nil {
		return err
	}
	if err := askStarts(ctx, conn, all); err != nil {
		return err
	}
	if err := askEpochs(ctx, conn, all); err != nil {
		return err
	}
	for _, f := range all {
		f.t.judge(f, time.Now())
	}
	return nil
}

func good(all []*facts) (refs []ref, byTwin map[*twin]*facts) {
	byTwin = make(map[*twin]*facts, len(all))
	for _, f := range all {
		if f.code == 0 {
			refs = append(refs, f.ref)
			byTwin[f.t] = f
		}
	}
	return refs, byTwin
}

// missing is the code of a partition that an answer left out.
const missing int16 = -1

func askEnds(ctx context.Context, conn Conn, all []*facts) error {
	refs, facts := good(all)
	r := newRoll(refs)
	resp, err := request[*kmsg.OffsetForLeaderEpochResponse](ctx, conn, r.logEnds(currentEpoch))
	if err != nil {
		return err
	}
	for _, f := range facts {
		f.code = missing
	}
	r.eachEnd(resp, func(x ref, p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
		f := facts[x.t]
		if f.code = p.ErrorCode; f.code != 0 {
			return
		}
		// A leader that has not begun its epoch yet cannot say where it ends.
		if f.end = p.EndOffset; p.LeaderEpoch != x.epoch || p.EndOffset < 0 {
			f.code = missing
		}
	})
	return nil
}

func askStarts(ctx context.Context, conn Conn, all []*facts) error {
	refs, facts := good(all)
	if len(refs) == 0 {
		return nil
	}
	r := newRoll(refs)
	resp, err := request[*kmsg.ListOffsetsResponse](ctx, conn, r.list(earliest))
	if err != nil {
		return err
	}
	for _, f := range facts {
		f.code = missing
	}
	r.eachListed(resp, func(x ref, p *kmsg.ListOffsetsResponseTopicPartition) {
		facts[x.t].code, facts[x.t].start = p.ErrorCode, p.Offset
	})
	return nil
}

// judge takes in what legacy said and decides how the twin goes on.
func (t *twin) judge(f *facts, now time.Time) {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.mu.Lock()
	if t.era != f.era || t.settled || t.stop != nil {
		t.mu.Unlock()
		return
	}
	anew := false
	switch {
	case f.code != 0:
		t.failed(now, "read log end", f.code)
		t.backoff(now, false)
	case t.home == offsets.Legacy:
		t.learn(f)
		anew = t.judgeCopy(f, now)
	default:
		t.learn(f)
		t.judgeReplay(f, now)
	}
	r := reading{t: t, log: t.log, start: t.legacyStart}
	t.mu.Unlock()
	if anew {
		t.reset(f.start, now)
	} else if f.code == 0 {
		r.followStart()
	}
}

// learn takes over what legacy said about its log. mu is held.
func (t *twin) learn(f *facts) {
	t.legacyStart = max(t.legacyStart, f.start)
	if f.list != nil {
		t.list, t.listEpoch = f.list, f.epoch
	}
}

// failed notes an error of legacy about this partition. mu is held.
func (t *twin) failed(now time.Time, doing string, code int16) {
	if code == missing {
		t.question(now, false, doing+": legacy did not answer for this partition", "")
		t.m.wantRefresh()
	} else {
		c := classOf(code)
		t.question(now, c == refused, describe(doing, code), remedies[code])
		if c == moved {
			t.m.wantRefresh()
		}
	}
}

// common is how far legacy's log, which ends at end, is surely the one that was
// read up to pos: legacy says where the epoch of the last batch there ended, as
// it would to a follower (KIP-101). mu is held.
func (t *twin) common(end int64) int64 {
	start := t.log.Bounds().Start
	pos := min(t.pos, end)
	epoch := t.lastEpoch
	if epoch < 0 && t.pos > start {
		epoch = t.log.Epochs().At(t.pos - 1)
	}
	if epoch >= 0 && len(t.list) > 0 {
		if _, e := t.list.End(epoch, end); e >= 0 {
			pos = min(pos, e)
		} else {
			pos = start // legacy never had that epoch
		}
	}
	return max(pos, start)
}

// judgeCopy settles a twin whose home is legacy, or says that its copy has to be
// made anew. reading and mu are held.
func (t *twin) judgeCopy(f *facts, now time.Time) (anew bool) {
	b := t.log.Bounds()
	if b.End < f.start {
		if b.End > b.Start {
			t.counts.Overtaken++
			t.m.cfg.Logger.Warn("legacy's retention overtook the copy", "topic", t.name, "partition", t.id.Index, "copied", b.End, "legacy_start", f.start)
		}
		return true
	}
	switch {
	case f.end < b.End:
		t.suspect(now, shorter, fmt.Sprintf("legacy's log ends at %d, %d was copied", f.end, b.End))
	case t.unsound == shorter:
		t.unsound = sound // the leader that lacked records has given way to one that has them
	}
	if t.unsound == sound {
		t.stand(t.common(f.end))
		t.done()
		return false
	}
	if t.due = t.unsoundAt.Add(t.m.cfg.ResetDelay); now.Before(t.due) {
		return false
	}
	t.counts.Resets++
	return true
}

// judgeReplay decides what of legacy has to be compared before replay goes on.
// reading and mu are held.
func (t *twin) judgeReplay(f *facts, now time.Time) {
	b := t.log.Bounds()
	t.lead(b)
	if f.end > b.End {
		t.diverge(b.End, fmt.Sprintf("legacy's log ends at %d, the target's at %d: somebody else wrote to legacy", f.end, b.End))
		return
	}
	if !t.quiet(f.end, now) {
		return
	}
	if f.end < t.confirmed {
		t.counts.Rewound++
		t.m.cfg.Logger.Warn("legacy lost records that it had confirmed: they are replayed again", "topic", t.name, "partition", t.id.Index,
			"confirmed", t.confirmed, "legacy_end", f.end)
	}
	t.stand(max(t.common(f.end), min(f.start, f.end)))
	t.goal = f.end
	t.conclude()
}

// quiet says whether no produce whose answer was lost can still arrive: it has
// been handled, or legacy's end has not moved for the quiet time. If not, it sets
// when to look again. mu is held.
func (t *twin) quiet(end int64, now time.Time) bool {
	l := t.lost
	if l == nil {
		return true
	}
	switch {
	case end >= l.end:
	case l.since.IsZero() || l.seen != end:
		l.seen, l.since = end, now
		t.due = now.Add(t.m.cfg.QuietTime)
		t.question(now, false, "waiting whether a request of a lost connection still arrives", "")
		return false
	case now.Sub(l.since) < t.m.cfg.QuietTime:
		t.due = l.since.Add(t.m.cfg.QuietTime)
		return false
	}
	t.lost = nil
	return true
}

// conclude settles a twin whose home is the target once legacy was compared up
// to its log end. mu is held.
func (t *twin) conclude() {
	if t.settled || t.goal < 0 || t.pos < t.goal || t.stop != nil {
		return
	}
	t.confirmed = t.goal
	t.batches = -1
	if d, ok := t.log.Digest(t.confirmed); ok {
		t.batches = d.Batches
	}
	t.done()
}

// done makes the twin settled. What legacy said about a batch that it did not
// take stays on record until it takes one, and so does the growing pause between
// the tries. mu is held.
func (t *twin) done() {
	t.settled, t.fresh, t.goal = true, false, -1
	t.refused = false
	t.due = time.Time{}
	if t.doubt == nil || !t.doubt.sending {
		t.doubt, t.tries = nil, 0
	}
	t.differs = t.differ()
	t.counts.Settled++
	t.notify()
}

// stand sets the position from which legacy is read, at a batch of the target.
// reading and mu are held.
func (t *twin) stand(pos int64) {
	b := t.log.Bounds()
	pos = min(max(pos, b.Start), b.End)
	if d, ok := t.log.Digest(pos); ok {
		if t.seeded && pos == t.pos {
			return
		}
		t.chain, t.seeded = d, true
	} else {
		// In the middle of a batch: begin with the whole of it.
		if e, err := t.log.Entries(pos, 1); err == nil && len(e) == 1 && e[0].Base < pos {
			pos = e[0].Base
		}
		t.chain, t.seeded = t.log.Digest(pos)
	}
	if pos != t.pos || t.fresh {
		t.chainFrom = pos
		t.lastEpoch = -1
	}
	t.pos = pos
}

// reset drops the copy and begins anew at start. reading is held.
func (t *twin) reset(start int64, now time.Time) {
	err := t.m.store.Reset(t.id, start)
	var log Log
	if err == nil {
		log, err = t.m.store.Log(t.id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.question(now, false, fmt.Sprintf("begin copy at %d: %v", start, err), "")
		t.backoff(now, true)
		return
	}
	t.log = log
	t.unsound = sound
	t.seeded = false
	t.turn()
	t.stand(start)
	t.lastEpoch = offsets.UndefinedEpoch
}

// lead makes a target that is open stamp legacy's current epoch. mu is held.
func (t *twin) lead(b Bounds) {
	if !b.Leading || b.Epoch >= t.epoch || t.led == t.epoch {
		return
	}
	if err := t.log.Lead(t.epoch); err != nil {
		t.m.cfg.Logger.Warn("target does not take over legacy's leader epoch", "topic", t.name, "partition", t.id.Index, "epoch", t.epoch, "err", err)
		return
	}
	t.led, t.differs = t.epoch, true
}
