package offsets_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"switchback/offsets"
)

// naiveLog is the dumb alternative: the epoch of every single record.
type naiveLog struct {
	start  int64
	epochs []int32 // of record start+i
}

// list derives the epoch list record by record.
func (l naiveLog) list() offsets.Epochs {
	var e offsets.Epochs
	for i, epoch := range l.epochs {
		if i == 0 || epoch != l.epochs[i-1] {
			e = append(e, offsets.EpochStart{Epoch: epoch, Start: l.start + int64(i)})
		}
	}
	return e
}

// end answers OffsetForLeaderEpoch by looking at every record, in the words of
// Kafka's protocol documentation.
func (l naiveLog) end(epoch int32) (int32, int64) {
	logEnd := l.start + int64(len(l.epochs))
	if epoch == -1 || len(l.epochs) == 0 || epoch > l.epochs[len(l.epochs)-1] {
		return -1, -1
	}
	if epoch < l.epochs[0] {
		return epoch, l.start
	}
	found, end := int32(-1), logEnd
	for i, have := range l.epochs {
		if have > epoch {
			end = l.start + int64(i)
			break
		}
		found = have
	}
	return found, end
}

func drawLog(t *rapid.T) naiveLog {
	steps := rapid.SliceOfN(rapid.Int32Range(0, 2), 0, 40).Draw(t, "steps")
	log := naiveLog{start: rapid.Int64Range(0, 5).Draw(t, "start")}
	epoch := rapid.Int32Range(0, 3).Draw(t, "first epoch")
	for _, step := range steps {
		epoch += step
		log.epochs = append(log.epochs, epoch)
	}
	return log
}

func TestEpochsAnswerAsARecordByRecordLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		e := log.list()
		logEnd := log.start + int64(len(log.epochs))
		for epoch := int32(-1); epoch < 100; epoch++ {
			gotEpoch, gotEnd := e.End(epoch, logEnd)
			wantEpoch, wantEnd := log.end(epoch)
			if gotEpoch != wantEpoch || gotEnd != wantEnd {
				t.Fatalf("End(%d) of %v = %d, %d, want %d, %d", epoch, e, gotEpoch, gotEnd, wantEpoch, wantEnd)
			}
		}
		for i, want := range log.epochs {
			if got := e.At(log.start + int64(i)); got != want {
				t.Fatalf("At(%d) of %v = %d, want %d", log.start+int64(i), e, got, want)
			}
		}
		if len(e) > 0 && e.At(log.start-1) != offsets.UndefinedEpoch {
			t.Fatalf("At below the list = %d", e.At(log.start-1))
		}
	})
}

func TestAssigningEveryRecordGivesTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		var e offsets.Epochs
		for i, epoch := range log.epochs {
			e = e.Assign(epoch, log.start+int64(i))
		}
		if diff := cmp.Diff(log.list(), e); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTruncationIsThatOfTheRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		e, before := log.list(), slices.Clone(log.list())
		cut := rapid.IntRange(0, len(log.epochs)).Draw(t, "cut")
		at := log.start + int64(cut)

		head := naiveLog{log.start, log.epochs[:cut]}
		if diff := cmp.Diff(head.list(), e.TruncateEnd(at), cmpEmpty); diff != "" {
			t.Fatalf("TruncateEnd(%d): %s", at, diff)
		}
		if cut < len(log.epochs) {
			tail := naiveLog{at, log.epochs[cut:]}
			if diff := cmp.Diff(tail.list(), e.TruncateStart(at), cmpEmpty); diff != "" {
				t.Fatalf("TruncateStart(%d): %s", at, diff)
			}
		}
		_ = e.TruncateEnd(at).Assign(99, at) // must not write into e
		if diff := cmp.Diff(before, e, cmpEmpty); diff != "" {
			t.Fatalf("the list itself changed: %s", diff)
		}
	})
}

func TestDivergeIsTheFirstRecordThatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawLog(t), drawLog(t)
		b.start = a.start
		n := min(len(a.epochs), len(b.epochs))
		a.epochs, b.epochs = a.epochs[:n], b.epochs[:n]
		end := a.start + int64(n)
		want, equal := end, true
		for i := range n {
			if a.epochs[i] != b.epochs[i] {
				want, equal = a.start+int64(i), false
				break
			}
		}
		got, gotEqual := a.list().Diverge(b.list(), end)
		if got != want || gotEqual != equal {
			t.Fatalf("Diverge of %v and %v = %d, %v, want %d, %v", a.list(), b.list(), got, gotEqual, want, equal)
		}
	})
}

func TestAssignDropsWhatContradictsIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		list  offsets.Epochs
		epoch int32
		start int64
		want  offsets.Epochs
	}{
		{"same epoch later", offsets.Epochs{{1, 5}}, 1, 9, offsets.Epochs{{1, 5}}},
		{"same epoch earlier", offsets.Epochs{{0, 0}, {1, 5}}, 1, 3, offsets.Epochs{{0, 0}, {1, 3}}},
		{"without records", offsets.Epochs{{0, 0}, {1, 5}}, 2, 5, offsets.Epochs{{0, 0}, {2, 5}}},
		{"older epoch", offsets.Epochs{{0, 0}, {3, 5}}, 2, 7, offsets.Epochs{{0, 0}, {2, 7}}},
		{"no epoch", offsets.Epochs{{0, 0}}, -1, 7, offsets.Epochs{{0, 0}}},
	} {
		if diff := cmp.Diff(c.want, c.list.Assign(c.epoch, c.start)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
