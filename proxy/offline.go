package proxy

import (
	"errors"
	"fmt"
	"time"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A connection whose broker is gone (or, on the target's node, with no broker in
// reach) is served offline: ApiVersions, Metadata and DescribeCluster from what
// legacy said last, data of moved partitions by the target. So clients of moved
// topics go on, and find the target's node. Coordinators and producer ids are
// legacy's: clients are told to ask again. Everything else ends the connection, as
// the broker's being down would.

const (
	// offlineRetry is the least time between attempts of one connection to reach a
	// broker.
	offlineRetry = time.Second
	// offlineShare bounds the share of time that a connection spends on them: a
	// broker that doesn't even refuse costs DialTimeout.
	offlineShare = 10

	codeCoordinatorLoading = 14
)

var errOffline = errors.New("broker out of reach")

// serveOffline answers a request that no guard has answered.
func (c *conn) serveOffline(r request) error {
	key := kmsg.Key(r.Key)
	switch key {
	case kmsg.Metadata, kmsg.DescribeCluster, kmsg.FindCoordinator, kmsg.InitProducerID:
	default:
		return fmt.Errorf("serve %s: %w", key.Name(), errOffline)
	}
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return err
	}
	legacy := c.p.topo.Snapshot()
	var resp kmsg.Response
	switch req := msg.(type) {
	case *kmsg.MetadataRequest:
		resp = offlineMetadata(req, legacy, c.p, c.p.nodes.alive)
	case *kmsg.DescribeClusterRequest:
		resp = offlineDescribeCluster(req, legacy, c.p)
	case *kmsg.FindCoordinatorRequest:
		resp = offlineCoordinator(req)
	case *kmsg.InitProducerIDRequest:
		init := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		init.ErrorCode = codeCoordinatorLoading
		resp = init
	}
	resp.SetVersion(r.Version)
	return c.answer(r, resp)
}

// offlineCoordinator has clients ask again: coordinators are on legacy.
func offlineCoordinator(req *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	resp.NodeID, resp.Port, resp.ErrorCode = -1, -1, codeCoordinatorNotReached
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port, c.ErrorCode = key, -1, -1, codeCoordinatorNotReached
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
