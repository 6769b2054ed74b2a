package node_test

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

const member = "bmVtYmVyLW1lbWJlci0wMQ" // what members of share groups name themselves by

// listedGroup tells whether our group is listed.
func listedGroup(e *env, resp wire.Message) string {
	m := resp.(*wire.ListGroupsResponse)
	found := false
	for i := range m.Groups {
		found = found || m.Groups[i].GroupID == e.n("g")
	}
	return fmt.Sprintf("the group is there: %v", found)
}

// offsetsShown tells whether offsets of our topic are answered.
func offsetsShown(e *env, resp wire.Message) string {
	m := resp.(*wire.OffsetFetchResponse)
	n := len(m.Topics)
	for i := range m.Groups {
		n += len(m.Groups[i].Topics)
	}
	return fmt.Sprintf("topics: %d", n)
}

// groupCases are about consumer groups and groups in general.
func groupCases() []authorizationCase {
	fetchOffsets := func(e *env, topics []wire.OffsetFetchRequestTopics) wire.Message {
		e.topic("t")
		e.committed("g", "t")
		g := wire.OffsetFetchRequestGroup{GroupID: e.n("g"), MemberEpoch: -1, Topics: topics}
		return &wire.OffsetFetchRequest{Groups: []wire.OffsetFetchRequestGroup{g}}
	}
	consumer := func(e *env, names []string, regex *string) wire.Message {
		e.coordinator(0, "g")
		return of(func(m *wire.ConsumerGroupHeartbeatRequest) {
			m.GroupID, m.MemberID, m.RebalanceTimeoutMs = e.n("g"), member, 60_000
			m.SubscribedTopicNames, m.SubscribedTopicRegex = names, regex
			m.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
		})
	}
	return []authorizationCase{
		{key: wire.KeyFindCoordinator, version: 4, variant: "of a group", make: func(e *env) wire.Message {
			e.coordinator(0, "g")
			return &wire.FindCoordinatorRequest{CoordinatorKeys: []string{e.n("g")}}
		}},
		{key: wire.KeyFindCoordinator, version: 3, variant: "of a group", make: func(e *env) wire.Message {
			e.coordinator(0, "g")
			return &wire.FindCoordinatorRequest{Key: e.n("g")}
		}},
		{key: wire.KeyFindCoordinator, version: 4, variant: "of a transaction", make: func(e *env) wire.Message {
			e.coordinator(1, "x")
			return &wire.FindCoordinatorRequest{KeyType: 1, CoordinatorKeys: []string{e.n("x")}}
		}},
		{key: wire.KeyFindCoordinator, version: 6, variant: "of a share group's state", make: func(e *env) wire.Message {
			m := &wire.FindCoordinatorRequest{KeyType: 2, CoordinatorKeys: []string{e.n("s") + ":" + wire.UUID{1}.String() + ":0"}}
			e.retry("share coordinator", func() wire.Code {
				resp := &wire.FindCoordinatorResponse{}
				e.admin(m, 6, resp)
				return resp.Coordinators[0].ErrorCode
			})
			return m
		}},
		{key: wire.KeyOffsetCommit, version: 8, make: func(e *env) wire.Message {
			e.topic("t")
			e.coordinator(0, "g")
			return commit(e.n("g"), e.n("t"))
		}},
		{key: wire.KeyOffsetCommit, version: 10, variant: "by id", make: func(e *env) wire.Message {
			m := commit(e.n("g"), "")
			m.Topics[0].TopicID = e.topic("t")
			e.coordinator(0, "g")
			return m
		}},
		{key: wire.KeyOffsetCommit, version: 8, variant: "of a name that no topic has", make: func(e *env) wire.Message {
			e.coordinator(0, "g")
			return commit(e.n("g"), e.n("none"))
		}},
		{key: wire.KeyOffsetFetch, version: 9, show: offsetsShown, make: func(e *env) wire.Message {
			return fetchOffsets(e, []wire.OffsetFetchRequestTopics{{Name: e.n("t"), PartitionIndexes: []int32{0}}})
		}},
		{key: wire.KeyOffsetFetch, version: 9, variant: "of all topics", show: offsetsShown, also: []right{{"DESCRIBE", "TOPIC", "~t"}}, make: func(e *env) wire.Message {
			return fetchOffsets(e, nil)
		}},
		{key: wire.KeyOffsetFetch, version: 10, variant: "by id", show: offsetsShown, make: func(e *env) wire.Message {
			m := fetchOffsets(e, nil).(*wire.OffsetFetchRequest)
			resp := &wire.MetadataResponse{}
			e.admin(metadataOf(e, "t"), 12, resp)
			m.Groups[0].Topics = []wire.OffsetFetchRequestTopics{{TopicID: resp.Topics[0].TopicID, PartitionIndexes: []int32{0}}}
			return m
		}},
		{key: wire.KeyOffsetFetch, version: 7, variant: "of one group", show: offsetsShown, make: func(e *env) wire.Message {
			e.topic("t")
			e.committed("g", "t")
			return &wire.OffsetFetchRequest{GroupID: e.n("g"), Topics: []wire.OffsetFetchRequestTopic{{Name: e.n("t"), PartitionIndexes: []int32{0}}}}
		}},
		{key: wire.KeyOffsetFetch, version: 1, variant: "of one group", show: offsetsShown, make: func(e *env) wire.Message {
			e.topic("t")
			e.committed("g", "t")
			return &wire.OffsetFetchRequest{GroupID: e.n("g"), Topics: []wire.OffsetFetchRequestTopic{{Name: e.n("t"), PartitionIndexes: []int32{0}}}}
		}},
		{key: wire.KeyOffsetDelete, version: 0, make: func(e *env) wire.Message {
			e.topic("t")
			e.committed("g", "t")
			return &wire.OffsetDeleteRequest{GroupID: e.n("g"), Topics: []wire.OffsetDeleteRequestTopic{{
				Name: e.n("t"), Partitions: []wire.OffsetDeleteRequestPartition{{}},
			}}}
		}},
		{key: wire.KeyJoinGroup, version: 3, once: true, make: func(e *env) wire.Message { e.coordinator(0, "g"); return joinRequest(e.n("g")) }},
		{key: wire.KeySyncGroup, version: 3, make: func(e *env) wire.Message {
			id, generation := e.joined("g")
			return &wire.SyncGroupRequest{GroupID: e.n("g"), GenerationID: generation, MemberID: id}
		}},
		{key: wire.KeyHeartbeat, version: 3, make: func(e *env) wire.Message {
			id, generation := e.joined("g")
			return &wire.HeartbeatRequest{GroupID: e.n("g"), GenerationID: generation, MemberID: id}
		}},
		{key: wire.KeyLeaveGroup, version: 3, make: func(e *env) wire.Message {
			id, _ := e.joined("g")
			return &wire.LeaveGroupRequest{GroupID: e.n("g"), Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: id}}}
		}},
		{key: wire.KeyDescribeGroups, version: 5, make: func(e *env) wire.Message {
			e.joined("g")
			return &wire.DescribeGroupsRequest{Groups: []string{e.n("g")}, IncludeAuthorizedOperations: true}
		}},
		{key: wire.KeyListGroups, version: 5, show: listedGroup, make: func(e *env) wire.Message { e.joined("g"); return &wire.ListGroupsRequest{} }},
		{key: wire.KeyDeleteGroups, version: 2, make: func(e *env) wire.Message {
			e.topic("t")
			e.committed("g", "t")
			return &wire.DeleteGroupsRequest{GroupsNames: []string{e.n("g")}}
		}},
		{key: wire.KeyConsumerGroupHeartbeat, version: 1, make: func(e *env) wire.Message {
			e.topic("t")
			return consumer(e, []string{e.n("t")}, nil)
		}},
		{key: wire.KeyConsumerGroupHeartbeat, version: 1, variant: "by a regular expression", make: func(e *env) wire.Message {
			e.topic("t")
			return consumer(e, nil, ptr(e.n("t")))
		}},
		{key: wire.KeyConsumerGroupDescribe, version: 1, also: []right{{"DESCRIBE", "TOPIC", "~t"}}, make: func(e *env) wire.Message {
			e.topic("t")
			m := consumer(e, []string{e.n("t")}, nil)
			e.retry("heartbeat", func() wire.Code {
				resp := &wire.ConsumerGroupHeartbeatResponse{}
				e.admin(m, 1, resp)
				if resp.ErrorCode == wire.None && (resp.Assignment == nil || len(resp.Assignment.TopicPartitions) == 0) {
					m = of(func(h *wire.ConsumerGroupHeartbeatRequest) {
						h.GroupID, h.MemberID, h.MemberEpoch, h.RebalanceTimeoutMs = e.n("g"), member, resp.MemberEpoch, -1
						h.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
					})
					return wire.RebalanceInProgress
				}
				return resp.ErrorCode
			})
			return &wire.ConsumerGroupDescribeRequest{GroupIDs: []string{e.n("g")}, IncludeAuthorizedOperations: true}
		}},
		{key: wire.KeyStreamsGroupHeartbeat, version: 0, effect: true, show: streamsStatus, make: func(e *env) wire.Message {
			e.topic("t")
			e.coordinator(0, "g")
			return streamsHeartbeat(e)
		}},
		{key: wire.KeyStreamsGroupDescribe, version: 0, also: []right{{"DESCRIBE", "TOPIC", "~t"}}, make: func(e *env) wire.Message {
			e.topic("t")
			e.coordinator(0, "g")
			e.retry("heartbeat", func() wire.Code {
				resp := &wire.StreamsGroupHeartbeatResponse{}
				e.admin(streamsHeartbeat(e), 0, resp)
				return resp.ErrorCode
			})
			return &wire.StreamsGroupDescribeRequest{GroupIDs: []string{e.n("g")}, IncludeAuthorizedOperations: true}
		}},
	}
}

