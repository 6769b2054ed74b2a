package metadata

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Changed says which of the smaller parts of an image a delta touched.
type Changed struct {
	Features, Controllers, ProducerIDs, Quotas, Scram, ACLs, Tokens bool
}

// TopicChange is what a delta did to one topic.
type TopicChange struct {
	// Before is nil when the delta created the topic, After when it deleted it.
	Before, After *Topic
	// Partitions are the indexes that are new or differ, ascending; empty for a deleted topic.
	Partitions []int32
}

// Delta is the way from one image to the next: first it takes records, then,
// after Finish, it says what they changed.
type Delta struct {
	base    *Image
	next    *Image
	byID    tableEdit[idKey, *Topic]
	byName  tableEdit[nameKey, *Topic]
	unified tableEdit[nameKey, string]
	configs tableEdit[Resource, map[string]string]
	brokers bool // next.brokers is ours to change
	other   Changed

	topics       map[wire.UUID]*topicEdit
	topicOrder   []wire.UUID
	configOwned  map[Resource]bool
	brokerSeen   map[int32]bool
	topicChanges []TopicChange
	configList   []Resource
	brokerList   []int32
}

// Edit starts a delta from the image.
func (i *Image) Edit() *Delta {
	next := *i
	return &Delta{
		base: i, next: &next,
		byID:    tableEdit[idKey, *Topic]{table: i.byID},
		byName:  tableEdit[nameKey, *Topic]{table: i.byName},
		unified: tableEdit[nameKey, string]{table: i.unified},
		configs: tableEdit[Resource, map[string]string]{table: i.configs},
		topics:  map[wire.UUID]*topicEdit{}, configOwned: map[Resource]bool{}, brokerSeen: map[int32]bool{},
	}
}

// Base is the image that the delta began from.
func (d *Delta) Base() *Image { return d.base }

// Topics are the topics that were created, deleted or changed, in the order of the records.
func (d *Delta) Topics() []TopicChange { return d.topicChanges }

// Configs are the resources whose settings were written, sorted.
func (d *Delta) Configs() []Resource { return d.configList }

// Brokers are the ids whose registrations came, went or changed, sorted.
func (d *Delta) Brokers() []int32 { return d.brokerList }

// Changed says which other parts were touched.
func (d *Delta) Changed() Changed { return d.other }

// Finish ends the delta at the offset and epoch of its last record and returns
// the next image. A topic with a hole in its partitions is an error.
func (d *Delta) Finish(offset int64, epoch int32) (*Image, error) {
	next := d.next
	for _, id := range d.topicOrder {
		e := d.topics[id]
		if e.before == nil && e.after == nil {
			continue // created and deleted again
		}
		change := TopicChange{Before: e.before, After: e.after}
		if e.after != nil {
			if i := slices.Index(e.after.Partitions, nil); i >= 0 {
				return nil, fmt.Errorf("topic %s has a partition %d but none %d", e.after.Name, len(e.after.Partitions)-1, i)
			}
			change.Partitions = slices.Sorted(maps.Keys(e.touched))
			next.partitions += len(e.after.Partitions)
		}
		if e.before != nil {
			next.partitions -= len(e.before.Partitions)
		}
		d.topicChanges = append(d.topicChanges, change)
	}
	d.configList = slices.SortedFunc(maps.Keys(d.configOwned), compareResources)
	d.brokerList = slices.Sorted(maps.Keys(d.brokerSeen))
	next.byID, next.byName, next.unified, next.configs = d.byID.table, d.byName.table, d.unified.table, d.configs.table
	next.offset, next.epoch = offset, epoch
	return next, nil
}

