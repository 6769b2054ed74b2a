package share

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// driver drives share groups and share partitions' states by lines of a script, and writes down what they do.
type driver struct {
	now      group.Time
	img      *metadata.Image
	offset   int64
	others   registry
	config   GroupsConfig
	groups   *Groups
	states   StateConfig
	state    *State
	log      []group.Record // of groups
	stateLog []group.Record
	asked    []*wire.InitializeShareGroupStateRequest
	gone     map[string]bool // topics that were deleted
	out      strings.Builder
}

// registry has groups of other kinds, by their types.
type registry map[string]string

func (r registry) TypeOf(id string) (string, bool) { typ, ok := r[id]; return typ, ok }
func (r registry) Vacate(_ string, records []group.Record) ([]group.Record, bool) {
	return records, false
}
func (r registry) Offsets(string) bool { return false }

func newDriver() *driver {
	d := &driver{now: group.Time{Wall: 1_000_000, Mono: 1}, img: metadata.Empty(), others: registry{"classic": "classic"}, config: DefaultGroupsConfig(),
		states: DefaultStateConfig(), gone: map[string]bool{}}
	d.groups, d.state = NewGroups(d.config, d.others), NewState(d.states)
	d.state.SetImage(d.img)
	return d
}

func topicID(name string) (id wire.UUID) {
	copy(id[:], "topic "+name)
	return id
}

// tester is a test or a property.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// topic makes a topic have n partitions; 0 deletes it.
func (d *driver) topic(name string, n int) {
	d.offset++
	delta := d.img.Edit()
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	if n == 0 {
		check(delta.Apply(&wire.RemoveTopicRecord{TopicID: topicID(name)}))
	} else {
		had := 0
		if t, ok := d.img.Topic(name); ok {
			had = len(t.Partitions)
		} else {
			check(delta.Apply(&wire.TopicRecord{Name: name, TopicID: topicID(name)}))
		}
		for p := had; p < n; p++ {
			check(delta.Apply(&wire.PartitionRecord{TopicID: topicID(name), PartitionID: int32(p), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}))
		}
	}
	img, err := delta.Finish(d.offset, 1)
	check(err)
	d.img = img
	var fx group.Effects
	d.groups.SetImage(d.now, img, &fx)
	d.flush(&fx)
	d.state.SetImage(img)
	if n == 0 {
		var sfx StateEffects
		d.state.DeleteTopic(topicID(name), &sfx)
		d.flushState(&sfx)
	}
}

func (d *driver) say(format string, args ...any) { fmt.Fprintf(&d.out, format+"\n", args...) }

func (d *driver) flush(fx *group.Effects) {
	for _, w := range fx.Writes {
		for _, r := range w.Records {
			d.log = append(d.log, r)
			d.say("write %s", show(r, wire.DecodeGroupKey, wire.DecodeGroupValue))
		}
	}
	for _, e := range fx.Events {
		d.say("event %s: %s: %s", e.Group, e.What, e.Reason)
	}
}

func (d *driver) flushState(fx *StateEffects) {
	d.state.Submit(fx)
	base := int64(len(d.stateLog))
	for _, r := range fx.Write.Records {
		d.stateLog = append(d.stateLog, r)
		d.say("write %s", show(r, wire.DecodeShareKey, wire.DecodeShareValue))
	}
	if len(fx.Write.Records) > 0 {
		d.state.Settle(fx.Write.ID, base)
	}
	if fx.Prune > 0 {
		d.say("prune before %d", fx.Prune)
	}
}

