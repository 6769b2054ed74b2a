package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// streamsDuel has members of streams groups join with topologies good and bad, take and give tasks, and leave.
var streamsDuel = discipline{name: "streams", prompt: true, prepare: prepareShares, play: playStreams, settings: `group.streams.initial.rebalance.delay.ms=0
group.streams.assignment.interval.ms=0
group.streams.max.session.timeout.ms=3600000
group.streams.session.timeout.ms=600000
`}

// Numbers of a game of streamsDuel.
const (
	streamsGroups  = 2
	streamsMembers = 3
	streamsMoves   = 28
	// Rounds of heartbeats without news after which a group is settled: any, one stirred by what brokers may learn late, and one whose
	// two sides stay different, which sees another record written now and then.
	streamsQuiet, streamsLate, streamsPatience, streamsNudge = 1, 3, 40, 3

	missingInternalTopics = 3 // a status in heartbeats
)

// streamsGame is what a game of streamsDuel knows.
type streamsGame struct {
	*game
	sources []string
	groups  []*streamsGroup
	members []*streamsMember
}

type streamsGroup struct {
	id       string
	members  []*streamsMember
	topology kmsg.StreamsGroupHeartbeatRequestTopology
	stirred  bool
	late     bool // what stirred it may be known late
	// endpoints tells that members other than the first have some. Then their sources are there and fit: Kafka fails otherwise.
	endpoints bool
}

type streamsMember struct {
	id, process string
	group       *streamsGroup
	conn        int
	in          bool
	sides       [2]streamsSide
}

// streamsSide is what one broker told a member.
type streamsSide struct {
	epoch                 int32
	active, standby, warm []kmsg.TaskIDs
	news                  bool
}

func playStreams(g *game) error {
	t := &streamsGame{game: g}
	if err := t.begin(); err != nil {
		return err
	}
	moves := []weighted{{10, t.join}, {5, t.leave}, {6, t.beat}, {10, t.wrong}, {3, t.describe}, {2, t.list}, {2, t.configure}, {2, t.newTopology}, {2, t.offsets}, {1, t.addTopic}, {1, t.deleteGroup}}
	for range streamsMoves {
		if err := t.draw(moves); err != nil {
			return err
		}
		if err := t.calm(); err != nil {
			return err
		}
	}
	return nil
}

func (t *streamsGame) begin() error {
	if err := t.open(1 + streamsGroups*streamsMembers); err != nil {
		return err
	}
	if err := t.create(0, 1, 2); err != nil {
		return err
	}
	for i := range streamsGroups {
		g := &streamsGroup{id: fmt.Sprintf("%s-%d", t.prefix, i), endpoints: t.percent(40)}
		for k := range streamsMembers {
			at := i*streamsMembers + k
			m := &streamsMember{id: inBucket(fmt.Sprintf("%s-m%d", t.prefix, at), k), group: g, conn: 1 + at}
			// Some share a process. The first bucket is that of members without one.
			of := t.rng.IntN(k + 1)
			m.process = inBucket(fmt.Sprintf("process-%d", of), of+1)
			g.members = append(g.members, m)
			t.members = append(t.members, m)
		}
		g.topology = t.topology(g, 1)
		t.groups = append(t.groups, g)
	}
	return nil
}

// create makes source topics, which have one to three partitions.
func (t *streamsGame) create(numbers ...int) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, i := range numbers {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("%s.%d", t.prefix, i), []int32{2, 2, 3, 1, 4}[i%5], 1
		req.Topics = append(req.Topics, topic)
		t.sources = append(t.sources, topic.Topic)
	}
	answers, err := t.both(0, func(*player) kmsg.Request { return req })
	if err != nil {
		return err
	}
	for i, p := range t.sides {
		for _, r := range answers[i].(*kmsg.CreateTopicsResponse).Topics {
			p.bindID("id of "+r.Topic, r.TopicID)
		}
	}
	wait := kmsg.NewPtrMetadataRequest()
	for i := range t.sources {
		r := kmsg.NewMetadataRequestTopic()
		r.Topic = &t.sources[i]
		wait.Topics = append(wait.Topics, r)
	}
	_, err = t.ask(question{late: true, build: func(*player) kmsg.Request { return wait }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.MetadataResponse)
		*r = kmsg.MetadataResponse{Topics: r.Topics}
		for i := range r.Topics {
			r.Topics[i] = kmsg.MetadataResponseTopic{ErrorCode: r.Topics[i].ErrorCode}
		}
	}})
	for i := 0; err == nil && i < streamsGroups; i++ {
		err = t.probe(fmt.Sprintf("%s-%d", t.prefix, i))
	}
	return err
}

