package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// partitions decides on the state of existing partitions.
type partitions struct{ *decider }

// alterPartition is a leader's wish to change the ISR or the recovery state of its partitions (KIP-497).
func (d partitions) alterPartition(r *wire.AlterPartitionRequest) Decision {
	reply := &wire.AlterPartitionResponse{Topics: []wire.AlterPartitionResponseTopicData{}}
	if reply.ErrorCode = d.brokerFault(r.BrokerID, r.BrokerEpoch); reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	for i := range r.Topics {
		in := &r.Topics[i]
		out := wire.AlterPartitionResponseTopicData{TopicID: in.TopicID}
		topic, ok := d.image.TopicByID(in.TopicID)
		for j := range in.Partitions {
			p := &in.Partitions[j]
			answer := wire.AlterPartitionResponsePartitionData{PartitionIndex: p.PartitionIndex, ISR: []int32{}}
			if !ok {
				answer.ErrorCode = wire.UnknownTopicID
			} else {
				d.alterISR(r.BrokerID, topic, p, &answer)
			}
			out.Partitions = append(out.Partitions, answer)
		}
		reply.Topics = append(reply.Topics, out)
	}
	return d.done(reply, false)
}

func (d partitions) alterISR(
	broker int32, t *metadata.Topic, in *wire.AlterPartitionRequestPartitionData, out *wire.AlterPartitionResponsePartitionData,
) {
	members := in.NewISRWithEpochs
	if len(members) == 0 {
		for _, b := range in.NewISR { // version 2 sends ids without epochs
			members = append(members, wire.AlterPartitionRequestBrokerState{BrokerID: b, BrokerEpoch: -1})
		}
	}
	isr := make([]int32, len(members))
	for i, m := range members {
		isr[i] = m.BrokerID
	}
	if out.ErrorCode = d.checkISR(broker, t, in, isr); out.ErrorCode != wire.None {
		return
	}
	for _, m := range members {
		b := d.image.Broker(m.BrokerID)
		if !b.Active() || m.BrokerEpoch != -1 && m.BrokerEpoch != b.BrokerEpoch {
			out.ErrorCode = wire.IneligibleReplica
			return
		}
	}
	c := d.newChange(t, in.PartitionIndex)
	c.isr, c.recovery = isr, in.LeaderRecoveryState
	c.eligible(-1)
	if d.image.MetadataVersion() < metadata.ISRShrinkEpochVersion {
		c.bump = slices.ContainsFunc(c.old.ISR, func(b int32) bool { return !slices.Contains(isr, b) })
	}
	p := c.old
	out.LeaderEpoch, out.PartitionEpoch = p.LeaderEpoch, p.PartitionEpoch
	if rec := c.record(); rec != nil {
		d.add(rec)
		out.PartitionEpoch++
		if c.bump {
			out.LeaderEpoch++
		}
	}
	out.LeaderID, out.ISR, out.LeaderRecoveryState = p.Leader, isr, c.recovery
}

func (d partitions) checkISR(broker int32, t *metadata.Topic, in *wire.AlterPartitionRequestPartitionData, isr []int32) wire.Code {
	if in.PartitionIndex < 0 || int(in.PartitionIndex) >= len(t.Partitions) {
		return wire.UnknownTopicOrPartition
	}
	p := t.Partitions[in.PartitionIndex]
	switch {
	case in.LeaderEpoch > p.LeaderEpoch, in.PartitionEpoch > p.PartitionEpoch:
		return wire.NotController // it has seen a later controller
	case in.LeaderEpoch < p.LeaderEpoch:
		return wire.FencedLeaderEpoch
	case broker != p.Leader:
		return wire.InvalidRequest
	case in.PartitionEpoch < p.PartitionEpoch:
		return wire.InvalidUpdateVersion
	case !slices.Contains(isr, p.Leader):
		return wire.InvalidRequest
	case in.LeaderRecoveryState == metadata.Recovering && (len(isr) > 1 || p.RecoveryState == metadata.Recovered):
		return wire.InvalidRequest
	}
	for i, b := range isr {
		if !slices.Contains(p.Replicas, b) || slices.Contains(isr[:i], b) {
			return wire.InvalidRequest
		}
	}
	return wire.None
}
