package server

import (
	"context"
	"fmt"
	"time"

	"switchback/plans"
)

const (
	// bypassWindow is for how long legacy's growth is watched before a hold.
	bypassWindow = 250 * time.Millisecond
	// bypassPatience is how long produce that was in flight at the end of the
	// window may take to be answered, and so to be accounted for.
	bypassPatience = 2 * time.Second
)

// Bypass compares how much legacy's logs grew in a window with what the proxy
// forwarded. It needs the parts to be watched. Where that cannot be told (Produce
// without acks passes) Over is 0.
func (w *world) Bypass(ctx context.Context, parts []plans.Part) (plans.Bypass, error) {
	from, err := w.legacyEnds(ctx, parts)
	if err != nil {
		return plans.Bypass{}, err
	}
	began := time.Now()
	if err := pause(ctx, bypassWindow); err != nil {
		return plans.Bypass{}, err
	}
	to, err := w.legacyEnds(ctx, parts)
	if err != nil {
		return plans.Bypass{}, err
	}
	out := plans.Bypass{Over: time.Since(began)}
	for deadline := time.Now().Add(bypassPatience); ; {
		strangers, known := w.strangers(parts, from, to, out.Over)
		out.Strangers = strangers
		switch {
		case !known:
			return plans.Bypass{}, nil
		case len(out.Strangers) == 0, time.Now().After(deadline):
			return out, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return plans.Bypass{}, err
		}
	}
}

// strangers lists the parts on which something is unaccounted for.
func (w *world) strangers(parts []plans.Part, from, to []int64, over time.Duration) (list []plans.Stranger, known bool) {
	for i, p := range parts {
		n, known := w.proxy.Unaccounted(p.Partition(), from[i], to[i])
		if !known {
			return nil, false
		}
		if n > 0 {
			list = append(list, plans.Stranger{Part: p, Records: n, Rate: float64(n) / over.Seconds()})
		}
	}
	return list, true
}

func (w *world) legacyEnds(ctx context.Context, parts []plans.Part) ([]int64, error) {
	ends, err := w.Ends(ctx, parts)
	if err != nil {
		return nil, fmt.Errorf("look for writers that bypass the proxy: %w", err)
	}
	out := make([]int64, len(ends))
	for i, e := range ends {
		out[i] = e.LegacyEnd
	}
	return out, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
