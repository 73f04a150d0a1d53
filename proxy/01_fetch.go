package proxy

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch, key 1, versions 4 to 18.
//
// On a legacy node it goes on to the broker, which replay keeps equal: first the
// copy must have passed every offset named (a broker would answer
// OFFSET_OUT_OF_RANGE, and the client would reset), current_leader_epoch is put
// into legacy's domain, and last_fetched_epoch is blanked where the epoch lists
// of the two logs differ. A session's request names only what changed, which is
// all that has to be compared.
//
// On the target's node the target answers, under the same rule for partitions
// whose home is legacy again. Sessions are not kept there.

// shortPollWait is what long polls are cut to after a relocation: a client has one
// fetch per node, and one that is parked delays the partitions that arrive later.
const shortPollWait = 40 * time.Millisecond

const codeNoSession = 70 // FETCH_SESSION_ID_NOT_FOUND

// fetch is the guard of Fetch.
func (c *conn) fetch(r request) (way, error) {
	if c.servesData() {
		return way{}, c.fetchHere(r)
	}
	wait, patch, stuck, err := c.lookAtFetch(r)
	if stuck {
		return way{}, c.moveFetch(r)
	}
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

// A wanted offset is one that the copy has not confirmed.
type wanted struct {
	state  *partition
	offset int64
}

// lookAtFetch finds what a fetch on a legacy node has to wait for, whether its
// epochs have to be patched, and whether it names a partition that is stuck.
func (c *conn) lookAtFetch(r request) (wait []wanted, patch, stuck bool, err error) {
	routes := c.p.routes.load()
	_, err = wire.WalkFetch(r.Header, r.frame, func(p wire.FetchPartition) {
		s := routes.find(p.Topic, p.TopicID, p.Partition)
		if s == nil {
			return
		}
		route := s.now()
		patch = patch || !asLegacy(route.Shown)
		if route.Home != offsets.Target {
			return
		}
		stuck = stuck || c.p.isStuck(c.ctx, s)
		if p.LastFetchedAt != 0 && p.LastFetchedEpoch >= 0 && c.p.differs(s) {
			wire.PutEpoch(r.frame, p.LastFetchedAt, -1)
		}
		if confirmed, known := c.p.copies.Confirmed(s.id); !known || p.Offset > confirmed {
			wait = append(wait, wanted{s, p.Offset})
		}
	})
	return wait, patch, stuck, err
}

// moveFetch answers a fetch that names relocated partitions for which legacy gets
// nothing new: they have moved, says the answer (with the hint of KIP-951), and
// nothing about the others. Everybody else is served where they are; these would
// wait for ever.
func (c *conn) moveFetch(r request) error {
	msg, err := wire.DecodeRequest(r.Header, r.frame)
	if err != nil {
		return err
	}
	req := msg.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.SessionID != 0 && req.SessionEpoch > 0 {
		resp.ErrorCode = codeNoSession // the full fetch that follows names everything
		return c.answer(r, resp)
	}
	for _, t := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			id, _ := idOf(c.p, t.Topic, t.TopicID)
			part := offsets.Partition{Topic: id, Index: p.Partition}
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.HighWatermark = p.Partition, -1
			if s := c.p.routes.load().parts[part]; s != nil && c.p.isStuck(c.ctx, s) {
				rp = c.refusedFetch(part, false)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	rewriteFetchEndpoints(resp, c.p)
	return c.answer(r, resp)
}

// asLegacy tells whether a partition is shown as legacy has it.
func asLegacy(s offsets.Shown) bool { return s.Shift == 0 && !s.IsRelocated() }

// patchEpochs puts current_leader_epoch of a request into legacy's domain.
func (c *conn) patchEpochs(r request) error {
	routes := c.p.routes.load()
	return wire.PatchEpochs(r.Header, r.frame, func(topic []byte, id offsets.TopicID, index, epoch int32) int32 {
		s := routes.find(topic, id, index)
		if s == nil || epoch < 0 {
			return epoch
		}
		_, legacy, _ := c.p.topo.Leader(s.id)
		return s.now().Shown.Down(epoch, legacy)
	})
}

// differs tells whether the epoch lists of the two logs do: legacy has elected
// while the target was home.
func (p *Proxy) differs(s *partition) bool {
	_, _, differ := p.copies.Epochs(s.id)
	return differ
}

// isStuck tells whether a partition is relocated because the copy to legacy does
// not move, as far as a look tells that takes no time.
func (p *Proxy) isStuck(ctx context.Context, s *partition) bool {
	if !s.stuck.Load() || s.now().Home != offsets.Target {
		return false
	}
	end, err := p.copies.HomeEnd(ctx, s.id)
	if err != nil {
		return true
	}
	if confirmed, known := p.copies.Confirmed(s.id); !known || confirmed < end {
		return true
	}
	s.stuck.Store(false)
	return false
}

// homeEnd stands for an offset in wanted: the home's end of this moment.
const homeEnd int64 = 1<<63 - 1

// awaitCopies waits until the copy has passed what is wanted, or the home's end
// where that is lower (an offset that no log has is for the broker to refuse). If
// the copy doesn't move the connection ends, and its partitions are to be
// relocated. sending is held, but given up to wait.
//
// A route that changes meanwhile does no harm: an offset that a client could name
// before was there before, on both sides of a seal.
func (c *conn) awaitCopies(wait []wanted) error {
	var stopped *partition
	var why error
	err := c.wait(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.p.cfg.CopyStopped)
		defer cancel()
		for _, w := range wait {
			end, err := c.p.copies.HomeEnd(ctx, w.state.id)
			if err == nil {
				err = c.p.copies.Await(ctx, w.state.id, min(w.offset, end))
			}
			if err != nil {
				stopped, why = w.state, err
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if stopped != nil {
		c.log.Warn("a read has waited in vain for the copy", "partition", stopped.id, "err", why)
		if c.p.cfg.OnCopyStopped != nil {
			c.p.cfg.OnCopyStopped(stopped.id)
		}
		return fmt.Errorf("read partition %s: %w", stopped.id, errCopyStopped)
	}
	return nil
}

// here tells whether the target may answer for a partition on this connection:
// everything that has ever been its own on the target's node, what is its own
// where the broker is gone.
func (c *conn) here(s *partition) bool {
	return s != nil && (c.local || s.now().Home == offsets.Target)
}

// fetchHere has the target answer.
func (c *conn) fetchHere(r request) error {
	msg, err := wire.DecodeRequest(r.Header, bytes.Clone(r.frame))
	if err != nil {
		return err
	}
	req := msg.(*kmsg.FetchRequest)
	if req.SessionID != 0 && req.SessionEpoch > 0 { // of a broker that is gone: start anew (KIP-227)
		resp := kmsg.NewPtrFetchResponse()
		resp.Version, resp.ErrorCode = r.Version, codeNoSession
		return c.answer(r, resp)
	}
	denied, err := c.authorized(c.fetchNames(req), opRead)
	if err != nil {
		return err
	}
	refused, wait := c.divideFetch(req, denied)
	if len(wait) > 0 {
		if err := c.awaitCopies(wait); err != nil {
			return err
		}
	}
	if len(refused) > 0 {
		req.MaxWaitMillis = 0 // there is something to say at once
	}
	if time.Now().UnixNano() < c.p.pollsCut.Load() {
		req.MaxWaitMillis = min(req.MaxWaitMillis, int32(shortPollWait.Milliseconds()))
	}
	req.SessionID, req.SessionEpoch = 0, -1
	return c.submitFetch(r, req, refused)
}

func (c *conn) fetchNames(req *kmsg.FetchRequest) []string {
	var names []string
	for i := range req.Topics {
		if name := c.fetchName(&req.Topics[i]); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (c *conn) fetchName(t *kmsg.FetchRequestTopic) string {
	if t.Topic != "" {
		return t.Topic
	}
	return c.p.topicName(t.TopicID)
}

// divideFetch takes out of the request what the target can't answer, and finds
// what the rest has to wait for.
func (c *conn) divideFetch(req *kmsg.FetchRequest, denied map[string]bool) (refused []kmsg.FetchResponseTopic, wait []wanted) {
	var topics []kmsg.FetchRequestTopic
	for i := range req.Topics {
		t := &req.Topics[i]
		no := kmsg.NewFetchResponseTopic()
		no.Topic, no.TopicID = t.Topic, t.TopicID
		var kept []kmsg.FetchRequestTopicPartition
		for _, p := range t.Partitions {
			id, _ := idOf(c.p, t.Topic, t.TopicID)
			part := offsets.Partition{Topic: id, Index: p.Partition}
			s := c.p.routes.load().parts[part]
			if isDenied := denied[c.fetchName(t)]; isDenied || !c.here(s) {
				no.Partitions = append(no.Partitions, c.refusedFetch(part, isDenied))
				continue
			}
			p.CurrentLeaderEpoch = -1
			if s.now().Home == offsets.Legacy {
				if c.p.differs(s) {
					p.LastFetchedEpoch = -1
				}
				if confirmed, known := c.p.copies.Confirmed(s.id); !known || p.FetchOffset > confirmed {
					wait = append(wait, wanted{s, p.FetchOffset})
				}
			}
			kept = append(kept, p)
		}
		if len(kept) > 0 {
			t.Partitions = kept
			topics = append(topics, *t)
		}
		if len(no.Partitions) > 0 {
			refused = append(refused, no)
		}
	}
	req.Topics = topics
	return refused, wait
}

// refusedFetch is the answer for a partition that the target doesn't serve here.
func (c *conn) refusedFetch(part offsets.Partition, denied bool) kmsg.FetchResponseTopicPartition {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.HighWatermark = part.Index, -1
	if denied {
		p.ErrorCode = codeTopicForbidden
		return p
	}
	p.ErrorCode = codeNotLeader
	if leader, epoch, ok := c.p.leaderHint(part, c.node); ok {
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = leader, epoch
	}
	return p
}

// leaderHint is legacy's leader for a hint to be rewritten; none where clients
// would be sent to the node that they are on.
func (p *Proxy) leaderHint(part offsets.Partition, from int32) (leader, epoch int32, ok bool) {
	if leader, epoch, ok = p.topo.Leader(part); !ok {
		return -1, -1, false
	}
	to := leader
	if shown, _ := p.shown(part, epoch); shown >= 0 {
		to = shown
	}
	return leader, epoch, to != from
}

// submitFetch asks the target and puts what was refused into its answer.
func (c *conn) submitFetch(r request, req *kmsg.FetchRequest, refused []kmsg.FetchResponseTopic) error {
	if len(req.Topics) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrFetchResponse()
		resp.Version, resp.Topics = r.Version, refused
		rewriteFetchEndpoints(resp, c.p)
		return c.answer(r, resp)
	}
	seq, err := c.reserve()
	if err != nil {
		return err
	}
	c.stats.byTarget.Add(1)
	c.p.target.Submit(c.caller(r.Header), req, func(reply Reply) {
		resp, ok := reply.Message.(*kmsg.FetchResponse)
		if !ok {
			c.close(fmt.Errorf("serve fetch: the target gave no answer"))
			return
		}
		resp.Version = r.Version
		records := withRefused(resp, reply.Records, refused)
		rewriteFetchEndpoints(resp, c.p)
		c.complete(seq, wire.EncodeFetch(r.Correlation, resp, records), reply.Release)
	})
	return nil
}

// withRefused adds partitions to an answer, each in its topic; records keep in
// step with them.
func withRefused(resp *kmsg.FetchResponse, records [][][]byte, refused []kmsg.FetchResponseTopic) [][][]byte {
	if len(refused) == 0 {
		return records
	}
	var all [][][]byte
	at := 0
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for range t.Partitions {
			if records != nil {
				all = append(all, records[at])
			}
			at++
		}
		for j := range refused {
			no := &refused[j]
			if no.Topic == t.Topic && no.TopicID == t.TopicID && len(no.Partitions) > 0 {
				t.Partitions = append(t.Partitions, no.Partitions...)
				all = append(all, make([][][]byte, len(no.Partitions))...)
				no.Partitions = nil
			}
		}
	}
	for _, no := range refused {
		if len(no.Partitions) > 0 {
			resp.Topics = append(resp.Topics, no)
			all = append(all, make([][][]byte, len(no.Partitions))...)
		}
	}
	if records == nil {
		return nil
	}
	return all
}