// Apply takes one record. An error means that the log contradicts itself or
// was written by a newer release; the delta is then unusable.
func (d *Delta) Apply(rec wire.MetadataRecord) error {
	switch r := rec.(type) {
	case *wire.TopicRecord:
		return d.addTopic(r)
	case *wire.PartitionRecord:
		return d.putPartition(r)
	case *wire.PartitionChangeRecord:
		return d.changePartition(r)
	case *wire.RemoveTopicRecord:
		return d.removeTopic(r)
	case *wire.ClearElrRecord:
		return d.clearELR(r)
	case *wire.ConfigRecord:
		d.setConfig(Resource{r.ResourceType, r.ResourceName}, r.Name, r.Value)
	case *wire.RegisterBrokerRecord:
		b := Broker(*r)
		b.Features = slices.SortedFunc(slices.Values(r.Features), func(a, b wire.RegisterBrokerRecordBrokerFeature) int {
			return cmp.Compare(a.Name, b.Name)
		})
		d.putBroker(&b)
	case *wire.UnregisterBrokerRecord:
		return d.removeBroker(r)
	case *wire.BrokerRegistrationChangeRecord:
		return d.changeBroker(r)
	case *wire.FenceBrokerRecord:
		return d.changeBroker(&wire.BrokerRegistrationChangeRecord{BrokerID: r.ID, BrokerEpoch: r.Epoch, Fenced: 1})
	case *wire.UnfenceBrokerRecord:
		return d.changeBroker(&wire.BrokerRegistrationChangeRecord{BrokerID: r.ID, BrokerEpoch: r.Epoch, Fenced: -1})
	case *wire.NoOpRecord, *wire.ZkMigrationStateRecord:
		// Nothing of an image; ZooKeeper's migration ended with Kafka 4.0.
	default:
		return d.applyOther(rec)
	}
	return nil
}

// applyOther takes the records of the smaller parts: whole maps are copied once a delta.
func (d *Delta) applyOther(rec wire.MetadataRecord) error {
	n, o := d.next, &d.other
	switch r := rec.(type) {
	case *wire.FeatureLevelRecord:
		own(&n.features, &o.Features)
		if r.FeatureLevel == 0 {
			delete(n.features, r.Name)
		} else {
			n.features[r.Name] = r.FeatureLevel
		}
	case *wire.RegisterControllerRecord:
		own(&n.controllers, &o.Controllers)
		c := Controller(*r)
		c.Features = slices.SortedFunc(slices.Values(r.Features), func(a, b wire.RegisterControllerRecordControllerFeature) int {
			return cmp.Compare(a.Name, b.Name)
		})
		n.controllers[r.ControllerID] = &c
	case *wire.UnregisterControllerRecord:
		own(&n.controllers, &o.Controllers)
		delete(n.controllers, r.ControllerID)
	case *wire.ProducerIdsRecord:
		o.ProducerIDs = true
		n.producerIDs = r.NextProducerID
	case *wire.ClientQuotaRecord:
		own(&n.quotas, &o.Quotas)
		setQuota(n.quotas, r)
	case *wire.UserScramCredentialRecord:
		own(&n.scram, &o.Scram)
		// The bytes may be a view of the batch they were read from.
		c := *r
		c.Salt, c.StoredKey, c.ServerKey = bytes.Clone(r.Salt), bytes.Clone(r.StoredKey), bytes.Clone(r.ServerKey)
		n.scram[ScramKey{r.Mechanism, r.Name}] = &c
	case *wire.RemoveUserScramCredentialRecord:
		own(&n.scram, &o.Scram)
		delete(n.scram, ScramKey{r.Mechanism, r.Name})
	case *wire.AccessControlEntryRecord:
		own(&n.acls, &o.ACLs)
		n.acls[r.ID] = r
	case *wire.RemoveAccessControlEntryRecord:
		own(&n.acls, &o.ACLs)
		delete(n.acls, r.ID)
	case *wire.DelegationTokenRecord:
		own(&n.tokens, &o.Tokens)
		n.tokens[r.TokenID] = r
	case *wire.RemoveDelegationTokenRecord:
		own(&n.tokens, &o.Tokens)
		delete(n.tokens, r.TokenID)
	default:
		return fmt.Errorf("metadata record %T (type %d) has no place in an image", rec, rec.RecordType())
	}
	return nil
}

// own copies a map of the next image the first time a delta changes it.
func own[K comparable, V any](m *map[K]V, owned *bool) {
	if !*owned {
		*m, *owned = maps.Clone(*m), true
	}
}

