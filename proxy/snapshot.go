package proxy

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Snapshot is legacy as Metadata answers showed it. It is never changed.
type Snapshot struct {
	ClusterID   string
	Controller  int32 // -1: unknown
	Brokers     map[int32]Node
	Topics      map[string]*LegacyTopic // by name
	TopicsByID  map[offsets.TopicID]*LegacyTopic
	ApiVersions *kmsg.ApiVersionsResponse // of the broker that was asked last; nil before the first refresh
	Sequence    uint64                    // rises with every change
}

// Node is a broker and its real address, which no client is ever told.
type Node struct {
	ID   int32
	Addr string // host:port
	Rack string // empty: none
}

// LegacyTopic is a topic as legacy's Metadata shows it.
type LegacyTopic struct {
	Name       string
	ID         offsets.TopicID
	Internal   bool
	Partitions []LegacyPartition // by index
}

// LegacyPartition is a partition as legacy's Metadata shows it.
type LegacyPartition struct {
	Index     int32
	ErrorCode int16
	Leader    int32 // -1: none
	Epoch     int32 // -1: unknown
	Replicas  []int32
	ISR       []int32
	Offline   []int32
}

// Partition finds a partition by topic id.
func (s *Snapshot) Partition(p offsets.Partition) (LegacyPartition, bool) {
	t, ok := s.TopicsByID[p.Topic]
	if !ok {
		return LegacyPartition{}, false
	}
	return t.Partition(p.Index)
}

// Partition finds a partition by its index.
func (t *LegacyTopic) Partition(index int32) (LegacyPartition, bool) {
	if index < 0 || int(index) >= len(t.Partitions) || t.Partitions[index].Index != index {
		return LegacyPartition{}, false
	}
	return t.Partitions[index], true
}

// whole makes a snapshot of an answer about all topics; old itself when nothing
// has changed. A partition whose epoch is lower than known stays as it was: the
// broker that was asked lags behind.
func whole(old *Snapshot, resp *kmsg.MetadataResponse, versions *kmsg.ApiVersionsResponse) *Snapshot {
	s := &Snapshot{
		ClusterID: old.ClusterID, Controller: resp.ControllerID, ApiVersions: versions, Sequence: old.Sequence,
		Brokers: nodesOf(resp),
		Topics:  make(map[string]*LegacyTopic, len(resp.Topics)), TopicsByID: make(map[offsets.TopicID]*LegacyTopic, len(resp.Topics)),
	}
	if resp.ClusterID != nil {
		s.ClusterID = *resp.ClusterID
	}
	same := old.ApiVersions != nil && s.ClusterID == old.ClusterID && s.Controller == old.Controller && maps.Equal(s.Brokers, old.Brokers)
	for i := range resp.Topics {
		answered := &resp.Topics[i]
		if answered.Topic == nil {
			continue
		}
		known := old.Topics[*answered.Topic]
		topic := known
		if answered.ErrorCode == 0 {
			topic = topicOf(known, answered)
		}
		if topic == nil {
			continue // new, and not readable yet: the next refresh has it
		}
		same = same && topic == known
		s.add(topic)
	}
	if same && len(s.Topics) == len(old.Topics) {
		return old
	}
	return s
}

// learnt takes from a passing answer what can't be stale; old itself when that is
// nothing. differs tells that legacy should be asked.
func learnt(old *Snapshot, resp *kmsg.MetadataResponse) (s *Snapshot, differs bool) {
	if resp.ErrorCode != 0 || resp.ClusterID != nil && old.ClusterID != "" && *resp.ClusterID != old.ClusterID {
		return old, true
	}
	s = old
	change := func() {
		if s == old {
			c := *old
			c.Brokers, c.Topics, c.TopicsByID = maps.Clone(old.Brokers), maps.Clone(old.Topics), maps.Clone(old.TopicsByID)
			s = &c
		}
	}
	for id, node := range nodesOf(resp) {
		known, ok := s.Brokers[id]
		differs = differs || known != node
		if !ok && s.Brokers != nil {
			change()
			s.Brokers[id] = node
		}
	}
	for i := range resp.Topics {
		answered := &resp.Topics[i]
		if answered.Topic == nil || answered.ErrorCode != 0 {
			continue
		}
		known, ok := s.Topics[*answered.Topic]
		if !ok || offsets.TopicID(answered.TopicID) != known.ID && answered.TopicID != [16]byte{} {
			differs = true
			continue
		}
		topic := raised(known, answered)
		if topic != known {
			change()
			s.add(topic)
		}
		differs = differs || len(answered.Partitions) != len(known.Partitions)
	}
	return s, differs
}

// raised is a topic with the partitions of which the answer has a higher epoch.
func raised(known *LegacyTopic, answered *kmsg.MetadataResponseTopic) *LegacyTopic {
	topic := known
	for i := range answered.Partitions {
		p := partitionOf(&answered.Partitions[i])
		if before, ok := known.Partition(p.Index); !ok || p.Epoch <= before.Epoch {
			continue
		}
		if topic == known {
			c := *known
			c.Partitions = slices.Clone(known.Partitions)
			topic = &c
		}
		topic.Partitions[p.Index] = p
	}
	return topic
}

func (s *Snapshot) add(t *LegacyTopic) {
	s.Topics[t.Name] = t
	if t.ID != (offsets.TopicID{}) {
		s.TopicsByID[t.ID] = t
	}
}

func nodesOf(resp *kmsg.MetadataResponse) map[int32]Node {
	nodes := make(map[int32]Node, len(resp.Brokers))
	for i := range resp.Brokers {
		b := &resp.Brokers[i]
		n := Node{ID: b.NodeID, Addr: net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		nodes[b.NodeID] = n
	}
	return nodes
}

// topicOf is a topic as answered; known itself when nothing has changed.
func topicOf(known *LegacyTopic, answered *kmsg.MetadataResponseTopic) *LegacyTopic {
	t := &LegacyTopic{
		Name: *answered.Topic, ID: answered.TopicID, Internal: answered.IsInternal,
		Partitions: make([]LegacyPartition, len(answered.Partitions)),
	}
	for i := range t.Partitions {
		t.Partitions[i] = LegacyPartition{Index: -1, Leader: -1, Epoch: -1}
	}
	again := known != nil && known.ID == t.ID
	for i := range answered.Partitions {
		p := partitionOf(&answered.Partitions[i])
		if p.Index < 0 || int(p.Index) >= len(t.Partitions) {
			continue // a hole in the numbering; Partition doesn't find it
		}
		if again {
			if before, ok := known.Partition(p.Index); ok && before.Epoch > p.Epoch && p.Epoch >= 0 {
				p = before
			}
		}
		t.Partitions[p.Index] = p
	}
	if again && known.Internal == t.Internal && slices.EqualFunc(known.Partitions, t.Partitions, LegacyPartition.equal) {
		return known
	}
	return t
}

func partitionOf(p *kmsg.MetadataResponseTopicPartition) LegacyPartition {
	return LegacyPartition{
		Index: p.Partition, ErrorCode: p.ErrorCode, Leader: p.Leader, Epoch: p.LeaderEpoch,
		Replicas: p.Replicas, ISR: p.ISR, Offline: p.OfflineReplicas,
	}
}

func (p LegacyPartition) equal(q LegacyPartition) bool {
	return p.Index == q.Index && p.ErrorCode == q.ErrorCode && p.Leader == q.Leader && p.Epoch == q.Epoch &&
		slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.ISR, q.ISR) && slices.Equal(p.Offline, q.Offline)
}
