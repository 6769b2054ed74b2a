package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareAdmin are those moves of a game that look at groups, their offsets and their settings.
type shareAdmin struct{ *sharesGame }

// set changes a setting of a group, and waits until both know it.
func (t shareAdmin) set(group, name, value string) error {
	return t.setEach([]string{group}, name, []string{value})
}

// setEach changes a setting of some groups, each to its value.
func (t shareAdmin) setEach(groups []string, name string, values []string) error {
	req, describe := kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewPtrDescribeConfigsRequest()
	for i, group := range groups {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = name, &values[i]
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		d := kmsg.NewDescribeConfigsRequestResource()
		d.ResourceType, d.ResourceName, d.ConfigNames = kmsg.ConfigResourceTypeGroupConfig, group, []string{name}
		describe.Resources = append(describe.Resources, d)
	}
	err := t.say(0, req, func(_ *player, resp kmsg.Response) {
		slices.SortFunc(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources, func(a, b kmsg.IncrementalAlterConfigsResponseResource) int {
			return cmp.Compare(a.ResourceName, b.ResourceName)
		})
	})
	if err != nil {
		return err
	}
	_, err = t.ask(question{late: true, build: func(*player) kmsg.Request { return describe }, learn: func(_ *player, resp kmsg.Response) {
		slices.SortFunc(resp.(*kmsg.DescribeConfigsResponse).Resources, func(a, b kmsg.DescribeConfigsResponseResource) int {
			return cmp.Compare(a.ResourceName, b.ResourceName)
		})
	}})
	return err
}

// configure changes how a group is served.
func (t shareAdmin) configure() error {
	group := oneOf(t.game, t.groups...).id
	settings := [][]string{
		// So far back that it finds records: Kafka cannot load a share partition that has none so young.
		{"share.auto.offset.reset", "earliest", "latest", "by_duration:P10000D", "nowhere"},
		{"share.isolation.level", "read_committed", "read_committed", "read_uncommitted", "none"},
		{"share.delivery.count.limit", "2", "3", "10", "1", "11"},
		{"share.partition.max.record.locks", "100", "99"},
		{"share.renew.acknowledge.enable", "false", "true", "x"},
		{"share.record.lock.duration.ms", "3600000", "600000", "1", "x"},
		{"share.session.timeout.ms", "600000", "1"},
	}
	s := oneOf(t.game, settings...)
	return t.set(group, s[0], oneOf(t.game, s[1:]...))
}

func (t shareAdmin) groupID() string {
	if t.percent(10) {
		return oneOf(t.game, "", " ", t.prefix+"-nobody's")
	}
	return oneOf(t.game, t.groups...).id
}

func (t shareAdmin) describe() error {
	switch t.rng.IntN(5) {
	case 0:
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = []string{t.groupID()}
		return t.say(0, req, nil)
	case 1:
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{t.groupID()}
		return t.say(0, req, nil)
	case 2:
		return t.describeGroup(t.groupID(), t.groupID())
	}
	return t.describeGroup(t.groupID())
}

func (t shareAdmin) describeGroup(ids ...string) error {
	return t.say(0, describeShares(ids...), func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.ShareGroupDescribeResponse)
		slices.SortStableFunc(r.Groups, func(a, b kmsg.ShareGroupDescribeResponseGroup) int { return cmp.Compare(a.GroupID, b.GroupID) })
		for i := range r.Groups {
			members := r.Groups[i].Members
			slices.SortFunc(members, func(a, b kmsg.ShareGroupDescribeResponseGroupMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
			for k := range members {
				members[k].ClientHost = ""
				slices.Sort(members[k].SubscribedTopicNames)
				slices.SortFunc(members[k].Assignment.TopicPartitions, func(a, b kmsg.ShareGroupDescribeResponseGroupMemberAssignmentTopicPartition) int {
					return cmp.Compare(a.Topic, b.Topic)
				})
				for _, tp := range members[k].Assignment.TopicPartitions {
					slices.Sort(tp.Partitions)
				}
			}
			t.blurAssignment(r.Groups[i].GroupID, members)
		}
	})
}

