package plans

import (
	"context"
	"log/slog"
	"testing"

	"switchback/offsets"
	"switchback/storage/catalog"
)

func catalogKV(unit, value string) catalog.KV {
	return catalog.KV{Key: RoutesPrefix + unit, Value: []byte(value), Rev: 1}
}

// applied is a gate that remembers the homes it was given.
type applied struct{ homes []offsets.Side }

func (g *applied) Watch(context.Context, []offsets.Partition) error { return nil }
func (g *applied) Hold([]offsets.Partition, string)                 {}
func (g *applied) Abandon([]offsets.Partition)                      {}
func (g *applied) Drain(context.Context, []offsets.Partition) (map[offsets.Partition]int64, error) {
	return nil, nil
}
func (g *applied) Apply(routes map[offsets.Partition]Route) {
	for _, r := range routes {
		g.homes = append(g.homes, r.Home)
	}
}

// TestAgentIgnoresWhatItKnows: a record that was read before another one, and
// arrives after it, changes nothing.
func TestAgentIgnoresWhatItKnows(t *testing.T) {
	g := &applied{}
	a := NewAgent(nil, g, "x", Config{Logger: slog.New(slog.DiscardHandler)})
	at := func(rev int64, home offsets.Side) stored {
		return stored{Record{Unit: "u", Parts: []Part{{Name: "t"}}, Shown: make([]offsets.Shown, 1), Home: home, Epoch: rev}, rev}
	}
	a.take(at(5, offsets.Target))
	a.take(at(3, offsets.Legacy))
	a.take(at(5, offsets.Target))
	if len(g.homes) != 1 || g.homes[0] != offsets.Target {
		t.Errorf("applied %v", g.homes)
	}
}
