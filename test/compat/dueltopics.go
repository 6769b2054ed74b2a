package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicsDuel creates, grows and deletes topics, with names and numbers of which many are wrong.
var topicsDuel = discipline{name: "topics", play: playTopics}

// topicsGame is what a game of topicsDuel knows.
type topicsGame struct {
	*game
	names []string
}

func playTopics(g *game) error {
	if err := g.open(1); err != nil {
		return err
	}
	t := &topicsGame{game: g}
	for i := range 6 {
		t.names = append(t.names, fmt.Sprintf("%s.%d", g.prefix, i))
	}
	t.names = append(t.names, "", "with space", ".")
	moves := []func() question{t.create, t.create, t.grow, t.remove, t.metadata}
	for range 40 {
		q := moves[g.rng.IntN(len(moves))]()
		if _, err := g.ask(q); err != nil {
			return err
		}
	}
	return nil
}

func (t *topicsGame) name() string { return t.names[t.rng.IntN(len(t.names))] }

func (t *topicsGame) create() question {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.ValidateOnly = t.rng.IntN(4) == 0
	for range 1 + t.rng.IntN(2) {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic = t.name()
		topic.NumPartitions = []int32{1, 2, 3, -1, 0, -2}[t.rng.IntN(6)]
		topic.ReplicationFactor = []int16{1, 1, 1, -1, 0, 2}[t.rng.IntN(6)]
		req.Topics = append(req.Topics, topic)
	}
	return question{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.CreateTopicsResponse)
		slices.SortFunc(r.Topics, func(a, b kmsg.CreateTopicsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for i := range r.Topics {
			r.Topics[i].Configs = nil
			p.bindID("id of "+r.Topics[i].Topic, r.Topics[i].TopicID)
		}
	}}
}

func (t *topicsGame) grow() question {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10_000
	req.ValidateOnly = t.rng.IntN(4) == 0
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic = t.name()
	topic.Count = int32(t.rng.IntN(6)) - 1
	req.Topics = append(req.Topics, topic)
	return question{build: func(*player) kmsg.Request { return req }}
}

func (t *topicsGame) remove() question {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	name := t.name()
	req.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return question{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		for _, topic := range resp.(*kmsg.DeleteTopicsResponse).Topics {
			p.bindID("id of "+name, topic.TopicID)
		}
	}}
}

func (t *topicsGame) metadata() question {
	req := kmsg.NewPtrMetadataRequest()
	name := t.name()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return question{late: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.MetadataResponse)
		r.Brokers, r.ClusterID = nil, nil // their addresses
		for i := range r.Topics {
			p.bindID("id of "+name, r.Topics[i].TopicID)
			slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		}
	}}
}