func (d *Delta) addTopic(r *wire.TopicRecord) error {
	if t, ok := d.byName.get(nameKey(r.Name)); ok {
		return fmt.Errorf("topic %s is created with id %s but exists with id %s", r.Name, r.TopicID, t.ID)
	}
	if t, ok := d.byID.get(idKey(r.TopicID)); ok {
		return fmt.Errorf("topic %s is created with id %s, which topic %s has", r.Name, r.TopicID, t.Name)
	}
	t := &Topic{Name: r.Name, ID: r.TopicID}
	e := d.topics[t.ID]
	if e == nil {
		e = &topicEdit{}
		d.topics[t.ID] = e
		d.topicOrder = append(d.topicOrder, t.ID)
	}
	e.after = t
	d.store(t)
	if strings.ContainsAny(t.Name, "._") {
		d.unified.set(unify(t.Name), withName(d.unified, t.Name))
	}
	return nil
}

// Names that come to the same are a list with commas, which no name has: one request can create several of them.

func withName(unified tableEdit[nameKey, string], name string) string {
	if before, ok := unified.get(unify(name)); ok {
		return before + "," + name
	}
	return name
}

func withoutName(unified tableEdit[nameKey, string], name string) string {
	before, _ := unified.get(unify(name))
	return strings.Join(slices.DeleteFunc(strings.Split(before, ","), func(s string) bool { return s == name }), ",")
}

func (d *Delta) store(t *Topic) {
	d.byID.set(idKey(t.ID), t)
	d.byName.set(nameKey(t.Name), t)
}

// editTopic gives the topic as this delta's own copy.
func (d *Delta) editTopic(id wire.UUID) (*topicEdit, error) {
	if e := d.topics[id]; e != nil && e.after != nil {
		return e, nil
	}
	t, ok := d.byID.get(idKey(id))
	if !ok {
		return nil, fmt.Errorf("there is no topic with id %s", id)
	}
	e := &topicEdit{before: t, after: &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}}
	d.topics[id] = e
	d.topicOrder = append(d.topicOrder, id)
	d.store(e.after)
	return e, nil
}

func (d *Delta) putPartition(r *wire.PartitionRecord) error {
	e, err := d.editTopic(r.TopicID)
	if err != nil {
		return fmt.Errorf("adding partition %d: %w", r.PartitionID, err)
	}
	return e.put(r.PartitionID, newPartition(r))
}

func (d *Delta) changePartition(r *wire.PartitionChangeRecord) error {
	e, err := d.editTopic(r.TopicID)
	if err != nil {
		return fmt.Errorf("changing partition %d: %w", r.PartitionID, err)
	}
	i := r.PartitionID
	if i < 0 || int(i) >= len(e.after.Partitions) || e.after.Partitions[i] == nil {
		return fmt.Errorf("changing partition %d of topic %s, which has no such partition", i, e.after.Name)
	}
	return e.put(i, e.after.Partitions[i].changed(r))
}

func (d *Delta) removeTopic(r *wire.RemoveTopicRecord) error {
	e, err := d.editTopic(r.TopicID)
	if err != nil {
		return fmt.Errorf("removing a topic: %w", err)
	}
	name := e.after.Name
	d.byID.remove(idKey(r.TopicID))
	d.byName.remove(nameKey(name))
	if rest := withoutName(d.unified, name); rest == "" {
		d.unified.remove(unify(name))
	} else {
		d.unified.set(unify(name), rest)
	}
	e.after, e.touched = nil, nil
	res := Resource{TopicResource, name}
	if _, ok := d.configs.get(res); ok {
		d.configs.remove(res)
		d.configOwned[res] = false
	}
	return nil
}

