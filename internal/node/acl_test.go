package node_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/node"
	"github.com/moldau/moldau/internal/node/broker"
)

// TestRulesCountOnceTheyAreAnswered: who made or took back a rule need not wait.
func TestRulesCountOnceTheyAreAnswered(t *testing.T) {
	o := newOurs(t)
	e := &env{t: t, s: o, prefix: "a-"}
	e.topic("t")
	look := func() wire.Code {
		t.Helper()
		resp := &wire.ListOffsetsResponse{}
		if err := o.call("alice", "BROKER", listOffsets("a-t"), 7, resp); err != nil {
			t.Fatal(err)
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	if code := look(); code != wire.TopicAuthorizationFailed {
		t.Error("without a rule:", code)
	}
	made := &wire.CreateAclsResponse{}
	e.admin(&wire.CreateAclsRequest{Creations: []wire.CreateAclsRequestAclCreation{{
		ResourceType: 2, ResourceName: "a-", ResourcePatternType: 4, Principal: "User:alice", Host: "*", Operation: 3, PermissionType: 3,
	}}}, 3, made)
	if code := made.Results[0].ErrorCode; code != wire.None {
		t.Fatal(code)
	}
	if code := look(); code != wire.None {
		t.Error("with a right to READ, which is one to DESCRIBE:", code)
	}
	gone := &wire.DeleteAclsResponse{}
	e.admin(&wire.DeleteAclsRequest{Filters: []wire.DeleteAclsRequestDeleteAclsFilter{{
		ResourceTypeFilter: 1, PatternTypeFilter: 1, PrincipalFilter: ptr("User:alice"), Operation: 1, PermissionType: 1,
	}}}, 3, gone)
	if n := len(gone.FilterResults[0].MatchingAcls); n != 1 {
		t.Fatalf("%d rules are gone", n)
	}
	if code := look(); code != wire.TopicAuthorizationFailed {
		t.Error("after it is gone:", code)
	}
}

// TestARegularExpressionFindsOnlyWhatMayBeDescribed: a group is no way to topics that its member may not know of.
func TestARegularExpressionFindsOnlyWhatMayBeDescribed(t *testing.T) {
	o := newOurs(t)
	e := &env{t: t, s: o, prefix: "x-"}
	seen, hidden := e.topic("seen"), e.topic("hidden")
	e.coordinator(0, "g")
	o.deny([]right{{"DESCRIBE", "TOPIC", "x-hidden"}})
	m := of(func(m *wire.ConsumerGroupHeartbeatRequest) {
		m.GroupID, m.MemberID, m.RebalanceTimeoutMs, m.SubscribedTopicRegex = "x-g", member, 60_000, ptr("x-.*")
		m.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
	})
	var got []wire.UUID
	e.retry("assignment", func() wire.Code {
		resp := &wire.ConsumerGroupHeartbeatResponse{}
		if err := o.call("alice", "BROKER", m, 1, resp); err != nil || resp.ErrorCode != wire.None {
			t.Fatal(err, resp.ErrorCode)
		}
		if resp.Assignment == nil || len(resp.Assignment.TopicPartitions) == 0 {
			m = of(func(h *wire.ConsumerGroupHeartbeatRequest) {
				h.GroupID, h.MemberID, h.MemberEpoch = "x-g", member, resp.MemberEpoch
			})
			return wire.RebalanceInProgress
		}
		for _, p := range resp.Assignment.TopicPartitions {
			got = append(got, p.TopicID)
		}
		return wire.None
	})
	if len(got) != 1 || got[0] != seen {
		t.Errorf("assigned are %v, want %v and not %v", got, seen, hidden)
	}
}

// TestRepetitionsAreNoWayAroundRights: what stands twice in a request is refused, also when one of the two cannot be used anyway.
func TestRepetitionsAreNoWayAroundRights(t *testing.T) {
	o := newOurs(t)
	o.deny([]right{{"ALTER_CONFIGS", "CLUSTER", acl.ClusterName}})
	set := func(key, value string) wire.IncrementalAlterConfigsRequestAlterConfigsResource {
		return wire.IncrementalAlterConfigsRequestAlterConfigsResource{
			ResourceType: int8(metadata.BrokerResource), ResourceName: "1",
			Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, Value: &value}},
		}
	}
	m := &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{
		set("listener.name.broker.plain.sasl.jaas.config", "nonsense"), set("log.cleaner.threads", "2"),
	}}
	resp := &wire.IncrementalAlterConfigsResponse{}
	if err := o.call("alice", "BROKER", m, 1, resp); err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.Responses {
		if r.ErrorCode != wire.InvalidRequest {
			t.Errorf("%s: %s", r.ResourceName, r.ErrorCode)
		}
	}
	if len(resp.Responses) != 2 {
		t.Errorf("%d answers", len(resp.Responses))
	}
}

