package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/catalog"
)

// Why a topic cannot be imported; test with errors.Is.
var (
	ErrNameTaken = errors.New("another topic has this name")              // remove it first
	ErrShrunk    = errors.New("topic has fewer partitions than imported") // Kafka never takes partitions away
	ErrTopic     = errors.New("topic is malformed")
)

// topicsPrefix is where topics stand in the catalog: topics/<id>, as JSON.
const topicsPrefix = "topics/"

// A Topic is a topic of legacy, as it is there. Its id is the target's, too.
type Topic struct {
	Name       string          `json:"name"`
	ID         offsets.TopicID `json:"id"`
	Partitions int32           `json:"partitions"`
	// Configs as legacy stores them, keys that nobody here knows included. A nil
	// value is a key without a value. Not to be modified.
	Configs  map[string]*string `json:"configs,omitempty"`
	Internal bool               `json:"internal,omitempty"` // Metadata's is_internal
}

// A record is what the catalog keeps of a topic.
type record struct {
	Topic
	// Removed is written before the logs are deleted, so that a crash in between
	// cannot bring an empty topic back to life.
	Removed bool `json:"removed,omitempty"`
}

// A topic is an imported one with its logs. It is immutable; a change replaces it
// by one that shares gone.
type topic struct {
	Topic
	rules rules
	logs  []*storage.Log // by partition index
	gone  *atomic.Bool   // it was removed: for requests that hold on to it
}

// log is the log of one partition.
func (t *topic) log(index int32) (*storage.Log, bool) {
	if t == nil || index < 0 || int(index) >= len(t.logs) {
		return nil, false
	}
	return t.logs[index], true
}

// A table finds topics by name and by id.
type table struct {
	writing sync.Mutex // held through Import and Remove, so that they come one after the other

	mu     sync.RWMutex
	byName map[string]*topic          // guarded by mu
	byID   map[offsets.TopicID]*topic // guarded by mu
}

// find looks a topic up as a request names it: by id in the versions that have
// ids, by name below (KIP-516). Nil when there is none.
func (t *table) find(name string, id [16]byte, byID bool) *topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if byID {
		return t.byID[id]
	}
	return t.byName[name]
}

func (t *table) partition(p offsets.Partition) (*storage.Log, bool) {
	return t.find("", p.Topic, true).log(p.Index)
}

func (t *table) put(n *topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := t.byID[n.ID]; before != nil && before.Name != n.Name {
		delete(t.byName, before.Name)
	}
	t.byID[n.ID] = n
	t.byName[n.Name] = n
}

func (t *table) drop(n *topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, n.ID)
	delete(t.byName, n.Name)
}

// all is every topic in the order of names.
func (t *table) all() []*topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.SortedFunc(maps.Values(t.byID), func(x, y *topic) int { return strings.Compare(x.Name, y.Name) })
}

// Topics lists the imported topics in the order of names.
func (b *Broker) Topics() []Topic {
	all := b.topics.all()
	list := make([]Topic, len(all))
	for i, t := range all {
		list[i] = t.Topic
	}
	return list
}

// TopicByName finds an imported topic.
func (b *Broker) TopicByName(name string) (Topic, bool) {
	return known(b.topics.find(name, [16]byte{}, false))
}

// TopicByID finds an imported topic.
func (b *Broker) TopicByID(id offsets.TopicID) (Topic, bool) {
	return known(b.topics.find("", id, true))
}

func known(t *topic) (Topic, bool) {
	if t == nil {
		return Topic{}, false
	}
	return t.Topic, true
}

// Import creates a topic with legacy's id, or brings an imported one up to date:
// more partitions, other configs. It is idempotent. New logs begin at offset 0
// (Engine.Reset moves that) and configs hold for the next append. The catalog
// has it before the logs are made, so a crash in between is finished by New.
// Errors: ErrTopic, ErrNameTaken, ErrShrunk; nothing was changed by these.
func (b *Broker) Import(ctx context.Context, t Topic) error {
	b.topics.writing.Lock()
	defer b.topics.writing.Unlock()
	if err := b.importable(t); err != nil {
		return fmt.Errorf("import topic %q: %w", t.Name, err)
	}
	t.Configs = maps.Clone(t.Configs)
	if err := b.store(ctx, record{Topic: t}); err != nil {
		return fmt.Errorf("import topic %q: %w", t.Name, err)
	}
	if err := b.open(t); err != nil {
		return fmt.Errorf("import topic %q: %w", t.Name, err)
	}
	return nil
}

