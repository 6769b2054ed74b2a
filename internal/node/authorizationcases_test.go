package node_test

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// authorizationCase is a request that somebody who may do everything has answered without an error.
type authorizationCase struct {
	key     int16
	version int16
	variant string
	// controller sends it by the controller's listener.
	controller bool
	// make has the super user set up what the request needs, and makes it.
	make func(e *env) wire.Message
	// show tells what else of the answer matters.
	show func(e *env, resp wire.Message) string
	// also are rights that are needed and not asked for by name.
	also []right
	// together are rights each of which is enough.
	together [][]right
	// effect says that part of what is wanted is done although a right is missing; once that the request cannot be answered twice.
	effect, once bool
}

// needsNoRight are the APIs that everybody may use, and why.
var needsNoRight = map[int16]string{
	wire.KeyApiVersions:               "clients ask it before they authenticate",
	wire.KeySaslHandshake:             "part of authentication",
	wire.KeySaslAuthenticate:          "part of authentication",
	wire.KeyGetTelemetrySubscriptions: "every client may push what it is asked for",
	wire.KeyPushTelemetry:             "every client may push what it is asked for",
	wire.KeyRenewDelegationToken:      "the token's secret is the right; the principal must be its owner or a renewer",
	wire.KeyExpireDelegationToken:     "the token's secret is the right; the principal must be its owner or a renewer",
}

func authorizationCases() (all []authorizationCase) {
	for _, list := range [][]authorizationCase{dataCases(), topicCases(), groupCases(), shareCases(), transactionCases(), clusterCases(), tokenCases()} {
		all = append(all, list...)
	}
	return all
}

// of sets a request's defaults and then what f sets.
func of[T any, P interface {
	*T
	wire.Message
	SetDefaults()
}](f func(m P)) wire.Message {
	m := P(new(T))
	m.SetDefaults()
	f(m)
	return m
}

// topic makes a topic of one partition, and waits until it can be used.
func (e *env) topic(name string) wire.UUID {
	e.t.Helper()
	m := of(func(m *wire.CreateTopicsRequest) {
		t := wire.CreateTopicsRequestCreatableTopic{Name: e.n(name), NumPartitions: 1, ReplicationFactor: 1}
		m.Topics, m.TimeoutMs = append(m.Topics, t), 10_000
	})
	resp := &wire.CreateTopicsResponse{}
	e.admin(m, 7, resp)
	if code := resp.Topics[0].ErrorCode; code != wire.None {
		e.t.Fatal(name, code)
	}
	e.retry("leader of "+name, func() wire.Code {
		l := &wire.ListOffsetsResponse{}
		e.admin(listOffsets(e.n(name)), 7, l)
		return l.Topics[0].Partitions[0].ErrorCode
	})
	return resp.Topics[0].TopicID
}

func listOffsets(topic string) *wire.ListOffsetsRequest {
	return &wire.ListOffsetsRequest{ReplicaID: -1, Topics: []wire.ListOffsetsRequestListOffsetsTopic{{
		Name: topic, Partitions: []wire.ListOffsetsRequestListOffsetsPartition{{CurrentLeaderEpoch: -1, Timestamp: -1}},
	}}}
}

// coordinator waits for a coordinator: 0 of groups, 1 of transactions.
func (e *env) coordinator(kind int8, key string) {
	e.t.Helper()
	e.retry("coordinator", func() wire.Code {
		resp := &wire.FindCoordinatorResponse{}
		e.admin(&wire.FindCoordinatorRequest{KeyType: kind, CoordinatorKeys: []string{e.n(key)}}, 4, resp)
		return resp.Coordinators[0].ErrorCode
	})
	e.retry("loading", func() wire.Code {
		if kind == 1 {
			resp := &wire.DescribeTransactionsResponse{}
			e.admin(&wire.DescribeTransactionsRequest{TransactionalIDs: []string{e.n(key)}}, 0, resp)
			if code := resp.TransactionStates[0].ErrorCode; code != wire.TransactionalIDNotFound {
				return code
			}
			return wire.None
		}
		resp := &wire.DescribeGroupsResponse{}
		e.admin(&wire.DescribeGroupsRequest{Groups: []string{e.n(key)}}, 5, resp)
		return resp.Groups[0].ErrorCode
	})
}

