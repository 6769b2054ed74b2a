package node

import (
	"slices"

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
