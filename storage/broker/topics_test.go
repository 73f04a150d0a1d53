package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/broker"
	"switchback/storage/catalog"
)

func TestImportIsIdempotentAndSurvives(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, broker.Config{})
	topic := orders
	topic.Configs = map[string]*string{"retention.ms": kmsg.StringPtr("1000"), "some.future.key": nil}
	for range 2 {
		h.mustImport(topic)
	}
	h.replicate(topic, 0, spec{at: 5})
	h.close()

	h = open(t, dir, broker.Config{})
	same(t, "topics", h.Topics(), []broker.Topic{topic})
	byName, ok1 := h.TopicByName("orders")
	byID, ok2 := h.TopicByID(ordersID)
	if !ok1 || !ok2 {
		t.Fatal("topic is not found")
	}
	same(t, "by name and by id", byName, byID)
	if b, ok := h.Bounds(offsets.Partition{Topic: ordersID}); !ok || b.End != 6 || b.Leading {
		t.Errorf("bounds %+v, %v", b, ok)
	}
	if _, ok := h.Bounds(offsets.Partition{Topic: ordersID, Index: 3}); ok {
		t.Error("bounds of a partition that is not there")
	}
}

func TestImportGrows(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	bigger := orders
	bigger.Partitions = 5
	h.mustImport(bigger)
	if b, ok := h.Bounds(offsets.Partition{Topic: ordersID, Index: 4}); !ok || b.End != 0 {
		t.Errorf("new partition: %+v, %v", b, ok)
	}
	if got := h.mustProduce(orders, 0, spec{}); got != 1 {
		t.Errorf("offset %d: growing touched a log", got)
	}
}

// TestImportChangesRules shows a config change to the next append, and that the
// configs of a start are those of the last import.
func TestImportChangesRules(t *testing.T) {
	h := leading(t, broker.Config{})
	big := spec{value: 1000}
	h.mustProduce(orders, 0, big)
	strict := orders
	strict.Configs = map[string]*string{"max.message.bytes": kmsg.StringPtr("500")}
	h.mustImport(strict)
	if got := h.produce(orders, 0, big); got.ErrorCode == 0 {
		t.Error("a batch above max.message.bytes was taken")
	}
	dir := h.dir
	h.close()
	h = open(t, dir, broker.Config{})
	h.lead(orders, 5)
	if got := h.produce(orders, 0, big); got.ErrorCode == 0 {
		t.Error("a batch above max.message.bytes was taken after a restart")
	}
	h.mustImport(orders)
	h.mustProduce(orders, 0, big)
}

func TestImportRefusals(t *testing.T) {
	h := leading(t, broker.Config{})
	shrunk, taken, noName, noID, noPartitions, badConfig := orders, orders, orders, orders, orders, orders
	shrunk.Partitions = 2
	taken.ID = offsets.TopicID{9}
	noName.Name = ""
	noID.ID = offsets.TopicID{}
	noPartitions.Partitions = 0
	badConfig.Configs = map[string]*string{"max.message.bytes": kmsg.StringPtr("many")}
	for name, c := range map[string]struct {
		topic broker.Topic
		want  error
	}{
		"fewer partitions": {shrunk, broker.ErrShrunk},
		"name taken":       {taken, broker.ErrNameTaken},
		"no name":          {noName, broker.ErrTopic},
		"no id":            {noID, broker.ErrTopic},
		"no partitions":    {noPartitions, broker.ErrTopic},
		"bad config":       {badConfig, broker.ErrTopic},
	} {
		if err := h.Import(context.Background(), c.topic); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	same(t, "topics", h.Topics(), []broker.Topic{orders})
}

func TestRemoveAndCreateAgain(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{})
	for range 2 {
		if err := h.Remove(context.Background(), ordersID); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := h.engine.Log(offsets.Partition{Topic: ordersID}); ok {
		t.Error("logs are still there")
	}
	again := orders
	again.ID = offsets.TopicID{7}
	h.mustImport(again)
	h.lead(again, 0)
	if got := h.mustProduce(again, 0, spec{}); got != 0 {
		t.Errorf("offset %d", got)
	}
	dir := h.dir
	h.close()
	h = open(t, dir, broker.Config{})
	same(t, "topics", h.Topics(), []broker.Topic{again})
}

// TestCrashInsideImportAndRemove puts the catalog where a crash leaves it: a
// topic without logs, and a removed one with logs.
func TestCrashInsideImportAndRemove(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, broker.Config{})
	h.mustImport(orders)
	unfinished := broker.Topic{Name: "unfinished", ID: offsets.TopicID{8}, Partitions: 2}
	for _, r := range []struct {
		broker.Topic
		Removed bool `json:"removed"`
	}{{orders, true}, {unfinished, false}} {
		value, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		key := "topics/" + r.ID.String()
		kv, err := h.cat.Get(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		kv.Key, kv.Value = key, value
		if _, err := catalog.Put(context.Background(), h.cat, kv); err != nil {
			t.Fatal(err)
		}
	}
	h.close()
	h = open(t, dir, broker.Config{})
	same(t, "topics", h.Topics(), []broker.Topic{unfinished})
	h.logOf(unfinished, 1)
	if _, ok := h.engine.Log(offsets.Partition{Topic: ordersID}); ok {
		t.Error("logs of the removed topic are still there")
	}
	kvs, err := h.cat.List(context.Background(), "topics/")
	if err != nil || len(kvs) != 1 {
		t.Errorf("catalog holds %d topics, %v", len(kvs), err)
	}
}

// An unsure catalog ends every other write unknown: before its effect or after.
type unsure struct {
	catalog.Catalog
	mu     sync.Mutex
	writes int
}

func (u *unsure) Txn(ctx context.Context, cmps []catalog.Compare, ops []catalog.Op) (int64, error) {
	u.mu.Lock()
	u.writes++
	n := u.writes
	u.mu.Unlock()
	switch n % 4 {
	case 1:
		return 0, fmt.Errorf("before: %w", catalog.ErrUnknown)
	case 3:
		if _, err := u.Catalog.Txn(ctx, cmps, ops); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("after: %w", catalog.ErrUnknown)
	}
	return u.Catalog.Txn(ctx, cmps, ops)
}

func TestCatalogWritesOfUnknownOutcome(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	u := &unsure{Catalog: h.cat}
	b, err := broker.New(h.engine, u, broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		topic := broker.Topic{Name: fmt.Sprint("t", i), ID: offsets.TopicID{byte(i + 1)}, Partitions: 1}
		if err := b.Import(context.Background(), topic); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			if err := b.Remove(context.Background(), topic.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(b.Topics()) != 3 {
		t.Errorf("%d topics", len(b.Topics()))
	}
	again, err := broker.New(h.engine, h.cat, broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "topics of the next start", again.Topics(), b.Topics())
}

func TestCatalogThatIsNeverSure(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	b, err := broker.New(h.engine, never{h.cat}, broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Import(context.Background(), orders); !errors.Is(err, catalog.ErrUnknown) {
		t.Errorf("import: %v", err)
	}
	if _, ok := b.TopicByName(orders.Name); ok {
		t.Error("the topic is served although the catalog may not have it")
	}
}

type never struct{ catalog.Catalog }

func (never) Txn(context.Context, []catalog.Compare, []catalog.Op) (int64, error) {
	return 0, catalog.ErrUnknown
}
