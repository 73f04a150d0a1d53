package proxy

import (
	"bytes"
	"net"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch, key 23, versions 2 to 4.
//
// Requests and answers name log epochs, which are legacy's real ones on both
// sides; only current_leader_epoch is a shown one. Like ListOffsets it waits for
// the home's end. Where the epoch lists of the two logs differ the home's answers:
// a client that has read from the one side must not be told by the other that its
// log was truncated.

// epochAnswer is an answer from the home's list.
type epochAnswer struct {
	epoch int32
	end   int64
}

// offsetForLeaderEpoch is the guard of OffsetForLeaderEpoch.
func (c *conn) offsetForLeaderEpoch(r request) (way, error) {
	if c.servesData() {
		return way{}, c.offsetForLeaderEpochHere(r)
	}
	routes := c.p.routes.load()
	var wait []wanted
	patch := false
	var own map[offsets.Partition]epochAnswer
	err := wire.WalkOffsetForLeaderEpoch(r.Header, r.frame, func(p wire.LeaderEpochPartition) {
		s := routes.find(p.Topic, offsets.TopicID{}, p.Partition)
		if s == nil {
			return
		}
		route := s.now()
		patch = patch || !asLegacy(route.Shown)
		if route.Home != offsets.Target {
			return
		}
		if answer, differ := c.p.homeEpoch(s, p.LeaderEpoch); differ {
			if own == nil {
				own = make(map[offsets.Partition]epochAnswer)
			}
			own[s.id] = answer
			return
		}
		wait = append(wait, wanted{s, homeEnd})
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
	if own == nil {
		return r.pass(), nil
	}
	return way{}, c.overrideEpochs(r, own)
}

// homeEpoch is the answer from the home's list; differ tells whether it has to be
// given instead of the other side's.
func (p *Proxy) homeEpoch(s *partition, asked int32) (answer epochAnswer, differ bool) {
	epochs, logEnd, differ := p.copies.Epochs(s.id)
	if !differ {
		return epochAnswer{}, false
	}
	answer.epoch, answer.end = epochs.End(asked, logEnd)
	return answer, true
}

// overrideEpochs sends the request on and puts our own answers over the broker's.
func (c *conn) overrideEpochs(r request, own map[offsets.Partition]epochAnswer) error {
	seq, err := c.reserve()
	if err != nil {
		return err
	}
	key, version, correlation := r.Key, r.Version, r.Correlation
	c.pinned.send(r.sized, expect{
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
			overrideEpochs(c.p, msg.(*kmsg.OffsetForLeaderEpochResponse), own)
			c.complete(seq, net.Buffers{wire.AppendResponse(nil, correlation, msg)}, nil)
			return false
		},
	})
	return nil
}

// overrideEpochs leaves refusals (authorisation, unknown topic) as they are.
func overrideEpochs(e endpoints, resp *kmsg.OffsetForLeaderEpochResponse, own map[offsets.Partition]epochAnswer) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		id, ok := e.topicID(t.Topic)
		if !ok {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if answer, ok := own[offsets.Partition{Topic: id, Index: p.Partition}]; ok && p.ErrorCode == 0 {
				p.LeaderEpoch, p.EndOffset = answer.epoch, answer.end
			}
		}
	}
}

// offsetForLeaderEpochHere has the target answer.
func (c *conn) offsetForLeaderEpochHere(r request) error {
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return err
	}
	req := msg.(*kmsg.OffsetForLeaderEpochRequest)
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	denied, err := c.authorized(names, opDescribe)
	if err != nil {
		return err
	}
	refused := make(map[string][]kmsg.OffsetForLeaderEpochResponseTopicPartition)
	own := make(map[offsets.Partition]epochAnswer)
	var wait []wanted
	for i := range req.Topics {
		t := &req.Topics[i]
		kept := t.Partitions[:0]
		for _, p := range t.Partitions {
			s := c.p.routes.load().find([]byte(t.Topic), offsets.TopicID{}, p.Partition)
			if denied[t.Topic] || !c.here(s) {
				no := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				no.Partition, no.ErrorCode = p.Partition, refusal(denied[t.Topic])
				refused[t.Topic] = append(refused[t.Topic], no)
				continue
			}
			p.CurrentLeaderEpoch = -1
			if s.now().Home == offsets.Legacy {
				if answer, differ := c.p.homeEpoch(s, p.LeaderEpoch); differ {
					own[s.id] = answer
				} else {
					wait = append(wait, wanted{s, homeEnd})
				}
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
	return c.submit(r, req, func(msg kmsg.Response) {
		resp := msg.(*kmsg.OffsetForLeaderEpochResponse)
		overrideEpochs(c.p, resp, own)
		for i := range resp.Topics {
			t := &resp.Topics[i]
			t.Partitions = append(t.Partitions, refused[t.Topic]...)
			delete(refused, t.Topic)
		}
		for name, partitions := range refused {
			t := kmsg.NewOffsetForLeaderEpochResponseTopic()
			t.Topic, t.Partitions = name, partitions
			resp.Topics = append(resp.Topics, t)
		}
	})
}
