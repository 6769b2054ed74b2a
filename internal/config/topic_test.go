package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolveTopicDefaults(t *testing.T) {
	got, err := ResolveTopic(mustBroker(t, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	const forever = maxLong
	want := &TopicConfig{
		Overrides: Values{}, Delete: true, CompressionType: CompressionProducer, GzipLevel: -1, Lz4Level: 9, ZstdLevel: 3,
		MaxMessageBytes: 1048588, MaxDecompressedMessageBytes: 2147483639, TimestampBeforeMaxMs: forever, TimestampAfterMaxMs: 3600000,
		RetentionBytes: -1, RetentionMs: 604800000, SegmentBytes: 1073741824, SegmentMs: 604800000, SegmentIndexBytes: 10485760, IndexIntervalBytes: 4096,
		FileDeleteDelayMs: 60000, FlushMessages: forever, FlushMs: forever, MinCleanableDirtyRatio: 0.5, MaxCompactionLagMs: forever, DeleteRetentionMs: 86400000,
		MinInsyncReplicas: 1, RemoteCopyLagBytes: -1, LocalRetentionMs: -2, LocalRetentionBytes: -2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResolveTopicTakesTheStrongestLayer(t *testing.T) {
	b := mustBroker(t, "log.retention.hours=1\nlog.roll.hours=2\nlog.flush.scheduler.interval.ms=77\nmin.insync.replicas=2\nack.durability=written\ncompression.type=zstd\n")
	read := func(b *BrokerConfig, overrides Values) string {
		c, err := ResolveTopic(b, overrides)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(c.RetentionMs, c.SegmentMs, c.FlushMs, c.MinInsyncReplicas, c.AckDurability, c.CompressionType)
	}
	if got, want := read(b, nil), "3600000 7200000 77 2 1 4"; got != want {
		t.Errorf("static: got %s, want %s", got, want)
	}
	b, err := b.WithDynamic(Values{"log.retention.ms": "5", "min.insync.replicas": "3", "ack.durability": "synced"}, Values{"min.insync.replicas": "4"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(b, nil), "5 7200000 77 4 0 4"; got != want {
		t.Errorf("dynamic: got %s, want %s", got, want)
	}
	if got, want := read(b, Values{"retention.ms": " -1 ", "min.insync.replicas": "1", "compression.type": "uncompressed"}), "-1 7200000 77 1 0 0"; got != want {
		t.Errorf("overridden: got %s, want %s", got, want)
	}
}

func TestResolveTopicLeavesOutWhatIsWrong(t *testing.T) {
	c, err := ResolveTopic(mustBroker(t, ""), Values{"retention.ms": "x", "nope": "1", "segment.bytes": "2097152"})
	if c == nil || c.RetentionMs != 604800000 || c.SegmentBytes != 2097152 || len(c.Overrides) != 1 {
		t.Errorf("got %+v", c)
	}
	if err == nil || !strings.Contains(err.Error(), "Unknown topic config name: nope") || !strings.Contains(err.Error(), "Invalid value x for configuration retention.ms") {
		t.Errorf("got %v", err)
	}
}

func TestTopicSettingsTogether(t *testing.T) {
	tiered := mustBroker(t, "remote.log.storage.system.enable=true")
	for _, c := range []struct {
		broker    *BrokerConfig
		overrides string
		want      string
	}{
		{tiered, "min.compaction.lag.ms=100 max.compaction.lag.ms=50", "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)"},
		{mustBroker(t, ""), "remote.storage.enable=true", "Tiered Storage functionality is disabled"},
		{tiered, "remote.storage.enable=true", ""},
		{tiered, "remote.storage.enable=true cleanup.policy=", ""},
		{tiered, "remote.storage.enable=true cleanup.policy=compact", "Remote log storage only supports topics with cleanup.policy=delete"},
		{tiered, "remote.storage.enable=true retention.ms=100 local.retention.ms=200", "Invalid value 200 for configuration local.retention.ms: Value must not be more than retention.ms property value: 100"},
		{tiered, "remote.storage.enable=true retention.bytes=100 local.retention.bytes=200", "Invalid value 200 for configuration local.retention.bytes: Value must not be more than retention.bytes property value: 100"},
		{tiered, "remote.storage.enable=true retention.ms=5 local.retention.ms=-1", "Invalid value -1 for configuration local.retention.ms: Value must not be -1 as retention.ms value is set as 5."},
		{tiered, "remote.storage.enable=true remote.log.copy.disable=true retention.ms=100 local.retention.ms=50", "When `remote.log.copy.disable` is set to true, the `local.retention.ms` and `retention.ms` must be set to the identical value"},
		{tiered, "remote.storage.enable=true remote.copy.lag.ms=200 local.retention.ms=100", "Invalid value 200 for configuration remote.copy.lag.ms: Value must not exceed local.retention.ms (effective value: 100)"},
		{tiered, "remote.storage.enable=true remote.copy.lag.ms=200", ""},
	} {
		overrides := Values{}
		for field := range strings.FieldsSeq(c.overrides) {
			k, v, _ := strings.Cut(field, "=")
			overrides[k] = v
		}
		_, err := ResolveTopic(c.broker, overrides)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.overrides, err, c.want)
		}
	}
}

func TestDynamicSettings(t *testing.T) {
	for _, c := range []struct {
		key, value string
		perBroker  bool
		want       string
	}{
		{"log.retention.ms", "5", false, ""},
		{"log.retention.ms", "x", false, "Not a number"},
		{"listeners", "PLAINTEXT://:1", true, ""},
		{"listeners", "PLAINTEXT://:1", false, "broker id must be specified"},
		{"listener.name.x.ssl.keystore.location", "/k", true, ""},
		{"listener.name.x.ssl.keystore.location", "/k", false, "broker id must be specified"},
		{"process.roles", "broker", true, "Cannot update these configs dynamically"},
		{"some.plugin.key", "1", false, ""},
	} {
		err := CheckDynamic(c.key, c.value, c.perBroker)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s=%s: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
	b, err := mustBroker(t, "num.partitions=3").WithDynamic(Values{"num.partitions": "5", "max.connections": "9"}, nil)
	if err == nil || b.GetInt("num.partitions") != 3 || b.GetInt("max.connections") != 9 {
		t.Errorf("got %v, %d, %d", err, b.GetInt("num.partitions"), b.GetInt("max.connections"))
	}
}

func TestForListener(t *testing.T) {
	b := mustBroker(t, "listener.name.internal.plain.sasl.jaas.config=a\nlistener.name.internal.sasl.jaas.config=b\nsasl.jaas.config=c\n"+
		"connections.max.reauth.ms=5\nlistener.name.internal.scram-sha-256.connections.max.reauth.ms=6\n"+
		"ssl.client.auth=required\nlistener.name.internal.ssl.client.auth= requested \nlistener.name.internal.oauthbearer.sasl.oauthbearer.expected.issuer=x\n")
	for _, c := range []struct{ listener, key, want string }{
		{"INTERNAL", "plain.sasl.jaas.config", "a"},
		{"INTERNAL", "scram-sha-256.sasl.jaas.config", ""},
		{"INTERNAL", "sasl.jaas.config", "b"},
		{"OTHER", "plain.sasl.jaas.config", ""},
		{"OTHER", "sasl.jaas.config", "c"},
		{"INTERNAL", "oauthbearer.sasl.oauthbearer.expected.issuer", "x"},
		{"internal", "plain.connections.max.reauth.ms", "5"},
		{"Internal", "scram-sha-256.connections.max.reauth.ms", "6"},
		{"INTERNAL", "ssl.client.auth", "requested"},
		{"OTHER", "ssl.client.auth", "required"},
		{"OTHER", "ssl.keystore.type", "JKS"},
		{"OTHER", "ssl.keystore.location", ""},
		{"OTHER", "no.such.key", ""},
	} {
		got, ok := b.ForListener(c.listener, c.key)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s %s: got %q, %v, want %q", c.listener, c.key, got, ok, c.want)
		}
	}
}

func TestResolveGroup(t *testing.T) {
	b := mustBroker(t, "group.consumer.heartbeat.interval.ms=6000\ngroup.streams.assignors=sticky,other\n")
	g, err := ResolveGroup(b, Values{"consumer.session.timeout.ms": "50000"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(g.GetInt("consumer.heartbeat.interval.ms"), g.GetLong("consumer.session.timeout.ms"), g.GetInt("share.delivery.count.limit"),
		g.GetString("streams.assignor.name"), g.GetBool("share.renew.acknowledge.enable"), g.GetString("streams.rack.aware.assignment.tags"))
	if want := "6000 50000 5stickytrue"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for overrides, want := range map[string]string{
		"consumer.session.timeout.ms=1":     "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
		"consumer.session.timeout.ms=99999": "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
		"streams.num.standby.replicas=9":    "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
		"share.delivery.count.limit=11":     "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit",
		"nope=1":                            "Unknown group config name: nope",
	} {
		k, v, _ := strings.Cut(overrides, "=")
		if _, err := ResolveGroup(b, Values{k: v}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", overrides, err, want)
		}
	}
	if err := CheckClientMetricsKey("interval.ms", "50"); err == nil {
		t.Error("an interval of 50 ms passed")
	}
}
