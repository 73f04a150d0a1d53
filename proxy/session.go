package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const anonymous = "User:ANONYMOUS"

// session is what a client has shown of itself in passing. Secrets are looked at
// while they pass and never kept.
type session struct {
	sasl   atomic.Bool // an exchange has begun on this connection
	proven atomic.Bool // legacy has answered an ordinary request of ours since

	// A's, under sending.
	midway    bool // between a handshake and the first ordinary request after it
	asked     bool // legacy was asked something ordinary since the handshake
	mechanism string
	rounds    int
	claimed   string // principal that the exchange is about; empty: can't be seen

	mu            sync.Mutex
	principal     string
	clientID      string
	software      string
	transactional string
}

// principalNow is the client's principal; empty when it has used SASL with a
// mechanism that can't be read in passing.
func (s *session) principalNow() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.principal == "" && !s.sasl.Load() {
		return anonymous
	}
	return s.principal
}

// clientIDNow is what the client calls itself; empty when it hasn't said.
func (s *session) clientIDNow() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clientID
}

// note keeps what a request says about the client, for the live view.
func (s *session) note(set func(s *session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(s)
}

// saslHandshake sees the mechanism pass. Until the exchange is over nothing of our
// own may be sent on this upstream.
func (c *conn) saslHandshake(r request) (way, error) {
	if r.Version < 1 {
		return way{}, fmt.Errorf("sasl handshake version 0 is followed by tokens without a frame: %w", errRefused)
	}
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	s := &c.session
	s.sasl.Store(true)
	s.proven.Store(false)
	s.midway, s.asked, s.rounds, s.claimed = true, false, 0, ""
	s.mechanism = msg.(*kmsg.SASLHandshakeRequest).Mechanism
	return r.pass(), nil
}

// saslAuthenticate sees the principal pass, where the mechanism shows it.
func (c *conn) saslAuthenticate(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	s := &c.session
	s.rounds++
	if s.rounds == 1 {
		s.claimed = principalOf(s.mechanism, msg.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
	}
	last := s.mechanism == "PLAIN" || s.rounds > 1
	claimed := s.claimed
	w := r.pass()
	w.e.then = func(frame []byte, err error) bool {
		if err != nil || !last {
			return err == nil
		}
		if _, resp, err := wire.DecodeResponse(r.Key, r.Version, frame); err == nil && resp.(*kmsg.SASLAuthenticateResponse).ErrorCode == 0 {
			s.note(func(s *session) { s.principal = claimed })
		}
		return true
	}
	return w, nil
}

// principalOf reads the name out of the first message of a PLAIN or SCRAM
// exchange (RFC 4616, RFC 5802).
func principalOf(mechanism string, first []byte) string {
	switch {
	case mechanism == "PLAIN":
		if parts := bytes.SplitN(first, []byte{0}, 3); len(parts) == 3 {
			return "User:" + string(parts[1])
		}
	case strings.HasPrefix(mechanism, "SCRAM-"):
		var name string
		for _, field := range strings.Split(string(first), ",") {
			if strings.HasPrefix(field, "tokenauth=") {
				return "" // a delegation token: the name is the token's, not the principal's (KIP-48)
			}
			if rest, ok := strings.CutPrefix(field, "n="); ok {
				name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(rest)
			}
		}
		if name != "" {
			return "User:" + name
		}
	}
	return ""
}

// runDeferred does what had to wait for the end of an authentication. sending is
// held.
func (c *conn) runDeferred() {
	deferred := c.deferred
	c.deferred = nil
	for _, fn := range deferred {
		fn()
	}
}

// apiVersions notes the client's software (KIP-511), and answers here what legacy
// would not understand.
func (c *conn) apiVersions(r request) (way, error) {
	c.session.note(func(s *session) { s.clientID = string(r.ClientID) })
	if !advertised(r.Key, r.Version) {
		return way{}, c.answer(r, unsupportedApiVersions(c.p.topo.Snapshot().ApiVersions))
	}
	if r.Version >= 3 {
		msg, err := wire.DecodeRequest(r.Header, r.frame)
		if err != nil {
			return way{}, err
		}
		req := msg.(*kmsg.ApiVersionsRequest)
		c.session.note(func(s *session) {
			s.software = strings.TrimSpace(req.ClientSoftwareName + " " + req.ClientSoftwareVersion)
		})
	}
	if c.pinned == nil {
		return way{}, c.answer(r, offlineApiVersions(r.Version, c.p.topo.Snapshot().ApiVersions))
	}
	return r.pass(), nil
}
