package offsets

import (
	"fmt"
	"slices"
	"sort"
)

// A Run is Count records with consecutive offsets on both sides.
type Run struct {
	Legacy int64 `json:"legacy"` // offset of the first record on legacy
	Target int64 `json:"target"` // offset of the same record on the target
	Count  int64 `json:"count"`
}

// A Map translates offsets of one partition between the clusters where they are
// not the same.
//
// Invariant: every Count is positive, and runs rise without overlap on both
// sides, so records keep their order. [Map.Append] keeps it.
type Map []Run

// Append adds the records that follow, and joins them to the last run where
// nothing lies between. It refuses a run that overlaps or goes back on either
// side, and one without records.
func (m Map) Append(r Run) (Map, error) {
	if r.Count <= 0 || r.Legacy < 0 || r.Target < 0 {
		return m, fmt.Errorf("append run %+v: want offsets >= 0 and count > 0", r)
	}
	if len(m) == 0 {
		return Map{r}, nil
	}
	last := m[len(m)-1]
	legacy, target := last.Legacy+last.Count, last.Target+last.Count
	if r.Legacy < legacy || r.Target < target {
		return m, fmt.Errorf("append run %+v: the map ends at legacy %d, target %d", r, legacy, target)
	}
	if r.Legacy == legacy && r.Target == target {
		grown := slices.Clone(m)
		grown[len(m)-1].Count += r.Count
		return grown, nil
	}
	return append(slices.Clip(m), r), nil
}

// ToTarget translates a position (the offset of the next record to read) from
// legacy to the target. exact says that the record at that offset is in the map,
// or that the position is its end. Otherwise the answer is the first record
// above the position, clamped to the end of the map: nothing that is in the map
// is read twice or skipped. An empty map answers 0, false.
func (m Map) ToTarget(legacy int64) (target int64, exact bool) {
	return m.translate(legacy, Run.legacy, Run.target)
}

// ToLegacy is ToTarget in the other direction.
func (m Map) ToLegacy(target int64) (legacy int64, exact bool) {
	return m.translate(target, Run.target, Run.legacy)
}

// Ends are the positions behind the last record on both sides.
func (m Map) Ends() (legacy, target int64) {
	if len(m) == 0 {
		return 0, 0
	}
	last := m[len(m)-1]
	return last.Legacy + last.Count, last.Target + last.Count
}

func (r Run) legacy() int64 { return r.Legacy }
func (r Run) target() int64 { return r.Target }

func (m Map) translate(at int64, from, to func(Run) int64) (int64, bool) {
	// The first run that ends above the position holds it or follows it.
	i := sort.Search(len(m), func(i int) bool { return from(m[i])+m[i].Count > at })
	switch {
	case len(m) == 0:
		return 0, false
	case i == len(m):
		last := m[i-1]
		return to(last) + last.Count, at == from(last)+last.Count
	case at < from(m[i]):
		return to(m[i]), false
	}
	return to(m[i]) + at - from(m[i]), true
}
