package metadata

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Broker is a broker's registration, with the changes since (field names as in RegisterBrokerRecord).
type Broker wire.RegisterBrokerRecord

// Active tells whether the broker may lead: registered, not fenced, not shutting down.
func (b *Broker) Active() bool { return b != nil && !b.Fenced && !b.InControlledShutdown }

// Controller is a controller's registration (KIP-919).
type Controller wire.RegisterControllerRecord

// Resource types that configurations belong to (KIP-226, KIP-714, KIP-848).
const (
	TopicResource         int8 = 2
	BrokerResource        int8 = 4
	BrokerLoggerResource  int8 = 8
	ClientMetricsResource int8 = 16
	GroupResource         int8 = 32
)

// Resource is what a configuration belongs to. The empty broker name stands for all brokers.
type Resource struct {
	Type int8
	Name string
}

func (r Resource) shard() uint32 { return fnv(2166136261^uint32(r.Type), r.Name) }

// Quota is the set of limits of one entity (KIP-546).
type Quota struct {
	Entity []wire.ClientQuotaRecordEntityData
	Values map[string]float64
}

// ScramKey names one credential: a user under one mechanism.
type ScramKey struct {
	Mechanism int8
	Name      string
}

// Image is the cluster's metadata up to one offset. It never changes. Maps,
// slices and pointers it returns must not be written to.
type Image struct {
	offset      int64
	epoch       int32
	partitions  int
	features    map[string]int16
	byID        table[idKey, *Topic]
	byName      table[nameKey, *Topic]
	unified     table[nameKey, string] // topics whose names have dots or underscores, by unify(name); names that come to the same with commas between them
	configs     table[Resource, map[string]string]
	brokers     map[int32]*Broker
	controllers map[int32]*Controller
	producerIDs int64
	quotas      map[string]*Quota
	scram       map[ScramKey]*wire.UserScramCredentialRecord
	acls        map[wire.UUID]*wire.AccessControlEntryRecord
	tokens      map[string]*wire.DelegationTokenRecord
}

// Empty is the image before the first record: offset -1.
func Empty() *Image {
	return &Image{
		offset: -1, features: map[string]int16{}, brokers: map[int32]*Broker{}, controllers: map[int32]*Controller{},
		quotas: map[string]*Quota{}, scram: map[ScramKey]*wire.UserScramCredentialRecord{},
		acls: map[wire.UUID]*wire.AccessControlEntryRecord{}, tokens: map[string]*wire.DelegationTokenRecord{},
	}
}

// Offset is that of the last record in the image, -1 when there is none.
func (i *Image) Offset() int64 { return i.offset }

// Epoch is the controller epoch in which that record was written.
func (i *Image) Epoch() int32 { return i.epoch }

// Topic finds a topic by name.
func (i *Image) Topic(name string) (*Topic, bool) { return i.byName.get(nameKey(name)) }

// TopicByID finds a topic by its id.
func (i *Image) TopicByID(id wire.UUID) (*Topic, bool) { return i.byID.get(idKey(id)) }

// Colliding finds a topic whose name cannot be told from this one in the names of metrics, where dots and
// underscores are the same.
func (i *Image) Colliding(name string) (string, bool) {
	if !strings.ContainsAny(name, "._") {
		return "", false
	}
	names, ok := i.unified.get(unify(name))
	first, _, _ := strings.Cut(names, ",")
	return first, ok
}

func unify(name string) nameKey { return nameKey(strings.ReplaceAll(name, ".", "_")) }

// TopicCount is the number of topics, PartitionCount that of their partitions.
func (i *Image) TopicCount() int { return i.byID.size }

// PartitionCount is the number of partitions of all topics.
func (i *Image) PartitionCount() int { return i.partitions }

// Topics gives all topics in no useful order, without allocating.
func (i *Image) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, s := range i.byID.shards {
			for _, t := range s { // unordered: callers are told
				if !yield(t) {
					return
				}
			}
		}
	}
}