func commit(group, topic string) *wire.OffsetCommitRequest {
	return of(func(m *wire.OffsetCommitRequest) {
		m.GroupID, m.GenerationIDOrMemberEpoch = group, -1
		m.Topics = []wire.OffsetCommitRequestTopic{{Name: topic, Partitions: []wire.OffsetCommitRequestPartition{{CommittedOffset: 0, CommittedLeaderEpoch: -1}}}}
	}).(*wire.OffsetCommitRequest)
}

// committed makes a group with an offset of a topic.
func (e *env) committed(group, topic string) {
	e.t.Helper()
	e.coordinator(0, group)
	e.retry("commit", func() wire.Code {
		resp := &wire.OffsetCommitResponse{}
		e.admin(commit(e.n(group), e.n(topic)), 8, resp)
		return resp.Topics[0].Partitions[0].ErrorCode
	})
}

// joined makes a group with one member, whose id it gives, in its first generation.
func (e *env) joined(group string) (member string, generation int32) {
	e.t.Helper()
	e.coordinator(0, group)
	resp := &wire.JoinGroupResponse{}
	e.retry("join", func() wire.Code {
		e.admin(joinRequest(e.n(group)), 3, resp)
		return resp.ErrorCode
	})
	sync := &wire.SyncGroupResponse{}
	e.admin(&wire.SyncGroupRequest{GroupID: e.n(group), GenerationID: resp.GenerationID, MemberID: resp.MemberID,
		Assignments: []wire.SyncGroupRequestAssignment{{MemberID: resp.MemberID, Assignment: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}}, 3, sync)
	if sync.ErrorCode != wire.None {
		e.t.Fatal(sync.ErrorCode)
	}
	return resp.MemberID, resp.GenerationID
}

func joinRequest(group string) *wire.JoinGroupRequest {
	return &wire.JoinGroupRequest{GroupID: group, SessionTimeoutMs: 30_000, RebalanceTimeoutMs: 30_000, ProtocolType: "consumer",
		Protocols: []wire.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}}
}

// producer makes a producer id; with a transactional id unless that is empty.
func (e *env) producer(id string) (int64, int16) {
	e.t.Helper()
	m := of(func(m *wire.InitProducerIdRequest) {
		m.TransactionalID, m.TransactionTimeoutMs, m.ProducerID, m.ProducerEpoch = nil, 60_000, -1, -1
	}).(*wire.InitProducerIdRequest)
	if id != "" {
		e.coordinator(1, id)
		m.TransactionalID = ptr(e.n(id))
	}
	resp := &wire.InitProducerIdResponse{}
	e.retry("producer id", func() wire.Code {
		e.admin(m, 4, resp)
		return resp.ErrorCode
	})
	return resp.ProducerID, resp.ProducerEpoch
}

// produced appends one record.
func (e *env) produced(topic string) {
	e.t.Helper()
	resp := &wire.ProduceResponse{}
	e.admin(produceRequest(-1, e.n(topic), 0, batch(noProducer, "hello")), 9, resp)
	if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != wire.None {
		e.t.Fatal(code)
	}
}

func metadataOf(e *env, names ...string) *wire.MetadataRequest {
	m := of(func(m *wire.MetadataRequest) {
		m.Topics, m.AllowAutoTopicCreation = []wire.MetadataRequestTopic{}, false
	}).(*wire.MetadataRequest)
	for _, name := range names {
		m.Topics = append(m.Topics, wire.MetadataRequestTopic{Name: ptr(e.n(name))})
	}
	return m
}

func fetchOf(topic string, id wire.UUID) *wire.FetchRequest {
	return of(func(m *wire.FetchRequest) {
		m.MaxBytes, m.SessionEpoch = 1<<20, -1
		p := wire.FetchRequestFetchPartition{}
		p.SetDefaults()
		p.PartitionMaxBytes = 1 << 20
		m.Topics = []wire.FetchRequestFetchTopic{{Topic: topic, TopicID: id, Partitions: []wire.FetchRequestFetchPartition{p}}}
	}).(*wire.FetchRequest)
}

