package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage"
	"switchback/storage/batch"
)

// Fetch: v4-18
//
// A fetch is answered when MinBytes are there, when something about a partition
// has to be said (an offset out of range, a diverging epoch), or when
// MaxWaitMillis are over. What counts towards MinBytes is what it could read:
// below the high watermark, or the last stable offset for read_committed. A topic
// that is not known does not end the wait for the others, as in Kafka.
//
// What stands in objects is read beside Submit, so that no request behind it waits
// for the object store, and is answered without counting bytes: they are there.
//
// Version notes:
//   - v4: isolation level, last stable offset, aborted transactions
//   - v5: log start offset
//   - v7: fetch sessions (KIP-227): none is given, so any id but 0 is unknown
//   - v9: current leader epoch (KIP-320): the proxy has dealt with it
//   - v11: rack (KIP-392): there is one replica
//   - v12: last fetched epoch and diverging epoch (KIP-595); flexible
//   - v13: topic ids (KIP-516)
//   - v15: replica state (KIP-903); v16: leader hints (KIP-951), never given
//   - v17, v18: directory id and high watermark of followers, ignored

// A fetch is one request on its way.
type fetch struct {
	resp      *kmsg.FetchResponse
	parts     []fetchPart
	maxBytes  int
	minBytes  int
	committed bool
	byID      bool
	done      func(Reply)
}

// A fetchPart is one partition of it, in message order.
type fetchPart struct {
	out       *kmsg.FetchResponseTopicPartition
	log       *storage.Log // nil: answered with an error already
	topic     *topic       // of log
	offset    int64
	maxBytes  int
	lastEpoch int32 // of the record before offset, -1 when not said

	counted int64 // batches below this offset are counted in bytes
	bytes   int
}

func (b *Broker) fetch(c Caller, req *kmsg.FetchRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.Version >= 7 && req.SessionID != 0 && req.SessionEpoch > 0 {
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		done(Reply{Message: resp})
		return
	}
	f := b.newFetch(req, resp, done)
	deadline := time.Now().Add(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	if req.MaxWaitMillis <= 0 || f.ready() {
		if !f.cold() || !b.polls.run(c.Connection, func(<-chan struct{}) { f.answer() }) {
			f.answer()
		}
		return
	}
	if !b.polls.run(c.Connection, func(end <-chan struct{}) { f.wait(deadline, end) }) {
		f.answer()
	}
}

// newFetch lays out the response and settles the partitions that are not known.
func (b *Broker) newFetch(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, done func(Reply)) *fetch {
	f := &fetch{
		resp:      resp,
		maxBytes:  int(max(0, min(req.MaxBytes, b.cfg.FetchMaxBytes))),
		committed: req.IsolationLevel == 1,
		byID:      req.Version >= 13,
		done:      done,
	}
	f.minBytes = min(int(req.MinBytes), f.maxBytes)
	total := 0
	for i := range req.Topics {
		total += len(req.Topics[i].Partitions)
	}
	f.parts = make([]fetchPart, 0, total)
	resp.Topics = make([]kmsg.FetchResponseTopic, len(req.Topics))
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic, out.TopicID = in.Topic, in.TopicID
		out.Partitions = make([]kmsg.FetchResponseTopicPartition, len(in.Partitions))
		t := b.topics.find(in.Topic, in.TopicID, f.byID)
		for j := range in.Partitions {
			f.add(&in.Partitions[j], &out.Partitions[j], t)
		}
	}
	return f
}

func (f *fetch) add(in *kmsg.FetchRequestTopicPartition, out *kmsg.FetchResponseTopicPartition, t *topic) {
	*out = kmsg.NewFetchResponseTopicPartition()
	out.Partition = in.Partition
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
	part := fetchPart{
		out:       out,
		offset:    in.FetchOffset,
		maxBytes:  int(max(0, in.PartitionMaxBytes)),
		lastEpoch: in.LastFetchedEpoch,
		counted:   in.FetchOffset,
	}
	if part.log, out.ErrorCode = lookup(t, in.Partition, f.byID); part.log != nil {
		part.topic = t
	}
	f.parts = append(f.parts, part)
}

// wait answers the fetch when it is ready, at the deadline, or when end closes.
func (f *fetch) wait(deadline time.Time, end <-chan struct{}) {
	wake := make(chan struct{}, 1)
	cancels := make([]func(), 0, len(f.parts))
	for i := range f.parts {
		if l := f.parts[i].log; l != nil {
			cancels = append(cancels, l.Subscribe(wake))
		}
	}
	timer := time.NewTimer(time.Until(deadline))
	for waiting := true; waiting && !f.ready(); { // asked again: data may have come before Subscribe
		select {
		case <-wake:
		case <-timer.C:
			waiting = false
		case <-end:
			waiting = false
		}
	}
	timer.Stop()
	for _, cancel := range cancels {
		cancel()
	}
	f.answer()
}

