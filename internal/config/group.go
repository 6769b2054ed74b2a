package config

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/invariant"
)

// GroupConfig is what the settings of a group come to, over the broker's
// group.* keys. It never changes.
type GroupConfig struct {
	Overrides Values // what is set for the group itself
	broker    *BrokerConfig
}

// ResolveGroup works out a group's settings from its overrides and the
// broker's. As with [ResolveTopic] the result is usable in any case, and the
// error names the overrides that were left out or that go beyond the broker's
// bounds.
func ResolveGroup(b *BrokerConfig, overrides map[string]string) (*GroupConfig, error) {
	var errs []error
	kept := make(Values, len(overrides))
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		err := checkOverlayKey(ScopeGroup, key, overrides[key])
		if err == nil {
			err = checkGroupBounds(b, key, overrides[key])
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		kept[key] = strings.TrimSpace(overrides[key])
	}
	g := &GroupConfig{Overrides: kept, broker: b}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, heartbeat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if g.GetLong(session) <= g.GetLong(heartbeat) {
			errs = append(errs, bareError("%s must be greater than %s", session, heartbeat))
		}
	}
	return g, errors.Join(errs...)
}

// CheckGroup checks the settings that a group would have and gives the first thing that is wrong.
func CheckGroup(b *BrokerConfig, overrides map[string]string) error {
	return checkFirst(ScopeGroup, overrides, func() error {
		_, err := ResolveGroup(b, overrides)
		var all interface{ Unwrap() []error }
		if errors.As(err, &all) {
			return all.Unwrap()[0]
		}
		return err
	})
}

// CheckClientMetricsKey tells whether a client metrics subscription has such a key and the key such a value.
func CheckClientMetricsKey(key, value string) error {
	if err := checkOverlayKey(ScopeClientMetrics, key, value); err != nil {
		return err
	}
	if key == "match" {
		return checkMatch(value)
	}
	const least, most = 100, 3_600_000
	if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32); key == "interval.ms" && err == nil && (n < least || n > most) {
		return bareError("Invalid value %d for interval.ms, interval must be between %d and %d (1 hour)", n, least, most)
	}
	return nil
}

// PatternError is a pattern that no client can be matched by.
type PatternError struct{ Pattern string }

// Error is Kafka's text.
func (e *PatternError) Error() string { return "Illegal client matching pattern: " + e.Pattern }

// matchable are the properties of a client that a subscription selects by.
var matchable = []string{
	"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port",
}

// checkMatch checks patterns of the form property=regular expression.
func checkMatch(list string) error {
	for _, pattern := range ParseList(list) {
		property, expression, _ := strings.Cut(pattern, "=")
		_, err := regexp.Compile(strings.TrimSpace(expression))
		if err != nil || expression == "" || strings.Contains(expression, "=") || !slices.Contains(matchable, strings.TrimSpace(property)) {
			return &PatternError{Pattern: pattern}
		}
	}
	return nil
}

func checkOverlayKey(s Scope, key, value string) error {
	d, ok := Lookup(s, key)
	if !ok {
		return &UnknownKeyError{Key: key, Scope: s, Closest: Closest(s, key)}
	}
	return d.Check(value)
}

// checkGroupBounds keeps a group's number between the broker's group.<kind>.min.… and group.<kind>.max.… where the broker has them.
func checkGroupBounds(b *BrokerConfig, key, value string) error {
	d, ok := LookupGroup(key)
	if !ok || d.Type != TypeInt && d.Type != TypeLong {
		return nil
	}
	kind, what, _ := strings.Cut(key, ".")
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return d.Check(value)
	}
	what = strings.TrimPrefix(what, "num.")
	low, high := "group."+kind+".min."+what, "group."+kind+".max."+what
	if _, ok := LookupBroker(low); ok && n < b.GetLong(low) {
		return bareError("%s must be greater than or equal to %s", key, low)
	}
	if _, ok := LookupBroker(high); ok && n > b.GetLong(high) {
		return bareError("%s must be less than or equal to %s", key, high)
	}
	return nil
}

// GetString is the text of a group key, or "" when it has no value.
func (g *GroupConfig) GetString(key string) string {
	d, ok := LookupGroup(key)
	invariant.Check(ok, "config: group key %q is not in the table", key)
	value, _ := resolveThrough(d, g.broker, g.Overrides)
	return value
}

// GetLong is the number of a group key.
func (g *GroupConfig) GetLong(key string) int64 {
	text := g.GetString(key)
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	invariant.Check(err == nil, "config: %s=%q passed as a number", key, text)
	return n
}

// GetInt is the number of a group key.
func (g *GroupConfig) GetInt(key string) int { return int(g.GetLong(key)) }

// ShareReset is where a share group begins that has no state for a partition:
// "latest", "earliest", or "by_duration" with how many ms ago (share.auto.offset.reset).
func (g *GroupConfig) ShareReset() (strategy string, ms int64) {
	text := g.GetString("share.auto.offset.reset")
	strategy, duration, ok := strings.Cut(text, ":")
	if !ok {
		return text, 0
	}
	ms, err := parseISODuration(duration)
	invariant.Check(err == nil, "config: share.auto.offset.reset=%q passed as a duration", text)
	return strategy, ms
}

// GetBool is the truth of a group key.
func (g *GroupConfig) GetBool(key string) bool { return strings.EqualFold(g.GetString(key), "true") }
