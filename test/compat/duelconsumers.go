package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumersDuel plays consumer groups (KIP-848): members that join, are told their partitions, say rightly and wrongly what they own,
// fall behind, pause and leave; groups that move between the protocols; commits with member epochs.
var consumersDuel = discipline{
	name: "consumers", settings: "group.initial.rebalance.delay.ms=0\ngroup.consumer.assignment.interval.ms=0\n", prepare: prepareGroups, play: playConsumers,
}

const (
	consumerMoves = 50
	// evenTopic is what members read whose assignor is "uniform". It divides by all numbers of members; who gets which part of it
	// is chance in Kafka, whose tables have the ids of topics as keys.
	evenTopic      = "duel.twelve"
	evenPartitions = 12
)

// consumersGame is what a game of consumersDuel knows.
type consumersGame struct {
	*groupGame
	consumers []*duelConsumer
	even      bool    // members use the assignor "uniform"
	mixed     bool    // one group has members of the classic protocol, too
	regex     *string // what the members of the first group read, if they do so by an expression
}

// duelConsumer is a member of the consumer protocol.
type duelConsumer struct {
	name, group string
	id          string // as text
	instance    *string
	epoch       int32
	topics      []string
	told        map[*player][]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic // its partitions, not known when nil
	owns        bool                                                             // it has said that it owns them
}

func playConsumers(g *game) error {
	base, err := newGroupGame(g, groupMembers)
	if err != nil {
		return err
	}
	t := &consumersGame{groupGame: base, even: rarely(base.game, 3)}
	t.groups = []string{g.prefix + ".a", g.prefix + ".b"}
	t.who = t.someone
	t.mixed = !t.even && rarely(t.game, 2)
	for i := range 4 {
		m := &duelConsumer{name: fmt.Sprintf("c%d", i), group: t.groups[i/3]}
		m.id = "member-" + m.name
		if i%2 == 1 {
			m.instance = kmsg.StringPtr("static" + m.name)
		}
		t.consumers = append(t.consumers, m)
	}
	moves := []func() *move{
		t.beat, t.beat, t.beat, t.beat, t.join, t.join, t.leave, t.wrong, t.wrong, t.commit, t.fetch, t.deleteOffsets,
		t.describeConsumers, t.describeConsumers, t.describe, t.list, t.deleteGroups,
	}
	if t.mixed {
		t.assign, t.read = assignment, sortedAssignment
		for i := range 2 { // static ones, as the ids of others decide by chance who is before whom
			name := fmt.Sprintf("m%d", i)
			t.members = append(t.members, &groupMember{name: name, conn: i, group: t.groups[0], gen: -1, kind: "consumer", instance: kmsg.StringPtr("static" + name)})
		}
		t.others = func() kmsg.LeaveGroupRequestMember {
			if m := oneOf(t.groupGame.game, t.consumers...); t.present(m.group) < 2 { // see leave
				return kmsg.LeaveGroupRequestMember{MemberID: m.id, InstanceID: m.instance}
			}
			return kmsg.LeaveGroupRequestMember{MemberID: "nobody"}
		}
		moves = append(moves, t.groupGame.join, t.groupGame.join, t.sync, t.heartbeat, t.heartbeat, t.heartbeat, t.groupGame.leave)
	}
	if !t.even && !t.mixed {
		t.regex = oneOf(t.groupGame.game, []*string{nil, kmsg.StringPtr(`duel\.(one|three)`), kmsg.StringPtr("duel.t.*e"), kmsg.StringPtr("nothing.*"), kmsg.StringPtr("duel[.]f[a-z]+|duel.one")}...)
	}
	if t.regex != nil {
		if err := t.express(t.consumers[0]); err != nil {
			return err
		}
	}
	for range consumerMoves {
		if err := t.play(moves); err != nil {
			return err
		}
	}
	return nil
}

