package server

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

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

// request asks any broker that answers, for what every broker can answer.
func (l *legacy) request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	var last error
	for node := range l.topology.Snapshot().Brokers {
		conn, err := l.topology.Dial(ctx, node)
		if err != nil {
			last = err
			continue
		}
		resp, err := conn.Request(ctx, req)
		_ = conn.Close() // the answer is in; nothing is lost with the connection
		if err == nil {
			return resp, nil
		}
		last = err
	}
	if last == nil {
		last = errNoBrokers
	}
	return nil, last
}

var errNoBrokers = errors.New("no broker of legacy is known")
