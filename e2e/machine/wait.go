package machine

import (
	"context"
	"fmt"
	"time"
)

// poll is how often a condition outside of this process is looked at.
const poll = 20 * time.Millisecond

// Until asks cond until it is met or within has passed. cond returns nil when it is met and otherwise what is missing; the last such
// answer is part of the error. Sleeping for a while and hoping is no way to wait; asking again, with a bound, is.
func Until(ctx context.Context, within time.Duration, what string, cond func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		missing := cond(ctx)
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait %v for %s: %w (%w)", within, what, missing, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}
