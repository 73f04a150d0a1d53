package storage

import (
	"math/bits"
	"sync"
)

// Buffers for reads come in powers of two from 4 KiB to 16 MiB; larger ones are
// left to the collector.
const (
	smallestBuffer = 12
	largestBuffer  = 24
)

var buffers [largestBuffer - smallestBuffer + 1]sync.Pool

// A buffer is borrowed memory.
type buffer struct {
	b     []byte
	class int // -1: not pooled
}

// getBuffer returns n bytes.
func getBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), smallestBuffer) - smallestBuffer
	if class >= len(buffers) {
		return &buffer{make([]byte, n), -1}
	}
	if buf, ok := buffers[class].Get().(*buffer); ok {
		buf.b = buf.b[:n]
		return buf
	}
	return &buffer{make([]byte, n, 1<<(class+smallestBuffer)), class}
}

func (buf *buffer) put() {
	if buf.class >= 0 {
		buffers[buf.class].Put(buf)
	}
}
