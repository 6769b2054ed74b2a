package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// What those are answered who lack the right on the cluster that a request needs: the error stands where Kafka puts it,
// at the top, or at each thing that the request names.

const notOnCluster = wire.ClusterAuthorizationFailed

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
	out := &wire.DescribeUserScramCredentialsResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
	for i := range m.Users {
		out.Results = append(out.Results, wire.DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult{
			User: m.Users[i].Name, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
		})
	}
	return out
}

func refuseElectLeaders(m *wire.ElectLeadersRequest) *wire.ElectLeadersResponse {
	out := &wire.ElectLeadersResponse{ErrorCode: notOnCluster}
	for i := range m.TopicPartitions {
		r := wire.ElectLeadersResponseReplicaElectionResult{Topic: m.TopicPartitions[i].Topic}
		for _, p := range m.TopicPartitions[i].Partitions {
			r.PartitionResult = append(r.PartitionResult, wire.ElectLeadersResponsePartitionResult{
				PartitionID: p, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.ReplicaElectionResults = append(out.ReplicaElectionResults, r)
	}
	return out
}

func refuseAlterPartitionReassignments(m *wire.AlterPartitionReassignmentsRequest) *wire.AlterPartitionReassignmentsResponse {
	out := &wire.AlterPartitionReassignmentsResponse{}
	out.SetDefaults()
	out.ErrorCode, out.ErrorMessage = notOnCluster, text(clusterRefusal)
	for i := range m.Topics {
		t := wire.AlterPartitionReassignmentsResponseReassignableTopicResponse{Name: m.Topics[i].Name}
		for _, p := range m.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, wire.AlterPartitionReassignmentsResponseReassignablePartitionResponse{
				PartitionIndex: p.PartitionIndex, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Responses = append(out.Responses, t)
	}
	return out
}

func refuseListPartitionReassignments(m *wire.ListPartitionReassignmentsRequest) *wire.ListPartitionReassignmentsResponse {
	out := &wire.ListPartitionReassignmentsResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
	for i := range m.Topics {
		t := wire.ListPartitionReassignmentsResponseOngoingTopicReassignment{Name: m.Topics[i].Name}
		for _, p := range m.Topics[i].PartitionIndexes {
			t.Partitions = append(t.Partitions, wire.ListPartitionReassignmentsResponseOngoingPartitionReassignment{PartitionIndex: p})
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}

func refuseAlterClientQuotas(m *wire.AlterClientQuotasRequest) *wire.AlterClientQuotasResponse {
	out := &wire.AlterClientQuotasResponse{}
	for i := range m.Entries {
		e := wire.AlterClientQuotasResponseEntryData{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
		for _, part := range m.Entries[i].Entity {
			e.Entity = append(e.Entity, wire.AlterClientQuotasResponseEntityData(part))
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}

func refuseAlterUserScramCredentials(m *wire.AlterUserScramCredentialsRequest) *wire.AlterUserScramCredentialsResponse {
	var users []string
	for i := range m.Deletions {
		users = append(users, m.Deletions[i].Name)
	}
	for i := range m.Upsertions {
		users = append(users, m.Upsertions[i].Name)
	}
	slices.Sort(users)
	out := &wire.AlterUserScramCredentialsResponse{}
	for _, user := range slices.Compact(users) {
		out.Results = append(out.Results, wire.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult{
			User: user, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
		})
	}
	return out
}

func refuseAlterReplicaLogDirs(m *wire.AlterReplicaLogDirsRequest) *wire.AlterReplicaLogDirsResponse {
	out := &wire.AlterReplicaLogDirsResponse{}
	for i := range m.Dirs {
		for j := range m.Dirs[i].Topics {
			r := wire.AlterReplicaLogDirsResponseAlterReplicaLogDirTopicResult{TopicName: m.Dirs[i].Topics[j].Name}
			for _, p := range m.Dirs[i].Topics[j].Partitions {
				r.Partitions = append(r.Partitions, wire.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult{PartitionIndex: p, ErrorCode: notOnCluster})
			}
			out.Results = append(out.Results, r)
		}
	}
	return out
}

func refuseWriteTxnMarkers(m *wire.WriteTxnMarkersRequest) *wire.WriteTxnMarkersResponse {
	out := &wire.WriteTxnMarkersResponse{}
	for i := range m.Markers {
		r := wire.WriteTxnMarkersResponseWritableTxnMarkerResult{ProducerID: m.Markers[i].ProducerID}
		for j := range m.Markers[i].Topics {
			in := &m.Markers[i].Topics[j]
			t := wire.WriteTxnMarkersResponseWritableTxnMarkerTopicResult{Name: in.Name}
			for _, p := range in.PartitionIndexes {
				t.Partitions = append(t.Partitions, wire.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult{PartitionIndex: p, ErrorCode: notOnCluster})
			}
			r.Topics = append(r.Topics, t)
		}
		out.Markers = append(out.Markers, r)
	}
	return out
}

func refuseInitializeShareGroupState(m *wire.InitializeShareGroupStateRequest) *wire.InitializeShareGroupStateResponse {
	out := &wire.InitializeShareGroupStateResponse{}
	for i := range m.Topics {
		r := wire.InitializeShareGroupStateResponseInitializeStateResult{TopicID: m.Topics[i].TopicID}
		for _, p := range m.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, wire.InitializeShareGroupStateResponsePartitionResult{
				Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Results = append(out.Results, r)
	}
	return out
}

func refuseReadShareGroupState(m *wire.ReadShareGroupStateRequest) *wire.ReadShareGroupStateResponse {
	out := &wire.ReadShareGroupStateResponse{}
	for i := range m.Topics {
		r := wire.ReadShareGroupStateResponseReadStateResult{TopicID: m.Topics[i].TopicID}
		for _, p := range m.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, wire.ReadShareGroupStateResponsePartitionResult{
				Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Results = append(out.Results, r)
	}
	return out
}

func refuseWriteShareGroupState(m *wire.WriteShareGroupStateRequest) *wire.WriteShareGroupStateResponse {
	out := &wire.WriteShareGroupStateResponse{}
	for i := range m.Topics {
		r := wire.WriteShareGroupStateResponseWriteStateResult{TopicID: m.Topics[i].TopicID}
		for _, p := range m.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, wire.WriteShareGroupStateResponsePartitionResult{
				Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Results = append(out.Results, r)
	}
	return out
}

func refuseDeleteShareGroupState(m *wire.DeleteShareGroupStateRequest) *wire.DeleteShareGroupStateResponse {
	out := &wire.DeleteShareGroupStateResponse{}
	for i := range m.Topics {
		r := wire.DeleteShareGroupStateResponseDeleteStateResult{TopicID: m.Topics[i].TopicID}
		for _, p := range m.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, wire.DeleteShareGroupStateResponsePartitionResult{
				Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Results = append(out.Results, r)
	}
	return out
}

func refuseReadShareGroupStateSummary(m *wire.ReadShareGroupStateSummaryRequest) *wire.ReadShareGroupStateSummaryResponse {
	out := &wire.ReadShareGroupStateSummaryResponse{}
	for i := range m.Topics {
		r := wire.ReadShareGroupStateSummaryResponseReadStateSummaryResult{TopicID: m.Topics[i].TopicID}
		for _, p := range m.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, wire.ReadShareGroupStateSummaryResponsePartitionResult{
				Partition: p.Partition, ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal),
			})
		}
		out.Results = append(out.Results, r)
	}
	return out
}
