package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-memdb"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

// Limits bound what is kept and how often it is pushed.
type Limits struct {
	Clients  int           // connections that are kept; others are counted. 0: 1,000
	Interval time.Duration // shortest time between two pushes of one watch. 0: 200 ms
	Now      func() time.Time
}

// A View is the live picture. See the package comment.
type View struct {
	limits  Limits
	db      *memdb.MemDB
	omitted atomic.Int64 // clients beyond the limit
}

// New makes an empty View.
func New(limits Limits) (*View, error) {
	limits.Clients = cmp.Or(limits.Clients, 1000)
	limits.Interval = cmp.Or(limits.Interval, 200*time.Millisecond)
	if limits.Now == nil {
		limits.Now = time.Now
	}
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		return nil, fmt.Errorf("open view: %w", err)
	}
	return &View{limits: limits, db: db}, nil
}

// SetProcess says what the server knows about itself.
func (v *View) SetProcess(p admin.Process) error { return v.set(processTable, processRow{p}) }

// SetBrokers says which brokers legacy has: all of them.
func (v *View) SetBrokers(all []admin.Broker) error {
	return v.replace(brokerTable, rowsOf(all, func(b admin.Broker) row { return brokerRow{b} }))
}

// SetRoute says what is recorded about a unit.
func (v *View) SetRoute(r admin.Route) error { return v.set(routeTable, routeRow{r}) }

// DeleteRoute forgets a unit; one that is not there is fine.
func (v *View) DeleteRoute(unit string) error {
	return v.delete(routeTable, routeRow{admin.Route{Unit: unit}})
}

// SetPartitions says which partitions there are and where they live: all of
// them. Lag in it is ignored; lags of partitions that are gone are forgotten.
func (v *View) SetPartitions(all []admin.Partition) error {
	here := make(map[string]bool, len(all))
	rows := rowsOf(all, func(p admin.Partition) row {
		p.Lag = admin.Lag{}
		r := partitionRow{p}
		here[string(r.key())] = true
		return r
	})
	if err := v.replace(partitionTable, rows); err != nil {
		return err
	}
	var gone []row
	err := each(v.db.Txn(false), lagTable, func(r lagRow) {
		if !here[string(r.key())] {
			gone = append(gone, r)
		}
	})
	if err != nil {
		return err
	}
	return v.delete(lagTable, gone...)
}

// SetLags says how far the copies of some partitions are; others keep theirs.
// Lags of partitions that SetPartitions did not name are not shown.
func (v *View) SetLags(some map[offsets.Partition]admin.Lag) error {
	rows := make([]row, 0, len(some))
	for p, lag := range some {
		rows = append(rows, lagRow{at: p, Lag: lag})
	}
	return v.set(lagTable, rows...)
}

// SetClients says who is connected: all of them. The oldest connections are
// kept up to the limit, the others counted.
func (v *View) SetClients(all []admin.Connection) error {
	kept := slices.Clone(all)
	slices.SortFunc(kept, func(a, b admin.Connection) int { return cmp.Compare(a.Connection, b.Connection) })
	omitted := max(0, len(kept)-v.limits.Clients)
	kept = kept[:len(kept)-omitted]
	v.omitted.Store(int64(omitted))
	return v.replace(clientTable, rowsOf(kept, func(c admin.Connection) row { return clientRow{c} }))
}

// Status is the picture of this moment.
func (v *View) Status() (admin.Status, error) { return v.status(v.db.Txn(false)) }

// Watch calls send with the present Status and again after changes, until ctx
// ends (nil) or send fails. Changes that come faster than Limits.Interval are
// pushed together.
func (v *View) Watch(ctx context.Context, send func(admin.Status) error) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		// Watched and read from one snapshot: what changes after it wakes us.
		txn := v.db.Txn(false)
		changed := memdb.NewWatchSet()
		for _, table := range tables {
			it, err := txn.Get(table, "id_prefix", []byte(nil))
			if err != nil {
				return fmt.Errorf("watch %s: %w", table, err)
			}
			changed.Add(it.WatchCh())
		}
		s, err := v.status(txn)
		if err != nil {
			return err
		}
		if err := send(s); err != nil {
			return err
		}
		pause.Reset(v.limits.Interval)
		if changed.WatchCtx(ctx) != nil {
			return nil
		}
	}
}

