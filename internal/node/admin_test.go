package node_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

func ptr(s string) *string { return &s }

func TestDirectoriesOfReplicas(t *testing.T) {
	r := newRig(t, "log.dirs", "/data,/more")
	r.create("t", 4)
	where := func() (got [4]string) {
		topic, _ := r.node.Image().Topic("t")
		for i, p := range topic.Partitions {
			for _, dir := range []string{"/data", "/more"} {
				if p.Directory(1) == r.node.DirectoryID(dir) {
					got[i] = dir
				}
			}
		}
		return got
	}
	holds := func() (got [4]string) {
		resp := &wire.DescribeLogDirsResponse{}
		r.call(&wire.DescribeLogDirsRequest{}, 4, resp)
		for _, dir := range resp.Results {
			for _, topic := range dir.Topics {
				for _, p := range topic.Partitions {
					got[p.PartitionIndex] += dir.LogDir
				}
			}
		}
		return got
	}
	r.until("the controller knows the directories", time.Minute, func() bool { return where() == holds() })
	from := holds()[0]
	to := map[string]string{"/data": "/more", "/more": "/data"}[from]
	resp := &wire.AlterReplicaLogDirsResponse{}
	r.call(&wire.AlterReplicaLogDirsRequest{Dirs: []wire.AlterReplicaLogDirsRequestAlterReplicaLogDir{{
		Path: to, Topics: []wire.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: "t", Partitions: []int32{0}}},
	}}}, 2, resp)
	r.until("the controller knows of the move", time.Minute, func() bool { return where()[0] == to && holds() == where() })
}

func describeQuotas(r *rig, strict bool, parts ...wire.DescribeClientQuotasRequestComponentData) string {
	resp := &wire.DescribeClientQuotasResponse{}
	r.call(&wire.DescribeClientQuotasRequest{Components: parts, Strict: strict}, 1, resp)
	if resp.ErrorCode != wire.None {
		return resp.ErrorCode.String() + " " + *resp.ErrorMessage
	}
	var out []string
	for _, e := range resp.Entries {
		var s []string
		for _, part := range e.Entity {
			name := "default"
			if part.EntityName != nil {
				name = *part.EntityName
			}
			s = append(s, part.EntityType+":"+name)
		}
		for _, v := range e.Values {
			s = append(s, fmt.Sprintf("%s=%g", v.Key, v.Value))
		}
		out = append(out, strings.Join(s, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func TestDescribeClientQuotas(t *testing.T) {
	r := newRig(t)
	user := func(name *string) wire.AlterClientQuotasRequestEntityData {
		return wire.AlterClientQuotasRequestEntityData{EntityType: "user", EntityName: name}
	}
	op := func(key string, v float64) []wire.AlterClientQuotasRequestOpData {
		return []wire.AlterClientQuotasRequestOpData{{Key: key, Value: v}}
	}
	set := &wire.AlterClientQuotasResponse{}
	r.call(&wire.AlterClientQuotasRequest{Entries: []wire.AlterClientQuotasRequestEntryData{
		{Entity: []wire.AlterClientQuotasRequestEntityData{user(ptr("u"))}, Ops: op("producer_byte_rate", 1)},
		{Entity: []wire.AlterClientQuotasRequestEntityData{user(nil)}, Ops: op("request_percentage", 2.5)},
		{Entity: []wire.AlterClientQuotasRequestEntityData{user(ptr("u")), {EntityType: "client-id"}}, Ops: op("consumer_byte_rate", 3)},
		{Entity: []wire.AlterClientQuotasRequestEntityData{{EntityType: "ip", EntityName: ptr("10.0.0.1")}}, Ops: op("connection_creation_rate", 4)},
	}}, 1, set)
	part := func(kind string, match int8, name *string) wire.DescribeClientQuotasRequestComponentData {
		return wire.DescribeClientQuotasRequestComponentData{EntityType: kind, MatchType: match, Match: name}
	}
	const u, def, both, ip = "user:u producer_byte_rate=1", "user:default request_percentage=2.5",
		"user:u client-id:default consumer_byte_rate=3", "ip:10.0.0.1 connection_creation_rate=4"
	for _, c := range []struct {
		strict bool
		parts  []wire.DescribeClientQuotasRequestComponentData
		want   string
	}{
		{false, nil, strings.Join([]string{ip, def, both, u}, "; ")},
		{true, nil, ""},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 0, ptr("u"))}, both + "; " + u},
		{true, []wire.DescribeClientQuotasRequestComponentData{part("user", 0, ptr("u"))}, u},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 1, nil)}, def},
		{true, []wire.DescribeClientQuotasRequestComponentData{part("user", 2, nil)}, def + "; " + u},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("client-id", 1, nil), part("user", 2, nil)}, both},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("ip", 0, ptr("10.0.0.1"))}, ip},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("ip", 0, ptr("10.0.0.2"))}, ""},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("", 0, ptr("x"))}, "INVALID_REQUEST Invalid empty entity type."},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("x", 0, ptr("x"))}, "UNSUPPORTED_VERSION Unsupported entity type x"},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 0, nil)}, "INVALID_REQUEST Request specified MATCH_TYPE_EXACT, but set match string to null."},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 7, nil)}, "INVALID_REQUEST Unknown match type 7"},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 2, nil), part("user", 2, nil)}, "INVALID_REQUEST Entity type user cannot appear more than once in the filter."},
		{false, []wire.DescribeClientQuotasRequestComponentData{part("user", 2, nil), part("ip", 2, nil)}, "INVALID_REQUEST Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."},
	} {
		if got := describeQuotas(r, c.strict, c.parts...); got != c.want {
			t.Errorf("%+v strict %v: %q, want %q", c.parts, c.strict, got, c.want)
		}
	}
}

