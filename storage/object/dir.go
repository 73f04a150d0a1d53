package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// tempName marks files that Put has not finished.
const tempName = ".put-"

// dir is a Store in a folder: keys are paths below it.
type dir struct {
	root string
	made sync.Map // folders that are there, durably
}

// OpenDir opens or creates a store in a folder, and removes what a crash has left
// half written. One process at a time may have it open.
func OpenDir(root string) (Store, error) {
	d := &dir{root: root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("open object folder: %w", err)
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasPrefix(e.Name(), tempName) {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("clean up object folder: %w", err)
	}
	probe, err := os.CreateTemp(root, tempName)
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return nil, fmt.Errorf("object folder cannot be written: %w", err)
	}
	return d, nil
}

func (d *dir) path(key string) (string, error) {
	if !filepath.IsLocal(key) || strings.HasPrefix(filepath.Base(key), tempName) {
		return "", fmt.Errorf("object key %q: not a path below the folder", key)
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

func (d *dir) Put(ctx context.Context, key string, body io.Reader) (size int64, err error) {
	path, err := d.path(key)
	if err != nil {
		return 0, err
	}
	if err := d.mkdir(filepath.Dir(path)); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempName)
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	size, err = io.Copy(f, reader{ctx, body})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // else the next OpenDir does
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	return size, nil
}

// mkdir makes a folder below root durable, with those above it.
func (d *dir) mkdir(path string) error {
	if _, ok := d.made.Load(path); ok || path == d.root {
		return nil
	}
	if err := d.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	d.made.Store(path, true)
	return nil
}

// A reader fails when its context is done.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// open is for the readers, which all begin alike.
func (d *dir) open(ctx context.Context, key string) (*os.File, int64, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("get %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("get %s: %w", key, err)
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("get %s: %w", key, err), f.Close())
	}
	return f, stat.Size(), nil
}

func (d *dir) Get(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	f, size, err := d.open(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || n < 0 || n > size-offset {
		return nil, errors.Join(fmt.Errorf("get %d bytes at %d of %s, which has %d: %w", n, offset, key, size, ErrTruncated), f.Close())
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, offset)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return b, nil
}

func (d *dir) Tail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	f, size, err := d.open(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, min(n, size))
	_, err = f.ReadAt(b, size-int64(len(b)))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, 0, fmt.Errorf("get end of %s: %w", key, err)
	}
	return b, size, nil
}

func (d *dir) List(ctx context.Context, prefix, after string) ([]Info, error) {
	var all []Info
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), tempName) {
			if errors.Is(err, fs.ErrNotExist) { // deleted while we look
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(d.root, path)
		key := filepath.ToSlash(rel)
		if err != nil || !strings.HasPrefix(key, prefix) || key <= after {
			return err
		}
		stat, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		all = append(all, Info{key, stat.Size(), stat.ModTime()})
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

func (d *dir) Delete(ctx context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func (d *dir) Close() error { return nil }

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
