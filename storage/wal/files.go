package wal

import (
	"errors"
	"sync"
	"sync/atomic"
)

// segments are the open files of a log by their number. Readers of any goroutine
// look files up; the committer adds at the end, Trim takes away at the front.
type segments struct {
	mu     sync.RWMutex
	oldest uint32 // number of the first; meaningless while there is none
	files  []*openSegment
	closed bool
}

// An openSegment is closed when the last of its owners lets go of it: the table,
// and whoever reads from it.
type openSegment struct {
	File
	firstRecord uint64
	owners      atomic.Int32
}

// release returns what closing said to the last owner.
func (o *openSegment) release() error {
	if o.owners.Add(-1) == 0 {
		return o.Close()
	}
	return nil
}

func (s *segments) add(info segmentInfo, f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) == 0 {
		s.oldest = info.number
	}
	o := &openSegment{File: f, firstRecord: info.firstRecord}
	o.owners.Store(1)
	s.files = append(s.files, o)
}

// dropLast forgets the newest.
func (s *segments) dropLast() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.files[len(s.files)-1]
	s.files = s.files[:len(s.files)-1]
	return last.release()
}

// acquire is for a reader, who releases the file.
func (s *segments) acquire(number uint32) (*openSegment, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed || len(s.files) == 0:
		return nil, ErrClosed
	case number < s.oldest:
		return nil, ErrTrimmed
	case int(number-s.oldest) >= len(s.files):
		return nil, ErrClosed
	}
	o := s.files[number-s.oldest]
	o.owners.Add(1)
	return o, nil
}

// useless are the numbers of the segments at the front that hold no record from
// before on, but for the newest keep.
func (s *segments) useless(before uint64, keep int) []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var numbers []uint32
	for n := range len(s.files) - 1 - keep {
		if s.files[n+1].firstRecord > before {
			break
		}
		numbers = append(numbers, s.oldest+uint32(n))
	}
	return numbers
}

// dropFirst forgets the oldest, whose file goes with its last reader.
func (s *segments) dropFirst() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.files[0]
	s.files[0] = nil
	s.files = s.files[1:]
	s.oldest++
	return first.release()
}

func (s *segments) first() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.oldest
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.release())
	}
	s.files, s.closed = nil, true
	return errors.Join(errs...)
}
