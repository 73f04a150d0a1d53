package storage

import (
	"sort"

	"switchback/offsets"
)

// Notes are what an object keeps about one log's stretch beside the batches: the
// digest at some of them, so that a digest in between costs one block, and what
// was told with batches that legacy does not have yet.
type notes struct {
	checkpoints []checkpoint // by base
	metas       []Meta       // each once
	told        []told       // by base
}

// A checkpoint is the digest of everything below a batch.
type checkpoint struct {
	base   int64
	before offsets.Digest
}

// A told is what Append was told with a batch.
type told struct {
	base int64
	at   int64 // ms
	meta int   // index of metas
}

const notesVersion = 1

// checkpointEvery is how many bytes of batches lie between two checkpoints.
const checkpointEvery = 512 << 10

func (n *notes) empty() bool { return len(n.checkpoints) == 0 && len(n.told) == 0 }

func (n *notes) tell(base, at int64, m Meta) {
	t := told{base: base, at: at, meta: len(n.metas)}
	for i := len(n.metas) - 1; i >= 0; i-- { // few clients write to one partition
		if n.metas[i] == m {
			t.meta = i
			break
		}
	}
	if t.meta == len(n.metas) {
		n.metas = append(n.metas, m)
	}
	n.told = append(n.told, t)
}

// about finds what was told with the batch at base.
func (n *notes) about(base int64) (at int64, m Meta, ok bool) {
	i := sort.Search(len(n.told), func(i int) bool { return n.told[i].base >= base })
	if i == len(n.told) || n.told[i].base != base {
		return 0, Meta{}, false
	}
	return n.told[i].at, n.metas[n.told[i].meta], true
}

// checkpoint is the last one at or below offset.
func (n *notes) checkpoint(offset int64) (checkpoint, bool) {
	i := sort.Search(len(n.checkpoints), func(i int) bool { return n.checkpoints[i].base > offset })
	if i == 0 {
		return checkpoint{}, false
	}
	return n.checkpoints[i-1], true
}

func (n *notes) encode() []byte {
	b := []byte{notesVersion}
	b = appendUint(b, uint64(len(n.checkpoints)))
	for _, c := range n.checkpoints {
		b = appendDigest(appendInt(b, c.base), c.before)
	}
	b = appendUint(b, uint64(len(n.metas)))
	for _, m := range n.metas {
		b = appendText(appendText(appendInt(b, int64(m.ProduceVersion)), m.TransactionalID), m.Principal)
	}
	b = appendUint(b, uint64(len(n.told)))
	var last told
	for _, t := range n.told { // mostly small differences
		b = appendUint(appendInt(appendInt(b, t.base-last.base), t.at-last.at), uint64(t.meta))
		last = t
	}
	return seal(b)
}

func decodeNotes(b []byte) (*notes, error) {
	f, err := unseal(b, notesVersion)
	if err != nil {
		return nil, err
	}
	n := &notes{}
	for range f.count(19) {
		n.checkpoints = append(n.checkpoints, checkpoint{f.int(), f.digest()})
	}
	for range f.count(3) {
		n.metas = append(n.metas, Meta{ProduceVersion: f.int16(), TransactionalID: f.text(), Principal: f.text()})
	}
	var last told
	for range f.count(3) {
		last.base += f.int()
		last.at += f.int()
		meta := f.uint()
		if meta >= uint64(len(n.metas)) {
			f.fail("meta %d of %d", meta, len(n.metas))
			break
		}
		last.meta = int(meta)
		n.told = append(n.told, last)
	}
	return n, f.end()
}

func appendText(b []byte, s string) []byte { return append(appendUint(b, uint64(len(s))), s...) }

func (f *fields) text() string { return string(f.bytes(f.uint())) }
