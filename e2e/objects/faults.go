package objects

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A Fault is what happens to one request.
type Fault int

// What a Proxy can do. Pass is to do nothing.
const (
	Pass        Fault = iota
	LostAck           // the server has done it, the connection breaks before the answer
	Reset             // the connection breaks before the server hears of it
	Unavailable       // 503 SlowDown, the server does not hear of it
	CutBody           // half of the answer's body, then the connection breaks
	SlowBody          // the answer's body stops half way until the proxy ends
	WholeObject       // the answer to a range says that it is the whole object
	OtherRange        // the answer to a range says that it is another one
)

// A Proxy stands before a server and makes faults.
type Proxy struct {
	Address string
	server  string
	ended   chan struct{}

	mu     sync.Mutex
	decide func(n int, r *http.Request) Fault
	count  int
}

// NewProxy listens until the test ends.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), server: server, ended: make(chan struct{})}
	s := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		close(p.ended)
		_ = s.Close()
		<-done
	})
	return p
}

// Decide sets what happens to request n, counted from 0 from now on.
func (p *Proxy) Decide(decide func(n int, r *http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide, p.count = decide, 0
}

// Count is how many requests came since Decide.
func (p *Proxy) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *Proxy) fault(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.count
	p.count++
	if p.decide == nil {
		return Pass
	}
	return p.decide(n, r)
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.fault(r)
	switch fault {
	case Reset:
		panic(http.ErrAbortHandler)
	case Unavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		return
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.server, ""
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || fault == LostAck {
		panic(http.ErrAbortHandler)
	}
	p.answer(w, answer, body, fault)
}

func (p *Proxy) answer(w http.ResponseWriter, answer *http.Response, body []byte, fault Fault) {
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	code := answer.StatusCode
	switch fault {
	case WholeObject:
		w.Header().Del("Content-Range")
		code = http.StatusOK
	case OtherRange:
		w.Header().Set("Content-Range", "bytes 1-"+strconv.Itoa(len(body))+"/1000000")
	}
	w.WriteHeader(code)
	if fault != CutBody && fault != SlowBody {
		_, _ = w.Write(body)
		return
	}
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	if fault == SlowBody {
		<-p.ended
	}
	panic(http.ErrAbortHandler)
}
