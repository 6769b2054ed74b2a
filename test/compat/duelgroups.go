package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupsDuel plays classic groups: members that join, sync, fall behind and leave, and the offsets and descriptions of their groups.
// A new group begins at once, as who comes together during a delay depends on time.
var groupsDuel = discipline{
	name: "groups", settings: "group.initial.rebalance.delay.ms=0\n", prepare: prepareGroups, play: playGroups,
}

const (
	groupMoves    = 50
	groupMembers  = 5
	groupWaits    = 5 // questions of one game that may wait, each of which costs the time of a silence
	groupSession  = 120_000
	groupPatience = 300_000
)

// groupTopics are there for all games, with so many partitions.
var groupTopics = []struct {
	name       string
	partitions int32
}{{"duel.one", 1}, {"duel.three", 3}, {"duel.four", 4}, {evenTopic, evenPartitions}}

// prepareGroups makes the topics, and those of the coordinators.
func prepareGroups(ctx context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	for _, t := range groupTopics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.name, t.partitions, 1
		req.Topics = append(req.Topics, topic)
	}
	if _, err := req.RequestWith(ctx, cl); err != nil {
		return err
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "a"}, {Group: "b"}, {Group: "c"}, {Group: "d"}} // one of each partition
	for {
		resp, err := fetch.RequestWith(ctx, cl)
		for _, kind := range []int8{1, 2} {
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorType, find.CoordinatorKeys = kind, []string{"a:AAAAAAAAAAAAAAAAAAAAAQ:0"}
			found, failed := find.RequestWith(ctx, cl)
			err = errors.Join(err, failed)
			if failed == nil {
				err = errors.Join(err, kerr.ErrorForCode(found.Coordinators[0].ErrorCode))
			}
		}
		if err == nil && !slices.ContainsFunc(resp.Groups, func(g kmsg.OffsetFetchResponseGroup) bool { return g.ErrorCode != 0 }) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no groups are coordinated: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// groupGame is what a game with groups knows. Member ids are known as texts, see player.spelt.
type groupGame struct {
	*game
	groups  []string
	topics  []duelTopic
	members []*groupMember
	waits   int
	who     func() committer // who commits and fetches
	// assign makes the assignment that a leader gives to the member at a place of its roster, and read makes what a member is told
	// the same for both. All may be nil.
	assign func(place, members int) []byte
	others func() kmsg.LeaveGroupRequestMember // members of the other protocol, who may be removed
	read   func(mb *groupMember, assignment []byte) []byte
}

// move is a question of such a game. It is told when nobody answers yet.
type move struct {
	question
	parked func()
}

// duelTopic is a topic by name and by the name of its id; partitions is how many it has.
type duelTopic struct {
	name, id   string
	partitions int32
}

// groupMember is a member of a classic group, or who may become one.
type groupMember struct {
	name     string
	conn     int
	group    string
	instance *string
	protocol string
	kind     string // protocol type
	id       string // as text, "" before the first answer
	gen      int32
	leads    bool
	led      bool     // somebody leads its group, which is so in classic groups
	called   bool     // it was told to join again
	roster   []string // whom it assigns to, as texts
	has      []kmsg.ConsumerMemberMetadataOwnedPartition
	phase    phase
}

// phase is where a member is.
type phase int

const (
	out     phase = iota
	invited       // has an id to join with
	joining
	joined // has to sync
	syncing
	stable
)

func playGroups(g *game) error {
	t, err := newGroupGame(g, groupMembers+1)
	if err != nil {
		return err
	}
	t.groups = []string{g.prefix + ".a", g.prefix + ".b"}
	for i := range groupMembers {
		mb := &groupMember{name: fmt.Sprintf("m%d", i), conn: i, group: t.groups[0], gen: -1, kind: "consumer"}
		if i >= 3 && rarely(t.game, 2) {
			mb.group = t.groups[1]
		}
		if i%2 == 1 {
			mb.instance = kmsg.StringPtr("static" + mb.name)
		}
		t.members = append(t.members, mb)
	}
	moves := []func() *move{
		t.join, t.join, t.sync, t.heartbeat, t.heartbeat, t.leave, t.commit, t.commit, t.fetch, t.fetch, t.deleteOffsets,
		t.describe, t.describe, t.list, t.deleteGroups, t.find, t.describeConsumers,
	}
	for range groupMoves {
		if err := t.play(moves); err != nil {
			return err
		}
	}
	return nil
}

// play asks one question.
func (t *groupGame) play(moves []func() *move) error {
	q := t.next()
	for q == nil {
		q = oneOf(t.game, moves...)()
	}
	answers, err := t.ask(q.question)
	if err == nil && answers[0] == nil && q.parked != nil {
		q.parked()
	}
	return err
}

// newGroupGame opens connections and learns the ids of the topics.
func newGroupGame(g *game, conns int) (*groupGame, error) {
	if err := g.open(conns); err != nil {
		return nil, err
	}
	t := &groupGame{game: g}
	t.who = t.someone
	req := kmsg.NewPtrMetadataRequest()
	for _, known := range groupTopics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &known.name
		req.Topics = append(req.Topics, topic)
		t.topics = append(t.topics, duelTopic{known.name, "id of " + known.name, known.partitions})
	}
	ids := question{late: true, newest: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.MetadataResponse)
		r.Brokers, r.ClusterID = nil, nil
		for i := range r.Topics {
			if r.Topics[i].Topic != nil {
				p.bindID("id of "+*r.Topics[i].Topic, r.Topics[i].TopicID)
			}
			r.Topics[i].TopicID, r.Topics[i].Partitions = [16]byte{}, nil
		}
		sortTexts(p, r.Topics)
	}}
	_, err := g.ask(ids)
	t.topics = append(t.topics, duelTopic{"duel.none", "", 2})
	return t, err
}

