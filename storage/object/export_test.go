package object

import (
	"encoding/binary"
	"hash/crc32"
)

// Reseal puts a footer with the right checksums behind bytes that end with an
// index, whose length is their last byte times four.
func Reseal(b []byte) []byte {
	if len(b) < headerSize+1 {
		return b
	}
	n := min(4*int(b[len(b)-1]), len(b)-headerSize-1)
	b = b[: len(b)-1 : len(b)-1]
	le := binary.LittleEndian
	footer := le.AppendUint64(nil, uint64(len(b)-n))
	footer = le.AppendUint32(footer, uint32(n))
	footer = le.AppendUint32(footer, crc32.Checksum(b[len(b)-n:], castagnoli))
	footer = append(append(footer, make([]byte, 24)...), magic...)
	footer = le.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
	return append(b, footer...)
}
