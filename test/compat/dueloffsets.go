package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is asked of groups of every kind: offsets, descriptions, lists.

// anyGroup is one of the game's groups, or one that there is not.
func (t *groupGame) anyGroup() string {
	if rarely(t.game, 8) {
		return oneOf(t.game, []string{"", t.prefix + ".none", t.prefix + ".free", strings.Repeat("g", 300)}...)
	}
	return oneOf(t.game, append(t.groups, t.prefix+".free")...)
}

// partition is a partition of a topic, or one that there is not.
func (t *groupGame) partition(topic duelTopic) int32 {
	if rarely(t.game, 12) {
		return oneOf(t.game, []int32{-1, topic.partitions, 1 << 30}...)
	}
	return int32(t.rng.IntN(int(topic.partitions)))
}

// committer is who commits or fetches: a member, or somebody without group.
type committer struct {
	group    string
	id       string // as text
	gen      int32
	instance *string
	conn     int
}

// someone is a member as it is, or wrong in one way, or an administrator.
func (t *groupGame) someone() committer {
	mb := oneOf(t.game, t.members...)
	c := committer{mb.group, mb.id, mb.gen, mb.instance, t.connOf(mb)}
	if rarely(t.game, 4) {
		return committer{t.anyGroup(), "", -1, nil, c.conn}
	}
	if rarely(t.game, 3) {
		switch t.rng.IntN(5) {
		case 0:
			c.group = t.anyGroup()
		case 1:
			c.id = oneOf(t.game, []string{"", "nobody", oneOf(t.game, t.members...).id}...)
		case 2:
			c.instance = oneOf(t.game, []*string{nil, kmsg.StringPtr("nobody's"), kmsg.StringPtr("static" + oneOf(t.game, t.members...).name)}...)
		case 3:
			c.gen += oneOf(t.game, []int32{-1, 1, 100}...)
		default:
			c.gen = oneOf(t.game, []int32{-1, 0, -7}...)
		}
	}
	return c
}

// commit commits offsets.
func (t *groupGame) commit() *move {
	who := t.who()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.InstanceID = who.group, who.gen, who.instance
	req.RetentionTimeMillis = oneOf(t.game, []int64{-1, -1, 3_600_000}...)
	var ids []string
	for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
		known := oneOf(t.game, t.topics...)
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic = known.name
		for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
			topic.Partitions = append(topic.Partitions, t.committed(known))
		}
		req.Topics = append(req.Topics, topic)
		ids = append(ids, known.id)
	}
	if who.gen < 0 && len(req.Topics) > 0 { // see deleteOffsets
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.Partitions = t.topics[0].name, []kmsg.OffsetCommitRequestTopicPartition{{Offset: 7}}
		req.Topics, ids = append(req.Topics, topic), append(ids, t.topics[0].id)
	}
	m := &move{}
	m.conn = who.conn
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.MemberID = p.fill(who.id)
		r.Topics = slices.Clone(r.Topics)
		for i := range r.Topics {
			r.Topics[i].TopicID = p.topicID(ids[i])
		}
		return &r
	}
	return m
}

// committed is an offset to commit.
func (t *groupGame) committed(topic duelTopic) kmsg.OffsetCommitRequestTopicPartition {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = t.partition(topic), int64(t.rng.IntN(1000))
	p.LeaderEpoch = oneOf(t.game, []int32{-1, -1, 0, 3}...)
	p.Timestamp = oneOf(t.game, []int64{-1, -1, 1_700_000_000_000}...)
	p.Metadata = oneOf(t.game, []*string{kmsg.StringPtr(""), kmsg.StringPtr("note"), nil, kmsg.StringPtr("ünïcode")}...)
	if rarely(t.game, 8) {
		p.Metadata = oneOf(t.game, []*string{kmsg.StringPtr(strings.Repeat("m", 4096)), kmsg.StringPtr(strings.Repeat("m", 4097)), kmsg.StringPtr(strings.Repeat("é", 4096))}...)
	}
	if rarely(t.game, 12) {
		p.Offset = oneOf(t.game, []int64{-1, -2, -1 << 63, 1<<63 - 1}...)
	}
	return p
}

