package metadata

import (
	"iter"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Records gives the records that build the image from nothing, in Kafka's order: features
// (metadata.version first, since it decides the versions of what follows), brokers,
// controllers, topics with their partitions, configurations, quotas, producer ids, access
// rules, credentials, tokens. Within each kind they are sorted, so that equal images give
// equal snapshots.
func (i *Image) Records() iter.Seq[wire.MetadataRecord] {
	return func(yield func(wire.MetadataRecord) bool) {
		_ = i.featureRecords(yield) && i.nodeRecords(yield) && i.topicRecords(yield) && i.configRecords(yield) &&
			i.quotaRecords(yield) && i.securityRecords(yield)
	}
}

type yieldRecord = func(wire.MetadataRecord) bool

func (i *Image) featureRecords(yield yieldRecord) bool {
	level := func(name string) bool {
		return yield(&wire.FeatureLevelRecord{Name: name, FeatureLevel: i.features[name]})
	}
	if i.MetadataVersion() != 0 && !level(FeatureMetadataVersion) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(i.features)) {
		if name != FeatureMetadataVersion && !level(name) {
			return false
		}
	}
	return true
}

func (i *Image) nodeRecords(yield yieldRecord) bool {
	for _, b := range i.Brokers() {
		r := wire.RegisterBrokerRecord(*b)
		if !yield(&r) {
			return false
		}
	}
	for _, c := range i.Controllers() {
		r := wire.RegisterControllerRecord(*c)
		if !yield(&r) {
			return false
		}
	}
	return true
}

func (i *Image) topicRecords(yield yieldRecord) bool {
	for _, t := range i.SortedTopics() {
		if !yield(&wire.TopicRecord{Name: t.Name, TopicID: t.ID}) {
			return false
		}
		for n, p := range t.Partitions {
			if !yield(p.record(t.ID, int32(n))) {
				return false
			}
		}
	}
	return true
}

func (i *Image) configRecords(yield yieldRecord) bool {
	var all []Resource
	i.configs.each(func(r Resource, _ map[string]string) { all = append(all, r) })
	slices.SortFunc(all, compareResources)
	for _, r := range all {
		c := i.Config(r)
		for _, name := range slices.Sorted(maps.Keys(c)) {
			value := c[name]
			if !yield(&wire.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: name, Value: &value}) {
				return false
			}
		}
	}
	return true
}

func (i *Image) quotaRecords(yield yieldRecord) bool {
	for _, q := range i.Quotas() {
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			if !yield(&wire.ClientQuotaRecord{Entity: q.Entity, Key: key, Value: q.Values[key]}) {
				return false
			}
		}
	}
	return true
}

func (i *Image) securityRecords(yield yieldRecord) bool {
	if i.producerIDs > 0 &&
		!yield(&wire.ProducerIdsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: i.producerIDs}) {
		return false
	}
	for _, a := range i.ACLs() {
		if !yield(a) {
			return false
		}
	}
	for _, s := range i.ScramCredentials() {
		if !yield(s) {
			return false
		}
	}
	for _, t := range i.Tokens() {
		if !yield(t) {
			return false
		}
	}
	return true
}