// show writes a record in one line, ids as the names they were made of.
func show(r group.Record, key func([]byte) (wire.CoordinatorRecord, error), value func(int16, []byte) (wire.CoordinatorRecord, int16, error)) string {
	k, err := key(r.Key)
	if err != nil {
		return err.Error()
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", k), "*wire.Share")
	text := fmt.Sprintf("%s %s", strings.TrimSuffix(strings.TrimPrefix(name, "Group"), "Key"), brief(k))
	if r.Value == nil {
		return text + " gone"
	}
	v, _, err := value(k.CoordinatorType(), r.Value)
	if err != nil {
		return err.Error()
	}
	return text + " " + brief(v)
}

func brief(v any) string {
	if s, ok := v.(*wire.ShareGroupMemberMetadataValue); ok {
		rack := ""
		if s.RackID != nil {
			rack = *s.RackID
		}
		return fmt.Sprintf("{rack:%s client:%s host:%s topics:%v}", rack, s.ClientID, s.ClientHost, s.SubscribedTopicNames)
	}
	text := strings.TrimPrefix(fmt.Sprintf("%+v", v), "&")
	for name := 'a'; name <= 'z'; name++ {
		id := topicID(string(name))
		text = strings.ReplaceAll(text, id.String(), string(name))
	}
	for _, long := range []string{"AssignmentTimestamp", "DeliveryCompleteCount", "GroupID", "Partitions", "TopicPartitions"} {
		text = strings.ReplaceAll(text, long+":", strings.ToLower(long[:1])+":")
	}
	return text
}

func problemText(p Problem) string {
	if p.Code == wire.None {
		return "ok"
	}
	return p.Code.String() + " " + p.Text
}

// beat is a heartbeat.
func (d *driver) beat(id, memberID string, epoch int32, topics []string, client string) *wire.ShareGroupHeartbeatResponse {
	req := &wire.ShareGroupHeartbeatRequest{GroupID: id, MemberID: memberID, MemberEpoch: epoch, SubscribedTopicNames: topics}
	if bad := CheckHeartbeat(req); bad.Code != wire.None {
		d.say("%s -> %s", memberID, problemText(bad))
		return &wire.ShareGroupHeartbeatResponse{ErrorCode: bad.Code}
	}
	var fx group.Effects
	resp, ask := d.groups.Heartbeat(d.now, group.Client{ID: client, Host: "/h"}, req, &fx)
	switch {
	case resp.ErrorCode != wire.None:
		d.say("%s -> %s %s", memberID, resp.ErrorCode.String(), *resp.ErrorMessage)
	case resp.Assignment != nil:
		d.say("%s -> epoch %d in %d ms has %s", *resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMs, brief(resp.Assignment.TopicPartitions))
	default:
		d.say("%s -> epoch %d in %d ms", *resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMs)
	}
	d.flush(&fx)
	if ask != nil {
		d.asked = append(d.asked, ask)
		d.say("initialize %s", brief(ask))
	}
	return resp
}

// answer is the share coordinator's answer to the oldest question.
func (d *driver) answer(good bool) {
	if len(d.asked) == 0 {
		return
	}
	ask := d.asked[0]
	d.asked = d.asked[1:]
	var fx group.Effects
	if good {
		d.groups.Initialized(d.now, ask, &fx)
	} else {
		d.groups.NotInitialized(d.now, ask, &fx)
	}
	d.flush(&fx)
}

func (d *driver) advance(ms int64) {
	d.now.Wall += ms
	d.now.Mono += ms
	if at, ok := d.groups.Next(); ok && at <= d.now.Mono {
		var fx group.Effects
		d.groups.Expire(d.now, &fx)
		d.flush(&fx)
	}
	if at, ok := d.state.Next(); ok && at <= d.now.Mono {
		var fx StateEffects
		d.state.Expire(d.now, &fx)
		d.flushState(&fx)
	}
}

// alter sets the offsets of a partition that there is and of one that there is not; bad leaves out the first.
func (d *driver) alter(id, topic string, at int64, bad bool) {
	partitions := []wire.AlterShareGroupOffsetsRequestPartition{{PartitionIndex: 0, StartOffset: at}, {PartitionIndex: 7, StartOffset: at}}
	if bad {
		partitions = partitions[1:]
	}
	req := &wire.AlterShareGroupOffsetsRequest{GroupID: id, Topics: []wire.AlterShareGroupOffsetsRequestTopic{{TopicName: topic, Partitions: partitions}}}
	var fx group.Effects
	resp, ask := d.groups.AlterOffsets(d.now, req, &fx)
	if resp.ErrorCode != wire.None {
		d.say("%s %s", resp.ErrorCode.String(), *resp.ErrorMessage)
	}
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			d.say("%s-%d %s", t.TopicName, p.PartitionIndex, p.ErrorCode.String())
		}
	}
	d.flush(&fx)
	if ask != nil {
		d.asked = append(d.asked, ask)
		d.say("initialize %s", brief(ask))
	}
}

