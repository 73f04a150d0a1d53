package proxy

import (
	"slices"
	"sync"
	"time"

	"switchback/offsets"
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

// facts is what passed by and others want to know.
type facts struct {
	mu           sync.Mutex
	lost         map[int32]time.Time
	transactions map[offsets.TopicID]time.Time
}

func (f *facts) lostUpstream(node int32, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == nil {
		f.lost = make(map[int32]time.Time)
	}
	f.lost[node] = at
}

func (f *facts) transaction(topic offsets.TopicID, at time.Time) {
	if topic == (offsets.TopicID{}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.transactions == nil {
		f.transactions = make(map[offsets.TopicID]time.Time)
	}
	f.transactions[topic] = at
}

// Transactional is when a transactional producer was last seen on a topic; zero
// when never.
func (p *Proxy) Transactional(topic offsets.TopicID) time.Time {
	p.facts.mu.Lock()
	defer p.facts.mu.Unlock()
	return p.facts.transactions[topic]
}

// LostUpstream is when a connection to this broker last ended with Produce on it
// that was not answered: the outcome is unknown, and a late request may still be
// in the broker's queue. Zero when never.
func (p *Proxy) LostUpstream(node int32) time.Time {
	p.facts.mu.Lock()
	defer p.facts.mu.Unlock()
	return p.facts.lost[node]
}
