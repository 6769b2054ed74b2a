package controller

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

const clusterID = "4L6g3nShT-eMCtK--X86sw"

// fatal is what a test and a property have in common.
type fatal interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// cluster is a controller under a script.
type cluster struct {
	t       fatal
	machine *Machine
	context Context
	epoch   int32
}

func brokerConfig(t fatal) *config.BrokerConfig {
	t.Helper()
	c, err := config.NewBroker(config.Values{"node.id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newCluster has the features of a new cluster and no brokers.
func newCluster(t fatal) *cluster {
	c := &cluster{t: t, machine: New(metadata.Empty()), epoch: 1}
	c.context = Context{ClusterID: clusterID, NodeID: 1, Broker: 1, KRaftVersion: 1, Config: brokerConfig(t), Rand: clock.NewHand(1)}
	var records []wire.MetadataRecord
	for _, f := range metadata.DefaultFeatures(metadata.DefaultVersion) {
		records = append(records, &wire.FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Level})
	}
	one := "1"
	records = append(records, &wire.ConfigRecord{ResourceType: metadata.BrokerResource, Name: "min.insync.replicas", Value: &one})
	c.apply(records)
	return c
}

func (c *cluster) apply(records []wire.MetadataRecord) {
	c.t.Helper()
	c.context.Offset += int64(len(records))
	if _, err := c.machine.Apply(records, c.context.Offset-1, c.epoch); err != nil {
		c.t.Fatalf("what was decided cannot be applied: %v", err)
	}
}

// ask decides, checks that the decision changed nothing and comes out the same again, and applies it.
func (c *cluster) ask(request any) (any, []wire.MetadataRecord) {
	c.t.Helper()
	before := c.machine.Image()
	d, err := c.machine.Decide(&c.context, request)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.machine.Image() != before {
		c.t.Error("deciding changed the image")
	}
	if len(d.Records) > 0 {
		c.apply(d.Records)
	}
	return d.Reply, d.Records
}

// join registers a broker and unfences it.
func (c *cluster) join(id int32, rack string) {
	c.t.Helper()
	reply, _ := c.ask(registration(id, byte(id), -1, rack))
	epoch := reply.(*wire.BrokerRegistrationResponse).BrokerEpoch
	beat, _ := c.ask(&wire.BrokerHeartbeatRequest{BrokerID: id, BrokerEpoch: epoch, CurrentMetadataOffset: math.MaxInt64})
	if r := beat.(*wire.BrokerHeartbeatResponse); r.ErrorCode != wire.None || r.IsFenced {
		c.t.Fatalf("broker %d does not join: %+v", id, r)
	}
}

func registration(id int32, incarnation byte, previous int64, rack string) *wire.BrokerRegistrationRequest {
	r := &wire.BrokerRegistrationRequest{
		BrokerID: id, ClusterID: clusterID, IncarnationID: wire.UUID{1, incarnation},
		LogDirs: []wire.UUID{{2, byte(id)}}, PreviousBrokerEpoch: previous,
	}
	if rack != "" {
		r.Rack = &rack
	}
	for _, f := range metadata.SupportedFeatures() {
		r.Features = append(r.Features, wire.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	return r
}

// asker is what a script is run against: our controller, or a real Kafka to compare with.
type asker interface {
	request(message any) any
	topicID(name string) wire.UUID
}

func (c *cluster) request(message any) any {
	reply, _ := c.ask(message)
	return reply
}

func (c *cluster) topicID(name string) wire.UUID {
	t, ok := c.machine.Image().Topic(name)
	if !ok {
		return wire.UUID{9, 9}
	}
	return t.ID
}

// TestAnswersAreKafkas runs scripts whose answers Kafka 4.3.1 gave.
func TestAnswersAreKafkas(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "kafka"), func(t *testing.T, path string) {
		t.Helper()
		c := newCluster(t)
		c.join(1, "")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			c.t = t
			return run(t, c, d)
		})
	})
}

