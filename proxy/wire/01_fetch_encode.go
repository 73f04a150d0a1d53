package wire

import (
	"encoding/binary"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EncodeFetch encodes a Fetch answer of version 4 to 18 with its size and
// copies no record: records[i] are the segments of the i-th partition in
// message order, and stand in the returned buffers as they are. When records is
// nil the partitions' RecordBatches are used. Absent records are written as
// empty, never as null (librdkafka refuses null).
func EncodeFetch(correlation int32, resp *kmsg.FetchResponse, records [][][]byte) net.Buffers {
	withoutEarlyHints(resp)
	e := fetchEncoder{resp: resp, flexible: resp.Version >= flexibleFetch}
	e.dst = make([]byte, 0, e.bound())
	e.head(correlation)
	next := 0
	for i := range resp.Topics {
		e.topic(&resp.Topics[i])
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			e.partition(p)
			switch {
			case records == nil:
				e.records(p.RecordBatches)
			case next < len(records):
				e.records(records[next]...)
			default:
				e.records()
			}
			next++
			e.partitionTags(p)
		}
		e.tags(&resp.Topics[i].UnknownTags)
	}
	e.tail()
	return e.finish()
}

// A fetchEncoder writes everything but records into one buffer, and remembers
// where records go in between.
type fetchEncoder struct {
	resp     *kmsg.FetchResponse
	flexible bool
	dst      []byte
	cuts     []cut
	size     int // of the records
}

// A cut is where segments stand: before dst[at].
type cut struct {
	at       int
	segments [][]byte
}

// bound guesses the bytes outside records, so that dst seldom grows.
func (e *fetchEncoder) bound() int {
	n := 64
	for i := range e.resp.Topics {
		n += 32 + len(e.resp.Topics[i].Topic)
		for j := range e.resp.Topics[i].Partitions {
			n += 72 + 17*len(e.resp.Topics[i].Partitions[j].AbortedTransactions)
		}
	}
	for i := range e.resp.Brokers {
		n += 32 + len(e.resp.Brokers[i].Host)
	}
	return n
}

func (e *fetchEncoder) int16(v int16) { e.dst = binary.BigEndian.AppendUint16(e.dst, uint16(v)) }
func (e *fetchEncoder) int32(v int32) { e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(v)) }
func (e *fetchEncoder) int64(v int64) { e.dst = binary.BigEndian.AppendUint64(e.dst, uint64(v)) }

func (e *fetchEncoder) uvarint(v int) { e.dst = binary.AppendUvarint(e.dst, uint64(v)) }