func (d *driver) deleteOffsets(id string, topics []string, good bool) {
	req := &wire.DeleteShareGroupOffsetsRequest{GroupID: id}
	for _, t := range topics {
		req.Topics = append(req.Topics, wire.DeleteShareGroupOffsetsRequestTopic{TopicName: t})
	}
	var fx group.Effects
	resp, ask := d.groups.StartDeleteOffsets(d.now, req, &fx)
	if resp.ErrorCode != wire.None {
		d.say("%s %s", resp.ErrorCode.String(), *resp.ErrorMessage)
	}
	for _, t := range resp.Responses {
		d.say("%s %s %s", t.TopicName, t.ErrorCode.String(), *t.ErrorMessage)
	}
	d.flush(&fx)
	if ask == nil {
		return
	}
	d.say("delete %s", brief(ask))
	if !good {
		return
	}
	var ids []wire.UUID
	for _, t := range ask.Topics {
		ids = append(ids, t.TopicID)
	}
	fx.Reset()
	d.groups.FinishDeleteOffsets(d.now, id, ids, &fx)
	d.flush(&fx)
}

func (d *driver) delete(id string, good bool) {
	var fx group.Effects
	ask, code, ok := d.groups.StartDelete(d.now, id, &fx)
	d.flush(&fx)
	if ask != nil {
		d.say("delete %s", brief(ask))
	}
	if code != wire.None || !ok || !good {
		d.say("%s %v", code.String(), ok)
		return
	}
	fx.Reset()
	records, code := d.groups.Delete(id, nil)
	fx.Record(records...)
	d.flush(&fx)
	d.say("%s", code.String())
}

// dump is all of the durable state of groups, in order.
func (g *Groups) dump() string {
	var b strings.Builder
	for _, id := range g.IDs() {
		sg := g.groups[id]
		fmt.Fprintf(&b, "%s %s epoch=%d hash=%d assigned=%d at %d reads=%v\n", id, g.State(id), sg.epoch, sg.hash, sg.assignedEpoch, sg.assignedAt, sg.reads)
		for _, m := range slices.Sorted(maps.Keys(sg.members)) {
			mb := sg.members[m]
			fmt.Fprintf(&b, "  %s %s %s %v epoch=%d previous=%d has=%v\n", m, mb.clientID, mb.host, mb.topics, mb.epoch, mb.previous, mb.assigned)
		}
		for _, m := range slices.Sorted(maps.Keys(sg.targets)) {
			fmt.Fprintf(&b, "  target %s %v\n", m, sg.targets[m])
		}
		if sg.states != nil {
			fmt.Fprintf(&b, "  states %+v\n", *sg.states.record())
		}
	}
	names := slices.Sorted(maps.Keys(g.readers))
	for _, name := range names {
		fmt.Fprintf(&b, "%s read by %d\n", name, len(g.readers[name]))
	}
	return b.String()
}

// dump is all of the durable state of share partitions, in order.
func (s *State) dump() string {
	var b strings.Builder
	for _, k := range s.keys() {
		fmt.Fprintf(&b, "%+v %+v\n", k, *s.partitions[k])
	}
	return b.String()
}

// replayed is what logs come to.
func (d *driver) replayed(t tester, log, stateLog []group.Record, from int64) (*Groups, *State) {
	t.Helper()
	g, s := NewGroups(d.config, d.others), NewState(d.states)
	for i, r := range log {
		if known, err := g.Apply(r.Key, r.Value); !known || err != nil {
			t.Fatalf("record %d: %v %v", i, known, err)
		}
	}
	for i, r := range stateLog {
		if known, err := s.Apply(&group.Entry{Offset: from + int64(i), ProducerID: -1, Key: r.Key, Value: r.Value}); !known || err != nil {
			t.Fatalf("state record %d: %v %v", i, known, err)
		}
	}
	return g, s
}

// restart goes on from the logs alone.
func (d *driver) restart(t tester) {
	d.groups, d.state = d.replayed(t, d.log, d.stateLog, 0)
	var fx group.Effects
	d.groups.SetImage(d.now, d.img, &fx)
	d.groups.Loaded(d.now, &fx)
	d.flush(&fx)
	var sfx StateEffects
	d.state.SetImage(d.img)
	d.state.Loaded(d.now, &sfx)
	d.flushState(&sfx)
}

// TestScripts runs what lies in testdata: one step a line, then what it does.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".txt") {
			return
		}
		d := newDriver()
		d.restart(t)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			d.out.Reset()
			for _, line := range strings.Split(td.Input, "\n") {
				d.step(t, strings.Fields(line))
			}
			return d.out.String()
		})
	})
}

// args are the words of a line that have the form key=value.
type args map[string]string

