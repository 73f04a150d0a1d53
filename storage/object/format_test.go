package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchback/storage/object"
)

// one is a Store of one object, whatever the key.
type one struct {
	object.Store
	b     []byte
	reads int
}

func (o *one) Get(_ context.Context, key string, offset, n int64) ([]byte, error) {
	o.reads++
	if offset < 0 || n < 0 || n > int64(len(o.b))-offset {
		return nil, fmt.Errorf("get %s: %w", key, object.ErrTruncated)
	}
	return bytes.Clone(o.b[offset : offset+n]), nil
}

func (o *one) Tail(_ context.Context, _ string, n int64) ([]byte, int64, error) {
	o.reads++
	return bytes.Clone(o.b[max(0, int64(len(o.b))-n):]), int64(len(o.b)), nil
}

var (
	someID   = [16]byte{1, 15: 2}
	someTime = time.UnixMilli(1_700_000_000_000)
)

type input struct {
	part    object.Part
	batches []object.Batch
	raw     [][]byte
}

func build(t interface{ Fatal(...any) }, inputs []input, sections map[string][]byte) *one {
	var b bytes.Buffer
	w := object.NewWriter(&b, someID, someTime)
	for _, in := range inputs {
		w.Begin(in.part)
		for n, x := range in.batches {
			if err := w.Append(in.raw[n], x); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, s := range sections {
		if err := w.Section(name, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return &one{b: b.Bytes()}
}

// TestRoundTrip: what was written is read, block by block, whatever it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var inputs []input
		for n := range rapid.IntRange(0, 4).Draw(t, "partitions") {
			in := input{part: object.Part{Topic: [16]byte{byte(n)}, Index: rapid.Int32Range(0, 1<<31-1).Draw(t, "index")}}
			next := rapid.SampledFrom([]int64{0, 1 << 31, 1 << 62}).Draw(t, "base")
			for range rapid.IntRange(0, 5).Draw(t, "batches") {
				x := object.Batch{Base: next + rapid.SampledFrom([]int64{0, 0, 1, 1 << 33}).Draw(t, "gap")}
				x.Last = x.Base + rapid.Int64Range(0, 1<<31-1).Draw(t, "width")
				x.MaxTimestamp, x.Records = rapid.Int64Range(-1, 1<<41).Draw(t, "time"), rapid.Int32Range(0, 1000).Draw(t, "records")
				size := rapid.SampledFrom([]int{1, 61, 1000, 300 << 10, 600 << 10}).Draw(t, "size")
				in.batches, in.raw = append(in.batches, x), append(in.raw, bytes.Repeat([]byte{byte(size), byte(next)}, size)[:size])
				next = x.Last + 1
			}
			inputs = append(inputs, in)
		}
		sections := map[string][]byte{"a": nil, "b": []byte("opaque")}
		o := build(t, inputs, sections)
		x, err := object.ReadIndex(context.Background(), o, "k")
		if err != nil {
			t.Fatal(err)
		}
		if x.ID != someID || !x.Created.Equal(someTime) || x.Size != int64(len(o.b)) || o.reads != 1 || len(x.Parts()) != len(inputs) {
			t.Fatalf("index %+v after %d reads", x, o.reads)
		}
		for _, in := range inputs {
			same(t, o, x, in)
		}
		for name, want := range sections {
			if got, err := x.ReadSection(context.Background(), o, "k", name); err != nil || !bytes.Equal(got, want) || got == nil {
				t.Fatalf("section %s is %q, %v", name, got, err)
			}
		}
		if got, err := x.ReadSection(context.Background(), o, "k", "c"); got != nil || err != nil {
			t.Fatalf("section c is %q, %v", got, err)
		}
	})
}

func same(t *rapid.T, o *one, x *object.Index, in input) {
	blocks := x.Blocks(in.part)
	var got []byte
	if len(blocks) > 0 { // of one partition they stand behind each other
		all, err := object.ReadBlocks(context.Background(), o, "k", blocks)
		if err != nil {
			t.Fatal(err)
		}
		got = bytes.Join(all, nil)
	}
	if !bytes.Equal(got, bytes.Join(in.raw, nil)) {
		t.Fatalf("partition %v has other bytes", in.part)
	}
	n := 0
	for _, b := range blocks {
		first, records, latest := in.batches[n], int64(0), int64(-1)
		for size := int32(0); size < b.Length; n++ {
			size += int32(len(in.raw[n]))
			records += int64(in.batches[n].Records)
			latest = max(latest, in.batches[n].MaxTimestamp)
		}
		if b.Base != first.Base || b.Last != in.batches[n-1].Last || b.Records != records || b.MaxTimestamp != latest {
			t.Fatalf("block %+v, want from %+v to %+v, %d records, time %d", b, first, in.batches[n-1], records, latest)
		}
		if b.Length > 512<<10 && b.Base == first.Base && b.Last != first.Last {
			t.Fatalf("block of %d bytes of more than one batch", b.Length)
		}
	}
}

func small(t *testing.T) *one {
	return build(t, []input{
		{object.Part{Topic: [16]byte{1}}, []object.Batch{{Base: 3, Last: 4, Records: 2}, {Base: 9, Last: 9}}, [][]byte{[]byte("first"), []byte("second")}},
		{object.Part{Topic: [16]byte{1}, Index: 1}, []object.Batch{{Base: 0, Last: 0}}, [][]byte{[]byte("third")}},
	}, map[string][]byte{"s": []byte("section")})
}

// readAll reads everything that the index names.
func readAll(o *one) error {
	ctx := context.Background()
	x, err := object.ReadIndex(ctx, o, "k")
	if err != nil {
		return err
	}
	for _, p := range x.Parts() {
		for _, b := range x.Blocks(p) {
			if _, err := object.ReadBlocks(ctx, o, "k", []object.Block{b}); err != nil {
				return err
			}
		}
	}
	_, err = x.ReadSection(ctx, o, "k", "s")
	return err
}

// TestEveryBitIsChecked flips each and cuts at each byte. The header only repeats
// what the footer says.
func TestEveryBitIsChecked(t *testing.T) {
	o := small(t)
	if err := readAll(o); err != nil {
		t.Fatal(err)
	}
	whole := o.b
	for n := range whole {
		o.b = whole[:n]
		if err := readAll(o); err == nil {
			t.Fatalf("cut after %d of %d bytes", n, len(whole))
		}
		if n < 32 {
			continue
		}
		for bit := range 8 {
			o.b = bytes.Clone(whole)
			o.b[n] ^= 1 << bit
			err := readAll(o)
			var corrupt *object.CorruptError
			if !errors.As(err, &corrupt) && !errors.Is(err, object.ErrTruncated) && !errors.Is(err, object.ErrNewer) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, n, err)
			}
		}
	}
}

