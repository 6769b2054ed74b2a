package main

import (
	"cmp"
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// askAll asks one question after the other.
func (g *game) askAll(all []question) error {
	for _, q := range all {
		if _, err := g.ask(q); err != nil {
			return err
		}
	}
	return nil
}

func comparePtr(a, b *string) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(*a, *b)
}

// commonKeys are the settings of each kind of resource that both brokers know. Settings of Moldau's own and of another
// release of Kafka than the one it is compared with are more lines in an answer, and no difference.
type commonKeys map[kmsg.ConfigResourceType]map[string]bool

func (c commonKeys) has(kind kmsg.ConfigResourceType, name string) bool { return c[kind][name] }

// describable are the resources whose settings are asked for to learn what both know. Topics need one that there is.
var describable = map[kmsg.ConfigResourceType]string{
	kmsg.ConfigResourceTypeTopic: adminTopic, kmsg.ConfigResourceTypeBroker: "1",
	kmsg.ConfigResourceTypeClientMetrics: "subscription", kmsg.ConfigResourceTypeGroupConfig: "group",
}

// adminTopic is there in every game with settings.
const adminTopic = "administered"

// commonKeys asks both for all settings; it uses the first connection, and nothing may wait on it.
func (g *game) commonKeys() (commonKeys, error) {
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = adminTopic, 1, 1
	create.Topics = append(create.Topics, topic)
	req := kmsg.NewPtrDescribeConfigsRequest()
	for kind, name := range describable {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, name
		req.Resources = append(req.Resources, r)
	}
	common := commonKeys{}
	for i, p := range g.sides {
		for {
			resp, err := p.raw(create, g.versions[create.Key()].high)
			if err != nil {
				return nil, err
			}
			if resp, err = p.raw(req, g.versions[req.Key()].high); err != nil {
				return nil, err
			}
			if common.learn(resp.(*kmsg.DescribeConfigsResponse), i == 0) {
				break
			}
		}
	}
	return common, nil
}

// raw asks one side alone.
func (p *player) raw(req kmsg.Request, version int16) (kmsg.Response, error) {
	req.SetVersion(version)
	p.conns[0].send(req)
	return p.conns[0].receive(duelPatience)
}

// learn takes the first answer's names, and of those what the second has, too. It is false when the topic is not there yet.
func (c commonKeys) learn(resp *kmsg.DescribeConfigsResponse, first bool) bool {
	for _, r := range resp.Resources {
		if r.ErrorCode != 0 {
			return false
		}
	}
	for _, r := range resp.Resources {
		names := map[string]bool{}
		for _, e := range r.Configs {
			if first || c[r.ResourceType][e.Name] {
				names[e.Name] = true
			}
		}
		c[r.ResourceType] = names
	}
	return true
}

// nearest is what Moldau adds to Kafka's refusal of a setting that it does not know.
var nearest = regexp.MustCompile(` \(did you mean [^)]*\?\)$`)

// plainly is a message without the hint at what may have been meant.
func plainly(message *string) *string {
	if message == nil {
		return nil
	}
	return kmsg.StringPtr(nearest.ReplaceAllString(*message, ""))
}

// settingValues are a setting and values for it, good and bad.
type settingValues struct {
	name   string
	values []string
}

// oddValues are wrong for most settings.
var oddValues = []string{"", " ", "abc", "-1", "-2", "0", "1", "1.5", "9223372036854775808", "2147483648", "TRUE", "null", " 7 ", "1e3", ",", "a,,b"}

// setting draws a name and a value.
func (g *game) setting(of []settingValues) (string, *string) {
	s := of[g.rng.IntN(len(of))]
	value := oneOf(g, s.values...)
	if rarely(g, 5) {
		value = oneOf(g, oddValues...)
	}
	if rarely(g, 25) {
		return s.name, nil
	}
	if rarely(g, 25) {
		return oneOf(g, "", "no.such.setting", "zz", "Retention.ms", " retention.ms"), &value
	}
	return s.name, &value
}

var topicSettings = []settingValues{
	{"cleanup.policy", []string{"delete", "compact", "compact,delete", "delete,compact", "delete,delete", "none", "compact, delete"}},
	{"compression.type", []string{"producer", "gzip", "zstd", "uncompressed", "none", "Gzip"}},
	{"compression.gzip.level", []string{"-1", "1", "9", "0", "10"}},
	{"compression.zstd.level", []string{"-131072", "3", "22", "23"}},
	{"compression.lz4.level", []string{"1", "17", "18", "0"}},
	{"delete.retention.ms", []string{"0", "1000", "86400000"}},
	{"file.delete.delay.ms", []string{"0", "60000"}},
	{"flush.messages", []string{"1", "9223372036854775807", "0"}},
	{"flush.ms", []string{"0", "1000"}},
	{"follower.replication.throttled.replicas", []string{"*", "", "none", "0:1", "0:1,1:1", "0", "a:b"}},
	{"leader.replication.throttled.replicas", []string{"*", "", "none", "0:1", "0:1, 1:1", "0:x"}},
	{"index.interval.bytes", []string{"0", "4096"}},
	{"local.retention.bytes", []string{"-2", "-1", "100", "5000000000"}},
	{"local.retention.ms", []string{"-2", "-1", "100", "700000000"}},
	{"max.compaction.lag.ms", []string{"1", "100", "0"}},
	{"max.message.bytes", []string{"0", "100", "2000000"}},
	{"message.timestamp.type", []string{"CreateTime", "LogAppendTime", "createtime"}},
	{"message.timestamp.after.max.ms", []string{"0", "3600000"}},
	{"message.timestamp.before.max.ms", []string{"0", "3600000"}},
	{"min.cleanable.dirty.ratio", []string{"0", "0.5", "1", "1.1", "-0.0", "0x1p-1", "0.5f", "Infinity"}}, // Kafka takes NaN
	{"min.compaction.lag.ms", []string{"0", "100", "1000"}},
	{"min.insync.replicas", []string{"1", "2", "0"}},
	{"preallocate", []string{"true", "false", "True", "yes"}},
	{"remote.storage.enable", []string{"false", "true"}},
	{"remote.log.copy.disable", []string{"false", "true"}},
	{"remote.log.delete.on.disable", []string{"false", "true"}},
	{"retention.bytes", []string{"-1", "1000", "-2"}},
	{"retention.ms", []string{"-1", "1000", "604800000", "-2"}},
	{"segment.bytes", []string{"1048576", "1048575", "2147483647", "14"}},
	{"segment.index.bytes", []string{"4", "1000", "3"}},
	{"segment.jitter.ms", []string{"0", "100"}},
	{"segment.ms", []string{"1", "1000", "0"}},
	{"unclean.leader.election.enable", []string{"true", "false"}},
	{"message.format.version", []string{"3.0"}},
	{"message.downconversion.enable", []string{"true"}},
}