// TestATopicThatIsJustMadeIsNotDeletedWithoutTheRight: what there is counts when the controller decides, not when it is asked.
func TestATopicThatIsJustMadeIsNotDeletedWithoutTheRight(t *testing.T) {
	o := newOurs(t)
	e := &env{t: t, s: o}
	e.topic("first") // and who makes it has logged in
	o.deny([]right{{"DELETE", "CLUSTER", acl.ClusterName}, {"DELETE", "TOPIC", "t"}})
	if err := o.call("alice", "BROKER", listOffsets("first"), 7, &wire.ListOffsetsResponse{}); err != nil {
		t.Fatal(err)
	}
	made, gone := &wire.CreateTopicsResponse{}, &wire.DeleteTopicsResponse{}
	o.rig.conn = o.conns["admin@BROKER"]
	create := o.send(&wire.CreateTopicsRequest{TimeoutMs: 1000, Topics: []wire.CreateTopicsRequestCreatableTopic{{Name: "t", NumPartitions: 1, ReplicationFactor: 1}}}, 7, made)
	o.rig.conn = o.conns["alice@BROKER"]
	remove := o.send(&wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{Name: ptr("t")}}}, 6, gone)
	o.until("both", time.Minute, func() bool { return create.answered && remove.answered })
	if create.err != nil || remove.err != nil || made.Topics[0].ErrorCode != wire.None {
		t.Fatal(create.err, remove.err, made.Topics)
	}
	if code := gone.Responses[0].ErrorCode; code != wire.UnknownTopicOrPartition {
		t.Error("deleted:", code)
	}
}

// TestNoInternalTopicIsMadeOfARequestThatIsRefused: versions that know no coordinators of share groups' states make no topic for them.
func TestNoInternalTopicIsMadeOfARequestThatIsRefused(t *testing.T) {
	o := newOurs(t)
	o.deny([]right{{"CLUSTER_ACTION", "CLUSTER", acl.ClusterName}})
	for version := int16(1); version < 6; version++ {
		m := &wire.FindCoordinatorRequest{KeyType: 2, Key: "k", CoordinatorKeys: []string{"k"}}
		if err := o.call("alice", "BROKER", m, version, &wire.FindCoordinatorResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	all := &wire.MetadataResponse{}
	if err := o.call("admin", "BROKER", of(func(m *wire.MetadataRequest) { m.Topics = nil }), 12, all); err != nil {
		t.Fatal(err)
	}
	if len(all.Topics) > 0 {
		t.Error("there is", *all.Topics[0].Name)
	}
}

// TestLearning: a node without rules remembers what a principal did, as the narrowest rights that it would have needed.
func TestLearning(t *testing.T) {
	r := newRig(t, "moldau.acl.learn", "true")
	r.create("learned", 1)
	r.produce("learned", 0)
	resp := &wire.MetadataResponse{}
	r.call(of(func(m *wire.MetadataRequest) { m.Topics = nil }), 12, resp)
	r.call(&wire.WriteTxnMarkersRequest{}, 1, &wire.WriteTxnMarkersResponse{})
	want := []broker.UsageEntry{
		{Operation: "CLUSTER_ACTION", ResourceType: "CLUSTER", Name: acl.ClusterName, Allowed: true, Count: 1},
		{Operation: "CREATE", ResourceType: "TOPIC", Name: "learned", Allowed: true, Count: 1},
		{Operation: "WRITE", ResourceType: "TOPIC", Name: "learned", Allowed: true, Count: 1},
	}
	got := r.node.Usage("User:ANONYMOUS")
	if !slices.Equal(got, want) {
		t.Errorf("it learnt %+v, want %+v", got, want)
	}
}

// TestAuthorizersThatThereAreNot keep a node from starting: it would let everybody do everything.
func TestAuthorizersThatThereAreNot(t *testing.T) {
	cfg, err := config.NewBroker(config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/data", "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
		"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093", "authorizer.class.name": "com.example.Lenient",
	})
	if err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	_, err = node.Begin(node.Options{Config: cfg, FS: disk.Mount(), World: clock.NewHand(1), Logger: slog.New(slog.DiscardHandler), NoListeners: true}, func(error) {})
	if err == nil || !strings.Contains(err.Error(), "com.example.Lenient") || !strings.Contains(err.Error(), "StandardAuthorizer") {
		t.Error(err)
	}
}
