package proxy

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerEndpoints is DescribeCluster's endpoint type for brokers; 2 stands for
// controllers, which have no listener here (KIP-919).
const brokerEndpoints int8 = 1

// rewriteDescribeCluster (key 60, versions 0 to 2) puts our listeners in the
// place of legacy's addresses and adds the target node.
func rewriteDescribeCluster(resp *kmsg.DescribeClusterResponse, e endpoints) {
	if resp.ErrorCode != codeNone || resp.Version >= 1 && resp.EndpointType != brokerEndpoints {
		resp.Brokers = nil
		return
	}
	resp.Brokers = slices.DeleteFunc(resp.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool {
		_, _, ok := e.endpoint(b.NodeID)
		return !ok || b.NodeID == e.targetNode()
	})
	for i := range resp.Brokers {
		resp.Brokers[i].Host, resp.Brokers[i].Port, _ = e.endpoint(resp.Brokers[i].NodeID)
	}
	if host, port, ok := e.endpoint(e.targetNode()); ok {
		target := kmsg.NewDescribeClusterResponseBroker()
		target.NodeID, target.Host, target.Port = e.targetNode(), host, port
		resp.Brokers = append(resp.Brokers, target)
	}
}

// offlineDescribeCluster answers a DescribeCluster request from the topology,
// already rewritten.
func offlineDescribeCluster(req *kmsg.DescribeClusterRequest, s *Snapshot, e endpoints) *kmsg.DescribeClusterResponse {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = brokerEndpoints
	resp.ClusterID, resp.ControllerID, resp.ClusterAuthorizedOperations = s.ClusterID, s.Controller, unknownOperations
	if req.Version >= 1 && req.EndpointType != brokerEndpoints {
		resp.EndpointType, resp.ErrorCode = req.EndpointType, codeUnsupportedEndpointType
		return resp
	}
	for _, id := range slices.Sorted(maps.Keys(s.Brokers)) {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Rack = id, rackOf(s.Brokers[id])
		resp.Brokers = append(resp.Brokers, b)
	}
	rewriteDescribeCluster(resp, e)
	return resp
}

const codeUnsupportedEndpointType int16 = 115
