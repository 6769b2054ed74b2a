package node

import (
	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
)

// ListenerAddr is where a listener listens, "host:port".
func (n *Node) ListenerAddr(name string) string {
	for _, l := range n.listeners.Broker {
		if l.Name == name {
			return address(l)
		}
	}
	return ""
}

// ParseScram reads a user as --add-scram has it.
func ParseScram(r clock.Rand, text string) (*wire.UserScramCredentialRecord, error) {
	return parseScram(r, text)
}
