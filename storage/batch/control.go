package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A MarkerType is what a control record says: Kafka's ControlRecordType.
type MarkerType int16

// The control records that a partition of a topic can hold.
const (
	MarkerAbort  MarkerType = 0
	MarkerCommit MarkerType = 1
)

func (t MarkerType) String() string {
	switch t {
	case MarkerAbort:
		return "abort"
	case MarkerCommit:
		return "commit"
	}
	return fmt.Sprintf("control(%d)", int16(t))
}

// ErrMarker is returned for a control batch that holds no readable control record.
var ErrMarker = errors.New("control record is malformed")

// A Marker is the control record of a control batch.
type Marker struct {
	Type             MarkerType // may be one that this package has no name for
	CoordinatorEpoch int32      // of an end-transaction marker, otherwise 0
}

// EndsTransaction says whether the marker is a commit or an abort.
func (m Marker) EndsTransaction() bool { return m.Type == MarkerAbort || m.Type == MarkerCommit }

// ParseMarker reads the marker of a control batch. A control batch that
// compaction has emptied gives ok false. Control batches are never compressed.
func ParseMarker(raw []byte) (m Marker, ok bool, err error) {
	h, err := Parse(raw)
	if err != nil {
		return Marker{}, false, err
	}
	if !h.Control() || h.Codec() != CodecNone {
		return Marker{}, false, fmt.Errorf("parse marker at %d, attributes %04x: %w", h.BaseOffset, h.Attributes, ErrMarker)
	}
	if h.NumRecords == 0 {
		return Marker{}, false, nil
	}
	r, _, err := ReadRecord(raw[HeaderSize:h.Size()])
	if err != nil {
		return Marker{}, false, fmt.Errorf("parse marker at %d: %w", h.BaseOffset, err)
	}
	if len(r.Key) < 4 || int16(binary.BigEndian.Uint16(r.Key)) < 0 {
		return Marker{}, false, fmt.Errorf("parse marker key at %d: %w", h.BaseOffset, ErrMarker)
	}
	m.Type = MarkerType(binary.BigEndian.Uint16(r.Key[2:]))
	if m.EndsTransaction() {
		if len(r.Value) < 6 || int16(binary.BigEndian.Uint16(r.Value)) < 0 {
			return Marker{}, false, fmt.Errorf("parse marker value at %d: %w", h.BaseOffset, ErrMarker)
		}
		m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
	}
	return m, true, nil
}
