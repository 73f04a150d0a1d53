package broker_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/offsets"
	"switchback/storage/broker"
)

func deleteTo(version int16, topic string, index int32, offset int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version = version
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = index, offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func TestDeleteRecords(t *testing.T) {
	h := leading(t, broker.Config{})
	for range 4 {
		h.mustProduce(orders, 0, spec{records: 3})
	}
	steps := []struct {
		offset int64
		code   int16
		low    int64
	}{
		{5, 0, 5},
		{2, 0, 5}, // gone already
		{13, kerr.OffsetOutOfRange.Code, -1},
		{-2, kerr.OffsetOutOfRange.Code, -1},
		{12, 0, 12},
		{-1, 0, 12},
	}
	for i, s := range steps {
		for v := int16(0); v <= 2; v++ {
			p := ask[*kmsg.DeleteRecordsResponse](h, deleteTo(v, orders.Name, 0, s.offset)).Topics[0].Partitions[0]
			if p.ErrorCode != s.code || p.LowWatermark != s.low {
				t.Errorf("step %d, v%d: code %d, low watermark %d; want %d, %d", i, v, p.ErrorCode, p.LowWatermark, s.code, s.low)
			}
		}
		if start := h.logOf(orders, 0).Bounds().Start; s.code == 0 && start != s.low {
			t.Errorf("step %d: log starts at %d", i, start)
		}
	}
	h.mustProduce(orders, 0, spec{})
	same(t, "earliest and latest", []int64{h.list(listAt(11, orders.Name, 0, -2)).Offset, h.list(listAt(11, orders.Name, 0, -1)).Offset}, []int64{12, 13})
}

func TestDeleteRecordsToHighWatermark(t *testing.T) {
	h := leading(t, broker.Config{})
	h.mustProduce(orders, 0, spec{records: 3})
	if p := ask[*kmsg.DeleteRecordsResponse](h, deleteTo(2, orders.Name, 0, -1)).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LowWatermark != 3 {
		t.Errorf("code %d, low watermark %d", p.ErrorCode, p.LowWatermark)
	}
	dir := h.dir
	h.close()
	h = open(t, dir, broker.Config{})
	if start := h.logOf(orders, 0).Bounds().Start; start != 3 {
		t.Errorf("log starts at %d after a restart", start)
	}
}

func TestDeleteRecordsRefusals(t *testing.T) {
	h := leading(t, broker.Config{})
	compacted := broker.Topic{Name: "compacted", ID: offsets.TopicID{2}, Partitions: 1, Configs: map[string]*string{"cleanup.policy": kmsg.StringPtr("compact")}}
	internal := broker.Topic{Name: "__consumer_offsets", ID: offsets.TopicID{3}, Partitions: 1, Internal: true}
	followed := broker.Topic{Name: "followed", ID: offsets.TopicID{4}, Partitions: 1}
	for _, topic := range []broker.Topic{compacted, internal, followed} {
		h.mustImport(topic)
	}
	h.lead(compacted, 5)
	h.lead(internal, 5)
	for topic, want := range map[string]*kerr.Error{
		"none":               kerr.UnknownTopicOrPartition,
		"compacted":          kerr.PolicyViolation,
		"__consumer_offsets": kerr.InvalidTopicException,
		"followed":           kerr.NotLeaderForPartition,
	} {
		if p := ask[*kmsg.DeleteRecordsResponse](h, deleteTo(2, topic, 0, 0)).Topics[0].Partitions[0]; p.ErrorCode != want.Code || p.LowWatermark != -1 {
			t.Errorf("%s: code %d, low watermark %d; want %v", topic, p.ErrorCode, p.LowWatermark, want)
		}
	}
}

// TestOffsetForLeaderEpoch has epochs 1 at 0, 3 at 4 and 5 at 8, log end 10.
func TestOffsetForLeaderEpoch(t *testing.T) {
	h := open(t, t.TempDir(), broker.Config{})
	h.mustImport(orders)
	h.replicate(orders, 0, spec{at: 0, epoch: 1, records: 4})
	h.replicate(orders, 0, spec{at: 4, epoch: 3, records: 4})
	h.replicate(orders, 0, spec{at: 8, epoch: 5, records: 2})
	type end struct {
		Code   int16
		Epoch  int32
		Offset int64
	}
	cases := []struct {
		topic string
		index int32
		epoch int32
		want  end
	}{
		{orders.Name, 0, 5, end{0, 5, 10}},
		{orders.Name, 0, 4, end{0, 3, 8}},
		{orders.Name, 0, 3, end{0, 3, 8}},
		{orders.Name, 0, 1, end{0, 1, 4}},
		{orders.Name, 0, 0, end{0, 0, 0}},
		{orders.Name, 0, 6, end{0, -1, -1}},
		{orders.Name, 0, -1, end{0, -1, -1}},
		{orders.Name, 1, 5, end{0, -1, -1}},
		{orders.Name, 3, 5, end{kerr.UnknownTopicOrPartition.Code, -1, -1}},
		{"none", 0, 5, end{kerr.UnknownTopicOrPartition.Code, -1, -1}},
	}
	eachVersion(t, 23, func(t *testing.T, v int16) {
		for _, c := range cases {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.Version = v
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = c.topic
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.LeaderEpoch = c.index, c.epoch
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			p := ask[*kmsg.OffsetForLeaderEpochResponse](h, req).Topics[0].Partitions[0]
			same(t, c.topic+" epoch "+strconv.Itoa(int(c.epoch)), end{p.ErrorCode, p.LeaderEpoch, p.EndOffset}, c.want)
		}
	})
}

func describe(version int16, typ kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = typ, name, keys
	req.Resources = append(req.Resources, r)
	return req
}

func TestDescribeConfigsOfThisNode(t *testing.T) {
	h := leading(t, broker.Config{})
	me := strconv.Itoa(nodeID)
	eachVersion(t, 32, func(t *testing.T, v int16) {
		r := ask[*kmsg.DescribeConfigsResponse](h, describe(v, kmsg.ConfigResourceTypeBroker, me)).Resources[0]
		values := map[string]string{}
		for _, c := range r.Configs {
			values[c.Name] = *c.Value
			if !c.ReadOnly || c.IsSensitive {
				t.Errorf("%s: read-only %v, sensitive %v", c.Name, c.ReadOnly, c.IsSensitive)
			}
			if v >= 3 && (c.Documentation == nil || c.ConfigType == 0) {
				t.Errorf("%s has no documentation or no type", c.Name)
			}
			if len(c.ConfigSynonyms) != 1 {
				t.Errorf("%s has %d synonyms", c.Name, len(c.ConfigSynonyms))
			}
		}
		if r.ErrorCode != 0 || values["node.id"] != me || values["broker.id"] != me || values["log.dirs"] != h.dir {
			t.Errorf("code %d, values %v", r.ErrorCode, values)
		}
		one := ask[*kmsg.DescribeConfigsResponse](h, describe(v, kmsg.ConfigResourceTypeBroker, me, "node.id", "no.such.key")).Resources[0]
		if len(one.Configs) != 1 || one.Configs[0].Name != "node.id" {
			t.Errorf("asked for one: %+v", one.Configs)
		}
		if d := ask[*kmsg.DescribeConfigsResponse](h, describe(v, kmsg.ConfigResourceTypeBroker, "")).Resources[0]; d.ErrorCode != 0 || len(d.Configs) != 0 {
			t.Errorf("cluster default: %+v", d)
		}
		for name, typ := range map[string]kmsg.ConfigResourceType{"1": kmsg.ConfigResourceTypeBroker, orders.Name: kmsg.ConfigResourceTypeTopic} {
			r := ask[*kmsg.DescribeConfigsResponse](h, describe(v, typ, name)).Resources[0]
			if r.ErrorCode != kerr.InvalidRequest.Code || r.ErrorMessage == nil || r.ResourceName != name || r.ResourceType != typ {
				t.Errorf("%s: %+v", name, r)
			}
		}
	})
}

func TestDescribeLogDirs(t *testing.T) {
	h := leading(t, broker.Config{})
	size := int64(0)
	for range 3 {
		h.mustProduce(orders, 1, spec{value: 100})
		size += int64(len(spec{value: 100}.build()))
	}
	eachVersion(t, 35, func(t *testing.T, v int16) {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version, req.Topics = v, nil
		d := ask[*kmsg.DescribeLogDirsResponse](h, req).Dirs[0]
		if abs, _ := filepath.Abs(h.dir); d.ErrorCode != 0 || d.Dir != abs {
			t.Errorf("code %d, dir %q", d.ErrorCode, d.Dir)
		}
		if v >= 4 && (d.TotalBytes <= 0 || d.UsableBytes <= 0 || d.UsableBytes > d.TotalBytes) {
			t.Errorf("total %d, usable %d", d.TotalBytes, d.UsableBytes)
		}
		if len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 3 {
			t.Fatalf("topics: %+v", d.Topics)
		}
		for i, p := range d.Topics[0].Partitions {
			if want := map[int]int64{1: size}[i]; p.Size != want || p.OffsetLag != 0 || p.IsFuture {
				t.Errorf("partition %d: %+v, want size %d", i, p, want)
			}
		}
		for _, name := range []string{orders.Name, "none"} {
			rt := kmsg.NewDescribeLogDirsRequestTopic()
			rt.Topic, rt.Partitions = name, []int32{1, 9}
			req.Topics = append(req.Topics, rt)
		}
		d = ask[*kmsg.DescribeLogDirsResponse](h, req).Dirs[0]
		if len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Partition != 1 {
			t.Errorf("asked for one: %+v", d.Topics)
		}
	})
}
