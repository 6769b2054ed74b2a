package controller

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Operations of IncrementalAlterConfigs (KIP-339).
const (
	opSet int8 = iota
	opDelete
	opAppend
	opSubtract
)

// alteration is one key of one resource to be changed; a nil value removes it.
type alteration struct {
	key   string
	op    int8
	value *string
}

// settings decides on configurations.
type settings struct{ *decider }

// newTopicConfigs checks the settings of a topic that is being created.
func (d settings) newTopicConfigs(t *wire.CreateTopicsRequestCreatableTopic) ([]*wire.ConfigRecord, *fault) {
	if len(t.Configs) == 0 {
		return nil, nil
	}
	var null []string
	values := map[string]string{}
	var order []string
	for _, c := range t.Configs {
		if c.Value == nil {
			null = append(null, c.Name)
			continue
		}
		if _, ok := values[c.Name]; !ok {
			order = append(order, c.Name)
		}
		values[c.Name] = *c.Value
	}
	if null != nil {
		return nil, refuse(wire.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if f := d.checkTopicConfigs(values); f != nil {
		return nil, f
	}
	records := make([]*wire.ConfigRecord, len(order))
	for i, key := range order {
		value := values[key]
		records[i] = &wire.ConfigRecord{ResourceType: metadata.TopicResource, ResourceName: t.Name, Name: key, Value: &value}
	}
	return records, nil
}

// brokerConfig is this node's settings with the dynamic ones of the image.
func (d *decider) brokerConfig() *config.BrokerConfig {
	if d.merged == nil {
		d.merged = d.mergeConfig()
	}
	return d.merged
}

func (d *decider) mergeConfig() *config.BrokerConfig {
	cluster := d.image.Config(metadata.Resource{Type: metadata.BrokerResource})
	own := d.image.Config(metadata.Resource{Type: metadata.BrokerResource, Name: strconv.Itoa(int(d.NodeID))})
	if len(cluster) == 0 && len(own) == 0 {
		return d.Config
	}
	// What is not valid in the image is left out, as brokers do; it was there before this request.
	b, _ := d.Config.WithDynamic(cluster, own)
	return b
}

func (d settings) checkTopicConfigs(values map[string]string) *fault {
	if err := config.CheckTopic(d.brokerConfig(), values); err != nil {
		return refuse(wire.InvalidConfig, "%s", err)
	}
	return nil
}

// effectiveConfigs lists what a new topic's settings come to, for the reply (KIP-525).
func (d settings) effectiveConfigs(own []*wire.ConfigRecord) []wire.CreateTopicsResponseCreatableTopicConfigs {
	overrides := make(map[string]string, len(own))
	for _, r := range own {
		overrides[r.Name] = *r.Value
	}
	all := []wire.CreateTopicsResponseCreatableTopicConfigs{}
	for _, e := range config.DescribeTopic(d.brokerConfig(), overrides, nil) {
		c := wire.CreateTopicsResponseCreatableTopicConfigs{
			Name: e.Name, ReadOnly: e.ReadOnly, ConfigSource: int8(e.Source), IsSensitive: e.Sensitive,
		}
		if v, ok := overrides[e.Name]; ok {
			e.Value = v // as it was written
		}
		if !e.Null {
			c.Value = &e.Value
		}
		all = append(all, c)
	}
	return all
}

// alterResource is one resource of either request that alters settings.
type alterResource struct {
	metadata.Resource
	changes []alteration
	whole   bool // the changes replace all settings (AlterConfigs)
}

func (d settings) incrementalAlterConfigs(r *wire.IncrementalAlterConfigsRequest) Decision {
	all := make([]alterResource, len(r.Resources))
	for i := range r.Resources {
		res := &r.Resources[i]
		all[i].Resource = metadata.Resource{Type: res.ResourceType, Name: res.ResourceName}
		for _, c := range res.Configs {
			all[i].changes = append(all[i].changes, alteration{c.Name, c.ConfigOperation, c.Value})
		}
	}
	reply := &wire.IncrementalAlterConfigsResponse{Responses: make([]wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse, len(all))}
	for i, f := range d.alterAll(all) {
		p := &reply.Responses[i]
		p.ResourceType, p.ResourceName = all[i].Type, all[i].Name
		p.ErrorCode, p.ErrorMessage = f.parts()
	}
	return d.done(reply, r.ValidateOnly)
}

func (d settings) alterConfigs(r *wire.AlterConfigsRequest) Decision {
	all := make([]alterResource, len(r.Resources))
	for i := range r.Resources {
		res := &r.Resources[i]
		all[i] = alterResource{Resource: metadata.Resource{Type: res.ResourceType, Name: res.ResourceName}, whole: true}
		for _, c := range res.Configs {
			all[i].changes = append(all[i].changes, alteration{c.Name, opSet, c.Value})
		}
	}
	reply := &wire.AlterConfigsResponse{Responses: make([]wire.AlterConfigsResponseAlterConfigsResourceResponse, len(all))}
	for i, f := range d.alterAll(all) {
		p := &reply.Responses[i]
		p.ResourceType, p.ResourceName = all[i].Type, all[i].Name
		p.ErrorCode, p.ErrorMessage = f.parts()
	}
	return d.done(reply, r.ValidateOnly)
}

// alterAll decides each resource by itself and gives a fault, or nil, for each.
func (d settings) alterAll(all []alterResource) []*fault {
	seen := map[metadata.Resource]int{}
	for i := range all {
		seen[all[i].Resource]++
	}
	faults := make([]*fault, len(all))
	for i := range all {
		before := len(d.records)
		switch {
		case seen[all[i].Resource] > 1:
			faults[i] = refuse(wire.InvalidRequest, "Each resource must appear at most once.")
		default:
			faults[i] = d.alterResource(&all[i])
		}
		if faults[i] != nil {
			d.records = d.records[:before]
		}
	}
	if len(d.records) > MaxRecordsPerRequest {
		d.records = nil
		for i := range faults {
			faults[i] = tooManyRecords()
		}
	}
	return faults
}

func (d settings) alterResource(r *alterResource) *fault {
	if f := checkForm(r); f != nil {
		return f
	}
	if r.Type == metadata.BrokerResource {
		if f := d.checkBrokerName(r); f != nil {
			return f
		}
	}
	old := d.image.Config(r.Resource)
	next := maps.Clone(old)
	if next == nil || r.whole {
		next = map[string]string{}
	}
	// A broker's settings are written again even when they are what they were: the
	// record makes the brokers read password and certificate files anew (KAFKA-14136).
	always := r.Type == metadata.BrokerResource
	for _, c := range r.changes {
		before, had := old[c.key]
		after, f := d.operate(r.Type, c, before, had)
		if f != nil {
			return f
		}
		if after == nil {
			delete(next, c.key)
		} else {
			next[c.key] = *after
		}
		if always || had != (after != nil) || had && before != *after {
			d.add(&wire.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: c.key, Value: after})
		}
	}
	if r.whole {
		for _, key := range slices.Sorted(maps.Keys(old)) {
			if _, kept := next[key]; !kept {
				d.add(&wire.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: key})
			}
		}
	}
	return d.checkConfigs(r, next)
}

