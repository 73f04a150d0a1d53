package mirror

import (
	"fmt"
	"sync"
	"time"

	"switchback/offsets"
)

// A twin is one partition: its log on both sides and what is known about them.
//
// It is settled when legacy's log end under the current leader epoch has been
// read and everything below it compared. Whatever makes that knowledge doubtful
// unsettles it, and nothing is copied or sent before it is settled again.
type twin struct {
	id offsets.Partition
	m  *Mirror

	// reading is held by whoever takes in bytes of legacy, one at a time, and by
	// SetHome, so that bytes of the other direction are not applied after it.
	reading sync.Mutex

	mu sync.Mutex
	// All below is guarded by mu. pos, chain, seeded and lastEpoch change only
	// while reading is held too.

	name   string
	log    Log // replaced only while reading is held too
	policy policy
	home   offsets.Side
	from   int64 // home target: the seal
	fresh  bool  // nothing of legacy was read yet by this process

	leader, epoch int32
	broker        *broker // of leader; nil: none
	led           int32   // epoch that Log.Lead was told here, -1 none
	era           uint64  // rises when what is in flight stops meaning anything: leader, epoch, home, log
	settled       bool
	goal          int64     // home target, unsettled: legacy's log end, to be reached by comparing; -1 ask
	due           time.Time // of the next try of whatever is to be done
	tries         int       // in a row that failed

	readDue   time.Time // no Fetch before
	readTries int

	pos         int64          // legacy was read up to here
	chain       offsets.Digest // legacy's, up to pos
	seeded      bool           // chain is valid
	chainFrom   int64          // where this process began to read
	lastEpoch   int32          // of the last batch below pos, as legacy has it; -1 unknown
	list        offsets.Epochs // legacy's, as of listEpoch
	listEpoch   int32          // leader epoch under which list was read; -1 never
	differs     bool           // the two epoch lists are, or may be, different
	legacyStart int64
	high        int64 // legacy's high watermark, -1 unknown

	confirmed int64 // home target: legacy acknowledged everything below
	batches   int64 // home target: how many batches the target has below confirmed; -1 unknown
	refused   bool  // unsettled only because legacy refused a batch: what is confirmed stays known
	flight    *flight
	lost      *loss
	marked    int64 // told to Log.Replayed
	markedAt  time.Time

	unsound   unsound // home legacy: the copy is not legacy's log any more
	unsoundAt time.Time

	stop  *stop  // terminal
	doubt *doubt // why it is not going on at the moment

	away      string // why its leader is not reachable; empty: it is
	awaySince time.Time

	sealQuiet time.Time // not quiet before; see Disturbed
	changed   chan struct{}
	cancelSub func()

	speed   speed
	waiters []waiter
	counts  Counters
}

// policy is what of a topic's configs decides how its bytes compare.
type policy struct {
	compacted     bool // cleanup.policy
	logAppendTime bool // message.timestamp.type: legacy rewrites timestamp and CRC
	recompressed  bool // compression.type: legacy may rewrite everything but offsets
}

// inexact says that legacy does not keep the bytes that it is sent.
func (p policy) inexact() bool { return p.logAppendTime || p.recompressed }

// A flight is the one batch of a partition that is on its way to legacy.
type flight struct {
	t         *twin
	era       uint64
	base, end int64 // end: one past the last offset
	from      int   // in the buffer of its writer
	size      int
	appended  time.Time
	sent      time.Time
}

// A loss is a produce whose answer never came: it may still be handled.
type loss struct {
	end   int64     // legacy's end is at least this when it was handled
	seen  int64     // legacy's end when it was looked at first
	since time.Time // when that was; zero: not yet
}

// A stop ends a copy for good.
type stop struct {
	state       State // Diverged or Stopped
	at          int64
	err, remedy string
}

// A doubt is why a copy does not go on at the moment. It is one cause over many
// tries; since is the first.
type doubt struct {
	sending     bool // it is about the next batch to be replayed
	refused     bool // by legacy, which wrote nothing
	err, remedy string
	since       time.Time
}

// unsound says why a copy has to be made again.
type unsound uint8

