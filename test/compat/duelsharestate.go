package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// statesGame is what a game of sharesDuel knows of states that it writes to the share coordinator by itself, for a group that
// nobody is in.
type statesGame struct {
	epoch, leader int32 // of its only share partition
	start         int64
}

// state asks the share coordinator what a broker asks it.
func (t *sharesGame) state() error {
	group := t.prefix + "-state"
	if t.percent(4) {
		group = ""
	}
	topic, partition := t.topics[0], int32(0)
	if t.percent(15) {
		topic = oneOf(t.game, t.topics...)
	}
	if t.percent(10) {
		partition = oneOf[int32](t.game, 1, -1, 7)
	}
	id := func(p *player) [16]byte { return p.id(topic.name) }
	if t.percent(4) {
		id = func(*player) [16]byte { return [16]byte{} }
	}
	s := &t.states
	near := func(n int32) int32 {
		if t.percent(80) {
			return n
		}
		return n + int32(t.rng.IntN(4)) - 2
	}
	var build func(p *player) kmsg.Request
	switch t.rng.IntN(10) {
	case 0, 1:
		s.epoch += int32(t.rng.IntN(2))
		epoch, start := near(s.epoch), int64(t.rng.IntN(10))-1
		build = func(p *player) kmsg.Request {
			req := kmsg.NewPtrInitializeShareGroupStateRequest()
			req.GroupID = group
			rt, rp := kmsg.NewInitializeShareGroupStateRequestTopic(), kmsg.NewInitializeShareGroupStateRequestTopicPartition()
			rp.Partition, rp.StateEpoch, rp.StartOffset = partition, epoch, start
			rt.TopicID, rt.Partitions = id(p), append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}
	case 2, 3:
		s.leader += int32(t.rng.IntN(2))
		leader := near(s.leader)
		build = func(p *player) kmsg.Request {
			req := kmsg.NewPtrReadShareGroupStateRequest()
			req.GroupID = group
			rt, rp := kmsg.NewReadShareGroupStateRequestTopic(), kmsg.NewReadShareGroupStateRequestTopicPartition()
			rp.Partition, rp.LeaderEpoch = partition, leader
			rt.TopicID, rt.Partitions = id(p), append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}
	case 4, 5:
		leader := near(s.leader)
		build = func(p *player) kmsg.Request {
			req := kmsg.NewPtrReadShareGroupStateSummaryRequest()
			req.GroupID = group
			rt, rp := kmsg.NewReadShareGroupStateSummaryRequestTopic(), kmsg.NewReadShareGroupStateSummaryRequestTopicPartition()
			rp.Partition, rp.LeaderEpoch = partition, leader
			rt.TopicID, rt.Partitions = id(p), append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}
	case 6:
		build = func(p *player) kmsg.Request {
			req := kmsg.NewPtrDeleteShareGroupStateRequest()
			req.GroupID = group
			rt, rp := kmsg.NewDeleteShareGroupStateRequestTopic(), kmsg.NewDeleteShareGroupStateRequestTopicPartition()
			rp.Partition = partition
			rt.TopicID, rt.Partitions = id(p), append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}
	default:
		write := t.stateWrite()
		write.Partition, write.StateEpoch, write.LeaderEpoch = partition, near(s.epoch), near(s.leader)
		build = func(p *player) kmsg.Request {
			req := kmsg.NewPtrWriteShareGroupStateRequest()
			req.GroupID = group
			rt := kmsg.NewWriteShareGroupStateRequestTopic()
			rt.TopicID, rt.Partitions = id(p), append(rt.Partitions, write)
			req.Topics = append(req.Topics, rt)
			return req
		}
	}
	return t.build(0, build, nil)
}

// stateWrite are some batches, mostly in order.
func (t *sharesGame) stateWrite() kmsg.WriteShareGroupStateRequestTopicPartition {
	w := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	s := &t.states
	if t.percent(40) {
		s.start += int64(t.rng.IntN(8))
	}
	w.StartOffset, w.DeliveryCompleteCount = s.start, int32(t.rng.IntN(5))-1
	if t.percent(30) {
		w.StartOffset = oneOf(t.game, -1, s.start-1, s.start-3)
	}
	at := s.start + int64(t.rng.IntN(10))
	for range t.rng.IntN(4) {
		b := kmsg.NewWriteShareGroupStateRequestTopicPartitionStateBatch()
		b.FirstOffset = at
		at += int64(t.rng.IntN(6))
		b.LastOffset = at
		at += 1 + int64(t.rng.IntN(2)*t.rng.IntN(5))
		b.DeliveryState, b.DeliveryCount = oneOf[int8](t.game, 0, 0, 2, 4), int16(t.rng.IntN(4))
		if t.percent(6) {
			b.LastOffset, b.DeliveryState, b.DeliveryCount = b.FirstOffset-1, oneOf[int8](t.game, 1, 3, -1, 9), -1
		}
		if t.percent(6) {
			at -= 4
		}
		w.StateBatches = append(w.StateBatches, b)
	}
	return w
}