// express has the first member join with an expression. Kafka looks for its topics in the background, so that the member gets there later;
// after that the expression is known. Who reads by another would have to wait for seconds.
func (t *consumersGame) express(m *duelConsumer) error {
	m.gone()
	req, epochs := t.joins(m), map[*player]int32{}
	req.SubscribedTopicNames = nil // with names Kafka has two epochs where there is one here
	for i := range lateAgain {
		q := t.say(m, req, m.id, i > 0, false)
		q.newest = true // others know no expressions
		build, learn := q.build, q.learn
		q.build = func(p *player) kmsg.Request {
			r := build(p).(*kmsg.ConsumerGroupHeartbeatRequest)
			r.MemberEpoch = epochs[p]
			return r
		}
		q.learn = func(p *player, resp kmsg.Response) {
			learn(p, resp)
			r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
			epochs[p], r.MemberEpoch, r.Assignment = r.MemberEpoch, 0, nil
		}
		if _, err := t.ask(q.question); err != nil {
			return err
		}
		if m.epoch = epochs[t.sides[0]]; i > 2 && epochs[t.sides[1]] == m.epoch {
			return nil
		}
		req = m.request()
		<-time.After(latePause)
	}
	return fmt.Errorf("%s: epoch %d with %s, %d with %s", m.id, epochs[t.sides[0]], moldauName, epochs[t.sides[1]], kafkaName)
}

// someone is a member as it is, or wrong in one way, or an administrator.
func (t *consumersGame) someone() committer {
	if t.mixed && rarely(t.game, 2) {
		return t.groupGame.someone()
	}
	m := oneOf(t.groupGame.game, t.consumers...)
	c := committer{m.group, m.id, m.epoch, m.instance, t.connOf(nil)}
	if rarely(t.game, 4) {
		return committer{t.anyGroup(), "", -1, nil, c.conn}
	}
	if rarely(t.game, 3) {
		switch t.rng.IntN(4) {
		case 0:
			c.group = t.anyGroup()
		case 1:
			c.id = oneOf(t.groupGame.game, []string{"", "nobody", oneOf(t.groupGame.game, t.consumers...).id}...)
		case 2:
			c.gen += oneOf(t.groupGame.game, []int32{-1, 1, 100}...)
		default:
			c.gen = oneOf(t.groupGame.game, []int32{-1, 0, -2}...)
		}
	}
	return c
}

// request is a heartbeat that tells nothing new.
func (m *duelConsumer) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group, m.epoch, -1
	req.InstanceID = m.instance
	return req
}

// joins makes a heartbeat one that joins.
func (t *consumersGame) joins(m *duelConsumer) *kmsg.ConsumerGroupHeartbeatRequest {
	req := m.request()
	req.MemberEpoch, req.RebalanceTimeoutMillis, req.Topics = 0, groupPatience, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for len(req.SubscribedTopicNames) == 0 { // who joins and reads nothing has Kafka assign by a wrong idea of the others
		req.SubscribedTopicNames = t.subscription()
	}
	req.ServerAssignor = kmsg.StringPtr("range")
	if t.even {
		req.ServerAssignor = oneOf(t.groupGame.game, []*string{nil, kmsg.StringPtr("uniform")}...)
	}
	if rarely(t.game, 4) {
		req.RackID = kmsg.StringPtr("rack")
	}
	if t.regex != nil && m.group == t.groups[0] {
		req.SubscribedTopicRegex = t.regex
		if rarely(t.game, 3) {
			req.SubscribedTopicNames = nil
		}
	}
	return req
}

func (t *consumersGame) subscription() []string {
	if t.even {
		return []string{evenTopic}
	}
	return oneOf(t.groupGame.game, [][]string{{"duel.three"}, {"duel.three", "duel.four"}, {"duel.four", "duel.three"}, {"duel.one"}, {}, {"duel.none", "duel.four"}, {"duel.three", "duel.three"}}...)
}

// say is a heartbeat. What the member owns is put in for each side when owned is set; astray answers are nothing to the member.
func (t *consumersGame) say(m *duelConsumer, req *kmsg.ConsumerGroupHeartbeatRequest, id string, owned, astray bool) *move {
	name := fmt.Sprintf("%s.%d", m.name, t.asked)
	q := &move{}
	q.conn, q.newest = t.connOf(nil), t.regex != nil && req.MemberEpoch == 0 // version 0 knows no expressions
	q.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(id)
		if owned {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			for _, topic := range m.told[p] {
				r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic.TopicID, Partitions: topic.Partitions})
			}
		}
		return &r
	}
	q.learn = func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		if r.MemberID != nil && id == "" && r.ErrorCode == 0 {
			p.bind(name, *r.MemberID)
		}
		if r.Assignment != nil && !astray {
			m.told[p] = slices.Clone(r.Assignment.Topics)
		}
		if r.Assignment != nil {
			t.level(p, r.Assignment.Topics)
		}
		if p == t.sides[0] && !astray {
			m.answered(r, name)
			if owned && r.ErrorCode == 0 && r.Assignment == nil {
				m.owns = true
			}
		}
	}
	return q
}

