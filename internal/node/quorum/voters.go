package quorum

import (
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
)

// Served is a quorum with the answers to requests about its voters. It is a
// quorum of one: this node votes, leads, and nobody observes it.
type Served struct{ *Quorum }

// DescribeQuorum tells who votes on the metadata log and how far each is (KIP-595, KIP-836, KIP-853).
func (q Served) DescribeQuorum(r *wire.DescribeQuorumRequest) *wire.DescribeQuorumResponse {
	out := &wire.DescribeQuorumResponse{}
	out.SetDefaults()
	if len(r.Topics) == 0 {
		return out
	}
	ours := len(r.Topics) == 1 && r.Topics[0].TopicName == Topic &&
		len(r.Topics[0].Partitions) == 1 && r.Topics[0].Partitions[0].PartitionIndex == 0
	for i := range r.Topics {
		in := &r.Topics[i]
		t := wire.DescribeQuorumResponseTopicData{TopicName: in.TopicName}
		for _, p := range in.Partitions {
			var answer wire.DescribeQuorumResponsePartitionData
			answer.SetDefaults()
			answer.PartitionIndex = p.PartitionIndex
			if ours {
				q.describePartition(&answer)
			} else {
				message := "This server does not host this topic-partition."
				answer.ErrorCode, answer.ErrorMessage = wire.UnknownTopicOrPartition, &message
			}
			t.Partitions = append(t.Partitions, answer)
		}
		out.Topics = append(out.Topics, t)
	}
	if ours {
		node := wire.DescribeQuorumResponseNode{NodeID: q.o.Identity.NodeID}
		for _, e := range q.o.Controller {
			node.Listeners = append(node.Listeners, wire.DescribeQuorumResponseListener{Name: e.Name, Host: e.Host, Port: e.Port})
		}
		out.Nodes = append(out.Nodes, node)
	}
	return out
}

func (q Served) describePartition(p *wire.DescribeQuorumResponsePartitionData) {
	now := clock.Millis(q.o.World.Now())
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = q.Leader(), q.Epoch(), q.HighWatermark()
	self := wire.DescribeQuorumResponseReplicaState{}
	self.SetDefaults()
	self.ReplicaID, self.ReplicaDirectoryID = q.o.Identity.NodeID, q.directory()
	self.LogEndOffset = max(q.LogEnd(), p.HighWatermark)
	self.LastFetchTimestamp, self.LastCaughtUpTimestamp = now, now
	p.CurrentVoters = append(p.CurrentVoters, self)
}

// directory is the id of the metadata directory; voters have none under kraft.version 0.
func (q Served) directory() wire.UUID {
	if q.KRaftVersion() == 0 {
		return wire.UUID{}
	}
	return q.o.Identity.Directories[q.o.Store.Dir()]
}

// replicaKey is a voter as Kafka's messages show it.
func replicaKey(id int32, directory wire.UUID) string {
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", id, directory)
}

// checkVoterRequest is what Kafka checks first of a request that changes voters.
func (q Served) checkVoterRequest(cluster *string, what string, id int32, directory wire.UUID) (wire.Code, *string) {
	switch {
	case cluster != nil && *cluster != q.o.Identity.ClusterID:
		return refused(wire.InconsistentClusterID, "The given id %q doesn't match the cluster id %q", *cluster, q.o.Identity.ClusterID)
	case id < 0 || directory.IsZero():
		return refused(wire.InvalidRequest, "%s voter request didn't include a valid voter", what)
	case q.KRaftVersion() == 0:
		verb := map[string]string{"Add": "adding", "Remove": "removing"}[what]
		return refused(wire.UnsupportedVersion, "Cluster doesn't support %s voter because the kraft.version feature is 0", verb)
	}
	return wire.None, nil
}

func refused(code wire.Code, format string, args ...any) (wire.Code, *string) {
	message := fmt.Sprintf(format, args...)
	return code, &message
}

