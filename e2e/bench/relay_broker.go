package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// loadClient is the client id of the load. Its Produce and Fetch are answered by the front of the broker, from memory; everything else, and
// everybody else, gets to kfake behind it.
const loadClient = "bench-load"

const (
	movedTopic  = "moved"
	steadyTopic = "steady-00" // what the load is about
	topics      = 100         // movedTopic among them
	loadParts   = 16          // partitions of each
)

// serveBroker is a part: a broker that is as cheap as a broker can be, so that on a small machine there is something left for what stands in front
// of it. It prints its address and runs until ctx ends.
func serveBroker(ctx context.Context) error {
	f := &front{ctx: ctx}
	names := []string{movedTopic}
	for i := range topics - 1 {
		names = append(names, fmt.Sprintf("steady-%02d", i))
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(f.listen), kfake.SeedTopics(loadParts, names...))
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	defer cluster.Close()
	fmt.Println(cluster.ListenAddrs()[0])
	<-ctx.Done()
	return nil
}

// front listens where kfake says that it listens, and passes on what it doesn't answer itself.
type front struct{ ctx context.Context }

// behind is kfake's listener: connections come in at one address, and another one is shown.
type behind struct {
	net.Listener
	shown net.Addr
}

func (b behind) Addr() net.Addr { return b.shown }

func (f *front) listen(network, address string) (net.Listener, error) {
	outer, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(f.ctx, func() { outer.Close() })
	go accept(outer, func(conn net.Conn) error { return newFrontConn(conn, inner.Addr().String()).serve() })
	return behind{inner, outer.Addr()}, nil
}

// accept serves every connection of a listener until it is closed. The process ends with it, so nobody waits for connections.
func accept(l net.Listener, serve func(net.Conn) error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = serve(conn) // how a client leaves is its business
		}()
	}
}

// frontConn is one connection to the broker. The load repeats one request of an API on a connection, so the first answer is every answer but for
// its correlation id.
type frontConn struct {
	in      *bufio.Reader
	out     *bufio.Writer
	kfake   string
	inner   net.Conn // to kfake; nil until needed
	answers [2][]byte
}

func newFrontConn(conn net.Conn, kfake string) *frontConn {
	return &frontConn{in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10), kfake: kfake}
}

func (c *frontConn) serve() error {
	defer func() {
		if c.inner != nil {
			c.inner.Close()
		}
	}()
	for {
		if c.in.Buffered() == 0 {
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
		head, err := c.in.Peek(14)
		if err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head))
		key, id := binary.BigEndian.Uint16(head[4:]), int(int16(binary.BigEndian.Uint16(head[12:])))
		if key < 2 && id == len(loadClient) {
			if head, err = c.in.Peek(14 + id); err != nil {
				return err
			}
			if string(head[14:]) == loadClient {
				if err := c.load(int(key), size, [4]byte(head[8:12])); err != nil {
					return err
				}
				continue
			}
		}
		if err := c.pass(size); err != nil {
			return err
		}
	}
}

// load answers a request of the load.
func (c *frontConn) load(key, size int, correlation [4]byte) (err error) {
	if c.answers[key] == nil {
		frame := make([]byte, 4+size)
		if _, err := io.ReadFull(c.in, frame); err != nil {
			return err
		}
		if c.answers[key], err = firstAnswer(frame[4:]); err != nil {
			return err
		}
	} else if _, err := c.in.Discard(4 + size); err != nil {
		return err
	}
	copy(c.answers[key][4:], correlation[:])
	_, err = c.out.Write(c.answers[key])
	return err
}

// firstAnswer makes the answer to a request of the load, which is flexible.
func firstAnswer(frame []byte) ([]byte, error) {
	req := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(frame)))
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	if err := req.ReadFrom(frame[10+len(loadClient)+1:]); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		produced(req, resp.(*kmsg.ProduceResponse))
	case *kmsg.FetchRequest:
		fetched(req, resp.(*kmsg.FetchResponse))
	}
	answer := resp.AppendTo(make([]byte, 9))
	binary.BigEndian.PutUint32(answer, uint32(len(answer)-4))
	return answer, nil
}

func produced(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) {
	for _, t := range req.Topics {
		answer := kmsg.NewProduceResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition = p.Partition
			answer.Partitions = append(answer.Partitions, part)
		}
		resp.Topics = append(resp.Topics, answer)
	}
}

// fetched gives every partition asked for as many bytes as it may have.
func fetched(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) {
	for _, t := range req.Topics {
		answer := kmsg.NewFetchResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition, part.HighWatermark, part.LastStableOffset = p.Partition, 1<<40, 1<<40
			part.RecordBatches = batch(int(p.PartitionMaxBytes))
			answer.Partitions = append(answer.Partitions, part)
		}
		resp.Topics = append(resp.Topics, answer)
	}
}

// batch is a record batch of a size, as far as its header goes.
func batch(size int) []byte {
	b := make([]byte, max(size, 61))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2                                      // magic
	binary.BigEndian.PutUint64(b[43:], ^uint64(0)) // no producer id
	binary.BigEndian.PutUint16(b[51:], ^uint16(0)) // nor epoch
	binary.BigEndian.PutUint32(b[53:], ^uint32(0)) // nor sequence
	binary.BigEndian.PutUint32(b[57:], 1)          // one record
	return b
}

// pass hands a request on to kfake and its answer back, before anything else is read.
func (c *frontConn) pass(size int) (err error) {
	if c.inner == nil {
		if c.inner, err = net.Dial("tcp", c.kfake); err != nil {
			return err
		}
	}
	if _, err := io.CopyN(c.inner, c.in, int64(4+size)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(c.inner, head[:]); err != nil {
		return err
	}
	if _, err := c.out.Write(head[:]); err != nil {
		return err
	}
	_, err = io.CopyN(c.out, c.inner, int64(binary.BigEndian.Uint32(head[:])))
	return err
}
