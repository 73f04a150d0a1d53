package proxy

import (
	"slices"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics, key 19, versions 0 to 7.
//
// Topics are made on legacy, and the mirror imports them with their ids. A name
// that a moved topic has is legacy's to refuse (TOPIC_ALREADY_EXISTS), as before;
// only when legacy doesn't have it any more is it refused here: there would be
// two topics of one name.

const rollBackFirst = "this topic has been moved by Switchback: roll it back first"

// createTopics is the guard of CreateTopics.
func (c *conn) createTopics(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	routes, legacy := c.p.routes.load(), c.p.topo.Snapshot()
	req := msg.(*kmsg.CreateTopicsRequest)
	var refused []kmsg.CreateTopicsResponseTopic
	kept := slices.DeleteFunc(req.Topics, func(t kmsg.CreateTopicsRequestTopic) bool {
		topic := routes.topic(&t.Topic, [16]byte{})
		if !topic.moved() || legacy.TopicsByID[topic.id] != nil {
			return false
		}
		no := kmsg.NewCreateTopicsResponseTopic()
		no.Topic, no.ErrorCode, no.ErrorMessage = t.Topic, codePolicy, kmsg.StringPtr(rollBackFirst)
		refused = append(refused, no)
		return true
	})
	if len(refused) == 0 {
		return c.passOrOffline(r)
	}
	req.Topics = kept
	return way{}, c.refusePart(r, req, len(kept) > 0, func(msg kmsg.Response) {
		resp := msg.(*kmsg.CreateTopicsResponse)
		resp.Topics = append(resp.Topics, refused...)
	})
}