const (
	sound   unsound = iota
	shorter         // legacy's log ends below the copy's
	rewrite         // legacy's log holds other batches
)

// stallAfter is how long one batch may be tried in vain before its partition
// counts as stalled although the errors are ones that pass.
const stallAfter = 2 * time.Second

// notify wakes who waits for a change. mu is held.
func (t *twin) notify() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// watch is closed at the next change. mu is held.
func (t *twin) watch() <-chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// turn begins a new era: nothing that was asked before counts. mu is held.
func (t *twin) turn() {
	t.era++
	t.unsettle()
	t.refused = false
	t.due, t.tries = time.Time{}, 0
}

// unsettle demands that legacy's end is read again. mu is held.
func (t *twin) unsettle() {
	t.settled, t.goal = false, -1
	t.notify()
}

// backoff puts the next try off: 2 ms, doubling to 200 ms, or to 2 s where
// legacy has refused. mu is held.
func (t *twin) backoff(now time.Time, slow bool) {
	least, most := 2*time.Millisecond, 200*time.Millisecond
	if slow {
		least, most = 50*time.Millisecond, 2*time.Second
	}
	t.due = now.Add(min(least<<min(t.tries, 16), most))
	t.tries++
}

// question notes why the copy does not go on. mu is held.
func (t *twin) question(now time.Time, refused bool, err, remedy string) {
	d := doubt{refused: refused, err: err, remedy: remedy, since: now}
	if t.doubt != nil {
		d.since, d.sending = t.doubt.since, t.doubt.sending
	}
	t.doubt = &d
}

// refuse notes that a batch was not taken. mu is held.
func (t *twin) refuse(now time.Time, refused bool, err, remedy string) {
	t.counts.Retries++
	t.question(now, refused, err, remedy)
	t.doubt.sending = true
	t.unsettle()
	t.refused = refused
	t.backoff(now, refused)
}

// halt ends the copy for good. mu is held.
func (t *twin) halt(state State, at int64, err, remedy string) {
	if t.stop != nil {
		return
	}
	t.stop = &stop{state: state, at: at, err: err, remedy: remedy}
	t.unsettle()
	t.release(true)
	t.m.cfg.Logger.Error("copy of a partition has ended", "topic", t.name, "partition", t.id.Index, "state", state.String(),
		"offset", at, "reason", err, "remedy", remedy)
}

// diverge says that legacy holds something else than the target from at on. mu is held.
func (t *twin) diverge(at int64, err string) {
	t.halt(Diverged, at, err, "rollback would lose or change records from this offset on: keep the topic on the target, "+
		"or set aside what legacy holds and start its copy anew; verify names the batch")
}

// suspect says that the copy of a home-legacy partition has to be made again. mu is held.
func (t *twin) suspect(now time.Time, why unsound, err string) {
	if t.unsound == sound {
		t.unsoundAt = now
		t.m.cfg.Logger.Warn("legacy lost records that were copied", "topic", t.name, "partition", t.id.Index, "reason", err)
	}
	t.unsound = why
	t.unsettle()
	t.due = t.unsoundAt.Add(t.m.cfg.ResetDelay)
	t.question(now, false, err, "none needed: the copy is made again; find out why legacy lost records")
}

// held is what the side that is not home holds for certain. mu is held.
func (t *twin) held() (offset int64, known bool) {
	if t.home == offsets.Legacy {
		return t.log.Bounds().Durable, t.stop == nil && t.unsound == sound && !t.fresh
	}
	return max(t.confirmed, min(t.pos, t.log.Bounds().Durable)), t.stop == nil && (t.settled || t.refused)
}

// subscribe makes the target's log wake the writer of the current leader, while
// there is something to replay. mu is held.
func (t *twin) subscribe(b *broker) {
	if t.cancelSub != nil {
		t.cancelSub()
		t.cancelSub = nil
	}
	if t.home == offsets.Target && b != nil {
		t.cancelSub = t.log.Subscribe(b.wakeWriter)
	}
}

func (t *twin) String() string { return fmt.Sprintf("%s/%d", t.name, t.id.Index) }
