package storage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"switchback/storage"
	"switchback/storage/batch"
	"switchback/storage/batch/batchtest"
)

var codecs = map[string]struct {
	codec    int8
	compress func([]byte) []byte
}{
	"none":   {batch.CodecNone, nil},
	"gzip":   {batch.CodecGzip, gzipped},
	"snappy": {batch.CodecSnappy, func(b []byte) []byte { return snappy.Encode(nil, b) }},
	"xerial": {batch.CodecSnappy, xerial},
	"lz4":    {batch.CodecLZ4, lz4ed},
	"zstd":   {batch.CodecZstd, zstded},
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// xerial frames blocks as snappy-java does.
func xerial(b []byte) []byte {
	out := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}
	for len(b) > 0 {
		n := min(len(b), 100)
		block := snappy.Encode(nil, b[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
		b = b[n:]
	}
	return out
}

func lz4ed(b []byte) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	_ = w.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func TestEveryCodecIsReadAndLeftAlone(t *testing.T) {
	var records []batch.Record
	for i := range 200 {
		r := batch.Record{TimestampDelta: int64(i % 7), OffsetDelta: int32(i), Value: bytes.Repeat([]byte{byte(i)}, i)}
		r.Headers, r.NumHeaders = batch.AppendHeader(nil, "header", nil), 1
		records = append(records, r)
	}
	for name, c := range codecs {
		t.Run(name, func(t *testing.T) {
			l := leader(t)
			spec := batchtest.Spec{Attributes: int16(c.codec), Time: epochTime.UnixMilli(), Records: records, Compress: c.compress}
			raw := batchtest.Build(spec)
			want := bytes.Clone(raw)
			for n := range int64(2) { // the second from the pool
				if a := appendNow(t, l, bytes.Clone(raw)); a.Err != nil || a.Base != 200*n {
					t.Fatalf("%+v", a)
				}
			}
			batch.SetLeaderEpoch(want, 0)
			if got := readAll(t, l, 0); !bytes.Equal(got[:len(want)], want) {
				t.Fatal("the batch was changed")
			}
			found, ok, err := l.OffsetForTime(epochTime.UnixMilli() + 6)
			if want := (storage.Found{Offset: 6, Timestamp: epochTime.UnixMilli() + 6}); err != nil || !ok || found != want {
				t.Fatalf("OffsetForTime = %+v, %v, %v", found, ok, err)
			}

			// Null keys are seen inside of it.
			l.Configure(storage.Rules{Compacted: true})
			a := appendNow(t, l, bytes.Clone(raw))
			if !errors.Is(a.Err, storage.ErrInvalidRecord) || len(a.RecordErrors) != 100 || a.RecordErrors[99].Index != 99 {
				t.Fatalf("compacted: %+v", a)
			}
			l.Configure(storage.Rules{})

			// One record more or fewer than the header says.
			for _, n := range []int{199, 201} {
				more := append(append([]batch.Record(nil), records...), batch.Record{OffsetDelta: 200})
				payload := []byte{}
				for _, r := range more[:n] {
					payload = batch.AppendRecord(payload, r)
				}
				if c.compress != nil {
					payload = c.compress(payload)
				}
				if a := appendNow(t, l, batchtest.Seal(header(t, raw), payload)); !errors.Is(a.Err, storage.ErrInvalidRecord) {
					t.Fatalf("%d records in a batch of 200: %+v", n, a)
				}
			}

			// Damage of a compressed payload with a right checksum is refused or harmless.
			if c.compress == nil {
				return
			}
			random := rand.New(rand.NewPCG(1, 2))
			payload := raw[batch.HeaderSize:]
			for range 300 {
				bad := bytes.Clone(payload)
				bad[random.IntN(len(bad))] ^= byte(1 + random.IntN(255))
				bad = bad[:len(bad)-random.IntN(2)*random.IntN(len(bad))]
				a := appendNow(t, l, batchtest.Seal(header(t, raw), bad))
				if a.Err != nil && !errors.Is(a.Err, storage.ErrInvalidRecord) && !errors.Is(a.Err, storage.ErrTimestamp) {
					t.Fatalf("damaged payload: %+v", a)
				}
			}
		})
	}
}

func TestBatchesThatKafkaRefuses(t *testing.T) {
	now := epochTime.UnixMilli()
	spec := func(change func(*batchtest.Spec)) []byte {
		s := batchtest.Spec{Time: now, Records: batchtest.Values("a", "b")}
		change(&s)
		return batchtest.Build(s)
	}
	bend := func(change func(h *batch.Header)) []byte {
		raw := spec(func(*batchtest.Spec) {})
		h := header(t, raw)
		change(&h)
		return batchtest.Seal(h, raw[batch.HeaderSize:])
	}
	good := spec(func(*batchtest.Spec) {})
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1]++
	short := bytes.Clone(good)
	copy(short[8:], []byte{0, 0, 0, 5})
	old := bytes.Clone(good)
	old[16] = 1

	for name, c := range map[string]struct {
		raw   []byte
		rules storage.Rules
		want  error
	}{
		"nothing":               {nil, storage.Rules{}, storage.ErrInvalidRecord},
		"cut":                   {good[:len(good)-1], storage.Rules{}, storage.ErrInvalidRecord},
		"length below a header": {short, storage.Rules{}, storage.ErrCorrupt},
		"magic 1":               {old, storage.Rules{}, storage.ErrInvalidRecord},
		"two batches":           {append(bytes.Clone(good), good...), storage.Rules{}, storage.ErrInvalidRecord},
		"base offset":           {spec(func(s *batchtest.Spec) { s.Base = 7 }), storage.Rules{}, storage.ErrInvalidRecord},
		"too large":             {good, storage.Rules{MaxMessageBytes: int32(len(good)) - 1}, storage.ErrTooLarge},
		"checksum":              {flipped, storage.Rules{}, storage.ErrCorrupt},
		"empty":                 {spec(func(s *batchtest.Spec) { s.Records = nil }), storage.Rules{}, storage.ErrInvalidRecord},
		"count above delta":     {bend(func(h *batch.Header) { h.NumRecords = 3 }), storage.Rules{}, storage.ErrInvalidRecord},
		"count below delta":     {bend(func(h *batch.Header) { h.LastOffsetDelta = 5 }), storage.Rules{}, storage.ErrInvalidRecord},
		"negative delta":        {bend(func(h *batch.Header) { h.LastOffsetDelta = -1; h.NumRecords = 0 }), storage.Rules{}, storage.ErrInvalidRecord},
		"count beyond records":  {bend(func(h *batch.Header) { h.LastOffsetDelta, h.NumRecords = 1<<30-1, 1<<30 }), storage.Rules{}, storage.ErrInvalidRecord},
		"hole": {spec(func(s *batchtest.Spec) {
			s.Records[1].OffsetDelta = 2
		}), storage.Rules{}, storage.ErrInvalidRecord},
		"inner offsets": {spec(func(s *batchtest.Spec) {
			s.Records[0].OffsetDelta, s.Records[1].OffsetDelta = 1, 0
		}), storage.Rules{}, storage.ErrInvalidRecord},
		"control":           {batchtest.Marker(0, 0, 5, 0, batch.MarkerCommit, now), storage.Rules{}, storage.ErrInvalidRecord},
		"negative sequence": {spec(func(s *batchtest.Spec) { s.Producer, s.Sequence = 5, -1 }), storage.Rules{}, storage.ErrInvalidRecord},
		"codec 5":           {spec(func(s *batchtest.Spec) { s.Attributes = 5 }), storage.Rules{}, storage.ErrCodec},
		"null key":          {good, storage.Rules{Compacted: true}, storage.ErrInvalidRecord},
		"61 minutes ahead":  {spec(func(s *batchtest.Spec) { s.Time += 61 * 60_000 }), storage.Rules{}, storage.ErrTimestamp},
		"one record ahead": {spec(func(s *batchtest.Spec) {
			s.Records[1].TimestampDelta = 3_600_001
		}), storage.Rules{}, storage.ErrTimestamp},
		"too old":                      {spec(func(s *batchtest.Spec) { s.Time -= 1001 }), storage.Rules{TimestampBeforeMaxMs: 1000}, storage.ErrTimestamp},
		"log append time set":          {spec(func(s *batchtest.Spec) { s.Attributes = batch.LogAppendTimeFlag }), storage.Rules{LogAppendTime: true}, storage.ErrTimestamp},
		"record longer than its batch": {batchtest.Seal(header(t, good), []byte{0x7f, 0}), storage.Rules{}, storage.ErrInvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			l := leader(t)
			l.Configure(c.rules)
			a := appendNow(t, l, bytes.Clone(c.raw))
			if !errors.Is(a.Err, c.want) || a.Message == "" || a.Base != -1 {
				t.Fatalf("%+v, want %v", a, c.want)
			}
			if b := l.Bounds(); b.End != 0 {
				t.Fatalf("something was appended: %+v", b)
			}
		})
	}
}

