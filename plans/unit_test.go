package plans

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"switchback/offsets"
)

// TestUnitsPartitionTheTopics forms units of any sets of topics, one after the
// other: no partition is ever in two of them or forgotten, and what clients were
// shown and under which epoch goes with it.
func TestUnitsPartitionTheTopics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []stored
		shown := make(map[offsets.Partition]offsets.Shown)
		epochs := make(map[offsets.Partition]int64)
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			var parts []Part
			for i := range 5 {
				if rapid.Bool().Draw(t, "take") {
					for index := range int32(2) {
						parts = append(parts, Part{Topic: offsets.TopicID{byte(i)}, Name: fmt.Sprint("topic", i), Index: index})
					}
				}
			}
			if len(parts) == 0 {
				continue
			}
			unitOf(parts)
			unit, left, gone, err := form(all, parts)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range unit.Parts {
				if want := shown[p.Partition()]; unit.Shown[i].Shift != want.Shift {
					t.Fatalf("%v: shown %+v, want %+v", p, unit.Shown[i], want)
				}
				if unit.Epoch < epochs[p.Partition()] {
					t.Fatalf("%v: route epoch %d, it had %d", p, unit.Epoch, epochs[p.Partition()])
				}
			}
			// It flips, is relocated and comes back.
			for i, p := range unit.Parts {
				unit.Shown[i].Shift += int32(step + 1)
				shown[p.Partition()] = unit.Shown[i]
			}
			unit.Epoch = int64(step) + 1
			for _, p := range unit.Parts {
				epochs[p.Partition()] = unit.Epoch
			}
			all = slices.DeleteFunc(all, func(s stored) bool {
				return s.Unit == unit.Unit || slices.ContainsFunc(gone, func(g stored) bool { return g.Unit == s.Unit })
			})
			all = append(append(all, unit), left...)
			for i := range all {
				all[i].rev = int64(i) + 1
			}
			inUnits(t, all, shown)
		}
	})
}

func inUnits(t *rapid.T, all []stored, shown map[offsets.Partition]offsets.Shown) {
	seen := make(map[offsets.Partition]bool)
	for _, s := range all {
		if len(s.Shown) != len(s.Parts) || s.Unit != unitOf(slices.Clone(s.Parts)) {
			t.Fatalf("unit %+v", s.Record)
		}
		for i, p := range s.Parts {
			if seen[p.Partition()] {
				t.Fatalf("%v is in two units", p)
			}
			seen[p.Partition()] = true
			if s.Shown[i] != shown[p.Partition()] {
				t.Fatalf("%v: shown %+v, want %+v", p, s.Shown[i], shown[p.Partition()])
			}
		}
	}
	if len(seen) != len(shown) {
		t.Fatalf("%d partitions are in units, %d were", len(seen), len(shown))
	}
}

func TestARecordThatIsNone(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON": "x", "another key": `{"unit":"v"}`, "no shown epochs": `{"unit":"u","parts":[{"name":"t"}]}`,
		"target without a seal": `{"unit":"u","home":"target","parts":[{"name":"t"}],"shown":[{}]}`,
	} {
		kv := catalogKV("u", value)
		if r, err := ParseRecord(kv); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
