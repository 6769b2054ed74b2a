package group

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
)

// TestScripts plays testdata. Each script runs twice: the same inputs give the same outputs.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".txt") {
			return
		}
		for range 2 {
			d := newDriver()
			datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
				return d.run(t, td)
			})
			if diff := d.compareReplay(); diff != "" {
				t.Fatalf("replay differs from live:\n%s", diff)
			}
		}
	})
}

// run executes one command, whose lines are calls of the machine.
func (d *driver) run(t *testing.T, td *datadriven.TestData) string {
	d.out.Reset()
	for _, line := range strings.Split(td.Input, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			if err := d.line(long(line)); err != nil {
				td.Fatalf(t, "%s: %v", line, err)
			}
		}
	}
	if d.out.Len() == 0 {
		return "nothing\n"
	}
	return short(d.out.String())
}

// args are the key=value words of a line; words without a value are flags.
type args map[string]string

func (a args) int(key string, or int64) int64 {
	if v, ok := a[key]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return or
}

func (a args) opt(key string) *string {
	if v, ok := a[key]; ok {
		return &v
	}
	return nil
}

func (a args) list(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

func (d *driver) line(line string) error {
	words := strings.Fields(line)
	a := args{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	f, ok := map[string]func(args){
		"config": d.setConfig, "hold": func(args) { d.hold = true }, "settle": d.settleLine, "events": func(args) { d.events = true },
		"advance": func(a args) { d.advance(a.int("ms", 0)) }, "replay": d.replayLine, "reload": d.reloadLine,
		"unload": func(args) { d.machine.Unload(wire.NotCoordinator, &d.fx) },
		"join":   d.joinLine, "sync": d.syncLine, "heartbeat": d.heartbeatLine, "leave": d.leaveLine,
		"commit": d.commitLine, "fetch": d.fetchLine, "delete-offsets": d.deleteOffsetsLine,
		"delete-groups": d.deleteGroupsLine, "delete-topic": d.deleteTopicLine, "describe": d.describeLine, "list": d.listLine,
		"topic": d.topicLine, "consume": d.consumeLine, "describe-consumers": d.describeConsumersLine, "history": d.historyLine,
		"groups": func(args) { d.printf("%d groups, %d parked", d.machine.Groups(), len(d.names)) },
	}[words[0]]
	if !ok {
		return fmt.Errorf("no such command")
	}
	f(a)
	d.flush()
	return nil
}

func (d *driver) setConfig(a args) {
	d.config.MaxSize = int32(a.int("max-size", int64(d.config.MaxSize)))
	d.config.InitialRebalanceDelayMs = int32(a.int("delay", int64(d.config.InitialRebalanceDelayMs)))
	d.config.InitialQuietMs = int32(a.int("quiet", int64(d.config.InitialQuietMs)))
	d.config.OffsetMetadataMaxBytes = int32(a.int("metadata", int64(d.config.OffsetMetadataMaxBytes)))
	d.config.OffsetsRetentionMs = a.int("retention", d.config.OffsetsRetentionMs)
	d.config.Consumer.MaxSize = int32(a.int("consumers", int64(d.config.Consumer.MaxSize)))
	if v, ok := a["migrate"]; ok {
		d.config.Consumer.Upgrade, d.config.Consumer.Downgrade = v == "up" || v == "both", v == "down" || v == "both"
	}
	d.machine.config = d.config
}

// settleLine ends writes that are held: one, or all; with an error if code is given.
func (d *driver) settleLine(a args) {
	code := wire.None
	switch a["code"] {
	case "":
	case "storage":
		code = AppendCode(wire.KafkaStorageError)
	case "replicas":
		code = AppendCode(wire.NotEnoughReplicas)
	case "large":
		code = AppendCode(wire.MessageTooLarge)
	}
	_, all := a["all"]
	for n := 0; len(d.queue) > 0 && (all || n == 0); n++ {
		d.settle(code)
	}
}

func (d *driver) replayLine(args) {
	if diff := d.compareReplay(); diff != "" {
		d.printf("DIFFERS\n%s", diff)
		return
	}
	d.printf("same")
}

// reloadLine fails over: what is parked is answered, and a new machine reads the log.
func (d *driver) reloadLine(args) {
	d.machine.Unload(wire.NotCoordinator, &d.fx)
	d.flush()
	d.queue = nil
	d.machine = d.replayed()
	if d.image != nil {
		d.machine.SetImage(d.now, d.image, &d.fx)
	}
	d.machine.Loaded(d.now, &d.fx)
}

// subscription is a consumer's metadata if topics are given, else the text itself.
func subscription(text string) []byte {
	version := byte(1)
	topics, ok := strings.CutPrefix(text, "topics/")
	if !ok {
		version = 0
		topics, ok = strings.CutPrefix(text, "topics0/")
	}
	if !ok {
		return []byte(text)
	}
	b := []byte{0, version}
	list := strings.Split(topics, "/")
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, t := range list {
		b = wire.AppendString(b, t)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

func (d *driver) joinLine(a args) {
	req := &wire.JoinGroupRequest{
		GroupID: a["g"], MemberID: a["member"], GroupInstanceID: a.opt("instance"), ProtocolType: "consumer",
		SessionTimeoutMs: int32(a.int("session", 10_000)), RebalanceTimeoutMs: int32(a.int("rebalance", 60_000)),
		Reason: a.opt("reason"),
	}
	if v := a.opt("type"); v != nil {
		req.ProtocolType = *v
	}
	protocols := "range:m"
	if v := a.opt("protocols"); v != nil {
		protocols = *v
	}
	for _, p := range strings.Split(protocols, ",") {
		if name, metadata, ok := strings.Cut(p, ":"); ok {
			req.Protocols = append(req.Protocols, wire.JoinGroupRequestProtocol{Name: name, Metadata: subscription(metadata)})
		}
	}
	name := "join"
	for _, k := range []string{"as", "instance", "member"} {
		if a[k] != "" {
			name += " " + a[k]
			break
		}
	}
	client := Client{ID: "c", Host: "/h"}
	var fresh wire.UUID
	if req.MemberID == "" {
		fresh = d.uuid()
	}
	d.machine.JoinGroup(d.now, &Join{
		Request: req, Version: int16(a.int("v", 9)), Client: client, Ticket: d.park(name), Fresh: fresh,
	}, &d.fx)
	// What the machine keeps must be its own.
	for i := range req.Protocols {
		clear(req.Protocols[i].Metadata)
	}
}

func (d *driver) syncLine(a args) {
	req := &wire.SyncGroupRequest{
		GroupID: a["g"], MemberID: a["member"], GenerationID: int32(a.int("generation", 1)),
		GroupInstanceID: a.opt("instance"), ProtocolType: a.opt("type"), ProtocolName: a.opt("protocol"),
	}
	for _, e := range a.list("assign") {
		id, assignment, _ := strings.Cut(e, ":")
		req.Assignments = append(req.Assignments, wire.SyncGroupRequestAssignment{MemberID: id, Assignment: assignmentBytes(assignment)})
	}
	d.machine.SyncGroup(d.now, req, d.park("sync "+a["member"]), &d.fx)
	for i := range req.Assignments {
		clear(req.Assignments[i].Assignment)
	}
}

// assignmentBytes is a consumer's assignment if it is like @t/0/1, else the text itself.
func assignmentBytes(text string) []byte {
	text, ok := strings.CutPrefix(text, "@")
	if !ok {
		return []byte(text)
	}
	words := strings.Split(text, "/")
	a := &wire.ConsumerProtocolAssignment{AssignedPartitions: []wire.ConsumerProtocolAssignmentTopicPartition{{Topic: words[0]}}}
	for _, w := range words[1:] {
		p, err := strconv.Atoi(w)
		if err != nil {
			panic(err)
		}
		a.AssignedPartitions[0].Partitions = append(a.AssignedPartitions[0].Partitions, int32(p))
	}
	return wire.AppendValue(nil, a, 0)
}

func (d *driver) heartbeatLine(a args) {
	d.printf("heartbeat -> %s", codeText(d.machine.Heartbeat(d.now, &wire.HeartbeatRequest{
		GroupID: a["g"], MemberID: a["member"], GenerationID: int32(a.int("generation", 1)), GroupInstanceID: a.opt("instance"),
	})))
}

func (d *driver) leaveLine(a args) {
	req := &wire.LeaveGroupRequest{GroupID: a["g"]}
	for _, id := range a.list("members") {
		member, instance, static := strings.Cut(id, "@")
		m := wire.LeaveGroupRequestMemberIdentity{MemberID: member, Reason: a.opt("reason")}
		if static {
			m.GroupInstanceID = &instance
		}
		req.Members = append(req.Members, m)
	}
	resp := d.machine.LeaveGroup(d.now, req, &d.fx)
	s := "leave -> " + codeText(resp.ErrorCode)
	for _, m := range resp.Members {
		s += fmt.Sprintf(" %s@%s:%s", m.MemberID, deref(m.GroupInstanceID), codeText(m.ErrorCode))
	}
	d.printf("%s", s)
}

// target reads topic-partition.
func target(s string) (string, int32) {
	topic, p, _ := strings.Cut(s, "-")
	n, err := strconv.Atoi(p)
	if err != nil {
		panic(err)
	}
	return topic, int32(n)
}

func (d *driver) commitLine(a args) {
	req := &wire.OffsetCommitRequest{
		GroupID: a["g"], MemberID: a["member"], GenerationIDOrMemberEpoch: int32(a.int("generation", -1)),
		GroupInstanceID: a.opt("instance"), RetentionTimeMs: a.int("retention", -1),
	}
	for _, e := range a.list("offsets") {
		to, offset, _ := strings.Cut(e, ":")
		topic, p := target(to)
		offset, metadata, _ := strings.Cut(offset, ":")
		n, _ := strconv.ParseInt(offset, 10, 64)
		if repeat := a.int("repeat", 0); repeat > 0 {
			metadata = strings.Repeat(metadata, int(repeat))
		}
		req.Topics = append(req.Topics, wire.OffsetCommitRequestTopic{Name: topic, TopicID: commitID(a, topic), Partitions: []wire.OffsetCommitRequestPartition{
			{PartitionIndex: p, CommittedOffset: n, CommittedLeaderEpoch: 3, CommittedMetadata: &metadata},
		}})
	}
	var resp wire.OffsetCommitResponse
	d.machine.CommitOffsets(d.now, int16(a.int("v", 9)), req, &resp, &d.fx)
	s := "commit ->"
	for _, t := range resp.Topics {
		s += fmt.Sprintf(" %s-%d:%s", t.Name, t.Partitions[0].PartitionIndex, codeText(t.Partitions[0].ErrorCode))
	}
	d.printf("%s", s)
}

// commitID is the id of a topic as the broker would fill it in for members of consumer groups.
func commitID(a args, topic string) wire.UUID {
	if _, ok := a["ids"]; ok {
		return topicUUID(topic)
	}
	return topicID(a["id"])
}

func topicID(s string) (id wire.UUID) {
	copy(id[:], s)
	return id
}

func (d *driver) fetchLine(a args) {
	req := &wire.OffsetFetchRequestGroup{GroupID: a["g"], MemberID: a.opt("member"), MemberEpoch: int32(a.int("epoch", -1))}
	for _, e := range a.list("offsets") {
		topic, p := target(e)
		req.Topics = append(req.Topics, wire.OffsetFetchRequestTopics{Name: topic, TopicID: topicID(a["id"]), PartitionIndexes: []int32{p}})
	}
	_, stable := a["stable"]
	resp := d.machine.FetchOffsets(req, stable)
	s := "fetch -> " + codeText(resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" %s-%d:%d", t.Name, p.PartitionIndex, p.CommittedOffset)
			if p.ErrorCode != wire.None {
				s += ":" + codeText(p.ErrorCode)
			}
			if *p.Metadata != "" {
				s += ":" + *p.Metadata
			}
		}
	}
	d.printf("%s", s)
}

func (d *driver) deleteOffsetsLine(a args) {
	req := &wire.OffsetDeleteRequest{GroupID: a["g"]}
	for _, e := range a.list("offsets") {
		topic, p := target(e)
		req.Topics = append(req.Topics, wire.OffsetDeleteRequestTopic{Name: topic, Partitions: []wire.OffsetDeleteRequestPartition{{PartitionIndex: p}}})
	}
	resp := d.machine.DeleteOffsets(req, &d.fx)
	s := "delete-offsets -> " + codeText(resp.ErrorCode)
	for _, t := range resp.Topics {
		s += fmt.Sprintf(" %s-%d:%s", t.Name, t.Partitions[0].PartitionIndex, codeText(t.Partitions[0].ErrorCode))
	}
	d.printf("%s", s)
}

func (d *driver) deleteGroupsLine(a args) {
	for _, r := range d.machine.DeleteGroups(a.list("groups"), &d.fx) {
		d.printf("delete %s -> %s", r.GroupID, codeText(r.ErrorCode))
	}
}

func (d *driver) deleteTopicLine(a args) { d.machine.DeleteTopic(a["topic"], topicID(a["id"]), &d.fx) }

func (d *driver) describeLine(a args) {
	g := d.machine.DescribeGroup(a["g"], int16(a.int("v", 6)))
	d.printf("%s %s %s type=%s protocol=%s %s", g.GroupID, codeText(g.ErrorCode), g.GroupState, g.ProtocolType, g.ProtocolData, deref(g.ErrorMessage))
	for _, m := range g.Members {
		d.printf("  %s instance=%s client=%s%s metadata=%q assignment=%q", m.MemberID, deref(m.GroupInstanceID),
			m.ClientID, m.ClientHost, m.MemberMetadata, m.MemberAssignment)
	}
}

func (d *driver) listLine(a args) {
	for _, g := range d.machine.ListGroups(a.list("states"), a.list("types")) {
		d.printf("%s %s %s %s", g.GroupID, g.ProtocolType, g.GroupState, g.GroupType)
	}
}

func TestFormatUUID(t *testing.T) {
	u := wire.UUID(bytes.Repeat([]byte{0xa1}, 16))
	if got := formatUUID(u); got != "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1" {
		t.Fatal(got)
	}
}