func TestBatchesThatKafkaTakes(t *testing.T) {
	now := epochTime.UnixMilli()
	for name, c := range map[string]struct {
		spec  batchtest.Spec
		rules storage.Rules
	}{
		"59 minutes ahead":  {batchtest.Spec{Time: now + 59*60_000}, storage.Rules{}},
		"very old":          {batchtest.Spec{Time: 1}, storage.Rules{}},
		"without timestamp": {batchtest.Spec{Time: -1}, storage.Rules{TimestampBeforeMaxMs: 1000}},
		"exactly the size":  {batchtest.Spec{Time: now}, storage.Rules{MaxMessageBytes: 70}},
		"far ahead, 3.x":    {batchtest.Spec{Time: now + 1<<40}, storage.Rules{TimestampAfterMaxMs: 1 << 62}},
		"any time, LogAppendTime topic": {
			batchtest.Spec{Time: now + 1<<40}, storage.Rules{LogAppendTime: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := leader(t)
			l.Configure(c.rules)
			c.spec.Records = []batch.Record{{Value: []byte("a")}}
			if a := appendNow(t, l, batchtest.Build(c.spec)); a.Err != nil {
				t.Fatalf("%+v", a)
			}
		})
	}
}

func TestNormalisesWhatKafkaNormalises(t *testing.T) {
	now := epochTime.UnixMilli()
	raw := batchtest.Build(batchtest.Spec{Time: now - 50, Records: batchtest.Values("a", "b")})
	wrong := bytes.Clone(raw)
	batch.SetMaxTimestamp(wrong, now+5)
	batch.RewriteCRC(wrong)
	stamped := bytes.Clone(raw)
	batch.SetAttributes(stamped, batch.LogAppendTimeFlag)
	batch.SetMaxTimestamp(stamped, now+9)
	batch.RewriteCRC(stamped)

	for name, sent := range map[string][]byte{"right": raw, "wrong largest timestamp": wrong, "LogAppendTime bit": stamped} {
		l := leader(t)
		if a := appendNow(t, l, bytes.Clone(sent)); a.Err != nil || a.AppendTime != -1 {
			t.Fatalf("%s: %+v", name, a)
		}
		want := bytes.Clone(raw)
		batch.SetLeaderEpoch(want, 0)
		if !bytes.Equal(readAll(t, l, 0), want) {
			t.Fatalf("%s: stored as %+v", name, header(t, readAll(t, l, 0)))
		}
	}

	l := leader(t)
	l.Configure(storage.Rules{LogAppendTime: true})
	if a := appendNow(t, l, bytes.Clone(raw)); a.Err != nil || a.AppendTime != now {
		t.Fatalf("LogAppendTime topic: %+v", a)
	}
	stored := readAll(t, l, 0)
	if h := header(t, stored); !h.LogAppendTime() || h.MaxTimestamp != now || batch.CheckCRC(stored) != nil {
		t.Fatalf("LogAppendTime topic stored %+v", h)
	}
}
