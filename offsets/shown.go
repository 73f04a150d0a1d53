package offsets

// NotRelocated is the value of [Shown.Relocated] while legacy's own leader is
// shown.
const NotRelocated int32 = -1

// A Shown is what clients are told about the leader epoch of one partition. A
// client drops metadata whose epoch is lower than what it has seen, so the shown
// epoch never goes back: a relocation and its taking back raise it by one each,
// and legacy's elections in between raise it as they would without us.
//
// The zero value shows legacy's epochs as they are. Invariant, as long as
// legacy's epoch does not fall: Epoch never falls, and is never below legacy's
// own, which batch headers carry.
type Shown struct {
	// Shift is added to legacy's epoch while legacy's leader is shown.
	Shift int32 `json:"shift"`
	// Relocated is the epoch shown with the target as leader, NotRelocated (or
	// zero: a relocation never shows epoch 0) otherwise.
	Relocated int32 `json:"relocated"`
	// Since is legacy's epoch when Shift was last raised. Shown epochs below
	// Since+Shift stem from an earlier era and have no counterpart in this one.
	Since int32 `json:"since"`
}

// IsRelocated says whether the target is shown as leader.
func (s Shown) IsRelocated() bool { return s.Relocated > 0 }

// Epoch is the leader epoch to show while legacy's real one is legacy. A
// negative epoch (unknown) is passed on while legacy's leader is shown.
func (s Shown) Epoch(legacy int32) int32 {
	if s.IsRelocated() {
		// At least one above legacy's: a batch that was written after an election
		// carries the new epoch, and no client may see it above the leader's.
		return max(s.Relocated, legacy+1)
	}
	if legacy < 0 {
		return legacy
	}
	return legacy + s.Shift
}

// Relocate shows the target as leader from now on. Doing it twice changes
// nothing.
func (s Shown) Relocate(legacy int32) Shown {
	if s.IsRelocated() {
		return s
	}
	s.Relocated = max(legacy, 0) + s.Shift + 1
	return s
}

// TakeBack shows legacy's leader again, above every epoch that was shown before.
// Doing it twice changes nothing.
func (s Shown) TakeBack(legacy int32) Shown {
	if !s.IsRelocated() {
		return s
	}
	legacy = max(legacy, 0)
	return Shown{Shift: s.Epoch(legacy) + 1 - legacy, Relocated: NotRelocated, Since: legacy}
}

// Down maps current_leader_epoch of a request to legacy's domain. The shown
// epoch of this moment becomes legacy's epoch of this moment, an older one of
// this era becomes what legacy had then (and legacy fences it, as it would have
// without us), one of the future stays of the future. An epoch of an earlier era
// has no counterpart: -1, which a broker does not check. So a client that has not
// refreshed since a relocation or its taking back is served and not nudged.
func (s Shown) Down(client, legacy int32) int32 {
	switch {
	case client < 0:
		return UndefinedEpoch
	case s.IsRelocated() && client >= s.Relocated:
		return legacy + max(0, client-s.Epoch(legacy))
	case client < s.Since+s.Shift:
		return UndefinedEpoch
	}
	return client - s.Shift
}
