package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	segmentMagic  = "SBWAL\x00\x00\x02"
	segmentHeader = 4096
	segmentSuffix = ".wal"
	tempSuffix    = ".tmp"

	// zeroAhead is how far behind a frame the file is zero-filled; frames from
	// bigFrame on gain nothing from it.
	zeroAhead = 1 << 20
	bigFrame  = 256 << 10
)

var zeros [zeroAhead]byte

// A File is what the log needs of an open file; tests inject faults here.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Datasync() error // data, and what is needed to read it back
	Close() error
}

// A segment is one file. Only the committer writes to it.
type segment struct {
	file     File
	path     string
	info     segmentInfo
	pos      int64 // where the next frame goes
	zeroed   int64 // the file is written up to here
	capacity int64
}

type segmentInfo struct {
	folder      [16]byte
	number      uint32
	incarnation uint64
	firstLSN    uint64
	firstRecord uint64 // number of the first record, there or yet to come
	salt        uint32
}

func (i segmentInfo) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b, segmentMagic)
	copy(b[8:], i.folder[:])
	le := binary.LittleEndian
	le.PutUint64(b[24:], uint64(i.number))
	le.PutUint64(b[32:], i.incarnation)
	le.PutUint64(b[40:], i.firstLSN)
	le.PutUint64(b[48:], i.firstRecord)
	le.PutUint32(b[56:], i.salt)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeSegmentInfo(b []byte) (segmentInfo, error) {
	var i segmentInfo
	if len(b) < segmentHeader {
		return i, fmt.Errorf("segment header cut after %d bytes", len(b))
	}
	le := binary.LittleEndian
	if string(b[:7]) != segmentMagic[:7] {
		return i, errors.New("no segment of a write-ahead log")
	}
	if b[7] != segmentMagic[7] {
		return i, fmt.Errorf("format %d, this version reads %d", b[7], segmentMagic[7])
	}
	if le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return i, errors.New("segment header fails its checksum")
	}
	copy(i.folder[:], b[8:])
	i.number = uint32(le.Uint64(b[24:]))
	i.incarnation = le.Uint64(b[32:])
	i.firstLSN = le.Uint64(b[40:])
	i.firstRecord = le.Uint64(b[48:])
	i.salt = le.Uint32(b[56:])
	return i, nil
}

func segmentName(number uint32) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

func parseSegmentName(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	return uint32(n), err == nil
}

// createSegment makes a segment that can take a frame of need bytes, durable
// under its name before it returns.
func createSegment(cfg *Config, info segmentInfo, need int64) (*segment, error) {
	var salt [4]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("draw salt: %w", err)
	}
	info.salt = binary.LittleEndian.Uint32(salt[:])
	s := &segment{
		path:     filepath.Join(cfg.Dir, segmentName(info.number)),
		info:     info,
		pos:      segmentHeader,
		capacity: max(cfg.SegmentBytes, segmentHeader+need),
	}
	s.zeroed = min(s.capacity, segmentHeader+zeroAhead)
	temp := s.path + tempSuffix
	f, err := cfg.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s.file = f
	err = s.prepare(temp)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create segment %s: %w", s.path, err), f.Close())
	}
	return s, nil
}

func (s *segment) prepare(temp string) error {
	if _, err := s.file.WriteAt(s.info.encode(), 0); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(zeros[:s.zeroed-segmentHeader], segmentHeader); err != nil {
		return err
	}
	if err := s.file.Datasync(); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.path))
}

// write puts a frame at the end of the segment and syncs. A frame that leaves
// the zero-filled space takes the next stretch of zeros along.
func (s *segment) write(frame []byte) error {
	if _, err := s.file.WriteAt(frame, s.pos); err != nil {
		return fmt.Errorf("write frame to %s at %d: %w", s.path, s.pos, err)
	}
	end := s.pos + int64(len(frame))
	if end > s.zeroed {
		s.zeroed = end
		if ahead := min(zeroAhead, s.capacity-end); ahead > 0 && len(frame) < bigFrame {
			if _, err := s.file.WriteAt(zeros[:ahead], end); err != nil {
				return fmt.Errorf("extend %s at %d: %w", s.path, end, err)
			}
			s.zeroed += ahead
		}
	}
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	s.pos = end
	return nil
}

func (s *segment) fits(n int64) bool { return s.pos+n <= s.capacity }

// syncDir makes names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func openOSFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
