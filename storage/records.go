package storage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"switchback/storage/batch"
	"switchback/storage/batch/codec"
)

// errRecords is wrapped by everything that makes a batch's records unreadable.
var errRecords = errors.New("records are malformed")

// recordFields is what is asked about a record; its bytes are skipped.
type recordFields struct {
	timestampDelta int64
	offsetDelta    int32
	hasKey         bool
}

// eachRecord calls fn for every record of a batch, decompressing as it goes: a
// record of any size costs no memory. It demands what Kafka's iterators demand:
// lengths that fit, as many records as the header says, nothing behind them. It
// returns fn's first error, or one that wraps errRecords.
func eachRecord(h batch.Header, raw []byte, fn func(i int32, r recordFields) error) error {
	payload := raw[batch.HeaderSize:h.Size()]
	if h.Codec() == batch.CodecNone {
		return eachPlain(h.NumRecords, payload, fn)
	}
	d, err := codec.Open(h.Codec(), payload)
	if err != nil {
		return asMalformed(err)
	}
	defer d.Release()
	for i := range h.NumRecords {
		r, err := readFields(d.Reader)
		if err != nil {
			return fmt.Errorf("read record %d of %d: %w", i, h.NumRecords, asMalformed(err))
		}
		if err := fn(i, r); err != nil {
			return err
		}
	}
	if _, err := d.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("bytes follow the last of %d records: %w", h.NumRecords, errRecords)
		}
		return asMalformed(err)
	}
	return nil
}

func eachPlain(count int32, payload []byte, fn func(i int32, r recordFields) error) error {
	for i := range count {
		r, rest, err := batch.ReadRecord(payload)
		if err != nil {
			return fmt.Errorf("read record %d of %d: %w", i, count, asMalformed(err))
		}
		if err := fn(i, recordFields{r.TimestampDelta, r.OffsetDelta, r.Key != nil}); err != nil {
			return err
		}
		payload = rest
	}
	if len(payload) != 0 {
		return fmt.Errorf("%d bytes follow the last of %d records: %w", len(payload), count, errRecords)
	}
	return nil
}

func asMalformed(err error) error {
	if errors.Is(err, errRecords) {
		return err
	}
	return fmt.Errorf("%w: %w", errRecords, err)
}

// readFields reads one record off a stream: what batch.ReadRecord does on bytes.
func readFields(r *bufio.Reader) (recordFields, error) {
	f := fieldReader{r: r, left: math.MaxInt32}
	size := f.varint()
	if f.err == nil && size < 0 {
		f.err = fmt.Errorf("record of %d bytes: %w", size, errRecords)
	}
	f.left = int64(size)
	f.byte() // attributes: none are defined
	var rec recordFields
	rec.timestampDelta = f.varlong()
	rec.offsetDelta = f.varint()
	rec.hasKey = f.skipBytes()
	f.skipBytes()
	headers := f.varint()
	if headers < 0 {
		f.fail("%d headers", headers)
	}
	for range headers {
		if f.err != nil {
			break
		}
		if !f.skipBytes() {
			f.fail("header without a key")
		}
		f.skipBytes()
	}
	if f.err == nil && f.left != 0 {
		f.fail("%d bytes behind the last header", f.left)
	}
	return rec, f.err
}

// A fieldReader reads the fields of a record of left more bytes; err sticks.
type fieldReader struct {
	r    *bufio.Reader
	left int64
	err  error
}

func (f *fieldReader) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("record with "+format+": %w", append(args, errRecords)...)
	}
}

func (f *fieldReader) byte() byte {
	if f.err != nil {
		return 0
	}
	if f.left <= 0 {
		f.fail("fields beyond its size")
		return 0
	}
	b, err := f.r.ReadByte()
	if err != nil {
		f.err = err
		return 0
	}
	f.left--
	return b
}

func (f *fieldReader) varlong() int64 {
	var u uint64
	for shift := 0; shift < 64; shift += 7 {
		b := f.byte()
		if shift == 63 && b > 1 {
			break
		}
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	f.fail("a number of more than 64 bits")
	return 0
}

func (f *fieldReader) varint() int32 {
	v := f.varlong()
	if v < math.MinInt32 || v > math.MaxInt32 {
		f.fail("a number of more than 32 bits")
		return 0
	}
	return int32(v)
}

// skipBytes passes over a length and that many bytes; false for null.
func (f *fieldReader) skipBytes() bool {
	n := f.varint()
	if f.err != nil || n < 0 {
		return false
	}
	if int64(n) > f.left {
		f.fail("a field of %d bytes in %d", n, f.left)
		return false
	}
	skipped, err := f.r.Discard(int(n))
	f.left -= int64(skipped)
	if err != nil {
		f.err = err
		return false
	}
	return true
}
