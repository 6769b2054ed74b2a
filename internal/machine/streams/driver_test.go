package streams

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
	base "github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// registry stands for the machine: classic groups, empty or not, and groups of other kinds.
type registry map[string]string

func (r registry) TypeOf(id string) (string, bool) {
	typ, ok := r[id]
	return strings.TrimPrefix(typ, "empty "), ok
}

func (r registry) Vacate(id string, records []base.Record) ([]base.Record, bool) {
	if r[id] != "empty classic" {
		return records, r[id] == ""
	}
	delete(r, id)
	return append(records, base.Record{Key: wire.AppendKey(nil, &wire.GroupMetadataKey{Group: id})}), true
}

func (r registry) Offsets(string) bool { return false }

// driver plays the shell: it keeps the log and the time.
type driver struct {
	groups     *Groups
	registry   registry
	settings   Settings
	image      *metadata.Image
	now        base.Time
	log        []base.Record
	topologies map[string]*wire.StreamsGroupHeartbeatRequestTopology
	topicIDs   byte
	out        strings.Builder
}

func newDriver() *driver {
	d := &driver{
		registry: registry{}, settings: DefaultSettings(), image: metadata.Empty(), now: base.Time{Wall: 1_000_000, Mono: 1},
		topologies: map[string]*wire.StreamsGroupHeartbeatRequestTopology{},
	}
	d.settings.InitialDelayMs, d.settings.AssignmentMs = 0, 0
	d.groups = d.create()
	return d
}

func (d *driver) create() *Groups {
	return New(d.registry, func(string) Settings { return d.settings })
}

// topics makes an image of exactly these topics. Those that stay the same keep their ids.
func (d *driver) topics(want map[string]int32) error {
	e := d.image.Edit()
	for _, t := range d.image.SortedTopics() {
		if int(want[t.Name]) != len(t.Partitions) {
			if err := e.Apply(&wire.RemoveTopicRecord{TopicID: t.ID}); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if t, ok := d.image.Topic(name); ok && len(t.Partitions) == int(want[name]) {
			continue
		}
		d.topicIDs++
		id := wire.UUID{0: 1, 15: d.topicIDs}
		if err := e.Apply(&wire.TopicRecord{Name: name, TopicID: id}); err != nil {
			return err
		}
		for p := range want[name] {
			r := &wire.PartitionRecord{}
			r.SetDefaults()
			r.PartitionID, r.TopicID, r.Replicas, r.ISR, r.Leader = p, id, []int32{1}, []int32{1}, 1
			if err := e.Apply(r); err != nil {
				return err
			}
		}
	}
	img, err := e.Finish(d.image.Offset()+1, 1)
	if err == nil {
		d.image = img
		d.tell(func(fx *base.Effects) { d.groups.SetImage(d.now, img, fx) })
	}
	return err
}

// tell calls the groups, and writes and prints what they want.
func (d *driver) tell(call func(fx *base.Effects)) {
	var fx base.Effects
	call(&fx)
	for _, w := range fx.Writes {
		d.log = append(d.log, w.Records...)
		for _, r := range w.Records {
			fmt.Fprintf(&d.out, "  %s\n", showRecord(r))
		}
	}
	for _, e := range fx.Events {
		fmt.Fprintf(&d.out, "  event %s: %s (epoch %d, %d members)\n", e.What, e.Reason, e.Generation, e.Members)
	}
}

func showRecord(r base.Record) string {
	key, err := wire.DecodeGroupKey(r.Key)
	if err != nil {
		return err.Error()
	}
	name := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", key), "*wire."), "Key")
	name += fmt.Sprintf("%v", key)[1:]
	if r.Value == nil {
		return name + " tombstone"
	}
	value, _, err := wire.DecodeGroupValue(key.CoordinatorType(), r.Value)
	if err != nil {
		return err.Error()
	}
	switch v := value.(type) {
	case *wire.StreamsGroupMemberMetadataValue:
		return fmt.Sprintf("%s rebalance=%d topology=%d process=%s endpoint=%v tags=%v", name, v.RebalanceTimeoutMs, v.TopologyEpoch, v.ProcessID, v.UserEndpoint != nil, v.ClientTags)
	case *wire.StreamsGroupTopologyValue:
		return fmt.Sprintf("%s epoch=%d subtopologies=%d", name, v.Epoch, len(v.Subtopologies))
	case *wire.StreamsGroupMetadataValue:
		return fmt.Sprintf("%s epoch=%d hash=%v validated=%d configs=%v", name, v.Epoch, v.MetadataHash != 0, v.ValidatedTopologyEpoch, v.LastAssignmentConfigs)
	default:
		return name + " " + fmt.Sprintf("%+v", value)[1:]
	}
}

func parseTasks(s string) []wire.StreamsGroupHeartbeatRequestTaskIds {
	out := []wire.StreamsGroupHeartbeatRequestTaskIds{}
	if s == "" || s == "-" {
		return out
	}
	for part := range strings.SplitSeq(s, ";") {
		id, list, _ := strings.Cut(part, ":")
		t := wire.StreamsGroupHeartbeatRequestTaskIds{SubtopologyID: id}
		for p := range strings.SplitSeq(list, ",") {
			n, _ := strconv.Atoi(p)
			t.Partitions = append(t.Partitions, int32(n))
		}
		out = append(out, t)
	}
	return out
}

func showTasks(in []wire.StreamsGroupHeartbeatResponseTaskIds) string {
	if in == nil {
		return "same"
	}
	if len(in) == 0 {
		return "-"
	}
	var parts []string
	for _, t := range in {
		parts = append(parts, t.SubtopologyID+":"+strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Partitions), " ", ","), "[]"))
	}
	return strings.Join(parts, ";")
}

