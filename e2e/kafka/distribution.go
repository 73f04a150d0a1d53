package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"switchback/e2e/machine"
)

// What a machine must have, by the names of Debian's packages.
const (
	javaPackage  = "openjdk-17-jre-headless"
	mavenPackage = "maven"
)

//go:embed pom.xml
var pom []byte

//go:embed log4j2.properties
var logging []byte

// Distribution is Apache Kafka on disk: jars, logging and archives of loaded classes.
type Distribution struct {
	dir string
}

// Main classes that tests run.
const (
	serverClass  = "kafka.Kafka"
	storageClass = "kafka.tools.StorageTool"
)

// jitFast keeps a JVM to its first compiler: it is warm at once and leaves the cores to others. jitFull is what a user's JVM does.
const jitFast = "-XX:TieredStopAtLevel=1"

var found struct {
	sync.Mutex
	dist *Distribution
}

// Need returns the distribution; the test is skipped (or fails, see machine.Need) where java or mvn is missing.
func Need(t testing.TB) *Distribution {
	t.Helper()
	machine.Need(t, "java", javaPackage)
	machine.Need(t, "mvn", mavenPackage)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dist, err := Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return dist
}

// Get returns the distribution from the cache, and puts it there first when it is not: a download of 55 MB and about 20 seconds of work.
func Get(ctx context.Context) (*Distribution, error) {
	found.Lock()
	defer found.Unlock()
	if found.dist != nil {
		return found.dist, nil
	}
	key, err := cacheKey(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := machine.Cached(ctx, key, func(dir, final string) error { return download(ctx, dir) })
	if err != nil {
		return nil, fmt.Errorf("get Apache Kafka: %w", err)
	}
	dist := &Distribution{dir: dir}
	// A trained archive names the jars by their path, so it is made where they stay.
	if err := dist.train(ctx); err != nil {
		return nil, fmt.Errorf("get Apache Kafka: %w", err)
	}
	found.dist = dist
	return dist, nil
}

// cacheKey names everything that decides what is in the entry.
func cacheKey(ctx context.Context) (string, error) {
	version, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run java -version: %w", err)
	}
	sum := sha256.Sum256(bytes.Join([][]byte{pom, logging, version}, []byte{0}))
	return "kafka-" + hex.EncodeToString(sum[:8]), nil
}

func download(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "log4j2.properties"), logging, 0o644); err != nil {
		return err
	}
	said := machine.NewTail(4 << 10)
	err := machine.Run(ctx, machine.Command{
		Name: "mvn", Path: "mvn", Dir: dir,
		Args:   []string{"-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"},
		Stdout: said, Stderr: said,
	})
	if err != nil {
		return fmt.Errorf("copy jars: %w\n%s", err, said)
	}
	return nil
}

// JVM says how to run a class of the distribution.
type JVM struct {
	Class string
	Args  []string
	Heap  string // -Xmx, "256m" when empty
	Full  bool   // all of the JIT, as a user's JVM has it; slower to warm up
	Flags []string
}

// Command returns the command that runs a class. The caller adds a name and where output goes.
func (d *Distribution) Command(j JVM) machine.Command {
	heap := j.Heap
	if heap == "" {
		heap = "256m"
	}
	args := []string{
		"-Xms32m", "-Xmx" + heap, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Xlog:disable",
		"-Dlog4j2.configurationFile=" + filepath.Join(d.dir, "log4j2.properties"), "-Djava.awt.headless=true",
	}
	if !j.Full {
		args = append(args, jitFast)
	}
	if archive := d.archive(j.Class); archive != "" {
		args = append(args, "-XX:SharedArchiveFile="+archive)
	}
	args = append(args, j.Flags...)
	args = append(args, "-cp", filepath.Join(d.dir, "lib")+"/*", j.Class)
	return machine.Command{Name: j.Class, Path: "java", Args: append(args, j.Args...)}
}

// archive returns the archive of loaded classes that suits a main class, "" when there is none (yet).
func (d *Distribution) archive(class string) string {
	name := clientArchive
	if class == serverClass {
		name = serverArchive
	}
	path := filepath.Join(d.dir, name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