// fetch reads committed offsets.
func (t *groupGame) fetch() *move {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = rarely(t.game, 2)
	var ids [][]string
	var members []string
	conn := 0
	for i := range oneOf(t.game, []int{1, 1, 1, 2, 3}...) {
		who := t.who()
		conn = who.conn
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberEpoch = who.group, who.gen
		id := who.id
		if rarely(t.game, 2) || id == "" { // an epoch without a member is an unexpected error in Kafka
			id, g.MemberEpoch = "", -1
		}
		members = append(members, id)
		var topicIDs []string
		if !rarely(t.game, 3) {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
			for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
				known := oneOf(t.game, t.topics...)
				topic := kmsg.NewOffsetFetchRequestGroupTopic()
				topic.Topic = known.name
				for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
					topic.Partitions = append(topic.Partitions, t.partition(known))
				}
				g.Topics, topicIDs = append(g.Topics, topic), append(topicIDs, known.id)
			}
		}
		ids = append(ids, topicIDs)
		if i == 0 {
			req.Group = g.Group
			for _, topic := range g.Topics {
				req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: topic.Topic, Partitions: topic.Partitions})
			}
		}
		if !slices.ContainsFunc(req.Groups, func(o kmsg.OffsetFetchRequestGroup) bool { return o.Group == g.Group }) || rarely(t.game, 4) {
			req.Groups = append(req.Groups, g)
		} else {
			ids, members = ids[:len(ids)-1], members[:len(members)-1]
		}
	}
	m := &move{}
	m.conn = conn
	m.build = func(p *player) kmsg.Request {
		r := *req
		r.Groups = slices.Clone(r.Groups)
		for i := range r.Groups {
			g := &r.Groups[i]
			if g.MemberID = nil; members[i] != "" {
				g.MemberID = kmsg.StringPtr(p.fill(members[i]))
			}
			g.Topics = slices.Clone(g.Topics)
			for k := range g.Topics {
				g.Topics[k].TopicID = p.topicID(ids[i][k])
			}
		}
		return &r
	}
	m.learn = func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.OffsetFetchResponse)
		if req.Topics == nil { // who asks for all gets them in no order
			for i := range r.Topics {
				sortTexts(p, r.Topics[i].Partitions)
			}
			sortTexts(p, r.Topics)
		}
		for i := range r.Groups {
			if i < len(req.Groups) && req.Groups[i].Topics != nil {
				continue
			}
			for k := range r.Groups[i].Topics {
				sortTexts(p, r.Groups[i].Topics[k].Partitions)
			}
			sortTexts(p, r.Groups[i].Topics)
		}
	}
	return m
}

