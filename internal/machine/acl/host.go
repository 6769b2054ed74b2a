package acl

import (
	"net/netip"
	"strconv"
	"strings"
)

// ParseHost reads what a rule's host says when it is not the wildcard: one address, or a network (KIP-1276).
//
// An address must be written as Kafka writes that of a peer, which is what it compares with: an IPv6 address is eight groups
// without leading zeros and without "::" (see [HostText]). Otherwise the rule would match nobody in Kafka, and does not here.
func ParseHost(text string) (netip.Prefix, bool) {
	if strings.IndexByte(text, '/') >= 0 {
		return parseNetwork(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil || HostText(a) != text {
		return netip.Prefix{}, false
	}
	a = plain(a)
	return netip.PrefixFrom(a, a.BitLen()), true
}

// parseNetwork reads "10.0.0.0/8" or "2001:db8::/32". Bits beyond the length do not matter.
func parseNetwork(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// HostText is an address as Kafka writes it, which is Java's way: "10.0.0.1", "2001:db8:0:0:0:0:0:1".
func HostText(a netip.Addr) string {
	a = plain(a)
	if !a.Is6() {
		return a.String()
	}
	b := a.As16()
	out := make([]byte, 0, 39)
	for i := 0; i < 16; i += 2 {
		if i > 0 {
			out = append(out, ':')
		}
		out = strconv.AppendUint(out, uint64(b[i])<<8|uint64(b[i+1]), 16)
	}
	return string(out)
}

// plain is the address without zone; IPv4 within IPv6 is IPv4, as in Java.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
