package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// settingsDuel changes, describes and lists settings of every kind of resource, client quotas, SCRAM credentials and rules,
// and asks for delegation tokens where there can be none.
var settingsDuel = discipline{name: "settings", play: playSettings, prompt: true,
	settings: "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n"}

// settingsGame is what a game of settingsDuel knows.
type settingsGame struct {
	*game
	common  commonKeys
	changed map[configResource]map[string]bool // the keys that were set
}

// configResource is what settings belong to.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

func playSettings(g *game) error {
	if err := g.open(1); err != nil {
		return err
	}
	t := &settingsGame{game: g, changed: map[configResource]map[string]bool{}}
	var err error
	if t.common, err = g.commonKeys(); err != nil {
		return err
	}
	moves := []func() []question{t.describe, t.describe, t.alter, t.incremental, t.incremental, t.incremental, t.list,
		t.alterQuotas, t.alterQuotas, t.describeQuotas, t.describeQuotas, t.alterScram, t.describeScram,
		t.createACLs, t.createACLs, t.describeACLs, t.deleteACLs, t.tokens}
	for range 45 {
		if err := t.askAll(moves[g.rng.IntN(len(moves))]()); err != nil {
			return err
		}
	}
	return t.askAll(t.sweep())
}

// resource is one that settings may belong to, or not.
func (t *settingsGame) resource() configResource {
	const topic, broker, logger, metrics, group = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker,
		kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig
	if rarely(t.game, 8) {
		return oneOf(t.game, configResource{topic, ""}, configResource{topic, "no such topic"}, configResource{topic, "nosuch"},
			configResource{broker, "2"}, configResource{broker, "x"}, configResource{broker, "-1"}, configResource{broker, "01"},
			configResource{broker, "99999999999"}, configResource{metrics, ""}, configResource{group, ""}, configResource{0, "x"},
			configResource{7, ""}, configResource{1, "x"}, configResource{-1, "x"}, configResource{logger, "2"}, configResource{logger, ""},
			configResource{logger, "x"}, configResource{topic, strings.Repeat("t", 250)})
	}
	switch t.rng.IntN(6) {
	case 0, 1:
		return configResource{topic, adminTopic}
	case 2:
		return configResource{broker, "1"}
	case 3:
		return configResource{broker, ""}
	case 4:
		return configResource{metrics, t.prefix + oneOf(t.game, ".a", ".b")}
	}
	return configResource{group, t.prefix + oneOf(t.game, ".a", ".b")}
}

// settingsOf are keys and values for a kind.
func settingsOf(kind kmsg.ConfigResourceType) []settingValues {
	switch kind {
	case kmsg.ConfigResourceTypeBroker:
		return brokerSettings
	case kmsg.ConfigResourceTypeClientMetrics:
		return metricsSettings
	case kmsg.ConfigResourceTypeGroupConfig:
		return groupSettings
	}
	return topicSettings
}

// right draws a setting that is right more often than not.
func (t *settingsGame) right(kind kmsg.ConfigResourceType) (string, *string) {
	s := oneOf(t.game, settingsOf(kind)...)
	for slices.Contains(alone, s.name) {
		s = oneOf(t.game, settingsOf(kind)...)
	}
	value := s.values[0]
	return s.name, &value
}

// describing asks for the settings of some resources.
func (t *settingsGame) describing(late bool, keys func() []string, of ...configResource) question {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = !rarely(t.game, 3), rarely(t.game, 3)
	for _, r := range of {
		entry := kmsg.NewDescribeConfigsRequestResource()
		entry.ResourceType, entry.ResourceName = r.kind, r.name
		if keys != nil {
			entry.ConfigNames = keys()
		}
		req.Resources = append(req.Resources, entry)
	}
	return question{late: late, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeConfigsResponse)
		slices.SortStableFunc(r.Resources, func(a, b kmsg.DescribeConfigsResponseResource) int {
			return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName))
		})
		for i := range r.Resources {
			t.comparable(&r.Resources[i])
		}
	}}
}

