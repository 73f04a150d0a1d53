package relay_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
	"switchback/e2e/relay"
)

// sink accepts connections and hands over everything that it has read of each, when it ends.
func sink(t *testing.T) (addr string, got <-chan []byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan []byte, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				all, _ := io.ReadAll(conn)
				out <- all
			}()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String(), out
}

func open(t *testing.T, to string) *relay.Relay {
	t.Helper()
	port, err := machine.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.Listen(port, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// hello is a first request of a client.
func hello(id string) []byte {
	req := kmsg.NewPtrApiVersionsRequest()
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 1)
}

func dial(t *testing.T, r *relay.Relay, id string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(hello(id)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func receive(t *testing.T, got <-chan []byte) []byte {
	t.Helper()
	select {
	case b := <-got:
		return b
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrived in 10 s")
		return nil
	}
}

func TestStalledRequestsArriveAfterTheirClientIsGone(t *testing.T) {
	addr, got := sink(t)
	r := open(t, addr)
	release := r.Stall("slow")
	conn := dial(t, r, "slow-1")
	conn.Close()
	other := dial(t, r, "quick")
	other.Close()
	if b := receive(t, got); !bytes.Equal(b, hello("quick")) {
		t.Fatalf("the first to arrive is %q", b)
	}
	select {
	case b := <-got:
		t.Fatalf("%q arrived while it was stalled", b)
	default:
	}
	release()
	release()
	if b := receive(t, got); !bytes.Equal(b, hello("slow-1")) {
		t.Fatalf("after release came %q", b)
	}
}

func TestDelay(t *testing.T) {
	const by = 200 * time.Millisecond
	addr, got := sink(t)
	r := open(t, addr)
	r.Delay("slow", by)
	began := time.Now()
	dial(t, r, "slow").Close()
	receive(t, got)
	if late := time.Since(began); late < by {
		t.Errorf("arrived after %v, not before %v was wanted", late, by)
	}
	r.Delay("slow", 0)
	began = time.Now()
	dial(t, r, "slow").Close()
	receive(t, got)
	if late := time.Since(began); late > by {
		t.Errorf("arrived after %v without a delay", late)
	}
}

func TestCutEndsMatchingConnectionsOnly(t *testing.T) {
	addr, got := sink(t)
	r := open(t, addr)
	cut, kept := dial(t, r, "java-1"), dial(t, r, "franz")
	defer kept.Close()
	err := machine.Until(context.Background(), 10*time.Second, "one connection to cut", func(context.Context) error {
		if r.Cut("java") == 1 {
			return nil
		}
		return io.ErrNoProgress
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, got)
	if err := cut.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := cut.Read(make([]byte, 1)); err == nil {
		t.Error("a cut connection can be read")
	}
	if _, err := kept.Write([]byte("more")); err != nil {
		t.Error(err)
	}
	kept.Close()
	if b := receive(t, got); !bytes.HasSuffix(b, []byte("more")) {
		t.Errorf("the connection that was kept delivered %q", b)
	}
}
