package broker

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveDescribeConfigs tells settings, where they come from, and what they mean (KIP-226, KIP-569).
func serveDescribeConfigs(b *Broker, q *edge.Request, m *wire.DescribeConfigsRequest) *wire.DescribeConfigsResponse {
	out := &wire.DescribeConfigsResponse{}
	out.SetDefaults()
	if i := slices.IndexFunc(m.Resources, func(r wire.DescribeConfigsRequestDescribeConfigsResource) bool {
		return !slices.Contains(listable, r.ResourceType)
	}); i >= 0 {
		refuseDescription(m, out)
		return out
	}
	var refused []wire.DescribeConfigsResponseDescribeConfigsResult
	for i := range m.Resources {
		asked := &m.Resources[i]
		if code := b.settingsRight(q, acl.DescribeConfigs, metadata.Resource{Type: asked.ResourceType, Name: asked.ResourceName}); code != wire.None {
			refused = append(refused, wire.DescribeConfigsResponseDescribeConfigsResult{
				ErrorCode: code, ErrorMessage: text(code.Message()), ResourceType: asked.ResourceType, ResourceName: asked.ResourceName,
			})
			continue
		}
		if len(asked.ConfigurationKeys) == 0 {
			asked.ConfigurationKeys = nil // all
		}
		r := wire.DescribeConfigsResponseDescribeConfigsResult{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName}
		entries, code, message := b.describeConfigs(asked)
		r.ErrorCode, r.ErrorMessage = code, &message
		for k := range entries {
			r.Configs = append(r.Configs, describedConfig(&entries[k], m))
		}
		out.Results = append(out.Results, r)
	}
	out.Results = append(out.Results, refused...)
	return out
}

// refuseDescription answers as Kafka does when a resource is of no known type: nothing is told of the others either.
func refuseDescription(m *wire.DescribeConfigsRequest, out *wire.DescribeConfigsResponse) {
	for i := range m.Resources {
		message := "This most likely occurs because of a request being malformed by the client library or the message was sent " +
			"to an incompatible broker. See the broker logs for more details."
		out.Results = append(out.Results, wire.DescribeConfigsResponseDescribeConfigsResult{
			ErrorCode: wire.InvalidRequest, ErrorMessage: &message, ResourceType: m.Resources[i].ResourceType, ResourceName: m.Resources[i].ResourceName,
		})
	}
}

// describeConfigs finds the entries of one resource.
func (b *Broker) describeConfigs(asked *wire.DescribeConfigsRequestDescribeConfigsResource) ([]config.Entry, wire.Code, string) {
	img, name, keys := b.image(), asked.ResourceName, asked.ConfigurationKeys
	overrides := img.Config(metadata.Resource{Type: asked.ResourceType, Name: name})
	switch asked.ResourceType {
	case metadata.TopicResource:
		if reason := controller.CheckTopicName(name); reason != "" {
			return nil, wire.InvalidTopic, reason
		}
		if _, ok := img.Topic(name); !ok {
			return nil, wire.UnknownTopicOrPartition, ""
		}
		return config.DescribeTopic(b.config(), overrides, keys), wire.None, ""
	case metadata.BrokerResource:
		if name == "" {
			return config.DescribeCluster(b.config(), keys), wire.None, ""
		}
		if id, err := strconv.ParseInt(name, 10, 32); err != nil {
			return nil, wire.InvalidRequest, "Broker id must be an integer, but it is: " + name
		} else if int32(id) != b.nodeID {
			return nil, wire.InvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", b.nodeID, name)
		}
		return config.DescribeBroker(b.config(), keys), wire.None, ""
	case metadata.BrokerLoggerResource:
		return describeLoggers(b, asked)
	case metadata.ClientMetricsResource:
		if name == "" {
			return nil, wire.InvalidRequest, "Client metrics subscription name must not be empty"
		}
		return config.DescribeClientMetrics(b.config(), overrides, keys), wire.None, ""
	case metadata.GroupResource:
		if name == "" {
			return nil, wire.InvalidRequest, "Group name must not be empty"
		}
		return config.DescribeGroup(b.config(), overrides, keys), wire.None, ""
	default:
		return nil, wire.InvalidRequest, fmt.Sprintf("Unsupported resource type: %d", asked.ResourceType)
	}
}

func describedConfig(e *config.Entry, m *wire.DescribeConfigsRequest) wire.DescribeConfigsResponseDescribeConfigsResourceResult {
	c := wire.DescribeConfigsResponseDescribeConfigsResourceResult{
		Name: e.Name, Value: shown(e.Value, e.Null), ReadOnly: e.ReadOnly, ConfigSource: int8(e.Source),
		IsSensitive: e.Sensitive, ConfigType: int8(e.Type),
	}
	if m.IncludeSynonyms {
		for _, s := range e.Synonyms {
			c.Synonyms = append(c.Synonyms, wire.DescribeConfigsResponseDescribeConfigsSynonym{Name: s.Name, Value: shown(s.Value, s.Null), Source: int8(s.Source)})
		}
	}
	if m.IncludeDocumentation && !e.Undocumented || e.Source == config.SourceDynamicBrokerLogger {
		c.Documentation = &e.Doc
	}
	return c
}

func shown(value string, null bool) *string {
	if null {
		return nil
	}
	return &value
}

// listable are the resources that ListConfigResources gives when none is named.
var listable = []int8{metadata.TopicResource, metadata.BrokerResource, metadata.BrokerLoggerResource, metadata.ClientMetricsResource, metadata.GroupResource}

// serveListConfigResources lists what can have settings (KIP-1142); version 0
// lists client metrics subscriptions alone.
func serveListConfigResources(b *Broker, q *edge.Request, m *wire.ListConfigResourcesRequest) *wire.ListConfigResourcesResponse {
	out := &wire.ListConfigResourcesResponse{}
	out.SetDefaults()
	kinds := m.ResourceTypes
	if q.Version == 0 {
		kinds = []int8{metadata.ClientMetricsResource}
	} else if len(kinds) == 0 {
		kinds = listable
	}
	img := b.image()
	add := func(kind int8, name string) {
		out.ConfigResources = append(out.ConfigResources, wire.ListConfigResourcesResponseConfigResource{ResourceType: kind, ResourceName: name})
	}
	for i, kind := range kinds {
		if slices.Contains(kinds[:i], kind) {
			continue
		}
		if !slices.Contains(listable, kind) {
			out.ErrorCode, out.ConfigResources = wire.UnsupportedVersion, nil
			return out
		}
		switch kind {
		case metadata.TopicResource:
			for _, t := range img.SortedTopics() {
				add(kind, t.Name)
			}
		case metadata.BrokerResource, metadata.BrokerLoggerResource:
			for _, br := range img.Brokers() {
				add(kind, strconv.Itoa(int(br.BrokerID)))
			}
		default:
			for _, r := range img.ConfigResources(kind) {
				add(kind, r.Name)
			}
		}
	}
	return out
}
