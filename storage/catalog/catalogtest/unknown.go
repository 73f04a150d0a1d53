package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"switchback/storage/catalog"
)

// An Outcome is what an Unknown does to one transaction.
type Outcome int

// Before: the transaction does not happen, After: it does. Either way the caller
// is told ErrUnknown. Pass leaves it alone.
const (
	Pass Outcome = iota
	Before
	After
)

func (o Outcome) String() string { return [...]string{"pass", "before", "after"}[o] }

// Unknown is a catalog whose transactions may end in ErrUnknown, as those of a
// catalog behind a network do.
type Unknown struct {
	catalog.Catalog

	mu     sync.Mutex
	decide func(n int, cmps []catalog.Compare, ops []catalog.Op) Outcome
	count  int
}

// NewUnknown wraps c. decide is asked about transaction n, counted from 0, and
// may be called from any goroutine, one at a time.
func NewUnknown(c catalog.Catalog, decide func(n int, cmps []catalog.Compare, ops []catalog.Op) Outcome) *Unknown {
	return &Unknown{Catalog: c, decide: decide}
}

// Nth makes only transaction n unknown.
func Nth(n int, o Outcome) func(int, []catalog.Compare, []catalog.Op) Outcome {
	return func(i int, _ []catalog.Compare, _ []catalog.Op) Outcome {
		if i == n {
			return o
		}
		return Pass
	}
}

// Txn implements catalog.Catalog. A transaction that would be refused for sure is
// told so only with Pass: the caller of an unknown one cannot know that either.
func (u *Unknown) Txn(ctx context.Context, cmps []catalog.Compare, ops []catalog.Op) (int64, error) {
	u.mu.Lock()
	outcome := u.decide(u.count, cmps, ops)
	n := u.count
	u.count++
	u.mu.Unlock()
	switch outcome {
	case Before:
		return 0, fmt.Errorf("planted before transaction %d: %w", n, catalog.ErrUnknown)
	case After:
		if _, err := u.Catalog.Txn(ctx, cmps, ops); errors.Is(err, catalog.ErrUnknown) {
			return 0, err
		}
		return 0, fmt.Errorf("planted after transaction %d: %w", n, catalog.ErrUnknown)
	}
	return u.Catalog.Txn(ctx, cmps, ops)
}

// Count is how many transactions were tried.
func (u *Unknown) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count
}
