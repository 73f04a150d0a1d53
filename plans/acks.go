package plans

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"switchback/storage/catalog"
)

// maxAcksPerWrite bounds a transaction of acknowledgements well below the
// catalog's limits.
const maxAcksPerWrite = 32

// register writes an instance over its earlier incarnation. It returns the
// revision by which every acknowledgement of this incarnation is fenced.
func (l ledger) register(ctx context.Context, self Instance) (int64, error) {
	value, err := json.Marshal(self)
	if err != nil {
		return 0, fmt.Errorf("encode instance: %w", err)
	}
	key := InstancesPrefix + self.ID
	var last error
	for range maxStartTries {
		kv, err := l.cat.Get(ctx, key)
		if err != nil {
			return 0, fmt.Errorf("read instance: %w", err)
		}
		if bytes.Equal(kv.Value, value) {
			return kv.Rev, nil // a write that had ended unknown
		}
		rev, err := catalog.Put(ctx, l.cat, catalog.KV{Key: key, Value: value, Rev: kv.Rev})
		if err == nil {
			return rev, nil
		}
		last = fmt.Errorf("write instance: %w", err)
		if !undecided(err) {
			break
		}
	}
	return 0, last
}

// acknowledge asks for the follower's ack to be written. Called with mu.
func (a *Agent) acknowledge(f *follower) {
	f.dirty = true
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

// writeAcks writes acknowledgements as they change, the newest state of each.
func (a *Agent) writeAcks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.dirty:
		}
		for pause := time.Millisecond; ; {
			batch := a.takeDirty()
			if len(batch) == 0 {
				break
			}
			if a.writeBatch(ctx, batch) {
				pause = time.Millisecond
				continue
			}
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// A pending acknowledgement, as it was when it was taken.
type pendingAck struct {
	unit string
	key  string
	rev  int64
	ack  Ack
}

func (a *Agent) takeDirty() []pendingAck {
	a.mu.Lock()
	defer a.mu.Unlock()
	var batch []pendingAck
	for unit, f := range a.units {
		if f.dirty && len(batch) < maxAcksPerWrite {
			f.dirty = false
			batch = append(batch, pendingAck{unit, AcksPrefix + unit + "/" + a.self.ID, f.ackRev, f.ack})
		}
	}
	return batch
}

// writeBatch writes acknowledgements in one transaction, fenced by our
// registration. When that does not succeed it reads what stands there, marks what
// is still to be written, and returns false.
func (a *Agent) writeBatch(ctx context.Context, batch []pendingAck) bool {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ActTimeout)
	defer cancel()
	a.mu.Lock()
	self := a.rev
	a.mu.Unlock()
	cmps := []catalog.Compare{{Key: InstancesPrefix + a.self.ID, Rev: self}}
	var ops []catalog.Op
	for _, p := range batch {
		value, err := json.Marshal(p.ack)
		if err != nil {
			a.end(fmt.Errorf("encode acknowledgement: %w", err))
			return false
		}
		cmps = append(cmps, catalog.Compare{Key: p.key, Rev: p.rev})
		ops = append(ops, catalog.Op{Key: p.key, Value: value})
	}
	rev, err := a.ledger.cat.Txn(ctx, cmps, ops)
	if err == nil {
		for _, p := range batch {
			a.wroteAck(p, rev)
		}
		return true
	}
	for i, p := range batch {
		found := p.rev
		if kv, err := a.ledger.cat.Get(ctx, p.key); err == nil {
			found = kv.Rev
			if bytes.Equal(kv.Value, ops[i].Value) {
				a.wroteAck(p, kv.Rev)
				continue
			}
		}
		a.mu.Lock()
		if f := a.units[p.unit]; f != nil {
			f.dirty, f.ackRev = true, found
		}
		a.mu.Unlock()
	}
	if kv, err := a.ledger.cat.Get(ctx, InstancesPrefix+a.self.ID); err == nil && kv.Rev != self {
		a.end(fmt.Errorf("instance %s: %w", a.self.ID, ErrSuperseded))
	}
	return false
}

func (a *Agent) wroteAck(p pendingAck, rev int64) {
	a.mu.Lock()
	if f := a.units[p.unit]; f != nil {
		f.ackRev = rev
	}
	a.mu.Unlock()
	if p.ack.Held != "" {
		failpoint(AtAgentAcked)
	}
}

// end makes Run return err.
func (a *Agent) end(err error) {
	select {
	case a.fatal <- err:
	default:
	}
}
