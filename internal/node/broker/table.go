package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// table lists what this node serves.
func table() map[int16]handler {
	return map[int16]handler{
		wire.KeyProduce:                      (*Broker).serveProduce,
		wire.KeyFetch:                        (*Broker).serveFetch,
		wire.KeyListOffsets:                  now(serveListOffsets),
		wire.KeyMetadata:                     on(serveMetadata),
		wire.KeyOffsetCommit:                 on(serveOffsetCommit),
		wire.KeyOffsetFetch:                  on(serveOffsetFetch),
		wire.KeyJoinGroup:                    grouped[wire.JoinGroupRequest]((*coordinator.Groups).JoinGroup),
		wire.KeyHeartbeat:                    grouped[wire.HeartbeatRequest]((*coordinator.Groups).Heartbeat),
		wire.KeyLeaveGroup:                   grouped[wire.LeaveGroupRequest]((*coordinator.Groups).LeaveGroup),
		wire.KeySyncGroup:                    grouped[wire.SyncGroupRequest]((*coordinator.Groups).SyncGroup),
		wire.KeyDescribeGroups:               on(serveDescribeGroups),
		wire.KeyListGroups:                   grouped[wire.ListGroupsRequest]((*coordinator.Groups).ListGroups),
		wire.KeyDeleteGroups:                 grouped[wire.DeleteGroupsRequest]((*coordinator.Groups).DeleteGroups),
		wire.KeyOffsetDelete:                 on(serveOffsetDelete),
		wire.KeyDescribeConfigs:              now(serveDescribeConfigs),
		wire.KeyListConfigResources:          now(serveListConfigResources),
		wire.KeyFindCoordinator:              on(serveFindCoordinator),
		wire.KeyInitializeShareGroupState:    shared[wire.InitializeShareGroupStateRequest]((*coordinator.Shares).InitializeShareGroupState),
		wire.KeyReadShareGroupState:          shared[wire.ReadShareGroupStateRequest]((*coordinator.Shares).ReadShareGroupState),
		wire.KeyWriteShareGroupState:         shared[wire.WriteShareGroupStateRequest]((*coordinator.Shares).WriteShareGroupState),
		wire.KeyDeleteShareGroupState:        shared[wire.DeleteShareGroupStateRequest]((*coordinator.Shares).DeleteShareGroupState),
		wire.KeyReadShareGroupStateSummary:   shared[wire.ReadShareGroupStateSummaryRequest]((*coordinator.Shares).ReadShareGroupStateSummary),
		wire.KeyApiVersions:                  now(serveAPIVersions),
		wire.KeyCreateTopics:                 forward[wire.CreateTopicsRequest, *wire.CreateTopicsRequest, *wire.CreateTopicsResponse](),
		wire.KeyDeleteTopics:                 forward[wire.DeleteTopicsRequest, *wire.DeleteTopicsRequest, *wire.DeleteTopicsResponse](),
		wire.KeyCreatePartitions:             forward[wire.CreatePartitionsRequest, *wire.CreatePartitionsRequest, *wire.CreatePartitionsResponse](),
		wire.KeyDeleteRecords:                now(serveDeleteRecords),
		wire.KeyInitProducerId:               on(serveInitProducerID),
		wire.KeyOffsetForLeaderEpoch:         now(serveOffsetForLeaderEpoch),
		wire.KeyAlterConfigs:                 forward[wire.AlterConfigsRequest, *wire.AlterConfigsRequest, *wire.AlterConfigsResponse](),
		wire.KeyIncrementalAlterConfigs:      on(serveIncrementalAlterConfigs),
		wire.KeyElectLeaders:                 forward[wire.ElectLeadersRequest, *wire.ElectLeadersRequest, *wire.ElectLeadersResponse](),
		wire.KeyAlterPartitionReassignments:  forward[wire.AlterPartitionReassignmentsRequest, *wire.AlterPartitionReassignmentsRequest, *wire.AlterPartitionReassignmentsResponse](),
		wire.KeyListPartitionReassignments:   forward[wire.ListPartitionReassignmentsRequest, *wire.ListPartitionReassignmentsRequest, *wire.ListPartitionReassignmentsResponse](),
		wire.KeyUpdateFeatures:               on(serveUpdateFeatures),
		wire.KeyUnregisterBroker:             forward[wire.UnregisterBrokerRequest, *wire.UnregisterBrokerRequest, *wire.UnregisterBrokerResponse](),
		wire.KeyAlterClientQuotas:            forward[wire.AlterClientQuotasRequest, *wire.AlterClientQuotasRequest, *wire.AlterClientQuotasResponse](),
		wire.KeyAlterUserScramCredentials:    forward[wire.AlterUserScramCredentialsRequest, *wire.AlterUserScramCredentialsRequest, *wire.AlterUserScramCredentialsResponse](),
		wire.KeyAssignReplicasToDirs:         forward[wire.AssignReplicasToDirsRequest, *wire.AssignReplicasToDirsRequest, *wire.AssignReplicasToDirsResponse](),
		wire.KeyDescribeClientQuotas:         now(serveDescribeClientQuotas),
		wire.KeyDescribeUserScramCredentials: now(serveDescribeUserScramCredentials),
		wire.KeyDescribeQuorum:               now(serveDescribeQuorum),
		wire.KeyAddRaftVoter:                 now(serveAddRaftVoter),
		wire.KeyRemoveRaftVoter:              now(serveRemoveRaftVoter),
		wire.KeyUpdateRaftVoter:              now(serveUpdateRaftVoter),
		wire.KeyGetTelemetrySubscriptions:    now(serveGetTelemetrySubscriptions),
		wire.KeyPushTelemetry:                now(servePushTelemetry),
		wire.KeyDescribeLogDirs:              now(serveDescribeLogDirs),
		wire.KeyAlterReplicaLogDirs:          now(serveAlterReplicaLogDirs),
		wire.KeyDescribeCluster:              now(serveDescribeCluster),
		wire.KeyDescribeProducers:            now(serveDescribeProducers),
		wire.KeyDescribeTopicPartitions:      now(serveDescribeTopicPartitions),
	}
}
