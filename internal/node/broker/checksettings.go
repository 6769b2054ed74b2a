package broker

import (
	"maps"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// unusable tells why this node could not use settings that a request wants to give it: key stores that are not there, with another
// password, or for somebody else. Empty if it could, if they are not this node's, or if they have nothing to do with TLS.
func unusable(b *Broker, r *wire.IncrementalAlterConfigsRequestAlterConfigsResource) string {
	if b.checkSettings == nil || r.ResourceType != metadata.BrokerResource || r.ResourceName != strconv.Itoa(int(b.nodeID)) {
		return ""
	}
	values := config.Values{}
	maps.Copy(values, b.image().Config(metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}))
	tls := false
	for _, c := range r.Configs {
		tls = tls || strings.Contains(c.Name, ".ssl.") // only listeners' own can be changed
		switch {
		case c.ConfigOperation == opDelete:
			delete(values, c.Name)
		case c.ConfigOperation == opSet && c.Value != nil:
			values[c.Name] = *c.Value
		}
	}
	if !tls {
		return ""
	}
	// What is not valid is left out here; the controller refuses it with its reason.
	next, _ := b.config().WithDynamic(b.image().Config(metadata.Resource{Type: metadata.BrokerResource}), values)
	if err := b.checkSettings(next); err != nil {
		return "Validation of dynamic config update of SSLFactory failed: " + err.Error()
	}
	return ""
}
