package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

func streamsBeat(member string, epoch int32, changelog string) *wire.StreamsGroupHeartbeatRequest {
	m := &wire.StreamsGroupHeartbeatRequest{}
	m.SetDefaults()
	m.GroupID, m.MemberID, m.MemberEpoch = "s", member, epoch
	if epoch != 0 {
		return m
	}
	m.RebalanceTimeoutMs, m.ProcessID = 60_000, &member
	m.ActiveTasks, m.StandbyTasks, m.WarmupTasks = []wire.StreamsGroupHeartbeatRequestTaskIds{}, []wire.StreamsGroupHeartbeatRequestTaskIds{}, []wire.StreamsGroupHeartbeatRequestTaskIds{}
	m.Topology = &wire.StreamsGroupHeartbeatRequestTopology{
		Subtopologies: []wire.StreamsGroupHeartbeatRequestSubtopology{{
			SubtopologyID: "0", SourceTopics: []string{"in"}, StateChangelogTopics: []wire.StreamsGroupHeartbeatRequestTopicInfo{{
				Name: changelog, ReplicationFactor: 1,
				TopicConfigs: []wire.StreamsGroupHeartbeatRequestKeyValue{{Key: "cleanup.policy", Value: "compact"}},
			}},
		}},
	}
	return m
}

func newStreamsRig(t *testing.T) *rig {
	r := newRig(t, "group.streams.initial.rebalance.delay.ms", "0", "group.streams.assignment.interval.ms", "0")
	r.create("in", 3)
	r.call(&wire.FindCoordinatorRequest{CoordinatorKeys: []string{"s"}}, 4, &wire.FindCoordinatorResponse{})
	r.until("the coordinator", time.Minute, func() bool {
		resp := &wire.StreamsGroupHeartbeatResponse{}
		r.call(streamsBeat("x", 5, ""), 0, resp)
		return resp.ErrorCode == wire.GroupIDNotFound
	})
	return r
}

// The internal topics of a topology are created with what the application says of them, and then there are tasks.
func TestStreamsInternalTopics(t *testing.T) {
	r := newStreamsRig(t)
	resp := &wire.StreamsGroupHeartbeatResponse{}
	r.call(streamsBeat("m", 0, "store"), 0, resp)
	if resp.ErrorCode != wire.None || len(resp.Status) != 1 || resp.Status[0].StatusCode != 3 {
		t.Fatalf("%+v", resp)
	}
	r.until("tasks", time.Minute, func() bool {
		next := &wire.StreamsGroupHeartbeatResponse{}
		r.call(streamsBeat("m", resp.MemberEpoch, ""), 0, next)
		resp = next
		return len(resp.ActiveTasks) == 1 && len(resp.ActiveTasks[0].Partitions) == 3
	})
	config := &wire.DescribeConfigsResponse{}
	r.call(&wire.DescribeConfigsRequest{Resources: []wire.DescribeConfigsRequestDescribeConfigsResource{
		{ResourceType: 2, ResourceName: "store", ConfigurationKeys: []string{"cleanup.policy"}},
	}}, 4, config)
	if v := config.Results[0].Configs[0].Value; v == nil || *v != "compact" {
		t.Fatalf("%+v", config)
	}
	describe := &wire.StreamsGroupDescribeResponse{}
	r.call(&wire.StreamsGroupDescribeRequest{GroupIDs: []string{"s"}, IncludeAuthorizedOperations: true}, 0, describe)
	if g := describe.Groups[0]; g.GroupState != "Stable" || g.AuthorizedOperations == -2147483648 {
		t.Fatalf("%+v", g)
	}
}

// An internal topic that cannot be created is told of.
func TestStreamsInternalTopicFails(t *testing.T) {
	r := newStreamsRig(t)
	m := streamsBeat("m", 0, "store")
	m.Topology.Subtopologies[0].StateChangelogTopics[0].TopicConfigs[0].Value = "nonsense"
	resp := &wire.StreamsGroupHeartbeatResponse{}
	r.call(m, 0, resp)
	r.until("the reason", time.Minute, func() bool {
		next := &wire.StreamsGroupHeartbeatResponse{}
		r.call(streamsBeat("m", resp.MemberEpoch, ""), 0, next)
		resp = next
		return len(resp.Status) == 1 && strings.Contains(resp.Status[0].StatusDetail, "; Creation failed: store (")
	})
}

func TestStreamsTopicNames(t *testing.T) {
	r := newStreamsRig(t)
	for name, want := range map[string]string{
		"__consumer_offsets": "Use of Kafka internal topics __consumer_offsets in a Kafka Streams topology is prohibited.",
		"a/b":                "Topic names a/b are not valid topic names.",
	} {
		resp := &wire.StreamsGroupHeartbeatResponse{}
		r.call(streamsBeat("m", 0, name), 0, resp)
		if resp.ErrorCode != wire.StreamsInvalidTopology || resp.ErrorMessage == nil || *resp.ErrorMessage != want {
			t.Errorf("%s: %+v", name, resp)
		}
	}
}
