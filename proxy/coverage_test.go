package proxy

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCoverage compares with a set of single offsets.
func TestCoverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c coverage
		naive := map[int64]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "batches") {
			base := rapid.Int64Range(0, 200).Draw(t, "base")
			next := base + rapid.Int64Range(0, 12).Draw(t, "count")
			c.add(base, next)
			for at := base; at < next; at++ {
				naive[at] = true
			}
		}
		for i, s := range c.spans {
			if s.base >= s.next || i > 0 && c.spans[i-1].next >= s.base {
				t.Fatalf("spans are not sorted and apart: %v", c.spans)
			}
		}
		from := rapid.Int64Range(0, 220).Draw(t, "from")
		to := from + rapid.Int64Range(0, 100).Draw(t, "length")
		want := int64(0)
		for at := from; at < to; at++ {
			if !naive[at] {
				want++
			}
		}
		if got, known := c.missing(from, to); !known || got != want {
			t.Fatalf("missing in [%d, %d): %d, %v; want %d", from, to, got, known, want)
		}
	})
}

func TestCoverageIsBounded(t *testing.T) {
	var c coverage
	for i := range int64(3 * maxSpans) {
		c.add(10*i, 10*i+1)
	}
	if len(c.spans) != maxSpans {
		t.Fatalf("%d spans are kept, want %d", len(c.spans), maxSpans)
	}
	if _, known := c.missing(0, 10); known {
		t.Fatal("what was forgotten counts as known")
	}
}
