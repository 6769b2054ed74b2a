package broker

import (
	"bytes"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/share"
)

// maxMemberID is the length of a UUID in hexadecimal, which members name themselves by.
const maxMemberID = 36

// renewVersion is the first version of ShareFetch and ShareAcknowledge that knows renewals (KIP-1222).
const renewVersion = 2

// shareFetch is one ShareFetch request from its arrival to its answer. It is pooled.
//
// Data path: as in Fetch, records are views of the log that the edge puts in.
type shareFetch struct {
	b    *Broker
	q    *edge.Request
	req  wire.ShareFetchRequest
	resp wire.ShareFetchResponse
	share.Fetch
}

// serveShareFetch delivers records to a member of a share group (KIP-932).
func (b *Broker) serveShareFetch(q *edge.Request) {
	op, _ := b.shareReads.Get().(*shareFetch)
	if op == nil {
		op = &shareFetch{b: b}
	}
	op.q = q
	r := wire.NewReader(q.Body)
	op.req.Decode(r, q.Version)
	if err := r.Err(); err != nil {
		op.release()
		q.Hangup(malformed(q, err))
		return
	}
	code := op.refusal()
	if code == wire.None && !b.allowed(q, acl.Read, acl.Group, *op.req.GroupID) {
		code = wire.GroupAuthorizationFailed
	}
	if code != wire.None {
		op.Code = code
		op.answer()
		return
	}
	m, f := &op.req, &op.Fetch
	f.Group, f.Member, f.Epoch = *m.GroupID, *m.MemberID, m.ShareSessionEpoch
	f.MaxBytes, f.MaxWaitMs = int(max(min(m.MaxBytes, b.maxFetchBytes, b.tolls.Load().fetchable(q)), 0)), m.MaxWaitMs
	f.MinBytes = min(int(m.MinBytes), f.MaxBytes)
	f.MaxRecords, f.BatchSize, f.Mode = int(m.MaxRecords), int(m.BatchSize), machine.Mode(m.ShareAcquireMode)
	f.Supports, f.Renewing = supported(q.Version), m.IsRenewAck
	f.Topics, f.Forgotten, f.Conn = m.Topics, m.ForgottenTopicsData, q.Conn()
	f.Denied = unreadable(b, q)
	f.OnPark = func(cancel func()) {
		q.Release() // nothing of the request refers to the frame
		q.OnCancel(cancel)
	}
	f.Done = func(*share.Fetch) { op.answer() }
	b.delivery.Fetch(f)
}

// unreadable tells topics that the peer may not read, nil when it may read all.
func unreadable(b *Broker, q *edge.Request) func(topic wire.UUID) bool {
	if b.authorizer == nil {
		return nil
	}
	return func(id wire.UUID) bool {
		topic, ok := b.image().TopicByID(id)
		return ok && !b.allowed(q, acl.Read, acl.Topic, topic.Name)
	}
}

// supported is the last acknowledge type of a version.
func supported(version int16) int8 {
	if version >= renewVersion {
		return machine.Renew
	}
	return machine.Reject
}

// shareRefusal is what any request of a member is refused for.
func (b *Broker) shareRefusal(group, member *string) wire.Code {
	switch {
	case b.image().Feature("share.version") < 1:
		return wire.UnsupportedVersion
	case group == nil, member == nil, *member == "", len(*member) > maxMemberID:
		return wire.InvalidRequest
	}
	return wire.None
}

// refusal is why a request is not served at all.
//
// Differs from Kafka: an acquire mode of ShareFetch that there is not is an INVALID_REQUEST; Kafka fails with
// UNKNOWN_SERVER_ERROR, as it does when a topic that nobody knows is asked for.
func (op *shareFetch) refusal() wire.Code {
	m := &op.req
	if code := op.b.shareRefusal(m.GroupID, m.MemberID); code != wire.None {
		return code
	}
	switch {
	case m.IsRenewAck && (m.MaxBytes != 0 || m.MinBytes != 0 || m.MaxRecords != 0 || m.MaxWaitMs != 0):
		return wire.InvalidRequest
	case m.ShareAcquireMode != int8(machine.BatchOptimized) && m.ShareAcquireMode != int8(machine.RecordLimit):
		return wire.InvalidRequest
	}
	return wire.None
}

