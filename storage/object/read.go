package object

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// tailBytes is what an object is opened with: the index of most fits.
const tailBytes = 64 << 10

// An Index says what is in one object. It is not changed once read.
type Index struct {
	ID       [16]byte
	Created  time.Time
	Size     int64 // bytes, of the whole object
	parts    map[Part][]Block
	order    []Part
	sections map[string]section
	bytes    int
}

// Blocks are those of one partition, in the order of their offsets.
func (x *Index) Blocks(p Part) []Block { return x.parts[p] }

// Parts are the partitions in the order in which they were written.
func (x *Index) Parts() []Part { return x.order }

// Memory is about how many bytes the index takes in memory.
func (x *Index) Memory() int { return 3*x.bytes + 256 }

// ReadIndex opens an object with one read of its end, two if the index is large.
// Errors: ErrNotFound, ErrTruncated, ErrNewer, CorruptError.
func ReadIndex(ctx context.Context, s Store, key string) (*Index, error) {
	tail, size, err := s.Tail(ctx, key, tailBytes)
	if err != nil {
		return nil, err
	}
	if len(tail) < footerSize || size < headerSize+footerSize {
		return nil, fmt.Errorf("open object %s of %d bytes: %w", key, size, ErrTruncated)
	}
	footer := tail[len(tail)-footerSize:]
	at, n, sum, err := checkFooter(footer, key, size)
	if err != nil {
		return nil, err
	}
	tailAt := size - int64(len(tail))
	var b []byte
	if at >= tailAt {
		b = tail[at-tailAt : at-tailAt+n]
	} else if b, err = s.Get(ctx, key, at, n); err != nil {
		return nil, err
	}
	if got := crc32.Checksum(b, castagnoli); got != sum {
		return nil, &CorruptError{key, at, fmt.Sprintf("index checksum is %08x, want %08x", got, sum)}
	}
	x, err := decodeIndex(b, at)
	if err != nil {
		return nil, &CorruptError{key, at, err.Error()}
	}
	x.ID = [16]byte(footer[16:])
	x.Created = time.UnixMilli(int64(binary.LittleEndian.Uint64(footer[32:])))
	x.Size, x.bytes = size, len(b)
	return x, nil
}

// checkFooter says where the index is and what its checksum is.
func checkFooter(footer []byte, key string, size int64) (at, n int64, sum uint32, err error) {
	le := binary.LittleEndian
	where := size - footerSize
	if string(footer[40:47]) != magic[:7] {
		return 0, 0, 0, &CorruptError{key, where, "no footer"}
	}
	if got, want := crc32.Checksum(footer[:48], castagnoli), le.Uint32(footer[48:]); got != want {
		return 0, 0, 0, &CorruptError{key, where, fmt.Sprintf("footer checksum is %08x, want %08x", got, want)}
	}
	if footer[47] != magic[7] {
		return 0, 0, 0, fmt.Errorf("object %s has format %d, this version reads %d: %w", key, footer[47], magic[7], ErrNewer)
	}
	at, n = int64(le.Uint64(footer)), int64(le.Uint32(footer[8:]))
	if at < headerSize || at+n != where {
		return 0, 0, 0, &CorruptError{key, where, fmt.Sprintf("index of %d bytes at %d in %d bytes", n, at, size)}
	}
	return at, n, le.Uint32(footer[12:]), nil
}

var errIndex = errors.New("index is malformed")

// An indexReader reads fields; the first error sticks.
type indexReader struct {
	b   []byte
	end int64 // of what blocks and sections may cover
	err error
}

func (r *indexReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, errIndex)...)
	}
	r.b = nil
}

