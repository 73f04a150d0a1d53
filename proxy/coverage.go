package proxy

import (
	"cmp"
	"slices"

	"switchback/offsets"
)

// maxSpans bounds what a coverage remembers: acknowledged batches that are not
// next to each other. The oldest are given up first.
const maxSpans = 1024

// A coverage is which offsets of a partition were written by Produce that passed
// here. What stands in legacy's log between two offsets that are looked at and is
// not covered came from somebody else.
type coverage struct {
	spans []span // sorted, apart from each other
	// floor: below it nothing is remembered.
	floor int64
}

// A span is the offsets from its base up to next.
type span struct{ base, next int64 }

// add remembers one acknowledged batch. A retry that is answered with its
// original offsets changes nothing.
func (c *coverage) add(base, next int64) {
	if next <= base {
		return
	}
	i, _ := slices.BinarySearchFunc(c.spans, base, func(s span, base int64) int { return cmp.Compare(s.next, base) })
	j := i
	for j < len(c.spans) && c.spans[j].base <= next {
		base, next = min(base, c.spans[j].base), max(next, c.spans[j].next)
		j++
	}
	c.spans = slices.Replace(c.spans, i, j, span{base, next})
	if len(c.spans) > maxSpans {
		c.floor = c.spans[0].next
		c.spans = slices.Delete(c.spans, 0, 1)
	}
}

// missing counts the offsets of [from, to) that are not covered; false when it
// is not remembered from there on.
func (c *coverage) missing(from, to int64) (int64, bool) {
	if from < c.floor {
		return 0, false
	}
	left := to - from
	for _, s := range c.spans {
		if base, next := max(from, s.base), min(to, s.next); base < next {
			left -= next - base
		}
	}
	return max(left, 0), true
}

// Unaccounted counts the offsets of [from, to) on a watched partition that no
// Produce which passed here was acknowledged for. known is false where that
// cannot be told: the partition isn't watched, Produce without acks has passed
// (its offsets are never told), or it is too long ago. Produce that is in flight
// counts once it is answered.
func (p *Proxy) Unaccounted(part offsets.Partition, from, to int64) (count int64, known bool) {
	s := p.routes.load().parts[part]
	if s == nil {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watched || s.silent {
		return 0, false
	}
	return s.covered.missing(from, to)
}
