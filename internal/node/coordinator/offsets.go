package coordinator

import (
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// OffsetCommit is one OffsetCommit request with its answer, which shares its names. Both belong to the coordinator until
// it is answered; then all of it can be used again.
type OffsetCommit struct {
	Request  wire.OffsetCommitRequest
	Response wire.OffsetCommitResponse
	Version  int16

	answer  func()
	decided func(*groupMachine, *turn) func(*turn, wire.Code)
	settled func(*turn, wire.Code)
	refused func(wire.Code)
}

// NewOffsetCommit makes room for a request; answer is called once for each time that it is given to OffsetCommit.
func NewOffsetCommit(answer func()) *OffsetCommit {
	op := &OffsetCommit{answer: answer}
	op.decided, op.settled, op.refused = op.decide, op.settle, op.refuse // bound once: a commit allocates no closures
	return op
}

// OffsetCommit serves one OffsetCommit request. Topics must carry their names, and their ids where known: the broker
// maps one to the other and answers itself for those it cannot map or must refuse.
func (c *Groups) OffsetCommit(op *OffsetCommit) {
	c.shardFor(op.Request.GroupID).do(op.decided, op.refused)
}

func (op *OffsetCommit) decide(m *groupMachine, t *turn) func(*turn, wire.Code) {
	m.machine.CommitOffsets(t.now, op.Version, &op.Request, &op.Response, &m.fx)
	m.absorb(t)
	return op.settled
}

func (op *OffsetCommit) settle(t *turn, code wire.Code) {
	if code != wire.None {
		failCommit(&op.Response, code)
	}
	t.calls = append(t.calls, op.answer)
}

func (op *OffsetCommit) refuse(code wire.Code) {
	group.AnswerCommit(&op.Request, &op.Response, code)
	op.answer()
}

// failCommit puts a code on all partitions, as Kafka does, also on those that had an error of their own.
func failCommit(resp *wire.OffsetCommitResponse, code wire.Code) {
	for i := range resp.Topics {
		for k := range resp.Topics[i].Partitions {
			resp.Topics[i].Partitions[k].ErrorCode = code
		}
	}
}

// OffsetFetch serves one OffsetFetch request, for one group or several. Topics must carry their names, and their ids
// where known. In the answer to a request for all topics the ids are left to the broker.
func (c *Groups) OffsetFetch(req *wire.OffsetFetchRequest, _ Client, version int16, done func(*wire.OffsetFetchResponse)) {
	if version < 8 {
		fetchGroup(c, oldFetch(req), version, req.RequireStable, func(g wire.OffsetFetchResponseGroup) {
			done(oldFetched(&g))
		})
		return
	}
	resp := &wire.OffsetFetchResponse{Groups: make([]wire.OffsetFetchResponseGroup, len(req.Groups))}
	all := newGather(len(req.Groups), func() { done(resp) })
	for i := range req.Groups {
		fetchGroup(c, &req.Groups[i], version, req.RequireStable, func(g wire.OffsetFetchResponseGroup) {
			resp.Groups[i] = g
			all.one()
		})
	}
	all.one()
}

// fetchGroup reads the offsets of one group. If they have to be stable, it waits for commits under way.
func fetchGroup(c *Groups, req *wire.OffsetFetchRequestGroup, version int16, stable bool, done func(wire.OffsetFetchResponseGroup)) {
	refused := func(code wire.Code) { done(fetchError(req, version, code)) }
	s := c.shardFor(req.GroupID)
	var kept *wire.OffsetFetchRequestGroup
	var resp wire.OffsetFetchResponseGroup
	answered := false
	s.do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
		if stable && m.machine.Unsettled(req.GroupID) {
			kept = keepFetch(req)
			return nil
		}
		resp, answered = m.machine.FetchOffsets(req, stable), true
		return nil
	}, func(code wire.Code) { resp, answered = fetchError(req, version, code), true })
	if answered {
		done(resp)
		return
	}
	req = kept
	s.after(func(m *groupMachine, t *turn, code wire.Code) {
		switch code {
		case wire.None:
			resp = m.machine.FetchOffsets(kept, stable)
		case wire.CoordinatorNotAvailable:
			// Consumers before 3.9 do not know what to do with that code here; Kafka maps it likewise.
			resp = fetchError(kept, version, wire.NotCoordinator)
		default:
			resp = fetchError(kept, version, code)
		}
		t.calls = append(t.calls, func() { done(resp) })
	}, refused)
}

