package object

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// try calls do until it succeeds, fails for good, or has been called
// S3Config.Attempts times, with growing pauses. Each call has S3Config.Timeout.
func (s *s3Store) try(ctx context.Context, do func(ctx context.Context) error) error {
	pause := firstPause
	for n := 1; ; n++ {
		one, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		err := explain(do(one))
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case !temporary(err):
			return err
		case n == s.cfg.Attempts:
			return fmt.Errorf("tried %d times: %w", n, err)
		}
		select {
		case <-time.After(pause - rand.N(pause/2)):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		pause = min(2*pause, longestPause)
	}
}

// explain makes the server's errors those of this package.
func explain(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket" {
		return fmt.Errorf("the bucket does not exist: %w", err)
	}
	switch status(err) {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}

// status is what the server answered, 0 when it did not.
func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// temporary says whether the same request may succeed a little later. What was not
// answered, or not to the end, may.
func temporary(err error) bool {
	if errors.Is(err, ErrTruncated) {
		return false
	}
	switch code := status(err); {
	case code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooManyRequests:
		return true
	default:
		return code < 300 || code >= 500
	}
}
