package batch_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

func drawRecord(t *rapid.T) batch.Record {
	r := batch.Record{
		TimestampDelta: rapid.Int64().Draw(t, "timestamp delta"),
		OffsetDelta:    rapid.Int32().Draw(t, "offset delta"),
	}
	nullable := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOf(rapid.Byte()))
	r.Key, r.Value = nullable.Draw(t, "key"), nullable.Draw(t, "value")
	r.Headers = []byte{}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = batch.AppendHeader(r.Headers, rapid.String().Draw(t, "header"), nullable.Draw(t, "header value"))
		r.NumHeaders++
	}
	return r
}

// The peer is kmsg: what we write it reads, what it writes we read.
func TestHeaderAndRecordsAgreeWithKmsg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 0, 5).Draw(t, "records")
		raw := batchtest.Build(batchtest.Spec{
			Base: rapid.Int64().Draw(t, "base"), LeaderEpoch: rapid.Int32().Draw(t, "epoch"),
			Attributes: rapid.Int16().Draw(t, "attributes"), Producer: rapid.Int64().Draw(t, "producer"),
			ProducerEpoch: rapid.Int16().Draw(t, "producer epoch"), Sequence: rapid.Int32().Draw(t, "sequence"),
			Time: rapid.Int64().Draw(t, "time"), Records: records,
		})
		h, err := batch.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		var k kmsg.RecordBatch
		if err := k.ReadFrom(raw); err != nil {
			t.Fatal(err)
		}
		want := batch.Header{
			BaseOffset: k.FirstOffset, Length: k.Length, LeaderEpoch: k.PartitionLeaderEpoch, Magic: k.Magic,
			CRC: uint32(k.CRC), Attributes: k.Attributes, LastOffsetDelta: k.LastOffsetDelta, FirstTimestamp: k.FirstTimestamp,
			MaxTimestamp: k.MaxTimestamp, ProducerID: k.ProducerID, ProducerEpoch: k.ProducerEpoch,
			BaseSequence: k.FirstSequence, NumRecords: k.NumRecords,
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Fatal(diff)
		}
		if got := h.AppendTo(nil); !bytes.Equal(got, raw[:batch.HeaderSize]) {
			t.Fatalf("AppendTo = %x, want %x", got, raw[:batch.HeaderSize])
		}
		if err := batch.CheckCRC(raw); err != nil {
			t.Fatal(err)
		}
		rest := raw[batch.HeaderSize:]
		for i, want := range records {
			var got batch.Record
			var kr kmsg.Record
			if err := kr.ReadFrom(rest); err != nil {
				t.Fatal(err)
			}
			if got, rest, err = batch.ReadRecord(rest); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("record %d: %s", i, diff)
			}
			if !bytes.Equal(kr.Key, got.Key) || !bytes.Equal(kr.Value, got.Value) || int(got.NumHeaders) != len(kr.Headers) {
				t.Fatalf("record %d: kmsg reads %+v, we read %+v", i, kr, got)
			}
		}
		if len(rest) != 0 {
			t.Fatalf("%d bytes left", len(rest))
		}
	})
}

