package proxy

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"switchback/offsets"
	"switchback/proxy/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	testTarget    int32 = 1000
	legacyMarker        = "legacy.internal"
	relocatedPart int32 = 1 // shown on the target, epoch 50
	shiftedPart   int32 = 2 // epoch of legacy + 10
)

var testTopic = offsets.TopicID{1, 2, 3}

// fixedEndpoints has listeners for nodes 0 to 9 and the target, on the ports
// 20000 + node; one topic, with a relocated and a shifted partition.
type fixedEndpoints struct{}

func (fixedEndpoints) endpoint(node int32) (string, int32, bool) {
	if node == testTarget || node >= 0 && node < 10 {
		return "proxy", 20000 + node, true
	}
	return "", 0, false
}

func (fixedEndpoints) targetNode() int32 { return testTarget }

func (fixedEndpoints) topicID(name string) (offsets.TopicID, bool) { return testTopic, name == "topic" }

func (fixedEndpoints) shown(p offsets.Partition, epoch int32) (int32, int32) {
	switch {
	case p == offsets.Partition{Topic: testTopic, Index: relocatedPart}:
		return testTarget, 50
	case p == offsets.Partition{Topic: testTopic, Index: shiftedPart} && epoch >= 0:
		return -1, epoch + 10
	}
	return -1, epoch
}