func TestDescribeCredentials(t *testing.T) {
	r := newRig(t)
	r.call(&wire.AlterUserScramCredentialsRequest{Upsertions: []wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{
		{Name: "a", Mechanism: 1, Iterations: 4096, Salt: []byte{1}, SaltedPassword: []byte{2}},
		{Name: "b", Mechanism: 2, Iterations: 8192, Salt: []byte{1}, SaltedPassword: []byte{2}},
	}}, 0, &wire.AlterUserScramCredentialsResponse{})
	describe := func(users ...string) (out []string) {
		m := &wire.DescribeUserScramCredentialsRequest{}
		for _, u := range users {
			m.Users = append(m.Users, wire.DescribeUserScramCredentialsRequestUserName{Name: u})
		}
		resp := &wire.DescribeUserScramCredentialsResponse{}
		r.call(m, 0, resp)
		for _, u := range resp.Results {
			out = append(out, fmt.Sprintf("%s %s %v", u.User, u.ErrorCode.String(), u.CredentialInfos))
		}
		return out
	}
	if got := describe(); !slices.Equal(got, []string{"a NONE [{1 4096}]", "b NONE [{2 8192}]"}) {
		t.Errorf("%q", got)
	}
	if got := describe("b", "c", "a", "a"); !slices.Equal(got, []string{"b NONE [{2 8192}]", "c RESOURCE_NOT_FOUND []", "a DUPLICATE_RESOURCE []"}) {
		t.Errorf("%q", got)
	}
}

func TestDescribeQuorum(t *testing.T) {
	r := newRig(t)
	ask := func(topic string, partition int32) *wire.DescribeQuorumResponse {
		resp := &wire.DescribeQuorumResponse{}
		r.call(&wire.DescribeQuorumRequest{Topics: []wire.DescribeQuorumRequestTopicData{{
			TopicName: topic, Partitions: []wire.DescribeQuorumRequestPartitionData{{PartitionIndex: partition}},
		}}}, 2, resp)
		return resp
	}
	got := ask("__cluster_metadata", 0)
	p := got.Topics[0].Partitions[0]
	if p.ErrorCode != wire.None || p.LeaderID != 1 || len(p.CurrentVoters) != 1 || len(p.Observers) != 0 || p.HighWatermark <= 0 {
		t.Fatalf("%+v", got)
	}
	self := p.CurrentVoters[0]
	if self.ReplicaID != 1 || self.ReplicaDirectoryID != r.node.DirectoryID("/data") || self.LogEndOffset != p.HighWatermark ||
		self.LastCaughtUpTimestamp != r.hand.Now().UnixMilli() || len(got.Nodes) != 1 || got.Nodes[0].Listeners[0].Name != "CONTROLLER" {
		t.Errorf("%+v", got)
	}
	if p := ask("other", 0).Topics[0].Partitions[0]; p.ErrorCode != wire.UnknownTopicOrPartition {
		t.Errorf("%+v", p)
	}
}