// ready says whether the fetch is to be answered now. It reads no records.
func (f *fetch) ready() bool {
	if f.minBytes <= 0 {
		return true
	}
	found, interesting := 0, false
	for i := range f.parts {
		p := &f.parts[i]
		if p.log == nil {
			continue
		}
		interesting = true
		bounds := p.log.Bounds()
		if p.topic.gone.Load() || p.offset < bounds.Start || p.offset > bounds.End {
			return true
		}
		if _, diverges := p.divergence(bounds); diverges {
			return true
		}
		end := f.readable(bounds)
		if p.offset >= end {
			continue
		}
		if !p.log.Hot(p.offset) {
			return true
		}
		if f.minBytes > 1 {
			found += p.count(end)
		} else {
			found = 1
		}
		if found >= f.minBytes {
			return true
		}
	}
	return !interesting
}

// cold says whether the answer takes a read from the object store.
func (f *fetch) cold() bool {
	for i := range f.parts {
		if p := &f.parts[i]; p.log != nil && !p.log.Hot(p.offset) {
			return true
		}
	}
	return false
}

// readable is the offset that the fetch may read up to.
func (f *fetch) readable(b storage.Bounds) int64 {
	if f.committed {
		return b.Stable
	}
	return b.Durable
}

// countStep is how many batches are looked at in one go.
const countStep = 256

// count is how many bytes the fetch could read from the partition, at most what
// it asked for. It looks at each batch once, however often it is called. What
// cannot be listed counts as enough: the read will say why.
func (p *fetchPart) count(end int64) int {
	for p.counted < end && p.bytes < p.maxBytes {
		entries, err := p.log.Entries(p.counted, countStep)
		if err != nil {
			return p.maxBytes
		}
		if len(entries) == 0 || entries[0].Base >= end {
			break
		}
		for _, e := range entries {
			if e.Base < end {
				p.bytes += int(e.Length) + batch.Overhead
				p.counted = e.Last + 1
			}
		}
	}
	return min(p.bytes, p.maxBytes)
}

// divergence compares the epoch of the last record that the client has with the
// log's: an end below what it asks for means that its log is not this one
// (Partition.readRecords, KIP-595).
func (p *fetchPart) divergence(b storage.Bounds) (end kmsg.FetchResponseTopicPartitionDivergingEpoch, diverges bool) {
	if p.lastEpoch < 0 {
		return end, false
	}
	end = kmsg.NewFetchResponseTopicPartitionDivergingEpoch()
	end.Epoch, end.EndOffset = p.log.Epochs().End(p.lastEpoch, b.End)
	return end, end.Epoch == offsets.UndefinedEpoch || end.Epoch < p.lastEpoch || end.EndOffset < p.offset
}

// answer reads and answers with whatever is there now. MaxBytes is spread in
// message order; the first batch that is found goes out whatever its size.
func (f *fetch) answer() {
	records := make([][][]byte, len(f.parts))
	var chunks []*storage.Chunk
	left, first := f.maxBytes, true
	for i := range f.parts {
		p := &f.parts[i]
		if p.log == nil {
			continue
		}
		chunk := f.read(p, min(p.maxBytes, left), first)
		if chunk == nil {
			continue
		}
		chunks = append(chunks, chunk)
		records[i] = chunk.Segments
		for _, s := range chunk.Segments {
			left = max(0, left-len(s))
			first = first && len(s) == 0
		}
	}
	reply := Reply{Message: f.resp, Records: records}
	if len(chunks) > 0 {
		reply.Release = func() {
			for _, c := range chunks {
				c.Release()
			}
		}
	}
	f.done(reply)
}

// read fills in one partition's answer and returns its records, nil for none.
func (f *fetch) read(p *fetchPart, maxBytes int, first bool) *storage.Chunk {
	if p.topic.gone.Load() {
		p.out.ErrorCode = codeFor(storage.ErrDeleted, f.byID)
		return nil
	}
	bounds := p.log.Bounds()
	if end, diverges := p.divergence(bounds); diverges {
		if end.Epoch == offsets.UndefinedEpoch || p.offset < bounds.Start {
			p.out.ErrorCode = kerr.OffsetOutOfRange.Code
			return nil
		}
		p.out.DivergingEpoch = end
		f.show(p, bounds, nil)
		return nil
	}
	if inside := p.offset >= bounds.Start && p.offset <= bounds.End; inside && (p.offset >= f.readable(bounds) || maxBytes == 0 && !first) {
		f.show(p, bounds, nil)
		return nil
	}
	chunk, err := p.log.Read(p.offset, maxBytes, first, f.committed)
	if err != nil {
		p.out.ErrorCode = codeFor(err, f.byID)
		if f.resp.Version <= 5 && p.out.ErrorCode == kerr.KafkaStorageError.Code {
			// Clients of that age do not know the code (KIP-112).
			p.out.ErrorCode = kerr.NotLeaderForPartition.Code
		}
		return nil
	}
	f.show(p, chunk.Bounds, chunk.Aborted)
	return chunk
}

// show fills in the offsets. The list of aborted transactions is null for
// read_uncommitted and never null for read_committed, as Kafka has it.
func (f *fetch) show(p *fetchPart, b storage.Bounds, aborted []storage.AbortedTxn) {
	p.out.HighWatermark, p.out.LastStableOffset, p.out.LogStartOffset = b.Durable, b.Stable, b.Start
	if !f.committed {
		return
	}
	p.out.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, len(aborted))
	for i, a := range aborted {
		out := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		out.ProducerID, out.FirstOffset = a.ProducerID, a.FirstOffset
		p.out.AbortedTransactions[i] = out
	}
}