// streamsStatus tells what a member is told of internal topics.
func streamsStatus(e *env, resp wire.Message) string {
	out := ""
	for _, s := range resp.(*wire.StreamsGroupHeartbeatResponse).Status {
		if s.StatusCode == 2 {
			out += "some internal topics are missing"
		}
	}
	return out
}

func streamsHeartbeat(e *env) wire.Message {
	return of(func(m *wire.StreamsGroupHeartbeatRequest) {
		m.GroupID, m.MemberID, m.RebalanceTimeoutMs, m.ProcessID = e.n("g"), member, 60_000, ptr("p")
		m.Topology = &wire.StreamsGroupHeartbeatRequestTopology{Epoch: 1, Subtopologies: []wire.StreamsGroupHeartbeatRequestSubtopology{{
			SubtopologyID: "0", SourceTopics: []string{e.n("t")},
			StateChangelogTopics: []wire.StreamsGroupHeartbeatRequestTopicInfo{{Name: e.n("changelog"), ReplicationFactor: 1}},
		}}}
		m.ActiveTasks, m.StandbyTasks, m.WarmupTasks = []wire.StreamsGroupHeartbeatRequestTaskIds{}, []wire.StreamsGroupHeartbeatRequestTaskIds{}, []wire.StreamsGroupHeartbeatRequestTaskIds{}
		m.ClientTags = []wire.StreamsGroupHeartbeatRequestKeyValue{}
	})
}

