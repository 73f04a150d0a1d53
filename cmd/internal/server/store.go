package server

import (
	"context"
	"errors"
	"fmt"

	"switchback/mirror"
	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/broker"
)

// store shows the embedded broker's topics and logs to the mirror.
type store struct {
	engine *storage.Engine
	broker *broker.Broker
}

func (s *store) Import(ctx context.Context, t mirror.Topic) error {
	return s.broker.Import(ctx, broker.Topic(t))
}

func (s *store) Log(p offsets.Partition) (mirror.Log, error) {
	l, ok := s.engine.Log(p)
	if !ok {
		return nil, fmt.Errorf("open log of %s: %w", p, mirror.ErrAbsent)
	}
	return replica{l}, nil
}

// Reset forgets a log's content and shows the new log to the broker: importing
// what is imported opens the logs again.
func (s *store) Reset(p offsets.Partition, start int64) error {
	if err := s.engine.Reset(p, start); err != nil {
		return err
	}
	t, ok := s.broker.TopicByID(p.Topic)
	if !ok {
		return nil
	}
	return s.broker.Import(context.Background(), t)
}

func (s *store) Remove(ctx context.Context, id offsets.TopicID) error {
	return s.broker.Remove(ctx, id)
}

// A replica is a storage log in the words of the mirror.
type replica struct{ *storage.Log }

func (r replica) Replicate(raw []byte) (int64, error) {
	end, err := r.Log.Replicate(raw)
	if diverged := (storage.ErrDiverged{}); errors.As(err, &diverged) {
		err = fmt.Errorf("%w: %w", mirror.ErrDiffers, err)
	}
	return end, err
}

func (r replica) Bounds() mirror.Bounds {
	b := r.Log.Bounds()
	return mirror.Bounds{
		Start: b.Start, End: b.End, Durable: b.Durable,
		Epoch: b.Epoch, Leading: b.Leading, Replayed: b.Replayed,
	}
}

func (r replica) Batch(at int64) (mirror.Batch, bool, error) {
	b, ok, err := r.Log.Batch(at)
	if !ok || err != nil {
		return mirror.Batch{}, ok, err
	}
	return mirror.Batch{Header: b.Header, Raw: b.Raw, At: b.At, Release: b.Release}, true, nil
}
