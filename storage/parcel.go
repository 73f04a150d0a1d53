package storage

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"switchback/storage/batch"
	"switchback/storage/object"
)

// Sizes of what a flush writes. A partition with that much of its own gets
// objects of its own, which need no merge; nothing is larger than a merged object.
const (
	streamBytes  = 8 << 20
	objectBytes  = 256 << 20
	inlineMemory = 8 << 10 // a log's memory up to this size stands in its state
	readBytes    = 1 << 20 // read from the WAL at a time
)

// A parcel is what goes into one object.
type parcel []portion

// A portion is a stretch of one log.
type portion struct {
	*capture
	items []item
	last  bool // the capture's last one: its memory goes along
}

// pack distributes what was captured over objects, in order of the partitions.
func pack(caught []*capture) []parcel {
	var parcels []parcel
	var small parcel
	size := int64(0)
	for _, c := range caught {
		if len(c.items) == 0 {
			continue
		}
		own := c.bytes()
		if own >= streamBytes {
			for items := c.items; len(items) > 0; {
				n := fitting(items, objectBytes)
				parcels = append(parcels, parcel{{c, items[:n], n == len(items)}})
				items = items[n:]
			}
			continue
		}
		if size > 0 && size+own > objectBytes {
			parcels = append(parcels, small)
			small, size = nil, 0
		}
		small, size = append(small, portion{c, c.items, true}), size+own
	}
	if len(small) > 0 {
		parcels = append(parcels, small)
	}
	return parcels
}

// fitting is how many items take at most limit bytes; at least one.
func fitting(items []item, limit int64) int {
	size := int64(items[0].size)
	for n := 1; n < len(items); n++ {
		if size += int64(items[n].size); size > limit {
			return n
		}
	}
	return len(items)
}

// write puts everything that was captured into objects, and the extents into the
// captured states. On an error some of the objects may be there: nobody knows of
// them.
func (f *flusher) write(ctx context.Context, caught []*capture) error {
	for _, p := range pack(caught) {
		if err := f.post(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// post writes one object.
func (f *flusher) post(ctx context.Context, p parcel) error {
	id, err := object.NewID(f.engine.cfg.Now())
	if err != nil {
		return err
	}
	key := objectKey(id)
	return put(ctx, f.engine.store, key, func(w io.Writer) error {
		o := object.NewWriter(w, id, f.engine.cfg.Now())
		for _, part := range p {
			x, err := part.write(o)
			if err != nil {
				return fmt.Errorf("write %s: %w", part.log.partition, err)
			}
			x.object = id
			part.state.extents = append(part.state.extents, x)
			if part.last && len(part.state.memory) > inlineMemory {
				part.state.memory, part.state.memoryIn = nil, id
			}
		}
		return o.Finish()
	})
}

// put streams an object to the store.
func put(ctx context.Context, store object.Store, key string, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		b := bufio.NewWriterSize(w, 256<<10)
		err := write(b)
		if err == nil {
			err = b.Flush()
		}
		_ = w.CloseWithError(err) // nil: the end
		written <- err
	}()
	_, err := store.Put(ctx, key, r)
	_ = r.CloseWithError(io.ErrClosedPipe) // the writer ends, however far the store has read
	if wrote := <-written; err == nil && wrote != nil {
		err = wrote
	}
	return err
}

// write adds the portion to an object.
func (p portion) write(w *object.Writer) (extent, error) {
	s := beginStretch(w, p.log.partition, p.digest, p.state.replayed)
	err := p.log.eachStored(p.items, func(i item, head, raw []byte) error {
		h, err := batch.Parse(raw)
		if err != nil || !i.is(h) {
			return fmt.Errorf("the write-ahead log does not hold the batch of offsets %d to %d where it was written: %w", i.base, i.last(), ErrCorrupt)
		}
		at, meta, err := decodeBatchHead(head)
		if err != nil {
			return err
		}
		var about *told
		if len(head) > replicaHead {
			about = &told{at: at}
		}
		return s.add(h, raw, about, meta)
	})
	if err != nil {
		return extent{}, err
	}
	p.digest = s.digest
	var memory []byte
	if p.last && len(p.state.memory) > inlineMemory {
		memory = p.state.memory
	}
	return s.extent, s.end(memory)
}

// eachStored reads durable items from the WAL, in runs, and calls fn with each
// batch and its head; they are valid during the call.
func (l *Log) eachStored(items []item, fn func(i item, head, raw []byte) error) error {
	for len(items) > 0 {
		run, span := runOf(items[:fitting(items, readBytes)])
		before := int64(items[0].head)
		buf := getBuffer(int(before + span))
		err := l.readWAL(buf.b, items[0], before)
		origin := batchAt(items[0]) - before
		for _, i := range items[:run] {
			if err != nil {
				break
			}
			at := batchAt(i) - origin
			err = fn(i, buf.b[at-int64(i.head):at], buf.b[at:at+int64(i.size)])
		}
		buf.put()
		if err != nil {
			return err
		}
		items = items[run:]
	}
	return nil
}
