package catalog

import (
	"context"
	"errors"
	"fmt"
)

// Errors of a Catalog; test with errors.Is.
var (
	// ErrConflict: a compare failed, nothing happened.
	ErrConflict = errors.New("catalog compare failed")
	// ErrUnknown: the transaction may or may not have happened, now or a little
	// later. Read again before anything is decided.
	ErrUnknown = errors.New("catalog outcome unknown")
	// ErrClosed: the catalog was closed, or broke and must be opened again.
	ErrClosed = errors.New("catalog is closed")
	// ErrInvalid: an empty key, or a transaction beyond the limits; nothing happened.
	ErrInvalid = errors.New("catalog request is invalid")
)

// Limits of one transaction. They are etcd's defaults with room to spare.
const (
	MaxCompares  = 128
	MaxOps       = 128
	MaxTxnBytes  = 1 << 20 // keys and values together
	MaxKeyLength = 1024
)

// A Catalog is a small ordered map with revisions. All methods may be called
// from any goroutine and give up with ctx.
type Catalog interface {
	// Get returns the pair under key. An absent key has Rev 0 and a nil Value,
	// and is no error. The Value is the caller's own copy.
	Get(ctx context.Context, key string) (KV, error)
	// List returns all pairs whose key starts with prefix, in the order of their
	// keys, as they were at one instant.
	List(ctx context.Context, prefix string) ([]KV, error)
	// Txn applies ops in order if every compare holds, all or nothing, and
	// returns the revision that the changed keys now have. Errors: ErrConflict,
	// ErrInvalid and a done context: nothing happened; ErrUnknown: it may have.
	Txn(ctx context.Context, cmps []Compare, ops []Op) (rev int64, err error)
	// Watch returns a channel of capacity 1 that says "something under prefix may
	// have changed, read again". The first wake-up is there at once; many changes
	// may make one wake-up. It is closed when ctx ends or the catalog closes.
	Watch(ctx context.Context, prefix string) (<-chan struct{}, error)
	// Close ends all watches. It is idempotent.
	Close() error
}

// A KV is a key and what stands there.
type KV struct {
	Key   string
	Value []byte // nil when absent
	Rev   int64  // revision of the last change; 0 when absent
}

// A Compare demands that Key is at revision Rev; 0: that it is absent.
type Compare struct {
	Key string
	Rev int64
}

// An Op puts Value under Key, or deletes Key. A nil Value is stored as empty.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Put is the compare-and-set of one key, the commonest transaction: kv.Rev is
// what the caller read, kv.Value what shall stand there.
func Put(ctx context.Context, c Catalog, kv KV) (rev int64, err error) {
	return c.Txn(ctx, []Compare{{Key: kv.Key, Rev: kv.Rev}}, []Op{{Key: kv.Key, Value: kv.Value}})
}

// check refuses what one of the implementations could not do.
func check(cmps []Compare, ops []Op) error {
	if len(cmps) > MaxCompares || len(ops) > MaxOps {
		return fmt.Errorf("check transaction of %d compares and %d operations: %w", len(cmps), len(ops), ErrInvalid)
	}
	size := 0
	for _, c := range cmps {
		if err := checkKey(c.Key); err != nil {
			return err
		}
		size += len(c.Key)
	}
	for _, o := range ops {
		if err := checkKey(o.Key); err != nil {
			return err
		}
		size += len(o.Key) + len(o.Value)
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("check transaction of %d bytes: %w", size, ErrInvalid)
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKeyLength {
		return fmt.Errorf("check key of %d bytes: %w", len(key), ErrInvalid)
	}
	return nil
}
