package offsets_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"switchback/offsets"
)

var cmpEmpty = cmpopts.EquateEmpty()

func TestNamesSurviveJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type names struct {
			ID     offsets.TopicID
			Side   offsets.Side
			Shown  offsets.Shown
			Digest offsets.Digest
			Parts  map[offsets.TopicID]offsets.Partition
		}
		var want names
		for i := range want.ID {
			want.ID[i] = rapid.Byte().Draw(t, "id")
		}
		want.Side = offsets.Side(rapid.IntRange(0, 1).Draw(t, "side"))
		want.Shown = offsets.Shown{Shift: rapid.Int32().Draw(t, "shift"), Relocated: rapid.Int32().Draw(t, "relocated")}
		want.Digest = offsets.Digest{}.Add(drawEntry(t))
		want.Parts = map[offsets.TopicID]offsets.Partition{want.ID: {Topic: want.ID, Index: 7}}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got names
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if got.ID != want.ID || got.Side != want.Side || got.Shown != want.Shown || got.Digest != want.Digest || got.Parts[want.ID] != want.Parts[want.ID] {
			t.Fatalf("%s came back as %+v", b, got)
		}
		if back, err := offsets.ParseTopicID(want.ID.String()); err != nil || back != want.ID {
			t.Fatalf("ParseTopicID(%q) = %v, %v", want.ID.String(), back, err)
		}
	})
}

func TestNamesThatAreNot(t *testing.T) {
	for _, s := range []string{"", "AAAA", "!!!!!!!!!!!!!!!!!!!!!!", "AAAAAAAAAAAAAAAAAAAAAA=="} {
		if id, err := offsets.ParseTopicID(s); err == nil {
			t.Errorf("ParseTopicID(%q) = %v", s, id)
		}
	}
	var side offsets.Side
	if err := side.UnmarshalText([]byte("Target")); err == nil {
		t.Errorf("side %q was read as %v", "Target", side)
	}
	var chain offsets.Chain
	if err := chain.UnmarshalText([]byte("00ff")); err == nil {
		t.Errorf("a chain of two bytes was read as %v", chain)
	}
}
