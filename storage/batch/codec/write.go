package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"switchback/storage/batch"
)

// xerialBlock is the block of snappy-java's stream as Kafka opens it.
const xerialBlock = 32 << 10

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	lz4Writers  = sync.Pool{New: func() any { return newLZ4() }}
	zstdWriter  = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	})
)

// newLZ4 writes the frames of Kafka's Lz4BlockOutputStream: independent blocks of
// 64 KiB, no checksum but the header's.
func newLZ4() *lz4.Writer {
	w := lz4.NewWriter(nil)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
		panic(fmt.Sprintf("lz4 refuses its own options: %v", err))
	}
	return w
}

// Deflate appends plain, compressed at the codec's default level, to dst. The
// error is ErrUnknown; CodecNone is not known here.
func Deflate(dst []byte, codec int8, plain []byte) ([]byte, error) {
	switch codec {
	case batch.CodecGzip:
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		return through(w, dst, plain)
	case batch.CodecSnappy:
		return xerial(dst, plain), nil
	case batch.CodecLZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		return through(w, dst, plain)
	case batch.CodecZstd:
		w, err := zstdWriter()
		if err != nil {
			return dst, fmt.Errorf("compress with zstd: %w", err)
		}
		return w.EncodeAll(plain, dst), nil
	}
	return dst, fmt.Errorf("compress with codec %d: %w", codec, ErrUnknown)
}

func through(w interface {
	io.WriteCloser
	Reset(io.Writer)
}, dst, plain []byte,
) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	if _, err := w.Write(plain); err != nil {
		return dst, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("compress: %w", err)
	}
	w.Reset(nil)
	return out.Bytes(), nil
}

// xerial writes snappy-java's framing, which every client reads; a bare block,
// not every old one does.
func xerial(dst, plain []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1) // version, oldest compatible version
	for len(plain) > 0 {
		n := min(len(plain), xerialBlock)
		at := len(dst) + 4
		dst = append(dst, make([]byte, 4+snappy.MaxEncodedLen(n))...)
		block := snappy.Encode(dst[at:], plain[:n])
		binary.BigEndian.PutUint32(dst[at-4:], uint32(len(block)))
		dst = dst[:at+len(block)]
		plain = plain[n:]
	}
	return dst
}
