package view_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/view"
	"switchback/offsets"
)

var (
	orders = offsets.TopicID{1}
	audit  = offsets.TopicID{2}
)

func open(t *testing.T, limits view.Limits) *view.View {
	t.Helper()
	v, err := view.New(limits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestStatusJoinsWhatWasFed(t *testing.T) {
	at := time.Unix(1e9, 0).UTC()
	v := open(t, view.Limits{Now: func() time.Time { return at }})
	lag := admin.Lag{State: admin.CaughtUp, Confirmed: 7, HomeEnd: 7, DrainMs: 1, Exact: true}
	must(t,
		v.SetProcess(admin.Process{ClusterID: "c", Node: 1000001}),
		v.SetBrokers([]admin.Broker{{Node: 2}, {Node: 1, Up: true}}),
		v.SetRoute(admin.Route{Unit: "u", Topics: []string{"orders"}, Home: offsets.Target, Epoch: 3}),
		// Ids order the table, names the picture.
		v.SetPartitions([]admin.Partition{{Topic: "orders", TopicID: orders, Index: 1}, {Topic: "orders", TopicID: orders, Index: 0}, {Topic: "audit", TopicID: audit}}),
		v.SetLags(map[offsets.Partition]admin.Lag{{Topic: orders, Index: 1}: lag, {Topic: offsets.TopicID{9}}: lag}),
		v.SetClients([]admin.Connection{{Connection: 5, ClientID: "b"}, {Connection: 4, ClientID: "a"}}),
	)
	got, err := v.Status()
	must(t, err)
	none := admin.Lag{State: admin.Stopped, DrainMs: -1, Why: "nothing was measured yet"}
	want := admin.Status{
		At:      at,
		Process: admin.Process{ClusterID: "c", Node: 1000001},
		Brokers: []admin.Broker{{Node: 1, Up: true}, {Node: 2}},
		Routes:  []admin.Route{{Unit: "u", Topics: []string{"orders"}, Home: offsets.Target, Epoch: 3}},
		Partitions: []admin.Partition{
			{Topic: "audit", TopicID: audit, Lag: none},
			{Topic: "orders", TopicID: orders, Index: 0, Lag: none},
			{Topic: "orders", TopicID: orders, Index: 1, Lag: lag},
		},
		Clients: []admin.Connection{{Connection: 4, ClientID: "a"}, {Connection: 5, ClientID: "b"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	v := open(t, view.Limits{})
	p := admin.Partition{Topic: "orders", TopicID: orders}
	must(t,
		v.SetBrokers([]admin.Broker{{Node: 1}, {Node: 2}}), v.SetBrokers([]admin.Broker{{Node: 2}}),
		v.SetRoute(admin.Route{Unit: "u"}), v.DeleteRoute("u"), v.DeleteRoute("u"),
		v.SetPartitions([]admin.Partition{p}),
		v.SetLags(map[offsets.Partition]admin.Lag{{Topic: orders}: {State: admin.Diverged}}),
		v.SetPartitions(nil), v.SetPartitions([]admin.Partition{p}), // deleted, created again with the id
	)
	s, err := v.Status()
	must(t, err)
	if len(s.Brokers) != 1 || s.Brokers[0].Node != 2 || len(s.Routes) != 0 {
		t.Errorf("brokers %v, routes %v", s.Brokers, s.Routes)
	}
	if s.Partitions[0].Lag.State == admin.Diverged {
		t.Error("a lag outlived its partition")
	}
}

func TestClientsAreBounded(t *testing.T) {
	v := open(t, view.Limits{Clients: 3})
	var all []admin.Connection
	for i := range uint64(10) {
		all = append(all, admin.Connection{Connection: i + 1})
	}
	must(t, v.SetClients(all))
	s, err := v.Status()
	must(t, err)
	if len(s.Clients) != 3 || s.ClientsOmitted != 7 || s.Clients[2].Connection != 3 {
		t.Errorf("kept %v, omitted %d", s.Clients, s.ClientsOmitted)
	}
}

func TestWatchPushesChangesOnly(t *testing.T) {
	v := open(t, view.Limits{Interval: time.Millisecond})
	route := admin.Route{Unit: "u", Topics: []string{"orders"}, Phase: "holding"}
	must(t, v.SetRoute(route))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pushed := make(chan admin.Status)
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := v.Watch(ctx, func(s admin.Status) error {
			select {
			case pushed <- s:
			case <-ctx.Done():
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	next := func() admin.Status {
		t.Helper()
		select {
		case s := <-pushed:
			return s
		case <-ctx.Done():
			t.Fatal("nothing was pushed")
			return admin.Status{}
		}
	}
	if s := next(); s.Routes[0].Phase != "holding" {
		t.Fatalf("first push: %+v", s.Routes)
	}
	// Every table wakes the watch; an equal row does not, or the next push would
	// come before the change that follows it.
	for i, change := range []func() error{
		func() error { route.Phase = "committed"; return v.SetRoute(route) },
		func() error { return v.SetProcess(admin.Process{Owner: "x"}) },
		func() error { return v.SetBrokers([]admin.Broker{{Node: 1}}) },
		func() error { return v.SetPartitions([]admin.Partition{{Topic: "orders", TopicID: orders}}) },
		func() error {
			return v.SetLags(map[offsets.Partition]admin.Lag{{Topic: orders}: {State: admin.Copying}})
		},
		func() error { return v.SetClients([]admin.Connection{{Connection: 1}}) },
	} {
		must(t, v.SetRoute(route)) // equal, but for the first change
		if i > 0 {
			select {
			case s := <-pushed:
				t.Fatalf("push %d without a change: %+v", i, s)
			case <-time.After(20 * time.Millisecond):
			}
		}
		must(t, change())
		next()
	}
	cancel()
	watching.Wait()
}

func TestWatchEndsWithItsReader(t *testing.T) {
	v := open(t, view.Limits{})
	gone := fmt.Errorf("reader left")
	if err := v.Watch(t.Context(), func(admin.Status) error { return gone }); !errors.Is(err, gone) {
		t.Fatalf("got %v", err)
	}
}
