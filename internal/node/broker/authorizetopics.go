package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// What a request wants for several topics or resources is asked for each. Those that the peer may not touch never reach the
// controller; their answers stand where Kafka puts them.

// repeated are the names that occur more than once: the controller refuses them whoever asks.
func repeated[T any](list []T, name func(*T) string) map[string]bool {
	seen := make(map[string]bool, len(list))
	for i := range list {
		_, twice := seen[name(&list[i])]
		seen[name(&list[i])] = twice
	}
	return seen
}

// serveCreateTopics creates those topics that the peer may create, and tells the settings of those that it may see them of.
func serveCreateTopics(b *Broker, q *edge.Request, m *wire.CreateTopicsRequest, answer func(*wire.CreateTopicsResponse)) {
	if b.authorizer == nil {
		propose(b, q, m, answer)
		return
	}
	everywhere := b.everywhere(q, acl.Create)
	twice := repeated(m.Topics, func(t *wire.CreateTopicsRequestCreatableTopic) string { return t.Name })
	var refused []wire.CreateTopicsResponseCreatableTopicResult
	hidden := make(map[string]bool)
	rest := *m
	rest.Topics = nil
	for i := range m.Topics {
		name := m.Topics[i].Name
		if twice[name] || name == b.metaTopic {
			rest.Topics = append(rest.Topics, m.Topics[i])
			continue
		}
		if !b.visible(q, acl.DescribeConfigs, acl.Topic, name) {
			hidden[name] = true
		}
		if b.mayCreate(q, everywhere, name) {
			rest.Topics = append(rest.Topics, m.Topics[i])
			continue
		}
		r := wire.CreateTopicsResponseCreatableTopicResult{}
		r.SetDefaults()
		r.Name, r.ErrorCode, r.ErrorMessage = name, wire.TopicAuthorizationFailed, text("Authorization failed.")
		refused = append(refused, r)
	}
	finish := func(resp *wire.CreateTopicsResponse) {
		for i := range resp.Topics {
			if t := &resp.Topics[i]; t.ErrorCode == wire.None && hidden[t.Name] {
				t.TopicConfigErrorCode, t.NumPartitions, t.ReplicationFactor = wire.TopicAuthorizationFailed, -1, -1
				t.Configs = []wire.CreateTopicsResponseCreatableTopicConfigs{}
			}
		}
		resp.Topics = append(resp.Topics, refused...)
		answer(resp)
	}
	if len(rest.Topics) == 0 && len(refused) > 0 {
		finish(&wire.CreateTopicsResponse{})
		return
	}
	propose(b, q, &rest, finish)
}

// mayCreate asks for the right to create one topic, which that on the whole cluster spares.
func (b rights) mayCreate(q *edge.Request, everywhere bool, topic string) bool {
	if everywhere {
		b.noted(q, acl.Create, acl.Topic, topic)
		return true
	}
	return b.allowed(q, acl.Create, acl.Topic, topic)
}

// noted remembers what the peer did by a right on the whole cluster, as what it would have needed at least.
func (b rights) noted(q *edge.Request, op acl.Operation, t acl.ResourceType, name string) {
	if b.authorizer == nil {
		return
	}
	who := q.Conn().Identity().Principal()
	b.authorizer.usage.note(&acl.Question{PrincipalType: who.Type, PrincipalName: who.Name, Operation: op, Type: t, Name: name}, true)
}

// serveDeleteTopics deletes those topics that the peer may delete. It is not told of others whether they exist.
func serveDeleteTopics(b *Broker, q *edge.Request, m *wire.DeleteTopicsRequest, answer func(*wire.DeleteTopicsResponse)) {
	if b.authorizer == nil || !b.config().GetBool("delete.topic.enable") {
		propose(b, q, m, answer)
		return
	}
	d := &deletion{b: b, q: q, everywhere: b.everywhere(q, acl.Delete)}
	rest := *m
	rest.TopicNames, rest.Topics = nil, nil
	for _, name := range m.TopicNames {
		if d.named(name) {
			rest.TopicNames = append(rest.TopicNames, name)
		}
	}
	for i := range m.Topics {
		switch t := &m.Topics[i]; {
		case t.Name != nil && t.TopicID.IsZero() && !d.named(*t.Name):
		case t.Name == nil && !t.TopicID.IsZero() && !d.identified(t.TopicID):
		default:
			rest.Topics = append(rest.Topics, *t)
		}
	}
	if len(rest.TopicNames)+len(rest.Topics) == 0 && len(d.refused) > 0 {
		answer(&wire.DeleteTopicsResponse{Responses: d.refused})
		return
	}
	propose(b, q, &rest, func(resp *wire.DeleteTopicsResponse) {
		resp.Responses = append(resp.Responses, d.refused...)
		answer(resp)
	})
}

// deletion is a DeleteTopics request whose rights are asked for.
type deletion struct {
	b          *Broker
	q          *edge.Request
	everywhere bool
	refused    []wire.DeleteTopicsResponseDeletableTopicResult
}

func (d *deletion) may(name string) (describe, remove bool) {
	if d.everywhere {
		d.b.noted(d.q, acl.Delete, acl.Topic, name)
		return true, true
	}
	return d.b.allowed(d.q, acl.Describe, acl.Topic, name), d.b.allowed(d.q, acl.Delete, acl.Topic, name)
}