// clearELR forgets the eligible leaders of one topic, or of all when the name is empty (KIP-966).
func (d *Delta) clearELR(r *wire.ClearElrRecord) error {
	var ids []wire.UUID
	if r.TopicName != "" {
		t, ok := d.byName.get(nameKey(r.TopicName))
		if !ok {
			return fmt.Errorf("clearing the eligible leaders of topic %s, which does not exist", r.TopicName)
		}
		ids = append(ids, t.ID)
	} else {
		d.byID.each(func(k idKey, _ *Topic) { ids = append(ids, wire.UUID(k)) })
		slices.SortFunc(ids, func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
	}
	for _, id := range ids {
		t, _ := d.byID.get(idKey(id))
		for i, p := range t.Partitions {
			if p == nil || len(p.ELR) == 0 && len(p.LastKnownELR) == 0 {
				continue
			}
			c := &wire.PartitionChangeRecord{}
			c.SetDefaults()
			c.TopicID, c.PartitionID = id, int32(i)
			c.EligibleLeaderReplicas, c.LastKnownELR = []int32{}, []int32{}
			if err := d.changePartition(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Delta) setConfig(r Resource, name string, value *string) {
	c, exists := d.configs.get(r)
	if !d.configOwned[r] {
		c = maps.Clone(c)
		d.configOwned[r] = true
	}
	switch {
	case value != nil:
		if c == nil {
			c = make(map[string]string)
		}
		c[name] = *value
	default:
		delete(c, name)
	}
	switch {
	case len(c) > 0:
		d.configs.set(r, c)
	case exists:
		d.configs.remove(r)
		d.configOwned[r] = false
	}
}

func (d *Delta) putBroker(b *Broker) {
	own(&d.next.brokers, &d.brokers)
	d.next.brokers[b.BrokerID] = b
	d.brokerSeen[b.BrokerID] = true
}

// broker finds a registration by id and epoch.
func (d *Delta) broker(id int32, epoch int64) (*Broker, error) {
	b := d.next.brokers[id]
	if b == nil {
		return nil, fmt.Errorf("there is no broker %d", id)
	}
	if b.BrokerEpoch != epoch {
		return nil, fmt.Errorf("broker %d has epoch %d, the record has %d", id, b.BrokerEpoch, epoch)
	}
	return b, nil
}

func (d *Delta) removeBroker(r *wire.UnregisterBrokerRecord) error {
	if _, err := d.broker(r.BrokerID, r.BrokerEpoch); err != nil {
		return fmt.Errorf("unregistering a broker: %w", err)
	}
	own(&d.next.brokers, &d.brokers)
	delete(d.next.brokers, r.BrokerID)
	d.brokerSeen[r.BrokerID] = true
	return nil
}

func (d *Delta) changeBroker(r *wire.BrokerRegistrationChangeRecord) error {
	old, err := d.broker(r.BrokerID, r.BrokerEpoch)
	if err != nil {
		return fmt.Errorf("changing a broker's registration: %w", err)
	}
	b := *old
	if r.Fenced < -1 || r.Fenced > 1 || r.InControlledShutdown < 0 || r.InControlledShutdown > 1 {
		return fmt.Errorf("changing broker %d: fenced %d, in controlled shutdown %d mean nothing",
			r.BrokerID, r.Fenced, r.InControlledShutdown)
	}
	if r.Fenced != 0 {
		b.Fenced = r.Fenced == 1
	}
	if r.InControlledShutdown == 1 {
		b.InControlledShutdown = true
	}
	if len(r.LogDirs) > 0 {
		b.LogDirs = r.LogDirs
	}
	if r.CordonedLogDirs != nil {
		b.CordonedLogDirs = r.CordonedLogDirs
	}
	d.putBroker(&b)
	return nil
}

// quotaKey is an entity in a form that sorts and compares.
func quotaKey(entity []wire.ClientQuotaRecordEntityData) string {
	sorted := slices.SortedFunc(slices.Values(entity), func(a, b wire.ClientQuotaRecordEntityData) int {
		return cmp.Compare(a.EntityType, b.EntityType)
	})
	var s strings.Builder
	for _, e := range sorted {
		if e.EntityName == nil {
			fmt.Fprintf(&s, "%q default,", e.EntityType)
		} else {
			fmt.Fprintf(&s, "%q=%q,", e.EntityType, *e.EntityName)
		}
	}
	return s.String()
}

func setQuota(quotas map[string]*Quota, r *wire.ClientQuotaRecord) {
	k := quotaKey(r.Entity)
	q := &Quota{Entity: r.Entity, Values: map[string]float64{}}
	if old := quotas[k]; old != nil {
		q.Entity, q.Values = old.Entity, maps.Clone(old.Values)
	}
	if r.Remove {
		delete(q.Values, r.Key)
	} else {
		q.Values[r.Key] = r.Value
	}
	if len(q.Values) == 0 {
		delete(quotas, k)
	} else {
		quotas[k] = q
	}
}
