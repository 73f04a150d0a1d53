package proxy

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"switchback/offsets"
)

// routes is what is known of all partitions that are not clean, at one
// generation. It is never changed; a change is a new one.
//
// States of a partition, as DESIGN has them: clean (not in parts), watched (in
// parts, home legacy, nothing else), held (partition.hold), moved (home target),
// shifted (home legacy, shown epochs above legacy's).
type routes struct {
	gen    uint64
	parts  map[offsets.Partition]*partition
	topics map[offsets.TopicID]*routedTopic
	names  map[string]offsets.TopicID // of topics, for versions that name them
}

// A routedTopic is a topic of which at least one partition is not clean.
type routedTopic struct {
	id    offsets.TopicID
	name  string // empty while nobody knows it
	parts []*partition
}

// clean tells whether every partition is: nothing has to be looked at.
func (r *routes) clean() bool { return len(r.parts) == 0 }

// find is the state of a partition that a request names by name (or, when topic
// is nil, by id); nil when it is clean. id is zero for an unknown name.
func (r *routes) find(topic []byte, id offsets.TopicID, index int32) *partition {
	if topic != nil {
		known, ok := r.names[string(topic)]
		if !ok {
			return nil
		}
		id = known
	}
	return r.parts[offsets.Partition{Topic: id, Index: index}]
}

// topic is the not clean topic of this name, or, when name is nil, of this id.
func (r *routes) topic(name *string, id offsets.TopicID) *routedTopic {
	if name != nil {
		known, ok := r.names[*name]
		if !ok {
			return nil
		}
		id = known
	}
	return r.topics[id]
}

// moved tells whether any partition of the topic has its home on the target, or
// is held and may have it there in a moment.
func (t *routedTopic) moved() bool {
	return t != nil && slices.ContainsFunc(t.parts, func(p *partition) bool { return p.maybeMoved() })
}

// A partition is the state of one that is not clean. There is one for the life of
// the process, whatever snapshot names it.
type partition struct {
	id offsets.Partition

	// stuck: it is relocated because the copy doesn't move, so a read on a legacy
	// node would wait for ever (DESIGN, rule 5 of honest reads).
	stuck atomic.Bool

	mu       sync.Mutex
	route    Route
	routed   bool          // a route was applied
	moved    bool          // the home has been the target at some time
	watched  bool          // no Produce from before it was followed is in flight
	hold     *hold         // nil: open
	inflight int           // Produce that entered and has not left
	idle     chan struct{} // closed when inflight falls to 0; nil: nobody waits
	acked    int64         // highest acknowledged offset plus one, -1: none
	covered  coverage      // of all that were acknowledged
	silent   bool          // Produce without acks has passed
}

// A hold is what Produce waits for.
type hold struct {
	id        string
	released  chan struct{} // closed when the hold ends
	abandoned bool          // how; written before released is closed
}

func newPartition(id offsets.Partition) *partition {
	return &partition{id: id, acked: -1, route: Route{Shown: offsets.Shown{Relocated: offsets.NotRelocated}}}
}

// enter counts a Produce in, or returns the hold that it has to wait for. What it
// returns holds until leave: the route can't change before. moved tells whether
// two paths for one producer may have overtaken each other.
func (s *partition) enter() (r Route, moved bool, h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		return Route{}, false, s.hold
	}
	s.inflight++
	return s.route, s.moved, nil
}

// leave counts a Produce out: answered, refused, or lost with its connection.
func (s *partition) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight--
	if s.inflight == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// ack notes that records below next were acknowledged. It comes before leave.
func (s *partition) ack(base, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, next)
	s.covered.add(base, next)
}

// noteSilent remembers that Produce without acks has passed.
func (s *partition) noteSilent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = true
}

// quiet is closed when nothing is in flight; nil when nothing is now.
func (s *partition) quiet() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight == 0 {
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	return s.idle
}

// now is the route of this moment, for everything but Produce.
func (s *partition) now() Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.route
}