func (a args) number(key string, def int64) int64 {
	if v, ok := a[key]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func (d *driver) step(t *testing.T, words []string) {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return
	}
	a := args{"g": "g", "m": "m", "t": "a", "client": "c"}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	var topics []string
	if v, ok := a["topics"]; ok {
		topics = strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
	}
	switch words[0] {
	case "topic":
		d.topic(a["t"], int(a.number("n", 1)))
	case "beat":
		d.beat(a["g"], a["m"], int32(a.number("epoch", 0)), topics, a["client"])
	case "answer":
		_, bad := a["bad"]
		d.answer(!bad)
	case "advance":
		d.advance(a.number("ms", 1000))
	case "alter":
		_, bad := a["bad"]
		d.alter(a["g"], a["t"], a.number("at", 0), bad)
	case "delete-offsets":
		_, bad := a["bad"]
		d.deleteOffsets(a["g"], topics, !bad)
	case "delete":
		_, bad := a["bad"]
		d.delete(a["g"], !bad)
	case "describe":
		g := d.groups.Describe(a["g"])
		if g.ErrorMessage != nil {
			d.say("%s", problemText(Problem{g.ErrorCode, *g.ErrorMessage}))
			return
		}
		d.say("%s", brief(fmt.Sprintf("%+v", g)))
	case "restart":
		d.restart(t)
	case "max":
		d.config.MaxSize = int(a.number("n", 2))
		d.groups.config.MaxSize = d.config.MaxSize
	case "dump":
		d.say("%s", brief(strings.TrimSpace(d.groups.dump())))
		d.say("%s", brief(strings.TrimSpace(d.state.dump())))
	default:
		d.stateStep(t, words[0], a)
	}
}

// stateStep is a line about a share partition's state.
func (d *driver) stateStep(t *testing.T, word string, a args) {
	k := Key{a["g"], topicID(a["t"]), int32(a.number("p", 0))}
	var fx StateEffects
	var bad Problem
	switch word {
	case "state-updates":
		d.states.UpdatesPerSnapshot = int32(a.number("n", 2))
		d.state.config = d.states
		return
	case "state-init":
		bad = d.state.Initialize(d.now, k, &wire.InitializeShareGroupStateRequestPartitionData{
			StateEpoch: int32(a.number("state", 0)), StartOffset: a.number("start", -1)}, &fx)
	case "state-write":
		bad = d.state.Write(d.now, k, writeRequest(a), &fx)
	case "state-read":
		var out wire.ReadShareGroupStateResponsePartitionResult
		if bad = d.state.Read(d.now, k, int32(a.number("leader", -1)), &out, &fx); bad.Code == wire.None {
			d.say("state %d start %d %v", out.StateEpoch, out.StartOffset, out.StateBatches)
		}
	case "state-summary":
		var out wire.ReadShareGroupStateSummaryResponsePartitionResult
		if bad = d.state.Summary(k, &out); bad.Code == wire.None {
			d.say("state %d leader %d start %d complete %d", out.StateEpoch, out.LeaderEpoch, out.StartOffset, out.DeliveryCompleteCount)
		}
	case "state-delete":
		bad = d.state.Delete(k, &fx)
	default:
		t.Fatalf("no such step: %s", word)
	}
	if d.say("%s", problemText(bad)); bad.Code != wire.None && len(fx.Write.Records) > 0 {
		t.Fatal("refused, and written all the same")
	}
	d.flushState(&fx)
}

// writeRequest makes a request of batches like 0-4:1:2, which are offsets, state and delivery count.
func writeRequest(a args) *wire.WriteShareGroupStateRequestPartitionData {
	req := &wire.WriteShareGroupStateRequestPartitionData{
		StateEpoch: int32(a.number("state", -1)), LeaderEpoch: int32(a.number("leader", -1)), StartOffset: a.number("start", -1),
		DeliveryCompleteCount: int32(a.number("complete", -1)),
	}
	for _, text := range strings.FieldsFunc(a["batches"], func(r rune) bool { return r == ',' }) {
		var b wire.WriteShareGroupStateRequestStateBatch
		if _, err := fmt.Sscanf(text, "%d..%d:%d:%d", &b.FirstOffset, &b.LastOffset, &b.DeliveryState, &b.DeliveryCount); err != nil {
			panic(err)
		}
		req.StateBatches = append(req.StateBatches, b)
	}
	return req
}