// level sorts an assignment, and leaves only numbers of partitions where it is chance which they are.
func (t *consumersGame) level(p *player, topics []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic) {
	for i := range topics {
		topics[i].Partitions = slices.Sorted(slices.Values(topics[i].Partitions))
		if t.even {
			topics[i].Partitions = []int32{int32(len(topics[i].Partitions))}
		}
	}
	sortTexts(p, topics)
}

// answered takes over what a member was told.
func (m *duelConsumer) answered(r *kmsg.ConsumerGroupHeartbeatResponse, name string) {
	switch r.ErrorCode {
	case 0:
		if m.id == "" {
			m.id = "<" + name + ">"
		}
		if m.epoch = r.MemberEpoch; m.epoch < 0 {
			m.gone()
		}
		if r.Assignment != nil {
			m.owns = false
		}
	case 25, 110: // UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH
		m.gone()
	}
}

// gone ends a membership, on both sides.
func (m *duelConsumer) gone() {
	m.epoch, m.owns, m.told = 0, false, map[*player][]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}
}

// calm says whether a group's members may change. Where it is chance who has what, they may when all have what they should, as it is
// chance, too, who gets back what somebody else has not taken yet.
func (t *consumersGame) calm(group string) bool {
	epoch := int32(0)
	for _, m := range t.consumers {
		if m.group != group || m.epoch <= 0 {
			continue
		}
		if !m.owns || epoch > 0 && m.epoch != epoch {
			return !t.even
		}
		epoch = m.epoch
	}
	return true
}

// join has a member join that is none, or again.
func (t *consumersGame) join() *move {
	m := oneOf(t.groupGame.game, t.consumers...)
	if m.epoch > 0 && !rarely(t.game, 4) || !t.calm(m.group) {
		return nil
	}
	if m.told == nil {
		m.gone()
	}
	return t.say(m, t.joins(m), m.id, false, false)
}

// beat is what a member says most of the time: that it is there, and what it owns, once it has been told.
func (t *consumersGame) beat() *move {
	m := oneOf(t.groupGame.game, t.consumers...)
	if m.epoch <= 0 {
		return t.join()
	}
	req := m.request()
	if rarely(t.game, 2) {
		req.InstanceID = nil
	}
	if rarely(t.game, 6) {
		req.SubscribedTopicNames = t.subscription()
	}
	if rarely(t.game, 6) {
		req.RebalanceTimeoutMillis = groupPatience + int32(t.rng.IntN(3))
	}
	owned := !m.owns || rarely(t.game, 4)
	if rarely(t.game, 5) {
		owned = false // it has not got so far
	}
	if owned && rarely(t.game, 4) { // all that there is to say
		req.RebalanceTimeoutMillis = groupPatience
		req.SubscribedTopicNames = t.subscription()
	}
	return t.say(m, req, m.id, owned, false)
}

// leave ends a membership, or lets a static member pause. Of a group that would turn into a classic one it must not be the last of the new
// protocol while several of the old are there, as it is chance which of these leads then.
func (t *consumersGame) leave() *move {
	m := oneOf(t.groupGame.game, t.consumers...)
	if m.epoch <= 0 && !rarely(t.game, 6) || !t.calm(m.group) || t.regex != nil && m == t.consumers[0] {
		return nil
	}
	if t.mixed && m.group == t.groups[0] && t.present(m.group) > 1 {
		return nil
	}
	req := m.request()
	if req.MemberEpoch = -1; m.instance != nil && rarely(t.game, 2) {
		req.MemberEpoch = -2
	}
	return t.say(m, req, m.id, false, false)
}

