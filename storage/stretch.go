package storage

import (
	"fmt"

	"switchback/offsets"
	"switchback/storage/batch"
	"switchback/storage/object"
)

// A stretch is a log's batches on their way into one object, with the extent and
// the notes that come of them.
type stretch struct {
	w         *object.Writer
	partition offsets.Partition
	replayed  int64          // legacy holds everything below it: nothing is noted
	digest    offsets.Digest // of everything before the next batch
	extent    extent
	notes     notes
	since     int64 // bytes since the last checkpoint
}

// beginStretch begins at the batch that before stands in front of.
func beginStretch(w *object.Writer, p offsets.Partition, before offsets.Digest, replayed int64) *stretch {
	w.Begin(part(p))
	return &stretch{
		w: w, partition: p, replayed: replayed, digest: before,
		extent: extent{maxTimestamp: batch.NoTimestamp, before: before},
	}
}

// add checks and writes the next batch. about is what was told with it, nil for
// nothing.
func (s *stretch) add(h batch.Header, raw []byte, about *told, meta Meta) error {
	if err := batch.CheckCRC(raw); err != nil {
		return fmt.Errorf("batch of offsets %d to %d: %w", h.BaseOffset, h.LastOffset(), err)
	}
	if s.since >= checkpointEvery {
		s.notes.checkpoints = append(s.notes.checkpoints, checkpoint{h.BaseOffset, s.digest})
		s.since = 0
	}
	if about != nil && h.LastOffset() >= s.replayed {
		s.notes.tell(h.BaseOffset, about.at, meta)
	}
	x := &s.extent
	if x.batches == 0 {
		x.base = h.BaseOffset
	}
	x.last, x.bytes, x.batches = h.LastOffset(), x.bytes+int64(len(raw)), x.batches+1
	x.maxTimestamp = max(x.maxTimestamp, h.MaxTimestamp)
	s.since += int64(len(raw))
	s.digest = s.digest.Add(entryOf(h))
	return s.w.Append(raw, object.Batch{Base: h.BaseOffset, Last: h.LastOffset(), MaxTimestamp: h.MaxTimestamp, Records: h.NumRecords})
}

// end writes what stands beside the batches; memory is nil where it stands
// elsewhere.
func (s *stretch) end(memory []byte) error {
	if !s.notes.empty() {
		if err := s.w.Section(notesSection(s.partition), s.notes.encode()); err != nil {
			return err
		}
	}
	if memory != nil {
		return s.w.Section(memorySection(s.partition), memory)
	}
	return nil
}

// Names of what stands in an object beside batches.
func notesSection(p offsets.Partition) string  { return "notes/" + p.String() }
func memorySection(p offsets.Partition) string { return "memory/" + p.String() }

func part(p offsets.Partition) object.Part { return object.Part{Topic: p.Topic, Index: p.Index} }

// entryOf is a batch as digests see it.
func entryOf(h batch.Header) offsets.Entry {
	return offsets.Entry{Base: h.BaseOffset, Last: h.LastOffset(), Length: h.Length, CRC: h.CRC}
}
