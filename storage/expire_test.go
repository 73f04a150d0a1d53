package storage_test

import (
	"testing"

	"switchback/storage"
	"switchback/storage/batch/batchtest"
)

// TestExpire has extents of offsets 0-1, 2-3, 4-5 and 6-7, whose last timestamps
// are 10, 20, 30 and 15 seconds after the epoch of the tests, and offsets 8-9 in
// the WAL alone. The clock is at 100 seconds.
func TestExpire(t *testing.T) {
	const second = 1000
	none := storage.Retention{Ms: -1, Bytes: -1}
	ms := func(seconds int64) storage.Retention { return storage.Retention{Ms: seconds * second, Bytes: -1} }
	size := func(extents int64) storage.Retention { return storage.Retention{Ms: -1, Bytes: extents * 150} }
	for name, c := range map[string]struct {
		r    storage.Retention
		upto int64
		want int64
	}{
		"no limit":                            {none, 99, 0},
		"nothing is that old":                 {ms(90), 99, 0},
		"one is":                              {ms(89), 99, 2},
		"two are":                             {ms(79), 99, 4},
		"what is behind a young one stays":    {ms(75), 99, 4},
		"all are, but the WAL's stay":         {ms(1), 99, 8},
		"legacy does not have them all":       {ms(1), 5, 4},
		"legacy has none":                     {ms(1), 0, 0},
		"legacy has the first extent exactly": {ms(1), 2, 2},
		"bytes for all":                       {size(5), 99, 0},
		"bytes for four":                      {size(4), 99, 2},
		"bytes for one":                       {size(1), 99, 8},
		"no bytes":                            {size(0), 99, 8},
	} {
		t.Run(name, func(t *testing.T) {
			now := &clock{now: epochTime}
			cfg := trimmed(t.TempDir())
			cfg.Now = now.read
			e := open(t, cfg)
			l := create(t, e, 0)
			lead(t, l, 0)
			for n, at := range []int64{10, 20, 30, 15, 40} {
				raw := batchtest.Build(batchtest.Spec{Time: epochTime.UnixMilli() + at*second - 1, Records: batchtest.Values("a", "b")})
				if n == 0 && len(raw) > 150 {
					t.Fatalf("a batch of %d bytes", len(raw))
				}
				raw = batchtest.Build(batchtest.Spec{Time: epochTime.UnixMilli() + at*second - 1,
					Records: batchtest.Values("a", string(make([]byte, 1+150-len(raw))))})
				if a := appendNow(t, l, raw); a.Err != nil {
					t.Fatal(a.Err)
				}
				if n < 4 {
					flush(t, e)
				}
			}
			now.pass(100 * second * 1e6)
			start, err := l.Expire(c.r, c.upto)
			if err != nil || start != c.want || l.Bounds().Start != c.want {
				t.Fatalf("Expire = %d, %v, want %d", start, err, c.want)
			}
			flush(t, e)
			if got, want := l.Extents(), 5-int(c.want/2); got != want {
				t.Errorf("%d extents, want %d", got, want)
			}
			e = reopen(t, e, cfg)
			l, _ = e.Log(partition)
			if b := l.Bounds(); b.Start != c.want || b.End != 10 {
				t.Errorf("after a restart: %+v", b)
			}
			if again, err := l.Expire(none, 99); err != nil || again != c.want {
				t.Errorf("again: %d, %v", again, err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
