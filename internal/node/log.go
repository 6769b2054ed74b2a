package node

// started tells that clients are served.
func (n *monitor) started() {
	img := n.quorum.Image()
	n.o.Logger.Info("the node serves clients", "node", n.static.NodeID(), "cluster", n.identity.ClusterID, "address", n.addr,
		"epoch", n.quorum.Epoch(), "leader", n.quorum.Leader(), "topics", img.TopicCount(), "partitions", img.PartitionCount(), "dirs", len(n.stores))
}

// stops tells that no more requests are taken.
func (n *monitor) stops() {
	n.o.Logger.Info("the node stops", "node", n.static.NodeID())
}

// stopped tells how it ended.
func (n *monitor) stopped(err error) {
	if err != nil {
		n.o.Logger.Error("the node has not stopped cleanly; its next start recovers what is needed", "node", n.static.NodeID(), "error", err)
		return
	}
	n.o.Logger.Info("the node has stopped; its directories are as Kafka leaves them", "node", n.static.NodeID())
}
