package mirror

import "switchback/offsets"

// Pace is asked before a produce that was appended to the target is answered:
// offset is one past its last record. Nil means answer now. Otherwise answer
// when the channel is closed, which happens when replay has come close enough,
// when it makes no progress, or after Config.PaceLimit.
func (m *Mirror) Pace(p offsets.Partition, offset int64) <-chan struct{} { return nil }
