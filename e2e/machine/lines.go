package machine

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// maxLine bounds what Lines keeps of an unfinished line.
const maxLine = 1 << 20

// Lines is an io.Writer that hands every whole line, without its end, to Each. The slice is valid during the call only. A line
// longer than 1 MiB comes in pieces.
type Lines struct {
	Each func(line []byte)
	rest []byte
}

// Write implements io.Writer; it never fails.
func (l *Lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			l.rest = append(l.rest, b...)
			if len(l.rest) >= maxLine {
				l.Each(l.rest)
				l.rest = l.rest[:0]
			}
			break
		}
		line := b[:end]
		if len(l.rest) > 0 {
			l.rest = append(l.rest, line...)
			line = l.rest
		}
		l.Each(bytes.TrimSuffix(line, []byte("\r")))
		l.rest = l.rest[:0]
		b = b[end+1:]
	}
	return n, nil
}

// Tail keeps the last bytes that were written to it, for messages. It may be used by several goroutines.
type Tail struct {
	mu   sync.Mutex
	keep int
	b    []byte
}

// NewTail returns a Tail that keeps the last keep bytes.
func NewTail(keep int) *Tail { return &Tail{keep: keep} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - t.keep; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// String returns what was kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// FileTail returns the last keep bytes of a file, for messages; it says so where the file cannot be read.
func FileTail(path string, keep int64) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	from := max(0, info.Size()-keep)
	b := make([]byte, info.Size()-from)
	n, err := file.ReadAt(b, from)
	if err != nil && n == 0 {
		return fmt.Sprintf("(%v)", err)
	}
	return string(b[:n])
}
