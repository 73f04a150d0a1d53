package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteDescribeCluster puts our listeners in the place of legacy's addresses
// and adds the target node.
func rewriteDescribeCluster(resp *kmsg.DescribeClusterResponse, e endpoints) {}

// offlineDescribeCluster answers a DescribeCluster request from the topology,
// already rewritten.
func offlineDescribeCluster(req *kmsg.DescribeClusterRequest, s *Snapshot, e endpoints) *kmsg.DescribeClusterResponse {
	return nil
}
