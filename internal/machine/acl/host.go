package acl

import (
	"fmt"
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
		p, err := ParseNetwork(text)
		return p, err == nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is4In6() || HostText(a) != text {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// ParseNetwork reads "10.0.0.0/8" or "2001:db8::/32". Bits beyond the length do not matter. An error is worded as Kafka's.
func ParseNetwork(text string) (netip.Prefix, error) {
	if strings.IndexByte(text, ':') >= 0 {
		return parseNetwork6(text)
	}
	return parseNetwork4(text)
}

// parseNetwork4 reads four numbers of at most three digits and a length of at most two; leading zeros mean nothing.
func parseNetwork4(text string) (netip.Prefix, error) {
	address, length, ok := strings.Cut(text, "/")
	parts := strings.Split(address, ".")
	if !ok || len(parts) != 4 || !digits(length, 2) {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s]", text)
	}
	var b [4]byte
	for _, p := range parts {
		if !digits(p, 3) {
			return netip.Prefix{}, fmt.Errorf("Could not parse [%s]", text)
		}
	}
	for i, p := range parts {
		n, _ := strconv.Atoi(p)
		if n > 255 {
			return netip.Prefix{}, fmt.Errorf("Value [%d] not in range [0,255]", n)
		}
		b[i] = byte(n)
	}
	n, _ := strconv.Atoi(length)
	if n > 32 {
		return netip.Prefix{}, fmt.Errorf("Value [%d] not in range [0,32]", n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(b), n).Masked(), nil
}

// digits says whether text is one to most decimal digits.
func digits(text string, most int) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != "" && len(text) <= most
}

// parseNetwork6 reads an IPv6 address and a length as Java does: in brackets or not, groups with any number of leading zeros. A zone
// means nothing.
//
// Differs from Kafka: the zone of an IPv6 address in a rule (fe80::1%eth0) may have any name; Kafka looks whether the
// controller has such a network interface.
func parseNetwork6(text string) (netip.Prefix, error) {
	address, length, ok := strings.Cut(text, "/")
	if !ok {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s] - missing prefix length", text)
	}
	n, err := strconv.ParseInt(length, 10, 32)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s] - invalid prefix length", text)
	}
	if n < 0 || n > 128 {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s] - prefix length must be between 0 and 128", text)
	}
	a, err := netip.ParseAddr(shortGroups(address))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s]", address)
	}
	if !a.Is6() || a.Is4In6() {
		return netip.Prefix{}, fmt.Errorf("Could not parse [%s] - not an IPv6 address", address)
	}
	return netip.PrefixFrom(a.WithZone(""), int(n)).Masked(), nil
}

// shortGroups takes brackets off and, of groups with more than four digits, leading zeros.
func shortGroups(address string) string {
	if inner, ok := strings.CutPrefix(address, "["); ok && strings.HasSuffix(inner, "]") {
		address = strings.TrimSuffix(inner, "]")
	}
	address, zone, _ := strings.Cut(address, "%")
	groups := strings.Split(address, ":")
	for i, g := range groups {
		for len(g) > 4 && g[0] == '0' && !strings.Contains(g, ".") {
			g = g[1:]
		}
		groups[i] = g
	}
	if address = strings.Join(groups, ":"); zone != "" {
		address += "%" + zone
	}
	return address
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
