package proxy

import (
	"switchback/offsets"
	"switchback/proxy/wire"

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

// rewriteAnswer rewrites a decoded answer that may name addresses or shown
// epochs. changed tells whether it is of such a kind; others are left alone.
func rewriteAnswer(resp kmsg.Response, e endpoints) (changed bool) {
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		rewriteProduceEndpoints(resp, e)
	case *kmsg.FetchResponse:
		rewriteFetchEndpoints(resp, e)
	case *kmsg.MetadataResponse:
		rewriteMetadata(resp, e)
	case *kmsg.FindCoordinatorResponse:
		rewriteFindCoordinator(resp, e)
	case *kmsg.ApiVersionsResponse:
		rewriteApiVersions(resp)
	case *kmsg.DescribeClusterResponse:
		rewriteDescribeCluster(resp, e)
	case *kmsg.DescribeConfigsResponse:
		rewriteDescribeConfigs(resp, e)
	case *kmsg.DescribeTopicPartitionsResponse:
		rewriteDescribeTopicPartitions(resp, e)
	case *kmsg.ShareFetchResponse:
		rewriteShareFetchEndpoints(resp, e)
	case *kmsg.ShareAcknowledgeResponse:
		rewriteShareAcknowledgeEndpoints(resp, e)
	default:
		return false
	}
	return true
}

// hint shows a KIP-951 leader hint as clients are to see it. A hint that says
// nothing (leader -1) stays as it is.
func hint(e endpoints, p offsets.Partition, leader, epoch *int32) {
	if *leader < 0 {
		return
	}
	shownLeader, shownEpoch := e.shown(p, *epoch)
	*epoch = shownEpoch
	if shownLeader >= 0 {
		*leader = shownLeader
	}
}

// named collects the nodes that hints name, so that ids and endpoints agree: a
// client that was given the one without the other looks up the wrong address or
// none.
type named []int32

func (n *named) add(leader int32) {
	if leader < 0 {
		return
	}
	for _, id := range *n {
		if id == leader {
			return
		}
	}
	*n = append(*n, leader)
}

// idOf is the id of a topic that an answer names in one of the two ways.
func idOf(e endpoints, name string, id [16]byte) (offsets.TopicID, bool) {
	if id != ([16]byte{}) {
		return id, true
	}
	return e.topicID(name)
}

// rewriteProduceEndpoints rewrites the KIP-951 hints of a Produce answer.
func rewriteProduceEndpoints(resp *kmsg.ProduceResponse, e endpoints) {
	var nodes named
	for i := range resp.Topics {
		t := &resp.Topics[i]
		id, known := idOf(e, t.Topic, t.TopicID)
		for j := range t.Partitions {
			l := &t.Partitions[j].CurrentLeader
			if known {
				hint(e, offsets.Partition{Topic: id, Index: t.Partitions[j].Partition}, &l.LeaderID, &l.LeaderEpoch)
			}
			nodes.add(l.LeaderID)
		}
	}
	racks := map[int32]*string{}
	for i := range resp.Brokers {
		racks[resp.Brokers[i].NodeID] = resp.Brokers[i].Rack
	}
	resp.Brokers = nil
	for _, node := range nodes {
		if host, port, ok := e.endpoint(node); ok {
			b := kmsg.NewProduceResponseBroker()
			b.NodeID, b.Host, b.Port, b.Rack = node, host, port, racks[node]
			resp.Brokers = append(resp.Brokers, b)
		}
	}
}

