package proxy

import (
	"maps"
	"slices"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's error codes that the proxy says by itself.
const (
	codeNone                  int16 = 0
	codeLeaderNotAvailable    int16 = 5
	codeCoordinatorNotReached int16 = 15 // COORDINATOR_NOT_AVAILABLE
	codeUnsupportedVersion    int16 = 35
	codeUnknownTopicID        int16 = 100
)

// rewriteMetadata (key 3, versions 0 to 13) puts our listeners in the place of
// legacy's addresses, adds the target node, and shows relocated and shifted
// partitions as clients are to see them. Replicas and ISR stay legacy's, also
// where the target is shown as leader: tools compute replication factors and
// reassignments from them.
func rewriteMetadata(resp *kmsg.MetadataResponse, e endpoints) {
	resp.Brokers = slices.DeleteFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool {
		_, _, ok := e.endpoint(b.NodeID)
		return !ok || b.NodeID == e.targetNode()
	})
	for i := range resp.Brokers {
		resp.Brokers[i].Host, resp.Brokers[i].Port, _ = e.endpoint(resp.Brokers[i].NodeID)
	}
	if host, port, ok := e.endpoint(e.targetNode()); ok {
		target := kmsg.NewMetadataResponseBroker()
		target.NodeID, target.Host, target.Port = e.targetNode(), host, port
		resp.Brokers = append(resp.Brokers, target)
	}
	for i := range resp.Topics {
		showTopic(&resp.Topics[i], e)
	}
}

func showTopic(t *kmsg.MetadataResponseTopic, e endpoints) {
	id, ok := offsets.TopicID(t.TopicID), t.TopicID != [16]byte{}
	if !ok && t.Topic != nil { // before version 10
		id, ok = e.topicID(*t.Topic)
	}
	if !ok {
		return
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		leader, epoch := e.shown(offsets.Partition{Topic: id, Index: p.Partition}, p.LeaderEpoch)
		p.LeaderEpoch = epoch
		if leader >= 0 {
			p.Leader, p.ErrorCode = leader, codeNone // whatever legacy misses, the target serves
		}
	}
}

// offlineMetadata answers a Metadata request from the topology, already
// rewritten, when the broker behind this node is gone. alive tells whether a
// legacy broker can be reached; partitions of the others, unless relocated, get
// LEADER_NOT_AVAILABLE, and so do topics that nobody has seen: a client asks
// again, where UNKNOWN_TOPIC_OR_PARTITION could end it.
func offlineMetadata(req *kmsg.MetadataRequest, s *Snapshot, e endpoints, alive func(node int32) bool) *kmsg.MetadataResponse {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID = s.Controller
	if s.ClusterID != "" {
		resp.ClusterID = kmsg.StringPtr(s.ClusterID)
	}
	resp.AuthorizedOperations = unknownOperations
	for _, id := range slices.Sorted(maps.Keys(s.Brokers)) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Rack = id, rackOf(s.Brokers[id])
		resp.Brokers = append(resp.Brokers, b)
	}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, name := range slices.Sorted(maps.Keys(s.Topics)) {
			resp.Topics = append(resp.Topics, offlineTopic(s.Topics[name], alive))
		}
	}
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, offlineAsked(&req.Topics[i], s, alive))
	}
	rewriteMetadata(resp, e)
	return resp
}

// unknownOperations is Kafka's "not asked for" in authorized operations (KIP-430).
const unknownOperations = -1 << 31

func rackOf(n Node) *string {
	if n.Rack == "" {
		return nil
	}
	return &n.Rack
}

func offlineAsked(asked *kmsg.MetadataRequestTopic, s *Snapshot, alive func(node int32) bool) kmsg.MetadataResponseTopic {
	unknown := kmsg.NewMetadataResponseTopic()
	unknown.Topic, unknown.TopicID, unknown.ErrorCode = asked.Topic, asked.TopicID, codeLeaderNotAvailable
	if asked.Topic != nil {
		if t, ok := s.Topics[*asked.Topic]; ok {
			return offlineTopic(t, alive)
		}
		return unknown
	}
	if t, ok := s.TopicsByID[asked.TopicID]; ok {
		return offlineTopic(t, alive)
	}
	unknown.ErrorCode = codeUnknownTopicID
	return unknown
}

func offlineTopic(t *LegacyTopic, alive func(node int32) bool) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID, topic.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal
	for i := range t.Partitions {
		known := &t.Partitions[i]
		if known.Index < 0 {
			continue
		}
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch, p.ErrorCode = known.Index, known.Leader, known.Epoch, known.ErrorCode
		p.Replicas, p.ISR, p.OfflineReplicas = known.Replicas, known.ISR, known.Offline
		if p.Leader < 0 || !alive(p.Leader) {
			p.Leader, p.ErrorCode = -1, codeLeaderNotAvailable
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	return topic
}
