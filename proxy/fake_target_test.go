package proxy_test

import (
	"slices"
	"sync"
	"time"

	"switchback/offsets"
	"switchback/proxy"
	"switchback/storage/batch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// memLog is one partition of the fake target: batches in memory, with the checks
// of idempotent producers that matter here.
type memLog struct {
	mu        sync.Mutex
	start     int64
	batches   []memBatch
	epoch     int32
	leading   bool
	producers map[int64][]memSequence // the last five batches each
	changed   chan struct{}           // closed at a change
}

type memBatch struct {
	base, next int64
	raw        []byte
}

type memSequence struct {
	epoch       int16
	first, last int32
	base        int64
}

func newMemLog() *memLog {
	return &memLog{producers: make(map[int64][]memSequence), changed: make(chan struct{})}
}

func (l *memLog) end() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endLocked()
}

func (l *memLog) endLocked() int64 {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].next
	}
	return l.start
}

func (l *memLog) change() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *memLog) add(raw []byte, h batch.Header, base int64) {
	batch.SetBaseOffset(raw, base)
	l.batches = append(l.batches, memBatch{base, base + int64(h.LastOffsetDelta) + 1, raw})
	if h.ProducerID >= 0 {
		seqs := append(l.producers[h.ProducerID], memSequence{h.ProducerEpoch, h.BaseSequence, h.LastSequence(), base})
		l.producers[h.ProducerID] = seqs[max(0, len(seqs)-5):]
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// lead appends a client's batch.
func (l *memLog) lead(in []byte) (base int64, code int16) {
	raw := slices.Clone(in)
	h, err := batch.Parse(raw)
	if err != nil || batch.CheckCRC(raw) != nil {
		return -1, 2
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leading {
		return -1, 6
	}
	if seqs := l.producers[h.ProducerID]; h.ProducerID >= 0 && len(seqs) > 0 {
		for _, s := range seqs {
			if s.epoch == h.ProducerEpoch && s.first == h.BaseSequence && s.last == h.LastSequence() {
				return s.base, 0
			}
		}
		last := seqs[len(seqs)-1]
		if last.epoch == h.ProducerEpoch && h.BaseSequence != last.last+1 || last.epoch != h.ProducerEpoch && h.BaseSequence != 0 {
			return -1, 45
		}
	}
	base = l.endLocked()
	batch.SetLeaderEpoch(raw, l.epoch)
	l.add(raw, h, base)
	return base, 0
}

// follow appends a mirrored batch at its own offset.
func (l *memLog) follow(in []byte) {
	raw := slices.Clone(in)
	h, err := batch.Parse(raw)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.BaseOffset >= l.endLocked() {
		l.add(raw, h, h.BaseOffset)
	}
}

func (l *memLog) read(from int64, max int) (segments [][]byte, start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, b := range l.batches {
		if b.next <= from || b.next <= l.start {
			continue
		}
		if size > 0 && size+len(b.raw) > max {
			break
		}
		segments = append(segments, b.raw)
		size += len(b.raw)
	}
	return segments, l.start, l.endLocked()
}

// after is the first batch that ends behind an offset, whatever was deleted: replay
// has to bring legacy what was deleted before it came.
func (l *memLog) after(offset int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.next > offset {
			return b.raw
		}
	}
	return nil
}

// memTarget is a target with logs in memory. A committer goroutine answers
// Produce in order, as the real one does.
type memTarget struct {
	noGone
	mu      sync.Mutex
	logs    map[offsets.Partition]*memLog
	ids     map[string]offsets.TopicID
	commits chan func()
	wg      sync.WaitGroup
	delay   time.Duration // of each commit
}

func newMemTarget() *memTarget {
	t := &memTarget{logs: make(map[offsets.Partition]*memLog), ids: make(map[string]offsets.TopicID), commits: make(chan func(), 1000)}
	t.wg.Go(func() {
		for done := range t.commits {
			if t.delay > 0 {
				time.Sleep(t.delay) // a slow disk, not a synchronisation
			}
			done()
		}
	})
	return t
}

func (t *memTarget) close() {
	close(t.commits)
	t.wg.Wait()
}

func (t *memTarget) create(name string, p offsets.Partition) *memLog {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids[name] = p.Topic
	if t.logs[p] == nil {
		t.logs[p] = newMemLog()
	}
	return t.logs[p]
}

func (t *memTarget) find(name string, id [16]byte, index int32) *memLog {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name != "" {
		id = t.ids[name]
	}
	return t.logs[offsets.Partition{Topic: id, Index: index}]
}

// Submit implements proxy.Target.
func (t *memTarget) Submit(_ proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		resp := t.produce(req)
		t.commits <- func() {
			if req.Acks == 0 {
				done(proxy.Reply{})
				return
			}
			done(proxy.Reply{Message: resp})
		}
	case *kmsg.FetchRequest:
		t.wg.Go(func() { done(t.fetch(req)) })
	case *kmsg.ListOffsetsRequest:
		done(proxy.Reply{Message: t.listOffsets(req)})
	case *kmsg.OffsetForLeaderEpochRequest:
		done(proxy.Reply{Message: t.leaderEpochs(req)})
	case *kmsg.DeleteRecordsRequest:
		done(proxy.Reply{Message: t.deleteRecords(req)})
	default:
		resp := req.ResponseKind()
		done(proxy.Reply{Message: resp})
	}
}

func (t *memTarget) produce(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.BaseOffset, sp.ErrorCode = rp.Partition, -1, 3
			if l := t.find(rt.Topic, rt.TopicID, rp.Partition); l != nil {
				sp.BaseOffset, sp.ErrorCode = l.lead(rp.Records)
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func (t *memTarget) fetch(req *kmsg.FetchRequest) proxy.Reply {
	deadline := time.After(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	for {
		var wake []<-chan struct{}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		var records [][][]byte
		size, errs := 0, 0
		for _, rt := range req.Topics {
			st := kmsg.NewFetchResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewFetchResponseTopicPartition()
				sp.Partition = rp.Partition
				l := t.find(rt.Topic, rt.TopicID, rp.Partition)
				if l == nil {
					sp.ErrorCode, errs = 3, errs+1
					st.Partitions, records = append(st.Partitions, sp), append(records, nil)
					continue
				}
				wake = append(wake, l.change())
				segments, start, end := l.read(rp.FetchOffset, int(rp.PartitionMaxBytes))
				if rp.FetchOffset < start || rp.FetchOffset > end {
					sp.ErrorCode, errs, segments = 1, errs+1, nil
				}
				sp.HighWatermark, sp.LastStableOffset, sp.LogStartOffset = end, end, start
				for _, s := range segments {
					size += len(s)
				}
				st.Partitions, records = append(st.Partitions, sp), append(records, segments)
			}
			resp.Topics = append(resp.Topics, st)
		}
		if size > 0 || errs > 0 || !t.sleep(wake, deadline) {
			return proxy.Reply{Message: resp, Records: records}
		}
	}
}

// sleep waits for a change of any; false at the deadline.
func (t *memTarget) sleep(wake []<-chan struct{}, deadline <-chan time.Time) bool {
	any, stop := make(chan struct{}, 1), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for _, w := range wake {
		wg.Go(func() {
			select {
			case <-w:
				select {
				case any <- struct{}{}:
				default:
				}
			case <-stop:
			}
		})
	}
	select {
	case <-any:
		return true
	case <-deadline:
		return false
	}
}

func (t *memTarget) listOffsets(req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewListOffsetsResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewListOffsetsResponseTopicPartition()
			sp.Partition, sp.Timestamp, sp.Offset, sp.LeaderEpoch = rp.Partition, -1, -1, -1
			if l := t.find(rt.Topic, [16]byte{}, rp.Partition); l == nil {
				sp.ErrorCode = 3
			} else if _, start, end := l.read(1<<62, 0); rp.Timestamp == -2 {
				sp.Offset = start
			} else {
				sp.Offset = end
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func (t *memTarget) leaderEpochs(req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewOffsetForLeaderEpochResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			sp.Partition, sp.LeaderEpoch, sp.EndOffset = rp.Partition, rp.LeaderEpoch, -1
			if l := t.find(rt.Topic, [16]byte{}, rp.Partition); l != nil {
				sp.EndOffset = l.end()
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func (t *memTarget) deleteRecords(req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewDeleteRecordsResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewDeleteRecordsResponseTopicPartition()
			sp.Partition, sp.ErrorCode = rp.Partition, 3
			if l := t.find(rt.Topic, [16]byte{}, rp.Partition); l != nil {
				l.mu.Lock()
				to := rp.Offset
				if to < 0 {
					to = l.endLocked()
				}
				l.start = max(l.start, to)
				sp.LowWatermark, sp.ErrorCode = l.start, 0
				l.mu.Unlock()
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}
