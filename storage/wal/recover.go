package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// recover reads all segments in order, hands their records to replay, cuts a torn
// group off the end, and starts a new segment for this incarnation.
//
// What it demands, and what it concludes where the demand is not met:
//
//   - The first segment begins at or below the oldest record that is wanted. What
//     is wholly below it is not read any more, and removed.
//   - Segment numbers are dense and headers readable: otherwise corrupt. A segment
//     gets its name only after its header is durable, so a crash cannot do it.
//   - LSNs and record numbers are dense across frames and segments: otherwise corrupt.
//   - Where no frame can be read, none can be read behind that place either. If
//     one can, corrupt. If not, what stands there was being written at the crash,
//     and nobody was told of it.
//
// Everything is checked before anything on the disk is changed.
func (w *WAL) recover(replay func(Record, uint64, Location) error) error {
	if err := os.MkdirAll(w.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("create write-ahead log: %w", err)
	}
	numbers, leftovers, err := listSegments(w.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list write-ahead log: %w", err)
	}
	wanted, useless, err := w.wanted(numbers)
	if err != nil {
		return err
	}
	scan := scanner{cfg: &w.cfg, replay: replay, oldest: w.cfg.Oldest, nextLSN: 1, nextRecord: 1}
	for i, number := range wanted {
		if want := wanted[0] + uint32(i); number != want {
			return &CorruptError{filepath.Join(w.cfg.Dir, segmentName(want)), 0, "the segment is missing"}
		}
		s, err := scan.segment(number, i == 0)
		if s != nil {
			w.segments.add(s.info, s.file)
			w.current = s
		}
		if err != nil {
			return err
		}
	}
	if len(wanted) > 0 && scan.nextRecord < w.cfg.Oldest {
		return &CorruptError{w.current.path, w.current.pos, fmt.Sprintf("the log ends before record %d, but record %d and what follows are wanted", scan.nextRecord, w.cfg.Oldest)}
	}
	last := uint32(0)
	if len(wanted) > 0 {
		last = wanted[len(wanted)-1]
		if w.current.pos == segmentHeader {
			last-- // clean removes it
		}
	}
	if err := w.clean(slices.Concat(leftovers, useless)); err != nil {
		return fmt.Errorf("clean up write-ahead log: %w", err)
	}
	w.nextLSN, w.next = scan.nextLSN, scan.nextRecord
	s, err := createSegment(&w.cfg, segmentInfo{
		folder:      w.cfg.Folder,
		number:      last + 1,
		incarnation: scan.incarnation + 1,
		firstLSN:    w.nextLSN,
		firstRecord: w.next,
	}, 0)
	if err != nil {
		return err
	}
	w.segments.add(s.info, s.file)
	w.current = s
	return nil
}

// wanted splits the segments into those that hold records from cfg.Oldest on, with
// everything behind them, and the names of those that do not.
func (w *WAL) wanted(numbers []uint32) (wanted []uint32, useless []string, err error) {
	if len(numbers) == 0 && w.cfg.Oldest > 1 {
		return nil, nil, &CorruptError{w.cfg.Dir, 0, fmt.Sprintf("there is no segment, but record %d and what follows it are wanted", w.cfg.Oldest)}
	}
	first := 0
	for i := 1; i < len(numbers); i++ { // what the next begins with, this one does not hold
		info, err := w.header(numbers[i])
		if err != nil {
			break // the scan says what is wrong with it
		}
		if info.firstRecord > w.cfg.Oldest {
			break
		}
		first = i
	}
	for _, number := range numbers[:first] {
		useless = append(useless, segmentName(number))
	}
	return numbers[first:], useless, nil
}

func (w *WAL) header(number uint32) (segmentInfo, error) {
	f, err := w.cfg.OpenFile(filepath.Join(w.cfg.Dir, segmentName(number)), os.O_RDWR)
	if err != nil {
		return segmentInfo{}, err
	}
	b := make([]byte, segmentHeader)
	_, err = f.ReadAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return segmentInfo{}, err
	}
	return decodeSegmentInfo(b)
}

// clean makes what was read durable before anybody is shown it (a killed process
// leaves frames in the page cache only), cuts off what could not be read, and
// removes segments that never got their name or a frame.
func (w *WAL) clean(leftovers []string) error {
	for _, name := range leftovers {
		if err := os.Remove(filepath.Join(w.cfg.Dir, name)); err != nil {
			return err
		}
	}
	if w.current == nil {
		return nil
	}
	if err := w.current.file.Truncate(w.current.pos); err != nil {
		return err
	}
	if err := w.current.file.Datasync(); err != nil {
		return err
	}
	if w.current.pos == segmentHeader {
		if err := w.segments.dropLast(); err != nil {
			return err
		}
		if err := os.Remove(w.current.path); err != nil {
			return err
		}
	}
	return syncDir(w.cfg.Dir)
}

