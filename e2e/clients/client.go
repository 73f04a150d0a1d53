package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"switchback/e2e/history"
	"switchback/e2e/machine"
)

// stopGrace bounds a client's own orderly end: flush, last commit, leaving the group.
const stopGrace = 45 * time.Second

// Client is a running client of any kind.
type Client interface {
	// Name is how reports call it: the producer's or the consumer's name in the history.
	Name() string
	// Log is what it logged.
	Log() *Log
	// Pulse beats with every acknowledgement or record.
	Pulse() *Pulse
	// Stop ends it in an orderly way and returns when everything has been told. A client that had ended by itself is an error.
	Stop() error
}

// Value is what a producer writes: the mark of the record.
func Value(m history.Mark) string { return m.String() }

// ParseValue reads a mark back.
func ParseValue(value string) (history.Mark, error) {
	i := strings.LastIndexByte(value, '.')
	if i < 0 {
		return history.Mark{}, fmt.Errorf("read value %q: no mark", value)
	}
	n, err := strconv.ParseInt(value[i+1:], 10, 64)
	if err != nil {
		return history.Mark{}, fmt.Errorf("read value %q: %w", value, err)
	}
	return history.Mark{Producer: value[:i], Number: n}, nil
}

// process is a client in a child process that prints JSON lines.
type process struct {
	name    string
	child   *machine.Process
	log     *Log
	pulse   Pulse
	mu      sync.Mutex
	garbage []string // lines that were no JSON
}

// maxGarbage bounds what is kept of lines that should not be there.
const maxGarbage = 20

// launch starts the child; each whole line of its output goes to tell. A test that ends without Stop kills it.
func launch(t testing.TB, name string, command machine.Command, tell func(p *process, line []byte) error) *process {
	t.Helper()
	log, err := newLog(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{name: name, log: log}
	command.Name = name
	command.Stdout = &machine.Lines{Each: func(line []byte) {
		if err := tell(p, line); err != nil {
			p.mu.Lock()
			if len(p.garbage) < maxGarbage {
				p.garbage = append(p.garbage, err.Error())
			}
			p.mu.Unlock()
		}
	}}
	command.Stderr = &machine.Lines{Each: log.line}
	if p.child, err = machine.Start(command); err != nil {
		log.close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.child.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("--- %s, last lines of its log\n%s", name, machine.FileTail(log.path, 4<<10))
		}
		log.close()
	})
	return p
}

func (p *process) Name() string  { return p.name }
func (p *process) Log() *Log     { return p.log }
func (p *process) Pulse() *Pulse { return &p.pulse }

// Process is the child: for those who pause or kill clients.
func (p *process) Process() *machine.Process { return p.child }

// Stop implements Client.
func (p *process) Stop() error {
	if !p.child.Alive() {
		return errors.Join(fmt.Errorf("stop %s: it had ended by itself with code %d\n%s", p.name, p.child.ExitCode(), machine.FileTail(p.log.path, 2<<10)), p.complain())
	}
	err := p.child.Stop(stopGrace)
	return errors.Join(err, p.complain())
}

func (p *process) complain() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.garbage) == 0 {
		return nil
	}
	return fmt.Errorf("%s printed what is no event: %s", p.name, strings.Join(p.garbage, "; "))
}

// event is a line that a client prints: the shapes of Kafka's own verifiable clients, which our Python programs share.
type event struct {
	Name       string `json:"name"`
	Timestamp  int64  `json:"timestamp"` // milliseconds
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"`
	Value      string `json:"value"`
	Message    string `json:"message"`   // producer_send_error
	Exception  string `json:"exception"` // producer_send_error
	Error      string `json:"error"`     // offsets_committed
	Success    *bool  `json:"success"`   // offsets_committed
	Partitions []spot `json:"partitions"`
	Offsets    []spot `json:"offsets"`
}

type spot struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (s spot) place() history.Place { return history.Place{Topic: s.Topic, Partition: s.Partition} }

func (e event) time() time.Time { return time.UnixMilli(e.Timestamp) }

// tellProducer records what a producer said.
func (p *process) tellProducer(h *history.History, line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	switch e.Name {
	case "producer_send_success":
		m, err := ParseValue(e.Value)
		if err != nil {
			return err
		}
		h.Acked(m, history.Place{Topic: e.Topic, Partition: e.Partition}, e.Offset)
		p.pulse.Beat(e.time())
	case "producer_send_error":
		m, err := ParseValue(e.Value)
		if err != nil {
			return err
		}
		h.Failed(m, strings.TrimSpace(e.Exception+" "+e.Message))
	}
	return nil
}

// tellConsumer records what a consumer said.
func (p *process) tellConsumer(h *history.History, group string, line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	switch e.Name {
	case "partitions_assigned":
		for _, s := range e.Partitions {
			h.Assigned(group, p.name, s.place())
		}
	case "partitions_revoked":
		for _, s := range e.Partitions {
			h.Revoked(group, p.name, s.place())
		}
	case "record_data":
		m, err := ParseValue(e.Value)
		if err != nil {
			return err
		}
		h.Read(group, p.name, history.Place{Topic: e.Topic, Partition: e.Partition}, e.Offset, m)
		p.pulse.Beat(e.time())
	case "offsets_committed":
		if e.Success != nil && !*e.Success {
			h.Erred(p.name, "commit: "+e.Error)
			return nil
		}
		for _, s := range e.Offsets {
			h.Committed(group, s.place(), s.Offset)
		}
	case "consumer_error":
		h.Erred(p.name, e.Message)
	}
	return nil
}
