package proxy_test

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// countingTarget appends everything and counts.
type countingTarget struct {
	noGone
	asked atomic.Int64
}

func (c *countingTarget) Submit(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
	c.asked.Add(1)
	if _, ok := req.(*kmsg.ProduceRequest); ok {
		done(proxy.Reply{Message: produced(req, 7, 0)})
		return
	}
	done(proxy.Reply{Message: req.ResponseKind()})
}

// codes are the error codes of the next answer, a Produce of version 9, by
// partition.
func (c *rawClient) codes() map[int32]int16 {
	c.t.Helper()
	frame, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	_, resp, err := wire.DecodeResponse(0, 9, frame)
	if err != nil {
		c.t.Fatal(err)
	}
	codes := make(map[int32]int16)
	for _, t := range resp.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			codes[p.Partition] = p.ErrorCode
		}
	}
	return codes
}

func TestServeThroughAsksLegacyWhoMay(t *testing.T) {
	const write, describe = 1 << 4, 1 << 8
	target := &countingTarget{}
	g := newGated(t, target)
	close(g.gate)
	g.b.operations.Store(describe)
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
	c := dialRaw(t, g.node)
	c.write(produceFrame(t, 9, -1, g.b.id, nil, 0, 1))
	if codes := c.codes(); codes[0] != 29 || codes[1] != 0 {
		t.Errorf("codes %v, want 29 for the moved partition and legacy's word for the other", codes)
	}
	if n := target.asked.Load(); n != 0 {
		t.Errorf("the target was asked %d times for a client that may not write", n)
	}
	g.b.operations.Store(describe | write)
	eventually(t, "the new right counts", func() bool { // the old answer is good for seconds
		c.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
		return c.codes()[0] == 0
	})
}

// What is asked for a client is asked under its id, also when its ApiVersions was
// answered here and the question is the first thing that legacy gets: a broker's
// quota, and whoever sorts connections by their first request, would take it for
// one of ours.
func TestQuestionsCarryTheIDOfTheClient(t *testing.T) {
	g := newGated(t, &countingTarget{})
	close(g.gate)
	produce := g.b.handle
	asked := make(chan string, 16)
	g.b.handle = func(nc net.Conn, h wire.Header, frame []byte) (answer, end bool) {
		if h.Key == int16(kmsg.Metadata) {
			select {
			case asked <- string(h.ClientID):
			default:
			}
		}
		return produce(nc, h, frame)
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
	c := dialRaw(t, g.node)
	hello, id := kmsg.NewPtrApiVersionsRequest(), "billing"
	hello.Version = 4
	frame := wire.AppendRequest(nil, 1, &id, hello)
	binary.BigEndian.PutUint16(frame[6:], 5) // size, key, version: newer than we speak (KIP-511)
	c.write(frame)
	if _, err := c.next(); err != nil {
		t.Fatal(err)
	}
	for len(asked) > 0 {
		<-asked // of the proxy's own connections
	}
	c.write(produceFrame(t, 9, -1, g.b.id, nil, 0))
	if codes := c.codes(); codes[0] != 0 {
		t.Fatalf("codes %v", codes)
	}
	for {
		select {
		case got := <-asked:
			if got == id {
				return
			}
		default:
			t.Fatalf("no question carried the id %q of the client", id)
		}
	}
}

// What a client claims in an exchange that legacy refuses opens nothing, not even
// to a principal that is known to be allowed.
func TestClaimedPrincipalIsNotTrusted(t *testing.T) {
	target := &countingTarget{}
	g := newGated(t, target)
	close(g.gate)
	var refuse atomic.Bool
	produce := g.b.handle
	g.b.handle = func(nc net.Conn, h wire.Header, frame []byte) (answer, end bool) {
		if h.Key == 36 && refuse.Load() {
			return false, true
		}
		return produce(nc, h, frame)
	}
	g.p.Apply(map[offsets.Partition]proxy.Route{g.parts[0]: {Home: offsets.Target, Epoch: 1}})
	login := func() []byte {
		hello := kmsg.NewPtrSASLHandshakeRequest()
		hello.Version, hello.Mechanism = 1, "PLAIN"
		secret := kmsg.NewPtrSASLAuthenticateRequest()
		secret.Version, secret.SASLAuthBytes = 1, []byte("\x00admin\x00secret")
		return wire.AppendRequest(wire.AppendRequest(nil, 1, nil, hello), 2, nil, secret)
	}
	good := dialRaw(t, g.node)
	good.write(append(login(), produceFrame(t, 9, -1, g.b.id, nil, 0)...))
	for range 2 {
		if _, err := good.next(); err != nil {
			t.Fatal(err)
		}
	}
	if codes := good.codes(); codes[0] != 0 {
		t.Fatalf("codes %v", codes)
	}
	seen := false
	for _, c := range g.p.Clients() {
		seen = seen || c.Principal == "User:admin"
	}
	if !seen {
		t.Errorf("principal not seen in passing: %+v", g.p.Clients())
	}
	refuse.Store(true)
	asked := target.asked.Load()
	bad := dialRaw(t, g.node)
	bad.write(append(login(), produceFrame(t, 9, -1, g.b.id, nil, 0)...))
	for {
		if _, err := bad.next(); err != nil {
			break
		}
	}
	if n := target.asked.Load(); n != asked {
		t.Error("the target has served a client that legacy refused")
	}
}