// dataCases are the paths of records.
func dataCases() []authorizationCase {
	return []authorizationCase{
		{key: wire.KeyProduce, version: 9, make: func(e *env) wire.Message {
			e.topic("t")
			return produceRequest(-1, e.n("t"), 0, batch(noProducer, "hello"))
		}},
		{key: wire.KeyProduce, version: 13, variant: "by id", make: func(e *env) wire.Message {
			m := produceRequest(-1, "", 0, batch(noProducer, "hello"))
			m.TopicData[0].TopicID = e.topic("t")
			return m
		}},
		{key: wire.KeyProduce, version: 9, variant: "acks=0", once: true, make: func(e *env) wire.Message {
			e.topic("t")
			return produceRequest(0, e.n("t"), 0, batch(noProducer, "hello"))
		}},
		{key: wire.KeyProduce, version: 9, variant: "idempotent", make: func(e *env) wire.Message {
			e.topic("t")
			id, epoch := e.producer("")
			return produceRequest(-1, e.n("t"), 0, batch(producer{0, id, epoch, 0}, "hello"))
		}},
		{key: wire.KeyProduce, version: 12, variant: "transactional", make: func(e *env) wire.Message {
			e.topic("t")
			id, epoch := e.producer("x")
			m := produceRequest(-1, e.n("t"), 0, batch(producer{1 << 4, id, epoch, 0}, "hello"))
			m.TransactionalID = ptr(e.n("x"))
			return m
		}},
		{key: wire.KeyFetch, version: 12, make: func(e *env) wire.Message {
			e.topic("t")
			e.produced("t")
			return fetchOf(e.n("t"), wire.UUID{})
		}},
		{key: wire.KeyFetch, version: 16, variant: "by id", make: func(e *env) wire.Message { return fetchOf("", e.topic("t")) }},
		{key: wire.KeyFetch, version: 12, variant: "as a replica", make: func(e *env) wire.Message {
			m := fetchOf(e.n("t"), wire.UUID{})
			m.ReplicaID = 1
			e.topic("t")
			return m
		}, show: func(_ *env, resp wire.Message) string { // that there is no such replica is not looked at here
			r := resp.(*wire.FetchResponse).Responses
			refused := len(r) == 1 && r[0].Partitions[0].ErrorCode == wire.TopicAuthorizationFailed
			resp.(*wire.FetchResponse).Responses = nil
			return fmt.Sprintf("refused: %v", refused)
		}},
		{key: wire.KeyFetch, version: 17, variant: "on a controller", controller: true, make: func(e *env) wire.Message {
			return fetchOf("", wire.UUID{1, 2, 3})
		}, show: func(_ *env, resp wire.Message) string {
			m := resp.(*wire.FetchResponse)
			refused := m.ErrorCode == wire.ClusterAuthorizationFailed
			m.ErrorCode, m.Responses = wire.None, nil // what else there is to say of the log of metadata
			return fmt.Sprintf("refused: %v", refused)
		}},
		{key: wire.KeyFetch, version: 12, variant: "of a name that no topic has", make: func(e *env) wire.Message { return fetchOf(e.n("none"), wire.UUID{}) }},
		{key: wire.KeyFetch, version: 16, variant: "by an id that no topic has", make: func(*env) wire.Message { return fetchOf("", wire.UUID{1, 2, 3}) }},
		{key: wire.KeyListOffsets, version: 7, make: func(e *env) wire.Message { e.topic("t"); return listOffsets(e.n("t")) }},
		{key: wire.KeyOffsetForLeaderEpoch, version: 4, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.OffsetForLeaderEpochRequest{ReplicaID: -2, Topics: []wire.OffsetForLeaderEpochRequestOffsetForLeaderTopic{{
				Topic: e.n("t"), Partitions: []wire.OffsetForLeaderEpochRequestOffsetForLeaderPartition{{CurrentLeaderEpoch: -1}},
			}}}
		}},
		{key: wire.KeyDeleteRecords, version: 2, make: func(e *env) wire.Message {
			e.topic("t")
			e.produced("t")
			return &wire.DeleteRecordsRequest{TimeoutMs: 1000, Topics: []wire.DeleteRecordsRequestDeleteRecordsTopic{{
				Name: e.n("t"), Partitions: []wire.DeleteRecordsRequestDeleteRecordsPartition{{Offset: 1}},
			}}}
		}},
		{key: wire.KeyDescribeProducers, version: 0, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.DescribeProducersRequest{Topics: []wire.DescribeProducersRequestTopicRequest{{Name: e.n("t"), PartitionIndexes: []int32{0}}}}
		}},
	}
}

