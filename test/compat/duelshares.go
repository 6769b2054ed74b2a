package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sharesDuel has members of share groups join, fetch, acknowledge and leave, and others look at the groups and their offsets.
// Locks and sessions last longer than a game. With ack.durability=written Moldau finds all records in one place, and answers with as
// many as there are; otherwise an answer may end where its journal does.
var sharesDuel = discipline{name: "shares", prepare: prepareShares, play: playShares, settings: `group.share.assignment.interval.ms=0
group.share.max.session.timeout.ms=3600000
group.share.session.timeout.ms=600000
group.share.max.record.lock.duration.ms=3600000
group.share.record.lock.duration.ms=600000
ack.durability=written
`}

// Numbers of a game of sharesDuel.
const (
	sharesTopics  = 3
	sharesGroups  = 2
	sharesMembers = 2 // of each group
	sharesMoves   = 24
	settleRounds  = 200
	settlePause   = 10 * time.Millisecond
	closePause    = 30 * time.Millisecond
	fetchPause    = 5 * time.Millisecond // Kafka lets go of a share partition just after it has answered a fetch
	warmRounds    = 100
	warmWait      = 20 // ms that each fetch waits that has a share partition loaded
)

// sharesGame is what a game of sharesDuel knows.
type sharesGame struct {
	*game
	topics  []*shareTopic
	groups  []*shareGroup
	members []*shareMember
	states  statesGame
	over    bool // Kafka has failed with a NullPointerException, as it does at acknowledgements below all that was acquired
}

type shareTopic struct {
	name  string
	ends  []int64 // of each partition
	alive bool
}

type shareGroup struct {
	id      string
	members []*shareMember
	ready   map[shareKey]bool // share partitions that have a state
	warm    map[shareKey]bool // those that brokers have loaded
	warmer  *shareMember      // nobody but a first reader, whose session keeps brokers from forgetting what they loaded

	stuck   bool // Kafka keeps a topic of it without partitions, for which it fails to delete the group
	crowded bool // two members have been there at once
	stirred bool // something was done that takes heartbeats to settle
}

type shareKey struct {
	topic     *shareTopic
	partition int32
}

type shareMember struct {
	id      string
	group   *shareGroup
	conn    int
	epoch   int32    // 0: has not joined
	epochs  [2]int32 // while the group settles, on each side
	topics  []string
	session int32      // the next epoch of its share session, 0: none
	parts   []shareKey // what is in that session
	has     []held
}

// held is a range of records that a member acquired.
type held struct {
	shareKey
	first, last int64
}

