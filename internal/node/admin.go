package node

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// subscribe tells the telemetry which client metrics are wanted.
func (n *Node) subscribe(img *metadata.Image, d *metadata.Delta) {
	if d != nil && !slices.ContainsFunc(d.Configs(), func(r metadata.Resource) bool { return r.Type == metadata.ClientMetricsResource }) {
		return
	}
	var all []map[string]string
	for _, r := range img.ConfigResources(metadata.ClientMetricsResource) {
		all = append(all, img.Config(r))
	}
	if d != nil || len(all) > 0 {
		n.telemetry.SetSubscriptions(all)
	}
}

// limitConnections gives the server the limits on connections as they are now.
func (n *Node) limitConnections(cfg *config.BrokerConfig) {
	if n.server == nil {
		return
	}
	single := make(map[netip.Addr]int)
	for _, entry := range config.ParseList(cfg.GetString("max.connections.per.ip.overrides")) {
		if i := strings.LastIndexByte(entry, ':'); i > 0 {
			ip, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(entry[:i]), "[]"))
			most, notNumber := strconv.Atoi(strings.TrimSpace(entry[i+1:]))
			if err != nil || notNumber != nil {
				n.o.Logger.Warn("an entry of max.connections.per.ip.overrides is not used: write it as address:count", "entry", entry)
				continue
			}
			single[ip] = most
		}
	}
	n.server.SetConnectionLimits(cfg.GetInt("max.connections"), cfg.GetInt("max.connections.per.ip"), single)
}
