package proxy

import (
	"bytes"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets, key 2, versions 1 to 11.
//
// Whoever answers has first passed the home's end of this moment, so no client is
// shown an end below a record that it knows to be acknowledged. Answers carry log
// epochs and stay as they are.

// listOffsets is the guard of ListOffsets.
func (c *conn) listOffsets(r request) (way, error) {
	if c.servesData() {
		return way{}, c.listOffsetsHere(r)
	}
	routes := c.p.routes.load()
	var wait []wanted
	patch := false
	err := wire.WalkListOffsets(r.Header, r.frame, func(p wire.ListOffsetsPartition) {
		s := routes.find(p.Topic, offsets.TopicID{}, p.Partition)
		if s == nil {
			return
		}
		route := s.now()
		patch = patch || !asLegacy(route.Shown)
		if route.Home == offsets.Target {
			wait = append(wait, wanted{s, homeEnd})
		}
	})
	if err == nil && len(wait) > 0 {
		err = c.awaitCopies(wait)
	}
	if err == nil && patch {
		err = c.patchEpochs(r)
	}
	if err != nil {
		return way{}, err
	}
	return r.pass(), nil
}

// listOffsetsHere has the target answer.
func (c *conn) listOffsetsHere(r request) error {
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return err
	}
	req := msg.(*kmsg.ListOffsetsRequest)
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	denied, err := c.authorized(names, opDescribe)
	if err != nil {
		return err
	}
	refused := make(map[string][]kmsg.ListOffsetsResponseTopicPartition)
	var wait []wanted
	for i := range req.Topics {
		t := &req.Topics[i]
		kept := t.Partitions[:0]
		for _, p := range t.Partitions {
			s := c.p.routes.load().find([]byte(t.Topic), offsets.TopicID{}, p.Partition)
			if denied[t.Topic] || !c.here(s) {
				no := kmsg.NewListOffsetsResponseTopicPartition()
				no.Partition, no.ErrorCode = p.Partition, refusal(denied[t.Topic])
				refused[t.Topic] = append(refused[t.Topic], no)
				continue
			}
			p.CurrentLeaderEpoch = -1
			if s.now().Home == offsets.Legacy {
				wait = append(wait, wanted{s, homeEnd})
			}
			kept = append(kept, p)
		}
		t.Partitions = kept
	}
	if len(wait) > 0 {
		if err := c.awaitCopies(wait); err != nil {
			return err
		}
	}
	return c.submit(r, req, func(resp kmsg.Response) {
		topics := resp.(*kmsg.ListOffsetsResponse).Topics
		for i := range topics {
			topics[i].Partitions = append(topics[i].Partitions, refused[topics[i].Topic]...)
			delete(refused, topics[i].Topic)
		}
		for name, partitions := range refused {
			t := kmsg.NewListOffsetsResponseTopic()
			t.Topic, t.Partitions = name, partitions
			topics = append(topics, t)
		}
		resp.(*kmsg.ListOffsetsResponse).Topics = topics
	})
}

// refusal is the code for a partition that is not served here.
func refusal(denied bool) int16 {
	if denied {
		return codeTopicForbidden
	}
	return codeNotLeader
}
