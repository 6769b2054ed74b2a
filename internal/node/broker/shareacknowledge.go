package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/share"
)

// serveShareAcknowledge takes what a member of a share group says about records that it has (KIP-932).
func serveShareAcknowledge(b *Broker, q *edge.Request, m *wire.ShareAcknowledgeRequest, answer func(*wire.ShareAcknowledgeResponse)) {
	if code := b.shareRefusal(m.GroupID, m.MemberID); code != wire.None {
		answer(&wire.ShareAcknowledgeResponse{ErrorCode: code})
		return
	}
	if !b.allowed(q, acl.Read, acl.Group, *m.GroupID) {
		answer(&wire.ShareAcknowledgeResponse{ErrorCode: wire.GroupAuthorizationFailed})
		return
	}
	listener := q.Conn().Listener()
	b.delivery.Acknowledge(&share.Acknowledge{
		Group: *m.GroupID, Member: *m.MemberID, Epoch: m.ShareSessionEpoch, Supports: supported(q.Version), Renewing: m.IsRenewAck, Topics: m.Topics,
		Denied: unreadable(b, q),
		Done:   func(a *share.Acknowledge) { answer(b.acknowledged(a, listener)) },
	})
}

// acknowledged makes the response of the results, topic by topic.
func (b *Broker) acknowledged(a *share.Acknowledge, listener string) *wire.ShareAcknowledgeResponse {
	out := &wire.ShareAcknowledgeResponse{ErrorCode: a.Code, AcquisitionLockTimeoutMs: a.LockMs}
	for i := range a.Results {
		r := &a.Results[i]
		n := len(out.Responses)
		if n == 0 || out.Responses[n-1].TopicID != r.Topic {
			out.Responses = append(out.Responses, wire.ShareAcknowledgeResponseShareAcknowledgeTopicResponse{TopicID: r.Topic})
			n++
		}
		p := wire.ShareAcknowledgeResponsePartitionData{PartitionIndex: r.Index, ErrorCode: r.Code, ErrorMessage: text(r.Why)}
		if leader, epoch, ok := b.newLeader(r.Code, r.Topic, r.Index); ok {
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = leader, epoch
			if br := b.image().Broker(leader); br != nil && len(out.NodeEndpoints) == 0 {
				if host, port, ok := endpoint(br, listener); ok {
					out.NodeEndpoints = append(out.NodeEndpoints, wire.ShareAcknowledgeResponseNodeEndpoint{NodeID: leader, Host: host, Port: port, Rack: br.Rack})
				}
			}
		}
		out.Responses[n-1].Partitions = append(out.Responses[n-1].Partitions, p)
	}
	return out
}
