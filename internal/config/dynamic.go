package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// perListener are the security keys that can be changed while nodes run for a listener, by its prefix, and not for all of them.
var perListener = []string{
	"ssl.key.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.password",
	"ssl.keystore.type", "ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type",
}

// forAllBrokers are the keys that can be set for a listener by its prefix on all brokers at once.
var forAllBrokers = []string{"max.connections", "max.connection.creation.rate", "num.network.threads"}

// CheckFixed tells whether all of these broker settings can be changed while nodes run, whatever their values: Kafka looks at this first.
func CheckFixed(keys []string) error {
	var fixed, listeners []string
	for _, key := range keys {
		d, ok := LookupBroker(key)
		switch {
		case ok && d.Update == ReadOnly:
			fixed = append(fixed, key)
		case ok && slices.Contains(perListener, key):
			listeners = append(listeners, key)
		}
	}
	switch {
	case fixed != nil:
		return bareError("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))
	case listeners != nil:
		return bareError("These security configs can be dynamically updated only per-listener using the listener prefix: [%s]", strings.Join(listeners, ", "))
	}
	return nil
}

// CheckDynamic tells whether a broker setting can be changed while nodes run:
// for one broker, or (perBroker false) for all of them. The texts are Kafka's.
func CheckDynamic(key, value string, perBroker bool) error {
	d, ok := LookupBroker(key)
	prefixed := false
	if !ok {
		if d, _, prefixed = LookupListener(key); !prefixed {
			// Kafka takes keys it does not know: they may belong to a plugin.
			return nil
		}
	}
	if d.Update == ReadOnly {
		return bareError("Cannot update these configs dynamically: [%s]", key)
	}
	if !prefixed && slices.Contains(perListener, key) {
		return bareError("These security configs can be dynamically updated only per-listener using the listener prefix: [%s]", key)
	}
	if err := d.Check(value); err != nil {
		return err
	}
	if d.Type == TypeClass && !knownClass(d, value) {
		return bareError("Invalid value %s for configuration %s: Class %s could not be found.", value, d.Name, value)
	}
	if !perBroker && (d.Update == PerBroker || prefixed && !slices.Contains(forAllBrokers, d.Name)) {
		return bareError("Cannot update these configs at default cluster level, broker id must be specified: [%s]", key)
	}
	return checkParsed(d.Name, value)
}

// knownClass tells whether the value names a class of Kafka's own; no other can be loaded.
func knownClass(d *Def, value string) bool {
	return value == d.Default || strings.HasPrefix(value, "org.apache.kafka.")
}

// checkParsed checks the keys that have a language of their own.
func checkParsed(key, value string) error {
	switch key {
	case "metric.reporters":
		for _, class := range ParseList(value) {
			if !strings.HasPrefix(class, "org.apache.kafka.") {
				return bareError("Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of Set(%s) failed with class class kafka.server.DynamicMetricsReporters for configuration Invalid dynamic configuration", key)
			}
		}
	case "max.connections.per.ip.overrides", "listener.security.protocol.map":
		for _, entry := range ParseList(value) {
			_, right, ok := cutLast(entry)
			if !ok {
				// Java's complaint about the place of a colon that is not there.
				return bareError("Error parsing configuration property '%s': begin 0, end -1, length %d", key, len(entry))
			}
			if _, err := strconv.ParseInt(right, 10, 32); err != nil && key == "max.connections.per.ip.overrides" {
				return bareError("For input string: \"%s\"", right)
			}
		}
		if key == "listener.security.protocol.map" {
			_, err := ParseSecurityMap(value)
			return err
		}
	case "listeners":
		list := ParseList(value)
		for _, entry := range list {
			name, address, ok := strings.Cut(entry, "://")
			if _, _, fits := splitAddress(address); !ok || name == "" || !fits {
				return bareError("Error creating broker listeners from '[%s]': Unable to parse %s to a broker endpoint", strings.Join(list, ", "), entry)
			}
		}
	}
	return nil
}

// threadPools are the numbers of threads that change in small steps only.
var threadPools = []string{
	"num.io.threads", "num.network.threads", "num.replica.fetchers", "num.recovery.threads.per.data.dir", "background.threads",
	"log.cleaner.threads", "remote.log.reader.threads", "remote.log.manager.copier.thread.pool.size",
	"remote.log.manager.expiration.thread.pool.size", "remote.log.manager.follower.thread.pool.size",
}

// CheckChange tells whether a node may go from one configuration to another while it runs. The texts are Kafka's.
func CheckChange(before, after *BrokerConfig) error {
	switch {
	case after.GetLong("log.roll.ms") < 1:
		return bareError("requirement failed: log.roll.ms must be greater than or equal to 1")
	case after.GetLong("log.roll.jitter.ms") < 0:
		return bareError("requirement failed: log.roll.jitter.ms must be greater than or equal to 0")
	case after.GetLong("log.retention.ms") == 0:
		return bareError("requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
	case after.GetLong("log.cleaner.dedupe.buffer.size")/max(1, after.GetLong("log.cleaner.threads")) <= minCleanerBuffer:
		return bareError("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")
	case after.GetInt("max.connections.per.ip") == 0 && after.GetString("max.connections.per.ip.overrides") == "":
		return bareError("requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.")
	}
	if err := checkThreads(before, after); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(after.effective)) {
		d, _, ok := LookupListener(key)
		if !ok {
			d, ok = LookupBroker(key)
		}
		if !ok || d.Name != "max.connections" && d.Name != "max.connection.creation.rate" || before.effective[key] == after.effective[key] {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(after.effective[key]), 10, 32); err == nil && n <= 0 {
			return bareError("Invalid value org.apache.kafka.common.config.ConfigException: Invalid %s %d for configuration Invalid dynamic configuration", d.Name, n)
		}
	}
	return nil
}

// checkThreads lets numbers of threads change at most to the double or the half.
func checkThreads(before, after *BrokerConfig) error {
	for _, key := range threadPools {
		old, now := before.GetInt(key), after.GetInt(key)
		reason := ""
		switch cleaner := key == "log.cleaner.threads"; {
		case now == old:
		case now < 1 && cleaner:
			reason = "Log cleaner threads should be at least 1"
		case now < 1:
			reason = "value should be at least 1"
		case now < old/2 && cleaner:
			reason = fmt.Sprintf("Log cleaner threads cannot be reduced to less than half the current value %d", old)
		case now < old/2:
			reason = fmt.Sprintf("value should be at least half the current value %d", old)
		case now > old*2 && cleaner:
			reason = fmt.Sprintf("Log cleaner threads cannot be increased to more than double the current value %d", old)
		case now > old*2:
			reason = fmt.Sprintf("value should not be greater than double the current value %d", old)
		}
		if reason == "" {
			continue
		}
		if key != "log.cleaner.threads" {
			reason = fmt.Sprintf("Dynamic thread count update validation failed for %s=%d, %s", key, now, reason)
		}
		return bareError("Invalid value org.apache.kafka.common.config.ConfigException: %s for configuration Invalid dynamic configuration", reason)
	}
	return nil
}

// cutLast parts an entry at its last colon: an address of IPv6 has others.
func cutLast(entry string) (left, right string, ok bool) {
	i := strings.LastIndexByte(entry, ':')
	if i < 0 {
		return entry, "", false
	}
	return strings.TrimSpace(entry[:i]), strings.TrimSpace(entry[i+1:]), true
}

// CheckDynamicBroker checks what depends on the broker's other settings.
func (b *BrokerConfig) CheckDynamicBroker(key, value string) error {
	switch key {
	case "cordoned.log.dirs":
		var missing []string
		for _, dir := range ParseList(value) {
			if dir != "*" && !slices.Contains(b.LogDirs(), dir) {
				missing = append(missing, dir)
			}
		}
		if missing != nil {
			return fmt.Errorf("requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : %s", strings.Join(missing, ", "))
		}
	case "listener.security.protocol.map":
		protocols, err := ParseSecurityMap(value)
		if err != nil {
			return err
		}
		listeners := b.GetList("listeners")
		for _, l := range listeners {
			name, _, _ := strings.Cut(l, "://")
			if _, ok := protocols[strings.ToUpper(name)]; !ok {
				return bareError("Error creating broker listeners from '[%s]': No security protocol defined for listener %s", strings.Join(listeners, ", "), strings.ToUpper(name))
			}
		}
	case "listeners":
		protocols, err := ParseSecurityMap(b.GetString("listener.security.protocol.map"))
		if err != nil {
			return err
		}
		_, err = ParseListeners(value, protocols)
		return err
	}
	return nil
}
