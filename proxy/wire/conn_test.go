package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 20 * time.Second

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(2, "topic")}, opts...)...)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func dial(t *testing.T, addr string) *Conn {
	t.Helper()
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestConnNegotiates(t *testing.T) {
	c := dial(t, newCluster(t).ListenAddrs()[0])
	req := kmsg.NewPtrMetadataRequest()
	resp, err := c.Request(patient(t), req)
	must(t, err)
	if req.Version != c.MaxVersion(3) || resp.GetVersion() != req.Version || req.Version < 9 {
		t.Errorf("version %d asked, %d answered, at most %d", req.Version, resp.GetVersion(), c.MaxVersion(3))
	}
	if topics := resp.(*kmsg.MetadataResponse).Topics; len(topics) != 1 || *topics[0].Topic != "topic" {
		t.Errorf("topics %+v", topics)
	}
	req.Version = 4
	resp, err = c.Request(patient(t), req)
	must(t, err)
	if resp.GetVersion() != 4 {
		t.Errorf("version %d, want the 4 that was asked for", resp.GetVersion())
	}
	if _, err := c.Request(patient(t), kmsg.NewPtrControlledShutdownRequest()); !errors.Is(err, ErrVersion) {
		t.Errorf("api that the broker does not have: %v, want ErrVersion", err)
	}
	if c.MaxVersion(-1) != -1 || c.MaxVersion(1000) != -1 {
		t.Error("unknown keys have a version")
	}
}

// Answers find their requests when many goroutines ask at once.
func TestConnPipelines(t *testing.T) {
	c := dial(t, newCluster(t).ListenAddrs()[0])
	var wg sync.WaitGroup
	for i := range int32(50) {
		wg.Go(func() {
			req := kmsg.NewPtrListOffsetsRequest()
			topic, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = 1000+i, -1
			topic.Topic, topic.Partitions = "topic", append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
			resp, err := c.Request(patient(t), req)
			if err != nil {
				t.Error(err)
				return
			}
			if got := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Partition; got != 1000+i {
				t.Errorf("asked for %d, answered %d", 1000+i, got)
			}
		})
	}
	wg.Wait()
}

func TestConnFailsWhatWaits(t *testing.T) {
	cluster := newCluster(t)
	c := dial(t, cluster.ListenAddrs()[0])
	reached := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(reached)
		return nil, errors.New("hang up"), true
	})
	_, err := c.Request(patient(t), kmsg.NewPtrMetadataRequest())
	<-reached
	if !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	<-c.Done()
	if _, err := c.Request(patient(t), kmsg.NewPtrMetadataRequest()); !errors.Is(err, ErrClosed) {
		t.Errorf("on a dead connection: %v, want ErrClosed", err)
	}
}

// broker is one that a test scripts: it gets the frames of one connection.
func broker(t *testing.T, serve func(net.Conn, *Reader)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		serve(nc, NewReader(nc, 0))
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// requests calls answer for every request of a connection until it ends.
func requests(nc net.Conn, r *Reader, answer func(h Header, frame []byte) []byte) {
	for {
		b, err := r.Next()
		if err != nil {
			return
		}
		for frame, rest, ok := Split(b); ok; frame, rest, ok = Split(rest) {
			h, _ := ParseHeader(frame)
			if out := answer(h, frame); out != nil {
				_, _ = nc.Write(out)
			}
		}
	}
}

func versions(version int16, keys ...kmsg.Key) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	for _, key := range keys {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = int16(key), kmsg.RequestForKey(int16(key)).MaxVersion()
		if key == kmsg.ApiVersions {
			k.MaxVersion = 2
		}
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// An old broker refuses our ApiVersions version and names its own.
func TestConnDowngrades(t *testing.T) {
	var asked []int16
	addr := broker(t, func(nc net.Conn, r *Reader) {
		requests(nc, r, func(h Header, _ []byte) []byte {
			asked = append(asked, h.Version)
			if h.Version > 2 {
				resp := versions(0, kmsg.ApiVersions)
				resp.ErrorCode = codeUnsupportedVersion
				return AppendResponse(nil, h.Correlation, resp)
			}
			return AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions, kmsg.Metadata))
		})
	})
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	_ = c.Close()
	if len(asked) != 2 || asked[0] != 4 || asked[1] != 2 {
		t.Errorf("versions asked: %v, want 4 and 2", asked)
	}
	if c.MaxVersion(int16(kmsg.Metadata)) < 12 || c.MaxVersion(int16(kmsg.Fetch)) != -1 {
		t.Error("ranges of the second answer were not taken over")
	}
}