// probe waits until the coordinators of a group know all sources: Kafka's learn of topics last. It asks by a group that has the same
// coordinator and ceases to be.
func (t *streamsGame) probe(like string) error {
	shard := func(id string) int32 {
		hash := javaHash(id) % 4 // as broker.go sets offsets.topic.num.partitions
		return max(hash, -hash)
	}
	id := ""
	for i := 0; id == "" || shard(id) != shard(like); i++ {
		id = fmt.Sprintf("probe-%s-%d-%d", like, len(t.sources), i)
	}
	m := &streamsMember{id: "probe", process: "probe", group: &streamsGroup{id: id}}
	top := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	top.Epoch = 1
	for i, source := range t.sources {
		s := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
		s.SubtopologyID, s.SourceTopics = fmt.Sprint(i), []string{source}
		top.Subtopologies = append(top.Subtopologies, s)
	}
	m.group.topology = top
	for side, p := range t.sides {
		for range settleRounds {
			resp, err := t.one(p, 0, t.joining(m))
			if err != nil {
				return err
			}
			r := resp.(*kmsg.StreamsGroupHeartbeatResponse)
			leave := m.request(side)
			leave.MemberEpoch = -1
			if _, err := t.one(p, 0, leave); err != nil {
				return err
			}
			if r.ErrorCode == 0 && len(r.Status) == 0 {
				break
			}
			<-time.After(settlePause)
		}
	}
	return nil
}

// inBucket lengthens a name until a hash table of Java's, of four buckets or sixteen, keeps it in the given one. Kafka's assignor
// treats members and processes that are equally loaded in the order of their buckets, Moldau's in that of their names: names for
// which both orders are the same get the same tasks.
func inBucket(name string, bucket int) string {
	for i := 0; ; i++ {
		s := fmt.Sprintf("%s-%d", name, i)
		hash := uint32(javaHash(s))
		if (hash^hash>>16)%16 == uint32(bucket) {
			return s
		}
	}
}

func javaHash(s string) (hash int32) {
	for _, c := range []byte(s) {
		hash = 31*hash + int32(c)
	}
	return hash
}

// addTopic makes a topic that topologies may have waited for.
func (t *streamsGame) addTopic() error {
	if len(t.sources) >= 5 {
		return nil
	}
	for _, g := range t.groups {
		g.stirred, g.late = true, true
	}
	return t.create(len(t.sources))
}

// source is a topic, sometimes one that there is not yet.
func (t *streamsGame) source() string {
	if t.percent(12) {
		return fmt.Sprintf("%s.%d", t.prefix, 3+t.rng.IntN(2))
	}
	return oneOf(t.game, t.sources...)
}