// SortedTopics gives all topics in order of their names.
func (i *Image) SortedTopics() []*Topic {
	all := make([]*Topic, 0, i.byID.size)
	i.byID.each(func(_ idKey, t *Topic) { all = append(all, t) })
	slices.SortFunc(all, func(a, b *Topic) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Broker finds a registered broker; nil when there is none with this id.
func (i *Image) Broker(id int32) *Broker { return i.brokers[id] }

// Brokers gives the registered brokers in order of their ids.
func (i *Image) Brokers() []*Broker { return sortedValues(i.brokers) }

// Controller finds a registered controller; nil when there is none with this id.
func (i *Image) Controller(id int32) *Controller { return i.controllers[id] }

// Controllers gives the registered controllers in order of their ids.
func (i *Image) Controllers() []*Controller { return sortedValues(i.controllers) }

// Config gives the settings made for one resource, nil when there are none.
func (i *Image) Config(r Resource) map[string]string {
	c, _ := i.configs.get(r)
	return c
}

// ConfigResources gives the resources of one type that have settings, sorted by name.
func (i *Image) ConfigResources(kind int8) []Resource {
	var all []Resource
	i.configs.each(func(r Resource, _ map[string]string) {
		if r.Type == kind {
			all = append(all, r)
		}
	})
	slices.SortFunc(all, compareResources)
	return all
}

// Features gives the finalized features and their levels; level 0 is not in it.
func (i *Image) Features() map[string]int16 { return i.features }

// Feature gives the finalized level of one feature, 0 when it is not finalized.
func (i *Image) Feature(name string) int16 { return i.features[name] }

// MetadataVersion is the finalized metadata.version, 0 before the first records.
func (i *Image) MetadataVersion() int16 { return i.features[FeatureMetadataVersion] }

// NextProducerID is the first producer id that no block has handed out yet.
func (i *Image) NextProducerID() int64 { return i.producerIDs }

// Quota finds the limits of one entity, whose parts may come in any order; nil when it has none.
func (i *Image) Quota(entity []wire.ClientQuotaRecordEntityData) *Quota {
	return i.quotas[quotaKey(entity)]
}

// Quotas gives the client quotas, sorted by entity.
func (i *Image) Quotas() []*Quota { return sortedValues(i.quotas) }

// ScramCredential finds a user's credential; nil when there is none.
func (i *Image) ScramCredential(k ScramKey) *wire.UserScramCredentialRecord { return i.scram[k] }

// ScramCredentials gives all credentials, sorted by name and mechanism.
func (i *Image) ScramCredentials() []*wire.UserScramCredentialRecord {
	keys := slices.SortedFunc(maps.Keys(i.scram), func(a, b ScramKey) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Mechanism, b.Mechanism))
	})
	all := make([]*wire.UserScramCredentialRecord, len(keys))
	for n, k := range keys {
		all[n] = i.scram[k]
	}
	return all
}

// ACLs gives the access rules, sorted by id.
func (i *Image) ACLs() []*wire.AccessControlEntryRecord {
	keys := slices.SortedFunc(maps.Keys(i.acls), func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
	all := make([]*wire.AccessControlEntryRecord, len(keys))
	for n, k := range keys {
		all[n] = i.acls[k]
	}
	return all
}

// EachACL gives the access rules in no order, for those who look at all of them often.
func (i *Image) EachACL() iter.Seq[*wire.AccessControlEntryRecord] {
	return maps.Values(i.acls) //unordered: said above
}

// ACLsSince gives the access rules that an earlier image does not have, and the ids of those that only it has, both sorted by id.
func (i *Image) ACLsSince(old *Image) (added []*wire.AccessControlEntryRecord, removed []wire.UUID) {
	for id, r := range i.acls { //unordered: sorted below
		if old.acls[id] != r {
			added = append(added, r)
		}
	}
	for id := range old.acls { //unordered: sorted below
		if i.acls[id] == nil {
			removed = append(removed, id)
		}
	}
	slices.SortFunc(added, func(a, b *wire.AccessControlEntryRecord) int { return slices.Compare(a.ID[:], b.ID[:]) })
	slices.SortFunc(removed, func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
	return added, removed
}

// Tokens gives the delegation tokens, sorted by id.
func (i *Image) Tokens() []*wire.DelegationTokenRecord { return sortedValues(i.tokens) }

// Token finds a delegation token; nil when there is none with this id.
func (i *Image) Token(id string) *wire.DelegationTokenRecord { return i.tokens[id] }

func sortedValues[K cmp.Ordered, V any](m map[K]V) []V {
	all := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[k])
	}
	return all
}

func compareResources(a, b Resource) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
}