// topicNames tells whether an answer has our topic.
func topicNames(e *env, resp wire.Message) string {
	found := 0
	switch m := resp.(type) {
	case *wire.MetadataResponse:
		for i := range m.Topics {
			if m.Topics[i].Name != nil && *m.Topics[i].Name == e.n("t") {
				found++
			}
		}
		m.Topics = nil
	case *wire.DescribeTopicPartitionsResponse:
		for i := range m.Topics {
			if m.Topics[i].Name != nil && *m.Topics[i].Name == e.n("t") {
				found++
			}
		}
		m.Topics = nil
	}
	return fmt.Sprintf("the topic is there: %v", found == 1)
}

func describeTopics(e *env, names ...string) wire.Message {
	return of(func(m *wire.DescribeTopicPartitionsRequest) {
		m.ResponsePartitionLimit = 2000
		for _, name := range names {
			m.Topics = append(m.Topics, wire.DescribeTopicPartitionsRequestTopicRequest{Name: e.n(name)})
		}
	})
}

// topicCases are about topics and what they are.
func topicCases() []authorizationCase {
	creation := func(name string, configs ...wire.CreateTopicsRequestCreatableTopicConfig) wire.Message {
		return of(func(m *wire.CreateTopicsRequest) {
			m.TimeoutMs = 10_000
			m.Topics = []wire.CreateTopicsRequestCreatableTopic{{Name: name, NumPartitions: 1, ReplicationFactor: 1, Configs: configs}}
		})
	}
	return []authorizationCase{
		{key: wire.KeyMetadata, version: 12, make: func(e *env) wire.Message { e.topic("t"); return metadataOf(e, "t") }},
		{key: wire.KeyMetadata, version: 12, variant: "by id", make: func(e *env) wire.Message {
			m := metadataOf(e)
			m.Topics = []wire.MetadataRequestTopic{{TopicID: e.topic("t")}}
			return m
		}},
		{key: wire.KeyMetadata, version: 12, variant: "of a name that no topic has", make: func(e *env) wire.Message { return metadataOf(e, "none") }},
		{key: wire.KeyMetadata, version: 12, variant: "of an id that no topic has", make: func(e *env) wire.Message {
			m := metadataOf(e)
			m.Topics = []wire.MetadataRequestTopic{{TopicID: wire.UUID{1, 2, 3}}}
			return m
		}},
		{key: wire.KeyMetadata, version: 12, variant: "with operations", make: func(e *env) wire.Message {
			e.topic("t")
			m := metadataOf(e, "t")
			m.IncludeTopicAuthorizedOperations = true
			return m
		}},
		{key: wire.KeyMetadata, version: 10, variant: "with operations on the cluster", make: func(e *env) wire.Message {
			m := metadataOf(e)
			m.IncludeClusterAuthorizedOperations = true
			return m
		}},
		{key: wire.KeyMetadata, version: 12, variant: "of all topics", show: topicNames, make: func(e *env) wire.Message {
			e.topic("t")
			m := metadataOf(e)
			m.Topics = nil
			return m
		}},
		{key: wire.KeyMetadata, version: 12, variant: "that creates a topic", show: refusedTopic, once: true, make: func(e *env) wire.Message {
			m := metadataOf(e, "auto")
			m.AllowAutoTopicCreation = true
			return m
		}},
		{key: wire.KeyDescribeTopicPartitions, version: 0, variant: "of all topics", show: topicNames, make: func(e *env) wire.Message {
			e.topic("t")
			m := describeTopics(e).(*wire.DescribeTopicPartitionsRequest)
			m.Topics, m.Cursor = []wire.DescribeTopicPartitionsRequestTopicRequest{}, &wire.DescribeTopicPartitionsRequestCursor{TopicName: e.n("t")}
			return m
		}},
		{key: wire.KeyDescribeTopicPartitions, version: 0, make: func(e *env) wire.Message { e.topic("t"); return describeTopics(e, "t") }},
		{key: wire.KeyDescribeTopicPartitions, version: 0, variant: "of a name that no topic has", make: func(e *env) wire.Message { return describeTopics(e, "none") }},
		{key: wire.KeyCreateTopics, version: 7, effect: true, once: true, make: func(e *env) wire.Message { return creation(e.n("new")) }},
		{key: wire.KeyCreateTopics, version: 7, variant: "on a controller", controller: true, effect: true, once: true, make: func(e *env) wire.Message {
			return creation(e.n("new"))
		}},
		{key: wire.KeyCreateTopics, version: 7, variant: "two, one of which may not be", effect: true, once: true, make: func(e *env) wire.Message {
			m := creation(e.n("new")).(*wire.CreateTopicsRequest)
			m.Topics = append(m.Topics, wire.CreateTopicsRequestCreatableTopic{Name: e.n("other"), NumPartitions: 1, ReplicationFactor: 1})
			return m
		}},
		{key: wire.KeyDeleteTopics, version: 6, variant: "on a controller", controller: true, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{Name: ptr(e.n("t"))}}, TimeoutMs: 10_000}
		}},
		{key: wire.KeyDeleteTopics, version: 5, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.DeleteTopicsRequest{TopicNames: []string{e.n("t")}, TimeoutMs: 10_000}
		}},
		{key: wire.KeyDeleteTopics, version: 6, variant: "by id", show: deletedName, make: func(e *env) wire.Message {
			return &wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{TopicID: e.topic("t")}}, TimeoutMs: 10_000}
		}},
		{key: wire.KeyDeleteTopics, version: 6, variant: "of a name that no topic has", make: func(e *env) wire.Message {
			return &wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{Name: ptr(e.n("none"))}}, TimeoutMs: 10_000}
		}},
		{key: wire.KeyCreatePartitions, version: 3, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.CreatePartitionsRequest{TimeoutMs: 10_000, Topics: []wire.CreatePartitionsRequestCreatePartitionsTopic{{Name: e.n("t"), Count: 2}}}
		}},
		{key: wire.KeyDescribeConfigs, version: 4, make: func(e *env) wire.Message { e.topic("t"); return describeConfigs(2, e.n("t")) }},
		{key: wire.KeyDescribeConfigs, version: 4, variant: "of a broker", make: func(*env) wire.Message { return describeConfigs(4, "1") }},
		{key: wire.KeyDescribeConfigs, version: 4, variant: "of loggers", make: func(*env) wire.Message { return describeConfigs(8, "1") }},
		{key: wire.KeyDescribeConfigs, version: 4, variant: "of client metrics", make: func(e *env) wire.Message { return describeConfigs(16, e.n("m")) }},
		{key: wire.KeyDescribeConfigs, version: 4, variant: "of a group", make: func(e *env) wire.Message { return describeConfigs(32, e.n("g")) }},
		{key: wire.KeyAlterConfigs, version: 2, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.AlterConfigsRequest{Resources: []wire.AlterConfigsRequestAlterConfigsResource{{
				ResourceType: 2, ResourceName: e.n("t"), Configs: []wire.AlterConfigsRequestAlterableConfig{{Name: "retention.ms", Value: ptr("1000000")}},
			}}}
		}},
		{key: wire.KeyAlterConfigs, version: 2, variant: "of a broker", make: func(*env) wire.Message {
			return &wire.AlterConfigsRequest{Resources: []wire.AlterConfigsRequestAlterConfigsResource{{ResourceType: 4, ResourceName: "1"}}}
		}},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, make: func(e *env) wire.Message { e.topic("t"); return alterConfigs(2, e.n("t"), "retention.ms", "1000000") }},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of a broker", make: func(*env) wire.Message { return alterConfigs(4, "1", "log.cleaner.threads", "1") }},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of loggers", make: func(*env) wire.Message { return alterConfigs(8, "1", "root", "WARN") }},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of loggers on a controller", controller: true, make: func(*env) wire.Message {
			return alterConfigs(8, "1", "root", "WARN")
		}},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "on a controller", controller: true, make: func(e *env) wire.Message {
			e.topic("t")
			return alterConfigs(2, e.n("t"), "retention.ms", "1000000")
		}},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of two resources", effect: true, make: func(e *env) wire.Message {
			e.topic("t")
			m := alterConfigs(2, e.n("t"), "retention.ms", "1000000").(*wire.IncrementalAlterConfigsRequest)
			m.Resources = append(m.Resources, alterConfigs(32, e.n("g"), "consumer.session.timeout.ms", "50000").(*wire.IncrementalAlterConfigsRequest).Resources...)
			return m
		}},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of client metrics", make: func(e *env) wire.Message {
			return alterConfigs(16, e.n("m"), "interval.ms", "60000")
		}},
		{key: wire.KeyIncrementalAlterConfigs, version: 1, variant: "of a group", make: func(e *env) wire.Message {
			return alterConfigs(32, e.n("g"), "consumer.session.timeout.ms", "50000")
		}},
		{key: wire.KeyListConfigResources, version: 1, make: func(*env) wire.Message { return &wire.ListConfigResourcesRequest{} }},
		{key: wire.KeyElectLeaders, version: 2, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.ElectLeadersRequest{TimeoutMs: 1000, TopicPartitions: []wire.ElectLeadersRequestTopicPartitions{{Topic: e.n("t"), Partitions: []int32{0}}}}
		}},
		{key: wire.KeyAlterPartitionReassignments, version: 0, make: func(e *env) wire.Message {
			e.topic("t")
			return of(func(m *wire.AlterPartitionReassignmentsRequest) {
				m.Topics = []wire.AlterPartitionReassignmentsRequestReassignableTopic{{
					Name: e.n("t"), Partitions: []wire.AlterPartitionReassignmentsRequestReassignablePartition{{Replicas: []int32{1}}},
				}}
			})
		}},
		{key: wire.KeyListPartitionReassignments, version: 0, make: func(*env) wire.Message { return &wire.ListPartitionReassignmentsRequest{TimeoutMs: 1000} }},
		{key: wire.KeyDescribeLogDirs, version: 4, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.DescribeLogDirsRequest{Topics: []wire.DescribeLogDirsRequestDescribableLogDirTopic{{Topic: e.n("t"), Partitions: []int32{0}}}}
		}},
		{key: wire.KeyAlterReplicaLogDirs, version: 2, make: func(e *env) wire.Message {
			e.topic("t")
			return &wire.AlterReplicaLogDirsRequest{Dirs: []wire.AlterReplicaLogDirsRequestAlterReplicaLogDir{{
				Path: "/nowhere", Topics: []wire.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: e.n("t"), Partitions: []int32{0}}},
			}}}
		}},
	}
}

