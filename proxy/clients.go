package proxy

import (
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
	Software        string    `json:"software"` // KIP-511, "name version"; empty when the client doesn't say
	Principal       string    `json:"principal"`
	Offline         bool      `json:"offline"` // served without a legacy broker
	Requests        uint64    `json:"requests"`
	Produces        uint64    `json:"produces"`
	Fetches         uint64    `json:"fetches"`
	BytesIn         uint64    `json:"bytes_in"`          // from the client
	BytesOut        uint64    `json:"bytes_out"`         // to the client
	ServedByTarget  uint64    `json:"served_by_target"`  // requests that the target has answered in part or whole
	TransactionalID string    `json:"transactional_id,omitempty"`
}

// Clients are the connections of this moment, oldest first.
func (p *Proxy) Clients() []Client { return nil }

// Transactional is when a transactional producer was last seen on a topic; zero
// when never.
func (p *Proxy) Transactional(topic offsets.TopicID) time.Time { return time.Time{} }

// LostUpstream is when a connection to this broker last ended with Produce on it
// that was not answered: the outcome is unknown, and a late request may still be
// in the broker's queue. Zero when never.
func (p *Proxy) LostUpstream(node int32) time.Time { return time.Time{} }
