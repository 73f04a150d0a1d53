package object_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"switchback/storage/object"
	"switchback/storage/object/objecttest"
)

func openDir(t *testing.T, dir string) object.Store {
	t.Helper()
	s, err := object.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDir(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return openDir(t, filepath.Join(t.TempDir(), "a", "b")) })
}

// TestDirForgetsWhatWasNotFinished: what a crash leaves of a Put is in nobody's
// way, and gone after the next OpenDir.
func TestDirForgetsWhatWasNotFinished(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	if _, err := s.Put(t.Context(), "data/a", bytes.NewReader([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "data", ".put-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(t.Context(), "", ""); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	s = openDir(t, dir)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Fatalf("after OpenDir: %v", err)
	}
	if b, err := s.Get(t.Context(), "data/a", 0, 1); err != nil || string(b) != "a" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestDirRefusesKeysThatLeadOut(t *testing.T) {
	s := openDir(t, t.TempDir())
	for _, key := range []string{"", "/a", "../a", "a/../../b", "data/.put-1"} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(nil)); err == nil {
			t.Errorf("put %q", key)
		}
		if _, err := s.Get(t.Context(), key, 0, 0); err == nil {
			t.Errorf("get %q", key)
		}
	}
}

func TestDirThatCannotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := object.OpenDir(file); err == nil {
			t.Fatal("a file is taken for a folder")
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := object.OpenDir(dir); err == nil {
		t.Fatal("a folder that cannot be written is opened")
	}
}
