package mirror_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"switchback/mirror"
)

// What status says a backlog will take is what it takes: a minute in which legacy
// was down is not taken for the price of a batch.
func TestDrainAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(31, 1, "orders", 1)
		r := newRig(t, p, mirror.Config{})
		defer r.close()
		part := p.partition(0)
		p.produce(0, records("first"))
		r.flip(part)
		r.appendTarget(part, records("second"))
		r.untilState(part, mirror.Replaying)
		p.do(func() { p.down[0], p.faults.delay = true, 4*time.Millisecond })
		var end int64
		for i := range 1000 {
			end = r.appendTarget(part, records(fmt.Sprint(i))).Last + 1
			time.Sleep(60 * time.Millisecond)
		}
		if s, _ := r.m.Status(part); s.Drain != mirror.DrainUnknown {
			t.Errorf("with legacy down a drain of %v is told", s.Drain)
		}
		p.do(func() { p.down[0] = false })
		var told time.Duration
		var at time.Time
		r.until(time.Minute, func() string {
			s, _ := r.m.Status(part)
			if s.State != mirror.Replaying || s.Backlog.Batches > 500 {
				return fmt.Sprintf("%s with %d batches", s.State, s.Backlog.Batches)
			}
			told, at = s.Drain, time.Now()
			return ""
		})
		if err := r.m.Await(context.Background(), part, end); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(at); told < took*2/3 || told > took*3/2 {
			t.Errorf("status said %v, and it took %v", told, took)
		}
	})
}
