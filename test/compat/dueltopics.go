package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicsDuel creates, grows, deletes and describes topics, by names, ids and cursors of which many are wrong, and with
// replicas and settings chosen by hand.
var topicsDuel = discipline{name: "topics", play: playTopics, prompt: true}

// topicsGame is what a game of topicsDuel knows.
type topicsGame struct {
	*game
	names  []string // of the topics that the game plays with
	odd    []string // names that no topic may have
	common commonKeys
}

func playTopics(g *game) error {
	if err := g.open(1); err != nil {
		return err
	}
	t := &topicsGame{game: g}
	for i := range 5 {
		t.names = append(t.names, fmt.Sprintf("%s.%d", g.prefix, i))
	}
	t.names = append(t.names, fmt.Sprintf("%s_1", g.prefix), g.prefix+strings.Repeat("x", 249-len(g.prefix)))
	t.odd = []string{"", ".", "..", "with space", "__cluster_metadata", "é", "a,b", g.prefix + "/0", strings.Repeat("y", 250)}
	var err error
	if t.common, err = g.commonKeys(); err != nil {
		return err
	}
	moves := []func() []question{t.create, t.create, t.create, t.assign, t.assign, t.configured, t.grow, t.grow, t.remove, t.removeMany, t.metadata, t.byID, t.partitions, t.partitions}
	for range 45 {
		if err := t.askAll(moves[g.rng.IntN(len(moves))]()); err != nil {
			return err
		}
	}
	return t.askAll(t.sweep())
}

// name is mostly one that a topic may have.
func (t *topicsGame) name() string {
	if rarely(t.game, 12) {
		return oneOf(t.game, t.odd...)
	}
	return oneOf(t.game, t.names...)
}

// created is the question that a request to create makes, and the one that learns the ids.
func (t *topicsGame) created(req *kmsg.CreateTopicsRequest) []question {
	var names []string
	for _, topic := range req.Topics {
		names = append(names, topic.Topic)
	}
	return []question{{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.CreateTopicsResponse)
		slices.SortStableFunc(r.Topics, func(a, b kmsg.CreateTopicsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for i := range r.Topics {
			r.Topics[i].Configs = slices.DeleteFunc(r.Topics[i].Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool {
				return !t.common.has(kmsg.ConfigResourceTypeTopic, c.Name)
			})
			slices.SortFunc(r.Topics[i].Configs, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return cmp.Compare(a.Name, b.Name) })
			if req.ValidateOnly && r.Topics[i].TopicID != [16]byte{} {
				r.Topics[i].TopicID = [16]byte{1} // of a topic that does not come to be
			}
			bindTopic(p, r.Topics[i].Topic, r.Topics[i].TopicID)
			r.Topics[i].ErrorMessage = plainly(r.Topics[i].ErrorMessage)
		}
	}}, t.metadataOf(names...)}
}

// bindTopic names the id of a topic; one that was deleted and made again has another name.
func bindTopic(p *player, name string, id [16]byte) {
	if id == [16]byte{} || id == [16]byte{1} {
		return
	}
	value, n := hex.EncodeToString(id[:]), 0
	for {
		key := fmt.Sprintf("id %d of %s", n, shortName(name))
		known, ok := p.known[key]
		if !ok {
			p.bind(key, value)
		}
		if !ok || known == value {
			return
		}
		n++
	}
}

// shortName keeps long names out of texts.
func shortName(name string) string { return name[:min(len(name), 40)] }

func (t *topicsGame) newCreate() *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.ValidateOnly = rarely(t.game, 5)
	return req
}

func (t *topicsGame) create() []question {
	req := t.newCreate()
	for range 1 + t.rng.IntN(3) {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic = t.name()
		topic.NumPartitions = oneOf[int32](t.game, 1, 1, 2, 3, 5, -1, 0, -2, 10_001, 500_000_000)
		if topic.NumPartitions > 10_000 && !rarely(t.game, 4) {
			topic.NumPartitions = 2
		}
		topic.ReplicationFactor = oneOf[int16](t.game, 1, 1, 1, 1, 1, -1, 0, 2, -2, 32767)
		req.Topics = append(req.Topics, topic)
	}
	return t.created(req)
}