func (d *driver) show(a Answer) {
	r := a.Response
	if r.ErrorCode != wire.None {
		message := ""
		if r.ErrorMessage != nil {
			message = ": " + *r.ErrorMessage
		}
		fmt.Fprintf(&d.out, "%s%s\n", name(r.ErrorCode), message)
		return
	}
	fmt.Fprintf(&d.out, "epoch=%d active=%s standby=%s endpoints=%d\n", r.MemberEpoch, showTasks(r.ActiveTasks), showTasks(r.StandbyTasks), r.EndpointInformationEpoch)
	for _, s := range r.Status {
		fmt.Fprintf(&d.out, "  status %d: %s\n", s.StatusCode, s.StatusDetail)
	}
	for _, t := range a.Create {
		fmt.Fprintf(&d.out, "  create %s partitions=%d replicas=%d configs=%d\n", t.Name, t.NumPartitions, t.ReplicationFactor, len(t.Configs))
	}
	for _, e := range r.PartitionsByUserEndpoint {
		fmt.Fprintf(&d.out, "  endpoint %s:%d active=%v standby=%v\n", e.UserEndpoint.Host, e.UserEndpoint.Port, e.ActivePartitions, e.StandbyPartitions)
	}
}

// name is a code without what it means.
func name(code wire.Code) string {
	s, _, _ := strings.Cut(code.String(), ":")
	return s
}

// args are the key=value words of a line.
type args map[string]string

func (a args) int(key string, or int) int {
	if v, ok := a[key]; ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			panic(err)
		}
		return n
	}
	return or
}

