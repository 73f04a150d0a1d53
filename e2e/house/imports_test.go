package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "switchback"

// edge allows one of our packages, or a folder of them ("e2e/..."), to import another.
type edge struct{ from, to, reason string }

// allowed is the whole list: what is not here is forbidden. Packages of one floor are blind to each other; cmd joins them.
var allowed = []edge{
	{"storage", "storage/batch", "a partition's log checks and stamps batch headers"},
	{"storage", "storage/batch/codec", "records are looked at before they are acknowledged"},
	{"storage", "storage/wal", "what is acknowledged is in the write-ahead log"},
	{"storage", "storage/object", "where batches go for good"},
	{"storage", "storage/cache", "batches in objects are read through it"},
	{"storage", "storage/catalog", "says which objects a log stands in, and is the only arbiter of it"},
	{"storage/object/objecttest", "storage/object", "the suite is about its stores"},
	{"storage/cache", "storage/object", "blocks and indexes of objects are what is kept"},
	{"storage", "offsets", "epoch lists and digests are arithmetic, and are done once"},
	{"storage/batch/codec", "storage/batch", "codecs are numbered as a batch's attributes number them"},
	{"storage/broker", "storage", "the broker gives Kafka's meaning to the engine's logs"},
	{"storage/broker", "storage/batch", "Produce and Fetch carry batches"},
	{"storage/broker", "storage/catalog", "topics and their settings are kept there"},
	{"storage/broker", "offsets", "partitions are named by topic id"},

	{"proxy/wire", "offsets", "partitions are named by topic id"},
	{"proxy", "proxy/wire", "frames and walkers"},
	{"proxy", "storage/batch", "acknowledged offsets follow from batch headers"},
	{"proxy", "offsets", "shown epochs and routes are arithmetic"},

	{"mirror", "storage/batch", "copies are compared batch by batch"},
	{"mirror", "offsets", "digests, epochs, partitions"},

	{"plans", "storage/catalog", "a flip is one compare-and-set there"},
	{"plans", "offsets", "a unit is a set of partitions"},

	{"cmd/...", "cmd/...", "the wiring is one program"},
	{"cmd/...", "offsets", "cmd is the only place where siblings meet"},
	{"cmd/...", "storage", "see above"},
	{"cmd/...", "storage/batch", "see above"},
	{"cmd/...", "storage/catalog", "see above"},
	{"cmd/...", "storage/object", "see above"},
	{"cmd/...", "storage/broker", "see above"},
	{"cmd/...", "proxy", "see above"},
	{"cmd/...", "proxy/wire", "see above"},
	{"cmd/...", "mirror", "see above"},
	{"cmd/...", "plans", "see above"},

	{"e2e/...", "e2e/...", "the workshop is one program"},
	{"e2e/...", "storage", "the engine is tried over real stores"},
	{"e2e/...", "storage/object", "the stores are tried on real servers"},
	{"e2e/...", "storage/object/objecttest", "with what every store has to do"},
	{"e2e/...", "storage/batch", "what brokers answer is read batch by batch"},
	{"e2e/...", "offsets", "partitions and epochs as everybody spells them"},
}

// tested is what tests may import on top.
var tested = []edge{
	{"storage/broker", "storage/object", "a store whose reads wait shows what waits behind them"},
	{"mirror", "storage", "the copy is tested over the engine that it writes to, not over a likeness of it"},
}

// alone lists the packages that import nothing but the standard library, with the reason.
var alone = map[string]string{
	"offsets":       "arithmetic that everybody may lean on leans on nobody",
	"storage/batch": "a format is bytes and rules",
}

type pkg struct {
	ImportPath                         string
	Dir                                string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", module+"/...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list names %d packages: this test looks at the wrong tree", len(pkgs))
	}
	return pkgs
}

// ours returns the name of a package of ours below the module, "" for others.
func ours(importPath string) string {
	if name, ok := strings.CutPrefix(importPath, module+"/"); ok {
		return name
	}
	return ""
}

func matches(pattern, name string) bool {
	if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == folder || strings.HasPrefix(name, folder+"/")
	}
	return pattern == name
}

// find returns the index of the line that allows an import, -1 when there is none.
func find(from, to string) int {
	return slices.IndexFunc(allowed, func(e edge) bool { return matches(e.from, from) && matches(e.to, to) })
}

func TestPackagesImportWhatTheTableAllows(t *testing.T) {
	used := make([]bool, len(allowed))
	for _, p := range packages(t) {
		from := ours(p.ImportPath)
		for _, imported := range p.Imports {
			to := ours(imported)
			if to == "" {
				continue
			}
			if i := find(from, to); i >= 0 {
				used[i] = true
			} else if !support(from) {
				t.Errorf("%s imports %s: no line of the table allows it", from, to)
			}
		}
	}
	for i, e := range allowed {
		if !used[i] && !strings.HasPrefix(e.from, "cmd/") && !strings.HasPrefix(e.from, "e2e/") {
			t.Errorf("the table allows %s to import %s (%s), and it does not", e.from, e.to, e.reason)
		}
		if e.reason == "" {
			t.Errorf("%s may import %s for no reason", e.from, e.to)
		}
	}
}

// Tests may import what their package may, the package itself and its test support: no test joins siblings that the table keeps apart.
func TestTestsImportWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		from := ours(p.ImportPath)
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			to := ours(imported)
			if to == "" || to == from || support(to) || find(from, to) >= 0 {
				continue
			}
			if support(from) && path.Dir(from) == to {
				continue
			}
			if slices.ContainsFunc(tested, func(e edge) bool { return e.from == from && e.to == to }) {
				continue
			}
			t.Errorf("a test of %s imports %s: no line of the table allows it", from, to)
		}
	}
}

// support reports whether a package is test support: storage/catalog/catalogtest and the like, which product code never imports.
func support(name string) bool { return strings.HasSuffix(name, "test") }

func TestProductNeverImportsTestSupport(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if to := ours(imported); to != "" && support(to) && !support(ours(p.ImportPath)) {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imported)
			}
		}
	}
}

func TestSomePackagesStandAlone(t *testing.T) {
	for _, p := range packages(t) {
		reason, ok := alone[ours(p.ImportPath)]
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			// The standard library's import paths have no dot in their first element.
			first, _, _ := strings.Cut(imported, "/")
			if first == module || strings.Contains(first, ".") {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, reason)
			}
		}
	}
}
