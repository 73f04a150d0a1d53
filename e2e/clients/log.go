package clients

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
)

// maxAbove bounds how many lines above INFO are kept; all are counted.
const maxAbove = 200

// Log is what a client logged: every line goes to a file, lines above INFO are kept. A line's level is its second word, as our settings for
// Java and Python print it; a line without a level (the rest of a stack trace) belongs to the line before.
type Log struct {
	path string

	mu    sync.Mutex
	file  *os.File
	count map[string]int
	above []string
}

var levels = map[string]bool{"TRACE": false, "DEBUG": false, "INFO": false, "WARN": true, "ERROR": true, "FATAL": true}

func newLog(path string) (*Log, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	return &Log{path: path, file: file, count: make(map[string]int)}, nil
}

func (l *Log) line(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		fmt.Fprintf(l.file, "%s\n", line)
	}
	words := bytes.Fields(line)
	if len(words) < 2 {
		return
	}
	level := string(words[1])
	above, ok := levels[level]
	if !ok {
		return
	}
	l.count[level]++
	if above && len(l.above) < maxAbove {
		l.above = append(l.above, string(line))
	}
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Close()
	l.file = nil
}

// Count is how many lines of a level were logged so far.
func (l *Log) Count(level string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[level]
}

// Above is how many lines above INFO were logged so far.
func (l *Log) Above() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count["WARN"] + l.count["ERROR"] + l.count["FATAL"]
}

// Since returns the lines above INFO from the n-th on, one a line, for messages.
func (l *Log) Since(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.above[min(n, len(l.above)):], "\n")
}
