package server

import (
	"context"

	"switchback/mirror"
	"switchback/proxy"
)

// legacy shows the proxy's picture of the existing cluster to the mirror. The
// topology is set once, before anything runs: the proxy is made with the mirror
// in its hands, so one of the two has to come second.
type legacy struct{ topology *proxy.Topology }

func (l *legacy) Topics() []mirror.LegacyTopic {
	snap := l.topology.Snapshot()
	topics := make([]mirror.LegacyTopic, 0, len(snap.Topics))
	for _, t := range snap.Topics {
		parts := make([]mirror.LegacyPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			parts[i] = mirror.LegacyPartition{Leader: p.Leader, Epoch: p.Epoch}
		}
		topics = append(topics, mirror.LegacyTopic{Name: t.Name, ID: t.ID, Internal: t.Internal, Partitions: parts})
	}
	return topics
}

func (l *legacy) Changed() <-chan struct{} { return l.topology.Changed() }

func (l *legacy) Refresh(ctx context.Context) error { return l.topology.Refresh(ctx) }

func (l *legacy) Dial(ctx context.Context, node int32) (mirror.Conn, error) {
	conn, err := l.topology.Dial(ctx, node)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
