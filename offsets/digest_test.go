package offsets_test

import (
	"testing"

	"pgregory.net/rapid"

	"switchback/offsets"
)

func drawEntry(t *rapid.T) offsets.Entry {
	base := rapid.Int64Range(0, 1<<40).Draw(t, "base")
	return offsets.Entry{
		Base:   base,
		Last:   base + rapid.Int64Range(0, 500).Draw(t, "count"),
		Length: rapid.Int32Range(49, 1<<20).Draw(t, "length"),
		CRC:    rapid.Uint32().Draw(t, "crc"),
	}
}

func digest(entries []offsets.Entry) offsets.Digest {
	var d offsets.Digest
	for _, e := range entries {
		d = d.Add(e)
	}
	return d
}

// TestDigestsAreEqualExactlyWhenTheLogsAre is the naive comparison of two lists
// of batches beside that of their digests.
func TestDigestsAreEqualExactlyWhenTheLogsAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Custom(drawEntry), 1, 20).Draw(t, "log")
		b := append([]offsets.Entry(nil), a...)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		same := false
		switch rapid.SampledFrom([]string{"none", "crc", "length", "base", "swap", "drop", "double"}).Draw(t, "change") {
		case "none":
			same = true
		case "crc":
			b[at].CRC ^= 1 << rapid.IntRange(0, 31).Draw(t, "bit")
		case "length":
			b[at].Length ^= 1 << rapid.IntRange(0, 30).Draw(t, "bit")
		case "base":
			b[at].Base ^= 1 << rapid.IntRange(0, 62).Draw(t, "bit")
		case "swap":
			other := rapid.IntRange(0, len(b)-1).Draw(t, "other")
			b[at], b[other] = b[other], b[at]
			same = a[at] == a[other]
		case "drop":
			b = append(b[:at], b[at+1:]...)
		case "double":
			b = append(b[:at+1], b[at:]...)
		}
		if digest(a).Equal(digest(b)) != same {
			t.Fatalf("digests %v and %v, logs equal: %v", digest(a), digest(b), same)
		}
		if got := digest(a); got.Batches != int64(len(a)) || got.Offset != a[len(a)-1].Last+1 {
			t.Fatalf("digest of %d batches up to %d: %+v", len(a), a[len(a)-1].Last, got)
		}
	})
}

// TestDigestIsStable pins the function: digests are stored and compared with
// those of other incarnations, so it may never change.
func TestDigestIsStable(t *testing.T) {
	d := offsets.Digest{Offset: 3}
	d = d.Add(offsets.Entry{Base: 3, Last: 9, Length: 120, CRC: 0xdeadbeef})
	d = d.Add(offsets.Entry{Base: 12, Last: 12, Length: 61, CRC: 0})
	const want = "beea58fba2fcc682d5d782a33f9d43b8"
	if d.Sum.String() != want || d.Offset != 13 || d.Batches != 2 {
		t.Fatalf("digest %+v, want sum %s", d, want)
	}
}

// TestChainDoesNotForget: a difference far behind is still seen, and neither
// lane falls into a fixed point on empty batches.
func TestChainDoesNotForget(t *testing.T) {
	a := digest([]offsets.Entry{{CRC: 1}})
	b := digest([]offsets.Entry{{CRC: 2}})
	seen := map[offsets.Chain]bool{}
	for range 10_000 {
		a, b = a.Add(offsets.Entry{}), b.Add(offsets.Entry{})
		if a.Sum == b.Sum || a.Sum[0] == b.Sum[0] || a.Sum[1] == b.Sum[1] {
			t.Fatalf("chains met after %d batches", a.Batches)
		}
		if seen[a.Sum] {
			t.Fatalf("chain runs in a circle after %d batches", a.Batches)
		}
		seen[a.Sum] = true
	}
}

func BenchmarkDigestAdd(b *testing.B) {
	var d offsets.Digest
	for i := range b.N {
		d = d.Add(offsets.Entry{Base: int64(i), Last: int64(i), Length: 1000, CRC: uint32(i)})
	}
	if d.Batches != int64(b.N) {
		b.Fatal(d)
	}
}