// run carries out one command of a script.
func run(t *testing.T, c asker, d *datadriven.TestData) string {
	t.Helper()
	lines := strings.FieldsFunc(d.Input, func(r rune) bool { return r == '\n' })
	switch d.Cmd {
	case "create":
		return runCreate(t, c, lines, d)
	case "delete":
		return runDelete(c, lines)
	case "partitions":
		return runPartitions(t, c, lines, d.HasArg("validate-only"))
	case "alter":
		return runAlter(t, c, lines, d.HasArg("validate-only"))
	case "alter-whole":
		return runAlterWhole(t, c, lines)
	case "elect":
		return runElect(t, c, lines, d)
	case "reassign":
		return runReassign(t, c, lines)
	case "features":
		return runFeatures(t, c, lines)
	case "quotas":
		return runQuotas(t, c, lines, d.HasArg("validate-only"))
	case "credentials":
		return runScram(t, c, lines)
	case "acls":
		return runCreateACLs(t, c, lines)
	case "acls-delete":
		return runDeleteACLs(t, c, lines)
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
		return ""
	}
}

// words splits a line into its first word and its key=value pairs; a name in quotes may be anything.
func words(t *testing.T, line string) (name string, pairs [][2]string) {
	t.Helper()
	if quoted, err := strconv.QuotedPrefix(line); err == nil {
		name, _ = strconv.Unquote(quoted)
		line = "_" + line[len(quoted):]
	}
	fields := strings.Fields(line)
	if fields[0] != "_" {
		name = fields[0]
	}
	if n, times, ok := strings.Cut(name, "*"); ok && n != "" {
		count, _ := strconv.Atoi(times)
		name = strings.Repeat(n, count)
	}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		pairs = append(pairs, [2]string{k, v})
	}
	return name, pairs
}

func number(t *testing.T, s string) int32 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

// ids reads "1:2:3"; "none" is the empty list.
func ids(t *testing.T, s string) []int32 {
	t.Helper()
	list := []int32{}
	if s == "none" {
		return list
	}
	for id := range strings.SplitSeq(s, ":") {
		list = append(list, number(t, id))
	}
	return list
}

func value(s string) *string {
	if s == "null" {
		return nil
	}
	return &s
}

// said shows an error code and its message.
func said(code wire.Code, message *string) string {
	switch {
	case code == wire.None && (message == nil || *message == ""):
		return "ok"
	case message == nil:
		return code.String()
	default:
		return code.String() + " " + *message
	}
}

func short(name string) string {
	if len(name) > 60 {
		return fmt.Sprintf("%q*%d", name[:1], len(name))
	}
	return strconv.Quote(name)
}

