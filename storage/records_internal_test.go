package storage

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/klauspost/compress/snappy"

	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

// Two parsers read records: on bytes and on a stream. They must agree about
// every input.
func FuzzRecordParsersAgree(f *testing.F) {
	r := batch.Record{TimestampDelta: -3, OffsetDelta: 4, Key: []byte("k"), Headers: batch.AppendHeader(nil, "h", nil), NumHeaders: 1}
	f.Add(batch.AppendRecord(nil, r))
	f.Add([]byte{0x0c, 0, 0, 0, 1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, rest, plainErr := batch.ReadRecord(b)
		source := bytes.NewReader(b)
		stream := bufio.NewReaderSize(source, 16)
		fields, streamErr := readFields(stream)
		if (plainErr == nil) != (streamErr == nil) {
			t.Fatalf("%x: on bytes %v, on a stream %v", b, plainErr, streamErr)
		}
		if plainErr != nil {
			return
		}
		want := recordFields{plain.TimestampDelta, plain.OffsetDelta, plain.Key != nil}
		if fields != want {
			t.Fatalf("%x: %+v, want %+v", b, fields, want)
		}
		if left := stream.Buffered() + source.Len(); left != len(rest) {
			t.Fatalf("%x: %d bytes left, want %d", b, left, len(rest))
		}
	})
}

// Whatever a client sends, admit answers and does not blow up.
func FuzzAdmit(f *testing.F) {
	f.Add(batchtest.Build(batchtest.Spec{Records: batchtest.Values("a", "b")}), int8(0))
	payload := batch.AppendRecord(nil, batch.Record{Value: []byte("value value value")})
	f.Add(batchtest.Seal(batch.Header{Magic: 2, NumRecords: 1}, snappy.Encode(nil, payload)), batch.CodecSnappy)
	f.Fuzz(func(t *testing.T, raw []byte, codec int8) {
		if _, err := batch.Parse(raw); err == nil {
			batch.SetBaseOffset(raw, 0)
			batch.SetAttributes(raw, int16(codec))
			batch.RewriteCRC(raw)
		}
		rules := Rules{Compacted: codec&8 != 0}.filled()
		h, bad := rules.admit(raw, 1_700_000_000_000)
		if bad != nil {
			if bad.err == nil || bad.message == "" {
				t.Fatalf("refusal without a reason: %+v", bad)
			}
			return
		}
		if err := batch.CheckCRC(raw); err != nil {
			t.Fatalf("admitted %+v: %v", h, err)
		}
		if again, bad := rules.admit(raw, 1_700_000_000_000); bad != nil || again != h {
			t.Fatalf("a normalised batch is normalised again: %+v, %+v, %+v", h, again, bad)
		}
	})
}

func FuzzDecodeHeads(f *testing.F) {
	f.Add(appendMeta(nil, 5, Meta{"id", 12, "User:alice"}))
	f.Add(offsetHead(5))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, m, err := decodeBatchHead(b)
		if err == nil && len(b) > 8 && !bytes.Equal(appendMeta(nil, at, m), b) {
			t.Fatalf("%x comes back as %x", b, appendMeta(nil, at, m))
		}
		_, _ = decodeOffset(b)
		_, _, _ = decodeEpoch(b)
	})
}