// named tells whether the controller may hear of a topic that goes by its name. Without the right to delete it does not hear even of
// one that there is not: there may be by the time it decides.
func (d *deletion) named(name string) bool {
	describe, remove := d.may(name)
	if describe && remove {
		return true
	}
	r := wire.DeleteTopicsResponseDeletableTopicResult{Name: &name, ErrorCode: wire.TopicAuthorizationFailed}
	if _, exists := d.b.image().Topic(name); describe && !exists {
		r.ErrorCode, r.ErrorMessage = wire.UnknownTopicOrPartition, text(wire.UnknownTopicOrPartition.Message())
	}
	d.refused = append(d.refused, r)
	return false
}

// identified tells whether the controller may hear of a topic that goes by its id. Ids are no secret.
func (d *deletion) identified(id wire.UUID) bool {
	topic, exists := d.b.image().TopicByID(id)
	if !exists {
		return true
	}
	describe, remove := d.may(topic.Name)
	if remove {
		return true
	}
	r := wire.DeleteTopicsResponseDeletableTopicResult{TopicID: id, ErrorCode: wire.TopicAuthorizationFailed}
	if describe {
		r.Name = &topic.Name
	}
	d.refused = append(d.refused, r)
	return false
}

// serveCreatePartitions adds partitions to those topics that the peer may alter.
func serveCreatePartitions(b *Broker, q *edge.Request, m *wire.CreatePartitionsRequest, answer func(*wire.CreatePartitionsResponse)) {
	if b.authorizer == nil {
		propose(b, q, m, answer)
		return
	}
	twice := repeated(m.Topics, func(t *wire.CreatePartitionsRequestCreatePartitionsTopic) string { return t.Name })
	var refused []wire.CreatePartitionsResponseCreatePartitionsTopicResult
	rest := *m
	rest.Topics = nil
	for i := range m.Topics {
		if name := m.Topics[i].Name; twice[name] || b.allowed(q, acl.Alter, acl.Topic, name) {
			rest.Topics = append(rest.Topics, m.Topics[i])
		} else {
			refused = append(refused, wire.CreatePartitionsResponseCreatePartitionsTopicResult{Name: name, ErrorCode: wire.TopicAuthorizationFailed})
		}
	}
	if len(rest.Topics) == 0 && len(refused) > 0 {
		answer(&wire.CreatePartitionsResponse{Results: refused})
		return
	}
	propose(b, q, &rest, func(resp *wire.CreatePartitionsResponse) {
		resp.Results = append(refused, resp.Results...)
		answer(resp)
	})
}

// settingsRight asks for a right on what a resource's settings belong to; code is what its lack is answered with. Kinds that
// have no settings are left to whoever refuses them.
func (b rights) settingsRight(q *edge.Request, op acl.Operation, r metadata.Resource) (code wire.Code) {
	switch r.Type {
	case metadata.TopicResource:
		if !b.allowed(q, op, acl.Topic, r.Name) {
			return wire.TopicAuthorizationFailed
		}
	case metadata.GroupResource:
		if !b.allowed(q, op, acl.Group, r.Name) {
			return wire.GroupAuthorizationFailed
		}
	case metadata.BrokerResource, metadata.BrokerLoggerResource, metadata.ClientMetricsResource:
		if !b.onCluster(q, op) {
			return wire.ClusterAuthorizationFailed
		}
	}
	return wire.None
}

// serveAlterConfigs replaces settings of those resources that the peer may alter.
func serveAlterConfigs(b *Broker, q *edge.Request, m *wire.AlterConfigsRequest, answer func(*wire.AlterConfigsResponse)) {
	type refusal struct {
		code wire.Code
		why  string
	}
	refused := make(map[metadata.Resource]refusal)
	rest := *m
	rest.Resources = nil
	for i := range m.Resources {
		r := metadata.Resource{Type: m.Resources[i].ResourceType, Name: m.Resources[i].ResourceName}
		if r.Type != metadata.BrokerLoggerResource {
			if code := b.settingsRight(q, acl.AlterConfigs, r); code != wire.None {
				refused[r] = refusal{code, code.Message()}
				continue
			}
		}
		if why := unusableWhole(b, &m.Resources[i]); why != "" {
			refused[r] = refusal{wire.InvalidRequest, why}
			continue
		}
		rest.Resources = append(rest.Resources, m.Resources[i])
	}
	finish := func(resp *wire.AlterConfigsResponse) {
		for i := range m.Resources { // in the order of the request
			r := metadata.Resource{Type: m.Resources[i].ResourceType, Name: m.Resources[i].ResourceName}
			if no, ok := refused[r]; ok {
				resp.Responses = slices.Insert(resp.Responses, min(i, len(resp.Responses)), wire.AlterConfigsResponseAlterConfigsResourceResponse{
					ErrorCode: no.code, ErrorMessage: text(no.why), ResourceType: r.Type, ResourceName: r.Name,
				})
			}
		}
		answer(resp)
	}
	if len(rest.Resources) == 0 && len(refused) > 0 {
		finish(&wire.AlterConfigsResponse{})
		return
	}
	propose(b, q, &rest, finish)
}