func (op *shareFetch) release() {
	b := op.b
	heavy := max(op.Weight(), cap(op.req.Topics), cap(op.req.ForgottenTopicsData)) > maxPooledPartitions
	op.Recycle()
	op.q = nil
	if !heavy {
		b.shareReads.Put(op)
	}
}

// answer encodes the response and hands the records over as parts.
func (op *shareFetch) answer() {
	q := op.q
	op.fill()
	next := 0
	records := op.Results
	op.resp.ThrottleTimeMs = op.throttle()
	resp := q.Begin()
	resp.Buf = op.resp.AppendParts(resp.Buf, q.Version,
		func(int, int) int { n := records[next].View.Len; next++; return n },
		func(_, _, at int) {
			v := &records[next-1].View
			part := edge.Part{At: at, Mem: v.Mem, Done: v.Owner()}
			if v.File != nil {
				part.File, part.Off, part.Len = v.File, v.Pos, v.Len
			}
			resp.Parts = append(resp.Parts, part)
		})
	op.release()
	q.Reply()
}

// throttle counts what is about to be delivered.
//
// Differs from Kafka: a client whose ShareFetch is over its quota gets its records nevertheless, and waits after them. Kafka
// answers it with nothing, and the records that it acquired lie there until their lock times out, with one delivery lost.
func (op *shareFetch) throttle() int32 {
	size := 0
	for i := range op.Results {
		size += op.Results[i].View.Len
	}
	return op.b.tolls.Load().fetch(op.q, size, true)
}

// fill makes the response of the results, topic by topic.
func (op *shareFetch) fill() {
	out := &op.resp
	out.SetDefaults()
	out.ErrorCode, out.AcquisitionLockTimeoutMs = op.Code, op.LockMs
	if op.Code != wire.None {
		return
	}
	slices.SortStableFunc(op.Results, func(a, b share.Result) int { return bytes.Compare(a.Topic[:], b.Topic[:]) })
	for i := range op.Results {
		r := &op.Results[i]
		n := len(out.Responses)
		if n == 0 || out.Responses[n-1].TopicID != r.Topic {
			out.Responses = grow(out.Responses, n+1)
			out.Responses[n].SetDefaults()
			out.Responses[n].TopicID = r.Topic
			n++
		}
		t := &out.Responses[n-1]
		t.Partitions = grow(t.Partitions, len(t.Partitions)+1)
		op.partition(&t.Partitions[len(t.Partitions)-1], r)
	}
}

func (op *shareFetch) partition(p *wire.ShareFetchResponsePartitionData, r *share.Result) {
	p.SetDefaults()
	p.PartitionIndex, p.ErrorCode, p.AcknowledgeErrorCode = r.Index, r.Code, r.AckCode
	p.AcknowledgeErrorMessage = text(r.AckWhy)
	for _, d := range r.Acquired {
		p.AcquiredRecords = append(p.AcquiredRecords, wire.ShareFetchResponseAcquiredRecords{FirstOffset: d.First, LastOffset: d.Last, DeliveryCount: d.Count})
	}
	if leader, epoch, ok := op.b.newLeader(r.Code, r.Topic, r.Index); ok {
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = leader, epoch
		op.point(leader)
	}
}

// newLeader is who leads a partition that this node turned out not to lead.
func (b *Broker) newLeader(code wire.Code, topic wire.UUID, index int32) (leader, epoch int32, ok bool) {
	if code != wire.NotLeaderOrFollower && code != wire.FencedLeaderEpoch {
		return 0, 0, false
	}
	t, ok := b.image().TopicByID(topic)
	if !ok || index < 0 || int(index) >= len(t.Partitions) {
		return -1, -1, true
	}
	return t.Partitions[index].Leader, t.Partitions[index].LeaderEpoch, true
}

// point tells where a leader is reached.
func (op *shareFetch) point(leader int32) {
	for i := range op.resp.NodeEndpoints {
		if op.resp.NodeEndpoints[i].NodeID == leader {
			return
		}
	}
	if br := op.b.image().Broker(leader); br != nil {
		if host, port, ok := endpoint(br, op.q.Conn().Listener()); ok {
			op.resp.NodeEndpoints = append(op.resp.NodeEndpoints, wire.ShareFetchResponseNodeEndpoint{NodeID: leader, Host: host, Port: port, Rack: br.Rack})
		}
	}
}
