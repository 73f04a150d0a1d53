package storage

// A Retention says what a log need not keep. Below zero: no limit.
type Retention struct {
	Ms    int64 // retention.ms
	Bytes int64 // retention.bytes
}

// Expire deletes from the front what the limits let go and is below upto, and
// returns the start. What goes goes by whole extents, as on a Kafka broker whole
// segments go: one whose last timestamp is older than Ms, or without which Bytes
// are left. What stands in the WAL alone stays until it has been flushed. Errors:
// those of DeleteBefore.
func (l *Log) Expire(r Retention, upto int64) (start int64, err error) {
	now := millis(l.engine.cfg.Now())
	l.mu.Lock()
	start = l.start
	cut, size := l.start, l.size()
	for _, x := range l.heldExtents() {
		old := r.Ms >= 0 && x.maxTimestamp >= 0 && now-x.maxTimestamp > r.Ms
		large := r.Bytes >= 0 && size-x.bytes >= r.Bytes
		if x.last >= min(upto, l.durable) || !old && !large {
			break
		}
		cut, size = x.last+1, size-x.bytes
	}
	l.mu.Unlock()
	if cut == start {
		return start, nil
	}
	return l.DeleteBefore(cut)
}