func (b *Broker) importable(t Topic) error {
	if t.Name == "" || t.ID == (offsets.TopicID{}) || t.Partitions < 1 {
		return fmt.Errorf("%w: id %s, %d partitions", ErrTopic, t.ID, t.Partitions)
	}
	if _, err := parseRules(t.Configs); err != nil {
		return fmt.Errorf("%w: %w", ErrTopic, err)
	}
	if other := b.topics.find(t.Name, [16]byte{}, false); other != nil && other.ID != t.ID {
		return fmt.Errorf("%w: id %s, this one is %s", ErrNameTaken, other.ID, t.ID)
	}
	if before := b.topics.find("", t.ID, true); before != nil && before.Partitions > t.Partitions {
		return fmt.Errorf("%w: %d now, %d before", ErrShrunk, t.Partitions, before.Partitions)
	}
	return nil
}

// open makes and configures the logs of a topic and shows it to requests.
func (b *Broker) open(t Topic) error {
	r, err := parseRules(t.Configs)
	if err != nil {
		return err
	}
	n := &topic{Topic: t, rules: r, logs: make([]*storage.Log, t.Partitions), gone: new(atomic.Bool)}
	if before := b.topics.find("", t.ID, true); before != nil {
		n.gone = before.gone
	}
	for i := range n.logs {
		p := offsets.Partition{Topic: t.ID, Index: int32(i)}
		l, ok := b.engine.Log(p)
		if !ok {
			if l, err = b.engine.Create(p, 0); err != nil {
				return fmt.Errorf("create log of partition %d: %w", i, err)
			}
		}
		l.Configure(r.Rules)
		n.logs[i] = l
	}
	b.topics.put(n)
	return nil
}

// Remove forgets a topic and deletes its logs. Removing one that is not there is
// fine. Fetches that wait are answered; what comes later is told that the topic
// is not known. A Remove that fails half-way is finished by the next New.
func (b *Broker) Remove(ctx context.Context, id offsets.TopicID) error {
	b.topics.writing.Lock()
	defer b.topics.writing.Unlock()
	t := b.topics.find("", id, true)
	if t == nil {
		return nil
	}
	if err := b.store(ctx, record{Topic: t.Topic, Removed: true}); err != nil {
		return fmt.Errorf("remove topic %q: %w", t.Name, err)
	}
	b.topics.drop(t)
	t.gone.Store(true) // before the logs go, which wakes the fetches that wait on them
	if err := b.destroy(ctx, id); err != nil {
		return fmt.Errorf("remove topic %q: %w", t.Name, err)
	}
	return nil
}

// destroy deletes the logs of a topic whose record says Removed, then the record.
func (b *Broker) destroy(ctx context.Context, id offsets.TopicID) error {
	if err := b.engine.DeleteTopic(id); err != nil {
		return fmt.Errorf("delete logs: %w", err)
	}
	key := topicsPrefix + id.String()
	return b.settle(ctx, key, func(kv catalog.KV) (catalog.Op, bool) {
		return catalog.Op{Key: key, Delete: true}, kv.Rev == 0
	})
}

// load opens every topic of the catalog and finishes removals.
func (b *Broker) load(ctx context.Context) error {
	b.topics.byName = map[string]*topic{}
	b.topics.byID = map[offsets.TopicID]*topic{}
	kvs, err := b.cat.List(ctx, topicsPrefix)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		var r record
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			return fmt.Errorf("read %s: %w", kv.Key, err)
		}
		if r.Removed {
			err = b.destroy(ctx, r.ID)
		} else {
			err = b.open(r.Topic)
		}
		if err != nil {
			return fmt.Errorf("open topic %q: %w", r.Name, err)
		}
	}
	return nil
}

// store puts a record into the catalog; one that is there already is fine.
func (b *Broker) store(ctx context.Context, r record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	key := topicsPrefix + r.ID.String()
	return b.settle(ctx, key, func(kv catalog.KV) (catalog.Op, bool) {
		return catalog.Op{Key: key, Value: value}, bytes.Equal(kv.Value, value)
	})
}

// settleAttempts bounds how often a catalog write whose outcome is unknown, or
// that lost against another one, is tried again.
const settleAttempts = 8

// settle brings one key to where it should be: want says what to do about what
// stands there, or that nothing is to be done. A write may end unknown, so what
// counts is what a read finds afterwards.
func (b *Broker) settle(ctx context.Context, key string, want func(catalog.KV) (catalog.Op, bool)) error {
	var last error
	for range settleAttempts {
		kv, err := b.cat.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		op, settled := want(kv)
		if settled {
			return nil
		}
		_, last = b.cat.Txn(ctx, []catalog.Compare{{Key: key, Rev: kv.Rev}}, []catalog.Op{op})
		if last == nil {
			return nil
		}
		if !errors.Is(last, catalog.ErrConflict) && !errors.Is(last, catalog.ErrUnknown) {
			break
		}
	}
	return fmt.Errorf("write %s: %w", key, last)
}
