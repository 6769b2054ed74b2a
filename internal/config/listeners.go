package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// SecurityProtocol says how a listener's connections are protected, numbered as in Kafka.
type SecurityProtocol int16

// The security protocols.
const (
	Plaintext     SecurityProtocol = 0
	SSL           SecurityProtocol = 1
	SASLPlaintext SecurityProtocol = 2
	SASLSSL       SecurityProtocol = 3
)

// String is Kafka's name of the protocol.
func (p SecurityProtocol) String() string {
	switch p {
	case Plaintext:
		return "PLAINTEXT"
	case SSL:
		return "SSL"
	case SASLPlaintext:
		return "SASL_PLAINTEXT"
	default:
		return "SASL_SSL"
	}
}

// TLS reports whether connections are encrypted.
func (p SecurityProtocol) TLS() bool { return p == SSL || p == SASLSSL }

// SASL reports whether clients authenticate with SASL.
func (p SecurityProtocol) SASL() bool { return p == SASLPlaintext || p == SASLSSL }

func parseSecurityProtocol(name string) (SecurityProtocol, bool) {
	for p := Plaintext; p <= SASLSSL; p++ {
		if strings.EqualFold(p.String(), name) {
			return p, true
		}
	}
	return 0, false
}

// Listener is an address that a node listens on, or that it tells clients to connect to.
type Listener struct {
	Name             string // in capitals
	Host             string // empty: all interfaces, or whatever the machine's name is
	Port             uint16 // 0: any free port
	SecurityProtocol SecurityProtocol
}

// String is the listener as the settings write it.
func (l Listener) String() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s://%s:%d", l.Name, host, l.Port)
}

// ParseSecurityMap reads listener.security.protocol.map: NAME:PROTOCOL, separated by commas. Names come out in capitals.
func ParseSecurityMap(text string) (map[string]SecurityProtocol, error) {
	out := map[string]SecurityProtocol{}
	for _, entry := range ParseList(text) {
		name, protocol, ok := strings.Cut(entry, ":")
		name = strings.ToUpper(strings.TrimSpace(name))
		if !ok || name == "" {
			return nil, fmt.Errorf("listener.security.protocol.map has the entry %q: write each as NAME:PROTOCOL", entry)
		}
		p, ok := parseSecurityProtocol(strings.TrimSpace(protocol))
		if !ok {
			return nil, fmt.Errorf("listener.security.protocol.map gives listener %s the protocol %q: it must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", name, protocol)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("listener.security.protocol.map has listener %s twice", name)
		}
		out[name] = p
	}
	return out, nil
}

// ParseListeners reads a list of NAME://host:port. Each name must be in
// protocols, and names must differ.
func ParseListeners(text string, protocols map[string]SecurityProtocol) ([]Listener, error) {
	var out []Listener
	for _, entry := range ParseList(text) {
		l, err := parseListener(entry, protocols)
		if err != nil {
			return nil, err
		}
		for _, other := range out {
			if other.Name == l.Name {
				return nil, fmt.Errorf("each listener must have a different name, and %s comes twice in %s", l.Name, text)
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func parseListener(entry string, protocols map[string]SecurityProtocol) (Listener, error) {
	name, address, ok := strings.Cut(entry, "://")
	if !ok || name == "" {
		return Listener{}, fmt.Errorf("cannot read %q as a listener: write it as NAME://host:port", entry)
	}
	host, port, ok := splitAddress(address)
	if !ok {
		return Listener{}, fmt.Errorf("cannot read %q as a listener: %q is not host:port", entry, address)
	}
	name = strings.ToUpper(name)
	protocol, ok := protocols[name]
	if !ok {
		return Listener{}, fmt.Errorf("no security protocol is defined for listener %s: add %s:PLAINTEXT, or another protocol, to listener.security.protocol.map", name, name)
	}
	return Listener{Name: name, Host: host, Port: port, SecurityProtocol: protocol}, nil
}

// checkPorts finds two listeners that would need the same socket. Two may share
// a port when one is on an IPv4 and the other on an IPv6 address (KIP-797), or
// when it is 0.
func checkPorts(key string, listeners []Listener) error {
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.Port != 0 && a.Port == b.Port && !oneOfEachFamily(a.Host, b.Host) {
				return fmt.Errorf("each listener must have a different port unless one has an IPv4 address and the other an IPv6 address, but %s in %s has the port of %s", a, key, b)
			}
		}
	}
	return nil
}

func oneOfEachFamily(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is4() != y.Is4()
}