func TestVotersStay(t *testing.T) {
	r := newRig(t)
	add := func(m *wire.AddRaftVoterRequest) wire.Code {
		resp := &wire.AddRaftVoterResponse{}
		r.call(m, 1, resp)
		return resp.ErrorCode
	}
	listeners := []wire.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "h", Port: 1}}
	id := wire.UUID{1}
	for _, c := range []struct {
		m    wire.AddRaftVoterRequest
		want wire.Code
	}{
		{wire.AddRaftVoterRequest{ClusterID: ptr("wrong"), VoterID: 2, VoterDirectoryID: id, Listeners: listeners}, wire.InconsistentClusterID},
		{wire.AddRaftVoterRequest{VoterID: 2, Listeners: listeners}, wire.InvalidRequest},
		{wire.AddRaftVoterRequest{VoterID: 2, VoterDirectoryID: id}, wire.InvalidRequest},
		{wire.AddRaftVoterRequest{VoterID: 1, VoterDirectoryID: id, Listeners: listeners}, wire.DuplicateVoter},
		{wire.AddRaftVoterRequest{VoterID: 2, VoterDirectoryID: id, Listeners: listeners}, wire.UnsupportedVersion},
	} {
		if got := add(&c.m); got != c.want {
			t.Errorf("%+v: %v, want %v", c.m, got, c.want)
		}
	}
	gone := &wire.RemoveRaftVoterResponse{}
	r.call(&wire.RemoveRaftVoterRequest{VoterID: 1, VoterDirectoryID: r.node.DirectoryID("/data")}, 0, gone)
	if gone.ErrorCode != wire.VoterNotFound {
		t.Errorf("removing the only voter: %v", gone.ErrorCode)
	}
	r.conn = edge.NewDirect(r.node.Handler(), "CONTROLLER")
	updated := &wire.UpdateRaftVoterResponse{}
	m := &wire.UpdateRaftVoterRequest{CurrentLeaderEpoch: 1, VoterID: 1, VoterDirectoryID: r.node.DirectoryID("/data")}
	m.Listeners = []wire.UpdateRaftVoterRequestListener{{Name: "CONTROLLER", Host: "localhost", Port: 9093}}
	r.call(m, 0, updated)
	if updated.ErrorCode != wire.None || updated.CurrentLeader.LeaderID != 1 {
		t.Errorf("%+v", updated)
	}
	m.CurrentLeaderEpoch = 0
	r.call(m, 0, updated)
	if updated.ErrorCode != wire.FencedLeaderEpoch {
		t.Errorf("%+v", updated)
	}
}

// alter changes one setting of one resource.
func alter(r *rig, kind int8, name, key string, value *string, validateOnly bool) wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse {
	r.t.Helper()
	resp := &wire.IncrementalAlterConfigsResponse{}
	r.call(&wire.IncrementalAlterConfigsRequest{ValidateOnly: validateOnly, Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: kind, ResourceName: name, Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, Value: value}},
	}}}, 1, resp)
	return resp.Responses[0]
}

