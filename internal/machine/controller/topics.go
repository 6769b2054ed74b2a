package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// maxNameLength bounds the name of a topic, so that its directory fits a file name.
const maxNameLength = 249

// metadataTopic is the log of this machine; nobody may create a topic with its name.
const metadataTopic = "__cluster_metadata"

// CheckTopicName tells why a name cannot be a topic's, in Kafka's words; "" when it can.
func CheckTopicName(name string) string {
	switch {
	case name == "":
		return "Topic name is invalid: the empty string is not allowed"
	case name == ".":
		return "Topic name is invalid: '.' is not allowed"
	case name == "..":
		return "Topic name is invalid: '..' is not allowed"
	case len(name) > maxNameLength:
		return "Topic name is invalid: the length of '" + name + "' is longer than the max allowed length 249"
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return "Topic name is invalid: '" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
		}
	}
	return ""
}

// repeated gives the names that occur more than once.
func repeated[T any](list []T, name func(*T) string) map[string]bool {
	seen, twice := make(map[string]bool, len(list)), map[string]bool{}
	for i := range list {
		n := name(&list[i])
		if seen[n] {
			twice[n] = true
		}
		seen[n] = true
	}
	return twice
}

// topics decides on the life of topics.
type topics struct{ *decider }

func (d topics) createTopics(r *wire.CreateTopicsRequest) Decision {
	twice := repeated(r.Topics, func(t *wire.CreateTopicsRequestCreatableTopic) string { return t.Name })
	reply := &wire.CreateTopicsResponse{Topics: make([]wire.CreateTopicsResponseCreatableTopicResult, 0, len(r.Topics))}
	reported := map[string]bool{}
	if d.tooManyPartitions(r, twice) {
		for i := range r.Topics { // those that stand twice are told twice
			result := failedTopic(r.Topics[i].Name)
			result.ErrorCode, result.ErrorMessage = refuse(wire.PolicyViolation, "Excessively large number of partitions per request.").parts()
			reply.Topics = append(reply.Topics, result)
		}
		return Decision{Reply: reply}
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		result := failedTopic(t.Name)
		var f *fault
		switch {
		case reported[t.Name]:
			continue
		case twice[t.Name]:
			reported[t.Name] = true
			f = refuse(wire.InvalidRequest, "Duplicate topic name.")
		case t.Name == metadataTopic:
			f = refuse(wire.InvalidRequest, "Creation of internal topic %s is prohibited.", metadataTopic)
		default:
			f = d.createTopic(t, &result)
		}
		result.ErrorCode, result.ErrorMessage = f.parts()
		reply.Topics = append(reply.Topics, result)
	}
	if len(d.records) > MaxRecordsPerRequest {
		for i := range reply.Topics {
			reply.Topics[i] = failedTopic(reply.Topics[i].Name)
			reply.Topics[i].ErrorCode, reply.Topics[i].ErrorMessage = tooManyRecords().parts()
		}
		return Decision{Reply: reply}
	}
	return d.done(reply, r.ValidateOnly)
}

func failedTopic(name string) wire.CreateTopicsResponseCreatableTopicResult {
	return wire.CreateTopicsResponseCreatableTopicResult{
		Name: name, NumPartitions: -1, ReplicationFactor: -1, Configs: []wire.CreateTopicsResponseCreatableTopicConfigs{},
	}
}

// tooManyPartitions tells whether a request asks for more partitions than one batch may make, over all its topics but those that are
// refused for their name.
func (d topics) tooManyPartitions(r *wire.CreateTopicsRequest, twice map[string]bool) bool {
	total := 0
	for i := range r.Topics {
		switch t := &r.Topics[i]; {
		case twice[t.Name] || t.Name == metadataTopic:
		case len(t.Assignments) > 0:
			total += len(t.Assignments)
		case t.NumPartitions == -1:
			total += d.Config.GetInt("num.partitions")
		default:
			total += max(0, int(t.NumPartitions))
		}
	}
	return total > MaxRecordsPerRequest
}

