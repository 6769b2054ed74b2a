package main

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dataSession is a fetch session of a game.
type dataSession struct {
	number int64
	epoch  int32
}

// fetch reads: without a session, with a new one, or in one that there is.
func (t *dataGame) fetch() error {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxBytes = []int32{1 << 20, 1 << 20, 1 << 20, 300, 1, 0, math.MaxInt32}[t.rng.IntN(7)] // below 0 Kafka fails
	req.MinBytes = []int32{0, 0, 0, 1, 100, -1}[t.rng.IntN(6)]
	if req.MinBytes > 0 {
		req.MaxWaitMillis = []int32{0, 1, 20}[t.rng.IntN(3)]
	}
	req.IsolationLevel = int8(t.rng.IntN(2))
	var session *dataSession
	switch n := t.rng.IntN(10); {
	case n < 3:
		req.SessionEpoch = -1
	case n < 5 || len(t.sessions) == 0:
		req.SessionEpoch = 0
	default:
		session = t.sessions[t.rng.IntN(len(t.sessions))]
		req.SessionEpoch = session.epoch
		switch t.rng.IntN(15) {
		case 0:
			req.SessionEpoch++
		case 1:
			req.SessionEpoch = max(1, req.SessionEpoch-1)
		case 2:
			req.SessionEpoch = -1 // ends it
		case 3:
			req.SessionEpoch = 0 // ends it and begins another
		}
	}
	places := t.rng.IntN(4)
	if session == nil || req.SessionEpoch <= 0 {
		places++ // a session of nothing is none here
	}
	for range places {
		t.addFetch(req)
	}
	if session != nil && t.some(3) {
		_, name, partition := t.place()
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.Partitions = name, []int32{partition}
		if !slices.ContainsFunc(req.Topics, func(o kmsg.FetchRequestTopic) bool { return o.Topic == name }) { // to ask and forget is nonsense
			req.ForgottenTopics = append(req.ForgottenTopics, f)
		}
	}
	if req.SessionEpoch != -1 { // who comes first in a session, and so gets more than it asked for, is not told
		req.MaxBytes = 1 << 20
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].PartitionMaxBytes = 1 << 20
			}
		}
	}
	wrong := t.some(40)
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request {
			for i := range req.Topics {
				req.Topics[i].TopicID = t.id(p, req.Topics[i].Topic)
			}
			for i := range req.ForgottenTopics {
				req.ForgottenTopics[i].TopicID = t.id(p, req.ForgottenTopics[i].Topic)
			}
			if session != nil {
				req.SessionID = int32(t.real(p, session.number))
			}
			if wrong {
				req.SessionID = 12345
			}
			return req
		},
		learn: func(p *player, resp kmsg.Response) {
			t.learnFetched(p, resp)
			if r := resp.(*kmsg.FetchResponse); req.SessionEpoch > 0 {
				r.Topics = merged(r.Topics, func(o *kmsg.FetchResponseTopic) (string, *[]kmsg.FetchResponseTopicPartition) {
					return t.topicText(p, o.Topic, o.TopicID), &o.Partitions
				})
			}
		},
	})
	if err != nil {
		return err
	}
	t.went(req, session, answers[0].(*kmsg.FetchResponse), wrong)
	return nil
}