func TestParseRefuses(t *testing.T) {
	good := batchtest.Build(batchtest.Spec{Records: batchtest.Values("a", "b")})
	bend := func(fn func(b []byte)) []byte {
		b := bytes.Clone(good)
		fn(b)
		return b
	}
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":            {nil, batch.ErrShort},
		"half a header":      {good[:40], batch.ErrShort},
		"header only":        {good[:batch.HeaderSize], batch.ErrShort},
		"one byte short":     {good[:len(good)-1], batch.ErrShort},
		"magic 1":            {bend(func(b []byte) { b[16] = 1 }), batch.ErrMagic},
		"length 48":          {bend(func(b []byte) { copy(b[8:], []byte{0, 0, 0, 48}) }), batch.ErrLength},
		"length -1":          {bend(func(b []byte) { copy(b[8:], []byte{255, 255, 255, 255}) }), batch.ErrLength},
		"length beyond size": {bend(func(b []byte) { copy(b[8:], []byte{127, 255, 255, 255}) }), batch.ErrLength},
	} {
		if _, err := batch.Parse(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := batch.CheckCRC(bend(func(b []byte) { b[len(b)-1]++ })); !errors.Is(err, batch.ErrCRC) {
		t.Errorf("flipped byte: %v", err)
	}
	if err := batch.CheckCRC(append(bytes.Clone(good), 0)); !errors.Is(err, batch.ErrLength) {
		t.Errorf("trailing byte: %v", err)
	}
}

func TestPatchesOutsideTheChecksum(t *testing.T) {
	raw := batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")})
	batch.SetBaseOffset(raw, 1<<40)
	batch.SetLeaderEpoch(raw, 77)
	if err := batch.CheckCRC(raw); err != nil {
		t.Fatal(err)
	}
	batch.SetMaxTimestamp(raw, 5)
	if err := batch.CheckCRC(raw); !errors.Is(err, batch.ErrCRC) {
		t.Fatalf("after SetMaxTimestamp: %v", err)
	}
	batch.SetAttributes(raw, batch.LogAppendTimeFlag)
	batch.RewriteCRC(raw)
	if err := batch.CheckCRC(raw); err != nil {
		t.Fatal(err)
	}
	h, err := batch.Parse(raw)
	if err != nil || h.BaseOffset != 1<<40 || h.LeaderEpoch != 77 || h.MaxTimestamp != 5 || !h.LogAppendTime() {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestSequencesWrapAsInKafka(t *testing.T) {
	for _, c := range []struct{ base, delta, want int32 }{
		{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32 - 1, 3, 1}, {-1, 4, -1},
	} {
		h := batch.Header{BaseSequence: c.base, LastOffsetDelta: c.delta}
		if got := h.LastSequence(); got != c.want {
			t.Errorf("base %d, delta %d: last is %d, want %d", c.base, c.delta, got, c.want)
		}
	}
}

func TestWalkEndsAtAPartialBatch(t *testing.T) {
	one := batchtest.Build(batchtest.Spec{Records: batchtest.Values("one")})
	two := batchtest.Build(batchtest.Spec{Base: 1, Records: batchtest.Values("two", "three")})
	whole := append(bytes.Clone(one), two...)
	for cut := range len(whole) + 1 {
		var got []byte
		if err := batch.Walk(whole[:cut], func(_ batch.Header, raw []byte) error {
			got = append(got, raw...)
			return nil
		}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := 0
		if cut >= len(one) {
			want = len(one)
		}
		if cut == len(whole) {
			want = cut
		}
		if len(got) != want {
			t.Fatalf("cut at %d: %d bytes of whole batches, want %d", cut, len(got), want)
		}
	}
	stop := errors.New("stop")
	if err := batch.Walk(whole, func(batch.Header, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("Walk = %v, want the callback's error", err)
	}
}

func TestMarkers(t *testing.T) {
	for _, want := range []batch.MarkerType{batch.MarkerAbort, batch.MarkerCommit} {
		m, ok, err := batch.ParseMarker(batchtest.Marker(9, 2, 42, 3, want, 5))
		if err != nil || !ok || m.Type != want || !m.EndsTransaction() {
			t.Errorf("%v: %+v, %v, %v", want, m, ok, err)
		}
	}
	if _, _, err := batch.ParseMarker(batchtest.Build(batchtest.Spec{Records: batchtest.Values("a")})); !errors.Is(err, batch.ErrMarker) {
		t.Errorf("data batch: %v", err)
	}
	empty := batchtest.Seal(batch.Header{Magic: batch.Magic, Attributes: batch.ControlFlag}, nil)
	if _, ok, err := batch.ParseMarker(empty); ok || err != nil {
		t.Errorf("emptied control batch: %v, %v", ok, err)
	}
}

func TestWalkDoesNotAllocate(t *testing.T) {
	raw := batchtest.Build(batchtest.Spec{Records: batchtest.Values("a", "b")})
	n := testing.AllocsPerRun(100, func() {
		_ = batch.CheckCRC(raw)
		_ = batch.Walk(raw, func(batch.Header, []byte) error { return nil })
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(batchtest.Build(batchtest.Spec{Records: batchtest.Values("a", "b")}))
	f.Add(batchtest.Marker(9, 2, 42, 3, batch.MarkerAbort, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if h, err := batch.Parse(b); err == nil {
			if h.Size() > len(b) {
				t.Fatalf("Parse accepts %d bytes of a batch of %d", len(b), h.Size())
			}
			if !bytes.Equal(h.AppendTo(nil), b[:batch.HeaderSize]) {
				t.Fatal("header does not survive")
			}
			rest := b[batch.HeaderSize:h.Size()]
			for len(rest) > 0 {
				r, next, err := batch.ReadRecord(rest)
				if err != nil {
					break
				}
				if again, _, err := batch.ReadRecord(batch.AppendRecord(nil, r)); err != nil || !cmp.Equal(r, again) {
					t.Fatalf("record %+v comes back as %+v, %v", r, again, err)
				}
				rest = next
			}
		}
		_, _, _ = batch.ParseMarker(b)
		_ = batch.CheckCRC(b)
		_ = batch.Walk(b, func(batch.Header, []byte) error { return nil })
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
	})
}