func TestALargeIndexTakesTwoReads(t *testing.T) {
	var inputs []input
	for n := range 5000 {
		inputs = append(inputs, input{object.Part{Topic: [16]byte{1}, Index: int32(n)}, []object.Batch{{Base: 1, Last: 1}}, [][]byte{{1}}})
	}
	o := build(t, inputs, nil)
	x, err := object.ReadIndex(t.Context(), o, "k")
	if err != nil || o.reads != 2 || len(x.Parts()) != 5000 {
		t.Fatalf("%d reads, %v", o.reads, err)
	}
}

func TestWriterRefuses(t *testing.T) {
	w := object.NewWriter(io.Discard, someID, someTime)
	if w.Append([]byte{1}, object.Batch{}) == nil {
		t.Error("a batch of no partition")
	}
	w.Begin(object.Part{})
	if err := w.Append([]byte{1}, object.Batch{Base: 5, Last: 6}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []object.Batch{{Base: 6, Last: 7}, {Base: 4, Last: 4}, {Base: 9, Last: 8}} {
		if w.Append([]byte{1}, b) == nil {
			t.Errorf("batch %+v behind offset 6", b)
		}
	}
	if w.Append(nil, object.Batch{Base: 7, Last: 7}) == nil {
		t.Error("a batch of no bytes")
	}
	broken := errors.New("broken")
	w = object.NewWriter(failing{broken}, someID, someTime)
	if err := w.Finish(); !errors.Is(err, broken) {
		t.Errorf("Finish = %v", err)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestKeys(t *testing.T) {
	for range 100 {
		id, err := object.NewID(someTime)
		if err != nil {
			t.Fatal(err)
		}
		later, _ := object.NewID(someTime.Add(time.Millisecond))
		if got, err := object.ParseKey(object.Key(id)); err != nil || got != id || object.Key(id) >= object.Key(later) {
			t.Fatalf("key %s of %x becomes %x, %v; a later one is %s", object.Key(id), id, got, err, object.Key(later))
		}
	}
	for _, key := range []string{"", "data/", "data/00", "other/" + object.Key(someID)[5:], object.Key(someID) + "0"} {
		if _, err := object.ParseKey(key); err == nil {
			t.Errorf("key %q is taken", key)
		}
	}
}

func FuzzIndex(f *testing.F) {
	o := small(&testing.T{})
	f.Add(o.b)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = readAll(&one{b: b})
		_ = readAll(&one{b: object.Reseal(b)}) // else only checksums are tried
	})
}
