package broker

import (
	"sync"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
)

// producerIDs hands out producer ids from blocks that the controller allots;
// a block that is not used up when the node stops is lost, as in Kafka.
type producerIDs struct {
	mu sync.Mutex // guards all below
	// next and end are what is left of the present block.
	next, end int64
	// waiting are the requests that came while a block was being fetched. It is
	// bounded by the connections: each has at most one InitProducerId in flight.
	waiting  []func(id int64, code wire.Code)
	fetching bool
}

// take calls done with an id, now or when the controller has answered.
func (p *producerIDs) take(b *Broker, done func(id int64, code wire.Code)) {
	p.mu.Lock()
	if p.next < p.end {
		id := p.next
		p.next++
		p.mu.Unlock()
		done(id, wire.None)
		return
	}
	p.waiting = append(p.waiting, done)
	first := !p.fetching
	p.fetching = true
	p.mu.Unlock()
	if first {
		p.fetch(b)
	}
}

func (p *producerIDs) fetch(b *Broker) {
	m := &wire.AllocateProducerIdsRequest{BrokerID: b.nodeID, BrokerEpoch: b.quorum.BrokerEpoch()}
	b.quorum.Propose(m, func(reply any, err error) {
		resp, ok := reply.(*wire.AllocateProducerIdsResponse)
		code := wire.CoordinatorLoadInProgress
		if err == nil && ok && resp.ErrorCode == wire.None {
			code = wire.None
		}
		p.mu.Lock()
		if code == wire.None {
			p.next, p.end = resp.ProducerIDStart, resp.ProducerIDStart+int64(resp.ProducerIDLen)
		}
		due := p.waiting
		p.waiting, p.fetching = nil, false
		p.mu.Unlock()
		for _, done := range due {
			if code != wire.None {
				done(-1, code)
			} else {
				p.take(b, done)
			}
		}
	})
}

// serveInitProducerID gives producers their id (KIP-98): those with a transactional id by the transaction coordinator. An id and epoch
// that a producer without transactions had before (KIP-360) are not looked at: it gets a new one.
func serveInitProducerID(b *Broker, q *edge.Request, m *wire.InitProducerIdRequest, answer func(*wire.InitProducerIdResponse)) {
	out := &wire.InitProducerIdResponse{}
	out.SetDefaults()
	out.ProducerEpoch = -1
	if out.ErrorCode = b.mayProduceAs(q, m.TransactionalID, m.Enable2Pc); out.ErrorCode != wire.None {
		answer(out)
		return
	}
	if (m.ProducerID == -1) != (m.ProducerEpoch == -1) {
		out.ErrorCode = wire.InvalidRequest
		answer(out)
		return
	}
	if m.TransactionalID != nil {
		switch {
		case *m.TransactionalID == "":
			out.ErrorCode = wire.InvalidRequest
			answer(out)
		case m.Enable2Pc: // transaction.two.phase.commit.enable is off
			out.ErrorCode = wire.TransactionalIDAuthorizationFailed
			answer(out)
		case m.KeepPreparedTxn:
			out.ErrorCode = wire.UnsupportedVersion
			answer(out)
		default:
			b.transactions.InitProducerID(m, client(q), q.Version, answer)
		}
		return
	}
	b.producerIDs.take(b, func(id int64, code wire.Code) {
		if out.ErrorCode = code; code == wire.None {
			out.ProducerID, out.ProducerEpoch = id, 0
		}
		answer(out)
	})
}

// mayProduceAs asks for the right to a producer id: with a transactional id that to it, otherwise that to write to some topic (KIP-679) or
// IDEMPOTENT_WRITE.
func (b rights) mayProduceAs(q *edge.Request, transactionalID *string, twoPhases bool) wire.Code {
	switch {
	case b.authorizer == nil:
	case transactionalID == nil:
		if !b.authorizer.any(q, acl.Write, acl.Topic) && !b.onCluster(q, acl.IdempotentWrite) {
			return wire.ClusterAuthorizationFailed
		}
	case !b.allowed(q, acl.Write, acl.TransactionalID, *transactionalID),
		twoPhases && !b.allowed(q, acl.TwoPhaseCommit, acl.TransactionalID, *transactionalID):
		return wire.TransactionalIDAuthorizationFailed
	}
	return wire.None
}

// serveDescribeProducers lists the producers that partitions of topics know that the peer may read (KIP-664).
func serveDescribeProducers(b *Broker, q *edge.Request, m *wire.DescribeProducersRequest) *wire.DescribeProducersResponse {
	out := &wire.DescribeProducersResponse{}
	out.SetDefaults()
	for i := range m.Topics {
		in := &m.Topics[i]
		t := wire.DescribeProducersResponseTopicResponse{Name: in.Name}
		topic := b.table.ByName(in.Name)
		valid := validTopicName(in.Name)
		denied := valid && !b.allowed(q, acl.Read, acl.Topic, in.Name)
		for _, index := range in.PartitionIndexes {
			r := wire.DescribeProducersResponsePartitionResponse{}
			r.SetDefaults()
			r.PartitionIndex = index
			if denied {
				r.ErrorCode, r.ErrorMessage = wire.TopicAuthorizationFailed, text(wire.TopicAuthorizationFailed.Message())
			} else if !valid {
				r.ErrorCode, r.ErrorMessage = wire.InvalidTopic, text(wire.InvalidTopic.Message())
			} else if p := topic.Partition(index); p == nil {
				if r.ErrorCode = wire.UnknownTopicOrPartition; topic == nil {
					r.ErrorMessage = text(r.ErrorCode.Message())
				}
			} else {
				for _, s := range p.Log().Producers() {
					r.ActiveProducers = append(r.ActiveProducers, wire.DescribeProducersResponseProducerState{
						ProducerID: s.ID, ProducerEpoch: int32(s.Epoch), LastSequence: s.LastSequence,
						LastTimestamp: s.LastTimestamp, CoordinatorEpoch: s.CoordinatorEpoch, CurrentTxnStartOffset: s.TxnFirstOffset,
					})
				}
			}
			t.Partitions = append(t.Partitions, r)
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}
