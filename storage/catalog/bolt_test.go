package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchback/storage/catalog"
	"switchback/storage/catalog/catalogtest"
)

func TestBolt(t *testing.T) {
	catalogtest.Run(t, func(t *testing.T) catalog.Catalog {
		c, err := catalog.OpenBolt(filepath.Join(t.TempDir(), "catalog.db"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}

func TestBoltIsLockedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := catalog.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := c.Txn(context.Background(), nil, []catalog.Op{{Key: "k", Value: []byte("v")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.OpenBolt(path); !errors.Is(err, catalog.ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = catalog.OpenBolt(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	kv, err := c.Get(context.Background(), "k")
	if err != nil || string(kv.Value) != "v" || kv.Rev != rev {
		t.Fatalf("%+v, %v", kv, err)
	}
	next, err := c.Txn(context.Background(), nil, []catalog.Op{{Key: "k", Value: []byte("w")}})
	if err != nil || next <= rev {
		t.Fatalf("revision %d after a restart, had %d before, %v", next, rev, err)
	}
}

func TestBoltRefusesAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a catalog "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := catalog.OpenBolt(path); err == nil {
		_ = c.Close()
		t.Fatal("opened")
	}
}

// The peer is a map.
func TestBoltIsAMap(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, strconv.Itoa(run))
		c, err := catalog.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		ctx := context.Background()
		model := map[string]catalog.KV{}
		key := rapid.SampledFrom([]string{"a", "b", "a/1", "a/2"})
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			k := key.Draw(t, "compare")
			want := model[k].Rev
			if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
				want += 5
			}
			op := catalog.Op{Key: key.Draw(t, "key"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"), Delete: rapid.Bool().Draw(t, "delete")}
			rev, err := c.Txn(ctx, []catalog.Compare{{Key: k, Rev: want}}, []catalog.Op{op})
			if (err == nil) != (want == model[k].Rev) {
				t.Fatalf("compare of %s with %d, have %d: %v", k, want, model[k].Rev, err)
			}
			if err != nil {
				continue
			}
			if op.Delete {
				delete(model, op.Key)
			} else {
				model[op.Key] = catalog.KV{Key: op.Key, Value: op.Value, Rev: rev}
			}
		}
		kvs, err := c.List(ctx, "")
		if err != nil || len(kvs) != len(model) {
			t.Fatalf("%d pairs, want %d, %v", len(kvs), len(model), err)
		}
		for _, kv := range kvs {
			if want := model[kv.Key]; !bytes.Equal(kv.Value, want.Value) || kv.Rev != want.Rev {
				t.Fatalf("%+v, want %+v", kv, want)
			}
		}
	})
}

// TestBoltSurvivesKill kills a writer and looks whether what it told is there.
func TestBoltSurvivesKill(t *testing.T) {
	if path := os.Getenv("CATALOG_WRITER"); path != "" {
		writeForEver(path)
	}
	path := filepath.Join(t.TempDir(), "catalog.db")
	for round := range 5 {
		var out bytes.Buffer
		child := exec.Command(os.Args[0], "-test.run", "^TestBoltSurvivesKill$")
		child.Env = append(os.Environ(), "CATALOG_WRITER="+path)
		stop := make(chan struct{})
		child.Stdout = &killAfter{lines: 20 + round*7, kill: func() { close(stop) }, out: &out}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		<-stop
		_ = child.Process.Kill()
		_ = child.Wait()

		c, err := catalog.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		told, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil {
			t.Fatalf("child wrote %q", lines[len(lines)-1])
		}
		a, errA := c.Get(context.Background(), "a")
		b, errB := c.Get(context.Background(), "b")
		have, err := strconv.Atoi(string(a.Value))
		if errA != nil || errB != nil || err != nil || !bytes.Equal(a.Value, b.Value) || have < told || have > told+1 {
			t.Fatalf("told %d, have %s and %s (%v, %v)", told, a.Value, b.Value, errA, errB)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeForEver(path string) {
	c, err := catalog.OpenBolt(path)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	kv, err := c.Get(ctx, "a")
	if err != nil {
		panic(err)
	}
	n, _ := strconv.Atoi(string(kv.Value))
	for {
		n++
		v := []byte(strconv.Itoa(n))
		if _, err := c.Txn(ctx, nil, []catalog.Op{{Key: "a", Value: v}, {Key: "b", Value: v}}); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// killAfter calls kill once that many lines were written.
type killAfter struct {
	lines int
	kill  func()
	out   *bytes.Buffer
}

func (k *killAfter) Write(b []byte) (int, error) {
	n, err := k.out.Write(b)
	k.lines -= bytes.Count(b, []byte("\n"))
	if k.lines <= 0 && k.kill != nil {
		k.kill()
		k.kill = nil
	}
	return n, err
}