func tooManyRecords() *fault {
	return refuse(wire.PolicyViolation, "Unable to perform excessively large batch operation.")
}

// createTopic checks one topic and adds its records.
func (d topics) createTopic(t *wire.CreateTopicsRequestCreatableTopic, result *wire.CreateTopicsResponseCreatableTopicResult) *fault {
	if reason := CheckTopicName(t.Name); reason != "" {
		return refuse(wire.InvalidTopic, "%s", reason)
	}
	if _, ok := d.image.Topic(t.Name); ok {
		return refuse(wire.TopicAlreadyExists, "Topic '%s' already exists.", t.Name)
	}
	if other, ok := d.image.Colliding(t.Name); ok {
		return refuse(wire.InvalidTopic, "Topic '%s' collides with existing topic: %s", t.Name, other)
	}
	configs, f := settings(d).newTopicConfigs(t)
	if f != nil {
		return f
	}
	parts, f := d.newPartitions(t)
	if f != nil {
		return f
	}
	if f := d.permit(len(parts)); f != nil {
		return f
	}
	id := d.newID()
	d.add(&wire.TopicRecord{Name: t.Name, TopicID: id})
	for _, c := range configs {
		d.add(c)
	}
	for i, p := range parts {
		d.addPartition(id, int32(i), p)
	}
	result.TopicID = id
	result.NumPartitions = int32(len(parts))
	result.ReplicationFactor = int16(len(parts[0].replicas))
	result.Configs = settings(d).effectiveConfigs(configs)
	return nil
}

// placed is where a new partition goes.
type placed struct {
	replicas []int32
	isr      []int32
}

