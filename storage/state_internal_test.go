package storage

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"switchback/offsets"
)

var (
	someDigest = offsets.Digest{Offset: 1 << 40, Batches: 7, Sum: offsets.Chain{1, 1 << 63}}
	someState  = state{
		covered: 1 << 50, origin: 3, start: 5, end: 1 << 41, replayed: 9, maxTimestamp: -1, digest: someDigest, leaderEpoch: -1,
		epochs: offsets.Epochs{{Epoch: 0, Start: 3}, {Epoch: 9, Start: 1 << 33}},
		extents: []extent{
			{object: objectID{1}, base: 3, last: 3, bytes: 70, maxTimestamp: -1, batches: 1},
			{object: objectID{2}, base: 1 << 35, last: 1 << 36, bytes: 1 << 28, maxTimestamp: 1 << 41, before: someDigest, batches: 1 << 20},
		},
		memory: []byte("memory"), memoryIn: objectID{3},
	}
)

func someMemory() (producers, transactions) {
	return producers{byID: map[int64]*producer{
			1: {epoch: -1, coordinatorEpoch: -1, txnStart: -1, timestamp: -1},
			1 << 40: {epoch: 32767, coordinatorEpoch: 1 << 30, transactional: true, txnStart: 12, timestamp: 1 << 41, seen: 1 << 42, batches: []sent{
				{first: 0, last: 1<<31 - 1, base: 1 << 50, end: 1<<50 + 3, timestamp: 9}, {first: 0, last: 0, base: 1, end: 1, timestamp: -1},
			}},
		}}, transactions{
			open:    []txn{{producer: 1 << 40, first: 12}},
			aborted: []aborted{{txn{3, 4, 5}, 6}, {txn{1, 7, 9}, 10}},
		}
}

func someNotes() *notes {
	n := &notes{checkpoints: []checkpoint{{3, someDigest}, {1 << 40, offsets.Digest{}}}}
	n.tell(5, 1000, Meta{Principal: "User:a", ProduceVersion: 9})
	n.tell(9, 999, Meta{TransactionalID: "t"})
	n.tell(1<<40, 1<<41, Meta{Principal: "User:a", ProduceVersion: 9})
	return n
}