// checkForm is what Kafka checks before it looks at any setting.
func checkForm(r *alterResource) *fault {
	seen := map[string]bool{}
	var null []string
	for _, c := range r.changes {
		if seen[c.key] {
			return refuse(wire.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[c.key] = true
		if c.op != opDelete && c.value == nil {
			null = append(null, c.key)
		}
	}
	if null != nil {
		return refuse(wire.InvalidRequest, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	switch r.Type {
	case metadata.TopicResource, metadata.BrokerResource, metadata.ClientMetricsResource, metadata.GroupResource:
	default:
		return refuse(wire.InvalidRequest, "Unknown resource type %d", r.Type)
	}
	return nil
}

// scope gives the table of a resource type's keys.
func scope(kind int8) config.Scope {
	switch kind {
	case metadata.TopicResource:
		return config.ScopeTopic
	case metadata.GroupResource:
		return config.ScopeGroup
	case metadata.ClientMetricsResource:
		return config.ScopeClientMetrics
	default:
		return config.ScopeBroker
	}
}

// operate gives a key's value after one operation, nil for none.
//
// Differs from Kafka: IncrementalAlterConfigs with an operation that there is not is refused for every resource; Kafka says
// so for brokers only and fails for others.
func (d settings) operate(kind int8, c alteration, before string, had bool) (*string, *fault) {
	switch c.op {
	case opSet:
		return c.value, nil
	case opDelete:
		return nil, nil
	case opAppend, opSubtract:
	default:
		return nil, refuse(wire.InvalidRequest, "Unknown operations type %d", c.op)
	}
	def, ok := config.Lookup(scope(kind), c.key)
	switch {
	case kind == metadata.BrokerResource && (!ok || config.IsQuotaRate(c.key)):
		return nil, refuse(wire.InvalidConfig, "Unknown config name: %s", c.key)
	case kind == metadata.BrokerResource && def.Type != config.TypeList:
		return nil, refuse(wire.InvalidConfig, "Config value %s is not allowed for config key: %s",
			[]string{opAppend: "append", opSubtract: "subtract"}[c.op], c.key)
	case !ok || def.Type != config.TypeList || kind == metadata.ClientMetricsResource: // whose lists Kafka does not know as such
		return nil, refuse(wire.InvalidConfig, "Can't %s to key %s because its type is not LIST.",
			[]string{opAppend: "APPEND", opSubtract: "SUBTRACT"}[c.op], c.key)
	}
	if !had {
		before, _ = def.DefaultValue()
	}
	joined := AlterList(before, *c.value, c.op == opAppend)
	return &joined, nil
}

// AlterList is a list after APPEND, or SUBTRACT, of the entries of another.
func AlterList(before, entries string, add bool) string {
	list := slices.DeleteFunc(strings.Split(before, ","), func(s string) bool { return s == "" })
	for v := range strings.SplitSeq(entries, ",") {
		switch i := slices.Index(list, v); {
		case add && i < 0:
			list = append(list, v)
		case !add && i >= 0:
			list = slices.Delete(list, i, i+1)
		}
	}
	return strings.Join(list, ",")
}

// checkConfigs checks a resource's name and all the settings that it would have.
func (d settings) checkConfigs(r *alterResource, next map[string]string) *fault {
	switch r.Type {
	case metadata.TopicResource:
		if r.Name == "" {
			return refuse(wire.InvalidRequest, "Default topic resources are not allowed.")
		}
		if reason := CheckTopicName(r.Name); reason != "" {
			return refuse(wire.InvalidTopic, "%s", reason)
		}
		if f := d.checkTopicConfigs(next); f != nil {
			return f
		}
		if _, ok := d.image.Topic(r.Name); !ok {
			return refuse(wire.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.Name)
		}
	case metadata.BrokerResource:
		return d.checkBrokerConfigs(r, next)
	case metadata.GroupResource:
		if r.Name == "" {
			return refuse(wire.InvalidRequest, "Default group resources are not allowed.")
		}
		if err := config.CheckGroup(d.brokerConfig(), next); err != nil {
			return refuse(wire.InvalidConfig, "%s", err)
		}
	case metadata.ClientMetricsResource:
		if r.Name == "" {
			return refuse(wire.InvalidRequest, "Subscription name can't be empty")
		}
		return checkClientMetrics(next)
	}
	return nil
}

// checkClientMetrics checks a subscription's settings, each by itself.
func checkClientMetrics(values map[string]string) *fault {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, ok := config.LookupClientMetrics(key); !ok {
			return refuse(wire.InvalidRequest, "Unknown client metrics configuration: %s", key)
		}
		err := config.CheckClientMetricsKey(key, values[key])
		var outside *config.InvalidError
		switch {
		case errors.As(err, &outside) && outside.Bare && key == "interval.ms":
			return refuse(wire.InvalidRequest, "%s", err)
		case err != nil:
			return refuse(wire.InvalidConfig, "%s", err)
		}
	}
	return nil
}

// checkBrokerName checks which broker is meant, "" for all of them.
func (d settings) checkBrokerName(r *alterResource) *fault {
	if r.Name == "" {
		return nil
	}
	id, err := strconv.ParseInt(r.Name, 10, 32)
	switch {
	case err != nil && d.Broker >= 0:
		return refuse(wire.InvalidRequest, "Node id must be an integer, but it is: %s", r.Name)
	case err != nil:
		return refuse(wire.InvalidRequest, "Unable to parse broker name as a base 10 number.")
	case d.Broker >= 0 && int32(id) != d.Broker:
		return refuse(wire.InvalidRequest, "Unexpected broker id, expected %d, but received %s", d.Broker, r.Name)
	case id < 0:
		return refuse(wire.InvalidRequest, "Invalid negative broker ID.")
	}
	return d.checkRegistered(int32(id))
}

// checkBrokerConfigs checks what would change for a broker, or for all of them.
func (d settings) checkBrokerConfigs(r *alterResource, next map[string]string) *fault {
	var set []string
	for _, c := range r.changes {
		if c.op != opDelete {
			set = append(set, c.key)
		}
	}
	if err := config.CheckFixed(set); err != nil {
		return refuse(wire.InvalidRequest, "%s", err)
	}
	for _, c := range r.changes {
		if c.op == opDelete {
			continue
		}
		value := *c.value
		if c.op != opSet {
			value = next[c.key]
		}
		err := config.CheckDynamic(c.key, value, r.Name != "")
		if err == nil && r.Name != "" {
			err = d.brokerConfig().CheckDynamicBroker(c.key, value)
		}
		if err != nil {
			return refuse(wire.InvalidRequest, "%s", err)
		}
	}
	if f := d.checkResult(r, next); f != nil {
		return f
	}
	return d.checkMinISR(r, next)
}

// checkResult looks at what a change comes to on the broker that took the request.
func (d settings) checkResult(r *alterResource, next map[string]string) *fault {
	if d.Broker < 0 {
		return nil
	}
	cluster := d.image.Config(metadata.Resource{Type: metadata.BrokerResource})
	own := d.image.Config(metadata.Resource{Type: metadata.BrokerResource, Name: strconv.Itoa(int(d.NodeID))})
	if r.Name == "" {
		cluster = next
	} else {
		own = next
	}
	after, _ := d.Config.WithDynamic(cluster, own)
	if err := config.CheckChange(d.brokerConfig(), after); err != nil {
		return refuse(wire.InvalidRequest, "%s", err)
	}
	return nil
}

// checkMinISR keeps the minimum that eligible leaders are counted against (KIP-966): there is one for the cluster,
// brokers have none of their own.
func (d settings) checkMinISR(r *alterResource, next map[string]string) *fault {
	const key = "min.insync.replicas"
	if d.image.Feature(metadata.FeatureELRVersion) == 0 {
		return nil
	}
	_, has := next[key]
	named := slices.ContainsFunc(r.changes, func(c alteration) bool { return c.key == key })
	_, had := d.image.Config(r.Resource)[key]
	switch {
	case r.Name != "" && (has || had || named):
		return refuse(wire.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	case r.Name == "" && had && !has:
		return refuse(wire.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	}
	return nil
}

func (d settings) checkRegistered(id int32) *fault {
	if d.image.Broker(id) == nil && d.image.Controller(id) == nil {
		return refuse(wire.BrokerIDNotRegistered, "No node with id %d found.", id)
	}
	return nil
}
