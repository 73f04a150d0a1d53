package proxy

import (
	"net"
	"slices"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics, key 20, versions 0 to 6.
//
// A moved topic lives on both clusters and its records on the target: it is not
// deleted behind the back of either.

// deleteTopics is the guard of DeleteTopics.
func (c *conn) deleteTopics(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	routes := c.p.routes.load()
	req := msg.(*kmsg.DeleteTopicsRequest)
	var refused []kmsg.DeleteTopicsResponseTopic
	refuse := func(name *string, id [16]byte) bool {
		topic := routes.topic(name, id)
		if !topic.moved() {
			return false
		}
		no := kmsg.NewDeleteTopicsResponseTopic()
		no.Topic, no.TopicID = name, id
		no.ErrorCode, no.ErrorMessage = codePolicy, kmsg.StringPtr(rollBackFirst)
		refused = append(refused, no)
		return true
	}
	req.TopicNames = slices.DeleteFunc(req.TopicNames, func(name string) bool { return refuse(&name, [16]byte{}) })
	req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.DeleteTopicsRequestTopic) bool { return refuse(t.Topic, t.TopicID) })
	if len(refused) == 0 {
		return c.passOrOffline(r)
	}
	return way{}, c.refusePart(r, req, len(req.TopicNames)+len(req.Topics) > 0, func(msg kmsg.Response) {
		resp := msg.(*kmsg.DeleteTopicsResponse)
		resp.Topics = append(resp.Topics, refused...)
	})
}

// passOrOffline sends a request on that a guard has found nothing in.
func (c *conn) passOrOffline(r request) (way, error) {
	if c.pinned == nil {
		return way{}, c.serveOffline(r)
	}
	return r.pass(), nil
}

// refusePart answers a request of which some entries are refused: the rest, if
// any, goes on as req, and add puts the refusals into legacy's answer.
func (c *conn) refusePart(r request, req kmsg.Request, rest bool, add func(kmsg.Response)) error {
	if !rest || c.pinned == nil {
		resp := req.ResponseKind()
		resp.SetVersion(r.Version)
		add(resp)
		return c.answer(r, resp)
	}
	seq, err := c.reserve()
	if err != nil {
		return err
	}
	key, version, correlation := r.Key, r.Version, r.Correlation
	clientID := string(r.ClientID)
	req.SetVersion(version)
	c.pinned.send(wire.AppendRequest(nil, correlation, &clientID, req), expect{
		correlation: correlation, key: key, version: version,
		then: func(frame []byte, err error) bool {
			var msg kmsg.Response
			if err == nil {
				_, msg, err = wire.DecodeResponse(key, version, frame)
			}
			if err != nil {
				c.close(err)
				return false
			}
			add(msg)
			c.complete(seq, net.Buffers{wire.AppendResponse(nil, correlation, msg)}, nil)
			return false
		},
	})
	return nil
}