func (t *topicsGame) brokers() []int32 {
	if !rarely(t.game, 4) {
		return []int32{1}
	}
	return oneOf(t.game, []int32{}, []int32{2}, []int32{1, 1}, []int32{1, 2}, []int32{-1}, []int32{2, 1}, []int32{2, 2}, []int32{3, 2})
}

func (t *topicsGame) assign() []question {
	req := t.newCreate()
	for range 1 + t.rng.IntN(2) {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.name(), -1, -1
		if rarely(t.game, 6) {
			topic.NumPartitions = oneOf[int32](t.game, 1, 2, 0)
		}
		if rarely(t.game, 6) {
			topic.ReplicationFactor = oneOf[int16](t.game, 1, 2, 0)
		}
		for i := range t.rng.IntN(4) {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = int32(i), t.brokers()
			if rarely(t.game, 8) {
				a.Partition = oneOf[int32](t.game, 0, 1, -1, 7)
			}
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
		}
		req.Topics = append(req.Topics, topic)
	}
	return t.created(req)
}

func (t *topicsGame) configured() []question {
	req := t.newCreate()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.name(), 1, 1
	for i := range 1 + t.rng.IntN(3) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		if c.Name, c.Value = t.setting(topicSettings); i > 0 { // of several unknown names Kafka tells any
			s := oneOf(t.game, topicSettings[:len(topicSettings)-2]...)
			c.Name, c.Value = s.name, kmsg.StringPtr(oneOf(t.game, s.values...))
		}
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	return t.created(req)
}

func (t *topicsGame) grow() []question {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10_000
	req.ValidateOnly = rarely(t.game, 4)
	var names []string
	for range 1 + t.rng.IntN(2) {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic = t.name()
		names = append(names, topic.Topic)
		topic.Count = oneOf[int32](t.game, 1, 2, 3, 4, 5, 6, 0, -1)
		if rarely(t.game, 12) {
			topic.Count = -2_000_000_000 // more than its batch holds ends Kafka's controller
		}
		if rarely(t.game, 2) {
			for range t.rng.IntN(4) {
				a := kmsg.NewCreatePartitionsRequestTopicAssignment()
				a.Replicas = t.brokers()
				topic.Assignment = append(topic.Assignment, a)
			}
			if topic.Assignment == nil && rarely(t.game, 2) {
				topic.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	return []question{{build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.CreatePartitionsResponse)
		slices.SortStableFunc(r.Topics, func(a, b kmsg.CreatePartitionsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	}}, t.metadataOf(names...)}
}

// deletion asks to delete topics, by names in old versions and by what is given in new ones.
func (t *topicsGame) deletion(wanted []topicRef, check ...string) []question {
	build := func(p *player) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 10_000
		for _, w := range wanted {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic, topic.TopicID = w.name, w.of(p)
			if w.name != nil {
				req.TopicNames = append(req.TopicNames, *w.name)
			}
			req.Topics = append(req.Topics, topic)
		}
		return req
	}
	return []question{{build: build, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DeleteTopicsResponse)
		slices.SortStableFunc(r.Topics, func(a, b kmsg.DeleteTopicsResponseTopic) int {
			return cmp.Or(comparePtr(a.Topic, b.Topic), cmp.Compare(a.ErrorCode, b.ErrorCode), cmp.Compare(p.text(a), p.text(b)))
		})
	}}, t.metadataOf(check...)}
}

// topicRef is a topic by name, by the name of its id, or both.
type topicRef struct {
	name *string
	id   string
}

func (r topicRef) of(p *player) (id [16]byte) {
	if len(r.id) == 32 {
		_, _ = hex.Decode(id[:], []byte(r.id)) // one that nobody made up
		return id
	}
	_, _ = hex.Decode(id[:], []byte(p.known[r.id]))
	return id
}

// ref is a topic, mostly one that there is or was.
func (t *topicsGame) ref() topicRef {
	known := t.sides[0].order
	switch {
	case rarely(t.game, 2) || len(known) == 0:
		name := t.name()
		if rarely(t.game, 12) && len(known) > 0 {
			return topicRef{name: &name, id: oneOf(t.game, known...)}
		}
		return topicRef{name: &name}
	case rarely(t.game, 12):
		return topicRef{id: oneOf(t.game, "", "00000000000000000000000000000001", "0123456789abcdef0123456789abcdef")}
	}
	return topicRef{id: oneOf(t.game, known...)}
}

