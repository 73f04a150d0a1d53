package wal

import "fmt"

// A frame is one group commit: being filled, being synced, or being told.
type frame struct {
	buf     []byte // frameHeader bytes of room, then records
	records uint32
	first   uint64 // number of the first record, 0 before there is one
	waiters []waiter
	room    int64    // to give back once told
	at      Location // of the frame itself
	err     error
}

type waiter struct {
	Waiter
	offset uint32 // of the record's head in the frame
}

func (f *frame) reset(size int) {
	if cap(f.buf) == 0 {
		f.buf = make([]byte, 0, min(size, 64<<10))
	}
	clear(f.waiters)
	*f = frame{buf: append(f.buf[:0], zeros[:frameHeader]...), waiters: f.waiters[:0]}
}

// keptFrames bounds the frames that are kept for reuse, and a frame that one
// large record has blown up is not kept.
const keptFrames = 4

// commit is the committer: it owns the current segment and the LSN.
func (w *WAL) commit() {
	defer w.done.Done()
	defer close(w.durable)
	for range w.kick {
		for {
			f, closed := w.take()
			if f == nil {
				if closed {
					w.seal()
					return
				}
				break
			}
			if f.err = w.Err(); f.err == nil && f.records > 0 {
				if err := w.persist(f); err != nil {
					f.err = w.die(err)
				}
			}
			w.durable <- f
		}
	}
}

func (w *WAL) take() (f *frame, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, w.closed
	}
	f = w.queue[0]
	w.queue = append(w.queue[:0], w.queue[1:]...) // a handful: the queue is bounded in bytes
	return f, w.closed
}

// persist writes and syncs one group; it starts a segment where the last is full.
func (w *WAL) persist(f *frame) error {
	size := padded(int64(len(f.buf)))
	if !w.current.fits(size) {
		next := w.current.info
		next.number++
		next.firstLSN, next.firstRecord = w.nextLSN, f.first
		s, err := createSegment(&w.cfg, next, size)
		if err != nil {
			return err
		}
		w.segments.add(s.info, s.file)
		w.current = s
	}
	s := w.current
	buf, err := sealFrame(f.buf, s.info.salt, frameInfo{
		lsn: w.nextLSN, incarnation: s.info.incarnation, segment: s.info.number, records: f.records, first: f.first,
	})
	if err != nil {
		return err
	}
	f.buf = buf
	f.at = Location{Segment: s.info.number, Offset: uint32(s.pos)}
	if err := s.write(buf); err != nil {
		return err
	}
	w.nextLSN++
	return nil
}

// seal puts an empty frame behind the last group: damage to that group can then
// be told from a group that was being written.
func (w *WAL) seal() {
	if w.Err() != nil || w.current.pos == segmentHeader {
		return
	}
	f := &frame{}
	f.reset(frameHeader)
	f.first = w.Next()
	if err := w.persist(f); err != nil {
		_ = w.die(err) // Close returns it
	}
}

// die ends the log and returns what everybody is told.
func (w *WAL) die(cause error) error {
	err := fmt.Errorf("%w: %w", ErrDead, cause)
	if w.err.CompareAndSwap(nil, &err) {
		w.cfg.Logger.Error("write-ahead log failed, nothing can be appended until it is opened again", "error", cause)
		close(w.dead)
		w.stop()
	}
	return w.Err()
}

// announce is the announcer: it tells the waiters while the next group syncs.
func (w *WAL) announce() {
	defer w.done.Done()
	for f := range w.durable {
		for _, one := range f.waiters {
			one.Committed(Location{Segment: f.at.Segment, Offset: f.at.Offset + one.offset}, f.err)
		}
		w.cfg.GroupEnd()
		w.room.Release(f.room)
		w.recycle(f)
	}
}

func (w *WAL) recycle(f *frame) {
	if cap(f.buf) > 2*w.cfg.FrameBytes {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.free) < keptFrames {
		clear(f.waiters)
		w.free = append(w.free, f)
	}
}