// ownAddresses are settings in which the two brokers differ because they run side by side.
var ownAddresses = []string{"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}

// comparable leaves of a resource's settings what can be compared.
func (t *settingsGame) comparable(r *kmsg.DescribeConfigsResponseResource) {
	if r.ResourceType == kmsg.ConfigResourceTypeBrokerLogger {
		r.Configs = nil // names of classes
	}
	kind := t.common[r.ResourceType]
	r.Configs = slices.DeleteFunc(r.Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
		// Of super.users Moldau knows more than Kafka does: internal/config/describe.go.
		return c.Name == "super.users" || kind != nil && !kind[c.Name] && !strings.Contains(c.Name, "no.such")
	})
	slices.SortFunc(r.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
	for i := range r.Configs {
		c := &r.Configs[i]
		if c.Documentation != nil && *c.Documentation != "" {
			c.Documentation = kmsg.StringPtr("some") // in words of its own
		}
		if slices.Contains(ownAddresses, c.Name) {
			c.Value = kmsg.StringPtr("its own")
			for k := range c.ConfigSynonyms {
				c.ConfigSynonyms[k].Value = nil
			}
		}
	}
}

func (t *settingsGame) describe() []question {
	var of []configResource
	for range 1 + t.rng.IntN(2) {
		of = append(of, t.resource())
	}
	if rarely(t.game, 10) {
		of = append(of, of[0])
	}
	keys := func() []string {
		switch t.rng.IntN(4) {
		case 0:
			return nil
		case 1:
			return []string{}
		}
		var names []string
		for range 1 + t.rng.IntN(3) {
			name, _ := t.setting(settingsOf(of[0].kind))
			names = append(names, name)
		}
		return names
	}
	return []question{t.describing(true, keys, of...)}
}

// after is what is asked when resources were changed: it waits until both sides know.
func (t *settingsGame) after(of ...configResource) (all []question) {
	done := map[configResource]bool{}
	for _, r := range of {
		if describable[r.kind] != "" && r.name != "" && !done[r] || r.kind == kmsg.ConfigResourceTypeBroker && r.name == "" && !done[r] {
			q := t.describing(true, nil, r)
			q.newest = true
			all = append(all, q)
		}
		done[r] = true
	}
	return all
}

func (t *settingsGame) changing(r configResource, key string) {
	if t.changed[r] == nil {
		t.changed[r] = map[string]bool{}
	}
	t.changed[r][key] = true
}

// alter replaces all settings of resources. Not those of brokers: what the cluster began with would be lost.
func (t *settingsGame) alter() []question {
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = rarely(t.game, 4)
	var of []configResource
	for range 1 + t.rng.IntN(2) {
		r := t.resource()
		for slices.Contains(of, r) { // Kafka does not answer who names one twice
			r = t.resource()
		}
		if r.kind == kmsg.ConfigResourceTypeBroker && r.name == "" {
			continue
		}
		of = append(of, r)
		entry := kmsg.NewAlterConfigsRequestResource()
		entry.ResourceType, entry.ResourceName = r.kind, r.name
		for i := range t.rng.IntN(4) {
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			if c.Name, c.Value = t.right(r.kind); i == 0 {
				c.Name, c.Value = t.setting(settingsOf(r.kind))
			}
			t.changing(r, c.Name)
			entry.Configs = append(entry.Configs, c)
		}
		req.Resources = append(req.Resources, entry)
	}
	return append([]question{{build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.AlterConfigsResponse)
		for i := range r.Resources {
			r.Resources[i].ErrorMessage = plainly(r.Resources[i].ErrorMessage)
		}
		slices.SortStableFunc(r.Resources, func(a, b kmsg.AlterConfigsResponseResource) int {
			return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName))
		})
	}}}, t.after(of...)...)
}

func (t *settingsGame) incremental() []question {
	var of []configResource
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = rarely(t.game, 5)
	for range 1 + t.rng.IntN(2) {
		r := t.resource()
		of = append(of, r)
		entry := kmsg.NewIncrementalAlterConfigsRequestResource()
		entry.ResourceType, entry.ResourceName = r.kind, r.name
		for i := range t.rng.IntN(4) {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			if c.Name, c.Value = t.right(r.kind); i == 0 {
				c.Name, c.Value = t.setting(settingsOf(r.kind))
				c.Op = oneOf[kmsg.IncrementalAlterConfigOp](t.game, 0, 0, 0, 1, 1, 2, 3)
				if rarely(t.game, 20) && r.kind == kmsg.ConfigResourceTypeBroker { // for others Kafka fails without a reason
					c.Op = oneOf[kmsg.IncrementalAlterConfigOp](t.game, 4, -1)
				}
			}
			t.changing(r, c.Name)
			entry.Configs = append(entry.Configs, c)
			if rarely(t.game, 20) {
				entry.Configs = append(entry.Configs, c)
			}
		}
		req.Resources = append(req.Resources, entry)
	}
	if rarely(t.game, 12) {
		req.Resources = append(req.Resources, req.Resources[0])
	}
	return append([]question{t.incrementally(req)}, t.after(of...)...)
}

