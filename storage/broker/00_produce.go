package broker

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/storage"
	"switchback/storage/batch"
)

// Produce: v3-13
//
// Every batch is durable before it is acknowledged, whatever acks says; a request
// with acks=0 is answered like any other, and the proxy drops the answer.
// TimeoutMillis has nothing to time: there are no followers.
//
// Version notes:
//   - v5: log start offset in the answer
//   - v7: zstd
//   - v8: error records and error message (KIP-467)
//   - v9: flexible
//   - v10: leader hints (KIP-951), never given
//   - v12: implicit AddPartitionsToTxn (KIP-890); transactions are refused
//   - v13: topic ids (KIP-516)

// adminClient is the client id that Kafka lets append to internal topics
// (AdminUtils.ADMIN_CLIENT_ID).
const adminClient = "__admin_client"

// transactionsRefused says why a transactional Produce is not taken.
const transactionsRefused = "transactions are not served for topics that moved to the target; nothing was appended"

// An appending is one partition of a Produce on its way into its log.
type appending struct {
	out *kmsg.ProduceResponseTopicPartition
	log *storage.Log
	raw []byte
}

// A production is a Produce whose batches are becoming durable.
type production struct {
	resp *kmsg.ProduceResponse
	left atomic.Int32 // batches that are not settled yet
	done func(Reply)
}

func (b *Broker) produce(c Caller, req *kmsg.ProduceRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	appends, transactional := b.plan(c, req, resp)
	if transactional {
		refuseAll(resp)
		appends = nil
	}
	if len(appends) == 0 {
		done(Reply{Message: resp})
		return
	}
	p := &production{resp: resp, done: done}
	p.left.Store(int32(len(appends)))
	meta := storage.Meta{ProduceVersion: req.Version, Principal: c.Principal}
	byID := req.Version >= 13
	for _, a := range appends {
		a.log.Append(a.raw, meta, func(r storage.Appended) {
			answerAppend(a.out, r, byID)
			p.settled()
		})
	}
}

// settled counts one batch down and answers after the last. Each batch wrote its
// own partition of the response; the counter orders those writes before done.
func (p *production) settled() {
	if p.left.Add(-1) == 0 {
		p.done(Reply{Message: p.resp})
	}
}

// plan lays out the response, settles every partition that cannot be appended,
// and returns the others in the order of the request. transactional says that
// the request belongs to a transaction.
func (b *Broker) plan(c Caller, req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) (appends []appending, transactional bool) {
	transactional = req.TransactionID != nil
	byID := req.Version >= 13
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic, out.TopicID = in.Topic, in.TopicID
		out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(in.Partitions))
		t := b.topics.find(in.Topic, in.TopicID, byID)
		for j := range in.Partitions {
			p := &out.Partitions[j]
			*p = kmsg.NewProduceResponseTopicPartition()
			p.Partition = in.Partitions[j].Partition
			p.BaseOffset, p.LogAppendTime, p.LogStartOffset = -1, -1, -1
			a := appending{out: p}
			var h batch.Header
			if a.log, p.ErrorCode = lookup(t, p.Partition, byID); p.ErrorCode == 0 {
				h, a.raw, p.ErrorCode, p.ErrorMessage = onlyBatch(req.Version, in.Partitions[j].Records)
			}
			if p.ErrorCode == 0 {
				transactional = transactional || h.Transactional()
				p.ErrorCode = refusal(c, req.Acks, t)
			}
			if p.ErrorCode == 0 {
				appends = append(appends, a)
			}
		}
	}
	return withoutTwins(appends), transactional
}

// lookup finds a partition's log or says what a broker answers for one that it
// does not have: an unknown id is another error than an unknown name.
func lookup(t *topic, index int32, byID bool) (*storage.Log, int16) {
	if t == nil && byID {
		return nil, kerr.UnknownTopicID.Code
	}
	l, ok := t.log(index)
	if !ok {
		return nil, kerr.UnknownTopicOrPartition.Code
	}
	return l, 0
}