// topology is a good one, mostly.
func (t *streamsGame) topology(g *streamsGroup, epoch int32) kmsg.StreamsGroupHeartbeatRequestTopology {
	top := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	top.Epoch = epoch
	first := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
	first.SubtopologyID, first.SourceTopics = "0", []string{t.source()}
	if g.endpoints {
		first.SourceTopics = []string{oneOf(t.game, t.sources...)}
	} else if t.percent(40) {
		first.SourceTopics = append(first.SourceTopics, t.source())
		slices.Sort(first.SourceTopics)
		first.SourceTopics = slices.Compact(first.SourceTopics)
	}
	if len(first.SourceTopics) == 2 && t.percent(70) {
		c := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup()
		c.SourceTopics = []int16{0, 1}
		first.CopartitionGroups = append(first.CopartitionGroups, c)
	}
	if t.percent(40) {
		first.StateChangelogTopics = append(first.StateChangelogTopics, t.internal(fmt.Sprintf("%s-store-%d-changelog", g.id, epoch), 0))
	}
	if t.percent(30) {
		name := fmt.Sprintf("%s-again-%d-repartition", g.id, epoch)
		first.RepartitionSinkTopics = []string{name}
		second := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
		second.SubtopologyID = "1"
		second.RepartitionSourceTopics = append(second.RepartitionSourceTopics, t.internal(name, int32(t.rng.IntN(4))))
		if s := t.source(); t.percent(30) && !slices.Contains(first.SourceTopics, s) && !g.endpoints {
			second.SourceTopics = []string{s}
			c := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup()
			c.SourceTopics, c.RepartitionSourceTopics = []int16{0}, []int16{0}
			second.CopartitionGroups = append(second.CopartitionGroups, c)
		}
		if t.percent(40) {
			second.StateChangelogTopics = append(second.StateChangelogTopics, t.internal(fmt.Sprintf("%s-other-%d-changelog", g.id, epoch), 0))
		}
		top.Subtopologies = append(top.Subtopologies, first, second)
		return top
	}
	top.Subtopologies = append(top.Subtopologies, first)
	return top
}

// internal is a topic that the broker makes.
func (t *streamsGame) internal(name string, partitions int32) kmsg.TopicInfo {
	info := kmsg.NewTopicInfo()
	info.Topic, info.NumPartitions = name, partitions
	if t.percent(50) {
		c := kmsg.NewTopicInfoConfig()
		c.Key, c.Value = "cleanup.policy", "compact"
		info.Configs = append(info.Configs, c)
	}
	return info
}

// request is a member's heartbeat on one side.
func (m *streamsMember) request(side int) *kmsg.StreamsGroupHeartbeatRequest {
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	s := &m.sides[side]
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group.id, m.id, s.epoch, -1
	req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = s.active, s.standby, s.warm
	return req
}

// joining is a first heartbeat.
func (t *streamsGame) joining(m *streamsMember) *kmsg.StreamsGroupHeartbeatRequest {
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.RebalanceTimeoutMillis = m.group.id, m.id, 600_000
	top := m.group.topology
	req.Topology = &top
	process := m.process
	if len(m.group.members) > 0 && t.percent(15) {
		process = oneOf(t.game, m.group.members...).process
	}
	req.ProcessID = &process
	req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	if m.group.endpoints && t.percent(50) && slices.ContainsFunc(m.group.members, func(o *streamsMember) bool { return o.in && o != m }) {
		e := kmsg.NewStreamsGroupHeartbeatRequestUserEndpoint()
		e.Host, e.Port = "host-"+m.id, 9000
		req.UserEndpoint = &e
	}
	if t.percent(20) {
		tag := kmsg.NewStreamsGroupHeartbeatRequestClientTag()
		tag.Key, tag.Value = "zone", oneOf(t.game, "a", "b")
		req.ClientTags = append(req.ClientTags, tag)
	}
	if t.percent(20) {
		rack := "r"
		req.RackID = &rack
	}
	return req
}

// send sends a heartbeat and notes what came of it.
func (t *streamsGame) send(m *streamsMember, build func(side int) *kmsg.StreamsGroupHeartbeatRequest) error {
	return t.sendLearn(m, build, nil)
}

// sendLearn is send, and has the answers changed before they are compared.
func (t *streamsGame) sendLearn(m *streamsMember, build func(side int) *kmsg.StreamsGroupHeartbeatRequest, learn func(r *kmsg.StreamsGroupHeartbeatResponse)) error {
	return t.build(m.conn, func(p *player) kmsg.Request { return build(t.side(p)) }, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.StreamsGroupHeartbeatResponse)
		tidyStreams(r)
		if r.ErrorCode != 0 {
			return
		}
		m.note(t.side(p), r)
		if learn != nil {
			learn(r)
		}
		r.HeartbeatIntervalMillis = 0 // ours is shorter while the group settles
		m.group.stirred = true
	})
}

