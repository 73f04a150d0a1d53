package proxy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// authFresh is how long legacy's word on what a principal may do is good for,
	// and authRenew when it is asked again ahead of time.
	authFresh = 5 * time.Second
	authRenew = authFresh / 2
	// authStale is how long it is good for while legacy has been asked again and
	// has not answered: a broker that hangs must not stop what the target serves.
	authStale = time.Minute
	// authWait is how long a request waits for it. A client that comes back to the
	// target's node gets another broker.
	authWait = 3 * time.Second
	// maxAuth bounds the cache.
	maxAuth = 100_000
	// authRounds bounds how often a request asks before its connection is closed.
	authRounds = 3

	topicAuthorizationFailed = 29
	authorizedVersion        = 8  // of Metadata: authorized operations (KIP-430)
	askVersion               = 12 // of Metadata, where legacy has it
)

// An operation is a bit of authorized operations, as AclOperation numbers them.
type operation uint8

const (
	opRead     operation = 3
	opWrite    operation = 4
	opDelete   operation = 6
	opDescribe operation = 8
)

// authorizer remembers what principals may do with topics. Only legacy knows: it
// is asked on the client's own upstream connection, so what it answers is about
// the client, whatever the mechanism of authentication.
type authorizer struct {
	mu    sync.Mutex
	known map[authKey]authEntry
}

type authKey struct{ who, topic string }

type authEntry struct {
	operations int32
	at         time.Time // zero: never answered
	asked      time.Time
}

// fresh tells whether the entry counts.
func (e authEntry) fresh(now time.Time) bool {
	age := now.Sub(e.at)
	return age < authFresh || age < authStale && e.asked.After(e.at)
}

func (a *authorizer) look(key authKey) (authEntry, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.known[key]
	return e, ok && !e.at.IsZero()
}

func (a *authorizer) learn(key authKey, operations int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil || len(a.known) >= maxAuth {
		a.known = make(map[authKey]authEntry)
	}
	now := time.Now()
	a.known[key] = authEntry{operations: operations, at: now, asked: now}
}

// due tells whether the entry should be renewed, and notes that it is.
func (a *authorizer) due(key authKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.known[key]
	now := time.Now()
	if now.Sub(e.asked) < authRenew {
		return false
	}
	if a.known == nil {
		a.known = make(map[authKey]authEntry)
	}
	e.asked = now
	a.known[key] = e
	return true
}

// who is under which name the cache knows this client. A principal that can't be
// seen is a connection.
func (c *conn) who() string {
	if principal := c.session.principalNow(); principal != "" {
		return principal
	}
	return "connection " + strconv.FormatUint(c.id, 10)
}

// cachedAuthorized tells for which of the topics the client may not do op, and for
// which that is not known. Without a broker the last answer counts, however old.
func (c *conn) cachedAuthorized(topics []string, op operation) (denied map[string]bool, unknown []string) {
	who := c.who()
	for _, topic := range topics {
		if c.session.proven.Load() {
			c.prefetch(topic)
		}
		e, ok := c.p.auth.look(authKey{who, topic})
		fresh := c.pinned == nil || c.session.proven.Load() && e.fresh(time.Now())
		switch {
		case !ok || !fresh:
			unknown = append(unknown, topic)
		case e.operations&(1<<op) == 0:
			if denied == nil {
				denied = make(map[string]bool)
			}
			denied[topic] = true
		}
	}
	return denied, unknown
}

// learnAuthorized asks legacy about the topics and waits. With no broker to ask,
// or no answer after some rounds, there is an error, and the client comes back.
// sending is held, but given up to wait.
func (c *conn) learnAuthorized(topics []string, round int) error {
	if c.pinned == nil || round > authRounds {
		return fmt.Errorf("authorize %s for %d topics: legacy gave no answer", c.who(), len(topics))
	}
	answered := make(chan struct{})
	if err := c.flush(); err != nil {
		return err
	}
	c.askAuthorized(c.who(), topics, func() { close(answered) })
	hangs := false
	err := c.wait(func() {
		timer := time.NewTimer(authWait)
		defer timer.Stop()
		select {
		case <-answered:
		case <-c.ctx.Done():
		case <-timer.C:
			hangs = true
		}
	})
	switch {
	case err != nil:
		return err
	case hangs:
		return fmt.Errorf("authorize %s: broker %d gave no answer in %v", c.who(), c.pinned.node, authWait)
	}
	return c.upstream()
}

// authorized is for requests other than Produce: denied are those of the topics
// for which the client may not do op. Topics of which every partition is clean are
// not asked about: the target doesn't serve them. sending is held, but given up to
// wait.
func (c *conn) authorized(topics []string, op operation) (denied map[string]bool, err error) {
	routes := c.p.routes.load()
	topics = slices.DeleteFunc(topics, func(name string) bool { return routes.names[name] == offsets.TopicID{} })
	for round := 1; ; round++ {
		denied, unknown := c.cachedAuthorized(topics, op)
		if len(unknown) == 0 {
			return denied, nil
		}
		if err := c.learnAuthorized(unknown, round); err != nil {
			return nil, err
		}
	}
}

// prefetch asks for a topic ahead of time, so that a Produce never has to wait at
// a flip, nor anything while the answer is renewed. sending is held.
func (c *conn) prefetch(topic string) {
	who := c.who()
	if c.pinned == nil || c.session.midway || c.session.asked && !c.p.auth.due(authKey{who, topic}) {
		return
	}
	if c.flush() == nil { // else the connection ends anyway
		c.askAuthorized(who, []string{topic}, func() {})
	}
}

// askAuthorized asks legacy on the client's upstream. sending is held and
// everything flushed.
func (c *conn) askAuthorized(who string, topics []string, answered func()) {
	c.session.asked = true
	req := authRequest(topics, c.p.legacyMax(kmsg.Metadata))
	if req == nil { // too old to be asked; nor could such a broker be told by ACL that it matters
		for _, topic := range topics {
			c.p.auth.learn(authKey{who, topic}, math.MaxInt32)
		}
		c.session.proven.Store(true)
		answered()
		return
	}
	c.pinned.inject(req, func(resp kmsg.Response, err error) {
		defer answered()
		if err != nil {
			return
		}
		c.session.proven.Store(true)
		c.p.auth.take(who, resp.(*kmsg.MetadataResponse))
	})
}

// authRequest is the question; nil when legacy's Metadata can't answer it.
func authRequest(topics []string, highest int16) *kmsg.MetadataRequest {
	if highest < authorizedVersion {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = min(highest, askVersion)
	req.AllowAutoTopicCreation = false
	req.IncludeTopicAuthorizedOperations = true
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// take learns from an answer. Errors other than a refusal say nothing.
func (a *authorizer) take(who string, resp *kmsg.MetadataResponse) {
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		switch {
		case t.ErrorCode == topicAuthorizationFailed:
			a.learn(authKey{who, *t.Topic}, 0)
		case t.ErrorCode != 0:
		case t.AuthorizedOperations == math.MinInt32: // not filled in: no authorizer to ask
			a.learn(authKey{who, *t.Topic}, math.MaxInt32)
		default:
			a.learn(authKey{who, *t.Topic}, t.AuthorizedOperations)
		}
	}
}

// legacyMax is the highest version of an API that legacy is known to speak; -1
// when nothing is known.
func (p *Proxy) legacyMax(key kmsg.Key) int16 {
	versions := p.topo.Snapshot().ApiVersions
	if versions == nil {
		return -1
	}
	for _, k := range versions.ApiKeys {
		if k.ApiKey == int16(key) {
			return k.MaxVersion
		}
	}
	return -1
}
