package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/e2e/machine"
)

// forgetful is a network on which answers get lost: while losing, a third of all reads that would bring something end the connection instead.
type forgetful struct {
	losing atomic.Bool
	lost   atomic.Int64
}

func (f *forgetful) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &forgetfulConn{Conn: conn, net: f}, nil
}

type forgetfulConn struct {
	net.Conn
	net *forgetful
}

func (c *forgetfulConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.net.losing.Load() && rand.IntN(3) == 0 {
		c.net.lost.Add(1)
		c.Conn.Close()
		return 0, errors.New("the answer was lost on purpose")
	}
	return n, err
}

// TestRetryAcrossAFlip: answers are lost on purpose at flips and rollbacks, so that producers send again what the other cluster has appended. Every
// retry is told its original offset, and nothing stands twice.
func TestRetryAcrossAFlip(t *testing.T) {
	rounds := machine.Size(t, "flips and rollbacks with lost answers", 3, 30)
	s := newStage(t, setting{brokers: 1, partitions: 4, replicas: 1})
	var network forgetful
	s.franzProducer("franz", 1000, kgo.Dialer(network.dial), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	s.franzReader("reader")
	s.steady(200)
	for range rounds {
		for _, move := range []func(){func() { s.flip() }, func() { s.rollback() }} {
			before := network.lost.Load()
			network.losing.Store(true)
			move()
			s.must(machine.Until(s.ctx, patience, "an answer to be lost", func(context.Context) error {
				if network.lost.Load() == before {
					return errors.New("none was")
				}
				return nil
			}))
			network.losing.Store(false)
			s.steady(100)
		}
	}
	t.Logf("%d answers were lost", network.lost.Load())
	s.finish()
}