func (r *indexReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is cut short")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *indexReader) int() int64 {
	u := r.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *indexReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%d bytes where %d are left", n, len(r.b))
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *indexReader) crc() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// count is how many of something follow that take at least size bytes each.
func (r *indexReader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail("%d entries in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

func decodeIndex(b []byte, end int64) (*Index, error) {
	r := &indexReader{b: b, end: end}
	x := &Index{parts: make(map[Part][]Block), sections: make(map[string]section)}
	for range r.count(18) {
		var p Part
		copy(p.Topic[:], r.take(16))
		index := r.int()
		if p.Index = int32(index); int64(p.Index) != index {
			r.fail("partition %d", index)
		}
		blocks := make([]Block, 0, min(r.peek(), 1<<20))
		for range r.count(10) {
			blocks = append(blocks, r.block(blocks))
		}
		if _, twice := x.parts[p]; twice {
			r.fail("partition %x/%d comes twice", p.Topic, p.Index)
		}
		x.parts[p], x.order = blocks, append(x.order, p)
	}
	for range r.count(7) {
		s := section{name: string(r.take(r.uint())), pos: r.int(), length: r.int(), crc: r.crc()}
		if s.pos < headerSize || s.length < 0 || s.length > end-s.pos {
			r.fail("section %q of %d bytes at %d", s.name, s.length, s.pos)
		}
		if _, twice := x.sections[s.name]; twice {
			r.fail("section %q comes twice", s.name)
		}
		x.sections[s.name] = s
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes are left over", len(r.b))
	}
	return x, r.err
}

// peek is how many entries follow, as far as bytes allow.
func (r *indexReader) peek() int {
	n, _ := binary.Uvarint(r.b)
	return int(min(n, uint64(len(r.b)/10)))
}

// block reads one that follows those before it.
func (r *indexReader) block(before []Block) Block {
	x := Block{Base: r.int(), MaxTimestamp: r.int(), Records: r.int(), Pos: r.int()}
	length := r.int()
	width := r.uint()
	x.CRC = r.crc()
	if x.Base < 0 || width > math.MaxInt64 || int64(width) > math.MaxInt64-1-x.Base || length <= 0 || length > math.MaxInt32 ||
		x.Pos < headerSize || length > r.end-x.Pos {
		r.fail("block of %d bytes at %d with offsets from %d on", length, x.Pos, x.Base)
		return x
	}
	x.Last, x.Length = x.Base+int64(width), int32(length)
	if n := len(before); n > 0 && (before[n-1].Last >= x.Base || before[n-1].Pos+int64(before[n-1].Length) > x.Pos) {
		r.fail("block at %d does not follow the one before", x.Pos)
	}
	return x
}

// ReadBlocks reads blocks that stand behind each other with one request, and
// checks them. Each is memory of its own. Errors: ErrNotFound, ErrTruncated,
// CorruptError.
func ReadBlocks(ctx context.Context, s Store, key string, blocks []Block) ([][]byte, error) {
	first, last := blocks[0], blocks[len(blocks)-1]
	b, err := s.Get(ctx, key, first.Pos, last.Pos+int64(last.Length)-first.Pos)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, len(blocks))
	for n, x := range blocks {
		at := x.Pos - first.Pos
		one := b[at : at+int64(x.Length)]
		if got := crc32.Checksum(one, castagnoli); got != x.CRC {
			return nil, &CorruptError{key, x.Pos, fmt.Sprintf("block checksum is %08x, want %08x", got, x.CRC)}
		}
		if all[n] = one; len(blocks) > 1 {
			all[n] = bytes.Clone(one)
		}
	}
	return all, nil
}

// Section is the place of a section, ok false when the object has none of that
// name.
func (x *Index) Section(name string) (pos, length int64, ok bool) {
	s, ok := x.sections[name]
	return s.pos, s.length, ok
}

// ReadSection reads and checks a section; nil when the object has none of that
// name. Errors: ErrNotFound, ErrTruncated, CorruptError.
func (x *Index) ReadSection(ctx context.Context, s Store, key, name string) ([]byte, error) {
	where, ok := x.sections[name]
	if !ok {
		return nil, nil
	}
	b, err := s.Get(ctx, key, where.pos, where.length)
	if err != nil {
		return nil, err
	}
	if got := crc32.Checksum(b, castagnoli); got != where.crc {
		return nil, &CorruptError{key, where.pos, fmt.Sprintf("checksum of section %s is %08x, want %08x", name, got, where.crc)}
	}
	return b, nil
}
