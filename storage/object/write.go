package object

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"
)

const (
	magic      = "SBOBJ\x00\x00\x01"
	headerSize = 32
	footerSize = 52

	// blockBytes is what a block grows to before the next batch begins another. A
	// larger batch is a block of its own.
	blockBytes = 512 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Part is a partition.
type Part struct {
	Topic [16]byte
	Index int32
}

// A Batch is what the index wants to know about a batch.
type Batch struct {
	Base, Last   int64 // offsets
	MaxTimestamp int64 // ms, -1 none
	Records      int32
}

// A Block is whole batches that stand behind each other in an object.
type Block struct {
	Base, Last   int64 // offsets
	MaxTimestamp int64 // ms, -1 none
	Records      int64
	Pos          int64 // in the object
	Length       int32 // bytes
	CRC          uint32
}

// A section is opaque bytes under a name.
type section struct {
	name   string
	pos    int64
	length int64
	crc    uint32
}

// NewID draws an id. Ids rise with time, to the millisecond, so that keys are in
// about the order in which objects were written (UUIDv7).
func NewID(now time.Time) (id [16]byte, err error) {
	if _, err := rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("draw object id: %w", err)
	}
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id, nil
}

// A Writer writes one object. Its methods are called in this order: for each
// partition Begin, Append in the order of offsets, and Section at any time, then
// Finish. The first error sticks.
type Writer struct {
	w        io.Writer
	header   []byte
	pos      int64
	parts    []Part
	blocks   [][]Block // of each of parts
	sections []section
	open     []byte // batches of the block that grows
	block    Block
	err      error
}

// NewWriter begins an object.
func NewWriter(w io.Writer, id [16]byte, now time.Time) *Writer {
	h := append([]byte(magic), id[:]...)
	h = binary.LittleEndian.AppendUint64(h, uint64(now.UnixMilli()))
	o := &Writer{w: w, header: h}
	o.write(h)
	return o
}

var errOrder = errors.New("object is written out of order")

func (o *Writer) write(b []byte) {
	if o.err != nil {
		return
	}
	if _, err := o.w.Write(b); err != nil {
		o.err = err
	}
	o.pos += int64(len(b))
}

// Begin says whose batches follow. Partitions come once.
func (o *Writer) Begin(p Part) {
	o.cut()
	o.parts = append(o.parts, p)
	o.blocks = append(o.blocks, nil)
}

// Append adds a batch of the partition.
func (o *Writer) Append(raw []byte, b Batch) error {
	if len(o.parts) == 0 || b.Last < b.Base || o.behind() >= b.Base || len(raw) == 0 || len(raw) > math.MaxInt32 {
		return fmt.Errorf("batch of offsets %d to %d, %d bytes: %w", b.Base, b.Last, len(raw), errOrder)
	}
	if len(o.open) > 0 && len(o.open)+len(raw) > blockBytes {
		o.cut()
	}
	if len(o.open) == 0 {
		o.block = Block{Base: b.Base, MaxTimestamp: b.MaxTimestamp, Pos: o.pos}
	}
	o.block.Last, o.block.Records = b.Last, o.block.Records+int64(b.Records)
	o.block.MaxTimestamp = max(o.block.MaxTimestamp, b.MaxTimestamp)
	o.open = append(o.open, raw...)
	return o.err
}

// behind is the last offset so far of the partition.
func (o *Writer) behind() int64 {
	if len(o.open) > 0 {
		return o.block.Last
	}
	if all := o.blocks[len(o.blocks)-1]; len(all) > 0 {
		return all[len(all)-1].Last
	}
	return -1
}

// cut ends the block that grows.
func (o *Writer) cut() {
	if len(o.open) == 0 {
		return
	}
	o.block.Length, o.block.CRC = int32(len(o.open)), crc32.Checksum(o.open, castagnoli)
	o.blocks[len(o.blocks)-1] = append(o.blocks[len(o.blocks)-1], o.block)
	o.write(o.open)
	o.open = o.open[:0]
}

// Section adds opaque bytes under a name that comes once.
func (o *Writer) Section(name string, b []byte) error {
	o.cut()
	o.sections = append(o.sections, section{name, o.pos, int64(len(b)), crc32.Checksum(b, castagnoli)})
	o.write(b)
	return o.err
}

// Finish writes the index and the footer.
func (o *Writer) Finish() error {
	o.cut()
	index := encodeIndex(o.parts, o.blocks, o.sections)
	if len(index) > math.MaxUint32 {
		return fmt.Errorf("index of %d bytes: %w", len(index), errOrder)
	}
	le := binary.LittleEndian
	footer := le.AppendUint64(nil, uint64(o.pos))
	footer = le.AppendUint32(footer, uint32(len(index)))
	footer = le.AppendUint32(footer, crc32.Checksum(index, castagnoli))
	footer = append(append(footer, o.header[8:]...), magic...)
	o.write(index)
	o.write(le.AppendUint32(footer, crc32.Checksum(footer, castagnoli)))
	return o.err
}

func encodeIndex(parts []Part, blocks [][]Block, sections []section) []byte {
	b := binary.AppendUvarint(nil, uint64(len(parts)))
	for n, p := range parts {
		b = append(b, p.Topic[:]...)
		b = binary.AppendVarint(b, int64(p.Index))
		b = binary.AppendUvarint(b, uint64(len(blocks[n])))
		for _, x := range blocks[n] {
			for _, v := range []int64{x.Base, x.MaxTimestamp, x.Records, x.Pos, int64(x.Length)} {
				b = binary.AppendVarint(b, v)
			}
			b = binary.AppendUvarint(b, uint64(x.Last-x.Base))
			b = binary.LittleEndian.AppendUint32(b, x.CRC)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(sections)))
	for _, s := range sections {
		b = binary.AppendUvarint(b, uint64(len(s.name)))
		b = append(b, s.name...)
		b = binary.AppendVarint(b, s.pos)
		b = binary.AppendVarint(b, s.length)
		b = binary.LittleEndian.AppendUint32(b, s.crc)
	}
	return b
}