// shareJoined makes a share group that has the topic.
func (e *env) shareJoined() wire.UUID {
	id := e.topic("t")
	e.coordinator(0, "s")
	m := of(func(m *wire.ShareGroupHeartbeatRequest) {
		m.GroupID, m.MemberID, m.SubscribedTopicNames = e.n("s"), member, []string{e.n("t")}
	})
	e.retry("heartbeat of a share group", func() wire.Code {
		resp := &wire.ShareGroupHeartbeatResponse{}
		e.admin(m, 1, resp)
		if resp.ErrorCode == wire.None && (resp.Assignment == nil || len(resp.Assignment.TopicPartitions) == 0) {
			m = of(func(h *wire.ShareGroupHeartbeatRequest) {
				h.GroupID, h.MemberID, h.MemberEpoch = e.n("s"), member, resp.MemberEpoch
			})
			return wire.RebalanceInProgress
		}
		return resp.ErrorCode
	})
	return id
}

// shareLeft makes a share group that nobody is in.
func (e *env) shareLeft() {
	e.shareJoined()
	resp := &wire.ShareGroupHeartbeatResponse{}
	e.admin(of(func(h *wire.ShareGroupHeartbeatRequest) { h.GroupID, h.MemberID, h.MemberEpoch = e.n("s"), member, -1 }), 1, resp)
	if resp.ErrorCode != wire.None {
		e.t.Fatal(resp.ErrorCode)
	}
}