// note remembers what a member was told.
func (m *streamsMember) note(side int, r *kmsg.StreamsGroupHeartbeatResponse) {
	s := &m.sides[side]
	if r.ErrorCode != 0 || r.MemberEpoch < 0 {
		*s, m.in = streamsSide{}, false
		return
	}
	m.in = true
	s.news = s.epoch != r.MemberEpoch
	s.epoch = r.MemberEpoch
	if r.ActiveTasks != nil || r.StandbyTasks != nil || r.WarmupTasks != nil {
		s.news = true
		s.active, s.standby, s.warm = orNone(r.ActiveTasks), orNone(r.StandbyTasks), orNone(r.WarmupTasks)
	}
	if s.active == nil {
		s.active, s.standby, s.warm = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	}
}

func orNone(tasks []kmsg.TaskIDs) []kmsg.TaskIDs {
	if tasks == nil {
		return []kmsg.TaskIDs{}
	}
	return tasks
}

func sortTasks(tasks []kmsg.TaskIDs) {
	for _, t := range tasks {
		slices.Sort(t.Partitions)
	}
	slices.SortFunc(tasks, func(a, b kmsg.TaskIDs) int { return cmp.Compare(a.SubtopologyID, b.SubtopologyID) })
}

func tidyStreams(r *kmsg.StreamsGroupHeartbeatResponse) {
	for _, tasks := range [][]kmsg.TaskIDs{r.ActiveTasks, r.StandbyTasks, r.WarmupTasks} {
		sortTasks(tasks)
	}
	for i := range r.Status { // lists of topics are in the order of Java's hash
		if what, topics, ok := strings.Cut(r.Status[i].StatusDetail, " are missing: "); ok {
			names := strings.Split(topics, ", ")
			slices.Sort(names)
			r.Status[i].StatusDetail = what + " are missing: " + strings.Join(names, ", ")
		}
	}
	slices.SortFunc(r.Status, func(a, b kmsg.StreamsGroupHeartbeatResponseStatus) int {
		return cmp.Compare(a.StatusCode, b.StatusCode)
	})
	slices.SortFunc(r.PartitionsByUserEndpoint, func(a, b kmsg.StreamsGroupHeartbeatResponsePartitionsByUserEndpoint) int {
		return cmp.Compare(a.UserEndpoint.Host, b.UserEndpoint.Host)
	})
	for i := range r.PartitionsByUserEndpoint {
		e := &r.PartitionsByUserEndpoint[i]
		slices.SortFunc(e.ActivePartitions, func(a, b kmsg.StreamsGroupHeartbeatResponsePartitionsByUserEndpointActivePartition) int {
			return cmp.Compare(a.Topic, b.Topic)
		})
		slices.SortFunc(e.StandbyPartitions, func(a, b kmsg.StreamsGroupHeartbeatResponsePartitionsByUserEndpointStandbyPartition) int {
			return cmp.Compare(a.Topic, b.Topic)
		})
		for _, a := range e.ActivePartitions {
			slices.Sort(a.Partitions)
		}
		for _, a := range e.StandbyPartitions {
			slices.Sort(a.Partitions)
		}
	}
}

func (t *streamsGame) join() error {
	m := oneOf(t.game, t.members...)
	req := t.joining(m)
	return t.send(m, func(int) *kmsg.StreamsGroupHeartbeatRequest { return req })
}

func (t *streamsGame) leave() error {
	m := oneOf(t.game, t.members...)
	return t.send(m, func(side int) *kmsg.StreamsGroupHeartbeatRequest {
		req := m.request(side)
		req.MemberEpoch = -1
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = nil, nil, nil
		return req
	})
}

func (t *streamsGame) beat() error {
	m := oneOf(t.game, t.members...)
	if !m.in {
		return t.join()
	}
	return t.send(m, m.request)
}

