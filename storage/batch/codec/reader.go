package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"switchback/storage/batch"
)

// Errors; test with errors.Is.
var (
	ErrMalformed = errors.New("compressed records are malformed")
	ErrUnknown   = errors.New("codec is not known")
	ErrLimit     = errors.New("records would inflate beyond the limit")
)

// A Reader reads the records of one batch, decompressed. Its errors, but io.EOF,
// are the decompressors' own and all mean malformed bytes: nothing else can fail.
type Reader struct {
	*bufio.Reader
	codec int8

	source bytes.Reader
	gzip   gzip.Reader
	zstd   *zstd.Decoder
	lz4    *lz4.Reader
	snappy snappyReader
}

var readers [batch.CodecZstd + 1]sync.Pool

// maxWindow is zstd-jni's largest window: 2^27.
const maxWindow = 128 << 20

// Open begins to read a payload, which must stay as it is until Release. Errors:
// ErrMalformed, ErrUnknown; CodecNone is not known here.
func Open(codec int8, payload []byte) (*Reader, error) {
	if codec <= batch.CodecNone || codec > batch.CodecZstd {
		return nil, fmt.Errorf("decompress with codec %d: %w", codec, ErrUnknown)
	}
	r, _ := readers[codec].Get().(*Reader)
	if r == nil {
		r = &Reader{codec: codec, Reader: bufio.NewReaderSize(nil, 16<<10)}
	}
	r.source.Reset(payload)
	if err := r.start(payload); err != nil {
		r.Release()
		return nil, fmt.Errorf("decompress: %w", malformed(err))
	}
	return r, nil
}

func malformed(err error) error {
	if errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

func (r *Reader) start(payload []byte) error {
	var from io.Reader
	switch r.codec {
	case batch.CodecGzip:
		if err := r.gzip.Reset(&r.source); err != nil {
			return err
		}
		from = &r.gzip
	case batch.CodecSnappy:
		if err := r.snappy.reset(payload); err != nil {
			return err
		}
		from = &r.snappy
	case batch.CodecLZ4:
		if err := checkLZ4(payload); err != nil {
			return err
		}
		if r.lz4 == nil {
			r.lz4 = lz4.NewReader(nil)
		}
		r.lz4.Reset(&r.source)
		from = r.lz4
	default:
		if r.zstd == nil {
			var err error
			r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return err
			}
		}
		if err := r.zstd.Reset(&r.source); err != nil {
			return err
		}
		from = r.zstd
	}
	r.Reset(from)
	return nil
}

// Release gives the reader back; it must not be used any more.
func (r *Reader) Release() {
	r.source.Reset(nil)
	r.snappy.source = nil
	r.Reset(nil)
	readers[r.codec].Put(r)
}

// Inflate appends a payload's records, decompressed, to dst. More than limit
// bytes of them is ErrLimit; the other errors are Open's. dst comes back grown in
// any case, for its memory.
func Inflate(dst []byte, codec int8, payload []byte, limit int) ([]byte, error) {
	r, err := Open(codec, payload)
	if err != nil {
		return dst, err
	}
	defer r.Release()
	r.snappy.limit = limit // one block may claim more than all the others hold
	begin := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(bytes.MinRead, min(len(dst), limit-(len(dst)-begin)+1)))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-begin > limit:
			return dst, fmt.Errorf("inflate %d bytes to more than %d: %w", len(payload), limit, ErrLimit)
		case errors.Is(err, io.EOF):
			return dst, nil
		case errors.Is(err, ErrLimit):
			return dst, fmt.Errorf("inflate: %w", err)
		case err != nil:
			return dst, fmt.Errorf("inflate: %w", malformed(err))
		}
	}
}

// checkLZ4 demands what Kafka's Lz4BlockInputStream demands of a frame's header:
// version 1, independent blocks, no reserved bit.
func checkLZ4(b []byte) error {
	if len(b) < 6 || binary.LittleEndian.Uint32(b) != 0x184d2204 {
		return fmt.Errorf("no lz4 frame: %w", ErrMalformed)
	}
	flags, descriptor := b[4], b[5]
	if flags>>6 != 1 || flags&0x20 == 0 || flags&0x03 != 0 {
		return fmt.Errorf("lz4 frame with flags %02x: %w", flags, ErrMalformed)
	}
	if descriptor&0x8f != 0 || descriptor>>4 < 4 {
		return fmt.Errorf("lz4 frame with block descriptor %02x: %w", descriptor, ErrMalformed)
	}
	return nil
}