func (t *settingsGame) incrementally(req *kmsg.IncrementalAlterConfigsRequest) question {
	return question{build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.IncrementalAlterConfigsResponse)
		for i := range r.Resources {
			r.Resources[i].ErrorMessage = plainly(r.Resources[i].ErrorMessage)
		}
		slices.SortStableFunc(r.Resources, func(a, b kmsg.IncrementalAlterConfigsResponseResource) int {
			return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName))
		})
	}}
}

func (t *settingsGame) list() []question {
	req := kmsg.NewPtrListConfigResourcesRequest()
	for range t.rng.IntN(4) {
		req.ResourceTypes = append(req.ResourceTypes, oneOf[int8](t.game, 2, 4, 8, 16, 32))
	}
	if rarely(t.game, 6) {
		req.ResourceTypes = append(req.ResourceTypes, oneOf[int8](t.game, 0, 1, -1, 127))
	}
	return []question{{late: true, build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.ListConfigResourcesResponse)
		slices.SortFunc(r.ConfigResources, func(a, b kmsg.ListConfigResourcesResponseConfigResource) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
		})
	}}}
}

// sweep takes away what the game set.
func (t *settingsGame) sweep() (all []question) {
	for r, keys := range t.changed {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		entry := kmsg.NewIncrementalAlterConfigsRequestResource()
		entry.ResourceType, entry.ResourceName = r.kind, r.name
		for key := range keys {
			if key == "min.insync.replicas" && r.kind == kmsg.ConfigResourceTypeBroker {
				continue
			}
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op = key, kmsg.IncrementalAlterConfigOpDelete
			entry.Configs = append(entry.Configs, c)
		}
		slices.SortFunc(entry.Configs, func(a, b kmsg.IncrementalAlterConfigsRequestResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
		req.Resources = append(req.Resources, entry)
		all = append(all, t.incrementally(req))
		all = append(all, t.after(r)...)
	}
	slices.SortFunc(all, func(a, b question) int { return strings.Compare(fmt.Sprint(a.build(nil)), fmt.Sprint(b.build(nil))) })
	return append(all, t.deletingACLs(t.wholeFilter()), t.quotasGone(), t.scramGone())
}

func (t *settingsGame) tokens() []question {
	var req kmsg.Request
	switch t.rng.IntN(4) {
	case 0:
		r := kmsg.NewPtrCreateDelegationTokenRequest()
		r.MaxLifetimeMillis = oneOf[int64](t.game, -1, 0, 1000)
		if rarely(t.game, 2) {
			r.OwnerPrincipalType, r.OwnerPrincipalName = kmsg.StringPtr("User"), kmsg.StringPtr("owner")
		}
		if rarely(t.game, 2) {
			r.Renewers = append(r.Renewers, kmsg.CreateDelegationTokenRequestRenewer{PrincipalType: oneOf(t.game, "User", "Group"), PrincipalName: "r"})
		}
		req = r
	case 1:
		r := kmsg.NewPtrRenewDelegationTokenRequest()
		r.HMAC, r.RenewTimeMillis = []byte(oneOf(t.game, "", "x")), -1
		req = r
	case 2:
		r := kmsg.NewPtrExpireDelegationTokenRequest()
		r.HMAC, r.ExpiryPeriodMillis = []byte(oneOf(t.game, "", "x")), -1
		req = r
	default:
		r := kmsg.NewPtrDescribeDelegationTokenRequest()
		if rarely(t.game, 2) {
			r.Owners = append(r.Owners, kmsg.DescribeDelegationTokenRequestOwner{PrincipalType: "User", PrincipalName: "a"})
		}
		req = r
	}
	return []question{{build: func(*player) kmsg.Request { return req }}}
}

// alone are those of brokerSettings that do not stand next to what may be wrong in another way: those that cannot change while a broker
// runs, and those that a listener has, too, of which Kafka checks either.
var alone = []string{"group.coordinator.append.linger.ms", "max.connections", "num.network.threads", "listener.name.plaintext.max.connections", "listener.name.plaintext.num.network.threads", "broker.id", "node.id", "log.dirs", "auto.create.topics.enable", "num.partitions", "log.retention.hours", "ssl.keystore.location"}

// brokerSettings are keys of brokers that can change while they run, and some that cannot. The first value of each is right.
// log.flush.interval.ms is not among them: Kafka takes values for it with which topics cannot be described any more.
var brokerSettings = []settingValues{
	{"log.retention.ms", []string{"604800000", "-1", "100"}},
	{"log.cleanup.policy", []string{"delete", "compact", "compact,delete", "none"}},
	{"log.cleaner.backoff.ms", []string{"500", "15000", "-1"}},
	{"log.cleaner.threads", []string{"1", "2", "10"}}, // Kafka divides by 0
	{"log.cleaner.dedupe.buffer.size", []string{"134217728", "1"}},
	{"message.max.bytes", []string{"1048588", "2000000", "-5"}},
	{"background.threads", []string{"10", "20", "21", "1", "0"}},
	{"num.io.threads", []string{"8", "16", "17", "4", "3"}},
	{"num.network.threads", []string{"3", "6", "7", "0"}},
	{"num.recovery.threads.per.data.dir", []string{"2", "5"}},
	{"max.connections", []string{"2147483647", "1000", "-1"}},
	{"max.connections.per.ip", []string{"2147483647", "0", "1000"}},
	{"max.connections.per.ip.overrides", []string{"", "10.0.0.1:5", "x"}},
	{"max.connection.creation.rate", []string{"2147483647", "0"}},
	{"leader.replication.throttled.rate", []string{"1000", "0", "-1"}},
	{"follower.replication.throttled.rate", []string{"1000", "-1"}},
	{"replica.alter.log.dirs.io.max.bytes.per.second", []string{"1000", "-1"}},
	{"compression.type", []string{"producer", "gzip", "none"}},
	{"min.insync.replicas", []string{"1", "2", "0"}},
	{"unclean.leader.election.enable", []string{"false", "true", "maybe"}},
	{"log.segment.bytes", []string{"1073741824", "14", "1048576"}},
	{"log.roll.ms", []string{"604800000", "0"}},
	{"log.message.timestamp.type", []string{"CreateTime", "LogAppendTime", "x"}},
	{"log.index.interval.bytes", []string{"4096", "-1"}},
	{"transaction.partition.verification.enable", []string{"true", "false"}},
	{"producer.id.expiration.ms", []string{"86400000", "0"}},
	{"remote.log.manager.copier.thread.pool.size", []string{"10", "-1", "100"}},
	{"group.coordinator.append.linger.ms", []string{"5", "-1"}},
	{"broker.id", []string{"1"}},
	{"node.id", []string{"1"}},
	{"log.dirs", []string{"/tmp"}},
	{"auto.create.topics.enable", []string{"true"}},
	{"num.partitions", []string{"1", "2"}},
	{"log.retention.hours", []string{"1"}},
	{"listener.name.plaintext.max.connections", []string{"100", "-1"}},
	{"listener.name.plaintext.num.network.threads", []string{"3", "6"}},
	{"ssl.keystore.location", []string{"/no/such/file"}},
	{"cordoned.log.dirs", []string{"", "/no/such/dir", "*"}},
}

var metricsSettings = []settingValues{
	{"metrics", []string{"org.apache.kafka.", "*", "", "a,b"}},
	{"interval.ms", []string{"60000", "100", "99", "3600000", "3600001"}},
	{"match", []string{"client_id=.*", "client_software_name=x", "client_id=[", "other=x", "client_id", "client_id=a,client_source_port=1"}},
}

var groupSettings = []settingValues{
	{"consumer.session.timeout.ms", []string{"45000", "60000", "44999", "60001"}},
	{"consumer.heartbeat.interval.ms", []string{"5000", "15000", "100", "15001"}},
	{"share.session.timeout.ms", []string{"45000", "60000", "1"}},
	{"share.heartbeat.interval.ms", []string{"5000", "15000", "1"}},
	{"share.record.lock.duration.ms", []string{"30000", "15000", "60000", "1000", "70000"}},
	{"share.auto.offset.reset", []string{"latest", "earliest", "by_duration:PT1H", "none", "by_duration:-PT1H"}},
	{"share.isolation.level", []string{"read_uncommitted", "read_committed", "READ_COMMITTED", "x"}},
	{"share.delivery.count.limit", []string{"5", "2", "10", "11", "1"}},
	{"share.partition.max.record.locks", []string{"2000", "100", "99", "20000"}},
	{"share.renew.acknowledge.enable", []string{"true", "false", "x"}},
	{"streams.session.timeout.ms", []string{"45000", "60000", "1"}},
	{"streams.heartbeat.interval.ms", []string{"5000", "15000", "1"}},
	{"streams.num.standby.replicas", []string{"0", "1", "2", "3"}},
	{"streams.initial.rebalance.delay.ms", []string{"100", "0", "-1"}},
}
