package config

import "testing"

// TestDynamicSettingsAreKafkas has Kafka 4.3.1's answers, but where a text is our own.
func TestDynamicSettingsAreKafkas(t *testing.T) {
	b, err := NewBroker(Values{"node.id": "1", "log.dirs": "/a,/b", "listeners": "PLAINTEXT://h:1"})
	if err != nil {
		t.Fatal(err)
	}
	const perListenerOnly = "These security configs can be dynamically updated only per-listener using the listener prefix: "
	for _, c := range []struct {
		key, value string
		perBroker  bool
		want       string
	}{
		{"message.max.bytes", "5", false, ""},
		{"node.id", "zzz", true, "Cannot update these configs dynamically: [node.id]"},
		{"min.insync.replicas", "zzz", true, "Invalid value zzz for configuration min.insync.replicas: Not a number of type INT"},
		{"ssl.keystore.location", "x", false, perListenerOnly + "[ssl.keystore.location]"},
		{"ssl.truststore.type", "PEM", true, perListenerOnly + "[ssl.truststore.type]"},
		{"listener.name.plaintext.ssl.keystore.location", "x", true, ""},
		{"listener.name.plaintext.ssl.keystore.type", "PEM", false, "Cannot update these configs at default cluster level, broker id must be specified: [listener.name.plaintext.ssl.keystore.type]"},
		{"ssl.client.auth", "zzz", false, "Invalid value zzz for configuration ssl.client.auth: String must be one of: required, requested, none"},
		{"ssl.client.auth", "none", false, "Cannot update these configs at default cluster level, broker id must be specified: [ssl.client.auth]"},
		{"principal.builder.class", "zzz", true, "Invalid value zzz for configuration principal.builder.class: Class zzz could not be found."},
		{"metric.reporters", "org.apache.kafka.common.metrics.JmxReporter", false, ""},
		{"metric.reporters", "zzz", false, "Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of Set(metric.reporters) failed with class class kafka.server.DynamicMetricsReporters for configuration Invalid dynamic configuration"},
		{"max.connections.per.ip.overrides", "zzz", false, "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 3"},
		{"max.connections.per.ip.overrides", "1.2.3.4:x", true, "For input string: \"x\""},
		{"max.connections.per.ip.overrides", "1.2.3.4:5,[::1]:6", true, ""},
		{"listener.security.protocol.map", "zzz", true, "Error parsing configuration property 'listener.security.protocol.map': begin 0, end -1, length 3"},
		{"listener.security.protocol.map", "", true, "Error creating broker listeners from '[PLAINTEXT://h:1]': No security protocol defined for listener PLAINTEXT"},
		{"listeners", "", false, "Configuration 'listeners' must not be empty. Valid values include: any non-empty value"},
		{"listeners", "zzz", true, "Error creating broker listeners from '[zzz]': Unable to parse zzz to a broker endpoint"},
		{"listeners", "PLAINTEXT://h:1", true, ""},
		{"listeners", "PLAINTEXT://h:1", false, "Cannot update these configs at default cluster level, broker id must be specified: [listeners]"},
		{"cordoned.log.dirs", "/a", true, ""},
		{"cordoned.log.dirs", "*", true, ""},
		{"cordoned.log.dirs", "/a,/c", true, "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /c"},
		{"somebody.elses.key", "x", false, ""},
	} {
		err := CheckDynamic(c.key, c.value, c.perBroker)
		if err == nil && c.perBroker {
			err = b.CheckDynamicBroker(c.key, c.value)
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s=%s for one broker %v: %q, want %q", c.key, c.value, c.perBroker, got, c.want)
		}
	}
}

// TestChangesAreKafkas has Kafka 4.3.1's answers to changes of a running broker.
func TestChangesAreKafkas(t *testing.T) {
	b, err := NewBroker(Values{"node.id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	const threads = "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for "
	for _, c := range []struct{ key, value, want string }{
		{"num.io.threads", "16", ""},
		{"num.io.threads", "4", ""},
		{"num.io.threads", "17", threads + "num.io.threads=17, value should not be greater than double the current value 8 for configuration Invalid dynamic configuration"},
		{"num.io.threads", "3", threads + "num.io.threads=3, value should be at least half the current value 8 for configuration Invalid dynamic configuration"},
		{"log.cleaner.threads", "3", "Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads cannot be increased to more than double the current value 1 for configuration Invalid dynamic configuration"},
		{"max.connections", "0", "Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration"},
		{"max.connections", "5", ""},
		{"log.roll.ms", "0", "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{"log.cleaner.dedupe.buffer.size", "1", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
		{"max.connections.per.ip", "0", "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."},
	} {
		after, err := b.WithDynamic(nil, Values{c.key: c.value})
		if err == nil {
			err = CheckChange(b, after)
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s=%s: %q, not %q", c.key, c.value, got, c.want)
		}
	}
}