// prepareShares waits until the coordinators of groups, transactions and states have loaded what there is.
func prepareShares(ctx context.Context, addr string) error {
	c, err := dialDuel(addr)
	if err != nil {
		return err
	}
	defer c.close()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(6)
	describe := describeShares()
	describe.SetVersion(1)
	state := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	state.GroupID = "g"
	topic := kmsg.NewReadShareGroupStateSummaryRequestTopic()
	topic.TopicID = [16]byte{1, 2, 3}
	for i := range 32 { // of some each partition of the coordinators' topics has one
		find.CoordinatorKeys = append(find.CoordinatorKeys, fmt.Sprintf("g%d", i))
		describe.GroupIDs = append(describe.GroupIDs, fmt.Sprintf("g%d", i))
		p := kmsg.NewReadShareGroupStateSummaryRequestTopicPartition()
		p.Partition = int32(i)
		topic.Partitions = append(topic.Partitions, p)
	}
	state.Topics = append(state.Topics, topic)
	last := ""
	for range settleRounds {
		bad := 0 // answers that say: not yet
		for kind := range int8(3) {
			if find.CoordinatorType = kind; kind == 2 {
				find.CoordinatorKeys = []string{"g:AQIDAAAAAAAAAAAAAAAAAA:0"}
			}
			c.send(find)
			resp, err := c.receive(duelPatience)
			if err != nil {
				return err
			}
			for _, r := range resp.(*kmsg.FindCoordinatorResponse).Coordinators {
				bad += int(r.ErrorCode)
			}
		}
		c.send(describe)
		resp, err := c.receive(duelPatience)
		if err != nil {
			return err
		}
		for _, r := range resp.(*kmsg.ShareGroupDescribeResponse).Groups {
			if r.ErrorCode != 69 { // GROUP_ID_NOT_FOUND
				bad++
			}
		}
		for i := range 8 {
			init := kmsg.NewPtrInitProducerIDRequest()
			id := fmt.Sprintf("t%d", i)
			init.TransactionalID, init.TransactionTimeoutMillis, init.ProducerID, init.ProducerEpoch = &id, 60_000, -1, -1
			init.SetVersion(4)
			c.send(init)
			if resp, err = c.receive(duelPatience); err != nil {
				return err
			}
			bad += int(resp.(*kmsg.InitProducerIDResponse).ErrorCode)
		}
		c.send(state)
		if resp, err = c.receive(duelPatience); err != nil {
			return err
		}
		for _, r := range resp.(*kmsg.ReadShareGroupStateSummaryResponse).Topics[0].Partitions {
			if r.ErrorCode >= 14 && r.ErrorCode <= 16 { // loading, not available, not here
				bad++
			}
		}
		last = (&player{}).text(resp)
		if bad == 0 {
			return nil
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the coordinators do not become ready: %s", last)
}

func playShares(g *game) error {
	t := &sharesGame{game: g}
	if err := t.begin(); err != nil {
		return err
	}
	a := shareAdmin{t}
	moves := []weighted{
		{8, t.join}, {3, t.leave}, {4, t.beat}, {4, t.wrongBeat}, {20, t.fetch}, {18, t.acknowledge}, {4, t.close}, {6, t.produce}, {3, t.transact},
		{3, a.describe}, {2, a.list}, {5, a.offsets}, {3, a.alterOffsets}, {2, a.deleteOffsets}, {2, a.deleteGroups}, {3, a.configure}, {5, t.state},
	}
	for range sharesMoves {
		if err := t.draw(moves); err != nil {
			return err
		}
		if err := t.calm(); err != nil || t.over {
			return err
		}
	}
	return nil
}

// begin makes topics, records and the settings of the groups.
func (t *sharesGame) begin() error {
	if err := t.open(1 + sharesGroups*(sharesMembers+1)); err != nil {
		return err
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for i := range sharesTopics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("%s.%d", t.prefix, i), int32(1+i%2), 1
		req.Topics = append(req.Topics, topic)
		t.topics = append(t.topics, &shareTopic{name: topic.Topic, ends: make([]int64, topic.NumPartitions), alive: true})
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
	if err := t.known(); err != nil {
		return err
	}
	var ids, resets []string
	for i := range sharesGroups {
		group := &shareGroup{id: fmt.Sprintf("%s-%d", t.prefix, i), ready: map[shareKey]bool{}, warm: map[shareKey]bool{}}
		for k := range sharesMembers {
			m := &shareMember{id: fmt.Sprintf("%s-member-%d-%d", t.prefix, i, k), group: group, conn: 1 + i*sharesMembers + k}
			group.members = append(group.members, m)
			t.members = append(t.members, m)
		}
		group.warmer = &shareMember{id: fmt.Sprintf("%s-warmer-%d", t.prefix, i), group: group, conn: 1 + sharesGroups*sharesMembers + i}
		t.groups = append(t.groups, group)
		ids, resets = append(ids, group.id), append(resets, oneOf(t.game, "earliest", "earliest", "latest"))
	}
	if err := (shareAdmin{t}).setEach(ids, "share.auto.offset.reset", resets); err != nil {
		return err
	}
	for _, topic := range t.topics { // none stays empty: of such a partition Kafka can load nothing by time
		for i := range topic.ends {
			if err := t.produceTo(topic, int32(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// known waits until both know the topics.
func (t *sharesGame) known() error {
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range t.topics {
		r := kmsg.NewMetadataRequestTopic()
		r.Topic = &topic.name
		req.Topics = append(req.Topics, r)
	}
	_, err := t.ask(question{late: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.MetadataResponse)
		r.Brokers, r.ClusterID = nil, nil // their addresses
		slices.SortFunc(r.Topics, func(a, b kmsg.MetadataResponseTopic) int { return cmp.Compare(*a.Topic, *b.Topic) })
		for i := range r.Topics {
			slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		}
	}})
	<-time.After(latePause) // Kafka's coordinators learn of topics last
	return err
}

// say asks a question that is the same for both and waits for the answer.
func (t *sharesGame) say(conn int, req kmsg.Request, learn func(p *player, resp kmsg.Response)) error {
	return t.build(conn, func(*player) kmsg.Request { return req }, learn)
}

// build asks a question that each side has in its own words, and waits for the answer.
func (g *game) build(conn int, build func(p *player) kmsg.Request, learn func(p *player, resp kmsg.Response)) error {
	done := 0
	q := question{conn: conn, build: build, learn: func(p *player, resp kmsg.Response) {
		done++
		if learn != nil {
			learn(p, resp)
		}
	}}
	_, err := g.ask(q)
	for err == nil && done < 2 {
		err = g.settle()
	}
	return err
}

// both asks each side without comparing the answers.
func (g *game) both(conn int, req func(p *player) kmsg.Request) (answers [2]kmsg.Response, err error) {
	for i, p := range g.sides {
		if answers[i], err = g.one(p, conn, req(p)); err != nil {
			return answers, err
		}
	}
	return answers, nil
}

// one asks one side.
func (g *game) one(p *player, conn int, req kmsg.Request) (kmsg.Response, error) {
	req.SetVersion(g.versions[req.Key()].high)
	p.conns[conn].send(req)
	resp, err := p.conns[conn].receive(duelPatience)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.name, p.text(req), err)
	}
	return resp, nil
}

// id is a topic's id on a side; what has none gets one that nobody has.
func (p *player) id(topic string) (id [16]byte) {
	if b, err := hex.DecodeString(p.known["id of "+topic]); err == nil && len(b) == len(id) {
		copy(id[:], b)
		return id
	}
	copy(id[:], "unknown topic id")
	return id
}

// topicNamed is what an id stands for.
func (p *player) topicNamed(id [16]byte) string {
	value := hex.EncodeToString(id[:])
	for _, name := range p.order {
		if p.known[name] == value {
			return name
		}
	}
	return value
}

// join has a member join, or join again, or change what it reads.
func (t *sharesGame) join() error {
	m := oneOf(t.game, t.members...)
	req := m.heartbeat()
	if t.percent(70) {
		req.MemberEpoch = 0
	}
	m.topics = t.subscription()
	req.SubscribedTopicNames = m.topics
	if t.percent(20) {
		rack := oneOf(t.game, "a", "")
		req.RackID = &rack
	}
	return t.send(m, req)
}

func (t *sharesGame) subscription() []string {
	topics := []string{}
	for _, topic := range t.topics {
		if t.percent(60) {
			topics = append(topics, topic.name)
		}
	}
	if t.percent(10) {
		topics = append(topics, t.prefix+".nowhere")
	}
	if t.percent(5) && len(topics) > 0 {
		topics = append(topics, topics[0])
	}
	return topics
}

func (m *shareMember) heartbeat() *kmsg.ShareGroupHeartbeatRequest {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = m.group.id, m.id, m.epoch
	return req
}

// send sends a member's heartbeat and notes what came of it.
func (t *sharesGame) send(m *shareMember, req *kmsg.ShareGroupHeartbeatRequest) error {
	return t.say(m.conn, req, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ShareGroupHeartbeatResponse)
		sortShareAssignment(p, r)
		if m.group.crowded || m.group.joins(m) {
			r.Assignment = nil // who gets what depends on the topics' ids, of which each broker makes its own
		}
		if r.ErrorCode == 0 {
			m.epoch = max(r.MemberEpoch, 0)
			m.epochs = [2]int32{m.epoch, m.epoch}
			m.group.count()
			m.group.stirred = true
			r.HeartbeatIntervalMillis = 0 // ours is shorter while the group settles
		}
	})
}

func sortShareAssignment(p *player, r *kmsg.ShareGroupHeartbeatResponse) {
	if r.Assignment == nil {
		return
	}
	for _, tp := range r.Assignment.TopicPartitions {
		slices.Sort(tp.Partitions)
	}
	slices.SortFunc(r.Assignment.TopicPartitions, func(a, b kmsg.ShareGroupHeartbeatResponseAssignmentTopicPartition) int {
		return cmp.Compare(p.topicNamed(a.TopicID), p.topicNamed(b.TopicID))
	})
}

func (t *sharesGame) leave() error {
	m := oneOf(t.game, t.members...)
	req := m.heartbeat()
	req.MemberEpoch = -1
	return t.send(m, req)
}

func (t *sharesGame) beat() error {
	m := oneOf(t.game, t.members...)
	if m.epoch == 0 {
		return t.join()
	}
	return t.send(m, m.heartbeat())
}

// wrongBeat is a heartbeat with one thing wrong.
func (t *sharesGame) wrongBeat() error {
	m := oneOf(t.game, t.members...)
	req := m.heartbeat()
	if t.percent(50) {
		req.MemberEpoch = 0
	}
	switch t.rng.IntN(8) {
	case 0:
		req.GroupID = oneOf(t.game, "", " ", t.prefix+"-nobody's")
		req.MemberEpoch = oneOf[int32](t.game, -1, 1, 5)
	case 1:
		req.MemberID = oneOf(t.game, "", " ", "a-name-that-is-longer-than-a-uuid-may-be-in-hex")
	case 2:
		req.MemberEpoch = oneOf(t.game, m.epoch+1, m.epoch+7, -2, -3, m.epoch-1)
	case 3:
		req.MemberID += "x"
		req.MemberEpoch = oneOf[int32](t.game, -1, 1, m.epoch)
	case 4:
		req.MemberEpoch, req.SubscribedTopicNames = 0, nil
	case 5:
		req.MemberEpoch, req.SubscribedTopicNames = 0, []string{}
		m.topics = []string{}
	case 6:
		req.SubscribedTopicNames = []string{oneOf(t.game, "", "with space", ".", t.prefix+".nowhere")}
		m.topics = req.SubscribedTopicNames
	case 7:
		rack := ""
		req.RackID = &rack
	}
	return t.send(m, req)
}

// calm has the members of groups that were stirred report until all have what they shall have, and compares that.
func (t *sharesGame) calm() error {
	for _, g := range t.groups {
		if !g.stirred {
			continue
		}
		if err := t.calmGroup(g); err != nil {
			return err
		}
		g.stirred = false
		for _, m := range g.members {
			for _, topic := range t.topics {
				if m.epoch > 0 && topic.alive && slices.Contains(m.topics, topic.name) {
					for i := range topic.ends {
						g.ready[shareKey{topic, int32(i)}] = true
					}
				}
			}
		}
		if err := (shareAdmin{t}).describeGroup(g.id); err != nil {
			return err
		}
	}
	return nil
}

func (t *sharesGame) calmGroup(g *shareGroup) error {
	quiet := 0
	for range settleRounds {
		settled := true
		for _, m := range g.members {
			if m.epoch == 0 {
				continue
			}
			if err := t.report(m); err != nil {
				return err
			}
		}
		descriptions, err := t.both(0, func(*player) kmsg.Request { return describeShares(g.id) })
		if err != nil {
			return err
		}
		for i := range descriptions {
			settled = settled && t.settled(t.sides[i], descriptions[i].(*kmsg.ShareGroupDescribeResponse))
		}
		if quiet++; !settled {
			quiet = 0
		}
		if quiet == 2 {
			return nil
		}
		<-time.After(settlePause)
	}
	return nil // the comparison will tell
}

// joins tells that another member is there already.
func (g *shareGroup) joins(m *shareMember) bool {
	return slices.ContainsFunc(g.members, func(o *shareMember) bool { return o != m && o.epoch > 0 })
}

// count notes whether a group has, or has had since it was empty, more than one member.
func (g *shareGroup) count() {
	n := 0
	for _, m := range g.members {
		if m.epoch > 0 {
			n++
		}
	}
	g.crowded = n > 1 || g.crowded && n > 0
}

// report sends a member's heartbeat to both, each with the epoch that it was told there.
func (t *sharesGame) report(m *shareMember) error {
	for i, p := range t.sides {
		req := m.heartbeat()
		req.SetVersion(1)
		req.MemberEpoch = m.epochs[i]
		p.conns[m.conn].send(req)
		resp, err := p.conns[m.conn].receive(duelPatience)
		if err != nil {
			return err
		}
		m.epochs[i] = resp.(*kmsg.ShareGroupHeartbeatResponse).MemberEpoch
	}
	m.epoch = m.epochs[0]
	return nil
}

// settled tells that a group is stable and has assigned every partition that its members read.
func (t *sharesGame) settled(p *player, resp *kmsg.ShareGroupDescribeResponse) bool {
	g := resp.Groups[0]
	if g.ErrorCode != 0 || len(g.Members) == 0 {
		return true
	}
	if g.GroupEpoch != g.AssignmentEpoch {
		return false
	}
	missing := map[string]int{}
	for _, m := range g.Members {
		if m.MemberEpoch != g.GroupEpoch {
			return false
		}
		for _, name := range m.SubscribedTopicNames {
			for _, topic := range t.topics {
				if topic.name == name && topic.alive {
					missing[name] = len(topic.ends)
				}
			}
		}
	}
	assigned := map[string]bool{}
	for _, m := range g.Members {
		for _, tp := range m.Assignment.TopicPartitions {
			for _, n := range tp.Partitions {
				assigned[fmt.Sprint(tp.Topic, n)] = true
			}
		}
	}
	all := 0
	for _, n := range missing {
		all += n
	}
	return all == len(assigned)
}

func describeShares(ids ...string) *kmsg.ShareGroupDescribeRequest {
	req := kmsg.NewPtrShareGroupDescribeRequest()
	req.GroupIDs = ids
	return req
}
