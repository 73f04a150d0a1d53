package catalog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// bbolt holds one bucket: key -> revision (8 bytes, big endian) and value. The
// bucket's sequence is the catalog's revision.
var bucketName = []byte("catalog")

// lockTimeout bounds how long OpenBolt waits for another process to let go.
const lockTimeout = time.Second

type boltCatalog struct {
	db       *bolt.DB
	watchers watchers
	broken   atomic.Bool // a commit failed on the disk: what the file holds is not what memory shows
}

// OpenBolt opens or creates the catalog file at path. A second process gets
// ErrLocked after a second.
func OpenBolt(path string) (Catalog, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open catalog %s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, err), db.Close())
	}
	return &boltCatalog{db: db}, nil
}

// ErrLocked is returned by OpenBolt when another process has the file open.
var ErrLocked = errors.New("catalog is in use by another process")

func (c *boltCatalog) Get(ctx context.Context, key string) (KV, error) {
	kv := KV{Key: key}
	if err := checkKey(key); err != nil {
		return kv, err
	}
	err := c.view(ctx, func(b *bolt.Bucket) {
		kv.Rev, kv.Value = decode(b.Get([]byte(key)))
	})
	if err != nil {
		return kv, fmt.Errorf("get %s: %w", key, err)
	}
	return kv, nil
}

func (c *boltCatalog) List(ctx context.Context, prefix string) ([]KV, error) {
	var kvs []KV
	err := c.view(ctx, func(b *bolt.Bucket) {
		cur := b.Cursor()
		for k, v := cur.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = cur.Next() {
			rev, value := decode(v)
			kvs = append(kvs, KV{Key: string(k), Value: value, Rev: rev})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	return kvs, nil
}

func (c *boltCatalog) view(ctx context.Context, fn func(*bolt.Bucket)) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	err := c.db.View(func(tx *bolt.Tx) error {
		fn(tx.Bucket(bucketName))
		return nil
	})
	return closed(err)
}

func (c *boltCatalog) Txn(ctx context.Context, cmps []Compare, ops []Op) (int64, error) {
	if err := check(cmps, ops); err != nil {
		return 0, err
	}
	if err := c.usable(ctx); err != nil {
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	tx, err := c.db.Begin(true)
	if err != nil {
		return 0, fmt.Errorf("begin transaction: %w", closed(err))
	}
	rev, err := c.apply(ctx, tx, cmps, ops)
	if err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		// A full disk stops bbolt before its meta page is written. After any other
		// failure nobody knows what is on the disk, and a sync must not be tried
		// again: the catalog has to be opened anew.
		if !errors.Is(err, syscall.ENOSPC) {
			c.broken.Store(true)
			c.watchers.close()
		}
		return 0, fmt.Errorf("commit transaction: %w: %w", ErrUnknown, err)
	}
	c.watchers.wake(ops)
	return rev, nil
}

// apply runs the transaction inside of tx and leaves its end to the caller.
func (c *boltCatalog) apply(ctx context.Context, tx *bolt.Tx, cmps []Compare, ops []Op) (int64, error) {
	if err := c.usable(ctx); err != nil { // the wait for the writer's lock may have been long
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	b := tx.Bucket(bucketName)
	for _, cmp := range cmps {
		if rev, _ := decode(b.Get([]byte(cmp.Key))); rev != cmp.Rev {
			return 0, fmt.Errorf("compare %s, want revision %d, have %d: %w", cmp.Key, cmp.Rev, rev, ErrConflict)
		}
	}
	next, err := b.NextSequence()
	if err != nil {
		return 0, fmt.Errorf("next revision: %w", err)
	}
	for _, op := range ops {
		if op.Delete {
			err = b.Delete([]byte(op.Key))
		} else {
			err = b.Put([]byte(op.Key), encode(int64(next), op.Value))
		}
		if err != nil {
			return 0, fmt.Errorf("write %s: %w", op.Key, err)
		}
	}
	return int64(next), nil
}

func (c *boltCatalog) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	if err := c.usable(ctx); err != nil {
		return nil, fmt.Errorf("watch %s: %w", prefix, err)
	}
	ch, err := c.watchers.add(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", prefix, err)
	}
	return ch, nil
}

func (c *boltCatalog) Close() error {
	c.watchers.close()
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("close catalog: %w", err)
	}
	return nil
}

func (c *boltCatalog) usable(ctx context.Context) error {
	if c.broken.Load() {
		return fmt.Errorf("a commit failed on the disk: %w", ErrClosed)
	}
	return ctx.Err()
}

func closed(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

func encode(rev int64, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(rev)), value...)
}

// decode copies, because bbolt's memory is the file's and ends with the transaction.
func decode(b []byte) (rev int64, value []byte) {
	if len(b) < 8 {
		return 0, nil
	}
	return int64(binary.BigEndian.Uint64(b)), append([]byte{}, b[8:]...)
}
