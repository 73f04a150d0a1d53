package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// A rule says what a node does with requests of one API.
type rule uint8

const (
	// rulePass: bytes through on the pinned upstream, never looked into.
	rulePass rule = iota
	// ruleGuard: looked at where partitions are not clean; else bytes through.
	ruleGuard
	// ruleRewrite: passed on; the answer is decoded, rewritten and encoded.
	ruleRewrite
	// ruleServe: answered in process, by the target or by the proxy itself.
	ruleServe
	// ruleHide: not advertised; who sends it loses the connection.
	ruleHide
)

func (r rule) String() string {
	return [...]string{"pass", "guard", "rewrite", "serve", "hide"}[r]
}

// An api is a row of the table: what is done with one API key, and why. Lowest
// and highest bound the versions that are advertised, beside what legacy and kmsg
// speak. Lowest is KIP-896's where a guard has to read the request; highest is
// below kmsg's where a later version would say more than we can answer for.
type api struct {
	key     kmsg.Key
	legacy  rule // on a legacy node
	target  rule // on the target node
	lowest  int16
	highest int16 // newest: kmsg's
	why     string
}

const newest int16 = 1<<15 - 1

// apis is the table, in the order of keys. A row that changes changes its reason
// too.
var apis = [...]api{
	{kmsg.Produce, ruleGuard, ruleServe, 3, newest, "the write: watched, held, served through; split where homes differ; hints rewritten"},
	{kmsg.Fetch, ruleGuard, ruleServe, 4, newest, "reads stay on their node and wait for the copy; hints rewritten"},
	{kmsg.ListOffsets, ruleGuard, ruleServe, 1, newest, "must not show an end below an acknowledged record"},
	{kmsg.Metadata, ruleRewrite, ruleRewrite, 0, newest, "addresses, target node, shown leaders and epochs; on the target node legacy answers, as the client's principal"},
	{kmsg.LeaderAndISR, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.StopReplica, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.UpdateMetadata, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.ControlledShutdown, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.OffsetCommit, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.OffsetFetch, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.FindCoordinator, ruleRewrite, ruleRewrite, 0, newest, "addresses; coordinators stay on legacy"},
	{kmsg.JoinGroup, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.Heartbeat, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.LeaveGroup, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.SyncGroup, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.DescribeGroups, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.ListGroups, rulePass, rulePass, 0, newest, "each broker lists what it coordinates; the target coordinates nothing yet, so its upstream's list is what a tool sees twice and merges by name"},
	{kmsg.SASLHandshake, rulePass, rulePass, 0, newest, authentication},
	{kmsg.ApiVersions, ruleRewrite, ruleRewrite, 0, 4, "intersection of legacy, kmsg and this table; version 5 names a node (KIP-1242) and legacy would refuse the target's id"},
	{kmsg.CreateTopics, ruleGuard, ruleGuard, 0, newest, "an assignment that names the target node is refused; the topic is made on legacy first, the mirror imports it with its id"},
	{kmsg.DeleteTopics, ruleGuard, ruleGuard, 0, newest, "a moved topic lives on both clusters and is not deleted behind the back of one"},
	{kmsg.DeleteRecords, ruleGuard, ruleServe, 0, newest, "the log start moves on both clusters or a flip brings records back"},
	{kmsg.InitProducerID, rulePass, rulePass, 0, newest, "legacy allocates producer ids until complete: two allocators would collide"},
	{kmsg.OffsetForLeaderEpoch, ruleGuard, ruleServe, 2, newest, "log epochs; waits for the copy like ListOffsets"},
	{kmsg.AddPartitionsToTxn, ruleGuard, ruleGuard, 0, 3, "tells which topics have transactional producers, and refuses moved ones; later versions are for brokers (KIP-890)"},
	{kmsg.AddOffsetsToTxn, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.EndTxn, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.WriteTxnMarkers, ruleGuard, ruleGuard, 0, newest, "kafka-transactions abort writes one into a log: refused where it isn't clean, the other copy would miss it"},
	{kmsg.TxnOffsetCommit, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.DescribeACLs, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.CreateACLs, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DeleteACLs, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DescribeConfigs, ruleRewrite, ruleRewrite, 0, newest, "configs of a broker name its addresses; the target node describes itself"},
	{kmsg.AlterConfigs, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.AlterReplicaLogDirs, rulePass, ruleHide, 0, newest, "the target has one log dir"},
	{kmsg.DescribeLogDirs, rulePass, ruleServe, 0, newest, "each node describes its own; tools add the sizes up"},
	{kmsg.SASLAuthenticate, rulePass, rulePass, 0, newest, authentication},
	{kmsg.CreatePartitions, ruleGuard, ruleGuard, 0, newest, "counts must stay equal on both clusters: legacy first, the mirror follows; no assignment to the target node"},
	{kmsg.CreateDelegationToken, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.RenewDelegationToken, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.ExpireDelegationToken, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DescribeDelegationToken, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DeleteGroups, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.ElectLeaders, rulePass, rulePass, 0, newest, "an election on legacy is followed like any other"},
	{kmsg.IncrementalAlterConfigs, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.AlterPartitionAssignments, rulePass, rulePass, 0, newest, "legacy's replicas are legacy's; an id of the target it refuses"},
	{kmsg.ListPartitionReassignments, rulePass, rulePass, 0, newest, "legacy's replicas are legacy's"},
	{kmsg.OffsetDelete, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.DescribeClientQuotas, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.AlterClientQuotas, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DescribeUserSCRAMCredentials, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.AlterUserSCRAMCredentials, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.Vote, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.BeginQuorumEpoch, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.EndQuorumEpoch, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.DescribeQuorum, rulePass, rulePass, 0, 1, "version 2 names the addresses of controllers"},
	{kmsg.AlterPartition, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.UpdateFeatures, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.Envelope, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.FetchSnapshot, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.DescribeCluster, ruleRewrite, ruleRewrite, 0, newest, "addresses, target node"},
	{kmsg.DescribeProducers, rulePass, rulePass, 0, newest, "legacy knows every producer that replay has brought it; for a relocated partition the target node's upstream answers that it is not the leader"},
	{kmsg.BrokerRegistration, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.BrokerHeartbeat, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.UnregisterBroker, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DescribeTransactions, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.ListTransactions, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.AllocateProducerIDs, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.ConsumerGroupHeartbeat, rulePass, rulePass, 0, newest, "assignments name topic ids, which are equal on both clusters"},
	{kmsg.ConsumerGroupDescribe, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.ControllerRegistration, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.GetTelemetrySubscriptions, ruleHide, ruleHide, 0, newest, telemetry},
	{kmsg.PushTelemetry, ruleHide, ruleHide, 0, newest, telemetry},
	{kmsg.AssignReplicasToDirs, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.ListConfigResources, rulePass, rulePass, 0, newest, authorityIsLegacy},
	{kmsg.DescribeTopicPartitions, ruleRewrite, ruleRewrite, 0, newest, "shown leaders and epochs"},
	{kmsg.ShareGroupHeartbeat, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.ShareGroupDescribe, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.ShareFetch, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.ShareAcknowledge, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.AddRaftVoter, rulePass, rulePass, 0, newest, "forwarded by a broker to the controller; the answer names no address"},
	{kmsg.RemoveRaftVoter, rulePass, rulePass, 0, newest, "forwarded by a broker to the controller"},
	{kmsg.UpdateRaftVoter, ruleHide, ruleHide, 0, newest, interController},
	{kmsg.InitializeShareGroupState, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.ReadShareGroupState, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.WriteShareGroupState, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.DeleteShareGroupState, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.ReadShareGroupStateSummary, ruleHide, ruleHide, 0, newest, interBroker},
	{kmsg.StreamsGroupHeartbeat, rulePass, rulePass, 0, newest, "endpoints in it are those of Streams instances"},
	{kmsg.StreamsGroupDescribe, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.DescribeShareGroupOffsets, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.AlterShareGroupOffsets, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.DeleteShareGroupOffsets, ruleHide, ruleHide, 0, newest, shareGroups},
	{kmsg.StreamsGroupTopologyDescriptionUpdate, rulePass, rulePass, 0, newest, coordinatorOnLegacy},
	{kmsg.UnregisterController, rulePass, rulePass, 0, newest, authorityIsLegacy},
}

