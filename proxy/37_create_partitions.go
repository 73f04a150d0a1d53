package proxy

import (
	"slices"

	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions, key 37, versions 0 to 3.
//
// Counts are equal on both clusters while a topic is moved, so it doesn't grow.

// createPartitions is the guard of CreatePartitions.
func (c *conn) createPartitions(r request) (way, error) {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return way{}, err
	}
	routes := c.p.routes.load()
	req := msg.(*kmsg.CreatePartitionsRequest)
	var refused []kmsg.CreatePartitionsResponseTopic
	req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.CreatePartitionsRequestTopic) bool {
		if !routes.topic(&t.Topic, [16]byte{}).moved() {
			return false
		}
		no := kmsg.NewCreatePartitionsResponseTopic()
		no.Topic, no.ErrorCode, no.ErrorMessage = t.Topic, codePolicy, kmsg.StringPtr(rollBackFirst)
		refused = append(refused, no)
		return true
	})
	if len(refused) == 0 {
		return c.passOrOffline(r)
	}
	return way{}, c.refusePart(r, req, len(req.Topics) > 0, func(msg kmsg.Response) {
		resp := msg.(*kmsg.CreatePartitionsResponse)
		resp.Topics = append(resp.Topics, refused...)
	})
}
