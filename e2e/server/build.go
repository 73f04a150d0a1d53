package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"switchback/e2e/machine"
)

// raceVariable, set to 1, builds the server with the race detector: slower, and any report of it ends the server with an error.
const raceVariable = "SWITCHBACK_RACE"

var built struct {
	sync.Mutex
	path string
}

// Binary builds cmd/switchback from the tree that the caller runs in, once per process, and returns where it is.
func Binary(ctx context.Context) (string, error) {
	built.Lock()
	defer built.Unlock()
	if built.path != "" {
		return built.path, nil
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	root := strings.TrimSpace(string(out))
	if err := lookAt(root); err != nil {
		return "", fmt.Errorf("look at the sources of switchback: %w", err)
	}
	sum := sha256.Sum256([]byte(root))
	name := "switchback-" + hex.EncodeToString(sum[:6])
	args := []string{"build"}
	if os.Getenv(raceVariable) == "1" {
		name += "-race"
		args = append(args, "-race")
	}
	// The folder is kept: building again what has not changed is quick.
	dir, err := machine.Cached(ctx, "bin", func(string, string) error { return nil })
	if err != nil {
		return "", err
	}
	unlock, err := machine.Lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, name)
	said := machine.NewTail(4 << 10)
	err = machine.Run(ctx, machine.Command{
		Name: "go build", Path: "go", Args: append(args, "-o", path, "./cmd/switchback"), Dir: root, Stdout: said, Stderr: said,
	})
	if err != nil {
		return "", fmt.Errorf("build switchback: %w\n%s", err, said)
	}
	built.path = path
	return path, nil
}

// lookAt makes a result that go test has cached void when the server has changed: the cache knows the files that a test has looked at, and the
// server is built by another process.
func lookAt(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir(), filepath.Ext(path) != ".go", strings.HasSuffix(path, "_test.go"):
			return nil
		}
		_, err = os.Stat(path)
		return err
	})
}
