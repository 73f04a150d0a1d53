package offsets_test

import (
	"testing"

	"pgregory.net/rapid"

	"switchback/offsets"
)

// TestShownEpochsOnlyRise runs elections, relocations and takings back in any
// order and looks from a client's point of view.
func TestShownEpochsOnlyRise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s offsets.Shown
		legacy := rapid.Int32Range(0, 5).Draw(t, "legacy")
		seen := s.Epoch(legacy)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			rise := int32(0)
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				legacy += rapid.Int32Range(1, 9).Draw(t, "elections")
			case 1:
				if !s.IsRelocated() {
					rise = 1
				}
				s = s.Relocate(legacy)
				if s.Relocate(legacy+3) != s {
					t.Fatalf("relocating twice changed %+v", s)
				}
			case 2:
				if s.IsRelocated() {
					rise = 1
				}
				s = s.TakeBack(legacy)
				if s.TakeBack(legacy+3) != s {
					t.Fatalf("taking back twice changed %+v", s)
				}
			}
			now := s.Epoch(legacy)
			if now < seen+rise {
				t.Fatalf("shown epoch went from %d to %d, want at least %d (%+v, legacy %d)", seen, now, seen+rise, s, legacy)
			}
			if now < legacy || (s.IsRelocated() && now <= legacy) {
				t.Fatalf("shown epoch %d does not cover legacy's %d (%+v)", now, legacy, s)
			}
			if down := s.Down(now, legacy); down != legacy {
				t.Fatalf("Down(%d) = %d, want legacy's %d (%+v)", now, down, legacy, s)
			}
			seen = now
		}
	})
}

// TestDownGivesBackWhatWasShown remembers everything that was ever shown, with
// legacy's epoch of that moment, and plays a client that has not refreshed.
func TestDownGivesBackWhatWasShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type sight struct {
			shown, legacy int32
			era           int
			relocated     bool
		}
		var s offsets.Shown
		var sights []sight
		legacy, era := rapid.Int32Range(0, 5).Draw(t, "legacy"), 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				legacy++
			case 1:
				s = s.Relocate(legacy)
			case 2:
				if s.IsRelocated() {
					era++
				}
				s = s.TakeBack(legacy)
			}
			sights = append(sights, sight{s.Epoch(legacy), legacy, era, s.IsRelocated()})
			for _, v := range sights {
				got := s.Down(v.shown, legacy)
				switch {
				case v.era < era:
					if got != offsets.UndefinedEpoch {
						t.Fatalf("%+v of an earlier era came down as %d (%+v)", v, got, s)
					}
				case v.relocated:
					// Its leader is the same log still: no election fences it.
					if got != legacy {
						t.Fatalf("%+v of this relocation came down as %d, want %d (%+v)", v, got, legacy, s)
					}
				case got != v.legacy:
					t.Fatalf("%+v came down as %d (%+v)", v, got, s)
				}
			}
			if future := s.Down(s.Epoch(legacy)+1, legacy); future != legacy+1 {
				t.Fatalf("an epoch of the future came down as %d, want %d (%+v)", future, legacy+1, s)
			}
		}
	})
}

func TestUnknownEpochsStayUnknown(t *testing.T) {
	var s offsets.Shown
	if s.IsRelocated() || s.Epoch(4) != 4 || s.Down(4, 4) != 4 {
		t.Fatalf("the zero value changes epochs: %+v", s)
	}
	if s.Epoch(-1) != -1 || s.Down(-1, 3) != -1 {
		t.Fatal("an epoch that is not known was made one")
	}
	if r := s.Relocate(-1); r.Epoch(-1) < 1 || r.Epoch(7) < 8 {
		t.Fatalf("relocated without knowing legacy's epoch: %+v", r)
	}
}
