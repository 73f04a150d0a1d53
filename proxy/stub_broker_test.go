package proxy_test

import (
	"encoding/binary"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stubBroker is a broker that answers as a test tells it to, and allocates nothing
// for the answers that were prepared.
type stubBroker struct {
	t      *testing.T
	ln     net.Listener
	id     offsets.TopicID
	canned map[int16][]byte                                                 // by key: an answer with its size, correlation id to be filled in
	handle func(c net.Conn, h wire.Header, frame []byte) (answer, end bool) // before anything else; may be nil
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn

	inspect    func(h wire.Header, frame []byte) // sees everything; may be nil
	operations atomic.Int32                      // what every client may do with the topic
}

func newStubBroker(t *testing.T) *stubBroker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &stubBroker{t: t, ln: ln, id: offsets.TopicID{1, 2, 3}, canned: make(map[int16][]byte)}
	b.operations.Store(0xffff)
	return b
}

func (b *stubBroker) start() {
	b.wg.Go(func() {
		for {
			nc, err := b.ln.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, nc)
			b.mu.Unlock()
			b.wg.Go(func() { b.serve(nc) })
		}
	})
}

// setCanned prepares an answer while the broker runs.
func (b *stubBroker) setCanned(key int16, answer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.canned[key] = answer
}

func (b *stubBroker) stop() {
	_ = b.ln.Close()
	b.mu.Lock()
	for _, nc := range b.conns {
		_ = nc.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *stubBroker) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := wire.NewReader(nc, 0)
	out := make([]byte, 0, 1<<20)
	for {
		frames, err := r.Next()
		if err != nil {
			return
		}
		out = out[:0]
		for len(frames) > 0 {
			var frame []byte
			frame, frames, _ = wire.Split(frames)
			h, err := wire.ParseHeader(frame)
			if err != nil {
				return
			}
			if b.handle != nil {
				if _, err := nc.Write(out); err != nil { // it may write itself: keep the order
					return
				}
				out = out[:0]
				answer, end := b.handle(nc, h, frame)
				if end {
					return
				}
				if !answer {
					continue
				}
			}
			if b.inspect != nil {
				b.inspect(h, frame)
			}
			b.mu.Lock()
			canned := b.canned[h.Key]
			b.mu.Unlock()
			if canned != nil {
				at := len(out)
				out = append(out, canned...)
				binary.BigEndian.PutUint32(out[at+4:], uint32(h.Correlation))
				continue
			}
			out = append(out, b.answer(h, frame)...)
		}
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
		}
	}
}

func (b *stubBroker) answer(h wire.Header, frame []byte) []byte {
	req, err := wire.DecodeRequest(h, frame)
	if err != nil {
		return nil
	}
	resp := req.ResponseKind()
	resp.SetVersion(h.Version)
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		for key := range int16(40) {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = key, kmsg.RequestForKey(key).MaxVersion()
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
	case *kmsg.MetadataResponse:
		b.metadata(resp)
	}
	return wire.AppendResponse(nil, h.Correlation, resp)
}

func (b *stubBroker) metadata(resp *kmsg.MetadataResponse) {
	host, port, _ := net.SplitHostPort(b.ln.Addr().String())
	n, _ := strconv.Atoi(port)
	node := kmsg.NewMetadataResponseBroker()
	node.NodeID, node.Host, node.Port = 1, host, int32(n)
	resp.Brokers = append(resp.Brokers, node)
	resp.ControllerID = 1
	resp.ClusterID = kmsg.StringPtr("stub")
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID = kmsg.StringPtr("orders"), b.id
	t.AuthorizedOperations = b.operations.Load()
	for i := range int32(4) {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR = i, 1, 0, []int32{1}, []int32{1}
		t.Partitions = append(t.Partitions, p)
	}
	resp.Topics = append(resp.Topics, t)
}

// rawClient speaks frames.
type rawClient struct {
	t  *testing.T
	nc net.Conn
	r  *wire.Reader
	in []byte
}

func dialRaw(t *testing.T, addr string) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &rawClient{t: t, nc: nc, r: wire.NewReader(nc, 0)}
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next answer frame, valid until the next call that reads.
func (c *rawClient) next() ([]byte, error) {
	if len(c.in) == 0 {
		var err error
		if c.in, err = c.r.Next(); err != nil {
			return nil, err
		}
	}
	var frame []byte
	frame, c.in, _ = wire.Split(c.in)
	return frame, nil
}

// ask sends one request in the given version and decodes its answer.
func (c *rawClient) ask(req kmsg.Request, version int16) kmsg.Response {
	c.t.Helper()
	req.SetVersion(version)
	c.write(wire.AppendRequest(nil, 7, kmsg.StringPtr("raw"), req))
	frame, err := c.next()
	if err != nil {
		c.t.Fatalf("ask %s: %v", kmsg.NameForKey(req.Key()), err)
	}
	_, resp, err := wire.DecodeResponse(req.Key(), version, frame)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}
