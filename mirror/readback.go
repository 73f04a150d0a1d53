package mirror

import (
	"errors"
	"fmt"
	"time"

	"switchback/offsets"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// apply takes in what legacy answered for a fetch at x.at: batches that the
// target has are compared, those behind its end are copied to it or, while it is
// home, prove a stranger's write. It may be called for the same position by
// several readers; whoever is second is ignored. It says whether the position
// moved.
func (t *twin) apply(x ref, p *kmsg.FetchResponseTopicPartition) bool {
	t.reading.Lock()
	defer t.reading.Unlock()
	now := time.Now()
	t.mu.Lock()
	if t.epoch != x.epoch || t.pos != x.at || t.stop != nil || t.unsound != sound {
		t.mu.Unlock()
		return false
	}
	if p.ErrorCode != 0 {
		t.fetchFailed(now, p.ErrorCode)
		t.mu.Unlock()
		return false
	}
	t.high = p.HighWatermark
	t.legacyStart = max(t.legacyStart, p.LogStartOffset)
	r := reading{t: t, log: t.log, home: t.home, policy: t.policy, start: t.legacyStart, pos: t.pos, chain: t.chain, seeded: t.seeded, epoch: t.lastEpoch}
	t.mu.Unlock()

	// Neither home nor log can change meanwhile: SetHome and settling take reading.
	r.followStart()
	err := r.take(p.RecordBatches)

	t.mu.Lock()
	defer t.mu.Unlock()
	moved := r.pos != t.pos
	t.pos, t.chain, t.seeded, t.lastEpoch = r.pos, r.chain, r.seeded, r.epoch
	t.counts.CopiedBatches += r.copied
	t.counts.CopiedBytes += r.copiedBytes
	t.counts.ReadBackBatches += r.compared
	t.counts.EpochDifferences += r.epochDiffs
	t.counts.Compacted += r.compacted
	if r.epochDiffs > 0 {
		t.differs = true
	}
	if err != nil {
		t.takeFailed(now, r.pos, err)
		return moved
	}
	t.readTries = 0
	if moved {
		t.speed.copied(now, r.pos-x.at)
		t.notify()
	}
	if t.home == offsets.Legacy {
		if t.settled && t.doubt != nil && (moved || t.pos >= t.high) {
			t.doubt, t.tries = nil, 0
		}
		t.learnEpoch()
	} else {
		t.conclude()
	}
	return moved
}

// takeFailed sorts out why bytes of legacy could not be taken. mu is held.
func (t *twin) takeFailed(now time.Time, pos int64, err error) {
	var d *difference
	switch {
	case errors.As(err, &d) && t.home == offsets.Target:
		t.diverge(d.at, d.Error())
	case errors.As(err, &d), errors.Is(err, ErrDiffers):
		t.suspect(now, rewrite, err.Error())
	case errors.Is(err, batch.ErrMagic):
		t.halt(Stopped, pos, fmt.Sprintf("copy batch at %d: %v", pos, err),
			"legacy holds messages of the format before version 2: rewrite the topic (Kafka 3 and later convert when messages are produced again)")
	default:
		t.question(now, false, fmt.Sprintf("copy batch at %d: %v", pos, err), "")
		t.readDue = now.Add(min(50*time.Millisecond<<min(t.readTries, 10), 2*time.Second))
		t.readTries++
	}
}

// fetchFailed notes an error of a Fetch. mu is held.
func (t *twin) fetchFailed(now time.Time, code int16) {
	t.failed(now, "fetch", code)
	t.readDue = now.Add(min(5*time.Millisecond<<min(t.readTries, 10), 500*time.Millisecond))
	t.readTries++
	if code == kerr.OffsetOutOfRange.Code {
		t.unsettle() // legacy's log is not what we think it is
		t.due = t.readDue
	}
}

// learnEpoch tells the target of a leader epoch that has no batch yet. mu is held.
func (t *twin) learnEpoch() {
	if !t.settled || t.listEpoch != t.epoch || len(t.list) == 0 {
		return
	}
	last := t.list[len(t.list)-1]
	if last.Start != t.pos || t.log.Epochs().Latest() >= last.Epoch {
		return
	}
	if err := t.log.LearnEpoch(last.Epoch, last.Start); err != nil {
		t.m.cfg.Logger.Warn("target does not learn an epoch", "topic", t.name, "partition", t.id.Index, "epoch", last.Epoch, "err", err)
	}
}

// A difference is a batch that is not the same on both sides.
type difference struct {
	at             int64
	legacy, target *offsets.Entry
}

func (d *difference) Error() string {
	side := func(e *offsets.Entry) string {
		if e == nil {
			return "no batch"
		}
		return fmt.Sprintf("offsets %d to %d, length %d, CRC %08x", e.Base, e.Last, e.Length, e.CRC)
	}
	return fmt.Sprintf("logs differ at offset %d: legacy holds %s, the target %s", d.at, side(d.legacy), side(d.target))
}

func (d *difference) Unwrap() error { return ErrDiffers }

// A reading goes through the batches of one Fetch answer of one partition.
// Nobody else touches it.
type reading struct {
	t      *twin
	log    Log
	home   offsets.Side
	policy policy
	start  int64 // legacy's log start

	pos    int64
	chain  offsets.Digest
	seeded bool
	epoch  int32

	copied, copiedBytes, compared, epochDiffs, compacted int64
}

// followStart moves the target's start up to legacy's.
func (r *reading) followStart() {
	b := r.log.Bounds()
	to := min(r.start, b.Durable)
	if to <= b.Start {
		return
	}
	if _, err := r.log.DeleteBefore(to); err != nil {
		r.t.m.cfg.Logger.Warn("target's log start does not follow", "partition", r.t.id.String(), "start", to, "err", err)
	}
}

// take goes through raw. What it has taken when it fails is valid.
func (r *reading) take(raw []byte) error {
	known, rest, fresh, err := r.split(raw)
	if err != nil {
		return err
	}
	if err := r.compare(known); err != nil || len(fresh) == 0 {
		return err
	}
	if r.home == offsets.Legacy {
		return r.copy(rest, fresh)
	}
	if f := fresh[0].Entry; f.Base >= r.log.Bounds().End {
		return &difference{at: f.Base, legacy: &f}
	}
	return nil // the target holds something there that is not durable, so never sent: the next look will tell
}

// A legacyBatch is a batch that was read from legacy.
type legacyBatch struct {
	offsets.Entry
	epoch int32
	size  int
}

// split parses and checks raw: the batches that the target is known to hold, if
// it holds the same, and the bytes and batches from the first one that it may not
// hold. A batch cut short at the end is ignored.
func (r *reading) split(raw []byte) (known []legacyBatch, rest []byte, fresh []legacyBatch, err error) {
	durable := r.log.Bounds().Durable
	at, from := 0, -1
	err = batch.Walk(raw, func(h batch.Header, b []byte) error {
		at += len(b)
		f := legacyBatch{offsets.Entry{Base: h.BaseOffset, Last: h.LastOffset(), Length: h.Length, CRC: h.CRC}, h.LeaderEpoch, len(b)}
		if f.Last < r.pos {
			return nil // a broker may begin with batches below the offset asked for
		}
		if err := batch.CheckCRC(b); err != nil {
			return err
		}
		// A copy may begin within a batch, which is then not known yet.
		if from < 0 && (f.Last < durable || r.home == offsets.Target && f.Base < durable) {
			known = append(known, f)
			return nil
		}
		if from < 0 {
			from = at - len(b)
		}
		fresh = append(fresh, f)
		return nil
	})
	if from >= 0 {
		rest = raw[from:at:at]
	}
	return known, rest, fresh, err
}

// compare holds batches of legacy against the target's.
func (r *reading) compare(legacy []legacyBatch) error {
	if len(legacy) == 0 {
		return nil
	}
	target, err := r.log.Entries(r.pos, len(legacy)+1) // one more, for a batch that legacy lacks
	if err != nil {
		return fmt.Errorf("list target's batches: %w", err)
	}
	epochs := r.log.Epochs()
	for _, f := range legacy {
		if target, err = r.skipDeleted(target, f, len(legacy)); err != nil {
			return err
		}
		if len(target) == 0 {
			return &difference{at: f.Base, legacy: &f.Entry}
		}
		if err := r.same(f, target[0]); err != nil {
			return err
		}
		target = target[1:]
		if e := epochs.At(f.Base); e >= 0 && e != f.epoch {
			r.epochDiffs++
		}
		r.compared++
		r.advance(f)
	}
	return nil
}

// skipDeleted passes over batches of the target in front of f that legacy may
// lack: below its log start, or taken away by its cleaner.
func (r *reading) skipDeleted(target []offsets.Entry, f legacyBatch, more int) ([]offsets.Entry, error) {
	for {
		if len(target) == 0 {
			var err error
			if target, err = r.log.Entries(r.pos, more+1); err != nil {
				return nil, fmt.Errorf("list target's batches: %w", err)
			}
			if len(target) == 0 {
				return nil, nil
			}
		}
		e := target[0]
		if e.Last >= f.Base || e.Last >= r.start && !r.policy.compacted {
			return target, nil
		}
		if e.Last >= r.start {
			r.compacted++
		}
		r.seeded, r.pos = false, e.Last+1
		target = target[1:]
	}
}

// same says whether one batch of each side is the same one.
func (r *reading) same(f legacyBatch, e offsets.Entry) error {
	switch {
	case f.Entry == e:
		return nil
	case f.Base == e.Base && f.Last == e.Last && r.policy.inexact():
		r.seeded = false // offsets are all that legacy keeps of this topic
		return nil
	case f.Base == e.Base && f.Last == e.Last && r.policy.compacted && f.Length < e.Length:
		r.compacted++
		r.seeded = false
		return nil
	case e.Last < f.Base:
		return &difference{at: e.Base, target: &e}
	case f.Last < e.Base:
		return &difference{at: f.Base, legacy: &f.Entry}
	}
	return &difference{at: min(f.Base, e.Base), legacy: &f.Entry, target: &e}
}

// copy hands batches behind the target's end to it.
func (r *reading) copy(raw []byte, fresh []legacyBatch) error {
	if _, err := r.log.Replicate(raw); err != nil {
		return fmt.Errorf("replicate: %w", err)
	}
	for _, f := range fresh {
		r.copied++
		r.copiedBytes += int64(f.size)
		r.advance(f)
	}
	return nil
}

// advance moves the position behind a batch that both sides hold.
func (r *reading) advance(f legacyBatch) {
	if r.seeded {
		r.chain = r.chain.Add(f.Entry)
	} else {
		// Begin, or begin anew, with the target's chain: what is below is not vouched for.
		r.chain, r.seeded = r.log.Digest(f.Last + 1)
	}
	r.pos, r.epoch = f.Last+1, f.epoch
}
