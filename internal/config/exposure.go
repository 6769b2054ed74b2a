package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// insecureKey allows what CheckExposure refuses otherwise.
const insecureKey = "moldau.insecure.listeners.allow"

// CheckExposure refuses listeners that other machines reach and on which everybody may do everything: PLAINTEXT, which
// knows nobody, while no authorizer decides what nobody may do.
//
// Differs from Kafka: a node that is told nothing else listens on this machine only, and an open listener on other addresses
// has to be asked for with moldau.insecure.listeners.allow=true. Kafka listens on all interfaces, open to everybody.
func (b *BrokerConfig) CheckExposure(l *NodeListeners) error {
	if b.GetBool(insecureKey) || b.GetString("authorizer.class.name") != "" {
		return nil
	}
	for _, at := range [...][]Listener{l.Broker, l.Controller} {
		for _, x := range at {
			if x.SecurityProtocol == Plaintext && !loopback(x.Host) {
				return fmt.Errorf("listeners has %s, which other machines reach, without authentication and without an authorizer: everybody there could read, write and delete everything. "+
					"If that is meant, on a closed network, add the line %s=true (or start with --insecure); if not, listen on localhost (%s://localhost:%d), "+
					"or protect the listener: docs/security.md", x, insecureKey, x.Name, x.Port)
			}
		}
	}
	return nil
}

// loopback tells addresses that only this machine reaches.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