// addFetch adds a partition to a Fetch request.
func (t *dataGame) addFetch(req *kmsg.FetchRequest) {
	d, name, partition := t.place()
	if name == "__consumer_offsets" {
		name = t.prefix + ".none" // the records of all games are there
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = partition
	p.CurrentLeaderEpoch = t.leaderEpoch()
	p.LastFetchedEpoch = []int32{-1, -1, -1, 0, 0, 1, 5}[t.rng.IntN(7)]
	p.LogStartOffset = -1
	p.PartitionMaxBytes = []int32{1 << 20, 1 << 20, 1 << 20, 200, 1, 0}[t.rng.IntN(6)]
	p.FetchOffset = []int64{0, 0, 1, -1, -2, 1000, math.MaxInt64}[t.rng.IntN(7)]
	if d != nil && !t.some(4) {
		p.FetchOffset = t.rng.Int64N(d.ends[partition] + 2)
	}
	for i := range req.Topics {
		if req.Topics[i].Topic == name {
			if !slices.ContainsFunc(req.Topics[i].Partitions, func(o kmsg.FetchRequestTopicPartition) bool { return o.Partition == partition }) {
				req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
			}
			return
		}
	}
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = name, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = append(req.Topics, topic)
}

// learnFetched makes the answer to a Fetch request comparable.
func (t *dataGame) learnFetched(p *player, resp kmsg.Response) {
	r := resp.(*kmsg.FetchResponse)
	if r.SessionID != 0 {
		r.SessionID = int32(t.number(p, int64(r.SessionID)))
	}
	for i := range r.Topics {
		d := t.topic(r.Topics[i].Topic)
		for _, have := range t.topics {
			if r.Topics[i].Topic == "" && t.id(p, have.name) == r.Topics[i].TopicID {
				d = have
			}
		}
		for j := range r.Topics[i].Partitions {
			o := &r.Topics[i].Partitions[j]
			if last := lastOffset(o.RecordBatches); o.AbortedTransactions != nil { // Kafka may list some that begin later
				o.AbortedTransactions = slices.DeleteFunc(o.AbortedTransactions, func(a kmsg.FetchResponseTopicPartitionAbortedTransaction) bool { return a.FirstOffset > last })
			}
			o.RecordBatches = t.plain(p, d, o.RecordBatches)
			for k := range o.AbortedTransactions {
				if o.AbortedTransactions[k].ProducerID < 5_000_000 {
					o.AbortedTransactions[k].ProducerID = t.number(p, o.AbortedTransactions[k].ProducerID)
				}
			}
		}
	}
	known, unknown := unknownApart(r.Topics)
	r.Topics = append(known, merged(unknown, func(o *kmsg.FetchResponseTopic) (string, *[]kmsg.FetchResponseTopicPartition) {
		return t.topicText(p, o.Topic, o.TopicID), &o.Partitions
	})...)
}

// lastOffset is that of the last whole batch, -1 if there is none.
func lastOffset(records []byte) int64 {
	last := int64(-1)
	for len(records) >= batchRecordsAt {
		n := int(binary.BigEndian.Uint32(records[batchLengthAt:])) + batchLengthAt + 4
		if n > len(records) {
			break
		}
		const lastDeltaAt = 23
		last = int64(binary.BigEndian.Uint64(records)) + int64(binary.BigEndian.Uint32(records[lastDeltaAt:]))
		records = records[n:]
	}
	return last
}

// topicText tells topics apart by name or id, in the same words on both sides.
func (t *dataGame) topicText(p *player, name string, id [16]byte) string {
	if name += t.nameOf(p, id); name != "" {
		return name
	}
	return hex.EncodeToString(id[:])
}

// unknownApart parts partitions that there are not from the others: Kafka answers them last.
func unknownApart(topics []kmsg.FetchResponseTopic) (known, unknown []kmsg.FetchResponseTopic) {
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			list := &known
			if err := kerr.ErrorForCode(p.ErrorCode); err == kerr.UnknownTopicID || err == kerr.UnknownTopicOrPartition {
				list = &unknown
			}
			if n := len(*list); n == 0 || (*list)[n-1].Topic != topic.Topic || (*list)[n-1].TopicID != topic.TopicID {
				*list = append(*list, kmsg.FetchResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID})
			}
			last := &(*list)[len(*list)-1]
			last.Partitions = append(last.Partitions, p)
		}
	}
	return known, unknown
}

// went notes what became of sessions.
func (t *dataGame) went(req *kmsg.FetchRequest, session *dataSession, resp *kmsg.FetchResponse, wrong bool) {
	if resp.ErrorCode != 0 || resp.GetVersion() < 7 {
		return
	}
	closed := session != nil && !wrong && (req.SessionEpoch <= 0 || resp.SessionID == 0)
	if closed {
		t.sessions = slices.DeleteFunc(t.sessions, func(o *dataSession) bool { return o == session })
	}
	if req.SessionEpoch == 0 && resp.SessionID != 0 {
		t.sessions = append(t.sessions, &dataSession{number: int64(resp.SessionID), epoch: 1})
	} else if session != nil && !closed {
		session.epoch++
	}
}

// readAll ends the sessions and reads everything.
func (t *dataGame) readAll() error {
	for _, s := range t.sessions {
		req := kmsg.NewPtrFetchRequest()
		req.ReplicaID, req.SessionEpoch = -1, -1
		if _, err := t.need(question{build: func(p *player) kmsg.Request {
			req.SessionID = int32(t.real(p, s.number))
			return req
		}, learn: t.learnFetched}); err != nil {
			return err
		}
	}
	for _, d := range t.topics {
		for i := range d.partitions {
			if err := t.readPartition(d, int32(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readPartition reads a partition from its start to its end.
func (t *dataGame) readPartition(d *dataTopic, partition int32) error {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.SessionEpoch, req.MaxBytes = -1, -1, 1<<20
	req.IsolationLevel = int8(t.rng.IntN(2))
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = d.name
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset, p.PartitionMaxBytes = partition, -1, -1, -1, 1<<20
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	for range 2 {
		answers, err := t.need(question{build: func(p *player) kmsg.Request {
			req.Topics[0].TopicID = t.id(p, d.name)
			return req
		}, learn: t.learnFetched})
		if err != nil {
			return err
		}
		o := answers[0].(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if o.ErrorCode == 0 || answers[0].GetVersion() < 5 {
			return nil
		}
		list := kmsg.NewPtrListOffsetsRequest()
		list.ReplicaID = -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp, lp.CurrentLeaderEpoch = partition, -2, -1
		lt.Topic, lt.Partitions = d.name, []kmsg.ListOffsetsRequestTopicPartition{lp}
		list.Topics = append(list.Topics, lt)
		answers, err = t.need(question{build: func(*player) kmsg.Request { return list }})
		if err != nil {
			return err
		}
		req.Topics[0].Partitions[0].FetchOffset = answers[0].(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset
	}
	return nil
}