func sorted(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func runCreate(t *testing.T, c asker, lines []string, d *datadriven.TestData) string {
	t.Helper()
	r := &wire.CreateTopicsRequest{TimeoutMs: 30_000, ValidateOnly: d.HasArg("validate-only")}
	for _, line := range lines {
		topic := wire.CreateTopicsRequestCreatableTopic{NumPartitions: -1, ReplicationFactor: -1}
		var pairs [][2]string
		topic.Name, pairs = words(t, line)
		for _, p := range pairs {
			switch p[0] {
			case "partitions":
				topic.NumPartitions = number(t, p[1])
			case "rf":
				topic.ReplicationFactor = int16(number(t, p[1]))
			case "assign":
				index, brokers, _ := strings.Cut(p[1], "@")
				topic.Assignments = append(topic.Assignments, wire.CreateTopicsRequestCreatableReplicaAssignment{
					PartitionIndex: number(t, index), BrokerIDs: ids(t, brokers),
				})
			default:
				topic.Configs = append(topic.Configs, wire.CreateTopicsRequestCreatableTopicConfig{Name: p[0], Value: value(p[1])})
			}
		}
		r.Topics = append(r.Topics, topic)
	}
	reply := c.request(r).(*wire.CreateTopicsResponse)
	var out []string
	for _, p := range reply.Topics {
		line := short(p.Name) + ": " + said(p.ErrorCode, p.ErrorMessage)
		if p.ErrorCode == wire.None {
			line += fmt.Sprintf(" partitions=%d rf=%d", p.NumPartitions, p.ReplicationFactor)
		}
		if d.HasArg("configs") {
			for _, e := range p.Configs {
				if later[e.Name] {
					continue
				}
				v := "null"
				if e.Value != nil {
					v = strconv.Quote(*e.Value)
				}
				line += fmt.Sprintf("\n  %s=%s source %d%s", e.Name, v, e.ConfigSource, map[bool]string{true: " read-only"}[e.ReadOnly])
			}
		}
		out = append(out, line)
	}
	return sorted(out)
}

// later are the topic settings that Kafka 4.3.1 does not have.
var later = map[string]bool{
	"ack.durability": true, "errors.deadletterqueue.group.enable": true, "max.decompressed.message.bytes": true,
	"remote.copy.lag.bytes": true, "remote.copy.lag.ms": true,
}

func runDelete(c asker, lines []string) string {
	r := &wire.DeleteTopicsRequest{TimeoutMs: 30_000}
	for _, line := range lines {
		for word := range strings.FieldsSeq(line) {
			var s wire.DeleteTopicsRequestDeleteTopicState
			name, id, both := strings.Cut(word, "+")
			switch {
			case word == "nothing":
			case strings.HasPrefix(word, "id:"):
				s.TopicID = c.topicID(word[3:])
			default:
				s.Name = &name
				if both {
					s.TopicID = c.topicID(id)
				}
			}
			r.Topics = append(r.Topics, s)
		}
	}
	reply := c.request(r).(*wire.DeleteTopicsResponse)
	var out []string
	for _, p := range reply.Responses {
		name := "(null)"
		if p.Name != nil {
			name = *p.Name
		}
		id := " no id"
		if !p.TopicID.IsZero() {
			id = " with id"
		}
		out = append(out, name+id+": "+said(p.ErrorCode, p.ErrorMessage))
	}
	return sorted(out)
}

func runPartitions(t *testing.T, c asker, lines []string, validateOnly bool) string {
	t.Helper()
	r := &wire.CreatePartitionsRequest{TimeoutMs: 30_000, ValidateOnly: validateOnly}
	for _, line := range lines {
		var topic wire.CreatePartitionsRequestCreatePartitionsTopic
		var pairs [][2]string
		topic.Name, pairs = words(t, line)
		for _, p := range pairs {
			switch p[0] {
			case "count":
				topic.Count = number(t, p[1])
			case "assign":
				topic.Assignments = append(topic.Assignments, wire.CreatePartitionsRequestCreatePartitionsAssignment{BrokerIDs: ids(t, p[1])})
			}
		}
		r.Topics = append(r.Topics, topic)
	}
	reply := c.request(r).(*wire.CreatePartitionsResponse)
	var out []string
	for _, p := range reply.Results {
		out = append(out, short(p.Name)+": "+said(p.ErrorCode, p.ErrorMessage))
	}
	return sorted(out)
}

// resource reads "topic:name"; "topic:" is the empty name and "9:name" a type by number.
func resource(t *testing.T, word string) (int8, string) {
	t.Helper()
	kind, name, _ := strings.Cut(word, ":")
	n, ok := map[string]int8{
		"topic": metadata.TopicResource, "broker": metadata.BrokerResource, "group": metadata.GroupResource,
		"client-metrics": metadata.ClientMetricsResource,
	}[kind]
	if !ok {
		n = int8(number(t, kind))
	}
	return n, name
}

func runAlter(t *testing.T, c asker, lines []string, validateOnly bool) string {
	t.Helper()
	r := &wire.IncrementalAlterConfigsRequest{ValidateOnly: validateOnly}
	for _, line := range lines {
		var res wire.IncrementalAlterConfigsRequestAlterConfigsResource
		name, pairs := words(t, line)
		res.ResourceType, res.ResourceName = resource(t, name)
		for _, p := range pairs {
			a := wire.IncrementalAlterConfigsRequestAlterableConfig{Name: p[0], Value: value(p[1])}
			switch {
			case strings.HasSuffix(p[0], "+"):
				a.Name, a.ConfigOperation = strings.TrimSuffix(p[0], "+"), opAppend
			case strings.HasSuffix(p[0], "-"):
				a.Name, a.ConfigOperation = strings.TrimSuffix(p[0], "-"), opSubtract
			case strings.HasSuffix(p[0], "?"):
				a.Name, a.ConfigOperation = strings.TrimSuffix(p[0], "?"), 7
			case p[1] == "delete":
				a.ConfigOperation, a.Value = opDelete, nil
			}
			res.Configs = append(res.Configs, a)
		}
		r.Resources = append(r.Resources, res)
	}
	reply := c.request(r).(*wire.IncrementalAlterConfigsResponse)
	var out []string
	for _, p := range reply.Responses {
		out = append(out, fmt.Sprintf("%d:%s: %s", p.ResourceType, p.ResourceName, said(p.ErrorCode, p.ErrorMessage)))
	}
	return sorted(out)
}

func runAlterWhole(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.AlterConfigsRequest{}
	for _, line := range lines {
		var res wire.AlterConfigsRequestAlterConfigsResource
		name, pairs := words(t, line)
		res.ResourceType, res.ResourceName = resource(t, name)
		for _, p := range pairs {
			res.Configs = append(res.Configs, wire.AlterConfigsRequestAlterableConfig{Name: p[0], Value: value(p[1])})
		}
		r.Resources = append(r.Resources, res)
	}
	reply := c.request(r).(*wire.AlterConfigsResponse)
	var out []string
	for _, p := range reply.Responses {
		out = append(out, fmt.Sprintf("%d:%s: %s", p.ResourceType, p.ResourceName, said(p.ErrorCode, p.ErrorMessage)))
	}
	return sorted(out)
}

func runElect(t *testing.T, c asker, lines []string, d *datadriven.TestData) string {
	t.Helper()
	r := &wire.ElectLeadersRequest{TimeoutMs: 30_000}
	if d.HasArg("unclean") {
		r.ElectionType = 1
	}
	for _, line := range lines {
		name, pairs := words(t, line)
		r.TopicPartitions = append(r.TopicPartitions, wire.ElectLeadersRequestTopicPartitions{Topic: name, Partitions: ids(t, pairs[0][1])})
	}
	reply := c.request(r).(*wire.ElectLeadersResponse)
	out := []string{"request: " + said(reply.ErrorCode, nil)}
	for _, topic := range reply.ReplicaElectionResults {
		for _, p := range topic.PartitionResult {
			out = append(out, fmt.Sprintf("%s-%d: %s", topic.Topic, p.PartitionID, said(p.ErrorCode, p.ErrorMessage)))
		}
	}
	return sorted(out)
}

func runReassign(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.AlterPartitionReassignmentsRequest{TimeoutMs: 30_000, AllowReplicationFactorChange: true}
	for _, line := range lines {
		name, pairs := words(t, line)
		topic := wire.AlterPartitionReassignmentsRequestReassignableTopic{Name: name}
		for _, p := range pairs {
			in := wire.AlterPartitionReassignmentsRequestReassignablePartition{PartitionIndex: number(t, p[0])}
			if p[1] != "null" {
				in.Replicas = ids(t, p[1])
			}
			topic.Partitions = append(topic.Partitions, in)
		}
		r.Topics = append(r.Topics, topic)
	}
	reply := c.request(r).(*wire.AlterPartitionReassignmentsResponse)
	out := []string{"request: " + said(reply.ErrorCode, reply.ErrorMessage)}
	for _, topic := range reply.Responses {
		for _, p := range topic.Partitions {
			out = append(out, fmt.Sprintf("%s-%d: %s", topic.Name, p.PartitionIndex, said(p.ErrorCode, p.ErrorMessage)))
		}
	}
	list := c.request(&wire.ListPartitionReassignmentsRequest{TimeoutMs: 30_000}).(*wire.ListPartitionReassignmentsResponse)
	out = append(out, fmt.Sprintf("under way: %s %v", said(list.ErrorCode, list.ErrorMessage), list.Topics))
	return sorted(out)
}

func runFeatures(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.UpdateFeaturesRequest{TimeoutMs: 30_000}
	for _, line := range lines {
		name, pairs := words(t, line)
		u := wire.UpdateFeaturesRequestFeatureUpdateKey{Feature: name, UpgradeType: upgrade}
		for _, p := range pairs {
			switch p[0] {
			case "level":
				u.MaxVersionLevel = int16(number(t, p[1]))
			case "kind":
				u.UpgradeType = int8(number(t, p[1]))
			case "validate-only":
				r.ValidateOnly = true
			}
		}
		r.FeatureUpdates = append(r.FeatureUpdates, u)
	}
	reply := c.request(r).(*wire.UpdateFeaturesResponse)
	return said(reply.ErrorCode, reply.ErrorMessage)
}
