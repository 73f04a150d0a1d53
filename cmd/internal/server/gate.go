package server

import (
	"context"

	"switchback/offsets"
	"switchback/plans"
	"switchback/proxy"
	"switchback/storage/broker"
)

// gate shows the proxy to the agent of the flip machine.
type gate struct {
	proxy  *proxy.Proxy
	broker *broker.Broker
}

func (g gate) Watch(ctx context.Context, parts []offsets.Partition) error {
	return g.proxy.Watch(ctx, parts)
}

func (g gate) Hold(parts []offsets.Partition, id string) { g.proxy.Hold(parts, id) }

func (g gate) Drain(ctx context.Context, parts []offsets.Partition) (map[offsets.Partition]int64, error) {
	return g.proxy.Drain(ctx, parts)
}

func (g gate) Apply(routes map[offsets.Partition]plans.Route) {
	out := make(map[offsets.Partition]proxy.Route, len(routes))
	for p, r := range routes {
		t, _ := g.broker.TopicByID(p.Topic) // a topic that is gone has no name
		out[p] = proxy.Route{Home: r.Home, Epoch: r.Epoch, Shown: r.Shown, Topic: t.Name}
	}
	g.proxy.Apply(out)
}

func (g gate) Abandon(parts []offsets.Partition) { g.proxy.Abandon(parts) }