func TestLogLevel(t *testing.T) {
	r := newRig(t)
	level := func() string {
		resp := &wire.DescribeConfigsResponse{}
		r.call(&wire.DescribeConfigsRequest{Resources: []wire.DescribeConfigsRequestDescribeConfigsResource{
			{ResourceType: metadata.BrokerLoggerResource, ResourceName: "1"},
		}}, 4, resp)
		return *resp.Results[0].Configs[0].Value
	}
	for _, c := range []struct {
		name, key, value string
		validateOnly     bool
		want             wire.Code
		after            string
	}{
		{"1", "root", "WARN", false, wire.None, "WARN"},
		{"1", "root", "DEBUG", true, wire.None, "WARN"},
		{"1", "root", "LOUD", false, wire.InvalidConfig, "WARN"},
		{"1", "other", "DEBUG", false, wire.InvalidConfig, "WARN"},
		{"2", "root", "DEBUG", false, wire.InvalidRequest, "WARN"},
		{"", "root", "DEBUG", false, wire.InvalidRequest, "WARN"},
		{"1", "root", "TRACE", false, wire.None, "TRACE"},
		{"1", "root", "FATAL", false, wire.None, "FATAL"},
	} {
		if got := alter(r, metadata.BrokerLoggerResource, c.name, c.key, &c.value, c.validateOnly); got.ErrorCode != c.want {
			t.Errorf("%+v: %v", c, got.ErrorCode)
		}
		if got := level(); got != c.after {
			t.Errorf("%+v: the level is %s", c, got)
		}
	}
	if r.node.Level() <= slog.LevelError {
		t.Errorf("the log's level is %v", r.node.Level())
	}
}

func TestDynamicSettingsTakeEffect(t *testing.T) {
	r := newRig(t)
	r.create("t", 1)
	if got := alter(r, metadata.BrokerResource, "", "message.max.bytes", ptr("60"), false); got.ErrorCode != wire.None {
		t.Fatal(*got.ErrorMessage)
	}
	resp := &wire.ProduceResponse{}
	r.call(produceRequest(-1, "t", 0, batch(noProducer, "hello")), 9, resp)
	if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != wire.MessageTooLarge {
		t.Errorf("a batch above the new limit: %v", code)
	}
	if got := alter(r, metadata.BrokerResource, "", "message.max.bytes", ptr("1000"), false); got.ErrorCode != wire.None {
		t.Fatal(*got.ErrorMessage)
	}
	r.produce("t", 0)
	for key, want := range map[string]wire.Code{
		"node.id": wire.InvalidRequest, "log.dirs": wire.InvalidRequest, "num.io.threads": wire.None, "max.connections.per.ip": wire.None,
	} {
		if got := alter(r, metadata.BrokerResource, "1", key, ptr("7"), true); got.ErrorCode != want {
			t.Errorf("%s: %v", key, got.ErrorCode)
		}
	}
}

func TestTelemetry(t *testing.T) {
	r := newRig(t)
	if got := alter(r, metadata.ClientMetricsResource, "all", "metrics", ptr("*"), false); got.ErrorCode != wire.None {
		t.Fatal(*got.ErrorMessage)
	}
	sub := &wire.GetTelemetrySubscriptionsResponse{}
	r.call(&wire.GetTelemetrySubscriptionsRequest{}, 0, sub)
	if sub.ErrorCode != wire.None || !slices.Equal(sub.RequestedMetrics, []string{"*"}) || sub.TelemetryMaxBytes != 1<<20 {
		t.Fatalf("%+v", sub)
	}
	// A gauge "g" of 1.5.
	metrics := []byte{0x0a, 0x16, 0x12, 0x14, 0x12, 0x12, 0x0a, 0x01, 'g', 0x2a, 0x0d, 0x0a, 0x0b, 0x21, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x40, 0x00}
	push := &wire.PushTelemetryResponse{}
	r.call(&wire.PushTelemetryRequest{ClientInstanceID: sub.ClientInstanceID, SubscriptionID: sub.SubscriptionID, Metrics: metrics}, 0, push)
	if push.ErrorCode != wire.None {
		t.Fatal(push.ErrorCode)
	}
	n := 0
	for s := range r.node.Telemetry().Collect() {
		if n++; s.Name != "g" || s.Value != 1.5 || s.Instance != sub.ClientInstanceID {
			t.Errorf("%+v", s)
		}
	}
	if n != 1 {
		t.Errorf("%d series", n)
	}
	r.call(&wire.PushTelemetryRequest{ClientInstanceID: sub.ClientInstanceID, SubscriptionID: sub.SubscriptionID}, 0, push)
	if push.ErrorCode != wire.ThrottlingQuotaExceeded {
		t.Errorf("a second push at once: %v", push.ErrorCode)
	}
}
