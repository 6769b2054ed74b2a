package broker

import (
	"maps"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// unusable tells why this node could not use settings that a request wants to give it: key stores that are not there, with another
// password, or for somebody else. Empty if it could, if they are not this node's, or if they have nothing to do with TLS or SASL.
func unusable(b *Broker, r *wire.IncrementalAlterConfigsRequestAlterConfigsResource) string {
	if b.checkSettings == nil || !b.itself(r.ResourceType, r.ResourceName) {
		return ""
	}
	values := config.Values{}
	maps.Copy(values, b.image().Config(metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}))
	tls, sasl := false, false
	for _, c := range r.Configs {
		tls, sasl = tls || ofTLS(c.Name), sasl || ofSASL(c.Name)
		switch {
		case c.ConfigOperation == opDelete:
			delete(values, c.Name)
		case c.ConfigOperation == opSet && c.Value != nil:
			values[c.Name] = *c.Value
		case (c.ConfigOperation == opAppend || c.ConfigOperation == opSubtract) && c.Value != nil:
			def, ok := config.LookupBroker(c.Name)
			if !ok || def.Type != config.TypeList {
				continue // the controller refuses it
			}
			before, had := values[c.Name]
			if !had {
				before, _ = def.DefaultValue()
			}
			values[c.Name] = controller.AlterList(before, *c.Value, c.ConfigOperation == opAppend)
		}
	}
	return trySettings(b, tls, sasl, values)
}

// unusableWhole is unusable for a request that replaces all settings.
func unusableWhole(b *Broker, r *wire.AlterConfigsRequestAlterConfigsResource) string {
	if b.checkSettings == nil || !b.itself(r.ResourceType, r.ResourceName) {
		return ""
	}
	values, tls, sasl := config.Values{}, false, false
	for _, c := range r.Configs {
		sasl = sasl || ofSASL(c.Name)
		if tls = tls || ofTLS(c.Name); c.Value != nil {
			values[c.Name] = *c.Value
		}
	}
	for key := range b.image().Config(metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}) {
		tls, sasl = tls || ofTLS(key), sasl || ofSASL(key) // it may be taken away
	}
	return trySettings(b, tls, sasl, values)
}

func (b *Broker) itself(kind int8, name string) bool {
	return kind == metadata.BrokerResource && name == strconv.Itoa(int(b.nodeID))
}

// ofTLS tells the keys of TLS, with a listener's prefix and without.
func ofTLS(key string) bool { return strings.HasPrefix(key, "ssl.") || strings.Contains(key, ".ssl.") }

// trySettings asks whether the listeners could work with these dynamic settings of this node, as far as they are about TLS or SASL.
func trySettings(b *Broker, tls, sasl bool, values config.Values) string {
	why := b.tryTLS(tls, values)
	if why == "" && sasl {
		why = b.door.unusable(values)
	}
	return why
}

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