// refusal is why this caller may not append to t, 0 if it may.
func refusal(c Caller, acks int16, t *topic) int16 {
	switch {
	case acks < -1 || acks > 1:
		return kerr.InvalidRequiredAcks.Code
	case t.Internal && c.ClientID != adminClient:
		return kerr.InvalidTopicException.Code
	}
	return 0
}

// onlyBatch demands that records are exactly one batch of format 2, as Kafka does
// (ProduceRequest.validateRecords), and returns it without the incomplete bytes
// that may follow it, which Kafka drops.
func onlyBatch(version int16, records []byte) (h batch.Header, raw []byte, code int16, message *string) {
	refuse := func(code int16, format string, args ...any) (batch.Header, []byte, int16, *string) {
		return batch.Header{}, nil, code, kmsg.StringPtr(fmt.Sprintf(format, args...))
	}
	h, err := batch.Parse(records)
	switch {
	case errors.Is(err, batch.ErrShort):
		return refuse(kerr.InvalidRecord.Code, "Produce requests with version %d must have at least one record batch per partition", version)
	case errors.Is(err, batch.ErrMagic):
		return refuse(kerr.InvalidRecord.Code, "Produce requests with version %d are only allowed to contain record batches with magic version 2", version)
	case err != nil:
		return refuse(kerr.CorruptMessage.Code, "%v", err)
	case version < 7 && h.Codec() == batch.CodecZstd:
		return refuse(kerr.UnsupportedCompressionType.Code, "Produce requests with version %d are not allowed to use ZStandard compression", version)
	}
	raw, rest := records[:h.Size():h.Size()], records[h.Size():]
	if _, err := batch.Parse(rest); !errors.Is(err, batch.ErrShort) {
		return refuse(kerr.InvalidRecord.Code, "Produce requests with version %d are only allowed to contain exactly one record batch per partition", version)
	}
	return h, raw, 0, nil
}

// withoutTwins takes out partitions that a request names more than once. Kafka
// keeps the last and drops the others without a word, which would acknowledge
// records that are nowhere; nobody's client does this, so it is refused.
func withoutTwins(appends []appending) []appending {
	if len(appends) < 2 {
		return appends
	}
	times := make(map[*storage.Log]int, len(appends))
	for _, a := range appends {
		times[a.log]++
	}
	if len(times) == len(appends) {
		return appends
	}
	single := appends[:0]
	for _, a := range appends {
		if times[a.log] > 1 {
			a.out.ErrorCode = kerr.InvalidRequest.Code
			a.out.ErrorMessage = kmsg.StringPtr("partition is named more than once in one request")
			continue
		}
		single = append(single, a)
	}
	return single
}

// refuseAll answers a transactional Produce, whole: every partition that would
// have been appended, and none was.
func refuseAll(resp *kmsg.ProduceResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode = kerr.PolicyViolation.Code
				p.ErrorMessage = kmsg.StringPtr(transactionsRefused)
			}
		}
	}
}

// answerAppend fills a partition's answer in.
func answerAppend(out *kmsg.ProduceResponseTopicPartition, r storage.Appended, byID bool) {
	if r.Err == nil {
		out.BaseOffset, out.LogAppendTime, out.LogStartOffset = r.Base, r.AppendTime, r.LogStart
		return
	}
	out.ErrorCode = codeFor(r.Err, byID)
	if showsLogStart(out.ErrorCode) {
		out.LogStartOffset = r.LogStart
	}
	if r.Message != "" {
		out.ErrorMessage = kmsg.StringPtr(r.Message)
	}
	for _, e := range r.RecordErrors {
		bad := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		bad.RelativeOffset = e.Index
		if e.Message != "" {
			bad.ErrorMessage = kmsg.StringPtr(e.Message)
		}
		out.ErrorRecords = append(out.ErrorRecords, bad)
	}
}
