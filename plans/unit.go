package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"switchback/offsets"
)

// form finds or makes the unit of a flip. A unit whose home is legacy and that is
// at rest dissolves when other topics move together: the new unit takes over its
// partitions, with what clients were shown, and what is left over becomes a unit
// of its own. It is pure; the result is not written.
func form(all []stored, parts []Part) (unit stored, left, gone []stored, err error) {
	unit.Unit, unit.Parts = unitOf(parts), parts
	unit.Shown = make([]offsets.Shown, len(parts))
	at := make(map[offsets.Partition]int, len(parts))
	for i, p := range parts {
		unit.Shown[i].Relocated = offsets.NotRelocated
		at[p.Partition()] = i
	}
	for _, old := range all {
		var rest []int
		for i, p := range old.Parts {
			to, mine := at[p.Partition()]
			if !mine {
				rest = append(rest, i)
				continue
			}
			if err := flippable(old.Record, p); err != nil {
				return stored{}, nil, nil, err
			}
			unit.Shown[to] = old.Shown[i]
			unit.Epoch = max(unit.Epoch, old.Epoch)
		}
		switch {
		case len(rest) == len(old.Parts):
		case old.Unit == unit.Unit:
			unit = old
		default:
			gone = append(gone, old)
			if len(rest) > 0 {
				left = append(left, old.leftover(rest))
			}
		}
	}
	return unit, left, gone, nil
}

func flippable(r Record, p Part) error {
	switch {
	case r.Move != nil:
		return &Error{Op: string(Flip), Subject: p.Name, Err: fmt.Errorf("%w: %s of %s, %s", ErrBusy, r.Move.Kind, strings.Join(r.Topics(), ", "), r.Move.Phase),
			Hint: "wait for it to end; `switchback status` shows it"}
	case r.Home == offsets.Target:
		return &Error{Op: string(Flip), Subject: p.Name, Err: ErrMoved,
			Hint: "`switchback rollback " + strings.Join(r.Topics(), " ") + "` brings it back to legacy"}
	}
	return nil
}

// leftover is the unit of the parts with these indexes.
func (s stored) leftover(indexes []int) stored {
	rest := Record{Home: s.Home, Epoch: s.Epoch, Last: s.Last, Since: s.Since}
	for _, i := range indexes {
		rest.Parts = append(rest.Parts, s.Parts[i])
		rest.Shown = append(rest.Shown, s.Shown[i])
		if len(s.Seal) > 0 {
			rest.Seal = append(rest.Seal, s.Seal[i])
			rest.Epochs = append(rest.Epochs, s.Epochs[i])
		}
	}
	rest.Unit = unitOf(rest.Parts) // sorted already: the order of the other lists stays right
	return stored{Record: rest}
}

// moved finds the units of topics whose home is the target. All topics of a unit
// must be named.
func moved(kind Kind, all []stored, topics []string) ([]stored, error) {
	var units []stored
	for _, name := range topics {
		i := slices.IndexFunc(all, func(s stored) bool {
			return s.Home == offsets.Target && slices.ContainsFunc(s.Parts, func(p Part) bool { return p.Name == name })
		})
		if i < 0 {
			return nil, &Error{Op: string(kind), Subject: name, Err: ErrNotMoved, Hint: "`switchback status` shows what has moved; `switchback flip " + name + "` moves it"}
		}
		for _, other := range all[i].Topics() {
			if !slices.Contains(topics, other) {
				return nil, &Error{Op: string(kind), Subject: name, Err: fmt.Errorf("%w: it flipped together with %s", ErrPartOfUnit, other),
					Hint: "name the whole unit: " + strings.Join(all[i].Topics(), " ")}
			}
		}
		if !slices.ContainsFunc(units, func(s stored) bool { return s.Unit == all[i].Unit }) {
			units = append(units, all[i])
		}
	}
	return units, nil
}

// resolve turns names into the sorted parts of a flip.
func (r *Runner) resolve(ctx context.Context, kind Kind, topics []string) ([]Part, error) {
	if len(topics) == 0 {
		return nil, &Error{Op: string(kind), Subject: "nothing", Err: fmt.Errorf("%w: no topic named", ErrRefused), Hint: "name one topic or more"}
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ActTimeout)
	defer cancel()
	parts, err := r.world.Resolve(ctx, topics)
	switch {
	case errors.Is(err, ErrUnknownTopic):
		return nil, &Error{Op: string(kind), Subject: strings.Join(topics, ", "), Err: err, Hint: "check the name, and that mirror.include covers it"}
	case err != nil:
		return nil, &Error{Op: string(kind), Subject: strings.Join(topics, ", "), Err: fmt.Errorf("look up topics: %w", err), Hint: "see whether the legacy cluster is up"}
	case len(parts) == 0 || len(parts) > MaxParts:
		return nil, &Error{Op: string(kind), Subject: strings.Join(topics, ", "), Err: fmt.Errorf("%w: a unit has 1 to %d partitions, these are %d", ErrRefused, MaxParts, len(parts)),
			Hint: "flip fewer topics at once"}
	}
	parts = slices.Clone(parts)
	unitOf(parts) // sorts
	return parts, nil
}