// randomStep does something that often makes sense.
func (d *driver) randomStep(rng *rand.Rand) {
	id, m := fmt.Sprintf("g%d", rng.IntN(3)), fmt.Sprintf("m%d", rng.IntN(4))
	names := []string{"a", "b", "c"}
	switch rng.IntN(14) {
	case 0:
		// An id is never used twice.
		if name := names[rng.IntN(3)]; !d.gone[name] {
			d.topic(name, 1+rng.IntN(4))
		}
	case 1:
		name := names[rng.IntN(3)]
		if _, ok := d.img.Topic(name); ok && rng.IntN(8) == 0 {
			d.topic(name, 0)
			d.gone[name] = true
		}
	case 2, 3:
		rng.Shuffle(3, func(i, k int) { names[i], names[k] = names[k], names[i] })
		d.beat(id, m, 0, names[:1+rng.IntN(3)], "c")
	case 4, 5, 6:
		epoch := int32(rng.IntN(8))
		if sg := d.groups.groups[id]; sg != nil && sg.members[m] != nil && rng.IntN(5) > 0 {
			epoch = sg.members[m].epoch
		}
		d.beat(id, m, epoch, nil, "c")
	case 7:
		d.beat(id, m, -1, nil, "c")
	case 8, 9:
		d.answer(rng.IntN(4) > 0)
	case 10:
		d.advance(rng.Int64N(30_000))
	case 11:
		d.alter(id, names[rng.IntN(3)], rng.Int64N(100), rng.IntN(4) == 0)
	case 12:
		d.deleteOffsets(id, names[:1+rng.IntN(3)], rng.IntN(2) == 0)
	case 13:
		d.delete(id, rng.IntN(2) == 0)
	}
}

// randomState does something to a share partition's state.
func (d *driver) randomState(rng *rand.Rand) {
	k := Key{fmt.Sprintf("g%d", rng.IntN(2)), topicID([]string{"a", "b"}[rng.IntN(2)]), int32(rng.IntN(3))}
	var fx StateEffects
	switch rng.IntN(12) {
	case 0, 1:
		d.state.Initialize(d.now, k, &wire.InitializeShareGroupStateRequestPartitionData{StateEpoch: int32(rng.IntN(4)) - 1, StartOffset: rng.Int64N(20) - 1}, &fx)
	case 2:
		d.state.Delete(k, &fx)
	case 3:
		var out wire.ReadShareGroupStateResponsePartitionResult
		d.state.Read(d.now, k, int32(rng.IntN(5))-1, &out, &fx)
	case 4:
		d.advance(rng.Int64N(200_000))
	default:
		req := &wire.WriteShareGroupStateRequestPartitionData{
			StateEpoch: int32(rng.IntN(4)) - 1, LeaderEpoch: int32(rng.IntN(5)) - 1, StartOffset: rng.Int64N(30) - 1, DeliveryCompleteCount: int32(rng.IntN(9)) - 1,
		}
		for range rng.IntN(5) {
			first := rng.Int64N(40)
			req.StateBatches = append(req.StateBatches, wire.WriteShareGroupStateRequestStateBatch{
				FirstOffset: first, LastOffset: first + rng.Int64N(10), DeliveryState: int8(rng.IntN(4)), DeliveryCount: int16(rng.IntN(4)),
			})
		}
		d.state.Write(d.now, k, req, &fx)
	}
	d.flushState(&fx)
}

// checkBooks looks at what must always be true.
func (d *driver) checkBooks(t tester) {
	t.Helper()
	for id, sg := range d.groups.groups {
		reads := map[string]int{}
		for _, m := range sg.members {
			if !sort.StringsAreSorted(m.topics) || !m.Pending() {
				t.Fatalf("%s/%s: %v %v", id, m.id, m.topics, m.Pending())
			}
			for _, name := range m.topics {
				reads[name]++
			}
			for _, tp := range m.assigned {
				for _, p := range tp.Partitions {
					if _, exists := d.img.TopicByID(tp.Topic); exists && sg.states != nil && sg.states.deleting[tp.Topic] == "" &&
						(sg.states.initialized[tp.Topic] == nil || !slices.Contains(sg.states.initialized[tp.Topic].partitions, p)) {
						t.Fatalf("%s/%s has %v-%d, which has no state", id, m.id, tp.Topic, p)
					}
				}
			}
		}
		if !maps.Equal(reads, sg.reads) {
			t.Fatalf("%s: %v, not %v", id, sg.reads, reads)
		}
	}
	for k, p := range d.state.partitions {
		for i, b := range p.batches {
			if !b.valid() || b.First < p.start || i > 0 && b.First <= p.batches[i-1].Last || i > 0 && b.First == p.batches[i-1].Last+1 && b.alike(&p.batches[i-1]) {
				t.Fatalf("%+v: %v", k, p.batches)
			}
		}
	}
}