// metadataAnswer is an answer of legacy of some version, as it comes off the
// wire: fields that the version hasn't are at their defaults.
func metadataAnswer(t *testing.T, version int16) *kmsg.MetadataResponse {
	t.Helper()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID, resp.ControllerID = kmsg.StringPtr("cluster"), 2
	for _, node := range []int32{1, 2, 77} { // there is no listener for 77
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = node, legacyMarker, 9092, kmsg.StringPtr("rack")
		resp.Brokers = append(resp.Brokers, b)
	}
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID = kmsg.StringPtr("topic"), testTopic
	for i := range int32(4) {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR = i, 1, 5, []int32{1, 2}, []int32{1}
		if i == relocatedPart {
			p.Leader, p.ErrorCode = -1, codeLeaderNotAvailable
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	unknown := kmsg.NewMetadataResponseTopic()
	unknown.Topic, unknown.ErrorCode = kmsg.StringPtr("unknown"), 3
	resp.Topics = append(resp.Topics, topic, unknown)
	return overTheWire(t, resp, version).(*kmsg.MetadataResponse)
}

func overTheWire(t *testing.T, resp kmsg.Response, version int16) kmsg.Response {
	t.Helper()
	resp.SetVersion(version)
	frame, _, _ := wire.Split(wire.AppendResponse(nil, 1, resp))
	_, got, err := wire.DecodeResponse(resp.Key(), version, frame)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRewriteMetadata(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		resp := metadataAnswer(t, version)
		rewriteMetadata(resp, fixedEndpoints{})
		resp = overTheWire(t, resp, version).(*kmsg.MetadataResponse)
		var nodes []string
		for _, b := range resp.Brokers {
			nodes = append(nodes, fmt.Sprintf("%d=%s:%d", b.NodeID, b.Host, b.Port))
		}
		if want := []string{"1=proxy:20001", "2=proxy:20002", "1000=proxy:21000"}; !slices.Equal(nodes, want) {
			t.Errorf("version %d: brokers %v, want %v", version, nodes, want)
		}
		if version >= 1 && resp.ControllerID != 2 {
			t.Errorf("version %d: controller %d", version, resp.ControllerID)
		}
		for _, p := range resp.Topics[0].Partitions {
			leader, epoch := int32(1), int32(5)
			switch p.Partition {
			case relocatedPart:
				leader, epoch = testTarget, 50
			case shiftedPart:
				epoch = 15
			}
			if version < 7 {
				epoch = -1 // not on the wire
			}
			if p.Leader != leader || p.LeaderEpoch != epoch || p.ErrorCode != 0 {
				t.Errorf("version %d partition %d: leader %d epoch %d error %d, want %d and %d", version, p.Partition, p.Leader, p.LeaderEpoch, p.ErrorCode, leader, epoch)
			}
			if !slices.Equal(p.Replicas, []int32{1, 2}) || !slices.Equal(p.ISR, []int32{1}) {
				t.Errorf("version %d: replicas %v, isr %v are not legacy's", version, p.Replicas, p.ISR)
			}
		}
		if resp.Topics[1].ErrorCode != 3 {
			t.Errorf("version %d: error of an unknown topic is %d", version, resp.Topics[1].ErrorCode)
		}
	}
}

// Rewriting again adds nothing: the target node is there once.
func TestRewriteMetadataTwice(t *testing.T) {
	resp := metadataAnswer(t, 12)
	rewriteMetadata(resp, fixedEndpoints{})
	n := len(resp.Brokers)
	rewriteMetadata(resp, fixedEndpoints{})
	if len(resp.Brokers) != n {
		t.Errorf("%d brokers, then %d", n, len(resp.Brokers))
	}
}

func TestOfflineMetadata(t *testing.T) {
	versions := kmsg.NewPtrApiVersionsResponse()
	s := whole(&Snapshot{}, metadataAnswer(t, 12), versions)
	dead := func(int32) bool { return false }
	ask := func(version int16, topics ...string) *kmsg.MetadataRequest {
		req := kmsg.NewPtrMetadataRequest()
		req.Version = version
		for _, name := range topics {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			req.Topics = append(req.Topics, topic)
		}
		return req
	}
	resp := offlineMetadata(ask(12, "topic", "never seen"), s, fixedEndpoints{}, dead)
	if len(resp.Brokers) != 3 || resp.Brokers[0].Host != "proxy" || *resp.ClusterID != "cluster" || resp.ControllerID != 2 {
		t.Errorf("answer %+v", resp)
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.Partition == relocatedPart {
			if p.Leader != testTarget || p.LeaderEpoch != 50 || p.ErrorCode != 0 {
				t.Errorf("relocated: %+v", p)
			}
		} else if p.Leader != -1 || p.ErrorCode != codeLeaderNotAvailable {
			t.Errorf("of a dead broker: %+v", p)
		}
	}
	if got := resp.Topics[1]; got.ErrorCode != codeLeaderNotAvailable || *got.Topic != "never seen" {
		t.Errorf("unknown topic: %+v", got)
	}
	alive := offlineMetadata(ask(12, "topic"), s, fixedEndpoints{}, func(node int32) bool { return node == 1 })
	if p := alive.Topics[0].Partitions[0]; p.Leader != 1 || p.ErrorCode != 0 {
		t.Errorf("of a live broker: %+v", p)
	}

	byID := ask(12)
	for _, id := range [][16]byte{testTopic, {9}} {
		topic := kmsg.NewMetadataRequestTopic()
		topic.TopicID = id
		byID.Topics = append(byID.Topics, topic)
	}
	resp = offlineMetadata(byID, s, fixedEndpoints{}, dead)
	if *resp.Topics[0].Topic != "topic" || resp.Topics[1].ErrorCode != codeUnknownTopicID || resp.Topics[1].TopicID != [16]byte{9} {
		t.Errorf("by id: %+v", resp.Topics)
	}

	all, none, old := ask(12), ask(12), ask(0)
	none.Topics, old.Topics = []kmsg.MetadataRequestTopic{}, []kmsg.MetadataRequestTopic{}
	for req, want := range map[*kmsg.MetadataRequest]int{all: 1, none: 0, old: 1} {
		if got := len(offlineMetadata(req, s, fixedEndpoints{}, dead).Topics); got != want {
			t.Errorf("version %d, topics null %v: %d topics, want %d", req.Version, req.Topics == nil, got, want)
		}
	}
	for version := int16(0); version <= 13; version++ { // every version can be written
		overTheWire(t, offlineMetadata(ask(version), s, fixedEndpoints{}, dead), version)
	}
}

func TestRewriteFindCoordinator(t *testing.T) {
	for version := int16(0); version <= 6; version++ {
		resp := kmsg.NewPtrFindCoordinatorResponse()
		resp.NodeID, resp.Host, resp.Port = 1, legacyMarker, 9092
		for node, code := range map[int32]int16{1: 0, 77: 0, -1: 15} {
			c := kmsg.NewFindCoordinatorResponseCoordinator()
			c.Key, c.NodeID, c.Host, c.Port, c.ErrorCode = fmt.Sprint(node), node, legacyMarker, 9092, code
			resp.Coordinators = append(resp.Coordinators, c)
		}
		resp = overTheWire(t, resp, version).(*kmsg.FindCoordinatorResponse)
		rewriteFindCoordinator(resp, fixedEndpoints{})
		if version < 4 {
			if resp.NodeID != 1 || resp.Host != "proxy" || resp.Port != 20001 || resp.ErrorCode != 0 {
				t.Errorf("version %d: %+v", version, resp)
			}
			continue
		}
		for _, c := range resp.Coordinators {
			if c.Key == "1" {
				if c.NodeID != 1 || c.Host != "proxy" || c.Port != 20001 || c.ErrorCode != 0 {
					t.Errorf("version %d: %+v", version, c)
				}
			} else if c.NodeID != -1 || c.Host != "" || c.Port != -1 || c.ErrorCode != codeCoordinatorNotReached {
				t.Errorf("version %d: %+v", version, c)
			}
		}
	}
}

func TestRewriteDescribeCluster(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		resp := kmsg.NewPtrDescribeClusterResponse()
		resp.EndpointType, resp.ClusterID, resp.ControllerID = brokerEndpoints, "cluster", 1
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port = 1, legacyMarker, 9092
		stranger := b
		stranger.NodeID = 77
		resp.Brokers = append(resp.Brokers, b, stranger)
		resp = overTheWire(t, resp, version).(*kmsg.DescribeClusterResponse)
		rewriteDescribeCluster(resp, fixedEndpoints{})
		if len(resp.Brokers) != 2 || resp.Brokers[0].Host != "proxy" || resp.Brokers[0].Port != 20001 || resp.Brokers[1].NodeID != testTarget {
			t.Errorf("version %d: %+v", version, resp.Brokers)
		}
	}
	controllers := kmsg.NewPtrDescribeClusterResponse()
	controllers.Version, controllers.EndpointType = 1, 2
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host = 1, legacyMarker
	controllers.Brokers = append(controllers.Brokers, b)
	if rewriteDescribeCluster(controllers, fixedEndpoints{}); len(controllers.Brokers) != 0 {
		t.Errorf("controllers are shown: %+v", controllers.Brokers)
	}
}

func TestOfflineDescribeCluster(t *testing.T) {
	s := whole(&Snapshot{}, metadataAnswer(t, 12), kmsg.NewPtrApiVersionsResponse())
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, brokerEndpoints
	resp := offlineDescribeCluster(req, s, fixedEndpoints{})
	if resp.ErrorCode != 0 || resp.ClusterID != "cluster" || len(resp.Brokers) != 3 || resp.Brokers[0].Host != "proxy" {
		t.Errorf("answer %+v", resp)
	}
	req.EndpointType = 2
	if resp := offlineDescribeCluster(req, s, fixedEndpoints{}); resp.ErrorCode != codeUnsupportedEndpointType || len(resp.Brokers) != 0 {
		t.Errorf("controllers: %+v", resp)
	}
}

func TestRewriteDescribeTopicPartitions(t *testing.T) {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	topic := kmsg.NewDescribeTopicPartitionsResponseTopic()
	topic.TopicID = testTopic
	for i := range int32(3) {
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition, p.LeaderID, p.LeaderEpoch, p.ISR = i, 1, 5, []int32{1}
		topic.Partitions = append(topic.Partitions, p)
	}
	resp.Topics = append(resp.Topics, topic)
	rewriteDescribeTopicPartitions(resp, fixedEndpoints{})
	for i, want := range [][2]int32{{1, 5}, {testTarget, 50}, {1, 15}} {
		if p := resp.Topics[0].Partitions[i]; p.LeaderID != want[0] || p.LeaderEpoch != want[1] || !slices.Equal(p.ISR, []int32{1}) {
			t.Errorf("partition %d: %+v, want leader and epoch %v", i, p, want)
		}
	}
}

func TestRewriteDescribeConfigs(t *testing.T) {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	broker := kmsg.NewDescribeConfigsResponseResource()
	broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	for name, value := range map[string]string{
		"advertised.listeners": "PLAINTEXT://" + legacyMarker + ":9092,SSL://" + legacyMarker + ":9093", "controller.quorum.voters": "1@" + legacyMarker + ":9094", "num.io.threads": "8",
	} {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value = name, kmsg.StringPtr(value)
		synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		synonym.Name, synonym.Value = name, kmsg.StringPtr(value)
		c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
		broker.Configs = append(broker.Configs, c)
	}
	topic := kmsg.NewDescribeConfigsResponseResource()
	topic.ResourceType = kmsg.ConfigResourceTypeTopic
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value = "listeners", kmsg.StringPtr("of a topic")
	topic.Configs = append(topic.Configs, c)
	resp.Resources = append(resp.Resources, broker, topic)
	rewriteDescribeConfigs(resp, fixedEndpoints{})
	want := map[string]string{"advertised.listeners": "PLAINTEXT://proxy:20001,SSL://proxy:20001", "controller.quorum.voters": "null", "num.io.threads": "8"}
	for _, c := range resp.Resources[0].Configs {
		for _, got := range []*string{c.Value, c.ConfigSynonyms[0].Value} {
			if text(got) != want[c.Name] {
				t.Errorf("%s = %s, want %s", c.Name, text(got), want[c.Name])
			}
		}
	}
	if got := text(resp.Resources[1].Configs[0].Value); got != "of a topic" {
		t.Errorf("a topic's config became %s", got)
	}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// hintedAnswers are a Produce and a Fetch answer that hint at node 2 for three
// partitions, with its address.
func hintedAnswers() (*kmsg.ProduceResponse, *kmsg.FetchResponse) {
	produce, fetch := kmsg.NewPtrProduceResponse(), kmsg.NewPtrFetchResponse()
	pt, ft := kmsg.NewProduceResponseTopic(), kmsg.NewFetchResponseTopic()
	pt.Topic, pt.TopicID, ft.Topic, ft.TopicID = "topic", testTopic, "topic", testTopic
	for i := range int32(4) {
		pp, fp := kmsg.NewProduceResponseTopicPartition(), kmsg.NewFetchResponseTopicPartition()
		pp.Partition, fp.Partition, fp.RecordBatches = i, i, []byte("records")
		if i < 3 {
			pp.CurrentLeader.LeaderID, pp.CurrentLeader.LeaderEpoch = 2, 5
			fp.CurrentLeader.LeaderID, fp.CurrentLeader.LeaderEpoch = 2, 5
		}
		pt.Partitions, ft.Partitions = append(pt.Partitions, pp), append(ft.Partitions, fp)
	}
	produce.Topics, fetch.Topics = append(produce.Topics, pt), append(fetch.Topics, ft)
	pb, fb := kmsg.NewProduceResponseBroker(), kmsg.NewFetchResponseBroker()
	pb.NodeID, pb.Host, pb.Port, pb.Rack = 2, legacyMarker, 9092, kmsg.StringPtr("rack")
	fb.NodeID, fb.Host, fb.Port, fb.Rack = 2, legacyMarker, 9092, kmsg.StringPtr("rack")
	produce.Brokers, fetch.Brokers = append(produce.Brokers, pb), append(fetch.Brokers, fb)
	return produce, fetch
}

var shownHints = [][2]int32{{2, 5}, {testTarget, 50}, {2, 15}, {-1, -1}}

func TestRewriteHints(t *testing.T) {
	for version := int16(10); version <= 13; version++ {
		resp, _ := hintedAnswers()
		resp = overTheWire(t, resp, version).(*kmsg.ProduceResponse)
		rewriteProduceEndpoints(resp, fixedEndpoints{})
		for i, want := range shownHints {
			if l := resp.Topics[0].Partitions[i].CurrentLeader; l.LeaderID != want[0] || l.LeaderEpoch != want[1] {
				t.Errorf("Produce %d partition %d: hint %+v, want %v", version, i, l, want)
			}
		}
		var nodes []string
		for _, b := range resp.Brokers {
			nodes = append(nodes, fmt.Sprintf("%d=%s:%d/%s", b.NodeID, b.Host, b.Port, text(b.Rack)))
		}
		if want := []string{"2=proxy:20002/rack", "1000=proxy:21000/null"}; !slices.Equal(nodes, want) {
			t.Errorf("Produce %d: endpoints %v, want %v", version, nodes, want)
		}
	}
	for version := int16(16); version <= 18; version++ {
		_, resp := hintedAnswers()
		resp = overTheWire(t, resp, version).(*kmsg.FetchResponse)
		rewriteFetchEndpoints(resp, fixedEndpoints{})
		frame := bytes.Join(wire.EncodeFetch(1, resp, nil), nil)
		_, decoded, err := wire.DecodeResponse(1, version, frame[4:])
		if err != nil {
			t.Fatal(err)
		}
		resp = decoded.(*kmsg.FetchResponse)
		for i, want := range shownHints {
			if p := resp.Topics[0].Partitions[i]; p.CurrentLeader.LeaderID != want[0] || p.CurrentLeader.LeaderEpoch != want[1] || string(p.RecordBatches) != "records" {
				t.Errorf("Fetch %d partition %d: %+v, want hint %v", version, i, p, want)
			}
		}
		if len(resp.Brokers) != 2 || resp.Brokers[0].Host != "proxy" || resp.Brokers[1].NodeID != testTarget {
			t.Errorf("Fetch %d: endpoints %+v", version, resp.Brokers)
		}
	}
}

// Hints without endpoints are patched where they stand; nothing else moves.
func TestPatchLeaders(t *testing.T) {
	for version := int16(0); version <= 18; version++ {
		produce, fetch := hintedAnswers()
		produce.Brokers, fetch.Brokers = nil, nil
		for _, resp := range []kmsg.Response{produce, fetch} {
			if version < 4 || version > resp.MaxVersion() {
				continue
			}
			resp.SetVersion(version)
			frame := wire.AppendResponse(nil, 1, resp)[4:]
			before := bytes.Clone(frame)
			if err := patchLeaders(resp.Key(), version, frame, fixedEndpoints{}); err != nil {
				t.Fatal(err)
			}
			_, decoded, err := wire.DecodeResponse(resp.Key(), version, before)
			if err != nil {
				t.Fatal(err)
			}
			rewriteAnswer(decoded, fixedEndpoints{}) // adds endpoints, which have to go again
			var want []byte
			switch decoded := decoded.(type) {
			case *kmsg.ProduceResponse:
				decoded.Brokers = nil
				want = wire.AppendResponse(nil, 1, decoded)[4:]
			case *kmsg.FetchResponse:
				decoded.Brokers = nil
				want = wire.AppendResponse(nil, 1, decoded)[4:]
			}
			if !bytes.Equal(frame, want) {
				t.Errorf("key %d version %d: patched frame differs from the rewritten one", resp.Key(), version)
			}
			if hinted := version >= 12 || resp.Key() == 0 && version >= 10; hinted == bytes.Equal(frame, before) {
				t.Errorf("key %d version %d: patched %v", resp.Key(), version, !hinted)
			}
		}
	}
	if err := patchLeaders(3, 12, []byte("not walked"), fixedEndpoints{}); err != nil {
		t.Errorf("another API: %v", err)
	}
	if err := patchLeaders(1, 17, []byte{1, 2, 3}, fixedEndpoints{}); err == nil {
		t.Error("a malformed answer is patched")
	}
}

func TestRewriteShareHints(t *testing.T) {
	fetch, ack := kmsg.NewPtrShareFetchResponse(), kmsg.NewPtrShareAcknowledgeResponse()
	ft, fp := kmsg.NewShareFetchResponseTopic(), kmsg.NewShareFetchResponseTopicPartition()
	fp.CurrentLeader.LeaderID, fp.CurrentLeader.LeaderEpoch = 2, 5
	ft.Partitions = append(ft.Partitions, fp)
	fetch.Topics = append(fetch.Topics, ft)
	fn := kmsg.NewShareFetchResponseNodeEndpoint()
	fn.NodeID, fn.Host = 2, legacyMarker
	fetch.NodeEndpoints = append(fetch.NodeEndpoints, fn)
	at, ap := kmsg.NewShareAcknowledgeResponseTopic(), kmsg.NewShareAcknowledgeResponseTopicPartition()
	ap.CurrentLeader.LeaderID, ap.CurrentLeader.LeaderEpoch = 2, 5
	at.Partitions = append(at.Partitions, ap)
	ack.Topics = append(ack.Topics, at)
	an := kmsg.NewShareAcknowledgeResponseNodeEndpoint()
	an.NodeID, an.Host = 2, legacyMarker
	ack.NodeEndpoints = append(ack.NodeEndpoints, an)
	rewriteAnswer(fetch, fixedEndpoints{})
	rewriteAnswer(ack, fixedEndpoints{})
	if len(fetch.NodeEndpoints) != 1 || fetch.NodeEndpoints[0].Host != "proxy" || fetch.NodeEndpoints[0].Port != 20002 {
		t.Errorf("ShareFetch: %+v", fetch.NodeEndpoints)
	}
	if len(ack.NodeEndpoints) != 1 || ack.NodeEndpoints[0].Host != "proxy" || ack.NodeEndpoints[0].Port != 20002 {
		t.Errorf("ShareAcknowledge: %+v", ack.NodeEndpoints)
	}
}

// clientHosts are answers whose hosts are not those of brokers.
var clientHosts = map[kmsg.Key]string{
	kmsg.DescribeACLs:          "hosts that an ACL is for",
	kmsg.DeleteACLs:            "hosts that an ACL was for",
	kmsg.StreamsGroupDescribe:  "endpoints of Streams instances",
	kmsg.StreamsGroupHeartbeat: "endpoints of Streams instances",
}

// No field called Host of an answer that a client may ask for leaves the proxy
// with what legacy wrote into it, in any version; an API that gains such a field
// fails here.
func TestNoAnswerNamesALegacyHost(t *testing.T) {
	for _, a := range apis {
		if a.legacy == ruleHide && a.target == ruleHide {
			continue
		}
		if _, known := clientHosts[a.key]; known {
			continue
		}
		_, highest := advertisedRange(int16(a.key))
		for version := int16(0); version <= highest; version++ {
			resp := kmsg.ResponseForKey(int16(a.key))
			resp.SetVersion(version)
			mark(reflect.ValueOf(resp).Elem())
			if !bytes.Contains(resp.AppendTo(nil), []byte(legacyMarker)) {
				continue
			}
			rewriteAnswer(resp, fixedEndpoints{})
			if frame := wire.AppendResponse(nil, 1, resp); bytes.Contains(frame, []byte(legacyMarker)) {
				t.Errorf("%s version %d names a legacy host", a.key.Name(), version)
			}
		}
	}
}

// mark fills every list with one element and every Host with the marker.
func mark(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			switch name := v.Type().Field(i).Name; {
			case !f.CanSet() || name == "UnknownTags":
			case (name == "Host" || name == "HostName") && f.Kind() == reflect.String:
				f.SetString(legacyMarker)
			case name == "EndpointType":
				f.SetInt(int64(brokerEndpoints))
			default:
				mark(f)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			mark(v.Index(0))
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			mark(v.Elem())
		}
	}
}