// Reasons that several rows share.
const (
	interBroker         = "between brokers"
	interController     = "between brokers and controllers"
	coordinatorOnLegacy = "coordinators stay on legacy until their own move; committed epochs are log epochs"
	authorityIsLegacy   = "legacy is the authority until complete; the mirror follows what concerns topics"
	authentication      = "the exchange runs through to legacy, which knows the secrets"
	telemetry           = "clients turn it off by themselves where it is missing (KIP-714); an instance id belongs to one cluster"
	shareGroups         = "delivery state can't be carried over: a topic with a share group could not be moved (KIP-932)"
)

// apisByKey has a row at the index of its key.
var apisByKey = func() (rows [kmsg.MaxKey + 1]*api) {
	for i := range apis {
		rows[apis[i].key] = &apis[i]
	}
	return rows
}()

// apiOf is the row of a key; ok is false for a key that nobody knows.
func apiOf(key int16) (a api, ok bool) {
	if key < 0 || int(key) >= len(apisByKey) || apisByKey[key] == nil {
		return api{}, false
	}
	return *apisByKey[key], true
}

// kmsgMax is the highest version of each API that kmsg can decode.
var kmsgMax = func() (highest [kmsg.MaxKey + 1]int16) {
	for key := range highest {
		highest[key] = -1
		if req := kmsg.RequestForKey(int16(key)); req != nil {
			highest[key] = req.MaxVersion()
		}
	}
	return highest
}()

// advertisedRange is what we advertise of an API where legacy speaks everything;
// highest is below lowest for one that is hidden or unknown.
func advertisedRange(key int16) (lowest, highest int16) {
	a, ok := apiOf(key)
	if !ok || a.legacy == ruleHide {
		return 0, -1
	}
	return a.lowest, min(a.highest, kmsgMax[key])
}

// advertised tells whether a client may send this version of an API. What legacy
// itself supports is for legacy to say.
func advertised(key, version int16) bool {
	lowest, highest := advertisedRange(key)
	return lowest <= version && version <= highest
}
