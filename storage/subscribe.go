package storage

import (
	"slices"
	"sync"
)

// subscribers are the channels that are woken when a log has moved.
type subscribers struct {
	mu  sync.Mutex
	all []*subscriber
}

type subscriber struct{ ch chan<- struct{} }

// Subscribe sends to ch, without waiting, whenever Bounds may have moved: ch
// needs capacity 1. One channel may serve many logs. cancel is idempotent; a send
// may still be under way when it returns.
func (l *Log) Subscribe(ch chan<- struct{}) (cancel func()) {
	one := &subscriber{ch}
	l.subs.mu.Lock()
	l.subs.all = append(l.subs.all, one)
	l.subs.mu.Unlock()
	return func() {
		l.subs.mu.Lock()
		defer l.subs.mu.Unlock()
		l.subs.all = slices.DeleteFunc(l.subs.all, func(s *subscriber) bool { return s == one })
	}
}

func (s *subscribers) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		select {
		case one.ch <- struct{}{}:
		default:
		}
	}
}
