package broker

import (
	"context"
	"errors"
	"time"

	"switchback/storage"
)

// retentionEvery is Kafka's default of log.retention.check.interval.ms.
const retentionEvery = 5 * time.Minute

// Retain deletes what retention.ms and retention.bytes let go, every five minutes
// until ctx ends. It looks at partitions that are led here, of topics whose
// cleanup.policy has delete, and takes nothing that legacy does not have yet: a
// partition that follows legacy gets its log start from there.
func (b *Broker) Retain(ctx context.Context) error {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		b.retain()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Broker) retain() {
	for _, t := range b.topics.all() {
		if !t.rules.deletable {
			continue
		}
		for i, l := range t.logs {
			before := l.Bounds()
			if !before.Leading {
				continue
			}
			start, err := l.Expire(t.rules.retention, before.Replayed)
			switch {
			case errors.Is(err, storage.ErrDeleted), errors.Is(err, storage.ErrClosed):
			case err != nil:
				b.log.Warn("cannot delete what has expired", "topic", t.Name, "partition", i, "error", err)
			case start > before.Start:
				b.log.Info("deleted what has expired", "topic", t.Name, "partition", i, "from", before.Start, "to", start)
			}
		}
	}
}
