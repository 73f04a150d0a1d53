package plans

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"switchback/storage/catalog"
)

// A ledger reads and writes the catalog's keys of this package.
type ledger struct{ cat catalog.Catalog }

// get reads a unit's record; rev 0 when there is none. A record that is known at
// the revision that stands there is not parsed again: in a hold that would cost
// producers as much as a write.
func (l ledger) get(ctx context.Context, unit string, known ...stored) (stored, error) {
	kv, err := l.cat.Get(ctx, RoutesPrefix+unit)
	if err != nil {
		return stored{}, fmt.Errorf("read unit %s: %w", unit, err)
	}
	if kv.Rev == 0 {
		return stored{Record: Record{Unit: unit}}, nil
	}
	return parse(kv, known...)
}

func parse(kv catalog.KV, known ...stored) (stored, error) {
	for _, s := range known {
		if s.rev == kv.Rev && s.key() == kv.Key {
			return s, nil
		}
	}
	rec, err := ParseRecord(kv)
	return stored{rec, kv.Rev}, err
}

// list reads all records. Those that known has at the revision that stands there
// are not parsed again.
func (l ledger) list(ctx context.Context, known map[string]stored) ([]stored, error) {
	kvs, err := l.cat.List(ctx, RoutesPrefix)
	if err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	all := make([]stored, 0, len(kvs))
	for _, kv := range kvs {
		s, err := parse(kv, known[kv.Key])
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// put is the compare-and-set of one record.
func (l ledger) put(ctx context.Context, s stored) (int64, error) {
	value, err := json.Marshal(s.Record)
	if err != nil {
		return 0, fmt.Errorf("encode unit %s: %w", s.Unit, err)
	}
	rev, err := catalog.Put(ctx, l.cat, catalog.KV{Key: s.key(), Value: value, Rev: s.rev})
	if err != nil {
		return 0, fmt.Errorf("write unit %s: %w", s.Unit, err)
	}
	return rev, nil
}

// undecided says that a write has to be followed by a read: it lost against
// another one, or its outcome is unknown.
func undecided(err error) bool {
	return errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown)
}

// instances reads all registered instances and what they acknowledged for unit.
// Instances are read first: one that registers later has not read routes yet
// either, so it knows whatever the caller wrote before.
func (l ledger) instances(ctx context.Context, unit string) ([]InstanceFacts, error) {
	kvs, err := l.cat.List(ctx, InstancesPrefix)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	acks, err := l.cat.List(ctx, AcksPrefix+unit+"/")
	if err != nil {
		return nil, fmt.Errorf("list acknowledgements of unit %s: %w", unit, err)
	}
	byInstance := make(map[string]Ack, len(acks))
	for _, kv := range acks {
		var ack Ack
		if err := json.Unmarshal(kv.Value, &ack); err != nil {
			return nil, fmt.Errorf("parse acknowledgement %s: %w", kv.Key, err)
		}
		byInstance[strings.TrimPrefix(kv.Key, AcksPrefix+unit+"/")] = ack
	}
	facts := make([]InstanceFacts, 0, len(kvs))
	for _, kv := range kvs {
		var in Instance
		if err := json.Unmarshal(kv.Value, &in); err != nil {
			return nil, fmt.Errorf("parse instance %s: %w", kv.Key, err)
		}
		ack := byInstance[in.ID]
		if ack.Incarnation != in.Incarnation {
			ack = Ack{}
		}
		facts = append(facts, InstanceFacts{ID: in.ID, Ack: ack})
	}
	return facts, nil
}

// A change is what starts a move or does a relocation: records to write and
// delete, in one transaction with the epochs that it takes.
type change struct {
	epochs  int64 // how many route epochs it takes
	put     []stored
	delete  []stored
	subject string // unit whose record carries id
	id      string // stands in Move.ID or Last.ID of that record
}

// maxStartTries bounds how often a start meets another start.
const maxStartTries = 16

// start makes a change. build is called with all records as they are and the
// first epoch that the change may use, perhaps several times. All starts meet at
// the counter of epochs, so no two of them can take the same partition.
func (l ledger) start(ctx context.Context, build func(all []stored, epoch int64) (change, error)) (stored, error) {
	var lost error
	for range maxStartTries {
		kv, err := l.cat.Get(ctx, epochKey)
		if err != nil {
			return stored{}, fmt.Errorf("read epoch: %w", err)
		}
		var last int64
		if kv.Rev != 0 {
			if err := json.Unmarshal(kv.Value, &last); err != nil {
				return stored{}, fmt.Errorf("parse epoch: %w", err)
			}
		}
		all, err := l.list(ctx, nil)
		if err != nil {
			return stored{}, err
		}
		c, err := build(all, last+1)
		if err != nil {
			return stored{}, err
		}
		rev, err := l.apply(ctx, kv, last+c.epochs, c)
		if err != nil && !undecided(err) {
			return stored{}, err
		}
		lost = err
		if err == nil {
			for _, s := range c.put {
				if s.Unit == c.subject {
					return stored{s.Record, rev}, nil
				}
			}
		}
		// Another start came first, or nobody knows: the record tells.
		if now, err := l.get(ctx, c.subject); err != nil {
			return stored{}, err
		} else if now.carries(c.id) {
			return now, nil
		}
	}
	return stored{}, fmt.Errorf("%w: other moves kept starting: %w", ErrBusy, lost)
}

func (l ledger) apply(ctx context.Context, counter catalog.KV, epoch int64, c change) (int64, error) {
	value, err := json.Marshal(epoch)
	if err != nil {
		return 0, fmt.Errorf("encode epoch: %w", err)
	}
	cmps := []catalog.Compare{{Key: epochKey, Rev: counter.Rev}}
	ops := []catalog.Op{{Key: epochKey, Value: value}}
	for _, s := range c.delete {
		cmps = append(cmps, catalog.Compare{Key: s.key(), Rev: s.rev})
		ops = append(ops, catalog.Op{Key: s.key(), Delete: true})
	}
	for _, s := range c.put {
		value, err := json.Marshal(s.Record)
		if err != nil {
			return 0, fmt.Errorf("encode unit %s: %w", s.Unit, err)
		}
		cmps = append(cmps, catalog.Compare{Key: s.key(), Rev: s.rev})
		ops = append(ops, catalog.Op{Key: s.key(), Value: value})
	}
	rev, err := l.cat.Txn(ctx, cmps, ops)
	if err != nil {
		return 0, fmt.Errorf("start move of unit %s: %w", c.subject, err)
	}
	return rev, nil
}

// carries says whether a start with this id has happened.
func (s stored) carries(id string) bool {
	return s.Move != nil && s.Move.ID == id || s.Last != nil && s.Last.ID == id
}
