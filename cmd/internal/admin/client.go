package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout = 3 * time.Second
	// maxLineBytes bounds one JSON line: a status of some hundred thousand
	// partitions.
	maxLineBytes = 256 << 20
)

// A Client calls a running server. It is a Backend, so a command does not know
// whether the server is in its own process.
type Client struct {
	addr string
	http *http.Client
}

var _ Backend = (*Client)(nil)

// NewClient prepares calls to the server at addr, host:port on loopback. It
// connects with the first call.
func NewClient(addr string) (*Client, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || !isLoopback(host) {
		return nil, &Error{Op: "reach the server", Subject: addr, Text: "not a loopback address", Code: CodeUsage,
			Hint: "commands run on the machine of the server: give --admin 127.0.0.1:PORT, as `admin` in its configuration"}
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return &Client{addr: addr, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
		Proxy: nil, // never through a proxy of the environment
	}}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version implements Backend.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	err = c.get(ctx, "read version", "/v1/version", &v)
	return v, err
}

// Ready implements Backend.
func (c *Client) Ready(ctx context.Context) (r Ready, err error) {
	err = c.get(ctx, "read readiness", "/v1/ready", &r)
	return r, err
}

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.get(ctx, "read status", "/v1/status", &s)
	return s, err
}

// WatchStatus implements Backend. Unlike the server's own it fails when the
// server ends.
func (c *Client) WatchStatus(ctx context.Context, send func(Status) error) error {
	const op = "watch status"
	body, err := c.do(ctx, op, http.MethodGet, "/v1/status?watch=1", nil)
	if err != nil {
		return endedBy(ctx, err)
	}
	defer body.Close()
	err = eachLine(body, func(line []byte) error {
		var s Status
		if err := json.Unmarshal(line, &s); err != nil {
			return c.garbled(op, err)
		}
		return send(s)
	})
	if err == nil {
		err = c.gone(op)
	}
	return endedBy(ctx, err)
}

// Check implements Backend.
func (c *Client) Check(ctx context.Context, req CheckRequest, progress func(Line)) (r CheckReport, err error) {
	err = c.post(ctx, "check topics", "/v1/check", req, progress, func(e Event) bool { return take(&r, e.Check) })
	return r, err
}

// Flip implements Backend.
func (c *Client) Flip(ctx context.Context, req FlipRequest, progress func(Line)) (r MoveReport, err error) {
	err = c.post(ctx, "flip topics", "/v1/flip", req, progress, func(e Event) bool { return take(&r, e.Move) })
	return r, err
}

// Relocate implements Backend.
func (c *Client) Relocate(ctx context.Context, req RelocateRequest, progress func(Line)) (r MoveReport, err error) {
	err = c.post(ctx, "relocate topics", "/v1/relocate", req, progress, func(e Event) bool { return take(&r, e.Move) })
	return r, err
}

// Rollback implements Backend.
func (c *Client) Rollback(ctx context.Context, req RollbackRequest, progress func(Line)) (r MoveReport, err error) {
	err = c.post(ctx, "roll back topics", "/v1/rollback", req, progress, func(e Event) bool { return take(&r, e.Move) })
	return r, err
}

// Verify implements Backend.
func (c *Client) Verify(ctx context.Context, req VerifyRequest, progress func(Line)) (r VerifyReport, err error) {
	err = c.post(ctx, "verify topics", "/v1/verify", req, progress, func(e Event) bool { return take(&r, e.Verify) })
	return r, err
}

func take[T any](into *T, from *T) bool {
	if from == nil {
		return false
	}
	*into = *from
	return true
}

func (c *Client) get(ctx context.Context, op, path string, into any) error {
	body, err := c.do(ctx, op, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return c.garbled(op, err)
	}
	return nil
}

// post sends req and follows the answer until report takes an Event.
func (c *Client) post(ctx context.Context, op, path string, req any, progress func(Line), report func(Event) bool) error {
	text, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	body, err := c.do(ctx, op, http.MethodPost, path, text)
	if err != nil {
		return err
	}
	defer body.Close()
	done := false
	err = eachLine(body, func(line []byte) error {
		var e Event
		switch err := json.Unmarshal(line, &e); {
		case err != nil:
			return c.garbled(op, err)
		case e.Error != nil:
			return e.Error
		case e.Line != nil:
			if progress != nil {
				progress(*e.Line)
			}
		default:
			done = report(e) || done
		}
		return nil
	})
	switch {
	case ctx.Err() != nil && !done:
		return ctx.Err()
	case err != nil || done:
		return err
	default:
		return c.gone(op)
	}
}

func (c *Client) do(ctx context.Context, op, method, path string, text []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var refused *net.OpError
		if errors.As(err, &refused) && refused.Op == "dial" {
			err = refused.Err
		}
		return nil, &Error{Op: op, Subject: c.addr, Text: fmt.Sprintf("no server answers: %v", err), Code: CodeNoServer,
			Hint: "start it with `switchback serve --config FILE`, or name its `admin` address with --admin HOST:PORT"}
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it says enough
	var e Event
	if json.Unmarshal(answer, &e) == nil && e.Error != nil {
		return nil, e.Error
	}
	return nil, &Error{Op: op, Subject: c.addr, Text: fmt.Sprintf("answered %s: %s", resp.Status, bytes.TrimSpace(answer)), Code: CodeNoServer,
		Hint: "is that a switchback server, and of this version? `switchback version --server` asks it"}
}

func (c *Client) gone(op string) error {
	return &Error{Op: op, Subject: c.addr, Text: "the server went away", Code: CodeNoServer,
		Hint: "start it again: it resumes or undoes what it was in the middle of, and `switchback status` says which"}
}

func (c *Client) garbled(op string, err error) error {
	return &Error{Op: op, Subject: c.addr, Text: fmt.Sprintf("the answer is not understood: %v", err), Code: CodeFailed,
		Hint: "the command and the server are of different versions: use the same for both"}
}

// eachLine calls fn with each line until the stream ends. A stream that breaks
// ends like one that is finished: whoever asked knows whether it was.
func eachLine(r io.Reader, fn func([]byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLineBytes)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := fn(lines.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return lines.Err()
	}
	return nil
}

// endedBy is nil where ctx ended what was going on.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
