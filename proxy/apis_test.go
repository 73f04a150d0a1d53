package proxy

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every key that kmsg knows has a row, in order, with a decision and a reason.
func TestEveryAPIHasARow(t *testing.T) {
	if !slices.IsSortedFunc(apis[:], func(a, b api) int { return int(a.key) - int(b.key) }) {
		t.Error("rows are not in the order of keys")
	}
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		a, ok := apiOf(key)
		if kmsg.RequestForKey(key) == nil {
			if ok {
				t.Errorf("key %d has a row, but kmsg doesn't know it", key)
			}
			continue
		}
		if !ok || int16(a.key) != key {
			t.Errorf("key %d (%s) has no row", key, kmsg.NameForKey(key))
			continue
		}
		if a.why == "" {
			t.Errorf("%s: no reason", a.key.Name())
		}
		if lowest, highest := advertisedRange(key); a.legacy != ruleHide && lowest > highest {
			t.Errorf("%s: versions %d to %d", a.key.Name(), lowest, highest)
		}
		// Clients see one list of APIs, whatever node they ask.
		if a.legacy == ruleHide && a.target != ruleHide {
			t.Errorf("%s: hidden on legacy nodes only", a.key.Name())
		}
	}
	if len(apis) != kmsg.MaxKey+1 {
		t.Errorf("%d rows for %d keys", len(apis), kmsg.MaxKey+1)
	}
	for _, key := range []int16{-1, kmsg.MaxKey + 1, 1000} {
		if _, ok := apiOf(key); ok || advertised(key, 0) {
			t.Errorf("key %d is known", key)
		}
	}
}

// Nothing that only brokers and controllers say to each other may be sent through
// us, and nothing that names an address may pass unseen.
func TestRulesOfTheTable(t *testing.T) {
	hidden := []kmsg.Key{
		kmsg.LeaderAndISR, kmsg.StopReplica, kmsg.UpdateMetadata, kmsg.ControlledShutdown, kmsg.Vote, kmsg.BeginQuorumEpoch,
		kmsg.EndQuorumEpoch, kmsg.AlterPartition, kmsg.Envelope, kmsg.FetchSnapshot, kmsg.BrokerRegistration, kmsg.BrokerHeartbeat,
		kmsg.AllocateProducerIDs, kmsg.ControllerRegistration, kmsg.AssignReplicasToDirs, kmsg.UpdateRaftVoter,
		kmsg.GetTelemetrySubscriptions, kmsg.PushTelemetry, kmsg.ShareGroupHeartbeat, kmsg.ShareFetch, kmsg.ShareAcknowledge,
		kmsg.AlterShareGroupOffsets, kmsg.ReadShareGroupState,
	}
	for _, key := range hidden {
		if advertised(int16(key), 0) || advertised(int16(key), 1) {
			t.Errorf("%s is advertised", key.Name())
		}
	}
	for _, key := range []kmsg.Key{kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster, kmsg.ApiVersions, kmsg.DescribeTopicPartitions, kmsg.DescribeConfigs} {
		if a, _ := apiOf(int16(key)); a.legacy != ruleRewrite {
			t.Errorf("%s is not rewritten", key.Name())
		}
		if resp := kmsg.ResponseForKey(int16(key)); !rewriteAnswer(resp, fixedEndpoints{}) {
			t.Errorf("%s has no rewriting", key.Name())
		}
	}
	if rewriteAnswer(kmsg.NewPtrHeartbeatResponse(), fixedEndpoints{}) {
		t.Error("Heartbeat is rewritten")
	}
}

func versionsOf(ranges map[kmsg.Key][2]int16) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for key, r := range ranges {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = int16(key), r[0], r[1]
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

func TestRewriteApiVersions(t *testing.T) {
	legacy := versionsOf(map[kmsg.Key][2]int16{
		kmsg.Produce: {0, 99}, kmsg.Fetch: {0, 11}, kmsg.ListOffsets: {2, 5}, kmsg.Metadata: {0, 99}, kmsg.ApiVersions: {0, 5},
		kmsg.ShareFetch: {1, 2}, kmsg.PushTelemetry: {0, 0}, kmsg.DescribeQuorum: {0, 2}, kmsg.OffsetForLeaderEpoch: {0, 1}, 500: {0, 3},
	})
	feature := kmsg.NewApiVersionsResponseSupportedFeature()
	feature.Name = "transaction.version"
	legacy.SupportedFeatures = append(legacy.SupportedFeatures, feature)
	legacy.FinalizedFeaturesEpoch = 42
	before := len(legacy.ApiKeys)
	want := map[kmsg.Key][2]int16{
		kmsg.Produce:        {0, 13}, // lowest as legacy says: librdkafka wants 0
		kmsg.Fetch:          {4, 11},
		kmsg.ListOffsets:    {2, 5},
		kmsg.Metadata:       {0, 13},
		kmsg.ApiVersions:    {0, 4},
		kmsg.DescribeQuorum: {0, 1},
	}
	check := func(what string, resp *kmsg.ApiVersionsResponse) {
		t.Helper()
		got := map[kmsg.Key][2]int16{}
		for _, k := range resp.ApiKeys {
			got[kmsg.Key(k.ApiKey)] = [2]int16{k.MinVersion, k.MaxVersion}
		}
		if len(got) != len(want) {
			t.Errorf("%s: keys %v, want %v", what, got, want)
		}
		for key, r := range want {
			if got[key] != r {
				t.Errorf("%s: %s %v, want %v", what, key.Name(), got[key], r)
			}
		}
		if len(resp.SupportedFeatures) != 1 || resp.FinalizedFeaturesEpoch != 42 {
			t.Errorf("%s: features are not legacy's", what)
		}
	}
	for version := int16(0); version <= 4; version++ {
		offline := offlineApiVersions(version, legacy)
		if offline.Version != version {
			t.Errorf("version %d, want %d", offline.Version, version)
		}
		check("offline", offline)
	}
	if len(legacy.ApiKeys) != before {
		t.Error("what Snapshot holds was changed")
	}
	unsupported := unsupportedApiVersions(legacy)
	check("unsupported", unsupported)
	if unsupported.ErrorCode != codeUnsupportedVersion || unsupported.Version != 0 {
		t.Errorf("unsupported: error %d version %d", unsupported.ErrorCode, unsupported.Version)
	}
	rewriteApiVersions(legacy)
	check("rewritten", legacy)
	rewriteApiVersions(legacy)
	check("rewritten twice", legacy)

	nobody := unsupportedApiVersions(nil)
	if len(nobody.ApiKeys) != 1 || nobody.ApiKeys[0].ApiKey != int16(kmsg.ApiVersions) || nobody.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("without legacy: %+v", nobody.ApiKeys)
	}
}
