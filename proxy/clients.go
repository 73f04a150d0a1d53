package proxy

import (
	"slices"
	"time"
)

// A Client is one client connection, for the live view.
type Client struct {
	Connection      uint64    `json:"connection"`
	Node            int32     `json:"node"` // the node that it is connected to
	Remote          string    `json:"remote"`
	Since           time.Time `json:"since"`
	ClientID        string    `json:"client_id"`
	Software        string    `json:"software"`  // KIP-511, "name version"; empty when the client doesn't say
	Principal       string    `json:"principal"` // empty when it can't be seen
	Offline         bool      `json:"offline"`   // served without a legacy broker
	Requests        uint64    `json:"requests"`
	Produces        uint64    `json:"produces"`
	Fetches         uint64    `json:"fetches"`
	BytesIn         uint64    `json:"bytes_in"`         // from the client
	BytesOut        uint64    `json:"bytes_out"`        // to the client
	ServedByTarget  uint64    `json:"served_by_target"` // requests that the target has answered in part or whole
	TransactionalID string    `json:"transactional_id,omitempty"`
}

// Clients are the connections of this moment, oldest first.
func (p *Proxy) Clients() []Client {
	all := p.conns.all()
	slices.SortFunc(all, func(a, b *conn) int { return int(a.id) - int(b.id) })
	clients := make([]Client, 0, len(all))
	for _, c := range all {
		clients = append(clients, c.client())
	}
	return clients
}

func (c *conn) client() Client {
	s := &c.session
	principal := s.principalNow()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Client{
		Connection: c.id, Node: c.node, Remote: c.nc.RemoteAddr().String(), Since: c.stats.since,
		ClientID: s.clientID, Software: s.software, Principal: principal, Offline: c.offline.Load(),
		Requests: c.stats.requests.Load(), Produces: c.stats.produces.Load(), Fetches: c.stats.fetches.Load(),
		BytesIn: c.stats.bytesIn.Load(), BytesOut: c.stats.bytesOut.Load(),
		ServedByTarget: c.stats.byTarget.Load(), TransactionalID: s.transactional,
	}
}
