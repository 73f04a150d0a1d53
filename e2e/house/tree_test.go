package house_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"switchback/e2e/machine"
)

// root is the top of the tree, seen from this package.
const root = "../.."

// topLevel is what may stand at the top, beside files and folders whose names begin with a dot.
var topLevel = []string{
	"cmd", "proxy", "mirror", "offsets", "storage", "plans", "e2e",
	"go.mod", "go.sum", "README.md", "LICENSE",
}

// Sizes above which a newcomer would not guess any more what is in a file or what a function does.
const (
	maxFileLines     = 800
	maxFunctionLines = 100
)

// files lists the tree as git sees it: what is ignored is no part of it.
func files(t *testing.T) []string {
	t.Helper()
	machine.Need(t, "git", "git")
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files (the tree must be a git checkout): %v", err)
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil {
			names = append(names, name)
		}
	}
	return names
}

func sources(t *testing.T) []string {
	return slices.DeleteFunc(files(t), func(name string) bool { return !strings.HasSuffix(name, ".go") })
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTopLevelHoldsWhatWasAgreed(t *testing.T) {
	for _, name := range files(t) {
		first, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(first, ".") && !slices.Contains(topLevel, first) {
			t.Errorf("%s stands at the top level, which holds %s and dot-files only", first, strings.Join(topLevel, ", "))
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for _, p := range packages(t) {
		// A folder of tests needs no doc.go of its own when it has no code: go list shows none of its files then.
		file := filepath.Join(p.Dir, "doc.go")
		if strings.HasPrefix(ours(p.ImportPath), "cmd/switchback") {
			file = filepath.Join(p.Dir, "main.go")
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Errorf("%s: %v", p.ImportPath, err)
			continue
		}
		if parsed.Doc == nil {
			t.Errorf("%s has no package comment", file)
		}
	}
}

func TestSourcesAreFormatted(t *testing.T) {
	for _, name := range sources(t) {
		have := read(t, name)
		want, err := format.Source(have)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(have, want) {
			t.Errorf("gofmt would change %s", name)
		}
	}
}

// machineNames finds paths of one machine and hosts of package registries: neither is true for anybody else. The words are spelt in pieces, so
// that this file does not find itself.
var machineNames = regexp.MustCompile(
	`(^|[^A-Za-z0-9_./-])/(wo` + `rk|fa` + `rm|ro` + `ot|ho` + `me|Us` + `ers)/` +
		`|https?://[a-z0-9.-]*(regis` + `try|pro` + `xy|rep` + `o[0-9]*|cra` + `tes|np` + `m|py` + `pi|mav` + `en|deb` + `ian)[a-z0-9.-]*\.[a-z]+`)

func TestTreeNamesNoMachine(t *testing.T) {
	for _, name := range files(t) {
		if filepath.Base(name) == "go.sum" {
			continue
		}
		for n, line := range bytes.Split(read(t, name), []byte("\n")) {
			if bytes.ContainsRune(line, 0) {
				break // not a text
			}
			if found := machineNames.Find(line); found != nil && !bytes.Contains(found, []byte("127.0.0.1")) {
				t.Errorf("%s, line %d: %q is a path of one machine or a package registry's host", name, n+1, found)
			}
		}
	}
}

var unfinished = regexp.MustCompile(`TO` + `DO|FIX` + `ME|XX` + `X|not imple` + `mented|t\.Sk` + `ip\(\)|t\.Sk` + `ipNow\(`)

func TestNothingIsLeftUnfinished(t *testing.T) {
	for _, name := range sources(t) {
		for n, line := range bytes.Split(read(t, name), []byte("\n")) {
			if found := unfinished.Find(line); found != nil {
				t.Errorf("%s, line %d: %s (a test that is skipped says what to install: machine.Need)", name, n+1, found)
			}
		}
	}
}

func TestFilesAndFunctionsFitAReader(t *testing.T) {
	for _, name := range sources(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		content := read(t, name)
		if n := bytes.Count(content, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d fit", name, n, maxFileLines)
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, content, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := set.Position(f.End()).Line - set.Position(f.Pos()).Line; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d fit", name, f.Name.Name, n, maxFunctionLines)
			}
		}
	}
}