// rewriteFetchEndpoints rewrites the KIP-951 hints of a Fetch answer. Encode it
// with wire.EncodeFetch, which copies no records.
func rewriteFetchEndpoints(resp *kmsg.FetchResponse, e endpoints) {
	var nodes named
	for i := range resp.Topics {
		t := &resp.Topics[i]
		id, known := idOf(e, t.Topic, t.TopicID)
		for j := range t.Partitions {
			l := &t.Partitions[j].CurrentLeader
			if known {
				hint(e, offsets.Partition{Topic: id, Index: t.Partitions[j].Partition}, &l.LeaderID, &l.LeaderEpoch)
			}
			nodes.add(l.LeaderID)
		}
	}
	racks := map[int32]*string{}
	for i := range resp.Brokers {
		racks[resp.Brokers[i].NodeID] = resp.Brokers[i].Rack
	}
	resp.Brokers = nil
	for _, node := range nodes {
		if host, port, ok := e.endpoint(node); ok {
			b := kmsg.NewFetchResponseBroker()
			b.NodeID, b.Host, b.Port, b.Rack = node, host, port, racks[node]
			resp.Brokers = append(resp.Brokers, b)
		}
	}
}

// rewriteShareFetchEndpoints rewrites the hints of a ShareFetch answer (KIP-932).
// Share groups stay on legacy, and so do the leaders named: only addresses and
// epochs change.
func rewriteShareFetchEndpoints(resp *kmsg.ShareFetchResponse, e endpoints) {
	var nodes named
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			l := &t.Partitions[j].CurrentLeader
			hint(e, offsets.Partition{Topic: t.TopicID, Index: t.Partitions[j].Partition}, &l.LeaderID, &l.LeaderEpoch)
			nodes.add(l.LeaderID)
		}
	}
	resp.NodeEndpoints = nil
	for _, node := range nodes {
		if host, port, ok := e.endpoint(node); ok {
			b := kmsg.NewShareFetchResponseNodeEndpoint()
			b.NodeID, b.Host, b.Port = node, host, port
			resp.NodeEndpoints = append(resp.NodeEndpoints, b)
		}
	}
}

// rewriteShareAcknowledgeEndpoints does the same for a ShareAcknowledge answer.
func rewriteShareAcknowledgeEndpoints(resp *kmsg.ShareAcknowledgeResponse, e endpoints) {
	var nodes named
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			l := &t.Partitions[j].CurrentLeader
			hint(e, offsets.Partition{Topic: t.TopicID, Index: t.Partitions[j].Partition}, &l.LeaderID, &l.LeaderEpoch)
			nodes.add(l.LeaderID)
		}
	}
	resp.NodeEndpoints = nil
	for _, node := range nodes {
		if host, port, ok := e.endpoint(node); ok {
			b := kmsg.NewShareAcknowledgeResponseNodeEndpoint()
			b.NodeID, b.Host, b.Port = node, host, port
			resp.NodeEndpoints = append(resp.NodeEndpoints, b)
		}
	}
}

// patchLeaders patches the CurrentLeader hints of a Produce or Fetch answer in
// place, for an answer that carries no endpoints. Other answers, and versions
// without hints, are left as they are.
func patchLeaders(key, version int16, frame []byte, e endpoints) (err error) {
	patch := func(at int, topic []byte, id offsets.TopicID, partition int32) {
		if at == 0 {
			return
		}
		id, known := idOf(e, string(topic), id)
		if !known {
			return
		}
		leader, epoch := wire.Epoch(frame, at), wire.Epoch(frame, at+4)
		hint(e, offsets.Partition{Topic: id, Index: partition}, &leader, &epoch)
		wire.PutEpoch(frame, at, leader)
		wire.PutEpoch(frame, at+4, epoch)
	}
	switch {
	case key == int16(kmsg.Produce) && wire.Flexible(key, version):
		_, err = wire.WalkProduceAnswer(version, frame, func(p wire.ProduceAnswer) {
			patch(p.LeaderAt, p.Topic, p.TopicID, p.Partition)
		})
	case key == int16(kmsg.Fetch) && wire.Flexible(key, version):
		_, err = wire.WalkFetchAnswer(version, frame, func(p wire.FetchAnswer) {
			patch(p.LeaderAt, p.Topic, p.TopicID, p.Partition)
		})
	}
	return err
}
