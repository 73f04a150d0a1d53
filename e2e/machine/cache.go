package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a lock that another process holds is asked for again.
const lockPoll = 50 * time.Millisecond

// cacheRoot is a folder of the user's, never one in the tree.
func cacheRoot() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	root := filepath.Join(base, "switchback-e2e")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	return root, nil
}

// Cached returns the folder of a cache entry. When there is none yet, fill makes its content in a folder that becomes the entry
// only after fill has returned without an error. final is where the content will stand, for content that names its own place.
// Callers in other processes wait meanwhile.
func Cached(ctx context.Context, key string, fill func(dir, final string) error) (string, error) {
	root, err := cacheRoot()
	if err != nil {
		return "", err
	}
	unlock, err := Lock(ctx, "cache-"+key)
	if err != nil {
		return "", err
	}
	defer unlock()
	final := filepath.Join(root, key)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	half := final + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", fmt.Errorf("remove half-filled %s: %w", key, err)
	}
	if err := os.MkdirAll(half, 0o755); err != nil {
		return "", fmt.Errorf("fill %s: %w", key, err)
	}
	if err := fill(half, final); err != nil {
		return "", fmt.Errorf("fill %s: %w", key, err)
	}
	if err := os.Rename(half, final); err != nil {
		return "", fmt.Errorf("fill %s: %w", key, err)
	}
	return final, nil
}

// Lock takes a lock that is shared by all processes of this user and waits for it until ctx ends. The kernel frees it with the
// process; unlock frees it earlier.
func Lock(ctx context.Context, name string) (unlock func(), err error) {
	root, err := cacheRoot()
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(root, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock %s: %w", name, err)
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("take lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("wait for lock %s: %w", name, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