// refusedTopic tells whether the topic is refused; what else may be said of one that is being made differs.
func refusedTopic(_ *env, resp wire.Message) string {
	m := resp.(*wire.MetadataResponse)
	refused := len(m.Topics) != 1 || m.Topics[0].ErrorCode == wire.TopicAuthorizationFailed
	m.Topics = nil
	return fmt.Sprintf("refused: %v", refused)
}

// deletedName tells whether the answer names the topic that was given by its id.
func deletedName(_ *env, resp wire.Message) string {
	r := resp.(*wire.DeleteTopicsResponse).Responses
	return fmt.Sprintf("named: %v", len(r) == 1 && r[0].Name != nil)
}

func describeConfigs(kind int8, name string) wire.Message {
	return &wire.DescribeConfigsRequest{Resources: []wire.DescribeConfigsRequestDescribeConfigsResource{{ResourceType: kind, ResourceName: name}}}
}

func alterConfigs(kind int8, name, key, value string) wire.Message {
	return &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: kind, ResourceName: name, Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, Value: &value}},
	}}}
}

// clusterCases are about the cluster, its brokers and its quorum.
func clusterCases() []authorizationCase {
	features := func(*env) wire.Message {
		return of(func(m *wire.UpdateFeaturesRequest) {
			m.TimeoutMs, m.ValidateOnly = 1000, true
			m.FeatureUpdates = []wire.UpdateFeaturesRequestFeatureUpdateKey{{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}}
		})
	}
	quorum := func(*env) wire.Message {
		return &wire.DescribeQuorumRequest{Topics: []wire.DescribeQuorumRequestTopicData{{
			TopicName: "__cluster_metadata", Partitions: []wire.DescribeQuorumRequestPartitionData{{}},
		}}}
	}
	return []authorizationCase{
		{key: wire.KeyDescribeCluster, version: 1, make: func(*env) wire.Message {
			return &wire.DescribeClusterRequest{IncludeClusterAuthorizedOperations: true, EndpointType: 1}
		}},
		{key: wire.KeyDescribeCluster, version: 1, variant: "on a controller", controller: true, make: func(*env) wire.Message {
			return &wire.DescribeClusterRequest{EndpointType: 2}
		}},
		{key: wire.KeyDescribeQuorum, version: 2, make: quorum},
		{key: wire.KeyDescribeQuorum, version: 2, variant: "on a controller", controller: true, make: quorum},
		{key: wire.KeyUpdateFeatures, version: 2, make: features},
		{key: wire.KeyUnregisterBroker, version: 0, make: func(*env) wire.Message { return &wire.UnregisterBrokerRequest{BrokerID: 77} }},
		{key: wire.KeyDescribeClientQuotas, version: 1, make: func(*env) wire.Message {
			return &wire.DescribeClientQuotasRequest{Components: []wire.DescribeClientQuotasRequestComponentData{{EntityType: "user", MatchType: 2}}}
		}},
		{key: wire.KeyAlterClientQuotas, version: 1, make: func(e *env) wire.Message {
			return &wire.AlterClientQuotasRequest{Entries: []wire.AlterClientQuotasRequestEntryData{{
				Entity: []wire.AlterClientQuotasRequestEntityData{{EntityType: "user", EntityName: ptr(e.n("bob"))}},
				Ops:    []wire.AlterClientQuotasRequestOpData{{Key: "producer_byte_rate", Value: 1000}},
			}}}
		}},
		{key: wire.KeyDescribeUserScramCredentials, version: 0, make: func(*env) wire.Message {
			return &wire.DescribeUserScramCredentialsRequest{Users: []wire.DescribeUserScramCredentialsRequestUserName{{Name: "nobody"}}}
		}},
		{key: wire.KeyAlterUserScramCredentials, version: 0, make: func(e *env) wire.Message {
			return &wire.AlterUserScramCredentialsRequest{Upsertions: []wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{{
				Name: e.n("bob"), Mechanism: 1, Iterations: 4096, Salt: []byte("saltsalt"), SaltedPassword: make([]byte, 32),
			}}}
		}},
		{key: wire.KeyAddRaftVoter, version: 0, make: func(*env) wire.Message {
			return &wire.AddRaftVoterRequest{ClusterID: ptr("another"), TimeoutMs: 1000, VoterID: 7, VoterDirectoryID: wire.UUID{1}}
		}},
		{key: wire.KeyRemoveRaftVoter, version: 0, make: func(*env) wire.Message {
			return &wire.RemoveRaftVoterRequest{ClusterID: ptr("another"), VoterID: 7, VoterDirectoryID: wire.UUID{1}}
		}},
		{key: wire.KeyUpdateRaftVoter, version: 0, controller: true, make: func(*env) wire.Message {
			return of(func(m *wire.UpdateRaftVoterRequest) { m.ClusterID, m.VoterID = ptr("another"), 7 })
		}},
		{key: wire.KeyAssignReplicasToDirs, version: 0, controller: true, make: func(*env) wire.Message {
			return &wire.AssignReplicasToDirsRequest{BrokerID: 77, BrokerEpoch: 1}
		}},
		{key: wire.KeyCreateAcls, version: 3, make: func(e *env) wire.Message {
			return &wire.CreateAclsRequest{Creations: []wire.CreateAclsRequestAclCreation{{
				ResourceType: 2, ResourceName: e.n("t"), ResourcePatternType: 3, Principal: "User:bob", Host: "*", Operation: 3, PermissionType: 3,
			}}}
		}},
		{key: wire.KeyDescribeAcls, version: 3, variant: "on a controller", controller: true, make: func(*env) wire.Message {
			return &wire.DescribeAclsRequest{ResourceTypeFilter: 1, PatternTypeFilter: 1, Operation: 1, PermissionType: 1}
		}},
		{key: wire.KeyDescribeAcls, version: 3, make: func(*env) wire.Message {
			return &wire.DescribeAclsRequest{ResourceTypeFilter: 1, PatternTypeFilter: 1, Operation: 1, PermissionType: 1}
		}},
		{key: wire.KeyDeleteAcls, version: 3, show: noMatches, make: func(*env) wire.Message {
			return &wire.DeleteAclsRequest{Filters: []wire.DeleteAclsRequestDeleteAclsFilter{{
				ResourceTypeFilter: 1, PatternTypeFilter: 1, PrincipalFilter: ptr("User:nobody"), Operation: 1, PermissionType: 1,
			}}}
		}},
	}
}