// keepFetch copies a request that outlives its call.
func keepFetch(req *wire.OffsetFetchRequestGroup) *wire.OffsetFetchRequestGroup {
	kept := &wire.OffsetFetchRequestGroup{GroupID: strings.Clone(req.GroupID), MemberEpoch: req.MemberEpoch}
	if req.MemberID != nil {
		kept.MemberID = new(string)
		*kept.MemberID = strings.Clone(*req.MemberID)
	}
	if req.Topics == nil {
		return kept
	}
	kept.Topics = make([]wire.OffsetFetchRequestTopics, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		kept.Topics[i] = wire.OffsetFetchRequestTopics{
			Name: strings.Clone(t.Name), TopicID: t.TopicID, PartitionIndexes: append([]int32{}, t.PartitionIndexes...),
		}
	}
	return kept
}

// fetchError answers for a group that cannot be read. Version 1 has no place for it but the partitions.
func fetchError(req *wire.OffsetFetchRequestGroup, version int16, code wire.Code) wire.OffsetFetchResponseGroup {
	resp := wire.OffsetFetchResponseGroup{GroupID: strings.Clone(req.GroupID), ErrorCode: code}
	if version >= 2 {
		return resp
	}
	for i := range req.Topics {
		out := wire.OffsetFetchResponseTopics{Name: strings.Clone(req.Topics[i].Name)}
		for _, p := range req.Topics[i].PartitionIndexes {
			out.Partitions = append(out.Partitions, wire.OffsetFetchResponsePartitions{
				PartitionIndex: p, CommittedOffset: -1, CommittedLeaderEpoch: -1, Metadata: new(string), ErrorCode: code,
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// oldFetch makes a request below version 8 one for a group.
func oldFetch(req *wire.OffsetFetchRequest) *wire.OffsetFetchRequestGroup {
	g := &wire.OffsetFetchRequestGroup{GroupID: req.GroupID, MemberEpoch: -1}
	if req.Topics != nil {
		g.Topics = make([]wire.OffsetFetchRequestTopics, len(req.Topics))
		for i := range req.Topics {
			g.Topics[i] = wire.OffsetFetchRequestTopics{Name: req.Topics[i].Name, PartitionIndexes: req.Topics[i].PartitionIndexes}
		}
	}
	return g
}

// oldFetched makes a group's answer one below version 8.
func oldFetched(g *wire.OffsetFetchResponseGroup) *wire.OffsetFetchResponse {
	resp := &wire.OffsetFetchResponse{ErrorCode: g.ErrorCode, Topics: make([]wire.OffsetFetchResponseTopic, len(g.Topics))}
	for i := range g.Topics {
		t := &g.Topics[i]
		out := wire.OffsetFetchResponseTopic{Name: t.Name, Partitions: make([]wire.OffsetFetchResponsePartition, len(t.Partitions))}
		for k := range t.Partitions {
			out.Partitions[k] = wire.OffsetFetchResponsePartition(t.Partitions[k])
		}
		resp.Topics[i] = out
	}
	return resp
}

// OffsetDelete serves one OffsetDelete request.
func (c *Groups) OffsetDelete(req *wire.OffsetDeleteRequest, _ Client, _ int16, done func(*wire.OffsetDeleteResponse)) {
	refused := func(code wire.Code) { done(&wire.OffsetDeleteResponse{ErrorCode: code}) }
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp := m.machine.DeleteOffsets(req, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				resp = &wire.OffsetDeleteResponse{ErrorCode: code}
			}
			t.calls = append(t.calls, func() { done(resp) })
		}
	}, refused)
}

// DeleteTopic removes the offsets of a deleted topic from all groups of partitions led here.
func (c *Groups) DeleteTopic(topic string, id wire.UUID) {
	for _, s := range *c.shards.Load() {
		s.do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
			m.machine.DeleteTopic(topic, id, &m.fx)
			m.absorb(t)
			return nil
		}, func(wire.Code) {})
	}
}
