package storage

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"switchback/offsets"
	"switchback/storage/object"
)

// A state is a log as the catalog holds it: everything that WAL records up to and
// including covered made of it. It is enough to open the log without them.
type state struct {
	covered      uint64
	origin       int64
	start        int64
	end          int64
	replayed     int64
	maxTimestamp int64          // of everything there ever was since origin; -1 none
	digest       offsets.Digest // of everything below end
	leaderEpoch  int32
	epochs       offsets.Epochs
	extents      []extent
	// The memory of producers and transactions (memory.go): here while it is small,
	// otherwise a section of the object memoryIn.
	memory   []byte
	memoryIn objectID
}

// An extent is a stretch of a log that stands in one object. Extents follow each
// other; there may be gaps between them, as between batches.
type extent struct {
	object       objectID
	base, last   int64
	bytes        int64
	maxTimestamp int64
	before       offsets.Digest // of everything below base
	batches      int64
}

// An objectID names an object of the store.
type objectID [16]byte

func objectKey(id objectID) string { return object.Key(id) }

const stateVersion = 1

func (s *state) encode() []byte {
	b := []byte{stateVersion}
	b = appendUint(b, s.covered)
	for _, v := range []int64{s.origin, s.start, s.end, s.replayed, s.maxTimestamp, int64(s.leaderEpoch)} {
		b = appendInt(b, v)
	}
	b = appendDigest(b, s.digest)
	b = appendUint(b, uint64(len(s.epochs)))
	for _, e := range s.epochs {
		b = appendInt(b, int64(e.Epoch))
		b = appendInt(b, e.Start)
	}
	b = appendUint(b, uint64(len(s.extents)))
	for _, x := range s.extents {
		b = x.append(b)
	}
	b = append(b, s.memoryIn[:]...)
	b = appendUint(b, uint64(len(s.memory)))
	b = append(b, s.memory...)
	return seal(b)
}

func (x *extent) append(b []byte) []byte {
	b = append(b, x.object[:]...)
	b = appendInt(b, x.base)
	b = appendUint(b, uint64(x.last-x.base))
	b = appendInt(b, x.bytes)
	b = appendInt(b, x.maxTimestamp)
	b = appendInt(b, x.batches)
	return appendDigest(b, x.before)
}

func appendDigest(b []byte, d offsets.Digest) []byte {
	b = appendInt(b, d.Offset)
	b = appendInt(b, d.Batches)
	b = appendWord(b, d.Sum[0])
	return appendWord(b, d.Sum[1])
}

func (f *fields) digest() offsets.Digest {
	return offsets.Digest{Offset: f.int(), Batches: f.int(), Sum: offsets.Chain{f.word(), f.word()}}
}

// smallestExtent is how many bytes an encoded extent takes at least.
const smallestExtent = 16 + 5 + 18

func decodeState(b []byte) (*state, error) {
	f, err := unseal(b, stateVersion)
	if err != nil {
		return nil, err
	}
	s := &state{
		covered: f.uint(), origin: f.int(), start: f.int(), end: f.int(), replayed: f.int(),
		maxTimestamp: f.int(), leaderEpoch: f.int32(), digest: f.digest(),
	}
	for range f.count(2) {
		s.epochs = append(s.epochs, offsets.EpochStart{Epoch: f.int32(), Start: f.int()})
	}
	for range f.count(smallestExtent) {
		s.extents = append(s.extents, f.extent())
	}
	copy(s.memoryIn[:], f.bytes(uint64(len(s.memoryIn))))
	s.memory = f.bytes(f.uint())
	if err := f.end(); err != nil {
		return nil, err
	}
	return s, s.check()
}

func (f *fields) extent() extent {
	var x extent
	copy(x.object[:], f.bytes(uint64(len(x.object))))
	x.base = f.int()
	width := f.uint()
	if width > math.MaxInt64 || x.base < 0 || int64(width) > math.MaxInt64-1-x.base {
		f.fail("extent of %d offsets from %d on", width, x.base)
		return x
	}
	x.last = x.base + int64(width)
	x.bytes, x.maxTimestamp, x.batches = f.int(), f.int(), f.int()
	x.before = f.digest()
	return x
}

// check demands what every state has in common.
func (s *state) check() error {
	if s.origin < 0 || s.start < s.origin || s.end < s.start || s.replayed > s.end {
		return fmt.Errorf("log of [%d, %d) that began at %d, replayed up to %d: %w", s.start, s.end, s.origin, s.replayed, errFields)
	}
	for n := 1; n < len(s.epochs); n++ {
		if a, b := s.epochs[n-1], s.epochs[n]; a.Epoch >= b.Epoch || a.Start >= b.Start {
			return fmt.Errorf("epoch %d at %d follows epoch %d at %d: %w", b.Epoch, b.Start, a.Epoch, a.Start, errFields)
		}
	}
	behind := int64(0)
	for _, x := range s.extents {
		if x.base < behind || x.last >= s.end || x.bytes <= 0 || x.batches <= 0 {
			return fmt.Errorf("extent of offsets %d to %d, %d batches of %d bytes, behind %d in a log that ends at %d: %w",
				x.base, x.last, x.batches, x.bytes, behind, s.end, errFields)
		}
		behind = x.last + 1
	}
	return nil
}

// Keys in the catalog.
const (
	keyFolder = "storage/folder" // id of the data folder, and how often it was opened
	keyStore  = "storage/store"  // Config.StoreName, empty: the folder's own
	keyWAL    = "storage/wal"    // first WAL record that is needed, decimal
	keyLogs   = "storage/log/"   // <topic, 32 hex digits>/<partition>: state
)

func stateKey(p offsets.Partition) string {
	return keyLogs + hex.EncodeToString(p.Topic[:]) + "/" + strconv.Itoa(int(p.Index))
}

func parseStateKey(key string) (p offsets.Partition, err error) {
	topic, index, ok := strings.Cut(strings.TrimPrefix(key, keyLogs), "/")
	id, err := hex.DecodeString(topic)
	n, atoi := strconv.ParseInt(index, 10, 32)
	if !ok || err != nil || atoi != nil || len(id) != len(p.Topic) || n < 0 {
		return p, fmt.Errorf("catalog key %q: %w", key, errFields)
	}
	copy(p.Topic[:], id)
	p.Index = int32(n)
	return p, nil
}