// sortTexts sorts what has no order.
func sortTexts[T any](p *player, list []T) {
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(p.text(a), p.text(b)) })
}

// fresh is the end of member ids that a coordinator makes.
var fresh = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|^[0-9A-Za-z_-]{22}$`)

// spelt is s with what the broker made up by its name. A random end that nobody has seen gets the name given.
func (p *player) spelt(s, unseen string) string {
	for _, name := range p.order {
		s = strings.ReplaceAll(s, p.known[name], "<"+name+">")
	}
	if made := fresh.FindString(s); made != "" && unseen != "" {
		p.bind(unseen, made)
		s = strings.ReplaceAll(s, made, "<"+unseen+">")
	}
	return s
}

// fill is the opposite of spelt.
func (p *player) fill(s string) string {
	for _, name := range p.order {
		s = strings.ReplaceAll(s, "<"+name+">", p.known[name])
	}
	return s
}

// topicID is an id by its name; names that are none stand for an id that no topic has.
func (p *player) topicID(name string) (id [16]byte) {
	raw, err := hex.DecodeString(p.known[name])
	if err != nil || len(raw) != len(id) {
		return [16]byte{7, 7, 7}
	}
	copy(id[:], raw)
	return id
}

// next is what a member has to do for its group to go on, most of the time; nil when there is nothing, or something else is wanted.
func (t *groupGame) next() *move {
	if rarely(t.game, 3) {
		return nil
	}
	free := t.free()
	var able []*groupMember
	for _, mb := range t.members {
		if slices.Contains(free, mb.conn) {
			able = append(able, mb)
		}
	}
	for _, mb := range able {
		switch {
		case mb.phase == invited && !rarely(t.game, 4):
			return t.joinOf(mb, false)
		case mb.phase == joined && (mb.leads || !mb.led || t.leaderSynced(mb.group)) && !rarely(t.game, 5):
			return t.syncOf(mb, false)
		case mb.called && mb.phase != joining && !t.tired(mb.group):
			return t.joinOf(mb, false)
		case (mb.phase == stable || mb.phase == joined) && t.rebalances(mb.group):
			return t.joinOf(mb, false)
		}
	}
	return nil
}

func (t *groupGame) leaderSynced(group string) bool {
	return slices.ContainsFunc(t.members, func(mb *groupMember) bool { return mb.group == group && mb.leads && mb.phase == stable })
}

// rebalances says whether somebody waits for others to join.
func (t *groupGame) rebalances(group string) bool {
	return slices.ContainsFunc(t.members, func(mb *groupMember) bool { return mb.group == group && mb.phase == joining })
}

// tired says whether a question that may wait is not wanted any more.
func (t *groupGame) tired(group string) bool { return t.waits >= groupWaits && !t.rebalances(group) }

// join has a member join that is not waiting, wrongly now and then.
func (t *groupGame) join() *move {
	mb := oneOf(t.game, t.members...)
	if mb.phase == joining || t.tired(mb.group) {
		return nil
	}
	return t.joinOf(mb, rarely(t.game, 3))
}

// subscription is a consumer's; the member's name makes it different from those of others.
func subscription(mb *groupMember, topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.UserData, m.OwnedPartitions = 1, topics, []byte(mb.name), mb.has
	return m.AppendTo(nil)
}

// protocolsOf are the assignors that a member names.
func (t *groupGame) protocolsOf(mb *groupMember) (list []kmsg.JoinGroupRequestProtocol) {
	topics := oneOf(t.game, [][]string{{"duel.three"}, {"duel.three", "duel.four"}, {"duel.one"}, {}}...)
	for t.assign != nil && len(topics) == 0 { // see consumersGame.joins
		topics = oneOf(t.game, [][]string{{"duel.three"}, {"duel.four"}}...)
	}
	for _, name := range oneOf(t.game, [][]string{{"range"}, {"range", "roundrobin"}, {"roundrobin", "range"}, {"range", "sticky", "roundrobin"}}...) {
		list = append(list, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: subscription(mb, topics...)})
	}
	return list
}

func (t *groupGame) joinOf(mb *groupMember, wrong bool) *move {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = mb.group, groupSession, groupPatience
	req.InstanceID, req.ProtocolType, req.Protocols = mb.instance, mb.kind, t.protocolsOf(mb)
	if rarely(t.game, 3) {
		req.Reason = kmsg.StringPtr("because of " + mb.name)
	}
	id, astray := mb.id, false
	if mb.instance != nil && rarely(t.game, 4) {
		id = "" // it was restarted
	}
	if wrong {
		id, astray = t.wrongJoin(mb, req)
	}
	name := fmt.Sprintf("%s.%d", mb.name, t.asked)
	m := &move{}
	// Old versions have no static members; with another's id such a member would wait in the other's place.
	m.conn, m.newest = t.connOf(mb), t.assign != nil || mb.instance != nil && id != mb.id
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(id)
		return &r
	}
	m.learn = func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.JoinGroupResponse)
		text := p.spelt(r.MemberID, name)
		leader := p.spelt(r.LeaderID, name+".leader")
		var roster []string
		for i, o := range r.Members {
			of := slices.IndexFunc(t.members, func(mb *groupMember) bool { return strings.Contains(string(o.ProtocolMetadata), mb.name) })
			roster = append(roster, p.spelt(r.Members[i].MemberID, fmt.Sprintf("%s.m%d", name, of)))
		}
		sortTexts(p, r.Members)
		slices.Sort(roster)
		if p == t.sides[0] && !astray {
			mb.answered(r, text, leader, roster)
		}
	}
	m.parked = func() {
		t.waits++
		if m.conn == mb.conn {
			mb.phase = joining
		}
	}
	return m
}

// answered takes over what a member was told when it joined.
func (mb *groupMember) answered(r *kmsg.JoinGroupResponse, id, leader string, roster []string) {
	switch r.ErrorCode {
	case 0:
		mb.id, mb.gen, mb.leads, mb.led, mb.roster, mb.phase, mb.called = id, r.Generation, id == leader, leader != "", roster, joined, false
		if mb.protocol = ""; r.Protocol != nil {
			mb.protocol = *r.Protocol
		}
	case 79: // MEMBER_ID_REQUIRED
		mb.id, mb.gen, mb.phase = id, -1, invited
	case 25, 82: // UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID
		mb.gone()
	case 27: // REBALANCE_IN_PROGRESS
		mb.phase, mb.called = stable, true
	default:
		if mb.phase == joining {
			mb.phase = out
		}
	}
}

func (mb *groupMember) gone() {
	mb.id, mb.gen, mb.phase, mb.leads, mb.called, mb.has = "", -1, out, false, false, nil
}

// heard takes over an error that ends a membership or a generation.
func (mb *groupMember) heard(code int16) {
	mb.called = mb.called || code == 27 // REBALANCE_IN_PROGRESS
	if code == 25 || code == 82 {
		mb.gone()
	}
}

// idle is a member that waits for nothing: when its question comes again from elsewhere, Kafka never answers the first.
func (t *groupGame) idle() *groupMember {
	at := t.rng.IntN(len(t.members))
	for i := range t.members {
		if mb := t.members[(at+i)%len(t.members)]; mb.phase != joining && mb.phase != syncing {
			return mb
		}
	}
	return &groupMember{id: "nobody"}
}

// inhabited says whether a group has members.
func (t *groupGame) inhabited(group string) bool {
	return t.present(group) > 0
}

// wrongJoin makes a request wrong in one way; but not so that a new group would be refused its first member, which Kafka then keeps as an
// empty group, nor with a protocol that is named twice, which Kafka counts twice, so that it is nobody's in common any more. It returns the member id to ask with, and whether the answer is nothing to the member.
func (t *groupGame) wrongJoin(mb *groupMember, req *kmsg.JoinGroupRequest) (id string, astray bool) {
	id = mb.id
	switch t.rng.IntN(14) {
	case 0:
		req.Group = ""
	case 1:
		req.Group = t.prefix + ".none"
	case 2, 3:
		id = "nobody"
	case 4:
		if id = "nobody"; mb.instance != nil { // else the other would wait without knowing
			id = t.idle().id
		}
	case 5:
		req.SessionTimeoutMillis = oneOf(t.game, []int32{0, -1, 5_999, 1_800_001, 1<<31 - 1}...)
	case 6:
		req.RebalanceTimeoutMillis = 1<<31 - 1 // not -1, which ends a membership at once
		return id, false
	case 7:
		if t.inhabited(mb.group) {
			req.ProtocolType = oneOf(t.game, []string{"", "connect"}...)
		}
		return id, false
	case 8:
		if t.inhabited(mb.group) {
			req.Protocols = nil
		}
		return id, false
	case 9:
		if t.assign != nil { // what cannot be read is an unexpected error of Kafka's consumer groups
			return "", false
		}
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "foreign", Metadata: []byte(mb.name)}}
		return id, false
	case 10:
		req.InstanceID = oneOf(t.game, []*string{nil, kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + oneOf(t.game, t.members...).name), kmsg.StringPtr("")}...)
		return id, false
	case 11:
		req.Reason = kmsg.StringPtr(strings.Repeat("why ", 100))
		return id, false
	case 12: // not one that has more topics than bytes, which leaves Kafka's members without answer
		if t.assign != nil {
			return "", false
		}
		req.Protocols[0].Metadata = oneOf(t.game, [][]byte{nil, {0}, []byte(mb.name), {0, 1, 0, 0, 0, 1, 0}}...)
		return id, false
	default:
		return "", false
	}
	return id, true
}

// sync has a member ask for its assignment, wrongly now and then.
func (t *groupGame) sync() *move {
	mb := oneOf(t.game, t.members...)
	if mb.phase == syncing || mb.phase == joining || mb.phase == joined && !mb.leads && t.tired(mb.group) {
		return nil
	}
	return t.syncOf(mb, rarely(t.game, 2))
}

func (t *groupGame) syncOf(mb *groupMember, wrong bool) *move {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.InstanceID = mb.group, mb.gen, mb.instance
	req.ProtocolType, req.Protocol = &mb.kind, kmsg.StringPtr(mb.protocol)
	id, roster := mb.id, mb.roster
	if !mb.leads {
		roster = nil
	}
	astray := wrong
	if wrong {
		switch t.rng.IntN(12) {
		case 0:
			req.Group = ""
		case 1:
			req.Group = t.prefix + ".none"
		case 2:
			id = oneOf(t.game, []string{"", "nobody", t.idle().id}...)
		case 3:
			req.InstanceID = oneOf(t.game, []*string{nil, kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + oneOf(t.game, t.members...).name)}...)
		case 4:
			req.Generation += oneOf(t.game, []int32{-1, 1, 100}...)
		case 5:
			req.Generation = oneOf(t.game, []int32{-1, 0, -7}...)
		case 6:
			req.ProtocolType = oneOf(t.game, []*string{nil, kmsg.StringPtr("connect"), kmsg.StringPtr("")}...)
		case 7:
			req.Protocol = oneOf(t.game, []*string{nil, kmsg.StringPtr("foreign"), kmsg.StringPtr("")}...)
		case 8:
			roster, astray = append(slices.Clone(roster), "nobody"), false
		case 9:
			roster, astray = append(slices.Clone(roster), roster...), false
		case 10:
			roster, astray = roster[:len(roster)/2], false
		default:
			roster, astray = mb.roster, false
		}
	}
	round := t.asked
	m := &move{}
	m.conn = t.connOf(mb)
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(id)
		r.GroupAssignment = nil
		for i, id := range roster {
			a := kmsg.SyncGroupRequestGroupAssignment{MemberID: p.fill(id), MemberAssignment: fmt.Appendf(nil, "for %s in %d at %d", id, round, i)}
			if t.assign != nil {
				a.MemberAssignment = t.assign(i, len(roster))
			}
			r.GroupAssignment = append(r.GroupAssignment, a)
		}
		return &r
	}
	m.learn = func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.SyncGroupResponse)
		if t.read != nil {
			r.MemberAssignment = t.read(mb, r.MemberAssignment)
		}
		if p != t.sides[0] || astray {
			return
		}
		if r.ErrorCode == 0 || mb.phase == syncing {
			mb.phase = stable
		}
		mb.heard(r.ErrorCode)
	}
	m.parked = func() {
		t.waits++
		if !astray && m.conn == mb.conn {
			mb.phase = syncing
		}
	}
	return m
}

// heartbeat has a member say that it is there.
func (t *groupGame) heartbeat() *move {
	mb := oneOf(t.game, t.members...)
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.InstanceID = mb.group, mb.gen, mb.instance
	id, astray := mb.id, rarely(t.game, 3)
	if astray {
		switch t.rng.IntN(5) {
		case 0:
			req.Group = oneOf(t.game, []string{"", t.prefix + ".none", t.groups[1]}...)
		case 1:
			id = oneOf(t.game, []string{"", "nobody", oneOf(t.game, t.members...).id}...)
		case 2:
			req.InstanceID = oneOf(t.game, []*string{nil, kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + oneOf(t.game, t.members...).name)}...)
		case 3:
			req.Generation += oneOf(t.game, []int32{-1, 1, 100}...)
		default:
			req.Generation = oneOf(t.game, []int32{-1, 0, -7}...)
		}
	}
	m := &move{}
	m.conn = t.connOf(mb)
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(id)
		return &r
	}
	m.learn = func(p *player, resp kmsg.Response) {
		if p == t.sides[0] && !astray {
			mb.heard(resp.(*kmsg.HeartbeatResponse).ErrorCode)
		}
	}
	return m
}

// leave ends memberships: a member's own, or several that an administrator names. A leader leaves when there is at most one other member,
// as it is chance who leads after it in Kafka.
func (t *groupGame) leave() *move {
	mb := oneOf(t.game, t.members...)
	if slices.ContainsFunc(t.members, func(o *groupMember) bool { return o.group == mb.group && o.leads }) && t.present(mb.group) > 2 {
		return nil
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = mb.group
	leaver := kmsg.LeaveGroupRequestMember{MemberID: mb.id, InstanceID: mb.instance}
	if rarely(t.game, 3) {
		leaver.Reason = kmsg.StringPtr("enough")
	}
	if mb.instance != nil && rarely(t.game, 3) {
		leaver.MemberID = ""
	}
	list := []kmsg.LeaveGroupRequestMember{leaver}
	if t.others != nil && rarely(t.game, 4) {
		list = append(list, t.others())
	}
	for rarely(t.game, 2) {
		o := oneOf(t.game, t.members...)
		list = append(list, kmsg.LeaveGroupRequestMember{MemberID: o.id, InstanceID: o.instance})
	}
	if rarely(t.game, 3) {
		switch t.rng.IntN(6) {
		case 0:
			req.Group = oneOf(t.game, []string{"", t.prefix + ".none", t.groups[1]}...)
		case 1:
			list[0].MemberID = oneOf(t.game, []string{"", "nobody", oneOf(t.game, t.members...).id}...)
		case 2:
			list[0].InstanceID = oneOf(t.game, []*string{nil, kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + oneOf(t.game, t.members...).name)}...)
		case 3:
			list = nil
		case 4:
			list = append(list, list[0])
		default:
			list = append(list, kmsg.LeaveGroupRequestMember{MemberID: "nobody"})
		}
	}
	m := &move{}
	m.conn = t.connOf(mb)
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(mb.id)
		r.Members = nil
		for _, o := range list {
			o.MemberID = p.fill(o.MemberID)
			r.Members = append(r.Members, o)
		}
		return &r
	}
	m.learn = func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.LeaveGroupResponse)
		if p != t.sides[0] {
			return
		}
		for _, o := range t.members {
			if o.group == req.Group && (len(r.Members) == 0 && o == mb && r.ErrorCode == 0 || slices.ContainsFunc(r.Members, func(l kmsg.LeaveGroupResponseMember) bool {
				return l.ErrorCode == 0 && (p.spelt(l.MemberID, "") == o.id && o.id != "" || l.InstanceID != nil && o.instance != nil && *l.InstanceID == *o.instance)
			})) {
				o.gone()
			}
		}
	}
	return m
}

// present is how many members a group has.
func (t *groupGame) present(group string) (n int) {
	for _, mb := range t.members {
		if mb.group == group && mb.phase > invited {
			n++
		}
	}
	return n
}

// connOf is where a member's question goes: its own connection, or any other on which nothing waits.
func (t *groupGame) connOf(mb *groupMember) int {
	free := t.free()
	if mb != nil && slices.Contains(free, mb.conn) {
		return mb.conn
	}
	return free[len(free)-1]
}