// A context that ends leaves the connection usable, and the late answer is not
// taken for the next one's.
func TestConnContextEnds(t *testing.T) {
	late := make(chan struct{})
	addr := broker(t, func(nc net.Conn, r *Reader) {
		requests(nc, r, func(h Header, frame []byte) []byte {
			if h.Key == int16(kmsg.ApiVersions) {
				return AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions, kmsg.Metadata))
			}
			req, _ := DecodeRequest(h, frame)
			resp := req.ResponseKind().(*kmsg.MetadataResponse)
			if req.(*kmsg.MetadataRequest).AllowAutoTopicCreation {
				<-late
				resp.ControllerID = 1
			} else {
				resp.ControllerID = 2
			}
			return AppendResponse(nil, h.Correlation, resp)
		})
	})
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	first := kmsg.NewPtrMetadataRequest()
	first.AllowAutoTopicCreation = true
	if _, err := c.Request(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want the context's error", err)
	}
	close(late)
	second := kmsg.NewPtrMetadataRequest()
	second.AllowAutoTopicCreation = false
	resp, err := c.Request(patient(t), second)
	must(t, err)
	if got := resp.(*kmsg.MetadataResponse).ControllerID; got != 2 {
		t.Errorf("answer %d, want 2", got)
	}
}

// A broker that reads nothing can hold a request up, but not its caller.
func TestConnWriteGivesUp(t *testing.T) {
	hold := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	addr := broker(t, func(nc net.Conn, r *Reader) {
		b, _ := r.Next()
		frame, _, _ := Split(b)
		h, _ := ParseHeader(frame)
		_, _ = nc.Write(AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions, kmsg.Produce)))
		_, _ = nc.Read(make([]byte, 1)) // the request is under way
		cancel()
		<-hold
	})
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	defer func() { _ = c.Close() }()
	defer close(hold)
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	topic, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Records = make([]byte, 64<<20)
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	if _, err := c.Request(ctx, req); err == nil {
		t.Fatal("no error")
	}
	<-c.Done() // a request was written in part
}

func TestConnAcksZero(t *testing.T) {
	got := make(chan int16, 1)
	addr := broker(t, func(nc net.Conn, r *Reader) {
		requests(nc, r, func(h Header, frame []byte) []byte {
			if h.Key == int16(kmsg.ApiVersions) {
				return AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions, kmsg.Produce))
			}
			acks, _ := ProduceAcks(h, frame)
			got <- acks
			return nil
		})
	})
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	defer func() { _ = c.Close() }()
	req := kmsg.NewPtrProduceRequest()
	req.Acks = 0
	resp, err := c.Request(patient(t), req)
	if resp != nil || err != nil {
		t.Fatalf("answer %v, error %v, want none", resp, err)
	}
	if acks := <-got; acks != 0 {
		t.Errorf("acks %d", acks)
	}
}

// An answer that nobody waits for, and garbage, end the connection.
func TestConnRefusesStrangers(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"correlation":   AppendResponse(nil, 999, kmsg.NewPtrMetadataResponse()),
		"negative size": {0xff, 0xff, 0xff, 0xff},
		"short":         {0, 0, 0, 1, 7},
	} {
		t.Run(name, func(t *testing.T) {
			addr := broker(t, func(nc net.Conn, r *Reader) {
				b, _ := r.Next()
				frame, _, _ := Split(b)
				h, _ := ParseHeader(frame)
				_, _ = nc.Write(append(AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions)), garbage...))
				_, _ = r.Next()
			})
			c, err := Dial(patient(t), addr, "test")
			if err == nil {
				<-c.Done()
				_ = c.Close()
			}
		})
	}
}

// Abort resets the connection instead of closing it in order.
func TestConnAborts(t *testing.T) {
	ended := make(chan error, 1)
	addr := broker(t, func(nc net.Conn, r *Reader) {
		b, _ := r.Next()
		frame, _, _ := Split(b)
		h, _ := ParseHeader(frame)
		_, _ = nc.Write(AppendResponse(nil, h.Correlation, versions(h.Version, kmsg.ApiVersions)))
		var one [1]byte
		_, err := nc.Read(one[:])
		ended <- err
	})
	c, err := Dial(patient(t), addr, "test")
	must(t, err)
	c.Abort()
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("broker saw %v, want a reset", err)
	}
	if _, err := c.Request(patient(t), kmsg.NewPtrApiVersionsRequest()); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

// No broker at the other end, or one that is not Kafka.
func TestDialFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	_ = l.Close()
	if _, err := Dial(patient(t), addr, "test"); err == nil {
		t.Error("dialled a closed port")
	}
	addr = broker(t, func(nc net.Conn, _ *Reader) {
		_ = binary.Write(nc, binary.BigEndian, uint32(0x48545450)) // "HTTP"
		_, _ = io.Copy(io.Discard, nc)
	})
	if _, err := Dial(patient(t), addr, "test"); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
}
