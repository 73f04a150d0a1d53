package mirror

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A purpose has a connection of its own per broker, so that a slow answer for one
// does not hold up another.
type purpose uint8

const (
	forSeal   purpose = iota // Ends
	forReads                 // HomeEnd
	forAdmin                 // topic configs
	forVerify                // Verify
)

type queryKey struct {
	node int32
	purpose
}

// A query is a connection for questions, shared by those who ask for the same
// purpose.
type query struct {
	mu     sync.Mutex // held while dialling
	conn   Conn
	closed bool
}

// inquire sends a question to a broker. A connection that was lost while it was
// idle costs one more try.
func inquire[R kmsg.Response](ctx context.Context, m *Mirror, why purpose, node int32, req kmsg.Request) (R, error) {
	var none R
	q, err := m.query(queryKey{node, why})
	if err != nil {
		return none, err
	}
	for {
		conn, used, err := q.open(ctx, m, node)
		if err != nil {
			return none, err
		}
		resp, err := request[R](ctx, conn, req)
		if err == nil {
			return resp, nil
		}
		q.drop(conn)
		if !used || ctx.Err() != nil {
			return none, fmt.Errorf("%w: broker %d: %w", ErrUnreachable, node, err)
		}
	}
}

// query finds or makes the place for a connection.
func (m *Mirror) query(key queryKey) (*query, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrStopped
	}
	q := m.queries[key]
	if q == nil {
		q = new(query)
		m.queries[key] = q
	}
	return q, nil
}

// open returns the connection; used says that it was there before.
func (q *query) open(ctx context.Context, m *Mirror, node int32) (conn Conn, used bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, false, ErrStopped
	}
	if q.conn != nil {
		return q.conn, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err = m.legacy.Dial(ctx, node)
	if err != nil {
		return nil, false, fmt.Errorf("%w: dial broker %d: %w", ErrUnreachable, node, err)
	}
	q.conn = conn
	return conn, false, nil
}

// drop gives up a connection that failed.
func (q *query) drop(conn Conn) {
	q.mu.Lock()
	if q.conn == conn {
		q.conn = nil
	}
	q.mu.Unlock()
	conn.Abort()
}

// closeQueries ends all of them; none is made afterwards.
func (m *Mirror) closeQueries() {
	m.mu.Lock()
	m.closed = true
	queries := m.queries
	m.queries = nil
	m.mu.Unlock()
	for _, q := range queries {
		q.mu.Lock()
		q.closed = true
		conn := q.conn
		q.mu.Unlock()
		if conn != nil {
			q.drop(conn)
		}
	}
}
