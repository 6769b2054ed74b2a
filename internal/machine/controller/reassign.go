package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// alterReassignments answers for what one broker can do: an assignment that is what it was, or that names the
// same replicas in another order, is done at once; one that would copy data is refused.
func (d partitions) alterReassignments(r *wire.AlterPartitionReassignmentsRequest) Decision {
	reply := &wire.AlterPartitionReassignmentsResponse{
		AllowReplicationFactorChange: r.AllowReplicationFactorChange,
		Responses:                    []wire.AlterPartitionReassignmentsResponseReassignableTopicResponse{},
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		out := wire.AlterPartitionReassignmentsResponseReassignableTopicResponse{
			Name: t.Name, Partitions: []wire.AlterPartitionReassignmentsResponseReassignablePartitionResponse{},
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			answer := wire.AlterPartitionReassignmentsResponseReassignablePartitionResponse{PartitionIndex: p.PartitionIndex}
			answer.ErrorCode, answer.ErrorMessage = d.reassign(t.Name, p, r.AllowReplicationFactorChange).parts()
			out.Partitions = append(out.Partitions, answer)
		}
		reply.Responses = append(reply.Responses, out)
	}
	if len(r.Topics) == 0 { // Kafka's controller is not asked then: the answer has the defaults
		none := ""
		reply.AllowReplicationFactorChange, reply.ErrorMessage = true, &none
	}
	return d.done(reply, false)
}

func (d partitions) reassign(name string, in *wire.AlterPartitionReassignmentsRequestReassignablePartition, resize bool) *fault {
	t, ok := d.image.Topic(name)
	if !ok {
		return refuse(wire.UnknownTopicOrPartition, "Unable to find a topic named %s.", name)
	}
	if in.PartitionIndex < 0 || int(in.PartitionIndex) >= len(t.Partitions) {
		return refuse(wire.UnknownTopicOrPartition, "Unable to find partition %s:%d.", name, in.PartitionIndex)
	}
	p := t.Partitions[in.PartitionIndex]
	if in.Replicas == nil {
		return &fault{code: wire.NoReassignmentInProgress}
	}
	if f := d.checkAssignment(in.Replicas, -1); f != nil {
		return f
	}
	if !resize && len(in.Replicas) != len(p.Replicas) {
		return refuse(wire.InvalidReplicationFactor, "The replication factor is changed from %d to %d", len(p.Replicas), len(in.Replicas))
	}
	if slices.Equal(in.Replicas, p.Replicas) {
		return nil
	}
	if !slices.Equal(slices.Sorted(slices.Values(in.Replicas)), slices.Sorted(slices.Values(p.Replicas))) {
		return refuse(wire.InvalidReplicaAssignment, "Moving replicas to other brokers is not supported yet.")
	}
	d.reorder(t, in.PartitionIndex, in.Replicas)
	return nil
}

// reorder gives a partition the same replicas in another order of preference.
func (d partitions) reorder(t *metadata.Topic, index int32, replicas []int32) {
	p := t.Partitions[index]
	r := &wire.PartitionChangeRecord{}
	r.SetDefaults()
	r.TopicID, r.PartitionID = t.ID, index
	r.Replicas = slices.Clone(replicas)
	for _, b := range replicas {
		r.Directories = append(r.Directories, p.Directory(b))
	}
	d.add(r)
}

// listReassignments tells what moves: the partitions that a reassignment left unfinished.
func (d partitions) listReassignments(r *wire.ListPartitionReassignmentsRequest) Decision {
	reply := &wire.ListPartitionReassignmentsResponse{Topics: []wire.ListPartitionReassignmentsResponseOngoingTopicReassignment{}}
	list := func(t *metadata.Topic, wanted func(int32) bool) {
		out := wire.ListPartitionReassignmentsResponseOngoingTopicReassignment{Name: t.Name}
		for i, p := range t.Partitions {
			if (len(p.Adding) > 0 || len(p.Removing) > 0) && wanted(int32(i)) {
				out.Partitions = append(out.Partitions, wire.ListPartitionReassignmentsResponseOngoingPartitionReassignment{
					PartitionIndex: int32(i), Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing,
				})
			}
		}
		if len(out.Partitions) > 0 {
			reply.Topics = append(reply.Topics, out)
		}
	}
	if r.Topics == nil {
		for _, t := range d.image.SortedTopics() {
			list(t, func(int32) bool { return true })
		}
	}
	for i := range r.Topics {
		if t, ok := d.image.Topic(r.Topics[i].Name); ok {
			list(t, func(p int32) bool { return slices.Contains(r.Topics[i].PartitionIndexes, p) })
		}
	}
	return Decision{Reply: reply}
}
