package metadata

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// Values with a meaning of their own in partition state.
const (
	// NoLeader is the Leader of a partition that has none.
	NoLeader int32 = -1
	// noLeaderChange is a change record's leader when it leaves the leader alone.
	noLeaderChange int32 = -2
	// noRecoveryChange is a change record's recovery state when it leaves it alone.
	noRecoveryChange int8 = -1
)

// Recovery states of a partition's leader (KIP-704).
const (
	// Recovered: the leader was elected from the in-sync replicas.
	Recovered int8 = 0
	// Recovering: the leader was elected uncleanly and has not recovered yet.
	Recovering int8 = 1
)

// MaxTopicPartitions bounds the partitions of one topic in an image, so that
// one bad record cannot claim the memory of the node. Kafka has no such bound; its
// requests cannot add more than 10,000 at a time.
const MaxTopicPartitions = 1 << 20

// idKey is a topic's id as a key. Ids are random, so any part of one is a hash.
type idKey wire.UUID

func (k idKey) shard() uint32 { return binary.BigEndian.Uint32(k[12:]) }

// Topic is one topic of an image.
type Topic struct {
	Name string
	ID   wire.UUID
	// Partitions holds partition i at index i.
	Partitions []*Partition
}

// Partition is the state of one partition.
type Partition struct {
	// Replicas in order of preference; Directories has the log directory of each.
	Replicas    []int32
	Directories []wire.UUID
	// ISR is the in-sync replicas.
	ISR []int32
	// Adding and Removing are the replicas of a reassignment under way.
	Adding, Removing []int32
	// ELR is the eligible leader replicas, LastKnownELR the last known ones (KIP-966).
	ELR, LastKnownELR []int32
	// Leader is a broker id or NoLeader.
	Leader int32
	// LeaderEpoch grows with each change of leader, PartitionEpoch with each change.
	LeaderEpoch, PartitionEpoch int32
	// RecoveryState is Recovered or Recovering.
	RecoveryState int8
}

// Directory is the log directory that holds broker's replica, or the zero id
// when the broker has none or it is not known.
func (p *Partition) Directory(broker int32) wire.UUID {
	for i, r := range p.Replicas {
		if r == broker && i < len(p.Directories) {
			return p.Directories[i]
		}
	}
	return wire.UUID{}
}

func newPartition(r *wire.PartitionRecord) *Partition {
	dirs := r.Directories
	if len(dirs) == 0 && len(r.Replicas) > 0 {
		// Below record version 1 nothing is known: MIGRATING, the zero id, as Kafka does.
		dirs = make([]wire.UUID, len(r.Replicas))
	}
	return &Partition{
		Replicas: r.Replicas, Directories: dirs, ISR: r.ISR,
		Adding: r.AddingReplicas, Removing: r.RemovingReplicas,
		ELR: r.EligibleLeaderReplicas, LastKnownELR: r.LastKnownELR,
		Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		RecoveryState: r.LeaderRecoveryState,
	}
}

// record is the partition as a snapshot holds it.
func (p *Partition) record(id wire.UUID, index int32) *wire.PartitionRecord {
	r := &wire.PartitionRecord{}
	r.SetDefaults()
	r.PartitionID, r.TopicID = index, id
	r.Replicas, r.ISR, r.Directories = p.Replicas, p.ISR, p.Directories
	r.AddingReplicas, r.RemovingReplicas = p.Adding, p.Removing
	if len(p.ELR) > 0 {
		r.EligibleLeaderReplicas = p.ELR
	}
	if len(p.LastKnownELR) > 0 {
		r.LastKnownELR = p.LastKnownELR
	}
	r.Leader, r.LeaderEpoch, r.PartitionEpoch = p.Leader, p.LeaderEpoch, p.PartitionEpoch
	r.LeaderRecoveryState = p.RecoveryState
	return r
}

// changed is the partition after a change record. A record that names a leader
// begins a new leader epoch even when the leader is the same.
func (p *Partition) changed(r *wire.PartitionChangeRecord) *Partition {
	n := *p
	n.PartitionEpoch++
	if r.Leader != noLeaderChange {
		n.Leader = r.Leader
		n.LeaderEpoch++
	}
	if r.LeaderRecoveryState != noRecoveryChange {
		n.RecoveryState = r.LeaderRecoveryState
	}
	for _, f := range []struct {
		field *[]int32
		value []int32
	}{
		{&n.ISR, r.ISR},
		{&n.Replicas, r.Replicas},
		{&n.Removing, r.RemovingReplicas},
		{&n.Adding, r.AddingReplicas},
		{&n.ELR, r.EligibleLeaderReplicas},
		{&n.LastKnownELR, r.LastKnownELR},
	} {
		if f.value != nil {
			*f.field = f.value
		}
	}
	if r.Directories != nil {
		n.Directories = r.Directories
	}
	if len(n.Directories) != len(n.Replicas) {
		n.Directories = make([]wire.UUID, len(n.Replicas))
	}
	return &n
}

// topicEdit is a topic that a delta touches.
type topicEdit struct {
	before  *Topic
	after   *Topic // nil once deleted; ours to change
	touched map[int32]struct{}
}

func (e *topicEdit) put(index int32, p *Partition) error {
	if index < 0 || index >= MaxTopicPartitions {
		return fmt.Errorf("topic %s cannot have a partition %d", e.after.Name, index)
	}
	for int(index) >= len(e.after.Partitions) {
		e.after.Partitions = append(e.after.Partitions, nil)
	}
	e.after.Partitions[index] = p
	if e.touched == nil {
		e.touched = make(map[int32]struct{})
	}
	e.touched[index] = struct{}{}
	return nil
}
