package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteMetadata puts our listeners in the place of legacy's addresses, adds
// the target node, and shows relocated and shifted partitions as clients are to
// see them.
func rewriteMetadata(resp *kmsg.MetadataResponse, e endpoints) {}

// offlineMetadata answers a Metadata request from the topology, already
// rewritten, when the broker behind this node is gone. alive tells whether a
// legacy broker can be reached; partitions of the others, unless relocated, get
// LEADER_NOT_AVAILABLE.
func offlineMetadata(req *kmsg.MetadataRequest, s *Snapshot, e endpoints, alive func(node int32) bool) *kmsg.MetadataResponse {
	return nil
}
