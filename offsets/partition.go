package offsets

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
)

// A TopicID is Kafka's 16-byte topic id (KIP-516). It is the same on both
// clusters for ever: the target imports a topic with the id that legacy gave it.
type TopicID [16]byte

// String prints the id as Kafka's tools do: url-safe base64 without padding.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseTopicID reads what String printed.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("parse topic id %q: want 22 characters of url-safe base64", s)
	}
	copy(id[:], b)
	return id, nil
}

// MarshalText makes an id readable in JSON, also as a map key.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *TopicID) UnmarshalText(b []byte) error {
	v, err := ParseTopicID(string(b))
	*id = v
	return err
}

// A Partition names one log on both clusters, by topic id and never by name: a
// topic that was deleted and created again is another one.
type Partition struct {
	Topic TopicID `json:"topic"`
	Index int32   `json:"index"`
}

func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Index) }

// Compare orders partitions by topic id, then by index: -1, 0 or +1.
func (p Partition) Compare(o Partition) int {
	return cmp.Or(bytes.Compare(p.Topic[:], o.Topic[:]), cmp.Compare(p.Index, o.Index))
}

// A Side is one of the two clusters.
type Side uint8

// Legacy is the existing Kafka cluster, Target is where topics go.
const (
	Legacy Side = iota
	Target
)

// Other is the cluster on the other side.
func (s Side) Other() Side { return 1 - s }

func (s Side) String() string {
	if s == Target {
		return "target"
	}
	return "legacy"
}

// MarshalText writes "legacy" or "target".
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Side) UnmarshalText(b []byte) error {
	switch string(b) {
	case "legacy":
		*s = Legacy
	case "target":
		*s = Target
	default:
		return fmt.Errorf("parse side %q: want legacy or target", b)
	}
	return nil
}
