package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// What is asked about the metadata quorum itself is answered by the quorum's shell: it is not a matter of metadata.

func serveDescribeQuorum(b *Broker, _ *edge.Request, m *wire.DescribeQuorumRequest) *wire.DescribeQuorumResponse {
	return b.quorum.DescribeQuorum(m)
}

func serveAddRaftVoter(b *Broker, _ *edge.Request, m *wire.AddRaftVoterRequest) *wire.AddRaftVoterResponse {
	return b.quorum.AddVoter(m)
}

func serveRemoveRaftVoter(b *Broker, _ *edge.Request, m *wire.RemoveRaftVoterRequest) *wire.RemoveRaftVoterResponse {
	return b.quorum.RemoveVoter(m)
}

func serveUpdateRaftVoter(b *Broker, _ *edge.Request, m *wire.UpdateRaftVoterRequest) *wire.UpdateRaftVoterResponse {
	return b.quorum.UpdateVoter(m)
}
