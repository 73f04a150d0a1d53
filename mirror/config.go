package mirror

import (
	"fmt"
	"log/slog"
	"time"
)

// Config says what is mirrored and how. The zero value mirrors every topic that
// is not internal.
type Config struct {
	// Wants says whether a topic of legacy is mirrored. It is pure and quick. Nil:
	// every topic that is not internal.
	Wants func(name string, internal bool) bool

	Poll        time.Duration // how often topics are looked at when nothing tells of a change; default 2 s
	ConfigsPoll time.Duration // how often topic configs are read; default 15 s

	FetchWait      time.Duration // longest long poll of a reader; default 250 ms
	FetchBytes     int32         // of one Fetch answer; default 4 MiB
	PartitionBytes int32         // of one partition in it; default 1 MiB

	RoundBytes int           // of one Produce request, exceeded by a first batch only; default 4 MiB
	RoundWait  time.Duration // how long legacy may wait for its followers before it answers a round; default 1.5 s

	// QuietTime is how long nothing is sent, and legacy's end must not move, after a
	// connection died with a produce in flight. Default and minimum: 1 s.
	QuietTime time.Duration

	// ResetDelay is how long a copy that legacy contradicts is left alone before it
	// is dropped. It must be longer than a flip may hold produce: a flip that was
	// sealed before the contradiction was seen has then made the target the home.
	// Default 5 s.
	ResetDelay time.Duration

	// PaceDrain is how much replay may lag, measured in time to drain, before
	// produce to that partition waits to be appended. Default 50 ms.
	PaceDrain time.Duration
	// PaceLimit is the longest such wait. Default 1 s.
	PaceLimit time.Duration

	Logger *slog.Logger // default: slog.Default()
}

// Validate fills in defaults and says what is wrong.
func (c *Config) Validate() error {
	def(&c.Poll, 2*time.Second)
	def(&c.ConfigsPoll, 15*time.Second)
	def(&c.FetchWait, 250*time.Millisecond)
	def(&c.FetchBytes, 4<<20)
	def(&c.PartitionBytes, 1<<20)
	def(&c.RoundBytes, 4<<20)
	def(&c.RoundWait, 1500*time.Millisecond)
	def(&c.QuietTime, time.Second)
	def(&c.ResetDelay, 5*time.Second)
	def(&c.PaceDrain, 50*time.Millisecond)
	def(&c.PaceLimit, time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.QuietTime < time.Second {
		return fmt.Errorf("validate mirror config: quiet time %v is below 1 s, in which late requests were seen", c.QuietTime)
	}
	if c.Wants == nil {
		c.Wants = func(_ string, internal bool) bool { return !internal }
	}
	return nil
}

func def[T int | int32 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
