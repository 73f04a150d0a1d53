package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"switchback/e2e/machine"
)

// chunk is how much is relayed at a time.
const chunk = 64 << 10

// Relay listens on one port and relays to one address.
type Relay struct {
	to       string
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	links  map[*link]struct{}
	delays []delay
	stalls map[*stall]struct{}
}

// delay makes every chunk from matching clients to the server late.
type delay struct {
	match string
	by    time.Duration
}

// stall holds back what matching clients send until open is closed.
type stall struct {
	match string
	open  chan struct{}
}

// link is one relayed connection.
type link struct {
	client, server net.Conn

	mu sync.Mutex
	id string // the client's id, "" until its first request was seen
}

// Listen opens a port and relays what comes to an address. to need not be served yet.
func Listen(port int, to string) (*Relay, error) {
	listener, err := net.Listen("tcp", machine.Loopback(port))
	if err != nil {
		return nil, fmt.Errorf("open relay: %w", err)
	}
	r := &Relay{to: to, listener: listener, links: make(map[*link]struct{}), stalls: make(map[*stall]struct{})}
	r.wait.Go(r.accept)
	return r, nil
}

// Addr is where the relay listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close ends the relay and all its connections.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for s := range r.stalls {
		close(s.open)
	}
	clear(r.stalls)
	for l := range r.links {
		l.close()
	}
	r.mu.Unlock()
	r.wait.Wait()
	return err
}

// Delay makes everything late that clients send whose id begins with prefix; 0 makes it prompt again. It holds for connections that exist
// as for later ones.
func (r *Relay) Delay(prefix string, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.delays[:0]
	for _, d := range r.delays {
		if d.match != prefix {
			kept = append(kept, d)
		}
	}
	if by > 0 {
		kept = append(kept, delay{prefix, by})
	}
	r.delays = kept
}

// Stall holds back everything that clients send whose id begins with prefix, until release is called. A client that goes away meanwhile
// leaves what it has sent: it is delivered at release.
func (r *Relay) Stall(prefix string) (release func()) {
	s := &stall{match: prefix, open: make(chan struct{})}
	r.mu.Lock()
	r.stalls[s] = struct{}{}
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, ok := r.stalls[s]; ok {
			delete(r.stalls, s)
			close(s.open)
		}
	}
}

// Cut closes the connections of clients whose id begins with prefix, and returns how many there were.
func (r *Relay) Cut(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for l := range r.links {
		if strings.HasPrefix(l.name(), prefix) {
			l.close()
			n++
		}
	}
	return n
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		server, err := net.Dial("tcp", r.to)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			l.close()
			return
		}
		r.links[l] = struct{}{}
		r.mu.Unlock()
		r.wait.Go(func() { r.up(l) })
		r.wait.Go(func() { r.down(l) })
	}
}

// up relays from client to server. After the client is gone what was read is still delivered, and only then the server's side is closed.
func (r *Relay) up(l *link) {
	defer r.forget(l)
	buffer := make([]byte, chunk)
	seen := false
	for {
		n, err := l.client.Read(buffer)
		if n > 0 {
			if !seen {
				l.learn(buffer[:n])
				seen = true
			}
			r.hinder(l)
			if _, werr := l.server.Write(buffer[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down relays from server to client.
func (r *Relay) down(l *link) {
	io.Copy(l.client, l.server) //nolint:errcheck // either side may go at any time; both are closed then
	l.client.Close()
}

// hinder waits for as long as the faults of now say.
func (r *Relay) hinder(l *link) {
	name := l.name()
	r.mu.Lock()
	var by time.Duration
	for _, d := range r.delays {
		if strings.HasPrefix(name, d.match) {
			by = max(by, d.by)
		}
	}
	var open chan struct{}
	for s := range r.stalls {
		if strings.HasPrefix(name, s.match) {
			open = s.open
		}
	}
	r.mu.Unlock()
	if by > 0 {
		<-time.After(by)
	}
	if open != nil {
		<-open
	}
}

func (r *Relay) forget(l *link) {
	l.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

func (l *link) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// learn reads the client id from the first bytes of a connection: size, key, version, correlation id, then the id with its length.
func (l *link) learn(b []byte) {
	const at = 4 + 2 + 2 + 4
	if len(b) < at+2 {
		return
	}
	n := int(int16(binary.BigEndian.Uint16(b[at:])))
	if n <= 0 || len(b) < at+2+n {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = string(b[at+2 : at+2+n])
}
