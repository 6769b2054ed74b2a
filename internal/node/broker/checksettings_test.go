package broker

import (
	"errors"
	"testing"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// imageOnly is a quorum of which nothing but the image is asked.
type imageOnly struct {
	Quorum
	image *metadata.Image
}

func (q imageOnly) Image() *metadata.Image { return q.image }

// TestUnusableKeyStore: a key store that the node cannot use is refused before it becomes its own, and nothing else is looked at.
func TestUnusableKeyStore(t *testing.T) {
	const key = "listener.name.outside.ssl.keystore.location"
	static, err := config.NewBroker(config.Values{"node.id": "1", key: "good"})
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{nodeID: 1, quorum: imageOnly{image: metadata.Empty()}, config: func() *config.BrokerConfig { return static }}
	b.checkSettings = func(c *config.BrokerConfig) error {
		if v, _ := c.ForListener("OUTSIDE", "ssl.keystore.location"); v != "good" {
			return errors.New("cannot read " + v)
		}
		return nil
	}
	bad, good := "bad", "good"
	for _, c := range []struct {
		kind      int8
		name, key string
		op        int8
		value     *string
		refused   bool
	}{
		{metadata.BrokerResource, "1", key, opSet, &bad, true},
		{metadata.BrokerResource, "1", key, opSet, &good, false},
		{metadata.BrokerResource, "1", key, opDelete, nil, false},
		{metadata.BrokerResource, "1", "listener.name.outside.max.connections", opSet, &bad, false},
		{metadata.BrokerResource, "2", key, opSet, &bad, false},
		{metadata.BrokerResource, "", key, opSet, &bad, false},
		{metadata.TopicResource, "1", key, opSet, &bad, false},
	} {
		why := unusable(b, &wire.IncrementalAlterConfigsRequestAlterConfigsResource{ResourceType: c.kind, ResourceName: c.name,
			Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: c.key, ConfigOperation: c.op, Value: c.value}}})
		if (why != "") != c.refused {
			t.Errorf("%+v: %q", c, why)
		}
	}
}
