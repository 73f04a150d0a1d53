package offsets_test

import (
	"testing"

	"pgregory.net/rapid"

	"switchback/offsets"
)

// drawMap returns a map and the dumb alternative: one pair per record.
func drawMap(t *rapid.T) (offsets.Map, [][2]int64) {
	var m offsets.Map
	var pairs [][2]int64
	var legacy, target int64
	for range rapid.IntRange(0, 12).Draw(t, "runs") {
		legacy += rapid.Int64Range(0, 3).Draw(t, "legacy gap")
		target += rapid.Int64Range(0, 3).Draw(t, "target gap")
		count := rapid.Int64Range(1, 4).Draw(t, "count")
		var err error
		if m, err = m.Append(offsets.Run{Legacy: legacy, Target: target, Count: count}); err != nil {
			t.Fatal(err)
		}
		for range count {
			pairs = append(pairs, [2]int64{legacy, target})
			legacy, target = legacy+1, target+1
		}
	}
	return m, pairs
}

// naive finds the first record at or above a position.
func naive(pairs [][2]int64, at int64, from int) (int64, bool) {
	to := 1 - from
	for _, p := range pairs {
		if p[from] >= at {
			return p[to], p[from] == at
		}
	}
	if len(pairs) == 0 {
		return 0, false
	}
	last := pairs[len(pairs)-1]
	return last[to] + 1, at == last[from]+1
}

func TestMapTranslatesAsRecordByRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, pairs := drawMap(t)
		for at := int64(-1); at < 90; at++ {
			got, exact := m.ToTarget(at)
			if want, wantExact := naive(pairs, at, 0); got != want || exact != wantExact {
				t.Fatalf("ToTarget(%d) of %v = %d, %v, want %d, %v", at, m, got, exact, want, wantExact)
			}
			got, exact = m.ToLegacy(at)
			if want, wantExact := naive(pairs, at, 1); got != want || exact != wantExact {
				t.Fatalf("ToLegacy(%d) of %v = %d, %v, want %d, %v", at, m, got, exact, want, wantExact)
			}
		}
	})
}

// TestMapThereAndBack: an exact translation comes back to where it started, and
// translations never change the order of two positions.
func TestMapThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, pairs := drawMap(t)
		previous := int64(-1)
		for at := int64(0); at < 90; at++ {
			target, exact := m.ToTarget(at)
			if back, _ := m.ToLegacy(target); exact && back != at {
				t.Fatalf("%d went to %d and came back as %d (%v)", at, target, back, m)
			}
			if target < previous {
				t.Fatalf("%d went to %d, below %d of the position before (%v)", at, target, previous, m)
			}
			previous = target
		}
		legacy, target := m.Ends()
		if len(pairs) > 0 && (legacy != pairs[len(pairs)-1][0]+1 || target != pairs[len(pairs)-1][1]+1) {
			t.Fatalf("Ends of %v = %d, %d", m, legacy, target)
		}
	})
}

func TestMapJoinsAndRefuses(t *testing.T) {
	m, err := offsets.Map{}.Append(offsets.Run{Legacy: 5, Target: 0, Count: 5})
	if err != nil {
		t.Fatal(err)
	}
	joined, err := m.Append(offsets.Run{Legacy: 10, Target: 5, Count: 2})
	if err != nil || len(joined) != 1 || joined[0].Count != 7 {
		t.Fatalf("neighbours did not join: %v, %v", joined, err)
	}
	if m[0].Count != 5 {
		t.Fatalf("Append wrote into its receiver: %v", m)
	}
	for _, r := range []offsets.Run{
		{Legacy: 9, Target: 5, Count: 1}, {Legacy: 10, Target: 4, Count: 1}, {Legacy: 10, Target: 5}, {Legacy: -1, Target: 9, Count: 1},
	} {
		if got, err := m.Append(r); err == nil {
			t.Errorf("appended %+v: %v", r, got)
		}
	}
}
