package object

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Store keeps objects under keys. All methods may be called from any goroutine
// and give up with ctx.
type Store interface {
	// Put stores body under a key that was never used and returns its size. An error
	// of body is returned and nothing is stored.
	Put(ctx context.Context, key string, body io.Reader) (size int64, err error)
	// Get returns exactly n bytes from offset on. Errors: ErrNotFound, ErrTruncated.
	Get(ctx context.Context, key string, offset, n int64) ([]byte, error)
	// Tail returns the last n bytes, or all of a smaller object, and its size.
	// Errors: ErrNotFound.
	Tail(ctx context.Context, key string, n int64) (b []byte, size int64, err error)
	// List returns all objects whose key begins with prefix and is above after, in
	// the order of their keys.
	List(ctx context.Context, prefix, after string) ([]Info, error)
	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Close lets go of what the store holds. It is idempotent.
	Close() error
}

// Info is what a store lists.
type Info struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Why an object cannot be read; test with errors.Is.
var (
	ErrNotFound  = errors.New("object does not exist")
	ErrTruncated = errors.New("object is shorter than it should be")
	ErrNewer     = errors.New("object was written by a newer version")
)

// A CorruptError is an object whose bytes cannot be believed.
type CorruptError struct {
	Key    string
	Offset int64
	What   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("object %s is corrupt at byte %d: %s", e.Key, e.Offset, e.What)
}

// Prefix is what all keys of data objects begin with.
const Prefix = "data/"

// Key is the key of the object with that id.
func Key(id [16]byte) string { return Prefix + hex.EncodeToString(id[:]) }

// ParseKey is the inverse of Key.
func ParseKey(key string) (id [16]byte, err error) {
	digits, ok := strings.CutPrefix(key, Prefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(id) {
		return id, fmt.Errorf("key %q: want %s and 32 hex digits", key, Prefix)
	}
	return [16]byte(b), nil
}