func (e *fetchEncoder) count(n int) {
	if e.flexible {
		e.uvarint(n + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *fetchEncoder) text(s string) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.dst = append(e.dst, s...)
}

func (e *fetchEncoder) tags(unknown *kmsg.Tags) {
	if e.flexible {
		e.uvarint(unknown.Len())
		e.dst = unknown.AppendEach(e.dst)
	}
}

func (e *fetchEncoder) head(correlation int32) {
	e.dst = appendAnswerHeader(e.dst, correlation, e.flexible)
	e.int32(e.resp.ThrottleMillis)
	if e.resp.Version >= 7 {
		e.int16(e.resp.ErrorCode)
		e.int32(e.resp.SessionID)
	}
	e.count(len(e.resp.Topics))
}

func (e *fetchEncoder) topic(t *kmsg.FetchResponseTopic) {
	if e.resp.Version >= idsFetch {
		e.dst = append(e.dst, t.TopicID[:]...)
	} else {
		e.text(t.Topic)
	}
	e.count(len(t.Partitions))
}

func (e *fetchEncoder) partition(p *kmsg.FetchResponseTopicPartition) {
	e.int32(p.Partition)
	e.int16(p.ErrorCode)
	e.int64(p.HighWatermark)
	e.int64(p.LastStableOffset)
	if e.resp.Version >= 5 {
		e.int64(p.LogStartOffset)
	}
	if p.AbortedTransactions == nil {
		e.count(-1)
	} else {
		e.count(len(p.AbortedTransactions))
	}
	for i := range p.AbortedTransactions {
		e.int64(p.AbortedTransactions[i].ProducerID)
		e.int64(p.AbortedTransactions[i].FirstOffset)
		e.tags(&p.AbortedTransactions[i].UnknownTags)
	}
	if e.resp.Version >= 11 {
		e.int32(p.PreferredReadReplica)
	}
}

func (e *fetchEncoder) records(segments ...[]byte) {
	n := 0
	for _, s := range segments {
		n += len(s)
	}
	e.count(n) // bytes have the same length prefix as an array
	if n > 0 {
		e.size += n
		e.cuts = append(e.cuts, cut{at: len(e.dst), segments: segments})
	}
}

// partitionTags writes DivergingEpoch, CurrentLeader and SnapshotId, each only
// where it says something, as kmsg does.
func (e *fetchEncoder) partitionTags(p *kmsg.FetchResponseTopicPartition) {
	if !e.flexible {
		return
	}
	none := kmsg.NewFetchResponseTopicPartition()
	diverging := p.DivergingEpoch.Epoch != none.DivergingEpoch.Epoch || p.DivergingEpoch.EndOffset != none.DivergingEpoch.EndOffset
	leader := p.CurrentLeader.LeaderID != none.CurrentLeader.LeaderID || p.CurrentLeader.LeaderEpoch != none.CurrentLeader.LeaderEpoch
	snapshot := p.SnapshotID.EndOffset != none.SnapshotID.EndOffset || p.SnapshotID.Epoch != none.SnapshotID.Epoch
	n := p.UnknownTags.Len()
	for _, present := range [...]bool{diverging, leader, snapshot} {
		if present {
			n++
		}
	}
	e.uvarint(n)
	if diverging {
		e.dst = append(e.dst, 0, 13)
		e.int32(p.DivergingEpoch.Epoch)
		e.int64(p.DivergingEpoch.EndOffset)
		e.dst = append(e.dst, 0)
	}
	if leader {
		e.dst = append(e.dst, tagFetchLeader, 9)
		e.int32(p.CurrentLeader.LeaderID)
		e.int32(p.CurrentLeader.LeaderEpoch)
		e.dst = append(e.dst, 0)
	}
	if snapshot {
		e.dst = append(e.dst, 2, 13)
		e.int64(p.SnapshotID.EndOffset)
		e.int32(p.SnapshotID.Epoch)
		e.dst = append(e.dst, 0)
	}
	e.dst = p.UnknownTags.AppendEach(e.dst)
}

// tail writes the tagged fields of the answer: node endpoints.
func (e *fetchEncoder) tail() {
	if !e.flexible {
		return
	}
	if len(e.resp.Brokers) == 0 {
		e.tags(&e.resp.UnknownTags)
		return
	}
	outer := e.dst
	e.dst = nil
	e.count(len(e.resp.Brokers))
	for i := range e.resp.Brokers {
		b := &e.resp.Brokers[i]
		e.int32(b.NodeID)
		e.text(b.Host)
		e.int32(b.Port)
		if b.Rack == nil {
			e.uvarint(0)
		} else {
			e.text(*b.Rack)
		}
		e.tags(&b.UnknownTags)
	}
	value := e.dst
	e.dst = outer
	e.uvarint(1 + e.resp.UnknownTags.Len())
	e.uvarint(tagFetchEndpoints)
	e.uvarint(len(value))
	e.dst = append(e.dst, value...)
	e.dst = e.resp.UnknownTags.AppendEach(e.dst)
}

// finish writes the size and puts records between the parts of dst.
func (e *fetchEncoder) finish() net.Buffers {
	binary.BigEndian.PutUint32(e.dst, uint32(len(e.dst)+e.size-4))
	out := make(net.Buffers, 0, 2*len(e.cuts)+1)
	from := 0
	for _, c := range e.cuts {
		out = append(out, e.dst[from:c.at:c.at])
		for _, s := range c.segments {
			if len(s) > 0 {
				out = append(out, s)
			}
		}
		from = c.at
	}
	return append(out, e.dst[from:])
}