// onlyErrors leaves out what has nothing to say.
func onlyErrors(_ *env, resp wire.Message) string {
	if m, ok := resp.(*wire.ShareAcknowledgeResponse); ok {
		m.Responses = slices.DeleteFunc(m.Responses, func(t wire.ShareAcknowledgeResponseShareAcknowledgeTopicResponse) bool {
			return !slices.ContainsFunc(t.Partitions, func(p wire.ShareAcknowledgeResponsePartitionData) bool { return p.ErrorCode != wire.None })
		})
		return ""
	}
	m := resp.(*wire.ShareFetchResponse)
	m.Responses = slices.DeleteFunc(m.Responses, func(t wire.ShareFetchResponseShareFetchableTopicResponse) bool {
		return !slices.ContainsFunc(t.Partitions, func(p wire.ShareFetchResponsePartitionData) bool { return p.ErrorCode != wire.None })
	})
	return ""
}

func shareFetchOf(e *env, id wire.UUID) wire.Message {
	return of(func(m *wire.ShareFetchRequest) {
		m.GroupID, m.MemberID, m.MaxBytes, m.MaxRecords, m.BatchSize = ptr(e.n("s")), ptr(member), 1<<20, 100, 100
		m.Topics = []wire.ShareFetchRequestFetchTopic{{TopicID: id, Partitions: []wire.ShareFetchRequestFetchPartition{{}}}}
	})
}

// shareCases are about share groups.
func shareCases() []authorizationCase {
	offsets := func(e *env, topics []wire.DescribeShareGroupOffsetsRequestTopic) wire.Message {
		e.shareJoined()
		return &wire.DescribeShareGroupOffsetsRequest{Groups: []wire.DescribeShareGroupOffsetsRequestGroup{{GroupID: e.n("s"), Topics: topics}}}
	}
	count := func(_ *env, resp wire.Message) string {
		m := resp.(*wire.DescribeShareGroupOffsetsResponse)
		n := 0
		for i := range m.Groups {
			n += len(m.Groups[i].Topics)
		}
		return fmt.Sprintf("topics: %d", n)
	}
	all := []authorizationCase{
		{key: wire.KeyShareGroupHeartbeat, version: 1, make: func(e *env) wire.Message {
			e.topic("t")
			e.coordinator(0, "s")
			return of(func(m *wire.ShareGroupHeartbeatRequest) {
				m.GroupID, m.MemberID, m.SubscribedTopicNames = e.n("s"), member, []string{e.n("t")}
			})
		}},
		{key: wire.KeyShareGroupDescribe, version: 1, also: []right{{"DESCRIBE", "TOPIC", "~t"}}, make: func(e *env) wire.Message {
			e.shareJoined()
			return &wire.ShareGroupDescribeRequest{GroupIDs: []string{e.n("s")}, IncludeAuthorizedOperations: true}
		}},
		{key: wire.KeyShareFetch, version: 1, effect: true, once: true, show: onlyErrors, make: func(e *env) wire.Message { return shareFetchOf(e, e.shareJoined()) }},
		{key: wire.KeyShareAcknowledge, version: 1, effect: true, once: true, show: onlyErrors, make: func(e *env) wire.Message {
			id := e.shareJoined()
			e.t.Helper()
			open := shareFetchOf(e, id)
			if err := e.s.call("alice", "BROKER", open, 1, &wire.ShareFetchResponse{}); err != nil {
				e.t.Fatal(err)
			}
			return &wire.ShareAcknowledgeRequest{GroupID: ptr(e.n("s")), MemberID: ptr(member), ShareSessionEpoch: 1,
				Topics: []wire.ShareAcknowledgeRequestAcknowledgeTopic{{TopicID: id, Partitions: []wire.ShareAcknowledgeRequestAcknowledgePartition{{}}}}}
		}},
		{key: wire.KeyDescribeShareGroupOffsets, version: 0, show: count, make: func(e *env) wire.Message {
			return offsets(e, []wire.DescribeShareGroupOffsetsRequestTopic{{TopicName: e.n("t"), Partitions: []int32{0}}})
		}},
		{key: wire.KeyAlterShareGroupOffsets, version: 0, make: func(e *env) wire.Message {
			e.shareLeft()
			return &wire.AlterShareGroupOffsetsRequest{GroupID: e.n("s"), Topics: []wire.AlterShareGroupOffsetsRequestTopic{{
				TopicName: e.n("t"), Partitions: []wire.AlterShareGroupOffsetsRequestPartition{{}},
			}}}
		}},
		{key: wire.KeyDeleteShareGroupOffsets, version: 0, make: func(e *env) wire.Message {
			e.shareLeft()
			return &wire.DeleteShareGroupOffsetsRequest{GroupID: e.n("s"), Topics: []wire.DeleteShareGroupOffsetsRequestTopic{{TopicName: e.n("t")}}}
		}},
	}
	return append(all, shareStateCases()...)
}