// blurAssignment puts what the members of a group with several have at the first, without saying which partitions: who gets
// what depends on the topics' ids.
func (t shareAdmin) blurAssignment(group string, members []kmsg.ShareGroupDescribeResponseGroupMember) {
	at := slices.IndexFunc(t.groups, func(g *shareGroup) bool { return g.id == group })
	if at < 0 || !t.groups[at].crowded || len(members) == 0 {
		return
	}
	all := map[string]bool{}
	for k := range members {
		for _, tp := range members[k].Assignment.TopicPartitions {
			for _, n := range tp.Partitions {
				all[fmt.Sprintf("%s-%d", tp.Topic, n)] = true
			}
		}
		members[k].Assignment.TopicPartitions = nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		tp := kmsg.NewShareGroupDescribeResponseGroupMemberAssignmentTopicPartition()
		tp.Topic = name
		members[0].Assignment.TopicPartitions = append(members[0].Assignment.TopicPartitions, tp)
	}
}

func (t shareAdmin) list() error {
	req := kmsg.NewPtrListGroupsRequest()
	if t.percent(60) {
		req.TypesFilter = oneOf(t.game, []string{"share"}, []string{"Share", "consumer"}, []string{"streams"}, []string{"x"})
	}
	if t.percent(50) {
		req.StatesFilter = oneOf(t.game, []string{"Stable"}, []string{"empty"}, []string{"Dead"}, []string{"stable", "Empty"})
	}
	return t.say(0, req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.ListGroupsResponse)
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !strings.HasPrefix(g.Group, t.prefix+"-") })
		slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	})
}

// offsets asks where groups stand.
func (t shareAdmin) offsets() error {
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	for range 1 + t.rng.IntN(2) {
		g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
		g.GroupID = t.groupID()
		if g.GroupID != "" && t.percent(60) { // of topics of a group without name Kafka says that it has failed
			g.Topics = []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{}
			for range t.rng.IntN(3) {
				rt := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
				rt.Topic = t.topicName()
				// Partitions that there are: of others Kafka asks its share coordinator again and again for half a minute, to answer
				// in the end that they have no offset, as Moldau does at once.
				rt.Partitions = []int32{int32(t.rng.IntN(t.partitions(rt.Topic)))}
				if t.percent(20) {
					rt.Partitions = append(rt.Partitions, rt.Partitions[0])
				}
				g.Topics = append(g.Topics, rt)
			}
		}
		req.Groups = append(req.Groups, g)
	}
	return t.say(0, req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeShareGroupOffsetsResponse)
		for i := range r.Groups {
			topics := r.Groups[i].Topics
			slices.SortStableFunc(topics, func(a, b kmsg.DescribeShareGroupOffsetsResponseGroupTopic) int { return cmp.Compare(a.Topic, b.Topic) })
			for k := range topics {
				slices.SortStableFunc(topics[k].Partitions, func(a, b kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition) int {
					return cmp.Compare(a.Partition, b.Partition)
				})
			}
		}
	})
}

func (t shareAdmin) partitions(topic string) int {
	for _, known := range t.topics {
		if known.name == topic {
			return len(known.ends)
		}
	}
	return 3
}

func (t shareAdmin) topicName() string {
	if t.percent(10) {
		return oneOf(t.game, "", ".", t.prefix+".nowhere")
	}
	return oneOf(t.game, t.topics...).name
}

// emptied has the members of a group leave, mostly.
func (t shareAdmin) emptied() (*shareGroup, error) {
	g := oneOf(t.game, t.groups...)
	if err := t.disconnect(g); err != nil {
		return g, err
	}
	keep := t.percent(25)
	for _, m := range g.members {
		if m.epoch == 0 || keep {
			continue
		}
		req := m.heartbeat()
		req.MemberEpoch = -1
		if err := t.send(m, req); err != nil {
			return g, err
		}
	}
	return g, t.calm()
}