// wrong is a heartbeat that is wrong in one way.
func (t *consumersGame) wrong() *move {
	m := oneOf(t.groupGame.game, t.consumers...)
	if m.told == nil {
		m.gone()
	}
	other := oneOf(t.groupGame.game, t.consumers...)
	if t.regex != nil && m == t.consumers[0] {
		return nil // it keeps the expression alive
	}
	req, id, owned := m.request(), m.id, false
	if m.epoch <= 0 || rarely(t.game, 3) {
		if !t.calm(m.group) {
			return nil
		}
		req = t.joins(m)
	}
	switch t.rng.IntN(20) {
	case 0:
		req.Group = oneOf(t.groupGame.game, []string{"", " ", t.prefix + ".none"}...)
		if req.MemberEpoch == 0 {
			req.MemberEpoch = 1
		}
	case 1:
		id = oneOf(t.groupGame.game, []string{"", " ", "nobody", other.id}...)
		if req.MemberEpoch == 0 {
			req.MemberEpoch = 1
		}
	case 2:
		req.InstanceID = oneOf(t.groupGame.game, []*string{nil, kmsg.StringPtr(""), kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + other.name)}...)
		if req.MemberEpoch == 0 {
			req.MemberEpoch = 1
		}
	case 3, 4:
		req.MemberEpoch += oneOf(t.groupGame.game, []int32{-1, 1, 100}...)
	case 5, 6:
		req.MemberEpoch, owned = m.epoch-1, true
	case 7:
		req.MemberEpoch = oneOf(t.groupGame.game, []int32{-3, -2, -1 << 31, 1<<31 - 1}...)
	case 8:
		req.RackID = kmsg.StringPtr("")
	case 9:
		req.ServerAssignor = oneOf(t.groupGame.game, []*string{kmsg.StringPtr(""), kmsg.StringPtr("sticky"), kmsg.StringPtr("Range")}...)
	case 10:
		req = t.joins(m)
		req.RebalanceTimeoutMillis = -1
	case 11:
		req = t.joins(m)
		req.Topics = nil
	case 12:
		req = t.joins(m)
		req.SubscribedTopicNames = nil
	case 13:
		req = t.joins(m)
		owned = true
	case 14:
		req.SubscribedTopicRegex = oneOf(t.groupGame.game, []*string{kmsg.StringPtr("["), kmsg.StringPtr("a(b"), kmsg.StringPtr("*")}...)
	case 15:
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	case 16:
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{7}, Partitions: []int32{0, 1}}}
	case 17:
		return t.stolen(m, other)
	case 18:
		req = other.request()
		req.InstanceID = m.instance
	default:
		req.RebalanceTimeoutMillis = oneOf(t.groupGame.game, []int32{0, -2}...)
		if req.RebalanceTimeoutMillis == 0 { // which would end the membership at the first revocation
			req.RebalanceTimeoutMillis = -1
		}
	}
	return t.say(m, req, id, owned, id != m.id)
}

// stolen has a member say that it owns what another does.
func (t *consumersGame) stolen(m, other *duelConsumer) *move {
	req := m.request()
	q := t.say(m, req, m.id, false, false)
	q.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID, r.Topics = p.fill(m.id), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, topic := range other.told[p] {
			r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic.TopicID, Partitions: topic.Partitions})
		}
		return &r
	}
	return q
}

// describeConsumers describes consumer groups.
func (t *consumersGame) describeConsumers() *move {
	m := t.groupGame.describeConsumers()
	learn := m.learn
	m.learn = func(p *player, resp kmsg.Response) {
		for _, g := range resp.(*kmsg.ConsumerGroupDescribeResponse).Groups {
			for i := range g.Members {
				for _, a := range []*kmsg.Assignment{&g.Members[i].Assignment, &g.Members[i].TargetAssignment} {
					for k := range a.TopicPartitions {
						tp := &a.TopicPartitions[k]
						if tp.Partitions = slices.Sorted(slices.Values(tp.Partitions)); t.even {
							tp.Partitions = []int32{int32(len(tp.Partitions))}
						}
					}
				}
			}
		}
		learn(p, resp)
	}
	return m
}

// assignment is what a leader gives to a member: its share of a topic.
func assignment(place, members int) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	topic := groupTopics[1]
	var list []int32
	for p := int32(place); p < topic.partitions; p += int32(members) {
		list = append(list, p)
	}
	if len(list) > 0 {
		a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic.name, Partitions: list})
	}
	return a.AppendTo(nil)
}

// sortedAssignment is a member's assignment in order, which it has then.
func sortedAssignment(mb *groupMember, b []byte) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if len(b) == 0 || a.ReadFrom(b) != nil {
		return b
	}
	for i := range a.Topics {
		slices.Sort(a.Topics[i].Partitions)
	}
	slices.SortFunc(a.Topics, func(x, y kmsg.ConsumerMemberAssignmentTopic) int { return cmp.Compare(x.Topic, y.Topic) })
	mb.has = nil
	for _, topic := range a.Topics {
		mb.has = append(mb.has, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic.Topic, Partitions: topic.Partitions})
	}
	return a.AppendTo(nil)
}
