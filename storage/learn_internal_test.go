package storage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"switchback/offsets"
)

func TestLearn(t *testing.T) {
	list := offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 9, Start: 30}}
	for name, c := range map[string]struct {
		epoch int32
		start int64
		want  offsets.Epochs
	}{
		"behind the end":            {11, 40, offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 9, Start: 30}, {Epoch: 11, Start: 40}}},
		"no record yet, same start": {11, 30, offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 11, Start: 30}}},
		"between":                   {7, 25, offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 7, Start: 25}, {Epoch: 9, Start: 30}}},
		"before":                    {1, 3, offsets.Epochs{{Epoch: 1, Start: 3}, {Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 9, Start: 30}}},
		"known":                     {5, 20, list},
		"known, later":              {5, 22, list},
		"known, earlier":            {5, 15, offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 15}, {Epoch: 9, Start: 30}}},
		"contradicts what follows":  {7, 35, offsets.Epochs{{Epoch: 2, Start: 10}, {Epoch: 5, Start: 20}, {Epoch: 7, Start: 35}}},
		"none":                      {-1, 35, list},
	} {
		before := list[:3:3]
		if diff := cmp.Diff(c.want, learn(before, c.epoch, c.start)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Behind the end of the list learn is Kafka's Assign.
func TestLearnAtTheEndIsAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b offsets.Epochs
		epoch, start := int32(0), int64(0)
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			epoch += rapid.Int32Range(0, 2).Draw(t, "epoch")
			start += rapid.Int64Range(0, 2).Draw(t, "start")
			a, b = a.Assign(epoch, start), learn(b, epoch, start)
			if diff := cmp.Diff(a, b, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