// newPartitions places the partitions of a new topic, by hand or by the placer.
func (d topics) newPartitions(t *wire.CreateTopicsRequestCreatableTopic) ([]placed, *fault) {
	if len(t.Assignments) > 0 {
		return d.assignedPartitions(t)
	}
	switch {
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0:
		return nil, refuse(wire.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case t.NumPartitions < -1 || t.NumPartitions == 0:
		return nil, refuse(wire.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	count, factor := int(t.NumPartitions), int(t.ReplicationFactor)
	if count == -1 {
		count = d.Config.GetInt("num.partitions")
	}
	if factor == -1 {
		factor = d.Config.GetInt("default.replication.factor")
	}
	parts, f := d.place(count, factor)
	if f != nil {
		return nil, refuse(f.code, "Unable to replicate the partition %d time(s): %s", factor, *f.message)
	}
	return parts, nil
}

func (d topics) assignedPartitions(t *wire.CreateTopicsRequestCreatableTopic) ([]placed, *fault) {
	switch {
	case t.ReplicationFactor != -1:
		return nil, refuse(wire.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case t.NumPartitions != -1:
		return nil, refuse(wire.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	parts := make([]placed, len(t.Assignments))
	seen := map[int32]bool{}
	factor := -1
	for i := range t.Assignments {
		a := &t.Assignments[i]
		if seen[a.PartitionIndex] {
			return nil, refuse(wire.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.PartitionIndex)
		}
		seen[a.PartitionIndex] = true
		p, f := d.assigned(a.BrokerIDs, factor, a.PartitionIndex)
		if f != nil {
			return nil, f
		}
		factor = len(a.BrokerIDs)
		if a.PartitionIndex >= 0 && int(a.PartitionIndex) < len(parts) {
			parts[a.PartitionIndex] = p
		}
	}
	if slices.ContainsFunc(parts, func(p placed) bool { return p.replicas == nil }) {
		return nil, refuse(wire.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return parts, nil
}

// assigned checks the replicas that somebody chose for a partition; factor is
// how many there must be, -1 for any number.
func (d *decider) assigned(brokers []int32, factor int, partition int32) (placed, *fault) {
	if f := d.checkAssignment(brokers, factor); f != nil {
		return placed{}, f
	}
	p := placed{replicas: slices.Clone(brokers), isr: d.active(brokers)}
	if len(p.isr) == 0 {
		return placed{}, refuse(wire.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return p, nil
}

func (d *decider) checkAssignment(brokers []int32, factor int) *fault {
	if len(brokers) == 0 {
		return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(brokers))
	for i, b := range sorted {
		if d.image.Broker(b) == nil {
			return refuse(wire.InvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", b)
		}
		if i > 0 && sorted[i-1] == b {
			return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", b)
		}
	}
	if factor >= 0 && len(sorted) != factor {
		return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(sorted), factor)
	}
	return nil
}

// active gives those of the brokers that may lead.
func (d *decider) active(brokers []int32) []int32 {
	var all []int32
	for _, b := range brokers {
		if d.image.Broker(b).Active() {
			all = append(all, b)
		}
	}
	return all
}

func (d *decider) addPartition(topic wire.UUID, index int32, p placed) {
	r := &wire.PartitionRecord{}
	r.SetDefaults()
	r.TopicID, r.PartitionID = topic, index
	r.Replicas, r.ISR, r.Leader = p.replicas, p.isr, p.isr[0]
	r.LeaderEpoch, r.PartitionEpoch = 0, 0
	r.RemovingReplicas, r.AddingReplicas = []int32{}, []int32{}
	r.Directories = make([]wire.UUID, len(p.replicas))
	for i, b := range p.replicas {
		r.Directories[i] = d.directory(b)
	}
	d.add(r)
}

// directory is the log directory where a new replica goes: the broker's only one, or its own choice.
func (d *decider) directory(broker int32) wire.UUID {
	if b := d.image.Broker(broker); b != nil && len(b.LogDirs) == 1 {
		return b.LogDirs[0]
	}
	return wire.UnassignedDirID
}

func (d topics) createPartitions(r *wire.CreatePartitionsRequest) Decision {
	twice := repeated(r.Topics, func(t *wire.CreatePartitionsRequestCreatePartitionsTopic) string { return t.Name })
	reply := &wire.CreatePartitionsResponse{Results: []wire.CreatePartitionsResponseCreatePartitionsTopicResult{}}
	reported := map[string]bool{}
	for i := range r.Topics {
		t := &r.Topics[i]
		var f *fault
		switch {
		case reported[t.Name]:
			continue
		case twice[t.Name]:
			reported[t.Name] = true
			f = refuse(wire.InvalidRequest, "Duplicate topic name.")
		default:
			f = d.morePartitions(t)
		}
		result := wire.CreatePartitionsResponseCreatePartitionsTopicResult{Name: t.Name}
		result.ErrorCode, result.ErrorMessage = f.parts()
		reply.Results = append(reply.Results, result)
	}
	return d.done(reply, r.ValidateOnly)
}

func (d topics) morePartitions(t *wire.CreatePartitionsRequestCreatePartitionsTopic) *fault {
	topic, ok := d.image.Topic(t.Name)
	if !ok {
		return &fault{code: wire.UnknownTopicOrPartition}
	}
	have := len(topic.Partitions)
	switch {
	case int(t.Count) == have:
		return refuse(wire.InvalidPartitions, "Topic already has %d partition(s).", have)
	case int(t.Count) < have:
		return refuse(wire.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, have, t.Count)
	}
	more := int(t.Count) - have
	if t.Assignments != nil && len(t.Assignments) != more {
		return refuse(wire.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(t.Assignments))
	}
	if f := d.permit(more); f != nil {
		return f
	}
	if more+len(d.records) > MaxRecordsPerRequest || int(t.Count) > metadata.MaxTopicPartitions {
		return tooManyRecords()
	}
	factor := len(topic.Partitions[0].Replicas)
	var parts []placed
	if t.Assignments == nil {
		var f *fault
		if parts, f = d.place(more, factor); f != nil {
			return f
		}
	}
	for i := range t.Assignments {
		p, f := d.assigned(t.Assignments[i].BrokerIDs, factor, int32(have+i))
		if f != nil {
			return f
		}
		parts = append(parts, p)
	}
	for i, p := range parts {
		d.addPartition(topic.ID, int32(have+i), p)
	}
	return nil
}
