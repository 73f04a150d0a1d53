package proxy

import (
	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// endpoints is what rewriting an answer needs to know about the virtual nodes
// and about partitions that are not shown as legacy has them. Methods may be
// called from any goroutine and don't block on the network.
type endpoints interface {
	// endpoint is the address under which clients reach a node, the target node
	// included. A legacy broker that was never seen gets its listener now; ok is
	// false when it cannot have one (the port range is used up), and the node is
	// left out of the answer then: no answer names a legacy address.
	endpoint(node int32) (host string, port int32, ok bool)
	// targetNode is the id of the target's node.
	targetNode() int32
	// topicID is the id of a topic, for versions that name topics only.
	topicID(name string) (id offsets.TopicID, ok bool)
	// shown is what clients are shown for a partition of which legacy says that
	// its leader epoch is legacyEpoch: the leader (-1: as legacy says; else the
	// target node) and the epoch. A legacyEpoch of -1 means that the answer's
	// version has none, or that legacy doesn't know it.
	shown(p offsets.Partition, legacyEpoch int32) (leader, epoch int32)
}

// rewriteProduceEndpoints rewrites the KIP-951 hints of a Produce answer.
func rewriteProduceEndpoints(resp *kmsg.ProduceResponse, e endpoints) {}

// rewriteFetchEndpoints rewrites the KIP-951 hints of a Fetch answer.
func rewriteFetchEndpoints(resp *kmsg.FetchResponse, e endpoints) {}

// rewriteShareFetchEndpoints rewrites the hints of a ShareFetch answer.
func rewriteShareFetchEndpoints(resp *kmsg.ShareFetchResponse, e endpoints) {}

// rewriteShareAcknowledgeEndpoints rewrites the hints of a ShareAcknowledge answer.
func rewriteShareAcknowledgeEndpoints(resp *kmsg.ShareAcknowledgeResponse, e endpoints) {}

// patchLeaders patches CurrentLeader hints of a Produce or Fetch answer that
// carries no endpoints in place. Other answers are left as they are.
func patchLeaders(key, version int16, frame []byte, e endpoints) error { return nil }

// rewriteAnswer rewrites any decoded answer that may carry endpoints or leader
// epochs; other answers are left as they are. changed tells whether the kind is
// one of those.
func rewriteAnswer(resp kmsg.Response, e endpoints) (changed bool) { return false }
