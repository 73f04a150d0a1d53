package server

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/mirror"
	"switchback/offsets"
	"switchback/plans"
	"switchback/proxy"
)

// feedEvery is how often counters that nobody announces (lags, connections) are
// looked at. What did not change wakes no watch.
const feedEvery = 250 * time.Millisecond

// feed fills the live view: routes at once when the catalog says so, everything
// else some times a second.
func (s *Server) feed(ctx context.Context) error {
	wake, err := s.catalog.Watch(ctx, plans.RoutesPrefix)
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	routes := map[string]plans.Record{}
	for {
		select {
		case _, open := <-wake:
			if !open {
				return ctx.Err()
			}
			if routes, err = s.feedRoutes(ctx, routes); err != nil {
				return err
			}
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.feedFacts(routes); err != nil {
			return err
		}
	}
}

// feedRoutes shows the units of the catalog, and forgets those of before that
// are gone.
func (s *Server) feedRoutes(ctx context.Context, before map[string]plans.Record) (map[string]plans.Record, error) {
	kvs, err := s.catalog.List(ctx, plans.RoutesPrefix)
	if err != nil {
		return before, fmt.Errorf("read routes: %w", err)
	}
	now := make(map[string]plans.Record, len(kvs))
	for _, kv := range kvs {
		r, err := plans.ParseRecord(kv)
		if err != nil {
			return before, err
		}
		now[r.Unit] = r
		if err := s.view.SetRoute(routeRow(r)); err != nil {
			return before, err
		}
	}
	for unit := range before {
		if _, still := now[unit]; still {
			continue
		}
		if err := s.view.DeleteRoute(unit); err != nil {
			return before, err
		}
	}
	return now, nil
}

func routeRow(r plans.Record) admin.Route {
	row := admin.Route{
		Unit: r.Unit, Topics: r.Topics(), Partitions: len(r.Parts), Home: r.Home,
		Relocated: r.Relocated, Epoch: r.Epoch, Since: r.Since,
	}
	switch {
	case r.Move != nil:
		row.Move, row.Phase, row.Note = string(r.Move.Kind), string(r.Move.Phase), r.Move.Reason
	case r.Last != nil && r.Last.Done:
		row.Note = note(string(r.Last.Kind)+" done", r.Last.Reason)
	case r.Last != nil:
		row.Note = note(string(r.Last.Kind)+" given up", r.Last.Reason)
	}
	return row
}

func note(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func (s *Server) feedFacts(routes map[string]plans.Record) error {
	if err := s.view.SetProcess(s.process()); err != nil {
		return err
	}
	if err := s.view.SetBrokers(s.brokers()); err != nil {
		return err
	}
	parts, lags := partitionRows(s.mirror.All(), routes, s.proxy)
	if err := s.view.SetPartitions(parts); err != nil {
		return err
	}
	if err := s.view.SetLags(lags); err != nil {
		return err
	}
	return s.view.SetClients(connectionRows(s.proxy.Clients()))
}

func (s *Server) process() admin.Process {
	p := admin.Process{
		Version: s.version, ClusterID: s.clusterID, Owner: s.owned.ID, Bootstrap: s.proxy.Addr(),
		Node: s.cfg.TargetNode, Started: s.started, Legacy: "up", Storage: "ok",
	}
	if err := s.proxy.Topology().Err(); err != nil {
		p.Legacy = err.Error()
	}
	if err := s.engine.Err(); err != nil {
		p.Storage = err.Error()
	}
	return p
}

func (s *Server) brokers() []admin.Broker {
	snap := s.proxy.Topology().Snapshot()
	down := s.proxy.Topology().Err() != nil
	rows := make([]admin.Broker, 0, len(snap.Brokers))
	for id, b := range snap.Brokers {
		row := admin.Broker{Node: id, Legacy: b.Addr, Up: !down, Controller: id == snap.Controller}
		if host, port, ok := s.proxy.Endpoint(id); ok {
			row.Listen = net.JoinHostPort(host, strconv.Itoa(int(port)))
		}
		rows = append(rows, row)
	}
	return rows
}

// partitionRows joins what the mirror measures with where a partition lives.
func partitionRows(all []mirror.Status, routes map[string]plans.Record, p *proxy.Proxy) ([]admin.Partition, map[offsets.Partition]admin.Lag) {
	type place struct {
		relocated bool
		shown     offsets.Shown
	}
	places := map[offsets.Partition]place{}
	for _, r := range routes {
		for i, part := range r.Parts {
			places[part.Partition()] = place{r.Relocated, r.Shown[i]}
		}
	}
	rows := make([]admin.Partition, 0, len(all))
	lags := make(map[offsets.Partition]admin.Lag, len(all))
	for _, s := range all {
		at, moved := places[s.Partition]
		if !moved {
			at.shown = offsets.Shown{}
		}
		rows = append(rows, admin.Partition{
			Topic: s.Name, TopicID: s.Partition.Topic, Index: s.Partition.Index, Home: s.Home,
			Relocated: at.relocated, Wire: p.State(s.Partition), Leader: s.Leader, Epoch: s.Epoch,
			ShownEpoch: at.shown.Epoch(s.Epoch),
		})
		lags[s.Partition] = lagRow(s)
	}
	return rows, lags
}

func lagRow(s mirror.Status) admin.Lag {
	lag := admin.Lag{
		State: s.State.String(), Confirmed: s.Confirmed, HomeEnd: s.LegacyHigh,
		Batches: s.Backlog.Batches, Bytes: s.Backlog.Bytes, DrainMs: float64(s.Drain) / float64(time.Millisecond),
		Exact: s.Exact, Err: s.Err, Remedy: s.Remedy,
	}
	if lag.Batches < 0 { // legacy tells offsets; there are at most as many batches
		lag.Batches = s.Backlog.Offsets
	}
	if s.State == mirror.Settling {
		lag.State = admin.Copying
	}
	if s.Home == offsets.Target {
		lag.HomeEnd = s.TargetEnd
	}
	if s.Drain == mirror.DrainUnknown {
		lag.DrainMs = -1
	}
	if !s.Exact {
		lag.InexactFrom, lag.Why = max(s.InexactAt, 0), s.Err
	}
	return lag
}

func connectionRows(all []proxy.Client) []admin.Connection {
	rows := make([]admin.Connection, len(all))
	for i, c := range all {
		rows[i] = admin.Connection{
			Connection: c.Connection, ClientID: c.ClientID, Host: c.Remote, Principal: c.Principal,
			Software: c.Software, Node: c.Node, Since: c.Since, Requests: int64(c.Requests),
		}
	}
	return rows
}
