package history

import "slices"

// checkReads follows every consumer's position. Within one assignment each record is the next one of the log. The first record of an
// assignment is the one at the group's committed offset, or the first of the log where nothing was committed.
func (h *History) checkReads(r *Report, logs map[Place][]Logged) {
	starts := h.starts(logs)
	got := make(map[spot]map[int64]bool) // what a group has read so far
	for _, s := range h.sessions {
		log := logs[s.place]
		at := spot{s.group, s.place}
		if got[at] == nil {
			got[at] = make(map[int64]bool)
		}
		next := atOrAfter(log, max(s.start, 0))
		for n, rd := range s.reads {
			r.Reads++
			if got[at][rd.offset] {
				r.ReadTwice++
			}
			got[at][rd.offset] = true
			i := atOrAfter(log, rd.offset)
			who := s.consumer + " of " + s.group
			switch {
			case i == len(log) || log[i].Offset != rd.offset:
				r.fault(Misread, s.place, "%s read %v at offset %d, where there is nothing", who, rd.mark, rd.offset)
				continue
			case log[i].Mark != rd.mark:
				r.fault(Misread, s.place, "%s read %v at offset %d, where %v stands", who, rd.mark, rd.offset, log[i].Mark)
			case i < next:
				r.fault(Reset, s.place, "%s read offset %d, expected was %d", who, rd.offset, log[next-1].Offset+1)
			case i > next && !(n == 0 && starts[at][i]):
				r.fault(Skipped, s.place, "%s read offset %d, expected was %d", who, rd.offset, log[next].Offset)
			}
			next = i + 1
		}
	}
}

// starts returns, for every group and partition, the indexes in the log where an assignment may start beyond the offset that was known when
// it was recorded: those that the group has committed, or tried to, at some time. The last commit of one consumer and the assignment of the next are
// told by two processes, and may be recorded in the other order.
func (h *History) starts(logs map[Place][]Logged) map[spot]map[int]bool {
	starts := make(map[spot]map[int]bool)
	for _, c := range slices.Concat(h.commits, h.unsure) {
		if starts[c.spot] == nil {
			starts[c.spot] = make(map[int]bool)
		}
		starts[c.spot][atOrAfter(logs[c.spot.place], c.offset)] = true
	}
	return starts
}

// checkComplete demands that a group has seen every record.
func (h *History) checkComplete(r *Report, logs map[Place][]Logged, group string) {
	seen := make(map[Place]map[int64]bool)
	for _, s := range h.sessions {
		if s.group != group {
			continue
		}
		if seen[s.place] == nil {
			seen[s.place] = make(map[int64]bool)
		}
		for _, rd := range s.reads {
			seen[s.place][rd.offset] = true
		}
	}
	for _, place := range places(logs) {
		for _, rec := range logs[place] {
			if !seen[place][rec.Offset] {
				r.fault(Unread, place, "group %s never read %v at offset %d", group, rec.Mark, rec.Offset)
			}
		}
	}
}
