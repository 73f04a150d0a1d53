package wal

import (
	"errors"
	"sync"
)

// segments are the open files of a log by their number. Readers of any goroutine
// look files up; the committer adds.
type segments struct {
	mu    sync.RWMutex
	files []File // of segments 1, 2, ...
}

func (s *segments) add(one *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, one.file)
}

func (s *segments) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.files)
}

func (s *segments) dropLast() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.files) - 1
	f := s.files[last]
	s.files = s.files[:last]
	return f.Close()
}

// file is nil for a segment that is not there or closed.
func (s *segments) file(number uint32) File {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if number == 0 || int(number) > len(s.files) {
		return nil
	}
	return s.files[number-1]
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}
