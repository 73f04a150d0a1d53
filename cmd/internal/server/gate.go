package server

import (
	"context"

	"switchback/offsets"
	"switchback/plans"
	"switchback/proxy"
)

// gate shows the proxy to the agent of the flip machine.
type gate struct{ proxy *proxy.Proxy }

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
		out[p] = proxy.Route(r)
	}
	g.proxy.Apply(out)
}

func (g gate) Abandon(parts []offsets.Partition) { g.proxy.Abandon(parts) }
