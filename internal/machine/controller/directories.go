package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// assignDirectories takes down in which of its directories a broker keeps its replicas (KIP-858).
func (d partitions) assignDirectories(r *wire.AssignReplicasToDirsRequest) Decision {
	reply := &wire.AssignReplicasToDirsResponse{Directories: []wire.AssignReplicasToDirsResponseDirectoryData{}}
	if d.image.MetadataVersion() < metadata.DirectoriesVersion {
		reply.ErrorCode = wire.UnsupportedVersion
		return Decision{Reply: reply}
	}
	if d.brokerFault(r.BrokerID, r.BrokerEpoch) != wire.None {
		reply.ErrorCode = wire.StaleBrokerEpoch // also for a broker that there is not
		return Decision{Reply: reply}
	}
	broker := d.image.Broker(r.BrokerID)
	for i := range r.Directories {
		dir := &r.Directories[i]
		online := slices.Contains(broker.LogDirs, dir.ID)
		outDir := wire.AssignReplicasToDirsResponseDirectoryData{ID: dir.ID, Topics: []wire.AssignReplicasToDirsResponseTopicData{}}
		for j := range dir.Topics {
			in := &dir.Topics[j]
			out := wire.AssignReplicasToDirsResponseTopicData{TopicID: in.TopicID, Partitions: []wire.AssignReplicasToDirsResponsePartitionData{}}
			topic, _ := d.image.TopicByID(in.TopicID)
			for _, p := range in.Partitions {
				out.Partitions = append(out.Partitions, wire.AssignReplicasToDirsResponsePartitionData{
					PartitionIndex: p.PartitionIndex, ErrorCode: d.assignDirectory(r.BrokerID, topic, p.PartitionIndex, dir.ID, online),
				})
			}
			outDir.Topics = append(outDir.Topics, out)
		}
		reply.Directories = append(reply.Directories, outDir)
	}
	decision := d.done(reply, false)
	decision.Splittable = true
	return decision
}

func (d partitions) assignDirectory(broker int32, t *metadata.Topic, index int32, dir wire.UUID, online bool) wire.Code {
	if t == nil {
		return wire.UnknownTopicID
	}
	if index < 0 || int(index) >= len(t.Partitions) {
		return wire.UnknownTopicOrPartition
	}
	p := t.Partitions[index]
	at := slices.Index(p.Replicas, broker)
	if at < 0 {
		return wire.NotLeaderOrFollower
	}
	c := d.newChange(t, index)
	if !online { // what lies in a directory that is gone cannot be led
		if isr := slices.DeleteFunc(slices.Clone(p.ISR), func(b int32) bool { return b == broker }); len(isr) > 0 || c.elrOn {
			c.isr = isr
		}
		c.acceptable = func(b int32) bool { return b != broker && d.image.Broker(b).Active() }
		c.eligible(-1)
		c.elect()
	}
	rec := c.record()
	if p.Directory(broker) != dir {
		if rec == nil {
			rec = &wire.PartitionChangeRecord{}
			rec.SetDefaults()
			rec.TopicID, rec.PartitionID = t.ID, index
		}
		rec.Directories = make([]wire.UUID, len(p.Replicas))
		copy(rec.Directories, p.Directories)
		rec.Directories[at] = dir
	}
	if rec != nil {
		d.add(rec)
	}
	return wire.None
}
