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
	if b.checkSettings == nil || !b.itself(r.ResourceType, r.ResourceName) {
		return ""
	}
	values := config.Values{}
	maps.Copy(values, b.image().Config(metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}))
	tls := false
	for _, c := range r.Configs {
		tls = tls || ofTLS(c.Name)
		switch {
		case c.ConfigOperation == opDelete:
			delete(values, c.Name)
		case c.ConfigOperation == opSet && c.Value != nil:
			values[c.Name] = *c.Value
		}
	}
	return b.tryTLS(tls, values)
}

// unusableWhole is unusable for a request that replaces all settings.
func unusableWhole(b *Broker, r *wire.AlterConfigsRequestAlterConfigsResource) string {
	if b.checkSettings == nil || !b.itself(r.ResourceType, r.ResourceName) {
		return ""
	}
	values, tls := config.Values{}, false
	for _, c := range r.Configs {
		if tls = tls || ofTLS(c.Name); c.Value != nil {
			values[c.Name] = *c.Value
		}
	}
	for key := range b.image().Config(metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}) {
		tls = tls || ofTLS(key) // it may be taken away
	}
	return b.tryTLS(tls, values)
}

func (b *Broker) itself(kind int8, name string) bool {
	return kind == metadata.BrokerResource && name == strconv.Itoa(int(b.nodeID))
}

// ofTLS tells the keys of TLS, with a listener's prefix and without.
func ofTLS(key string) bool { return strings.HasPrefix(key, "ssl.") || strings.Contains(key, ".ssl.") }

// tryTLS asks whether the listeners could work with these dynamic settings of this node.
func (b *Broker) tryTLS(wanted bool, values config.Values) string {
	if !wanted {
		return ""
	}
	// What is not valid is left out here; the controller refuses it with its reason.
	next, _ := b.config().WithDynamic(b.image().Config(metadata.Resource{Type: metadata.BrokerResource}), values)
	if err := b.checkSettings(next); err != nil {
		return "Validation of dynamic config update of SSLFactory failed: " + err.Error()
	}
	return ""
}
