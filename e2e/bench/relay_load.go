package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A load is one request that is sent again and again over some connections.
type load struct {
	frame  []byte // with its size
	bytes  int64  // of records that a request and its answer move
	conns  int
	window int // requests in flight on a connection, at most
}

// newLoad makes a Produce or a Fetch of size bytes of records, over some partitions of one topic.
func newLoad(key kmsg.Key, version int16, id [16]byte, size, partitions, conns, window int) load {
	req := kmsg.RequestForKey(int16(key))
	req.SetVersion(version)
	each := size / partitions
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		req.Acks, req.TimeoutMillis = -1, 30_000
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID = steadyTopic, id
		for i := range partitions {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = int32(i), batch(each)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	case *kmsg.FetchRequest:
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, int32(size)
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = steadyTopic, id
		for i := range partitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = int32(i), int32(each), -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(loadClient)).AppendRequest(nil, req, 0)
	return load{frame: frame, bytes: int64(each * partitions), conns: conns, window: window}
}

// loadConn is one connection of a load. Sender and receiver are two goroutines.
type loadConn struct {
	conn   net.Conn
	in     *bufio.Reader
	frame  []byte // this connection's own: correlation ids are written into it
	sent   int32
	got    int32
	starts chan time.Time // of requests in flight; its room is the window
}

func dialLoad(ctx context.Context, addr string, l load) (*loadConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return &loadConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), frame: slices.Clone(l.frame), starts: make(chan time.Time, l.window)}, nil
}

func (c *loadConn) send(start time.Time) error {
	c.starts <- start
	binary.BigEndian.PutUint32(c.frame[8:], uint32(c.sent))
	c.sent++
	_, err := c.conn.Write(c.frame)
	return err
}

// receive reads one answer and returns when its request began.
func (c *loadConn) receive() (start time.Time, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return start, fmt.Errorf("read answer: %w", err)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != c.got {
		return start, fmt.Errorf("read answer: correlation id %d, want %d", got, c.got)
	}
	c.got++
	if _, err := c.in.Discard(int(binary.BigEndian.Uint32(head[:])) - 4); err != nil {
		return start, fmt.Errorf("read answer: %w", err)
	}
	return <-c.starts, nil
}

// exchange sends n requests, each when next says so, and hands the time that each took to done.
func (c *loadConn) exchange(n int, next func() time.Time, done func(time.Duration)) error {
	sending := make(chan error, 1)
	go func() {
		for range n {
			if err := c.send(next()); err != nil {
				c.conn.Close() // or the receiver waits for ever
				sending <- fmt.Errorf("send: %w", err)
				return
			}
		}
		sending <- nil
	}()
	var err error
	for range n {
		var start time.Time
		if start, err = c.receive(); err != nil {
			c.conn.Close()
			for len(c.starts) > 0 { // or the sender waits for ever
				<-c.starts
			}
			break
		}
		done(time.Since(start))
	}
	return errors.Join(err, <-sending)
}

// drive runs a load over fresh connections: warm-up requests first, then before is called, then n requests, spread over the connections; after a
// last answer it returns how long the n took. pace gives each connection its clock.
func (l load) drive(ctx context.Context, addr string, n int, before func() error, pace func(conn int) func() time.Time, done func(time.Duration)) (time.Duration, error) {
	var conns []*loadConn
	defer func() {
		for _, c := range conns {
			c.conn.Close()
		}
	}()
	for range l.conns {
		c, err := dialLoad(ctx, addr, l)
		if err != nil {
			return 0, err
		}
		conns = append(conns, c)
		stop := context.AfterFunc(ctx, func() { c.conn.Close() })
		defer stop()
	}
	const warmUp = 20
	if err := l.each(conns, func(_ int, c *loadConn) error { return c.exchange(warmUp, time.Now, func(time.Duration) {}) }); err != nil {
		return 0, err
	}
	if err := before(); err != nil {
		return 0, err
	}
	began := time.Now()
	err := l.each(conns, func(i int, c *loadConn) error { return c.exchange(max(1, n/l.conns), pace(i), done) })
	return time.Since(began), err
}

func (l load) each(conns []*loadConn, do func(i int, c *loadConn) error) error {
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { errs[i] = do(i, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// atOnce is the clock of a load that sends as soon as its window lets it.
func atOnce(int) func() time.Time { return time.Now }

// steadily is the clock of a load that sends at a rate whatever the answers do (an open loop). A request that could not be sent in time counts from when it
// should have been: what waits for a slow server is not forgiven (coordinated omission). Lateness of our own timer is not counted.
func steadily(perSecond float64, conns int) func(conn int) func() time.Time {
	interval := time.Duration(float64(time.Second) * float64(conns) / perSecond)
	return func(conn int) func() time.Time {
		at := time.Now().Add(interval * time.Duration(conn) / time.Duration(conns))
		return func() time.Time {
			at = at.Add(interval)
			if wait := time.Until(at); wait > 0 {
				time.Sleep(wait)
				return time.Now()
			}
			return at
		}
	}
}

// latencies collects times from several goroutines.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, d)
	l.mu.Unlock()
}

// percentile is in microseconds.
func (l *latencies) percentile(p float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return float64(l.all[min(len(l.all)-1, int(p*float64(len(l.all))))]) / float64(time.Microsecond)
}
