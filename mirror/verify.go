package mirror

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"switchback/offsets"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Report is the result of a Verify: evidence that anybody can make again.
type Report struct {
	Partition offsets.Partition
	Name      string
	From, To  int64 // offsets that both sides hold and that were compared
	Batches   int64
	Bytes     int64          // of legacy, read and checksummed
	Legacy    offsets.Digest // chain over the bytes that were read; what lies below From is the target's
	Target    offsets.Digest // the target's chain at the same offset
	Equal     bool
	First     *Difference // the first difference, nil when equal

	EpochDifferences int64 // batches whose partition leader epoch differs; not part of Equal
	Compacted        int64 // batches of the target that legacy's cleaner removed or shrank
	Took             time.Duration
}

// A Difference is the first place where the logs are not the same.
type Difference struct {
	Offset         int64
	Legacy, Target *offsets.Entry // nil: no batch there
}

// Verify reads legacy's log from its start to its high watermark, or to the
// target's end if that is lower, recomputes every checksum, and compares the
// digest chain with the target's; at the first stretch whose chain value differs
// it bisects to the batch. progress may be nil; it is called now and then with
// offsets done and to do. Errors: ErrAbsent, ErrUnreachable, ctx's.
//
// A live copy may be verified: what is compared ends where the other side was
// confirmed to be when Verify began.
func (m *Mirror) Verify(ctx context.Context, p offsets.Partition, progress func(done, total int64)) (Report, error) {
	began := time.Now()
	t := m.twin(p)
	if t == nil {
		return Report{}, fmt.Errorf("verify %s: %w", p, ErrAbsent)
	}
	t.mu.Lock()
	to, _ := t.held()
	if t.stop != nil {
		to = t.log.Bounds().Durable // the difference lies above what was confirmed
	}
	v := verify{
		m: m, t: t, log: t.log, policy: t.policy,
		Report: Report{Partition: p, Name: t.name, From: max(t.log.Bounds().Start, t.legacyStart), To: to},
	}
	v.pos = v.From
	t.mu.Unlock()
	e, err := v.log.Entries(v.From, 1)
	if err != nil {
		return v.Report, fmt.Errorf("verify %s: %w", t, err)
	}
	if len(e) == 1 {
		v.pos = min(v.From, e[0].Base) // legacy's start may lie within a batch
	}
	// The chain begins with the target's, so that one comparison speaks for both: it
	// vouches for the range only.
	v.Legacy, v.known = v.log.Digest(v.pos)
	for v.pos < v.To && v.First == nil {
		if err := v.stretch(ctx); err != nil {
			return v.Report, fmt.Errorf("verify %s at %d: %w", t, v.pos, err)
		}
		if progress != nil {
			progress(v.pos-v.From, v.To-v.From)
		}
	}
	v.Target, _ = v.log.Digest(v.pos)
	v.Equal = v.First == nil && (v.Legacy.Equal(v.Target) || v.Compacted > 0 || v.policy.inexact())
	v.Took = time.Since(began)
	return v.Report, nil
}

// A verify is one under way.
type verify struct {
	m      *Mirror
	t      *twin
	log    Log
	policy policy
	pos    int64 // legacy was read, and is equal, up to here
	known  bool  // v.Legacy is a chain that the target's can be compared with
	Report
}

// verifyTries bounds how often one fetch is tried, with a growing pause.
const verifyTries = 20

