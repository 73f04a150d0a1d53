package proxy

import (
	"bytes"
	"slices"
	"strconv"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32) of the target's own node, and DescribeLogDirs (35) on it:
// the only node that can describe the target is the target's. 32's answers are
// rewritten beside this, in 32_describe_configs.go.

const brokerResource = kmsg.ConfigResourceTypeBroker

// describeConfigs is the guard of DescribeConfigs.
func (c *conn) describeConfigs(r request) (way, error) {
	if !c.local {
		return c.passOrOffline(r)
	}
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return way{}, err
	}
	req := msg.(*kmsg.DescribeConfigsRequest)
	self := strconv.Itoa(int(c.node))
	var own []kmsg.DescribeConfigsRequestResource
	rest := slices.DeleteFunc(req.Resources, func(res kmsg.DescribeConfigsRequestResource) bool {
		if res.ResourceType == brokerResource && res.ResourceName == self {
			own = append(own, res)
			return true
		}
		return false
	})
	if len(own) == 0 {
		return c.passOrOffline(r)
	}
	req.Resources = own
	if len(rest) == 0 {
		return way{}, c.submit(r, req, nil)
	}
	answered := make(chan *kmsg.DescribeConfigsResponse, 1)
	c.p.target.Submit(c.caller(r.Header), req, func(reply Reply) {
		resp, _ := reply.Message.(*kmsg.DescribeConfigsResponse)
		answered <- resp
		if reply.Release != nil {
			reply.Release()
		}
	})
	var ours *kmsg.DescribeConfigsResponse
	err = c.wait(func() {
		select {
		case ours = <-answered:
		case <-c.ctx.Done():
		}
	})
	if err != nil {
		return way{}, err
	}
	others := *req
	others.Resources = rest
	return way{}, c.refusePart(r, &others, true, func(msg kmsg.Response) {
		rewriteAnswer(msg, c.p)
		if ours != nil {
			resp := msg.(*kmsg.DescribeConfigsResponse)
			resp.Resources = append(resp.Resources, ours.Resources...)
		}
	})
}

// describeLogDirs is the guard of DescribeLogDirs: each node describes its own.
func (c *conn) describeLogDirs(r request) (way, error) {
	if !c.local {
		return c.passOrOffline(r)
	}
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return way{}, err
	}
	return way{}, c.submit(r, msg, nil)
}