// shareStateCases are what brokers ask the share coordinator.
func shareStateCases() []authorizationCase {
	ready := func(e *env) (string, wire.UUID) {
		id := e.shareJoined()
		m := &wire.InitializeShareGroupStateRequest{GroupID: e.n("p"), Topics: []wire.InitializeShareGroupStateRequestInitializeStateData{{
			TopicID: id, Partitions: []wire.InitializeShareGroupStateRequestPartitionData{{}},
		}}}
		e.retry("state", func() wire.Code {
			resp := &wire.InitializeShareGroupStateResponse{}
			e.admin(m, 0, resp)
			return resp.Results[0].Partitions[0].ErrorCode
		})
		return e.n("p"), id
	}
	return []authorizationCase{
		{key: wire.KeyInitializeShareGroupState, version: 0, make: func(e *env) wire.Message {
			_, id := ready(e)
			return &wire.InitializeShareGroupStateRequest{GroupID: e.n("q"), Topics: []wire.InitializeShareGroupStateRequestInitializeStateData{{
				TopicID: id, Partitions: []wire.InitializeShareGroupStateRequestPartitionData{{StateEpoch: 1}},
			}}}
		}},
		{key: wire.KeyReadShareGroupState, version: 0, make: func(e *env) wire.Message {
			g, id := ready(e)
			return &wire.ReadShareGroupStateRequest{GroupID: g, Topics: []wire.ReadShareGroupStateRequestReadStateData{{
				TopicID: id, Partitions: []wire.ReadShareGroupStateRequestPartitionData{{}},
			}}}
		}},
		{key: wire.KeyWriteShareGroupState, version: 0, make: func(e *env) wire.Message {
			g, id := ready(e)
			return &wire.WriteShareGroupStateRequest{GroupID: g, Topics: []wire.WriteShareGroupStateRequestWriteStateData{{
				TopicID: id, Partitions: []wire.WriteShareGroupStateRequestPartitionData{{}},
			}}}
		}},
		{key: wire.KeyDeleteShareGroupState, version: 0, make: func(e *env) wire.Message {
			g, id := ready(e)
			return &wire.DeleteShareGroupStateRequest{GroupID: g, Topics: []wire.DeleteShareGroupStateRequestDeleteStateData{{
				TopicID: id, Partitions: []wire.DeleteShareGroupStateRequestPartitionData{{}},
			}}}
		}},
		{key: wire.KeyReadShareGroupStateSummary, version: 0, make: func(e *env) wire.Message {
			g, id := ready(e)
			return &wire.ReadShareGroupStateSummaryRequest{GroupID: g, Topics: []wire.ReadShareGroupStateSummaryRequestReadStateSummaryData{{
				TopicID: id, Partitions: []wire.ReadShareGroupStateSummaryRequestPartitionData{{}},
			}}}
		}},
	}
}