// wrong is a heartbeat with one thing wrong.
func (t *streamsGame) wrong() error {
	m := oneOf(t.game, t.members...)
	join := t.joining(m)
	n, k := t.rng.IntN(26), t.rng.IntN(100)
	return t.sendLearn(m, func(side int) *kmsg.StreamsGroupHeartbeatRequest {
		req := m.request(side)
		if n < 16 {
			copied := *join
			req = &copied
			top := *join.Topology
			top.Subtopologies = slices.Clone(top.Subtopologies)
			req.Topology = &top
		}
		t.spoil(req, n, k)
		return req
	}, func(r *kmsg.StreamsGroupHeartbeatResponse) {
		if n == 16 || n == 19 || n == 21 {
			// Moldau tells members their tasks again that show, by epoch or tasks, that they missed an answer.
			r.ActiveTasks, r.StandbyTasks, r.WarmupTasks = nil, nil, nil
		}
	})
}

// spoil makes one thing wrong.
func (t *streamsGame) spoil(req *kmsg.StreamsGroupHeartbeatRequest, n, k int) {
	var first *kmsg.StreamsGroupHeartbeatRequestTopologySubtopology
	if req.Topology != nil {
		first = &req.Topology.Subtopologies[0]
	}
	text := func(s string) *string { return &s }
	switch n {
	case 0:
		req.Group = []string{"", " ", "other group of " + req.MemberID}[k%3]
		// Without topics to be made, for nobody waits until that group has its own.
		req.Topology.Subtopologies = req.Topology.Subtopologies[:1]
		first.StateChangelogTopics, first.RepartitionSinkTopics = nil, nil
	case 1:
		req.MemberID = []string{"", " "}[k%2]
	case 2:
		req.Topology = nil
	case 3:
		req.ActiveTasks = nil
	case 4:
		req.RebalanceTimeoutMillis = []int32{0, -1, -2}[k%3]
	case 5:
		req.ProcessID = nil
	case 6:
		req.InstanceID = text([]string{"i", ""}[k%2])
	case 7:
		first.SourceTopicRegex = []string{"a.*"}
	case 8:
		req.Topology.Subtopologies = []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{}
	case 9:
		req.Topology.Epoch += []int32{1, -1, 5}[k%3]
	case 10:
		first.SourceTopics = [][]string{{}, {""}, {"with space"}, {t.prefix + ".nowhere"}}[k%4]
		first.CopartitionGroups = nil // Kafka fails on what these do not have, and Moldau says what is wrong
	case 11:
		first.CopartitionGroups = nil
	case 12:
		info := kmsg.NewTopicInfo()
		info.Topic, info.NumPartitions, info.ReplicationFactor = "bad name", int32(k%3)-1, int16(k%3)-1
		first.StateChangelogTopics = []kmsg.TopicInfo{info}
	case 13:
		req.ActiveTasks = []kmsg.TaskIDs{{SubtopologyID: "0", Partitions: []int32{0}}}
	case 14:
		req.ClientTags = []kmsg.StreamsGroupHeartbeatRequestClientTag{{}}
	case 15:
		req.RackID = text("")
	case 16:
		req.MemberEpoch += []int32{1, 7, -1, -9}[k%4]
	case 17:
		req.MemberID += "x"
	case 18:
		req.MemberEpoch = -2
	case 19:
		req.ActiveTasks = []kmsg.TaskIDs{{SubtopologyID: []string{"0", "9", ""}[k%3], Partitions: []int32{int32(k%6) - 1}}}
	case 20:
		req.StandbyTasks = nil
	case 21:
		req.WarmupTasks = []kmsg.TaskIDs{{SubtopologyID: "0", Partitions: []int32{0}}}
	case 22:
		req.TaskOffsets = []kmsg.TaskOffset{{SubtopologyID: "0", Partition: 0, Offset: 3}}
	case 23:
		req.TaskEndOffsets = []kmsg.TaskOffset{}
	case 24:
		req.ShutdownApplication = true
	case 25:
		req.EndpointInformationEpoch = int32(k%4) - 1
	}
}

// newTopology changes the topology that members of a group join with from now on.
func (t *streamsGame) newTopology() error {
	g := oneOf(t.game, t.groups...)
	epoch := g.topology.Epoch
	if t.percent(60) {
		epoch++
	}
	g.topology = t.topology(g, epoch)
	return nil
}