func (t *topicsGame) remove() []question {
	return t.deletion([]topicRef{t.ref()}, t.names...)
}

func (t *topicsGame) removeMany() []question {
	var all []topicRef
	for range 2 + t.rng.IntN(2) {
		all = append(all, t.ref())
	}
	if rarely(t.game, 3) {
		all = append(all, all[0])
	}
	return t.deletion(all, t.names...)
}

// sweep deletes what the game left.
func (t *topicsGame) sweep() []question {
	var all []topicRef
	for i := range t.names {
		all = append(all, topicRef{name: &t.names[i]})
	}
	return t.deletion(all, t.names...)
}

// learnMetadata names the ids of topics, and sorts.
func learnMetadata(p *player, resp kmsg.Response) {
	r := resp.(*kmsg.MetadataResponse)
	r.Brokers, r.ClusterID = nil, nil // their addresses
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic != nil {
			bindTopic(p, *t.Topic, t.TopicID)
		}
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	}
	slices.SortStableFunc(r.Topics, func(a, b kmsg.MetadataResponseTopic) int {
		return cmp.Or(comparePtr(a.Topic, b.Topic), cmp.Compare(p.text(a), p.text(b)))
	})
}

// metadataOf asks for some topics by name; without names it asks for none.
func (t *topicsGame) metadataOf(names ...string) question {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return question{late: true, newest: true, build: func(*player) kmsg.Request { return req }, learn: learnMetadata}
}

func (t *topicsGame) metadata() []question {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = rarely(t.game, 2)
	req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = rarely(t.game, 3), rarely(t.game, 3)
	if rarely(t.game, 4) {
		if rarely(t.game, 2) {
			req.Topics = []kmsg.MetadataRequestTopic{} // all in version 0, none in others
		}
	} else {
		for range 1 + t.rng.IntN(3) {
			topic := kmsg.NewMetadataRequestTopic()
			name := t.name()
			topic.Topic = &name
			req.Topics = append(req.Topics, topic)
		}
	}
	return []question{{late: true, build: func(*player) kmsg.Request { return req }, learn: learnMetadata}}
}

func (t *topicsGame) byID() []question {
	var refs []topicRef
	for range 1 + t.rng.IntN(2) {
		refs = append(refs, t.ref())
	}
	return []question{{late: true, newest: true, learn: learnMetadata, build: func(p *player) kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		for _, r := range refs {
			topic := kmsg.NewMetadataRequestTopic()
			if topic.Topic, topic.TopicID = r.name, r.of(p); topic.Topic == nil && topic.TopicID == [16]byte{} {
				topic.Topic = &t.names[0] // Kafka fails the whole request when there is neither
			}
			req.Topics = append(req.Topics, topic)
		}
		return req
	}}}
}

func (t *topicsGame) partitions() []question {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = oneOf[int32](t.game, 1, 2, 3, 5, 100, 2000, 3000, 0, -1)
	for range t.rng.IntN(5) {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = t.name()
		req.Topics = append(req.Topics, topic)
	}
	if rarely(t.game, 2) {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = t.name(), oneOf[int32](t.game, 0, 1, 2, 7, -1)
		if len(req.Topics) > 0 && !rarely(t.game, 4) {
			c.Topic = oneOf(t.game, req.Topics...).Topic
		}
		req.Cursor = &c
	}
	if req.Cursor == nil { // Kafka takes the empty name for that of the cursor, and fails
		req.Topics = slices.DeleteFunc(req.Topics, func(topic kmsg.DescribeTopicPartitionsRequestTopic) bool { return topic.Topic == "" })
	}
	return []question{{late: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeTopicPartitionsResponse)
		for i := range r.Topics {
			if r.Topics[i].Topic != nil {
				bindTopic(p, *r.Topics[i].Topic, r.Topics[i].TopicID)
			}
		}
	}}}
}