// transactionCases are about producers' ids and transactions.
func transactionCases() []authorizationCase {
	initialise := func(id *string) wire.Message {
		return of(func(m *wire.InitProducerIdRequest) {
			m.TransactionalID, m.TransactionTimeoutMs, m.ProducerID, m.ProducerEpoch = id, 60_000, -1, -1
		})
	}
	// begun has partition 0 of t take part in a transaction of x.
	begun := func(e *env) (int64, int16) {
		e.topic("t")
		id, epoch := e.producer("x")
		e.retry("add", func() wire.Code {
			resp := &wire.AddPartitionsToTxnResponse{}
			e.admin(addition(e, id, epoch), 3, resp)
			return resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode
		})
		return id, epoch
	}
	commitIn := func(e *env) *wire.TxnOffsetCommitRequest {
		e.topic("t")
		e.coordinator(0, "g")
		id, epoch := e.producer("x")
		return of(func(m *wire.TxnOffsetCommitRequest) {
			m.TransactionalID, m.GroupID, m.ProducerID, m.ProducerEpoch = e.n("x"), e.n("g"), id, epoch
			m.Topics = []wire.TxnOffsetCommitRequestTopic{{Name: e.n("t"), Partitions: []wire.TxnOffsetCommitRequestPartition{{CommittedLeaderEpoch: -1}}}}
		}).(*wire.TxnOffsetCommitRequest)
	}
	listed := func(e *env, resp wire.Message) string {
		found := false
		for _, s := range resp.(*wire.ListTransactionsResponse).TransactionStates {
			found = found || s.TransactionalID == e.n("x")
		}
		return fmt.Sprintf("the transactional id is there: %v", found)
	}
	return []authorizationCase{
		{key: wire.KeyInitProducerId, version: 4, also: []right{{"WRITE", "TOPIC", "*"}}, make: func(e *env) wire.Message {
			e.producer("")
			return initialise(nil)
		}},
		{key: wire.KeyInitProducerId, version: 4, variant: "for transactions", make: func(e *env) wire.Message {
			e.coordinator(1, "x")
			return initialise(ptr(e.n("x")))
		}},
		{key: wire.KeyAddPartitionsToTxn, version: 3, make: func(e *env) wire.Message {
			e.topic("t")
			id, epoch := e.producer("x")
			return addition(e, id, epoch)
		}},
		{key: wire.KeyAddPartitionsToTxn, version: 5, variant: "of brokers", make: func(e *env) wire.Message {
			e.topic("t")
			id, epoch := e.producer("x")
			return &wire.AddPartitionsToTxnRequest{Transactions: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction{{
				TransactionalID: e.n("x"), ProducerID: id, ProducerEpoch: epoch,
				Topics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: e.n("t"), Partitions: []int32{0}}},
			}}}
		}},
		{key: wire.KeyAddOffsetsToTxn, version: 3, make: func(e *env) wire.Message {
			e.coordinator(0, "g")
			id, epoch := e.producer("x")
			return &wire.AddOffsetsToTxnRequest{TransactionalID: e.n("x"), ProducerID: id, ProducerEpoch: epoch, GroupID: e.n("g")}
		}},
		{key: wire.KeyTxnOffsetCommit, version: 5, make: func(e *env) wire.Message { return commitIn(e) }},
		{key: wire.KeyEndTxn, version: 3, make: func(e *env) wire.Message {
			id, epoch := begun(e)
			return &wire.EndTxnRequest{TransactionalID: e.n("x"), ProducerID: id, ProducerEpoch: epoch, Committed: true}
		}},
		{key: wire.KeyWriteTxnMarkers, version: 1, make: func(e *env) wire.Message {
			id, epoch := begun(e)
			return &wire.WriteTxnMarkersRequest{Markers: []wire.WriteTxnMarkersRequestWritableTxnMarker{{
				ProducerID: id, ProducerEpoch: epoch + 1, Topics: []wire.WriteTxnMarkersRequestWritableTxnMarkerTopic{{Name: e.n("t"), PartitionIndexes: []int32{0}}},
			}}}
		}},
		{key: wire.KeyDescribeTransactions, version: 0, also: []right{{"DESCRIBE", "TOPIC", "~t"}}, make: func(e *env) wire.Message {
			begun(e)
			return &wire.DescribeTransactionsRequest{TransactionalIDs: []string{e.n("x")}}
		}, show: func(_ *env, resp wire.Message) string {
			return fmt.Sprintf("topics: %d", len(resp.(*wire.DescribeTransactionsResponse).TransactionStates[0].Topics))
		}},
		{key: wire.KeyListTransactions, version: 1, show: listed, also: []right{{"DESCRIBE", "TRANSACTIONAL_ID", "~x"}}, make: func(e *env) wire.Message {
			e.producer("x")
			return &wire.ListTransactionsRequest{DurationFilter: -1}
		}},
	}
}

func addition(e *env, id int64, epoch int16) wire.Message {
	return &wire.AddPartitionsToTxnRequest{
		V3AndBelowTransactionalID: e.n("x"), V3AndBelowProducerID: id, V3AndBelowProducerEpoch: epoch,
		V3AndBelowTopics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: e.n("t"), Partitions: []int32{0}}},
	}
}