// AddVoter answers a wish to take a voter in (KIP-853).
//
// Differs from Kafka: AddRaftVoter cannot add a second voter, and its answer says so at once.
func (q Served) AddVoter(r *wire.AddRaftVoterRequest) *wire.AddRaftVoterResponse {
	out := &wire.AddRaftVoterResponse{}
	out.ErrorCode, out.ErrorMessage = q.checkVoterRequest(r.ClusterID, "Add", r.VoterID, r.VoterDirectoryID)
	if out.ErrorCode != wire.None {
		return out
	}
	has := false
	var shown []string
	name := q.controllerListener()
	for _, l := range r.Listeners {
		has = has || l.Name == name
		shown = append(shown, fmt.Sprintf("ListenerName(%s)=%s/<unresolved>:%d", l.Name, l.Host, l.Port))
	}
	switch {
	case !has:
		out.ErrorCode, out.ErrorMessage = refused(wire.InvalidRequest,
			"Add voter request didn't include the endpoint (Endpoints(endpoints={%s})) for the default listener ListenerName(%s)", strings.Join(shown, ", "), name)
	case r.VoterID == q.o.Identity.NodeID:
		out.ErrorCode, out.ErrorMessage = refused(wire.DuplicateVoter, "The voter id for %s is already part of the set of voters [%s].",
			replicaKey(r.VoterID, r.VoterDirectoryID), replicaKey(q.o.Identity.NodeID, q.directory()))
	default:
		out.ErrorCode, out.ErrorMessage = refused(wire.UnsupportedVersion, "This release runs its metadata quorum on one node: no voter can be added.")
	}
	return out
}

// RemoveVoter answers a wish to let a voter go (KIP-853). The only one has to stay.
func (q Served) RemoveVoter(r *wire.RemoveRaftVoterRequest) *wire.RemoveRaftVoterResponse {
	out := &wire.RemoveRaftVoterResponse{}
	out.ErrorCode, out.ErrorMessage = q.checkVoterRequest(r.ClusterID, "Remove", r.VoterID, r.VoterDirectoryID)
	if out.ErrorCode == wire.None {
		out.ErrorCode, out.ErrorMessage = refused(wire.VoterNotFound, "Cannot remove voter %s from the set of voters [%s]",
			replicaKey(r.VoterID, r.VoterDirectoryID), replicaKey(q.o.Identity.NodeID, q.directory()))
	}
	return out
}

// UpdateVoter answers a voter that tells where it can be reached (KIP-853). This node tells itself at each
// start, so there is nothing to be changed by others.
func (q Served) UpdateVoter(r *wire.UpdateRaftVoterRequest) *wire.UpdateRaftVoterResponse {
	out := &wire.UpdateRaftVoterResponse{}
	out.SetDefaults()
	out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = q.Leader(), q.Epoch()
	if len(q.o.Controller) > 0 {
		out.CurrentLeader.Host, out.CurrentLeader.Port = q.o.Controller[0].Host, int32(q.o.Controller[0].Port)
	}
	has := false
	for _, l := range r.Listeners {
		has = has || l.Name == q.controllerListener()
	}
	switch epoch := out.CurrentLeader.LeaderEpoch; {
	case r.ClusterID != nil && *r.ClusterID != q.o.Identity.ClusterID:
		out.ErrorCode = wire.InconsistentClusterID
	case r.CurrentLeaderEpoch < epoch:
		out.ErrorCode = wire.FencedLeaderEpoch
	case r.CurrentLeaderEpoch > epoch:
		out.ErrorCode = wire.UnknownLeaderEpoch
	case r.VoterID < 0 || r.VoterDirectoryID.IsZero() || !has:
		out.ErrorCode = wire.InvalidRequest
	case r.VoterID != q.o.Identity.NodeID || r.VoterDirectoryID != q.directory():
		out.ErrorCode = wire.VoterNotFound
	}
	return out
}

// controllerListener is the name of the listener by which voters talk to each other.
func (q Served) controllerListener() string {
	if len(q.o.Controller) == 0 {
		return ""
	}
	return q.o.Controller[0].Name
}
