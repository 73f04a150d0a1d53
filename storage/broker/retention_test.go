package broker_test

import (
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"switchback/storage"
	"switchback/storage/broker"
)

// TestRetain: what has expired goes where the topic's policy says so, the
// partition is led here, and legacy has it.
func TestRetain(t *testing.T) {
	week, hour, compact := "604800000", "3600000", "compact"
	for name, c := range map[string]struct {
		configs   map[string]*string
		follow    bool
		unplayed  bool
		wantStart int64
	}{
		"a topic of an hour":       {configs: map[string]*string{"retention.ms": &hour}, wantStart: 2},
		"a topic of a week":        {configs: map[string]*string{"retention.ms": &week}},
		"the default is a week":    {},
		"a compacted topic":        {configs: map[string]*string{"retention.ms": &hour, "cleanup.policy": &compact}},
		"led by legacy":            {configs: map[string]*string{"retention.ms": &hour}, follow: true},
		"legacy does not have it":  {configs: map[string]*string{"retention.ms": &hour}, unplayed: true},
		"no limit, and -1 is none": {configs: map[string]*string{"retention.ms": ptr("-1"), "retention.bytes": ptr("-1")}},
		"bytes":                    {configs: map[string]*string{"retention.bytes": ptr("0")}, wantStart: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var now atomic.Int64
			now.Store(time.Now().UnixMilli())
			h := openOver(t, t.TempDir(), broker.Config{}, storage.Config{Now: func() time.Time { return time.UnixMilli(now.Load()) }})
			topic := orders
			topic.Configs = maps.Clone(orders.Configs)
			if topic.Configs == nil {
				topic.Configs = map[string]*string{}
			}
			maps.Copy(topic.Configs, c.configs)
			h.mustImport(topic)
			h.lead(topic, 5)
			h.mustProduce(topic, 0, spec{records: 2, time: now.Load()})
			if err := h.engine.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			l := h.logOf(topic, 0)
			if !c.unplayed {
				l.Replayed(2)
			}
			if c.follow {
				l.Follow()
			}
			now.Add((2 * time.Hour).Milliseconds())
			h.RetainOnce()
			if got := l.Bounds().Start; got != c.wantStart {
				t.Errorf("log starts at %d, want %d", got, c.wantStart)
			}
		})
	}
}

func ptr(s string) *string { return &s }