// calm has the members of groups that were stirred report until nothing changes any more, and compares what has come of it.
func (t *streamsGame) calm() error {
	for _, g := range t.groups {
		if !g.stirred {
			continue
		}
		g.stirred = false
		if err := t.calmGroup(g); err != nil {
			return err
		}
		if err := t.describeGroup(g.id); err != nil {
			return err
		}
		for _, m := range g.members {
			if !m.in {
				continue
			}
			if err := t.send(m, m.request); err != nil {
				return err
			}
		}
		g.stirred = false
	}
	return nil
}

// calmGroup has the members of a group report until there is nothing new on either side, and both sides say the same. Where one may
// not know yet what was changed, or internal topics are on their way, it waits longer.
func (t *streamsGame) calmGroup(g *streamsGroup) error {
	quiet, enough := 0, streamsQuiet
	if g.late {
		enough = streamsLate
	}
	g.late = false
	last := [2]string{}
	for range settleRounds {
		news, creating := false, false
		for i := range t.sides {
			waits, err := t.round(g, i)
			if err != nil {
				return err
			}
			creating = creating || waits
			text, moving, err := t.state(g, i)
			if err != nil {
				return err
			}
			for _, m := range g.members {
				news = news || m.in && m.sides[i].news
			}
			news = news || moving || text != last[i]
			last[i] = text
		}
		if quiet++; news {
			quiet = 0
		}
		same := last[0] == last[1] && !creating
		if same && quiet >= enough || quiet >= streamsPatience {
			return nil
		}
		if !same && quiet%streamsNudge == streamsNudge-1 {
			// What Kafka learns in a heartbeat that writes nothing shows after the next record of the group's partition only.
			if err := t.probe(g.id); err != nil {
				return err
			}
		}
		if !same || enough > streamsQuiet {
			<-time.After(settlePause)
		}
	}
	return nil // the comparison will tell
}

// round has the members of a group report to one side once, and tells whether the group waits for internal topics.
func (t *streamsGame) round(g *streamsGroup, side int) (creating bool, err error) {
	for _, m := range g.members {
		if !m.in {
			continue
		}
		resp, err := t.one(t.sides[side], m.conn, m.request(side))
		if err != nil {
			return false, err
		}
		r := resp.(*kmsg.StreamsGroupHeartbeatResponse)
		tidyStreams(r)
		if r.ErrorCode != 0 {
			m.sides[side].news = false
			continue // told in the comparison
		}
		m.note(side, r)
		for _, s := range r.Status {
			creating = creating || s.StatusCode == missingInternalTopics
		}
	}
	return creating, nil
}

// state is how one side describes a group, and whether it says that tasks move.
func (t *streamsGame) state(g *streamsGroup, side int) (text string, moving bool, err error) {
	resp, err := t.one(t.sides[side], 0, describeStreams(g.id))
	if err != nil {
		return "", false, err
	}
	d := resp.(*kmsg.StreamsGroupDescribeResponse)
	tidyDescription(d)
	state := d.Groups[0].State
	return t.sides[side].text(d), state == "Reconciling" || state == "Assigning", nil
}

func describeStreams(ids ...string) *kmsg.StreamsGroupDescribeRequest {
	req := kmsg.NewPtrStreamsGroupDescribeRequest()
	req.Groups = ids
	return req
}