func noMatches(_ *env, resp wire.Message) string {
	m := resp.(*wire.DeleteAclsResponse)
	for i := range m.FilterResults {
		m.FilterResults[i].MatchingAcls = nil
	}
	return ""
}

// tokenCases are about delegation tokens.
func tokenCases() []authorizationCase {
	return []authorizationCase{
		{key: wire.KeyCreateDelegationToken, version: 3, variant: "for another", make: func(e *env) wire.Message {
			return &wire.CreateDelegationTokenRequest{OwnerPrincipalType: ptr("User"), OwnerPrincipalName: ptr(e.n("bob")), MaxLifetimeMs: -1}
		}},
		{key: wire.KeyCreateDelegationToken, version: 3, variant: "for oneself", make: func(*env) wire.Message {
			return &wire.CreateDelegationTokenRequest{MaxLifetimeMs: -1}
		}},
		{key: wire.KeyDescribeDelegationToken, version: 3, variant: "of another", show: func(_ *env, resp wire.Message) string {
			return fmt.Sprintf("tokens: %d", len(resp.(*wire.DescribeDelegationTokenResponse).Tokens))
		}, together: [][]right{{{"DESCRIBE_TOKENS", "USER", "User:~bob"}, {"DESCRIBE", "DELEGATION_TOKEN", "*"}}}, make: func(e *env) wire.Message {
			resp := &wire.CreateDelegationTokenResponse{}
			e.admin(&wire.CreateDelegationTokenRequest{OwnerPrincipalType: ptr("User"), OwnerPrincipalName: ptr(e.n("bob")), MaxLifetimeMs: -1}, 3, resp)
			if resp.ErrorCode != wire.None {
				e.t.Fatal(resp.ErrorCode)
			}
			m := &wire.DescribeDelegationTokenRequest{Owners: []wire.DescribeDelegationTokenRequestDescribeDelegationTokenOwner{{PrincipalType: "User", PrincipalName: e.n("bob")}}}
			e.retry("token", func() wire.Code {
				resp := &wire.DescribeDelegationTokenResponse{}
				if e.admin(m, 3, resp); len(resp.Tokens) == 0 {
					return wire.DelegationTokenNotFound
				}
				return resp.ErrorCode
			})
			return m
		}},
	}
}
