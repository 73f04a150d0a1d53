package plans

import (
	"log/slog"
	"time"
)

// A Config says how a Runner and an Agent behave. New fills in defaults.
type Config struct {
	// Name of this runner, for people. Default "runner".
	Name string
	// Hold is for how long produce may wait in one attempt. Default 300 ms.
	Hold time.Duration
	// Stop is for how long it may wait when the outcome is not known. At least
	// Hold; default 2 s.
	Stop time.Duration
	// Attempts bounds the holds of one move. Default 5.
	Attempts int
	// Backoff is the pause after the first attempt that failed; it doubles from
	// attempt to attempt. Default 500 ms.
	Backoff time.Duration
	// Prepare is how long a move that has begun waits for what passes by itself
	// (lag, elections, produce in flight when watching began). Default 45 s.
	Prepare time.Duration
	// MaxDrain is the measured time to copy what waits, above which no move
	// begins. Default 100 ms.
	MaxDrain time.Duration
	// ActTimeout bounds one call of the world or the catalog. Default 10 s.
	ActTimeout time.Duration
	// FinishWithin is how long a call goes on with acts that fail after COMMIT, and
	// with a catalog that fails, before it leaves the rest to Tend. Default 10 s.
	FinishWithin time.Duration
	// ApplyWithin is how long a report waits for instances to have applied what was
	// decided. Default 1 s.
	ApplyWithin time.Duration

	// TendEvery is how often Tend looks. Default 250 ms.
	TendEvery time.Duration
	// Stale is how long a move that has not committed may stand still, driven by
	// nobody here, before Tend undoes it. Default 2 min.
	Stale time.Duration
	// RelocateAfter is how long the copy of a moved topic may be stopped before it
	// is relocated. Default 2 s.
	RelocateAfter time.Duration
	// RelocateLag is the measured drain time above which it counts as stopped.
	// Default 5 s.
	RelocateLag time.Duration

	Logger *slog.Logger // default slog.Default()
}

func (c Config) withDefaults() Config {
	durations := []struct {
		value   *time.Duration
		initial time.Duration
	}{
		{&c.Hold, 300 * time.Millisecond},
		{&c.Stop, 2 * time.Second},
		{&c.Backoff, 500 * time.Millisecond},
		{&c.Prepare, 45 * time.Second},
		{&c.MaxDrain, 100 * time.Millisecond},
		{&c.ActTimeout, 10 * time.Second},
		{&c.FinishWithin, 10 * time.Second},
		{&c.ApplyWithin, time.Second},
		{&c.TendEvery, 250 * time.Millisecond},
		{&c.Stale, 2 * time.Minute},
		{&c.RelocateAfter, 2 * time.Second},
		{&c.RelocateLag, 5 * time.Second},
	}
	for _, d := range durations {
		if *d.value <= 0 {
			*d.value = d.initial
		}
	}
	c.Stop = max(c.Stop, c.Hold)
	if c.Attempts <= 0 {
		c.Attempts = 5
	}
	if c.Name == "" {
		c.Name = "runner"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c Config) limits() Limits {
	return Limits{Hold: c.Hold, Stop: c.Stop, Attempts: c.Attempts, Backoff: c.Backoff, Prepare: c.Prepare, MaxDrain: c.MaxDrain}
}