func tidyDescription(r *kmsg.StreamsGroupDescribeResponse) {
	slices.SortStableFunc(r.Groups, func(a, b kmsg.StreamsGroupDescribeResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	for i := range r.Groups {
		members := r.Groups[i].Members
		slices.SortFunc(members, func(a, b kmsg.StreamsGroupDescribeResponseGroupMember) int {
			return cmp.Compare(a.MemberID, b.MemberID)
		})
		for k := range members {
			m := &members[k]
			m.ClientHost = ""
			for _, a := range []*kmsg.StreamsAssignment{&m.Assignment, &m.TargetAssignment} {
				sortTasks(a.ActiveTasks)
				sortTasks(a.StandbyTasks)
				sortTasks(a.WarmupTasks)
			}
		}
	}
}

func (t *streamsGame) groupID() string {
	if t.percent(10) {
		return oneOf(t.game, "", " ", t.prefix+"-nobody's")
	}
	return oneOf(t.game, t.groups...).id
}

func (t *streamsGame) describeGroup(ids ...string) error {
	return t.build(0, func(*player) kmsg.Request { return describeStreams(ids...) }, func(_ *player, resp kmsg.Response) {
		tidyDescription(resp.(*kmsg.StreamsGroupDescribeResponse))
	})
}

func (t *streamsGame) describe() error {
	id := t.groupID()
	switch t.rng.IntN(4) {
	case 0:
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = []string{id}
		return t.build(0, func(*player) kmsg.Request { return req }, nil)
	case 1:
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{id}
		return t.build(0, func(*player) kmsg.Request { return req }, nil)
	}
	return t.describeGroup(id, t.groupID())
}

func (t *streamsGame) list() error {
	req := kmsg.NewPtrListGroupsRequest()
	if t.percent(60) {
		req.TypesFilter = oneOf(t.game, []string{"streams"}, []string{"Streams", "share"}, []string{"consumer"}, []string{"classic"})
	}
	if t.percent(50) {
		req.StatesFilter = oneOf(t.game, []string{"Stable"}, []string{"empty"}, []string{"NOT_READY"}, []string{"reconciling", "Assigning"})
	}
	return t.build(0, func(*player) kmsg.Request { return req }, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.ListGroupsResponse)
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !strings.HasPrefix(g.Group, t.prefix+"-") })
		if len(r.Groups) == 0 {
			r.Groups = nil // where there were none of other games either
		}
		slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	})
}

// configure changes how a group is served.
func (t *streamsGame) configure() error {
	g := oneOf(t.game, t.groups...)
	s := oneOf(t.game, []string{"streams.num.standby.replicas", "0", "1", "2", "3", "-1"}, []string{"streams.session.timeout.ms", "600000", "1"},
		[]string{"streams.heartbeat.interval.ms", "500", "1000", "1"}, []string{"streams.nothing", "1"})
	g.stirred, g.late = true, true
	sh := shareAdmin{&sharesGame{game: t.game}}
	if err := sh.set(g.id, s[0], oneOf(t.game, s[1:]...)); err != nil {
		return err
	}
	<-time.After(latePause)
	return nil
}

// offsets commits, reads and deletes offsets in the name of a member.
func (t *streamsGame) offsets() error {
	m := oneOf(t.game, t.members...)
	topic := oneOf(t.game, t.sources...)
	wrong := t.rng.IntN(10)
	if t.percent(60) {
		return t.build(0, func(p *player) kmsg.Request {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.MemberID, req.Generation = m.group.id, m.id, m.sides[t.side(p)].epoch
			switch wrong {
			case 0:
				req.Generation += 5
			case 1:
				req.Generation--
			case 2:
				req.MemberID = "x"
			case 3:
				req.MemberID, req.Generation = "", -1
			}
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = topic, p.id(topic)
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Offset = 3
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}, nil)
	}
	if t.percent(50) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = m.group.id
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = topic
		rt.Partitions = append(rt.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
		req.Topics = append(req.Topics, rt)
		return t.build(0, func(*player) kmsg.Request { return req }, nil)
	}
	return t.build(0, func(p *player) kmsg.Request {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = m.group.id
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = m.group.id
		if wrong < 5 {
			member := m.id
			g.MemberID, g.MemberEpoch = &member, m.sides[t.side(p)].epoch+int32(wrong/4)
		}
		rt := kmsg.NewOffsetFetchRequestTopic()
		rt.Topic, rt.Partitions = topic, []int32{0}
		req.Topics = append(req.Topics, rt)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.TopicID, gt.Partitions = topic, p.id(topic), []int32{0}
		g.Topics = append(g.Topics, gt)
		req.Groups = append(req.Groups, g)
		return req
	}, nil)
}

func (t *streamsGame) deleteGroup() error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{t.groupID()}
	return t.build(0, func(*player) kmsg.Request { return req }, nil)
}