func (v *View) status(txn *memdb.Txn) (admin.Status, error) {
	s := admin.Status{At: v.limits.Now(), ClientsOmitted: int(v.omitted.Load())}
	lags := map[offsets.Partition]admin.Lag{}
	for _, err := range []error{
		each(txn, processTable, func(r processRow) { s.Process = r.Process }),
		each(txn, brokerTable, func(r brokerRow) { s.Brokers = append(s.Brokers, r.Broker) }),
		each(txn, routeTable, func(r routeRow) { s.Routes = append(s.Routes, r.Route) }),
		each(txn, lagTable, func(r lagRow) { lags[r.at] = r.Lag }),
		each(txn, partitionTable, func(r partitionRow) {
			p := r.Partition
			lag, known := lags[offsets.Partition{Topic: p.TopicID, Index: p.Index}]
			if !known {
				lag = admin.Lag{State: admin.Stopped, DrainMs: -1, Why: "nothing was measured yet"}
			}
			p.Lag = lag
			s.Partitions = append(s.Partitions, p)
		}),
		each(txn, clientTable, func(r clientRow) { s.Clients = append(s.Clients, r.Connection) }),
	} {
		if err != nil {
			return admin.Status{}, err
		}
	}
	slices.SortFunc(s.Partitions, func(a, b admin.Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
	})
	return s, nil
}

// set writes rows that differ from those in place, in one commit.
func (v *View) set(table string, rows ...row) error {
	txn := v.db.Txn(true)
	defer txn.Abort()
	for _, r := range rows {
		if err := put(txn, table, r); err != nil {
			return err
		}
	}
	txn.Commit()
	return nil
}

func (v *View) delete(table string, rows ...row) error {
	txn := v.db.Txn(true)
	defer txn.Abort()
	for _, r := range rows {
		if err := txn.Delete(table, r); err != nil && !errors.Is(err, memdb.ErrNotFound) {
			return fmt.Errorf("delete from %s: %w", table, err)
		}
	}
	txn.Commit()
	return nil
}

// replace makes rows all that a table holds, in one commit.
func (v *View) replace(table string, rows []row) error {
	keep := make(map[string]bool, len(rows))
	txn := v.db.Txn(true)
	defer txn.Abort()
	for _, r := range rows {
		keep[string(r.key())] = true
		if err := put(txn, table, r); err != nil {
			return err
		}
	}
	var gone []row
	if err := each(txn, table, func(r row) {
		if !keep[string(r.key())] {
			gone = append(gone, r)
		}
	}); err != nil {
		return err
	}
	for _, r := range gone {
		if err := txn.Delete(table, r); err != nil {
			return fmt.Errorf("delete from %s: %w", table, err)
		}
	}
	txn.Commit()
	return nil
}

// put inserts r unless its equal is there: an insert wakes every watch.
func put(txn *memdb.Txn, table string, r row) error {
	old, err := txn.First(table, "id", r.key())
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	if old != nil && reflect.DeepEqual(old, any(r)) {
		return nil
	}
	if err := txn.Insert(table, r); err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}

// each calls fn with every row of a table, in the order of keys.
func each[R row](txn *memdb.Txn, table string, fn func(R)) error {
	it, err := txn.Get(table, "id_prefix", []byte(nil))
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	for raw := it.Next(); raw != nil; raw = it.Next() {
		r, ok := raw.(R)
		if !ok {
			return fmt.Errorf("read %s: unexpected row %T", table, raw)
		}
		fn(r)
	}
	return nil
}

func rowsOf[T any](list []T, wrap func(T) row) []row {
	rows := make([]row, len(list))
	for i, v := range list {
		rows[i] = wrap(v)
	}
	return rows
}
