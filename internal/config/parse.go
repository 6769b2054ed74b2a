package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Voter is one entry of controller.quorum.voters.
type Voter struct {
	ID   int32
	Host string
	Port uint16
}

// ParseVoters reads controller.quorum.voters: id@host:port, separated by commas.
func ParseVoters(value string) ([]Voter, error) {
	const key = "controller.quorum.voters"
	list := ParseList(value)
	voters := make([]Voter, 0, len(list))
	for _, entry := range list {
		id, address, ok := strings.Cut(entry, "@")
		if !ok || strings.Contains(address, "@") {
			return nil, bareError("Invalid configuration value for %s. Each entry should be in the form `{id}@{host}:{port}`.", key)
		}
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil {
			return nil, bareError("Failed to parse voter ID as an integer from %s", id)
		}
		host, port, ok := splitAddress(address)
		if !ok || host == "" {
			return nil, bareError("Failed to parse host name from entry %s for the configuration %s. Each entry should be in the form `{id}@{host}:{port}`.", entry, key)
		}
		voters = append(voters, Voter{ID: int32(n), Host: host, Port: port})
	}
	return voters, nil
}

// Server is an address to connect to first.
type Server struct {
	Host string
	Port uint16
}

// ParseServers reads controller.quorum.bootstrap.servers: host:port, separated by commas.
func ParseServers(value string) ([]Server, error) {
	list := ParseList(value)
	servers := make([]Server, 0, len(list))
	for _, entry := range list {
		host, port, ok := splitAddress(entry)
		if !ok || host == "" {
			return nil, bareError("Failed to parse host name from %s for the configuration controller.quorum.bootstrap.servers. "+
				`Each entry should be in the form "{host}:{port}"`, entry)
		}
		servers = append(servers, Server{Host: host, Port: port})
	}
	return servers, nil
}

func bareError(format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...), Bare: true}
}

// splitAddress splits host:port; an IPv6 address is written in brackets. The host may be empty.
func splitAddress(address string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", 0, false
	}
	host, text := address[:i], address[i+1:]
	switch {
	case strings.HasPrefix(host, "["):
		if !strings.HasSuffix(host, "]") || len(host) < 3 {
			return "", 0, false
		}
		host = host[1 : len(host)-1]
	case strings.ContainsAny(host, "[]"):
		return "", 0, false
	}
	if strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._%:") != "" {
		return "", 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err == nil
}

// parseISODuration reads PnDTnHnMn.nS as Java's Duration does, in whole milliseconds.
func parseISODuration(text string) (ms int64, err error) {
	rest := strings.ToUpper(text)
	sign := int64(1)
	if cut, ok := strings.CutPrefix(rest, "-"); ok {
		rest, sign = cut, -1
	}
	rest, ok := strings.CutPrefix(strings.TrimPrefix(rest, "+"), "P")
	if !ok || rest == "" {
		return 0, bareError("%q is not a duration: write it as PnDTnHnMn.nS", text)
	}
	days, clock, timed := strings.Cut(rest, "T")
	if timed && clock == "" {
		return 0, bareError("%q is not a duration: nothing follows its T", text)
	}
	total := float64(0)
	for _, part := range []struct{ text, units string }{{days, "D"}, {clock, "HMS"}} {
		n, err := sumUnits(part.text, part.units)
		if err != nil {
			return 0, bareError("%q is not a duration: %v", text, err)
		}
		total += n
	}
	if total > maxDurationMs || total < -maxDurationMs {
		return 0, bareError("%q is too long a duration", text)
	}
	return sign * int64(total), nil
}

// maxDurationMs bounds a parsed duration: about 285,000 years.
const maxDurationMs = 9e15

// sumUnits adds up "1H2M3.5S": each unit once, in the order given.
func sumUnits(text, units string) (ms float64, err error) {
	factors := map[byte]float64{'D': 86_400_000, 'H': 3_600_000, 'M': 60_000, 'S': 1000}
	for text != "" {
		i := strings.IndexAny(text, units)
		if i < 0 {
			return 0, fmt.Errorf("%q has no unit out of %q", text, units)
		}
		unit := text[i]
		bits := text[:i]
		if unit != 'S' && strings.ContainsAny(bits, ".,") || strings.ContainsAny(bits, "ENIX_") {
			return 0, fmt.Errorf("%q is not a number", bits)
		}
		n, err := strconv.ParseFloat(bits, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", bits)
		}
		ms += n * factors[unit]
		text = text[i+1:]
		units = units[strings.IndexByte(units, unit)+1:]
		if units == "" && text != "" {
			return 0, fmt.Errorf("%q is left over", text)
		}
	}
	return ms, nil
}
