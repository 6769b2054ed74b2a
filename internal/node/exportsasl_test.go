package node

// ListenerAddr is where a listener listens, "host:port".
func (n *Node) ListenerAddr(name string) string {
	for _, l := range n.listeners.Broker {
		if l.Name == name {
			return address(l)
		}
	}
	return ""
}
