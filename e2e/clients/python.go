package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"switchback/e2e/history"
	"switchback/e2e/machine"
)

//go:embed requirements.txt *.py
var programs embed.FS

// Python is an interpreter with confluent-kafka, and our programs.
type Python struct{ dir string }

var pythonFound struct {
	sync.Mutex
	python *Python
}

// NeedPython returns the interpreter; the test is skipped (or fails, see machine.Need) where python3 or its venv is missing. The environment
// is made once and kept in the user's cache under a name that changes with its requirements and programs.
func NeedPython(t testing.TB) *Python {
	t.Helper()
	machine.Need(t, "python3", "python3-venv")
	if exec.Command("python3", "-c", "import venv, ensurepip").Run() != nil {
		machine.Missing(t, "python3 has no venv", "python3-venv")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	python, err := getPython(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return python
}

func getPython(ctx context.Context) (*Python, error) {
	pythonFound.Lock()
	defer pythonFound.Unlock()
	if pythonFound.python != nil {
		return pythonFound.python, nil
	}
	files, err := programs.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("read python programs: %w", err)
	}
	version, err := exec.CommandContext(ctx, "python3", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("run python3 --version: %w", err)
	}
	content := map[string][]byte{}
	parts := [][]byte{version}
	for _, file := range files {
		if content[file.Name()], err = programs.ReadFile(file.Name()); err != nil {
			return nil, fmt.Errorf("read python programs: %w", err)
		}
		parts = append(parts, content[file.Name()])
	}
	sum := sha256.Sum256(bytes.Join(parts, []byte{0}))
	dir, err := machine.Cached(ctx, "python-"+hex.EncodeToString(sum[:8]), func(dir, final string) error {
		for name, text := range content {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return err
			}
		}
		return install(ctx, dir)
	})
	if err != nil {
		return nil, fmt.Errorf("get confluent-kafka: %w", err)
	}
	pythonFound.python = &Python{dir: dir}
	return pythonFound.python, nil
}

// install puts the packages beside the programs: a plain folder, unlike a whole environment, does not mind being renamed when it is done.
func install(ctx context.Context, dir string) error {
	venv := filepath.Join(dir, "venv")
	for _, command := range []machine.Command{
		{Name: "venv", Path: "python3", Args: []string{"-m", "venv", venv}},
		{Name: "pip", Path: filepath.Join(venv, "bin", "python"), Args: []string{
			"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
			"--target", filepath.Join(dir, "packages"), "--requirement", filepath.Join(dir, "requirements.txt"),
		}},
	} {
		said := machine.NewTail(4 << 10)
		command.Stdout, command.Stderr = said, said
		if err := machine.Run(ctx, command); err != nil {
			return fmt.Errorf("%w\n%s", err, said)
		}
	}
	return os.RemoveAll(venv)
}

// command returns the command that runs one of our programs.
func (p *Python) command(program string, args ...string) machine.Command {
	return machine.Command{
		Path: "python3",
		Args: append([]string{filepath.Join(p.dir, program)}, args...),
		Env:  []string{"PYTHONPATH=" + filepath.Join(p.dir, "packages"), "PYTHONDONTWRITEBYTECODE=1"},
	}
}

// LibrdkafkaProducer starts a producer on librdkafka, idempotent unless acks says otherwise.
func LibrdkafkaProducer(t testing.TB, python *Python, h *history.History, o Producing) Client {
	t.Helper()
	settings := map[string]string{"bootstrap.servers": o.Bootstrap, "client.id": o.Name, "acks": "all"}
	if o.Acks != "" {
		settings["acks"] = o.Acks
	}
	settings["enable.idempotence"] = strconv.FormatBool(settings["acks"] == "all")
	maps.Copy(settings, o.Config)
	args := append([]string{"--topic", o.Topic, "--name", o.Name, "--rate", strconv.Itoa(o.Rate)}, pairs(settings)...)
	// It does not tell what it is about to send.
	h.Sent(history.Mark{Producer: o.Name, Number: math.MaxInt64})
	return launch(t, o.Name, python.command("produce.py", args...), func(p *process, line []byte) error { return p.tellProducer(h, line) })
}

// LibrdkafkaConsumer starts a consumer on librdkafka.
func LibrdkafkaConsumer(t testing.TB, python *Python, h *history.History, o Consuming) Client {
	t.Helper()
	settings := map[string]string{
		"bootstrap.servers": o.Bootstrap, "client.id": o.Name, "group.id": o.Group,
		"auto.offset.reset": "earliest", "enable.auto.commit": "false",
	}
	if o.Protocol != "" {
		settings["group.protocol"] = o.Protocol
	}
	maps.Copy(settings, o.Config)
	args := append([]string{"--topic", o.Topic}, pairs(settings)...)
	return launch(t, o.Name, python.command("consume.py", args...), func(p *process, line []byte) error { return p.tellConsumer(h, o.Group, line) })
}

func pairs(settings map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, key+"="+settings[key])
	}
	return out
}
