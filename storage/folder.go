package storage

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Names in a data folder.
const (
	lockName    = "LOCK"
	folderName  = "FOLDER"
	walName     = "wal"
	catalogName = "catalog.db"
	objectsName = "objects"
)

const folderFormat = 1

// A folder is the identity of a data folder: FOLDER, a JSON document that people
// may read and nobody may change.
type folder struct {
	Format    int    `json:"format"`
	ClusterID string `json:"legacy_cluster_id"`
	ID        string `json:"folder_id"` // 32 hex digits, drawn at creation; WAL segments carry it
}

func (f folder) id() (id [16]byte, err error) {
	b, err := hex.DecodeString(f.ID)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("folder id %q: want 32 hex digits", f.ID)
	}
	return [16]byte(b), nil
}

// lockFolder takes the lock that keeps other processes out. It goes with the
// process: nothing has to be cleaned up after a crash.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// openFolder reads the folder's identity and creates it in an empty folder. A WAL
// without an identity is not taken for an empty folder.
func openFolder(dir, clusterID string) (folder, error) {
	path := filepath.Join(dir, folderName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if segments, err := os.ReadDir(filepath.Join(dir, walName)); err == nil && len(segments) > 0 {
			return folder{}, &CorruptError{path, 0, "the file is missing, but there is a write-ahead log"}
		}
		return createFolder(path, clusterID)
	}
	if err != nil {
		return folder{}, fmt.Errorf("read identity of data folder: %w", err)
	}
	var f folder
	if err := json.Unmarshal(b, &f); err != nil {
		return f, &CorruptError{path, 0, err.Error()}
	}
	if f.Format != folderFormat {
		return f, fmt.Errorf("open data folder %s: format %d, this version reads %d", dir, f.Format, folderFormat)
	}
	if f.ClusterID != clusterID {
		return f, fmt.Errorf("open data folder %s of legacy cluster %q for %q: %w", dir, f.ClusterID, clusterID, ErrForeign)
	}
	return f, nil
}

func createFolder(path, clusterID string) (folder, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return folder{}, fmt.Errorf("draw folder id: %w", err)
	}
	f := folder{Format: folderFormat, ClusterID: clusterID, ID: hex.EncodeToString(id[:])}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return f, fmt.Errorf("create data folder: %w", err)
	}
	if err := writeFile(path, append(b, '\n')); err != nil {
		return f, fmt.Errorf("create data folder: %w", err)
	}
	return f, nil
}

// writeFile replaces path durably, all or nothing.
func writeFile(path string, b []byte) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
