package plans

import (
	"fmt"
	"time"

	"switchback/offsets"
)

// A Sight is one answer of World.Ends, and when it was asked for.
type Sight struct {
	Began   time.Time
	Drained bool // every instance had acknowledged the hold before
	Ends    []Ends
}

// A Seal is what was found when a hold was judged.
type Seal struct {
	OK       bool
	Obstacle string // what stood in the way, with partition and figures
	// Final: it will stand there at the next attempt too.
	Final      bool
	Unverified int // parts whose digests were not known on both sides
}

// judgeSeal says whether both logs of every part are equal and frozen, given two
// sights of which the second is Drained, and what
// clients were told is acknowledged (-1: nothing).
//
// The first sight may be older than the last drain. It proves stillness all the
// same: if both are equal, nothing was appended between them, and everything that
// was acknowledged until the drain lies below the second one's high watermark.
// What it cannot prove, that no request of a dead connection is still under way,
// is what Quiet is for.
func judgeSeal(r Record, first, second Sight, acked []int64) Seal {
	seal := Seal{OK: true}
	for i, p := range r.Parts {
		a, b := first.Ends[i], second.Ends[i]
		obstacle, final := obstacleOf(r.Home, a, b, acked[i])
		if obstacle != "" && final && !r.Move.AcceptInexact {
			return Seal{Obstacle: fmt.Sprintf("%s: %s", p, obstacle), Final: true}
		}
		if obstacle != "" && !final && seal.OK {
			seal.OK, seal.Obstacle = false, fmt.Sprintf("%s: %s", p, obstacle)
		}
		if !b.Known || !b.Legacy.Equal(b.Target) {
			seal.Unverified++
		}
	}
	return seal
}

// obstacleOf names the first thing that keeps a part from being sealed.
func obstacleOf(home offsets.Side, first, second Ends, acked int64) (obstacle string, final bool) {
	s := second
	homeHW := s.LegacyHW
	if home == offsets.Target {
		homeHW = s.TargetDurable
	}
	switch {
	case s.LegacyEpoch < 0 || s.LegacyEnd < 0:
		return "legacy's log end is not known", false
	case s.LegacyEnd > s.LegacyHW:
		return fmt.Sprintf("legacy's log end %d is above its high watermark %d: a replica does not follow", s.LegacyEnd, s.LegacyHW), false
	case s.LegacyEnd != s.LegacyHW:
		return fmt.Sprintf("legacy's high watermark %d is above its log end %d", s.LegacyHW, s.LegacyEnd), false
	case s.TargetEnd != s.LegacyEnd:
		return fmt.Sprintf("the logs end at different offsets: legacy %d, target %d", s.LegacyEnd, s.TargetEnd), false
	case s.TargetDurable != s.TargetEnd:
		return fmt.Sprintf("of the target's %d only %d is durable", s.TargetEnd, s.TargetDurable), false
	case acked > homeHW:
		return fmt.Sprintf("%d was acknowledged to a client, but the %s's high watermark is %d", acked, home, homeHW), false
	case !s.Quiet:
		return "a request of a lost connection may be late", false
	case first.LegacyEpoch != s.LegacyEpoch:
		return fmt.Sprintf("legacy elected a leader: epoch %d, then %d", first.LegacyEpoch, s.LegacyEpoch), false
	case first.LegacyEnd != s.LegacyEnd || first.LegacyHW != s.LegacyHW || first.TargetEnd != s.TargetEnd || first.TargetDurable != s.TargetDurable:
		return fmt.Sprintf("the logs still grow: legacy %d, then %d; target %d, then %d", first.LegacyEnd, s.LegacyEnd, first.TargetEnd, s.TargetEnd), false
	// Last, so that whoever accepts it accepts nothing else.
	case s.Known && !s.Legacy.Equal(s.Target):
		return fmt.Sprintf("the logs differ: digest up to %d is %s on legacy, %s on the target", s.TargetEnd, s.Legacy.Sum, s.Target.Sum), true
	}
	return "", false
}
