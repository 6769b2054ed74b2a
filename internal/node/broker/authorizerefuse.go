package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// What those are answered who lack the right on the cluster that a request needs: the error stands where Kafka puts it,
// at the top, or at each thing that the request names.

const notOnCluster = wire.ClusterAuthorizationFailed

// each makes a part of an answer of each thing that a request names, and nil where it names none.
func each[T, R any](named []T, answer func(*T) R) []R {
	var out []R
	for i := range named {
		out = append(out, answer(&named[i]))
	}
	return out
}

func refuseListConfigResources(*wire.ListConfigResourcesRequest) *wire.ListConfigResourcesResponse {
	return &wire.ListConfigResourcesResponse{ErrorCode: notOnCluster}
}

func refuseUnregisterBroker(*wire.UnregisterBrokerRequest) *wire.UnregisterBrokerResponse {
	return &wire.UnregisterBrokerResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseUpdateFeatures(*wire.UpdateFeaturesRequest) *wire.UpdateFeaturesResponse {
	return &wire.UpdateFeaturesResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseAssignReplicasToDirs(*wire.AssignReplicasToDirsRequest) *wire.AssignReplicasToDirsResponse {
	return &wire.AssignReplicasToDirsResponse{ErrorCode: notOnCluster}
}

func refuseDescribeQuorum(*wire.DescribeQuorumRequest) *wire.DescribeQuorumResponse {
	return &wire.DescribeQuorumResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseAddRaftVoter(*wire.AddRaftVoterRequest) *wire.AddRaftVoterResponse {
	return &wire.AddRaftVoterResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseRemoveRaftVoter(*wire.RemoveRaftVoterRequest) *wire.RemoveRaftVoterResponse {
	return &wire.RemoveRaftVoterResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseUpdateRaftVoter(*wire.UpdateRaftVoterRequest) *wire.UpdateRaftVoterResponse {
	out := &wire.UpdateRaftVoterResponse{}
	out.SetDefaults()
	out.ErrorCode = notOnCluster
	return out
}

func refuseDescribeLogDirs(*wire.DescribeLogDirsRequest) *wire.DescribeLogDirsResponse {
	return &wire.DescribeLogDirsResponse{ErrorCode: notOnCluster}
}

func refuseDescribeClientQuotas(*wire.DescribeClientQuotasRequest) *wire.DescribeClientQuotasResponse {
	return &wire.DescribeClientQuotasResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

func refuseDescribeUserScramCredentials(m *wire.DescribeUserScramCredentialsRequest) *wire.DescribeUserScramCredentialsResponse {
	type result = wire.DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult
	return &wire.DescribeUserScramCredentialsResponse{
		ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
		Results: each(m.Users, func(u *wire.DescribeUserScramCredentialsRequestUserName) result {
			return result{User: u.Name, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		}),
	}
}

func refuseElectLeaders(m *wire.ElectLeadersRequest) *wire.ElectLeadersResponse {
	type topic = wire.ElectLeadersResponseReplicaElectionResult
	type partition = wire.ElectLeadersResponsePartitionResult
	return &wire.ElectLeadersResponse{
		ErrorCode: notOnCluster,
		ReplicaElectionResults: each(m.TopicPartitions, func(t *wire.ElectLeadersRequestTopicPartitions) topic {
			return topic{Topic: t.Topic, PartitionResult: each(t.Partitions, func(p *int32) partition {
				return partition{PartitionID: *p, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
			})}
		}),
	}
}

func refuseAlterPartitionReassignments(m *wire.AlterPartitionReassignmentsRequest) *wire.AlterPartitionReassignmentsResponse {
	type topic = wire.AlterPartitionReassignmentsResponseReassignableTopicResponse
	type partition = wire.AlterPartitionReassignmentsResponseReassignablePartitionResponse
	out := &wire.AlterPartitionReassignmentsResponse{}
	out.SetDefaults()
	out.ErrorCode, out.ErrorMessage = notOnCluster, text(clusterRefusal)
	out.Responses = each(m.Topics, func(t *wire.AlterPartitionReassignmentsRequestReassignableTopic) topic {
		return topic{Name: t.Name, Partitions: each(t.Partitions, func(p *wire.AlterPartitionReassignmentsRequestReassignablePartition) partition {
			return partition{PartitionIndex: p.PartitionIndex, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})
	return out
}

func refuseListPartitionReassignments(m *wire.ListPartitionReassignmentsRequest) *wire.ListPartitionReassignmentsResponse {
	type topic = wire.ListPartitionReassignmentsResponseOngoingTopicReassignment
	type partition = wire.ListPartitionReassignmentsResponseOngoingPartitionReassignment
	return &wire.ListPartitionReassignmentsResponse{
		ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
		Topics: each(m.Topics, func(t *wire.ListPartitionReassignmentsRequestListPartitionReassignmentsTopics) topic {
			return topic{Name: t.Name, Partitions: each(t.PartitionIndexes, func(p *int32) partition { return partition{PartitionIndex: *p} })}
		}),
	}
}

func refuseAlterClientQuotas(m *wire.AlterClientQuotasRequest) *wire.AlterClientQuotasResponse {
	type entry = wire.AlterClientQuotasResponseEntryData
	type entity = wire.AlterClientQuotasResponseEntityData
	return &wire.AlterClientQuotasResponse{Entries: each(m.Entries, func(e *wire.AlterClientQuotasRequestEntryData) entry {
		return entry{
			ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			Entity: each(e.Entity, func(part *wire.AlterClientQuotasRequestEntityData) entity { return entity(*part) }),
		}
	})}
}

func refuseAlterUserScramCredentials(m *wire.AlterUserScramCredentialsRequest) *wire.AlterUserScramCredentialsResponse {
	type result = wire.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult
	var users []string
	for i := range m.Deletions {
		users = append(users, m.Deletions[i].Name)
	}
	for i := range m.Upsertions {
		users = append(users, m.Upsertions[i].Name)
	}
	slices.Sort(users)
	return &wire.AlterUserScramCredentialsResponse{Results: each(slices.Compact(users), func(user *string) result {
		return result{User: *user, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
	})}
}

func refuseAlterReplicaLogDirs(m *wire.AlterReplicaLogDirsRequest) *wire.AlterReplicaLogDirsResponse {
	type topic = wire.AlterReplicaLogDirsResponseAlterReplicaLogDirTopicResult
	type partition = wire.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult
	out := &wire.AlterReplicaLogDirsResponse{}
	for i := range m.Dirs {
		out.Results = append(out.Results, each(m.Dirs[i].Topics, func(t *wire.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic) topic {
			return topic{TopicName: t.Name, Partitions: each(t.Partitions, func(p *int32) partition {
				return partition{PartitionIndex: *p, ErrorCode: notOnCluster}
			})}
		})...)
	}
	return out
}

func refuseWriteTxnMarkers(m *wire.WriteTxnMarkersRequest) *wire.WriteTxnMarkersResponse {
	type marker = wire.WriteTxnMarkersResponseWritableTxnMarkerResult
	type topic = wire.WriteTxnMarkersResponseWritableTxnMarkerTopicResult
	type partition = wire.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult
	return &wire.WriteTxnMarkersResponse{Markers: each(m.Markers, func(x *wire.WriteTxnMarkersRequestWritableTxnMarker) marker {
		return marker{ProducerID: x.ProducerID, Topics: each(x.Topics, func(t *wire.WriteTxnMarkersRequestWritableTxnMarkerTopic) topic {
			return topic{Name: t.Name, Partitions: each(t.PartitionIndexes, func(p *int32) partition {
				return partition{PartitionIndex: *p, ErrorCode: notOnCluster}
			})}
		})}
	})}
}

func refuseInitializeShareGroupState(m *wire.InitializeShareGroupStateRequest) *wire.InitializeShareGroupStateResponse {
	type topic = wire.InitializeShareGroupStateResponseInitializeStateResult
	type partition = wire.InitializeShareGroupStateResponsePartitionResult
	return &wire.InitializeShareGroupStateResponse{Results: each(m.Topics, func(t *wire.InitializeShareGroupStateRequestInitializeStateData) topic {
		return topic{TopicID: t.TopicID, Partitions: each(t.Partitions, func(p *wire.InitializeShareGroupStateRequestPartitionData) partition {
			return partition{Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})}
}

func refuseReadShareGroupState(m *wire.ReadShareGroupStateRequest) *wire.ReadShareGroupStateResponse {
	type topic = wire.ReadShareGroupStateResponseReadStateResult
	type partition = wire.ReadShareGroupStateResponsePartitionResult
	return &wire.ReadShareGroupStateResponse{Results: each(m.Topics, func(t *wire.ReadShareGroupStateRequestReadStateData) topic {
		return topic{TopicID: t.TopicID, Partitions: each(t.Partitions, func(p *wire.ReadShareGroupStateRequestPartitionData) partition {
			return partition{Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})}
}

func refuseWriteShareGroupState(m *wire.WriteShareGroupStateRequest) *wire.WriteShareGroupStateResponse {
	type topic = wire.WriteShareGroupStateResponseWriteStateResult
	type partition = wire.WriteShareGroupStateResponsePartitionResult
	return &wire.WriteShareGroupStateResponse{Results: each(m.Topics, func(t *wire.WriteShareGroupStateRequestWriteStateData) topic {
		return topic{TopicID: t.TopicID, Partitions: each(t.Partitions, func(p *wire.WriteShareGroupStateRequestPartitionData) partition {
			return partition{Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})}
}

func refuseDeleteShareGroupState(m *wire.DeleteShareGroupStateRequest) *wire.DeleteShareGroupStateResponse {
	type topic = wire.DeleteShareGroupStateResponseDeleteStateResult
	type partition = wire.DeleteShareGroupStateResponsePartitionResult
	return &wire.DeleteShareGroupStateResponse{Results: each(m.Topics, func(t *wire.DeleteShareGroupStateRequestDeleteStateData) topic {
		return topic{TopicID: t.TopicID, Partitions: each(t.Partitions, func(p *wire.DeleteShareGroupStateRequestPartitionData) partition {
			return partition{Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})}
}

func refuseReadShareGroupStateSummary(m *wire.ReadShareGroupStateSummaryRequest) *wire.ReadShareGroupStateSummaryResponse {
	type topic = wire.ReadShareGroupStateSummaryResponseReadStateSummaryResult
	type partition = wire.ReadShareGroupStateSummaryResponsePartitionResult
	return &wire.ReadShareGroupStateSummaryResponse{Results: each(m.Topics, func(t *wire.ReadShareGroupStateSummaryRequestReadStateSummaryData) topic {
		return topic{TopicID: t.TopicID, Partitions: each(t.Partitions, func(p *wire.ReadShareGroupStateSummaryRequestPartitionData) partition {
			return partition{Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		})}
	})}
}
