package storage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Two transactions that overlap: a reader of the first one's range has to know of
// the second, whose marker comes much later.
func TestAbortedTransactionsThatOverlap(t *testing.T) {
	var x transactions
	x.begin(1, 0)
	x.begin(2, 2)
	x.complete(1, 10, true)
	x.complete(2, 20, true)
	x.begin(3, 30)
	x.complete(3, 31, true)
	x.begin(4, 40)
	x.complete(4, 41, false)
	one, two, three := AbortedTxn{1, 0}, AbortedTxn{2, 2}, AbortedTxn{3, 30}
	for _, c := range []struct {
		from, to int64
		want     []AbortedTxn
	}{
		{0, 2, []AbortedTxn{one}},
		{0, 11, []AbortedTxn{one, two}},
		{10, 11, []AbortedTxn{one, two}},
		{11, 12, []AbortedTxn{two}},
		{20, 50, []AbortedTxn{two, three}},
		{21, 30, nil},
		{32, 50, nil},
	} {
		if diff := cmp.Diff(c.want, x.abortedIn(c.from, c.to), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("[%d, %d): %s", c.from, c.to, diff)
		}
	}
}

func TestStableWaitsForTheMarker(t *testing.T) {
	var x transactions
	if got := x.stable(5); got != 5 {
		t.Fatalf("without transactions %d", got)
	}
	x.begin(1, 3)
	x.begin(2, 4)
	for _, c := range []struct {
		what    string
		do      func()
		durable int64
		want    int64
	}{
		{"both open", func() {}, 9, 3},
		{"not durable yet", func() {}, 2, 2},
		{"first committed, marker not durable", func() { x.complete(1, 9, false) }, 9, 3},
		{"marker durable", func() { x.settle(10) }, 10, 4},
		{"second aborted and durable", func() { x.complete(2, 10, true); x.settle(11) }, 11, 11},
	} {
		c.do()
		if got := x.stable(c.durable); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}