func (a args) list(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

func (a args) has(key string) bool { _, ok := a[key]; return ok }

func (d *driver) line(line string) error {
	words := strings.Fields(line)
	a, names := args{}, []string{}
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w, "=")
		if !ok && w != "txn" && w != "shutdown" && w != "only" && w != "offsets" {
			names = append(names, w)
		}
		a[k] = v
	}
	switch words[0] {
	case "topics":
		want := map[string]int32{}
		for k := range a {
			want[k] = int32(a.int(k, 0))
		}
		return d.topics(want)
	case "settings":
		d.set(a)
		return d.topics(d.present()) // a new image makes the groups ask for their settings
	case "subtopology":
		d.subtopology(names[0], names[1], a)
	case "beat":
		req := d.beat(names, a)
		before := d.out.String()
		d.out.Reset()
		var answer Answer
		d.tell(func(fx *base.Effects) {
			answer = d.groups.Heartbeat(d.now, req, int16(a.int("version", 0)), base.Client{ID: "c-" + req.MemberID, Host: "/h"}, fx)
		})
		told := d.out.String()
		d.out.Reset()
		d.out.WriteString(before)
		d.show(answer)
		d.out.WriteString(told)
	case "after":
		n, _ := strconv.Atoi(names[0])
		d.now.Wall += int64(n)
		d.now.Mono += int64(n)
		d.tell(func(fx *base.Effects) { d.groups.Expire(d.now, fx) })
	case "other":
		d.registry[names[0]] = strings.ReplaceAll(a["type"], "_", " ")
	case "restart":
		d.groups = d.replay()
		d.tell(func(fx *base.Effects) {
			d.groups.SetImage(d.now, d.image, fx)
			d.groups.Loaded(d.now, fx)
		})
	case "offsets":
		fmt.Fprintln(&d.out, name(d.groups.CheckOffsets("g", a["member"], nil, int32(a.int("epoch", -1)), a.has("commit"))))
	case "commit":
		req := &wire.OffsetCommitRequest{GroupID: "g", MemberID: names[0], GenerationIDOrMemberEpoch: int32(a.int("epoch", -1))}
		for _, topic := range names[1:] {
			t := wire.OffsetCommitRequestTopic{Name: topic}
			for _, p := range a.list("partitions") {
				n, _ := strconv.Atoi(p)
				t.Partitions = append(t.Partitions, wire.OffsetCommitRequestPartition{PartitionIndex: int32(n)})
			}
			req.Topics = append(req.Topics, t)
		}
		fmt.Fprintln(&d.out, name(d.groups.CheckCommit(req, int16(a.int("version", 9)), a.has("txn"))))
	case "subscribed":
		fmt.Fprintln(&d.out, d.groups.Subscribed("g", names[0]))
	case "delete":
		records, code := d.groups.Delete("g", nil)
		d.tell(func(fx *base.Effects) { fx.Record(records...) })
		fmt.Fprintln(&d.out, name(code))
	case "state":
		since, idle := d.groups.Idle("g")
		fmt.Fprintln(&d.out, d.groups.IDs(), d.groups.State("g"), since, idle, d.groups.Deletable("g"))
	case "describe":
		d.describe(d.groups.Describe("g"))
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (d *driver) present() map[string]int32 {
	out := map[string]int32{}
	for _, t := range d.image.SortedTopics() {
		out[t.Name] = int32(len(t.Partitions))
	}
	return out
}

func (d *driver) set(a args) {
	s := &d.settings
	s.Standbys = int32(a.int("standbys", int(s.Standbys)))
	s.InitialDelayMs = int32(a.int("delay", int(s.InitialDelayMs)))
	s.AssignmentMs = int32(a.int("interval", int(s.AssignmentMs)))
	s.MaxSize = int32(a.int("max", int(s.MaxSize)))
}

func infos(names []string) (out []wire.StreamsGroupHeartbeatRequestTopicInfo) {
	for _, name := range names {
		name, count, _ := strings.Cut(name, ":")
		n, _ := strconv.Atoi(count)
		out = append(out, wire.StreamsGroupHeartbeatRequestTopicInfo{
			Name: name, Partitions: int32(n), TopicConfigs: []wire.StreamsGroupHeartbeatRequestKeyValue{{Key: "cleanup.policy", Value: "compact"}},
		})
	}
	return out
}

func indexes(list []string) (out []int16) {
	for _, s := range list {
		n, _ := strconv.Atoi(s)
		out = append(out, int16(n))
	}
	return out
}

func (d *driver) subtopology(topology, id string, a args) {
	t := d.topologies[topology]
	if t == nil {
		t = &wire.StreamsGroupHeartbeatRequestTopology{}
		d.topologies[topology] = t
	}
	t.Epoch = int32(a.int("epoch", int(t.Epoch)))
	s := wire.StreamsGroupHeartbeatRequestSubtopology{
		SubtopologyID: id, SourceTopics: a.list("sources"), SourceTopicRegex: a.list("regex"), RepartitionSinkTopics: a.list("sinks"),
		RepartitionSourceTopics: infos(a.list("repartition")), StateChangelogTopics: infos(a.list("changelogs")),
	}
	if a.has("copartition") || a.has("copartition-repartition") {
		s.CopartitionGroups = append(s.CopartitionGroups, wire.StreamsGroupHeartbeatRequestCopartitionGroup{
			SourceTopics: indexes(a.list("copartition")), RepartitionSourceTopics: indexes(a.list("copartition-repartition")),
		})
	}
	t.Subtopologies = append(t.Subtopologies, s)
}

func (d *driver) beat(names []string, a args) *wire.StreamsGroupHeartbeatRequest {
	req := &wire.StreamsGroupHeartbeatRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberEpoch, req.RebalanceTimeoutMs = "g", int32(a.int("epoch", 0)), int32(a.int("rebalance", -1))
	if len(names) > 0 {
		req.MemberID = names[0]
	}
	if g, ok := a["group"]; ok {
		req.GroupID = g
	}
	if req.MemberEpoch == 0 {
		req.RebalanceTimeoutMs = int32(a.int("rebalance", 60_000))
		p := req.MemberID
		req.ProcessID, req.Topology = &p, d.topologies["t"]
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = parseTasks(""), parseTasks(""), parseTasks("")
	}
	if name, ok := a["topology"]; ok {
		req.Topology = d.topologies[name]
	}
	for key, to := range map[string]**string{"process": &req.ProcessID, "instance": &req.InstanceID, "rack": &req.RackID} {
		if v, ok := a[key]; ok {
			*to = &v
		}
	}
	if a.has("active") || a.has("standby") {
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = parseTasks(a["active"]), parseTasks(a["standby"]), parseTasks(a["warmup"])
	}
	if a.has("only") {
		req.StandbyTasks = nil
	}
	if host, ok := a["endpoint"]; ok {
		req.UserEndpoint = &wire.StreamsGroupHeartbeatRequestEndpoint{Host: host, Port: 80}
	}
	if a.has("offsets") {
		req.TaskOffsets = []wire.StreamsGroupHeartbeatRequestTaskOffset{{SubtopologyID: "0", Partition: 0, Offset: 7}}
	}
	req.EndpointInformationEpoch = int32(a.int("endpoints", 0))
	req.ShutdownApplication = a.has("shutdown")
	return req
}

func (d *driver) describe(g wire.StreamsGroupDescribeResponseDescribedGroup) {
	if g.ErrorCode != wire.None {
		fmt.Fprintf(&d.out, "%s: %s\n", name(g.ErrorCode), *g.ErrorMessage)
		return
	}
	fmt.Fprintf(&d.out, "%s %s epoch=%d assigned=%d\n", g.GroupID, g.GroupState, g.GroupEpoch, g.AssignmentEpoch)
	if g.Topology != nil {
		for _, s := range g.Topology.Subtopologies {
			fmt.Fprintf(&d.out, "  subtopology %s sources=%v sinks=%v repartition=%v changelogs=%v\n",
				s.SubtopologyID, s.SourceTopics, s.RepartitionSinkTopics, s.RepartitionSourceTopics, s.StateChangelogTopics)
		}
	}
	for _, m := range g.Members {
		fmt.Fprintf(&d.out, "  member %s epoch=%d process=%s has=%v should=%v offsets=%v\n", m.MemberID, m.MemberEpoch, m.ProcessID, m.Assignment, m.TargetAssignment, m.TaskOffsets)
	}
}

// replay makes groups of the log.
func (d *driver) replay() *Groups {
	k := d.create()
	for _, r := range d.log {
		if _, err := k.Apply(r.Key, r.Value); err != nil {
			panic(err)
		}
	}
	return k
}

// durable prints all that must survive.
func durable(k *Groups) string {
	var b strings.Builder
	for _, id := range k.IDs() {
		g := k.groups[id]
		fmt.Fprintf(&b, "%s %d %d %d %v %d %d %s\n", id, g.epoch, g.hash, g.validated, g.lastConfigs, g.assignedEpoch, g.assignedAt, g.state())
		if g.topology != nil {
			fmt.Fprintf(&b, "topology %x %v\n", wire.AppendValue(nil, g.topology, 0), g.sources)
		}
		for _, name := range g.sortedMembers() {
			m := g.members[name]
			fmt.Fprintf(&b, "member %s %s %s\n", name, showRecord(profileRecord(id, name, &m.profile)), showRecord(progressRecord(id, name, &m.progress)))
		}
		for _, name := range sortedKeys(g.target) {
			fmt.Fprintf(&b, "target %s %v\n", name, *g.target[name])
		}
		for role, o := range g.owners {
			for _, t := range slices.SortedFunc(maps.Keys(o), compareTasks) {
				fmt.Fprintf(&b, "owner %d %v %v\n", role, t, o[t])
			}
		}
	}
	return b.String()
}

func (d *driver) compareReplay() string {
	live, replayed := durable(d.groups), durable(d.replay())
	if live == replayed {
		return ""
	}
	return "live:\n" + live + "replayed:\n" + replayed
}

// TestScripts plays testdata/scripts. Each script runs twice: the same inputs give the same outputs.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		for range 2 {
			d := newDriver()
			datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
				d.out.Reset()
				for line := range strings.SplitSeq(td.Input, "\n") {
					if line = strings.TrimSpace(line); line == "" {
						continue
					}
					if err := d.line(line); err != nil {
						td.Fatalf(t, "%s: %v", line, err)
					}
				}
				if diff := d.compareReplay(); diff != "" {
					t.Fatalf("%s\nreplay differs from live:\n%s", td.Pos, diff)
				}
				if d.out.Len() == 0 {
					return "nothing\n"
				}
				return d.out.String()
			})
		}
	})
}
