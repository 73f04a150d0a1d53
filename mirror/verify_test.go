package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"switchback/mirror"
	"switchback/offsets"
)

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batches = 5000
		p := newPaper(20, 1, "orders", 1)
		for i := range batches {
			p.produce(0, records(fmt.Sprint(i), "x"))
		}
		r := newRig(t, p, mirror.Config{PartitionBytes: 64 << 10})
		defer r.close()
		part := p.partition(0)
		r.sealed(part)
		done := int64(-1)
		rep, err := r.m.Verify(context.Background(), part, func(d, total int64) {
			if d < done || total != 2*batches {
				t.Errorf("progress %d of %d after %d", d, total, done)
			}
			done = d
		})
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Equal || rep.First != nil || rep.Batches != batches || rep.To != 2*batches || rep.Legacy != rep.Target || done != 2*batches {
			t.Errorf("equal logs: %+v, progress %d", rep, done)
		}

		// A batch in the middle is another one, of the same size; one near the end too.
		forge := func(i int) {
			p.do(func() {
				l := p.topics[0].parts[0].replicas[0]
				b := records(fmt.Sprint(batches+i), "x")
				setBase(b, header(l.batches[i]).BaseOffset)
				l.batches[i] = b
			})
		}
		forge(4711)
		forge(4900)
		rep, err = r.m.Verify(context.Background(), part, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := rep.First; rep.Equal || d == nil || d.Offset != 2*4711 || d.Legacy == nil || d.Target == nil || d.Legacy.CRC == d.Target.CRC {
			t.Errorf("a forged batch at %d: %+v, first %+v", 2*4711, rep, rep.First)
		}

		// A batch that legacy lacks.
		p.do(func() {
			l := p.topics[0].parts[0].replicas[0]
			l.batches = append(append([][]byte(nil), l.batches[:1000]...), l.batches[1001:]...)
		})
		if rep, err = r.m.Verify(context.Background(), part, nil); err != nil {
			t.Fatal(err)
		}
		if d := rep.First; d == nil || d.Offset != 2000 || d.Legacy != nil || d.Target == nil {
			t.Errorf("a batch that legacy lacks at 2000: first %+v", d)
		}
	})
}

// Legacy's cleaner removes batches and shrinks others; neither is a difference.
func TestVerifyCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(21, 1, "state", 1)
		p.topics[0].configs["cleanup.policy"] = "compact"
		for i := range 100 {
			p.produce(0, records(fmt.Sprint(i), "x"))
		}
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		r.sealed(part)
		p.do(func() {
			l := p.topics[0].parts[0].replicas[0]
			l.batches = append([][]byte(nil), l.batches[10:]...)
			l.batches[5] = shrink(l.batches[5])
		})
		rep, err := r.m.Verify(context.Background(), part, nil)
		if err != nil || !rep.Equal || rep.Compacted != 11 {
			t.Errorf("compacted: %+v, first %+v, %v", rep, rep.First, err)
		}
	})
}

func TestVerifyUnknown(t *testing.T) {
	p := newPaper(22, 1, "orders", 1)
	r := newRig(t, p, mirror.Config{})
	defer r.close()
	if _, err := r.m.Verify(context.Background(), offsets.Partition{Index: 9}, nil); !errors.Is(err, mirror.ErrAbsent) {
		t.Errorf("an unknown partition: %v", err)
	}
}