func (s *partition) maybeMoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.route.Home == offsets.Target || s.hold != nil
}

// begin holds the partition; false when it is held already.
func (s *partition) begin(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil && !s.hold.abandoned {
		return false
	}
	if s.hold == nil {
		s.hold = &hold{id: id, released: make(chan struct{})}
	}
	return true
}

// abandon ends the wait of a hold without a route: enter goes on returning it,
// and whoever brings Produce is closed, until apply.
func (s *partition) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil || s.hold.abandoned {
		return
	}
	s.hold.abandoned = true
	close(s.hold.released)
}

// apply takes over a route and ends a hold; false when the route is older than
// the known one. was is the route before.
func (s *partition) apply(r Route) (was Route, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routed && r.Epoch < s.route.Epoch {
		return s.route, false
	}
	was = s.route
	s.route, s.routed = r, true
	s.moved = s.moved || r.Home == offsets.Target
	if h := s.hold; h != nil {
		s.hold = nil
		if !h.abandoned {
			close(h.released)
		}
	}
	return was, true
}

// routeTable publishes routes. Its readers never block.
type routeTable struct {
	mu      sync.Mutex // one change at a time
	current atomic.Pointer[routes]
}

var noRoutes = &routes{}

func (t *routeTable) load() *routes {
	if r := t.current.Load(); r != nil {
		return r
	}
	return noRoutes
}

// follow makes sure that all partitions have a state, and publishes a new
// generation if it had to add one. nameOf gives the name of a topic.
func (t *routeTable) follow(parts []offsets.Partition, nameOf func(offsets.TopicID) string) []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, changed := t.copy(), false
	states := make([]*partition, len(parts))
	for i, id := range parts {
		s := next.parts[id]
		if s == nil {
			s, changed = newPartition(id), true
			next.add(s, nameOf(id.Topic))
		}
		states[i] = s
	}
	if changed {
		t.current.Store(next)
	}
	return states
}

// bump publishes a new generation of the same partitions.
func (t *routeTable) bump() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.copy()
	t.current.Store(next)
	return next.gen
}

// rename takes over the names of topics. A name stays with its topic until
// another topic has it: a topic that legacy doesn't list for a moment must not
// become one that nobody guards.
func (t *routeTable) rename(nameOf func(offsets.TopicID) string, idOf func(string) (offsets.TopicID, bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, changed := t.copy(), false
	for id, topic := range next.topics {
		name := nameOf(id)
		if name == "" {
			name = topic.name
			if other, taken := idOf(name); taken && other != id {
				name = ""
			}
		}
		if name == topic.name {
			continue
		}
		if topic.name != "" && next.names[topic.name] == id {
			delete(next.names, topic.name)
		}
		next.topics[id] = &routedTopic{id: id, name: name, parts: topic.parts}
		if name != "" {
			next.names[name] = id
		}
		changed = true
	}
	if changed {
		t.current.Store(next)
	}
}

func (t *routeTable) copy() *routes {
	now := t.load()
	next := &routes{gen: now.gen + 1, parts: maps.Clone(now.parts), topics: maps.Clone(now.topics), names: maps.Clone(now.names)}
	if next.parts == nil {
		next.parts = make(map[offsets.Partition]*partition)
		next.topics = make(map[offsets.TopicID]*routedTopic)
		next.names = make(map[string]offsets.TopicID)
	}
	return next
}

// add is for a snapshot that is not published yet.
func (r *routes) add(s *partition, name string) {
	r.parts[s.id] = s
	topic := &routedTopic{id: s.id.Topic, name: name}
	if known := r.topics[s.id.Topic]; known != nil {
		topic.parts = slices.Clone(known.parts)
		if name == "" {
			topic.name = known.name
		}
	}
	topic.parts = append(topic.parts, s)
	r.topics[s.id.Topic] = topic
	if topic.name != "" {
		r.names[topic.name] = s.id.Topic
	}
}