func TestStoredStateSurvives(t *testing.T) {
	s, err := decodeState(someState.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&someState, s, cmp.AllowUnexported(state{}, extent{})); diff != "" {
		t.Error(diff)
	}
	wantProducers, wantTxns := someMemory()
	ps, txns, err := decodeMemory(encodeMemory(&wantProducers, &wantTxns))
	if err != nil {
		t.Fatal(err)
	}
	all := cmp.AllowUnexported(producers{}, producer{}, sent{}, transactions{}, txn{}, aborted{})
	if diff := cmp.Diff(wantProducers, ps, all, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantTxns, txns, all, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	n, err := decodeNotes(someNotes().encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(someNotes(), n, cmp.AllowUnexported(notes{}, checkpoint{}, told{})); diff != "" {
		t.Error(diff)
	}
	if len(n.metas) != 2 {
		t.Errorf("metas %+v", n.metas)
	}
	if at, m, ok := n.about(9); !ok || at != 999 || m.TransactionalID != "t" {
		t.Errorf("about 9: %d, %+v, %v", at, m, ok)
	}
	if _, _, ok := n.about(8); ok {
		t.Error("something about a batch of which nothing was told")
	}
}

// TestStoredStateIsChecked flips every bit and cuts at every byte.
func TestStoredStateIsChecked(t *testing.T) {
	ps, txns := someMemory()
	decoders := map[string]struct {
		b      []byte
		decode func([]byte) error
	}{
		"state":  {someState.encode(), func(b []byte) error { _, err := decodeState(b); return err }},
		"memory": {encodeMemory(&ps, &txns), func(b []byte) error { _, _, err := decodeMemory(b); return err }},
		"notes":  {someNotes().encode(), func(b []byte) error { _, err := decodeNotes(b); return err }},
	}
	for name, d := range decoders {
		for n := range d.b {
			if d.decode(d.b[:n]) == nil {
				t.Fatalf("%s cut after %d of %d bytes is taken", name, n, len(d.b))
			}
			for bit := range 8 {
				d.b[n] ^= 1 << bit
				if d.decode(d.b) == nil {
					t.Fatalf("%s with bit %d of byte %d flipped is taken", name, bit, n)
				}
				d.b[n] ^= 1 << bit
			}
		}
	}
}

func TestStatesThatContradictThemselves(t *testing.T) {
	for name, spoil := range map[string]func(*state){
		"start below origin":     func(s *state) { s.start = 2 },
		"end below start":        func(s *state) { s.end, s.extents = 4, nil },
		"replayed above end":     func(s *state) { s.replayed = s.end + 1 },
		"epochs that go back":    func(s *state) { s.epochs[1].Epoch = 0 },
		"extents that overlap":   func(s *state) { s.extents[1].base = 3 },
		"extent above the end":   func(s *state) { s.end = s.extents[1].last },
		"extent without a batch": func(s *state) { s.extents[0].batches = 0 },
	} {
		s, err := decodeState(someState.encode())
		if err != nil {
			t.Fatal(err)
		}
		spoil(s)
		if _, err := decodeState(s.encode()); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzStoredState(f *testing.F) {
	ps, txns := someMemory()
	for _, b := range [][]byte{someState.encode(), encodeMemory(&ps, &txns), someNotes().encode()} {
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = seal(b) // else only checksums are tried
		if s, err := decodeState(b); err == nil {
			if again, err := decodeState(s.encode()); err != nil {
				t.Errorf("state %+v becomes %+v, %v", s, again, err)
			}
		}
		if ps, txns, err := decodeMemory(b); err == nil {
			if _, _, err := decodeMemory(encodeMemory(&ps, &txns)); err != nil {
				t.Error(err)
			}
		}
		if n, err := decodeNotes(b); err == nil {
			if _, err := decodeNotes(n.encode()); err != nil {
				t.Error(err)
			}
			_, _, _ = n.about(5)
			_, _ = n.checkpoint(5)
		}
	})
}

func TestStateKeys(t *testing.T) {
	p := offsets.Partition{Topic: offsets.TopicID{1, 15: 0xff}, Index: 1<<31 - 1}
	if got, err := parseStateKey(stateKey(p)); err != nil || got != p {
		t.Errorf("key %s of %s becomes %s, %v", stateKey(p), p, got, err)
	}
	for _, key := range []string{"storage/log/", "storage/log/00/1", stateKey(p) + "0", keyLogs + "zz", stateKey(offsets.Partition{Index: -1})} {
		if got, err := parseStateKey(key); err == nil {
			t.Errorf("key %q becomes %s", key, got)
		}
	}
}

func TestPack(t *testing.T) {
	captured := func(sizes ...int32) *capture {
		c := &capture{}
		for n, size := range sizes {
			c.items = append(c.items, item{base: int64(n), size: size})
		}
		return c
	}
	const mib = 1 << 20
	small, none, large := captured(10, 20), captured(), captured(8*mib)
	huge := captured(100*mib, 100*mib, 100*mib, 300*mib)
	tiny := captured(1)
	parcels := pack([]*capture{small, none, large, huge, tiny})
	type shape struct {
		capture *capture
		items   int
		last    bool
	}
	var got [][]shape
	for _, p := range parcels {
		var one []shape
		for _, part := range p {
			one = append(one, shape{part.capture, len(part.items), part.last})
		}
		got = append(got, one)
	}
	want := [][]shape{
		{{large, 1, true}},
		{{huge, 2, false}}, {{huge, 1, false}}, {{huge, 1, true}},
		{{small, 2, true}, {tiny, 1, true}},
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("packed as %v, want %v", got, want)
	}
}
