package proxy

import (
	"bytes"
	"fmt"
	"net"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A request is one frame in A's hands.
type request struct {
	wire.Header
	frame []byte // without its size
	sized []byte // with it
}

// A way is what becomes of a request: on (with the run of clean requests, to the
// pinned upstream) or dealt with already.
type way struct {
	on     bool
	silent bool // Produce without acks: nothing is expected
	e      expect
}

// pass sends a request on as it is.
func (r request) pass() way {
	return way{on: true, e: expect{correlation: r.Correlation, key: r.Key, version: r.Version}}
}

// A guard looks at the requests of one API. It runs on A with sending held; it
// may change the frame in place, and may give sending up by conn.wait.
type guard func(*conn, request) (way, error)

// guardOf is the guard of an API. Those that are not always needed are skipped
// while every partition is clean and the connection is one to a legacy broker.
func guardOf(key int16) (g guard, always bool) {
	switch kmsg.Key(key) {
	case kmsg.Produce:
		return (*conn).produce, true
	case kmsg.Fetch:
		return (*conn).fetch, false
	case kmsg.ListOffsets:
		return (*conn).listOffsets, false
	case kmsg.OffsetForLeaderEpoch:
		return (*conn).offsetForLeaderEpoch, false
	case kmsg.DeleteRecords:
		return (*conn).deleteRecords, false
	case kmsg.CreateTopics:
		return (*conn).createTopics, false
	case kmsg.DeleteTopics:
		return (*conn).deleteTopics, false
	case kmsg.CreatePartitions:
		return (*conn).createPartitions, false
	case kmsg.WriteTxnMarkers:
		return (*conn).writeTxnMarkers, false
	case kmsg.DescribeConfigs:
		return (*conn).describeConfigs, false
	case kmsg.DescribeLogDirs:
		return (*conn).describeLogDirs, false
	case kmsg.InitProducerID:
		return (*conn).initProducerID, true
	case kmsg.AddPartitionsToTxn:
		return (*conn).addPartitionsToTxn, true
	case kmsg.ApiVersions:
		return (*conn).apiVersions, true
	case kmsg.SASLHandshake:
		return (*conn).saslHandshake, true
	case kmsg.SASLAuthenticate:
		return (*conn).saslAuthenticate, true
	}
	return nil, false
}

// servesData tells whether data APIs are served here and not by a broker behind
// the pinned upstream.
func (c *conn) servesData() bool { return c.local || c.pinned == nil }

// decide finds the way of one request. An error ends the connection.
func (c *conn) decide(frame, sized []byte) (way, error) {
	key, version, correlation, ok := wire.PeekHeader(frame)
	if !ok {
		return way{}, fmt.Errorf("read request header: %w", wire.ErrMalformed)
	}
	row, ok := apiOf(key)
	if !ok {
		return way{}, fmt.Errorf("request with key %d: %w", key, wire.ErrUnknownAPI)
	}
	if row.legacy == ruleHide || c.local && row.target == ruleHide {
		return way{}, fmt.Errorf("request %s: %w: %s", row.key.Name(), errRefused, row.why)
	}
	if !advertised(key, version) && row.key != kmsg.ApiVersions {
		return way{}, fmt.Errorf("request %s version %d: %w: not advertised", row.key.Name(), version, errRefused)
	}
	c.stats.requests.Add(1)
	if c.pinned == nil || c.pinned.dead.Load() {
		if err := c.upstream(); err != nil {
			return way{}, err
		}
	}
	if c.session.midway && row.key != kmsg.SASLHandshake && row.key != kmsg.SASLAuthenticate {
		c.session.midway = false
		if err := c.flush(); err != nil {
			return way{}, err
		}
		c.runDeferred()
	}
	if row.key == kmsg.Fetch {
		c.stats.fetches.Add(1)
	}
	g, always := guardOf(key)
	if g != nil && (always || c.servesData() || !c.p.routes.load().clean()) {
		h, err := wire.ParseHeader(frame)
		if err != nil {
			return way{}, err
		}
		return g(c, request{Header: h, frame: frame, sized: sized})
	}
	if c.pinned == nil {
		h, err := wire.ParseHeader(frame)
		if err != nil {
			return way{}, err
		}
		return way{}, c.serveOffline(request{Header: h, frame: frame, sized: sized})
	}
	return way{on: true, e: expect{correlation: correlation, key: key, version: version}}, nil
}

// answer answers a request here and now. resp's version is kept: it may differ
// from the request's (ApiVersions).
func (c *conn) answer(r request, resp kmsg.Response) error {
	seq, err := c.reserve()
	if err != nil {
		return err
	}
	c.complete(seq, net.Buffers{wire.AppendResponse(nil, r.Correlation, resp)}, nil)
	return nil
}

// submit has the target answer a request in its slot, with change applied to the
// answer first (it may be nil).
func (c *conn) submit(r request, req kmsg.Request, change func(kmsg.Response)) error {
	seq, err := c.reserve()
	if err != nil {
		return err
	}
	c.stats.byTarget.Add(1)
	req.SetVersion(r.Version)
	c.p.target.Submit(c.caller(r.Header), req, func(reply Reply) {
		if reply.Message == nil {
			c.close(fmt.Errorf("serve %s: the target gave no answer", kmsg.NameForKey(r.Key)))
			return
		}
		reply.Message.SetVersion(r.Version)
		if change != nil {
			change(reply.Message)
		}
		if fetch, ok := reply.Message.(*kmsg.FetchResponse); ok {
			c.complete(seq, wire.EncodeFetch(r.Correlation, fetch, reply.Records), reply.Release)
			return
		}
		c.complete(seq, net.Buffers{wire.AppendResponse(nil, r.Correlation, reply.Message)}, reply.Release)
	})
	return nil
}

// rewritten is the answer of a broker as the client is to see it, with its size;
// nil when it is the frame itself, which may have been patched in place. B calls
// it.
func (c *conn) rewritten(e *expect, frame []byte) ([]byte, error) {
	version := e.version
	switch kmsg.Key(e.key) {
	case kmsg.Produce, kmsg.Fetch:
		present, err := wire.EndpointsOf(e.key, version, frame)
		if err != nil {
			return nil, err
		}
		if !present {
			if c.p.routes.load().clean() {
				return nil, nil
			}
			return nil, patchLeaders(e.key, version, frame, c.p)
		}
	case kmsg.ApiVersions:
		version = versionOfApiVersions(version, frame)
	default:
		if row, ok := apiOf(e.key); !ok || row.legacy != ruleRewrite {
			return nil, nil
		}
	}
	correlation, resp, err := wire.DecodeResponse(e.key, version, frame)
	if err != nil {
		return nil, err
	}
	if metadata, ok := resp.(*kmsg.MetadataResponse); ok {
		c.p.topo.Learn(metadata)
	}
	if !rewriteAnswer(resp, c.p) {
		return nil, nil
	}
	if fetch, ok := resp.(*kmsg.FetchResponse); ok { // kmsg would write it with many allocations
		return bytes.Join(wire.EncodeFetch(correlation, fetch, nil), nil), nil
	}
	return wire.AppendResponse(nil, correlation, resp), nil
}

// versionOfApiVersions is the version that an ApiVersions answer is in: a broker
// that doesn't know the one asked for answers UNSUPPORTED_VERSION in version 0
// (KIP-511).
func versionOfApiVersions(asked int16, frame []byte) int16 {
	const unsupported = 35
	if len(frame) >= 6 && frame[4] == 0 && frame[5] == unsupported {
		return 0
	}
	return asked
}
