package group

import (
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// CommitTxnOffsets decides on a TxnOffsetCommit request: the offsets count once the producer's transaction is committed
// (EndTransaction). The answer is to be sent when the write in fx, if any, is settled. Topics must have their names; the
// caller has taken out what it refused, and has asked the transaction coordinator.
func (m *Machine) CommitTxnOffsets(now Time, req *wire.TxnOffsetCommitRequest, producer *Producer, fx *Effects) *wire.TxnOffsetCommitResponse {
	plain := &wire.OffsetCommitRequest{
		GroupID: req.GroupID, GenerationIDOrMemberEpoch: req.GenerationIDOrMemberEpoch, MemberID: req.MemberID,
		GroupInstanceID: req.GroupInstanceID, RetentionTimeMs: -1, Topics: make([]wire.OffsetCommitRequestTopic, len(req.Topics)),
	}
	for i := range req.Topics {
		t := &plain.Topics[i]
		t.Name, t.TopicID = req.Topics[i].Name, req.Topics[i].TopicID
		t.Partitions = make([]wire.OffsetCommitRequestPartition, len(req.Topics[i].Partitions))
		for k, p := range req.Topics[i].Partitions {
			t.Partitions[k] = wire.OffsetCommitRequestPartition{
				PartitionIndex: p.PartitionIndex, CommittedOffset: p.CommittedOffset,
				CommittedLeaderEpoch: p.CommittedLeaderEpoch, CommittedMetadata: p.CommittedMetadata,
			}
		}
	}
	// A group that does not exist is told as to clients of before KIP-848.
	var out wire.OffsetCommitResponse
	o := offsetCommit{now: now, version: groupIDNotFoundSince - 1, req: plain, resp: &out, producer: producer, fx: fx}
	o.decide(m)
	resp := TxnCommitError(req, wire.None)
	for i := range out.Topics {
		for k := range out.Topics[i].Partitions {
			resp.Topics[i].Partitions[k].ErrorCode = out.Topics[i].Partitions[k].ErrorCode
		}
	}
	return resp
}

// TxnCommitError answers a TxnOffsetCommit request with one code for all partitions.
func TxnCommitError(req *wire.TxnOffsetCommitRequest, code wire.Code) *wire.TxnOffsetCommitResponse {
	resp := &wire.TxnOffsetCommitResponse{Topics: make([]wire.TxnOffsetCommitResponseTopic, len(req.Topics))}
	for i := range req.Topics {
		t, out := &req.Topics[i], &resp.Topics[i]
		out.Name, out.TopicID = strings.Clone(t.Name), t.TopicID
		out.Partitions = make([]wire.TxnOffsetCommitResponsePartition, len(t.Partitions))
		for k := range t.Partitions {
			out.Partitions[k] = wire.TxnOffsetCommitResponsePartition{PartitionIndex: t.Partitions[k].PartitionIndex, ErrorCode: code}
		}
	}
	return resp
}

// anonymous says that the sender of a commit does not say that it is a member.
func anonymous(req *wire.OffsetCommitRequest) bool {
	return req.GenerationIDOrMemberEpoch < 0 && req.MemberID == "" && req.GroupInstanceID == nil
}

// openOffsets takes over the committed offsets of a transaction that is still open.
func (m *Machine) openOffsets(w *write, base int64) {
	g, id := w.group, w.producer.ID
	for i := range w.changes {
		c := &w.changes[i]
		c.offset.record = base + int64(i)
		m.openOffset(g, id, topicPartition{c.topic, c.partition}, c.offset)
	}
}
