package storage

import (
	"sort"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/wal"
)

// An item is one batch of a log: where it stands and what is asked about it often.
type item struct {
	base         int64
	maxTimestamp int64
	at           wal.Location // of the record's head; unknown until settled
	head         uint32       // bytes of head before the batch
	size         int32        // of the batch
	delta        int32        // last offset minus base
	crc          uint32
}

func newItem(h batch.Header, head int) item {
	return item{
		base: h.BaseOffset, maxTimestamp: h.MaxTimestamp, head: uint32(head),
		size: int32(h.Size()), delta: h.LastOffsetDelta, crc: h.CRC,
	}
}

func (i item) last() int64 { return i.base + int64(i.delta) }

func (i item) entry() offsets.Entry {
	return offsets.Entry{Base: i.base, Last: i.last(), Length: i.size - batch.Overhead, CRC: i.crc}
}

// is says whether h is the header of this very batch.
func (i item) is(h batch.Header) bool {
	return i.base == h.BaseOffset && i.delta == h.LastOffsetDelta && int(i.size) == h.Size() && i.crc == h.CRC
}

const blockItems = 512

// A block is a stretch of items with what makes long searches short.
type block struct {
	items        []item         // blockItems of them, but in the last block
	before       offsets.Digest // of everything before the block
	maxTimestamp int64
	bytes        int64 // of the batches
}

// An index is the batches of a log that the WAL holds, in the order of their
// offsets, gaps allowed. Items are numbered from 0 on when the log is created or
// opened and keep their number; those at the front are let go when the batches
// stand in objects and the WAL has dropped them. It grows in blocks so that no
// append copies what is there. 40 bytes a batch.
type index struct {
	blocks  []*block
	gone    int   // blocks that were let go
	low     int   // number of the first item that is here; all of those before are flushed
	from    int64 // offsets below it belong to items before low
	flushed int   // how many stand in objects
	settled int   // how many are durable
	count   int   // Invariant: low <= flushed <= settled <= count
	// settledMax is the largest timestamp of what is durable, ms, -1 none.
	settledMax int64
	digest     offsets.Digest
}

// newIndex is that of a log whose batches so far, of which digest stands and
// whose largest timestamp is largest, all stand in objects.
func newIndex(digest offsets.Digest, largest int64) index {
	return index{from: digest.Offset, digest: digest, settledMax: largest}
}

func (x *index) append(i item) {
	if x.count%blockItems == 0 {
		x.blocks = append(x.blocks, &block{before: x.digest, maxTimestamp: batch.NoTimestamp})
	}
	b := x.blocks[len(x.blocks)-1]
	b.items = append(b.items, i)
	b.maxTimestamp = max(b.maxTimestamp, i.maxTimestamp)
	b.bytes += int64(i.size)
	x.digest = x.digest.Add(i.entry())
	x.count++
}

// settle says where the oldest item that is not durable yet stands.
func (x *index) settle(at wal.Location) item {
	i := x.at(x.settled)
	i.at = at
	x.settled++
	x.settledMax = max(x.settledMax, i.maxTimestamp)
	return *i
}

func (x *index) at(n int) *item { return &x.block(n).items[n%blockItems] }

func (x *index) block(n int) *block { return x.blocks[n/blockItems-x.gone] }

// find is the number of the first item that ends at or behind offset; count if
// none. For an offset below from that is the first item that is here.
func (x *index) find(offset int64) int {
	if offset < x.from {
		return x.low
	}
	b := sort.Search(len(x.blocks), func(n int) bool {
		items := x.blocks[n].items
		return items[len(items)-1].last() >= offset
	})
	if b == len(x.blocks) {
		return x.count
	}
	items := x.blocks[b].items
	return (x.gone+b)*blockItems + sort.Search(len(items), func(n int) bool { return items[n].last() >= offset })
}

// digestAt is the digest of everything below offset; ok is false inside of a batch,
// above what is durable and below from.
func (x *index) digestAt(offset int64) (offsets.Digest, bool) {
	n := x.find(offset)
	if offset < x.from || n < x.count && x.at(n).base < offset {
		return offsets.Digest{}, false
	}
	if n > x.settled {
		return offsets.Digest{}, false
	}
	return x.digestBefore(n), true
}

// digestBefore is the digest of everything before item n.
func (x *index) digestBefore(n int) offsets.Digest {
	if n == x.count {
		return x.digest
	}
	b := x.block(n)
	d := b.before
	for _, i := range b.items[:n%blockItems] {
		d = d.Add(i.entry())
	}
	return d
}

// firstSince is the number of the first durable item from number n on whose
// largest timestamp is at least ts; settled if none.
func (x *index) firstSince(n int, ts int64) int {
	for n < x.settled {
		b := x.block(n)
		if b.maxTimestamp < ts {
			n = (n/blockItems + 1) * blockItems
			continue
		}
		if x.at(n).maxTimestamp >= ts {
			return n
		}
		n++
	}
	return x.settled
}

// largestSince is the largest timestamp of durable items from number n on, -1 none.
func (x *index) largestSince(n int) int64 {
	largest := batch.NoTimestamp
	for n < x.settled {
		b := x.block(n)
		if n%blockItems == 0 && n+len(b.items) <= x.settled {
			largest = max(largest, b.maxTimestamp)
			n += len(b.items)
			continue
		}
		largest = max(largest, x.at(n).maxTimestamp)
		n++
	}
	return largest
}

// bytesFrom is the size of all items from number n on.
func (x *index) bytesFrom(n int) int64 {
	size := int64(0)
	for n < x.count {
		b := x.block(n)
		if n%blockItems == 0 {
			size += b.bytes
			n += len(b.items)
			continue
		}
		size += int64(x.at(n).size)
		n++
	}
	return size
}

// letGo forgets flushed items whose WAL segments are gone: those below oldest.
func (x *index) letGo(oldest uint32) {
	for x.low < x.flushed && x.at(x.low).at.Segment < oldest {
		x.from = x.at(x.low).last() + 1
		x.low++
	}
	for len(x.blocks) > 0 && x.low >= (x.gone+1)*blockItems {
		x.blocks[0] = nil
		x.blocks = x.blocks[1:]
		x.gone++
	}
}

// unflushed are copies of the items that stand in no object yet, up to number to.
func (x *index) unflushed(to int) []item {
	items := make([]item, 0, to-x.flushed)
	for n := x.flushed; n < to; n++ {
		items = append(items, *x.at(n))
	}
	return items
}

// largest is the largest timestamp of all items, durable or not, and of what was
// before them.
func (x *index) largest() int64 {
	largest := x.settledMax
	for n := x.settled; n < x.count; n++ {
		largest = max(largest, x.at(n).maxTimestamp)
	}
	return largest
}