// stretch reads what one fetch returns and compares it.
func (v *verify) stretch(ctx context.Context) error {
	raw, err := v.read(ctx)
	if err != nil {
		return err
	}
	before := v.pos
	chain := []offsets.Digest{v.Legacy} // after each batch of the stretch
	var found []offsets.Entry
	var epochs []int32
	err = batch.Walk(raw, func(h batch.Header, b []byte) error {
		if h.LastOffset() < v.pos || h.BaseOffset >= v.To {
			return nil
		}
		if err := batch.CheckCRC(b); err != nil {
			return err
		}
		e := offsets.Entry{Base: h.BaseOffset, Last: h.LastOffset(), Length: h.Length, CRC: h.CRC}
		found, epochs = append(found, e), append(epochs, h.LeaderEpoch)
		chain = append(chain, chain[len(chain)-1].Add(e))
		v.Batches++
		v.Bytes += int64(len(b))
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return v.legacyEnds()
	}
	last := chain[len(chain)-1]
	v.countEpochs(found, epochs)
	if d, ok := v.log.Digest(last.Offset); v.known && ok && d.Equal(last) {
		v.Legacy, v.pos = last, last.Offset
		return nil
	}
	return v.bisect(before, found, chain)
}

// legacyEnds is for a fetch below the end of the range that returned no batch: on
// a compacted topic legacy may lack the rest, otherwise the target's next batch is
// the difference.
func (v *verify) legacyEnds() error {
	e, err := v.log.Entries(v.pos, 1)
	if err != nil {
		return fmt.Errorf("list target's batches: %w", err)
	}
	if len(e) == 1 && e[0].Base < v.To && !v.policy.compacted {
		v.First = &Difference{Offset: e[0].Base, Target: &e[0]}
	}
	v.pos = v.To
	return nil
}

// bisect finds the first batch after which the chains differ, and compares from
// there batch by batch: on a compacted or rewritten topic that is not the end.
func (v *verify) bisect(before int64, found []offsets.Entry, chain []offsets.Digest) error {
	first := 0
	if v.known {
		first = sort.Search(len(found), func(i int) bool {
			d, ok := v.log.Digest(chain[i+1].Offset)
			return !ok || !d.Equal(chain[i+1])
		})
	}
	r := reading{t: v.t, log: v.log, policy: v.policy, start: v.From, pos: before}
	if first > 0 {
		r.pos = found[first-1].Last + 1
	}
	known := make([]legacyBatch, 0, len(found)-first)
	for _, e := range found[first:] {
		known = append(known, legacyBatch{Entry: e})
	}
	err := r.compare(known)
	v.Compacted += r.compacted
	v.pos = r.pos
	var d *difference
	switch {
	case errors.As(err, &d):
		v.First = &Difference{Offset: d.at, Legacy: d.legacy, Target: d.target}
		v.Legacy, v.pos = chain[first], chain[first].Offset
		return nil
	case err != nil:
		return err
	}
	// Equal but for what compaction and rewriting explain.
	v.Legacy, v.known = v.log.Digest(v.pos)
	return nil
}

// countEpochs counts batches whose partition leader epoch is not the target's.
func (v *verify) countEpochs(found []offsets.Entry, epochs []int32) {
	list := v.log.Epochs()
	for i, e := range found {
		if at := list.At(e.Base); at >= 0 && at != epochs[i] {
			v.EpochDifferences++
		}
	}
}

// read fetches from legacy at v.pos, following leaders.
func (v *verify) read(ctx context.Context) ([]byte, error) {
	var err error
	for try := range verifyTries {
		v.t.mu.Lock()
		x, leader := v.t.readRef(), v.t.leader
		v.t.mu.Unlock()
		x.from = max(v.pos, v.From)
		raw, code, e := v.fetch(ctx, leader, x)
		switch err = e; {
		case err == nil && code == 0:
			return raw, nil
		case err == nil && classOf(code) == refused && code != missing:
			return nil, errors.New(describe("fetch", code))
		case err == nil:
			err = fmt.Errorf("%w: %s", ErrUnreachable, describe("fetch", code))
		}
		v.m.wantRefresh()
		if !pause(ctx, 10*time.Millisecond<<min(try, 6)) {
			return nil, ctx.Err()
		}
	}
	return nil, err
}

func (v *verify) fetch(ctx context.Context, leader int32, x ref) (raw []byte, code int16, err error) {
	if leader < 0 || x.name == "" {
		return nil, missing, nil
	}
	r := newRoll([]ref{x})
	cfg := v.m.cfg
	cfg.PartitionBytes = cfg.FetchBytes
	resp, err := inquire[*kmsg.FetchResponse](ctx, v.m, forVerify, leader, r.fetch(&cfg, 0))
	if err != nil {
		return nil, 0, err
	}
	if resp.ErrorCode != 0 {
		return nil, resp.ErrorCode, nil
	}
	code = missing
	r.eachFetched(resp, func(_ ref, p *kmsg.FetchResponseTopicPartition) { raw, code = p.RecordBatches, p.ErrorCode })
	return raw, code, nil
}
