package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// offsetCommit is an OffsetCommit request under way. Its memory is used again, and its strings are views of the frame.
type offsetCommit struct {
	*coordinator.OffsetCommit
	b       *Broker
	q       *edge.Request
	reader  wire.Reader
	refused []wire.OffsetCommitResponseTopic
	// denied are the topics of the request, by position, that the peer may not read; empty when it may read all.
	denied []bool
}

func takeCommit(b *Broker, q *edge.Request) *offsetCommit {
	op, _ := b.commits.Get().(*offsetCommit)
	if op == nil {
		op = &offsetCommit{b: b}
		op.OffsetCommit = coordinator.NewOffsetCommit(op.finish)
		op.reader.AliasStrings = true
	}
	op.q = q
	return op
}

// maxPooledCommit bounds the topics, and the partitions of each, that a pooled request keeps.
const maxPooledCommit = 256

func (op *offsetCommit) release() {
	op.q, op.refused, op.denied = nil, nil, op.denied[:0]
	op.reader.Reset(nil)
	if cap(op.Request.Topics) > maxPooledCommit || cap(op.Response.Topics) > maxPooledCommit {
		return
	}
	for _, t := range op.Request.Topics[:cap(op.Request.Topics)] {
		if cap(t.Partitions) > maxPooledCommit {
			return
		}
	}
	op.b.commits.Put(op)
}

// serveOffsetCommit commits offsets. What names a topic or partition that
// does not exist is refused here; the coordinator knows no topics.
func serveOffsetCommit(b *Broker, q *edge.Request) {
	op := takeCommit(b, q)
	op.reader.Reset(q.Body)
	op.Request.Decode(&op.reader, q.Version)
	if err := op.reader.Err(); err != nil {
		op.release()
		q.Hangup(malformed(q, err))
		return
	}
	op.Version = q.Version
	img := b.image()
	if b.authorizer != nil && !b.allowed(q, acl.Read, acl.Group, op.Request.GroupID) {
		op.refuse(wire.GroupAuthorizationFailed)
		return
	}
	resolved, readable := op.resolve(img), op.readable(img)
	if !resolved || !readable {
		op.part(img)
		if len(op.Request.Topics) == 0 {
			op.Response.Topics = op.Response.Topics[:0]
			op.finish()
			return
		}
	}
	b.groups.OffsetCommit(op.OffsetCommit)
}

// refuse answers each partition with one error.
func (op *offsetCommit) refuse(code wire.Code) {
	op.Response.Topics = op.Response.Topics[:0]
	for i := range op.Request.Topics {
		in := &op.Request.Topics[i]
		t := wire.OffsetCommitResponseTopic{Name: in.Name, TopicID: in.TopicID}
		for _, p := range in.Partitions {
			t.Partitions = append(t.Partitions, wire.OffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		op.refused = append(op.refused, t)
	}
	op.finish()
}

// readable asks for the right to read each topic. An id that no topic has is refused as such.
func (op *offsetCommit) readable(img *metadata.Image) bool {
	if op.b.authorizer == nil {
		return true
	}
	all := true
	for i := range op.Request.Topics {
		t := &op.Request.Topics[i]
		known, _ := op.topic(img, t)
		ok := op.Version >= 10 && known == nil || op.b.allowed(op.q, acl.Read, acl.Topic, t.Name)
		op.denied = append(op.denied, !ok)
		all = all && ok
	}
	return all
}

// topic finds a topic of the request and puts in its name and id; code is what a missing one is answered with.
func (op *offsetCommit) topic(img *metadata.Image, t *wire.OffsetCommitRequestTopic) (topic *metadata.Topic, code wire.Code) {
	var ok bool
	if op.Version < 10 {
		code = wire.UnknownTopicOrPartition
		topic, ok = img.Topic(t.Name)
	} else {
		code = wire.UnknownTopicID
		topic, ok = img.TopicByID(t.TopicID)
	}
	if !ok {
		return nil, code
	}
	t.Name, t.TopicID = topic.Name, topic.ID
	return topic, wire.UnknownTopicOrPartition
}

// resolve says whether all that the request names exists.
func (op *offsetCommit) resolve(img *metadata.Image) bool {
	for i := range op.Request.Topics {
		t := &op.Request.Topics[i]
		topic, _ := op.topic(img, t)
		if len(t.Partitions) == 0 {
			return false // it is not in the answer
		}
		for k := range t.Partitions {
			if !hasPartition(topic, t.Partitions[k].PartitionIndex) {
				return false
			}
		}
	}
	return true
}

// part takes out of the request what does not exist.
func (op *offsetCommit) part(img *metadata.Image) {
	kept := op.Request.Topics[:0:0]
	for i := range op.Request.Topics {
		t := &op.Request.Topics[i]
		topic, code := op.topic(img, t)
		if i < len(op.denied) && op.denied[i] {
			topic, code = nil, wire.TopicAuthorizationFailed
		}
		known := wire.OffsetCommitRequestTopic{Name: t.Name, TopicID: t.TopicID}
		bad := wire.OffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			if hasPartition(topic, p.PartitionIndex) {
				known.Partitions = append(known.Partitions, p)
				continue
			}
			bad.Partitions = append(bad.Partitions, wire.OffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		if len(known.Partitions) > 0 {
			kept = append(kept, known)
		}
		if len(bad.Partitions) > 0 || topic == nil {
			op.refused = mergeCommitted(op.refused, bad)
		}
	}
	op.Request.Topics = kept
}

// mergeCommitted adds a topic to an answer, to its other partitions if there are any. Topics have either all an id or none.
func mergeCommitted(list []wire.OffsetCommitResponseTopic, t wire.OffsetCommitResponseTopic) []wire.OffsetCommitResponseTopic {
	for i := range list {
		if list[i].TopicID == t.TopicID && list[i].Name == t.Name {
			list[i].Partitions = append(list[i].Partitions, t.Partitions...)
			return list
		}
	}
	return append(list, t)
}

func hasPartition(topic *metadata.Topic, index int32) bool {
	return topic != nil && index >= 0 && int(index) < len(topic.Partitions)
}

// finish sends the answer.
func (op *offsetCommit) finish() {
	if len(op.refused) > 0 { // what is refused comes first, as in Kafka
		for i := range op.Response.Topics {
			op.refused = mergeCommitted(op.refused, op.Response.Topics[i])
		}
		op.Response.Topics = op.refused
	}
	op.count()
	q := op.q
	op.Response.ThrottleTimeMs = op.b.tolls.Load().throttle(q)
	resp := q.Begin()
	resp.Buf = op.Response.Append(resp.Buf, q.Version)
	op.release()
	q.Reply()
}

// count counts the error codes of the answer.
func (op *offsetCommit) count() {
	f, nones := op.b.figures, uint64(0)
	for i := range op.Response.Topics {
		for _, p := range op.Response.Topics[i].Partitions {
			if p.ErrorCode == wire.None {
				nones++
				continue
			}
			f.code(wire.KeyOffsetCommit, p.ErrorCode)
		}
	}
	f.nones.Shard(op.q.Conn().ID()).Add(int(wire.KeyOffsetCommit), nones)
}
