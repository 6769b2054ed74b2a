package config

import (
	"slices"
	"strings"
)

// UnknownKeyError is a setting that no table has.
type UnknownKeyError struct {
	Key     string
	Scope   Scope
	Closest []string // the most alike known keys, the likeliest first
}

// Error names the key, and the keys that may have been meant. For topics it begins as Kafka's text does.
func (e *UnknownKeyError) Error() string {
	text := "Unknown " + e.Scope.String() + " config name: " + e.Key
	switch len(e.Closest) {
	case 0:
		return text
	case 1:
		return text + " (did you mean " + e.Closest[0] + "?)"
	default:
		last := len(e.Closest) - 1
		return text + " (did you mean " + strings.Join(e.Closest[:last], ", ") + " or " + e.Closest[last] + "?)"
	}
}

// maxSuggestions bounds how many keys an error names.
const maxSuggestions = 3

// maxKeyLength bounds the keys that are compared; a longer one is not a typing error.
const maxKeyLength = 200

// Closest is the known keys most like name, at most three, the likeliest
// first; none when nothing is near.
func Closest(s Scope, name string) []string {
	if len(name) > maxKeyLength {
		return nil
	}
	type near struct {
		key  string
		away int
	}
	var found []near
	limit := max(2, len(name)/4)
	name = strings.ToLower(name)
	for i := range Table(s) {
		d := &Table(s)[i]
		if d.Internal {
			continue
		}
		if away := distance(name, d.Name); away <= limit {
			found = append(found, near{d.Name, away})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.away - b.away })
	var keys []string
	for _, f := range found {
		// Far ones only add noise beside a very near one.
		if len(keys) == maxSuggestions || f.away > 2*found[0].away+1 {
			break
		}
		keys = append(keys, f.key)
	}
	return keys
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour to get from a to b.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	previous := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(previous[j]+1, row[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, previous, row = previous, row, before
	}
	return previous[len(b)]
}

// passedThrough reports whether a key is the business of a plugin, under a
// prefix that Kafka hands on unread.
func passedThrough(key string) bool {
	for _, prefix := range []string{"rlmm.config.", "rsm.config.", "remote.log.metadata.", "config.providers.", "metrics.context."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// removedNotice says what became of a key that files written for Kafka before 4.0 still hold, or "" for any other.
func removedNotice(key string) string {
	switch key {
	case "inter.broker.protocol.version":
		return "was removed in Kafka 4.0: the cluster's metadata.version takes its place"
	case "log.message.format.version", "message.format.version":
		return "was removed in Kafka 4.0: all new batches have format 2"
	case "log.message.downconversion.enable", "message.downconversion.enable":
		return "was removed in Kafka 4.0: clients that need older formats are no longer served"
	case "log.message.timestamp.difference.max.ms":
		return "was removed in Kafka 4.0: set log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"
	case "auto.include.jmx.reporter", "control.plane.listener.name", "controlled.shutdown.max.retries", "controlled.shutdown.retry.backoff.ms",
		"offsets.commit.required.acks", "reserved.broker.max.id", "broker.id.generation.enable", "delegation.token.master.key",
		"group.coordinator.new.enable",
		"leader.imbalance.per.broker.percentage":
		return "was removed in Kafka 4.0"
	}
	if strings.HasPrefix(key, "zookeeper.") || strings.HasPrefix(key, "password.encoder.") {
		return "belonged to ZooKeeper mode, which Kafka 4.0 removed"
	}
	return ""
}
