package codec_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/storage/batch"
	"switchback/storage/batch/codec"
)

var codecs = map[string]int8{
	"gzip": batch.CodecGzip, "snappy": batch.CodecSnappy, "lz4": batch.CodecLZ4, "zstd": batch.CodecZstd,
}

// sizes lie around the blocks of the formats: 32 KiB, 64 KiB, 128 KiB.
var sizes = []int{0, 1, 100, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64<<10 + 1, 200_000}

// text is half noise, half repetition.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(r.Uint32()); i%64 >= 32 {
			b[i] = 'a'
		}
	}
	return b
}

// The peer is kgo's decompressor: what we write it reads.
func TestWhatIsDeflatedOthersRead(t *testing.T) {
	peer := kgo.DefaultDecompressor()
	for name, c := range codecs {
		for _, size := range sizes {
			plain := text(size)
			for range 2 { // the second time with used writers
				packed, err := codec.Deflate([]byte("before"), c, plain)
				if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
					t.Fatalf("%s, %d bytes: %x, %v", name, size, packed[:6], err)
				}
				packed = packed[len("before"):]
				if size >= 32<<10 && len(packed) >= size*3/4 {
					t.Errorf("%s: %d bytes become %d", name, size, len(packed))
				}
				got, err := codec.Inflate([]byte("before"), c, packed, size)
				if err != nil || !bytes.Equal(got, append([]byte("before"), plain...)) {
					t.Fatalf("%s, %d bytes: come back as %d, %v", name, size, len(got), err)
				}
				if size == 0 {
					continue // no batch is sent that is empty and compressed
				}
				theirs, err := peer.Decompress(packed, kgo.CompressionCodecType(c))
				if err != nil || !bytes.Equal(theirs, plain) {
					t.Fatalf("%s, %d bytes: kgo reads %d, %v", name, size, len(theirs), err)
				}
			}
		}
	}
}

func TestInflateKeepsItsLimit(t *testing.T) {
	plain := make([]byte, 1<<20)
	packed := map[string][]byte{"bare snappy": snappy.Encode(nil, plain)}
	for name, c := range codecs {
		var err error
		if packed[name], err = codec.Deflate(nil, c, plain); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range packed {
		c, ok := codecs[name]
		if !ok {
			c = batch.CodecSnappy
		}
		if got, err := codec.Inflate(nil, c, b, len(plain)); err != nil || len(got) != len(plain) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		_, err := codec.Inflate(nil, c, b, len(plain)-1)
		if !errors.Is(err, codec.ErrLimit) || errors.Is(err, codec.ErrMalformed) {
			t.Errorf("%s, one byte too much: %v", name, err)
		}
		got, err := codec.Inflate(nil, c, b, 1000)
		if !errors.Is(err, codec.ErrLimit) || cap(got) > 4<<10 {
			t.Errorf("%s, limit 1000: %v, %d bytes of memory", name, err, cap(got))
		}
	}
}

func TestWhatIsNoCodecOrNoPayloadIsRefused(t *testing.T) {
	for _, c := range []int8{-1, 0, 5, 7} {
		if _, err := codec.Open(c, nil); !errors.Is(err, codec.ErrUnknown) {
			t.Errorf("codec %d: %v", c, err)
		}
		if _, err := codec.Deflate(nil, c, nil); !errors.Is(err, codec.ErrUnknown) {
			t.Errorf("codec %d: %v", c, err)
		}
	}
	for name, c := range codecs {
		packed, err := codec.Deflate(nil, c, text(1000))
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]byte{packed[:len(packed)/2], []byte("no such thing at all")} {
			if _, err := codec.Inflate(nil, c, bad, 1<<20); !errors.Is(err, codec.ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, c := range codecs {
		packed, err := codec.Deflate(nil, c, text(300))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c, packed)
	}
	f.Fuzz(func(t *testing.T, c int8, payload []byte) {
		const limit = 1 << 16
		got, err := codec.Inflate(nil, c, payload, limit)
		if err != nil {
			if !errors.Is(err, codec.ErrLimit) && !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrUnknown) {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		r, err := codec.Open(c, payload)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("read %d bytes, inflated %d: %v", len(again), len(got), err)
		}
	})
}
