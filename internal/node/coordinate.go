package node

import (
	"slices"

	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/partition"
)

// coordinate makes this node the coordinator of the partitions of Kafka's own topics that it leads.
func (n *Node) coordinate(img *metadata.Image, d *metadata.Delta) {
	n.lead(img, d, coordinator.OffsetsTopic, n.groups.SetPartitions, func(i, epoch int32, log partition.CoordinatorLog) {
		n.groups.Elect(i, epoch, log)
	})
	n.lead(img, d, coordinator.ShareTopic, n.shares.SetPartitions, func(i, epoch int32, log partition.CoordinatorLog) {
		n.shares.Elect(i, epoch, log)
	})
	n.lead(img, d, coordinator.TransactionTopic, n.transactions.SetPartitions, func(i, epoch int32, log partition.CoordinatorLog) {
		n.transactions.Elect(i, epoch, log)
	})
}

// uncoordinate ends the coordinator of a topic that was deleted: what it knew is gone with it.
func uncoordinate(n *Node, topic string) {
	switch topic {
	case coordinator.OffsetsTopic:
		n.groups.TopicDeleted()
	case coordinator.ShareTopic:
		n.shares.TopicDeleted()
	case coordinator.TransactionTopic:
		n.transactions.TopicDeleted()
	}
}

// lead tells a coordinator how many partitions its topic has, if that is new, and which of them this node leads.
func (n *Node) lead(img *metadata.Image, d *metadata.Delta, name string, size func(int32), elect func(i, epoch int32, log partition.CoordinatorLog)) {
	topic, ok := img.Topic(name)
	if !ok || d != nil && !slices.ContainsFunc(d.Topics(), func(c metadata.TopicChange) bool { return c.After == topic }) {
		return
	}
	size(int32(len(topic.Partitions)))
	for i, p := range topic.Partitions {
		local := n.table.ByName(topic.Name).Partition(int32(i))
		if local != nil && p.Leader == n.static.NodeID() {
			elect(int32(i), p.LeaderEpoch, partition.CoordinatorLog{Partition: local})
		}
	}
}
