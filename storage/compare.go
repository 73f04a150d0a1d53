package storage

import (
	"fmt"

	"switchback/storage/batch"
)

// compare is nil for a batch below the end that the log holds, or that lies below
// everything that it holds. It is errMoved for one that stands in an object and
// was not compared with it. Callers hold mu.
func (l *Log) compare(r *replica) error {
	h := r.header
	if h.LastOffset() < l.origin {
		return nil
	}
	if l.isCold(h.BaseOffset) {
		if r.known && r.generation == l.generation {
			return nil
		}
		return errMoved
	}
	n := l.index.find(h.BaseOffset)
	first := n == l.index.low && len(l.extents) == 0
	switch {
	case n == l.index.count && first && h.LastOffset() < l.end: // all that there was is deleted
		return nil
	case n == l.index.count: // below the end, but behind the last batch
		return divergedFromNone(h)
	}
	i := l.index.at(n)
	if i.is(h) || first && h.LastOffset() < i.base {
		return nil
	}
	return diverged(h, i.base, i.last(), int(i.size), i.crc)
}

// compareCold compares those that stand in objects, if they are there at all.
func (l *Log) compareCold(some []replica) error {
	for n := range some {
		r := &some[n]
		l.mu.Lock()
		cold := r.raw != nil && l.gone == nil && r.header.BaseOffset < l.end && l.isCold(r.header.BaseOffset)
		l.mu.Unlock()
		if !cold {
			continue
		}
		err := l.retry(func(v view) error {
			r.generation = v.generation
			err := l.compareStored(v, r.header)
			return err
		})
		if err != nil {
			return l.explain(r.header.BaseOffset, err)
		}
		r.known = true
	}
	return nil
}

func (l *Log) compareStored(v view, h batch.Header) error {
	err := divergedFromNone(h)
	s := scan{log: l, from: h.BaseOffset, since: everything, ahead: firstAhead, fn: func(b stored) (bool, error) {
		first := b.extent == &v.extents[0] && b.BaseOffset == b.extent.base
		switch {
		case b.BaseOffset == h.BaseOffset && b.LastOffsetDelta == h.LastOffsetDelta && b.Length == h.Length && b.CRC == h.CRC:
			err = nil
		case first && h.LastOffset() < b.BaseOffset: // below everything that is held
			err = nil
		default:
			err = diverged(h, b.BaseOffset, b.LastOffset(), b.Size(), b.CRC)
		}
		return false, nil
	}}
	if err := s.run(v.extents); err != nil {
		return err
	}
	return err
}

func divergedFromNone(h batch.Header) error {
	return ErrDiverged{Offset: h.BaseOffset, Why: fmt.Sprintf("a batch of offsets %d to %d where the log holds none", h.BaseOffset, h.LastOffset())}
}

func diverged(h batch.Header, base, last int64, size int, crc uint32) error {
	return ErrDiverged{Offset: h.BaseOffset, Why: fmt.Sprintf(
		"a batch of offsets %d to %d, %d bytes, checksum %08x where the log holds %d to %d, %d bytes, checksum %08x",
		h.BaseOffset, h.LastOffset(), h.Size(), h.CRC, base, last, size, crc)}
}