func listSegments(dir string) (numbers []uint32, leftovers []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if n, ok := parseSegmentName(e.Name()); ok {
			numbers = append(numbers, n)
		} else if strings.HasSuffix(e.Name(), segmentSuffix+tempSuffix) {
			leftovers = append(leftovers, e.Name())
		}
	}
	slices.Sort(numbers)
	return numbers, leftovers, nil
}

// A scanner reads segment after segment.
type scanner struct {
	cfg         *Config
	replay      func(Record, uint64, Location) error
	oldest      uint64
	nextLSN     uint64
	nextRecord  uint64
	incarnation uint64
	buf         []byte // holds one whole segment
}

// segment reads one segment and returns it open, positioned behind its last
// readable frame; also with an error, so that the caller closes it.
func (s *scanner) segment(number uint32, first bool) (*segment, error) {
	path := filepath.Join(s.cfg.Dir, segmentName(number))
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	f, err := s.cfg.OpenFile(path, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	one := &segment{file: f, path: path, pos: segmentHeader, info: segmentInfo{number: number}}
	size := int(stat.Size())
	s.buf = slices.Grow(s.buf[:0], size)[:size]
	if _, err := f.ReadAt(s.buf, 0); err != nil {
		return one, fmt.Errorf("read segment %s: %w", path, err)
	}
	if one.info, err = decodeSegmentInfo(s.buf); err != nil {
		one.info.number = number
		return one, &CorruptError{path, 0, err.Error()}
	}
	if err := s.checkHeader(one, number, first); err != nil {
		return one, err
	}
	return one, s.frames(one)
}

func (s *scanner) checkHeader(one *segment, number uint32, first bool) error {
	info := one.info
	if first { // what was before it was trimmed
		if oldest := max(s.oldest, 1); info.firstRecord > oldest {
			return &CorruptError{one.path, 0, fmt.Sprintf("the log begins with record %d, but record %d and what follows are wanted", info.firstRecord, oldest)}
		}
		s.nextLSN, s.nextRecord = info.firstLSN, info.firstRecord
	}
	one.info.number = number
	switch {
	case info.number != number:
		return &CorruptError{one.path, 0, fmt.Sprintf("the file holds segment %d", info.number)}
	case info.folder != s.cfg.Folder:
		return &CorruptError{one.path, 0, "the segment belongs to another data folder"}
	case info.incarnation < s.incarnation:
		return &CorruptError{one.path, 0, fmt.Sprintf("the segment is of incarnation %d, the one before of %d", info.incarnation, s.incarnation)}
	case info.firstLSN != s.nextLSN:
		return &CorruptError{one.path, 0, fmt.Sprintf("the segment begins with group %d, the one before ends before group %d", info.firstLSN, s.nextLSN)}
	case info.firstRecord != s.nextRecord:
		return &CorruptError{one.path, 0, fmt.Sprintf("the segment begins with record %d where record %d was expected", info.firstRecord, s.nextRecord)}
	}
	s.incarnation, s.nextLSN = info.incarnation, info.firstLSN
	return nil
}

// frames replays the frames of a segment, whose bytes are in buf.
func (s *scanner) frames(one *segment) error {
	for {
		info, body, err := readFrame(s.buf[min(one.pos, int64(len(s.buf))):], one.info.salt)
		if err != nil {
			return s.tail(one, err)
		}
		if info.lsn != s.nextLSN || info.segment != one.info.number || info.incarnation != one.info.incarnation {
			return &CorruptError{one.path, one.pos, fmt.Sprintf("group %d of segment %d where group %d was expected", info.lsn, info.segment, s.nextLSN)}
		}
		if info.first != s.nextRecord {
			return &CorruptError{one.path, one.pos, fmt.Sprintf("group %d begins with record %d where record %d was expected", info.lsn, info.first, s.nextRecord)}
		}
		at := Location{Segment: info.segment, Offset: uint32(one.pos) + frameHeader + recordSize}
		err = eachRecord(body, info.records, func(r Record, offset int) error {
			number := s.nextRecord
			s.nextRecord++
			if number < s.oldest {
				return nil
			}
			return s.replay(r, number, Location{Segment: at.Segment, Offset: at.Offset + uint32(offset)})
		})
		if err != nil {
			return &CorruptError{one.path, one.pos, err.Error()}
		}
		one.pos += info.size()
		s.nextLSN++
	}
}

// tail decides about the place where no frame could be read.
func (s *scanner) tail(one *segment, unreadable error) error {
	for at := one.pos + sector; at < int64(len(s.buf)); at += sector {
		info, err := readFrameHeader(s.buf[at:], one.info.salt)
		if err == nil {
			return &CorruptError{one.path, one.pos, fmt.Sprintf("group %d cannot be read (%v), but group %d at byte %d can",
				s.nextLSN, unreadable, info.lsn, at)}
		}
	}
	return nil
}