// deleteOffsets deletes committed offsets; but not the one that each group without members has since its first commit: Kafka keeps a
// group that no record tells of in memory for some minutes.
func (t *groupGame) deleteOffsets() *move {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = t.anyGroup()
	for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
		known := oneOf(t.game, t.topics...)
		topic := kmsg.NewOffsetDeleteRequestTopic()
		topic.Topic = known.name
		for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
			if p := t.partition(known); known.name != t.topics[0].name || p != 0 {
				topic.Partitions = append(topic.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	m := t.plain(req, nil)
	m.late = false
	return m
}

// plain is a question that is the same for both, on a connection on which nothing waits. Kafka answers it from what is committed, which
// may be later than the answer that a JoinGroup got.
func (t *groupGame) plain(req kmsg.Request, learn func(p *player, resp kmsg.Response)) *move {
	m := &move{}
	m.conn, m.build, m.learn, m.late = t.connOf(nil), func(*player) kmsg.Request { return req }, learn, true
	return m
}

// someGroups are groups to ask for, some of them twice.
func (t *groupGame) someGroups() (list []string) {
	for range oneOf(t.game, []int{1, 1, 2, 3, 0}...) {
		list = append(list, t.anyGroup())
	}
	return list
}

// describe describes classic groups.
func (t *groupGame) describe() *move {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = t.someGroups(), rarely(t.game, 3)
	name := fmt.Sprintf("described.%d", t.asked)
	return t.plain(req, func(p *player, resp kmsg.Response) {
		for _, g := range resp.(*kmsg.DescribeGroupsResponse).Groups {
			for i := range g.Members {
				if mb := &g.Members[i]; fresh.MatchString(p.spelt(mb.MemberID, "")) {
					mb.MemberID = fresh.ReplaceAllString(mb.MemberID, name) // it has not been answered yet
				}
			}
			sortTexts(p, g.Members)
		}
		sortTexts(p, resp.(*kmsg.DescribeGroupsResponse).Groups) // Kafka's order is that of their partitions in a hash table
	})
}

// describeConsumers describes consumer groups.
func (t *groupGame) describeConsumers() *move {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups, req.IncludeAuthorizedOperations = t.someGroups(), rarely(t.game, 3)
	return t.plain(req, func(p *player, resp kmsg.Response) {
		for _, g := range resp.(*kmsg.ConsumerGroupDescribeResponse).Groups {
			for i := range g.Members {
				sortTexts(p, g.Members[i].Assignment.TopicPartitions)
				sortTexts(p, g.Members[i].TargetAssignment.TopicPartitions)
			}
			sortTexts(p, g.Members)
		}
		sortTexts(p, resp.(*kmsg.ConsumerGroupDescribeResponse).Groups)
	})
}

// list lists groups by state and type.
func (t *groupGame) list() *move {
	req := kmsg.NewPtrListGroupsRequest()
	states := []string{"Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Dead", "stable", " Empty", "Assigning", "Reconciling", "Unknown", "", "other"}
	types := []string{"classic", "consumer", "Classic", "share", "streams", "unknown", "", " classic", "other"}
	for rarely(t.game, 2) {
		req.StatesFilter = append(req.StatesFilter, oneOf(t.game, states...))
	}
	for rarely(t.game, 3) {
		req.TypesFilter = append(req.TypesFilter, oneOf(t.game, types...))
	}
	return t.plain(req, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ListGroupsResponse)
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !strings.HasPrefix(g.Group, t.prefix+".") })
		sortTexts(p, r.Groups)
	})
}

// deleteGroups deletes groups; those with members it cannot.
func (t *groupGame) deleteGroups() *move {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = t.someGroups()
	m := t.plain(req, func(p *player, resp kmsg.Response) {
		sortTexts(p, resp.(*kmsg.DeleteGroupsResponse).Groups)
	})
	m.late = false
	return m
}

// find asks where groups are coordinated.
func (t *groupGame) find() *move {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = t.anyGroup(), t.someGroups()
	req.CoordinatorType = oneOf(t.game, []int8{0, 0, 0, 1, 2, 3, -1}...)
	return t.plain(req, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.FindCoordinatorResponse)
		for i, addr := range t.addrs {
			if p != t.sides[i] {
				continue
			}
			if r.Port > 0 && strings.HasSuffix(addr, fmt.Sprintf(":%d", r.Port)) {
				r.Port = 1
			}
			for k := range r.Coordinators {
				if c := &r.Coordinators[k]; c.Port > 0 && strings.HasSuffix(addr, fmt.Sprintf(":%d", c.Port)) {
					c.Port = 1
				}
			}
		}
		r.ErrorMessage = meaning(r.ErrorCode, r.ErrorMessage)
		for k := range r.Coordinators {
			r.Coordinators[k].ErrorMessage = meaning(r.Coordinators[k].ErrorCode, r.Coordinators[k].ErrorMessage)
		}
		sortTexts(p, r.Coordinators)
	})
}

// meaning is a message, but for those that say of a code what it says of any: our words for these are our own.
func meaning(code int16, message *string) *string {
	err, _ := kerr.ErrorForCode(code).(*kerr.Error)
	if message != nil && err != nil && (*message == err.Description || *message == wire.Code(code).Message()) {
		return kmsg.StringPtr("what the code means")
	}
	return message
}