// disconnect has those who read for a group connect anew. Until they hang up Kafka goes on with what it loaded, whatever becomes
// of the offsets meanwhile.
func (t shareAdmin) disconnect(g *shareGroup) error {
	for _, m := range append(slices.Clone(g.members), g.warmer) {
		for i, p := range t.sides {
			p.conns[m.conn].close()
			c, err := dialDuel(t.addrs[i])
			if err != nil {
				return err
			}
			p.conns[m.conn] = c
		}
		m.session, m.has, m.parts = 0, nil, nil
	}
	clear(g.warm)
	t.log = append(t.log, "the members of "+g.id+" connect anew")
	<-time.After(closePause)
	return nil
}

func (t shareAdmin) alterOffsets() error {
	g, err := t.emptied()
	if err != nil {
		return err
	}
	req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	req.GroupID = g.id
	if t.percent(8) {
		req.GroupID = t.groupID()
	}
	for range 1 + t.rng.IntN(2) {
		rt := kmsg.NewAlterShareGroupOffsetsRequestTopic()
		rt.Topic = t.topicName()
		for range 1 + t.rng.IntN(2) {
			rp := kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
			rp.Partition, rp.StartOffset = int32(t.rng.IntN(2)), int64(t.rng.IntN(12))
			// No partition below zero, for which Kafka fails, and no offset below -1, which it takes, to find out behind a fetch that
			// there is no such record.
			if t.percent(10) {
				rp.Partition, rp.StartOffset = oneOf[int32](t.game, 7, 0), oneOf[int64](t.game, -1, -1, 1000)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	return t.say(0, req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.AlterShareGroupOffsetsResponse)
		for _, topic := range r.Topics {
			good := slices.ContainsFunc(topic.Partitions, func(p kmsg.AlterShareGroupOffsetsResponseTopicPartition) bool { return p.ErrorCode == 0 })
			for _, g := range t.groups {
				g.stuck = g.stuck || g.id == req.GroupID && !good
			}
		}
		slices.SortStableFunc(r.Topics, func(a, b kmsg.AlterShareGroupOffsetsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for i := range r.Topics {
			slices.SortStableFunc(r.Topics[i].Partitions, func(a, b kmsg.AlterShareGroupOffsetsResponseTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
		}
	})
}

func (t shareAdmin) deleteOffsets() error {
	g, err := t.emptied()
	if err != nil {
		return err
	}
	req := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	req.GroupID = g.id
	if t.percent(8) {
		req.GroupID = t.groupID()
	}
	for range 1 + t.rng.IntN(2) {
		rt := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
		rt.Topic = t.topicName()
		req.Topics = append(req.Topics, rt)
	}
	return t.say(0, req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DeleteShareGroupOffsetsResponse)
		slices.SortStableFunc(r.Topics, func(a, b kmsg.DeleteShareGroupOffsetsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for _, rt := range r.Topics {
			maps.DeleteFunc(g.ready, func(k shareKey, _ bool) bool { return rt.ErrorCode == 0 && k.topic.name == rt.Topic })
		}
	})
}

func (t shareAdmin) deleteGroups() error {
	g, err := t.emptied()
	if err != nil {
		return err
	}
	stuck := slices.ContainsFunc(t.groups, func(g *shareGroup) bool { return g.stuck })
	if len(g.ready) == 0 || stuck {
		return nil // Kafka has nothing to tell its share coordinator, at least of one topic, and fails
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{g.id}
	if t.percent(30) {
		req.Groups = append(req.Groups, t.groupID())
	}
	return t.say(0, req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DeleteGroupsResponse)
		slices.SortStableFunc(r.Groups, func(a, b kmsg.DeleteGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
		for _, rg := range r.Groups {
			for _, g := range t.groups {
				if g.id == rg.Group && rg.ErrorCode == 0 {
					clear(g.ready)
				}
			}
		}
	})
}
