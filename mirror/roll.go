package mirror

import (
	"time"

	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A ref is one partition in one request: what was true of it when it was asked.
type ref struct {
	t     *twin
	name  string
	epoch int32  // legacy's leader epoch, which fences the request
	era   uint64 // see twin.era
	at    int64  // position that the answer continues
	from  int64  // offset to fetch: at, or legacy's log start within a batch
}

// A roll lists the partitions of one request, by topic, and finds them again in
// its answer, which names topics by name or by id as its version has it.
type roll struct {
	refs   []ref
	topics map[offsets.TopicID]int // index in the request
	ids    map[string]offsets.TopicID
	rows   map[offsets.Partition]int // index in refs
}

func newRoll(refs []ref) *roll {
	return &roll{
		refs:   refs,
		topics: make(map[offsets.TopicID]int),
		ids:    make(map[string]offsets.TopicID),
		rows:   make(map[offsets.Partition]int, len(refs)),
	}
}

// place notes refs[i] and returns the index of its topic in the request; fresh
// says that the topic has to be added there.
func (r *roll) place(i int) (topic int, fresh bool) {
	x := r.refs[i]
	r.rows[x.t.id] = i
	topic, ok := r.topics[x.t.id.Topic]
	if !ok {
		topic = len(r.topics)
		r.topics[x.t.id.Topic] = topic
		r.ids[x.name] = x.t.id.Topic
	}
	return topic, !ok
}

// find is the ref that an answer speaks of.
func (r *roll) find(name string, id offsets.TopicID, index int32) (ref, bool) {
	if id == (offsets.TopicID{}) {
		id = r.ids[name]
	}
	i, ok := r.rows[offsets.Partition{Topic: id, Index: index}]
	if !ok {
		return ref{}, false
	}
	return r.refs[i], true
}

// fetch asks for the bytes of every ref from its offset on.
func (r *roll) fetch(cfg *Config, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(wait.Milliseconds())
	req.MinBytes, req.MaxBytes = 1, cfg.FetchBytes
	req.IsolationLevel = 0 // read_uncommitted
	req.SessionEpoch = -1  // sessionless
	for i, x := range r.refs {
		topic, fresh := r.place(i)
		if fresh {
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = x.name, x.t.id.Topic
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.CurrentLeaderEpoch = x.t.id.Index, x.from, x.epoch
		rp.PartitionMaxBytes = cfg.PartitionBytes
		req.Topics[topic].Partitions = append(req.Topics[topic].Partitions, rp)
	}
	return req
}

// eachFetched calls fn for what an answer says of each ref.
func (r *roll) eachFetched(resp *kmsg.FetchResponse, fn func(ref, *kmsg.FetchResponseTopicPartition)) {
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			if x, ok := r.find(rt.Topic, rt.TopicID, rt.Partitions[j].Partition); ok {
				fn(x, &rt.Partitions[j])
			}
		}
	}
}

// logEnds asks OffsetForLeaderEpoch: about the current epoch, which makes the
// answer the log end, or about the one that of says.
func (r *roll) logEnds(of func(ref) int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	for i, x := range r.refs {
		topic, fresh := r.place(i)
		if fresh {
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = x.name
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = x.t.id.Index, x.epoch, of(x)
		req.Topics[topic].Partitions = append(req.Topics[topic].Partitions, rp)
	}
	return req
}

func currentEpoch(x ref) int32 { return x.epoch }

func (r *roll) eachEnd(resp *kmsg.OffsetForLeaderEpochResponse, fn func(ref, *kmsg.OffsetForLeaderEpochResponseTopicPartition)) {
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			if x, ok := r.find(rt.Topic, offsets.TopicID{}, rt.Partitions[j].Partition); ok {
				fn(x, &rt.Partitions[j])
			}
		}
	}
}

// Special timestamps of ListOffsets.
const (
	latest   int64 = -1 // the high watermark, whatever its name says
	earliest int64 = -2
)

// list asks ListOffsets.
func (r *roll) list(timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 0
	for i, x := range r.refs {
		topic, fresh := r.place(i)
		if fresh {
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = x.name
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = x.t.id.Index, x.epoch, timestamp
		req.Topics[topic].Partitions = append(req.Topics[topic].Partitions, rp)
	}
	return req
}

func (r *roll) eachListed(resp *kmsg.ListOffsetsResponse, fn func(ref, *kmsg.ListOffsetsResponseTopicPartition)) {
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			if x, ok := r.find(rt.Topic, offsets.TopicID{}, rt.Partitions[j].Partition); ok {
				fn(x, &rt.Partitions[j])
			}
		}
	}
}
