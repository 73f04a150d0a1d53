package storage

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"switchback/storage/batch"
)

// A decoder is a pooled decompressor of one codec. What it accepts is what a Java
// broker accepts, not more: a batch that legacy would refuse at replay must be
// refused before it is acknowledged.
type decoder struct {
	codec   int8
	records *bufio.Reader

	source bytes.Reader
	gzip   gzip.Reader
	zstd   *zstd.Decoder
	lz4    *lz4.Reader
	snappy snappyReader
}

var decoders [batch.CodecZstd + 1]sync.Pool

// maxWindow is zstd-jni's largest window: 2^27.
const maxWindow = 128 << 20

// decompress begins to read a compressed payload. Callers release the decoder.
func decompress(codec int8, payload []byte) (*decoder, error) {
	d, _ := decoders[codec].Get().(*decoder)
	if d == nil {
		d = &decoder{codec: codec, records: bufio.NewReaderSize(nil, 16<<10)}
	}
	d.source.Reset(payload)
	if err := d.start(payload); err != nil {
		d.release()
		return nil, fmt.Errorf("decompress: %w", asMalformed(err))
	}
	return d, nil
}

func (d *decoder) start(payload []byte) error {
	var r io.Reader
	switch d.codec {
	case batch.CodecGzip:
		if err := d.gzip.Reset(&d.source); err != nil {
			return err
		}
		r = &d.gzip
	case batch.CodecSnappy:
		if err := d.snappy.reset(payload); err != nil {
			return err
		}
		r = &d.snappy
	case batch.CodecLZ4:
		if err := checkLZ4(payload); err != nil {
			return err
		}
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(&d.source)
		r = d.lz4
	case batch.CodecZstd:
		if d.zstd == nil {
			var err error
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return err
			}
		}
		if err := d.zstd.Reset(&d.source); err != nil {
			return err
		}
		r = d.zstd
	default:
		return fmt.Errorf("codec %d: %w", d.codec, ErrCodec)
	}
	d.records.Reset(r)
	return nil
}

func (d *decoder) release() {
	d.source.Reset(nil)
	d.snappy.source = nil
	d.records.Reset(nil)
	decoders[d.codec].Put(d)
}

// checkLZ4 demands what Kafka's Lz4BlockInputStream demands of a frame's header:
// version 1, independent blocks, no reserved bit.
func checkLZ4(b []byte) error {
	if len(b) < 6 || binary.LittleEndian.Uint32(b) != 0x184d2204 {
		return fmt.Errorf("no lz4 frame: %w", errRecords)
	}
	flags, descriptor := b[4], b[5]
	if flags>>6 != 1 || flags&0x20 == 0 || flags&0x03 != 0 {
		return fmt.Errorf("lz4 frame with flags %02x: %w", flags, errRecords)
	}
	if descriptor&0x8f != 0 || descriptor>>4 < 4 {
		return fmt.Errorf("lz4 frame with block descriptor %02x: %w", descriptor, errRecords)
	}
	return nil
}
