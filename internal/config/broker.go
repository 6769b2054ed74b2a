package config

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/invariant"
)

// Values is a set of settings: text by key. A missing key means that nobody set it.
type Values map[string]string

// BrokerConfig is what a node's settings come to. The layers, from the
// strongest: dynamic for this broker, dynamic for the cluster, static (file,
// environment and command line), default. It never changes.
type BrokerConfig struct {
	static         Values
	dynamicCluster Values
	dynamicBroker  Values
	effective      Values // the three layers merged
}

// NewBroker takes the static settings. The error names each key that is
// unknown and each value that is not valid; how the settings go together is
// the business of [BrokerConfig.CheckNode].
func NewBroker(static Values) (*BrokerConfig, error) {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(static)) {
		if err := checkBrokerKey(key, static[key]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	b := &BrokerConfig{static: Values{}}
	maps.Copy(b.static, static)
	b.nameBoth("node.id", "broker.id")
	b.nameBoth("broker.id", "node.id")
	b.merge()
	return b, nil
}

// nameBoth gives other the value of key, as Kafka does with the two names of a node's number.
func (b *BrokerConfig) nameBoth(key, other string) {
	if v, ok := b.static[key]; ok && b.static[other] == "" {
		b.static[other] = v
	}
}

// checkBrokerKey checks a value against the key's own rule.
func checkBrokerKey(key, value string) error {
	if d, ok := LookupBroker(key); ok {
		return d.Check(value)
	}
	if d, _, ok := LookupListener(key); ok {
		return d.Check(value)
	}
	if passedThrough(key) || removedNotice(key) != "" {
		return nil
	}
	return &UnknownKeyError{Key: key, Scope: ScopeBroker, Closest: Closest(ScopeBroker, key)}
}

// WithDynamic is b with other dynamic settings: those of the whole cluster and
// those of this broker. Settings that are unknown, read-only or not valid are
// left out, as Kafka does with what it finds in the metadata log; the error
// names them, and the result is usable all the same.
func (b *BrokerConfig) WithDynamic(cluster, broker Values) (*BrokerConfig, error) {
	var errs []error
	take := func(from Values, perBroker bool) Values {
		to := make(Values, len(from))
		for _, key := range slices.Sorted(maps.Keys(from)) {
			if err := CheckDynamic(key, from[key], perBroker); err != nil {
				errs = append(errs, err)
				continue
			}
			to[key] = from[key]
		}
		return to
	}
	next := &BrokerConfig{static: b.static, dynamicCluster: take(cluster, false), dynamicBroker: take(broker, true)}
	next.merge()
	return next, errors.Join(errs...)
}

// merge lays the layers over each other. A stronger layer that gives a time in
// one unit takes away what a weaker one gives in another.
func (b *BrokerConfig) merge() {
	b.effective = maps.Clone(b.static)
	for _, layer := range []Values{b.dynamicCluster, b.dynamicBroker} {
		for key := range layer {
			if d, ok := LookupBroker(key); ok {
				for _, name := range unitNames(d) {
					delete(b.effective, name)
				}
			}
		}
		maps.Copy(b.effective, layer)
	}
}

// Lookup is the value of a key, its synonyms (converted to its unit) or its
// default, and whether there is one. The key must be in the table.
func (b *BrokerConfig) Lookup(key string) (string, bool) {
	d, known := LookupBroker(key)
	invariant.Check(known, "config: broker key %q is not in the table", key)
	if v, ok := b.set(d); ok {
		return v, true
	}
	for _, s := range d.Synonyms {
		if v, ok := LookupBroker(s.Name); ok && v.Preset == PresetValue {
			return convert(v.Default, s.Factor), true
		}
	}
	return d.DefaultValue()
}

// set is the value that somebody set for d or one of its synonyms.
func (b *BrokerConfig) set(d *Def) (string, bool) {
	if v, ok := b.effective[d.Name]; ok {
		return strings.TrimSpace(v), true
	}
	for _, s := range d.Synonyms {
		if v, ok := b.effective[s.Name]; ok {
			return convert(v, s.Factor), true
		}
	}
	return "", false
}

// convert multiplies the number in text by factor. Infinite (-1) stays infinite, and what
// does not fit into 64 bits becomes the largest number.
func convert(text string, factor int64) string {
	text = strings.TrimSpace(text)
	if factor <= 1 {
		return text
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return text
	}
	if n < 0 {
		return "-1"
	}
	if n > maxLong/factor {
		return strconv.FormatInt(maxLong, 10)
	}
	return strconv.FormatInt(n*factor, 10)
}

const maxLong = 1<<63 - 1

// IsSet reports whether somebody set the key or a synonym of it.
func (b *BrokerConfig) IsSet(key string) bool {
	d, known := LookupBroker(key)
	invariant.Check(known, "config: broker key %q is not in the table", key)
	_, ok := b.set(d)
	return ok
}

// GetString is the text of a key, or "" when it has no value.
func (b *BrokerConfig) GetString(key string) string {
	v, _ := b.Lookup(key)
	return v
}

// GetInt is the number of an INT or SHORT key, or 0 when it has no value.
func (b *BrokerConfig) GetInt(key string) int { return int(b.GetLong(key)) }

// GetLong is the number of an INT, SHORT or LONG key, or 0 when it has no value.
func (b *BrokerConfig) GetLong(key string) int64 {
	v, ok := b.Lookup(key)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	invariant.Check(err == nil, "config: %s=%q passed as a number", key, v)
	return n
}

// GetDouble is the number of a DOUBLE key, or 0 when it has no value.
func (b *BrokerConfig) GetDouble(key string) float64 {
	v, ok := b.Lookup(key)
	if !ok {
		return 0
	}
	x, err := parseDouble(v)
	invariant.Check(err == nil, "config: %s=%q passed as a number", key, v)
	return x
}

// GetBool is the truth of a BOOLEAN key, or false when it has no value.
func (b *BrokerConfig) GetBool(key string) bool {
	v, ok := b.Lookup(key)
	if !ok {
		return false
	}
	x, err := ParseBool(v)
	invariant.Check(err == nil, "config: %s=%q passed as true or false", key, v)
	return x
}

// GetList is the elements of a LIST key. What comes twice is taken once, as in Kafka.
func (b *BrokerConfig) GetList(key string) []string {
	var out []string
	for _, v := range ParseList(b.GetString(key)) {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// ForListener is the text of a key as it holds for a listener: the listener's
// own (listener.name.<listener>.<key>) before the general one, with the key's
// default where nobody set it. The key may begin with a SASL mechanism
// ("scram-sha-256.sasl.jaas.config"). Such a key has no general one, as in
// Kafka, with one exception: connections.max.reauth.ms.
func (b *BrokerConfig) ForListener(listener, key string) (string, bool) {
	if v, ok := b.effective[ListenerPrefix(listener)+key]; ok {
		return strings.TrimSpace(v), true
	}
	if _, known := LookupBroker(key); known {
		return b.Lookup(key)
	}
	if _, base, ok := strings.Cut(key, "."); ok && base == "connections.max.reauth.ms" {
		return b.ForListener(listener, base)
	}
	return "", false
}

// ListenerPrefix is what a listener's own settings begin with.
func ListenerPrefix(listener string) string {
	return "listener.name." + strings.ToLower(listener) + "."
}

// Prefixed is the settings whose key starts with prefix, by the rest of the key: what is handed to a plugin.
func (b *BrokerConfig) Prefixed(prefix string) Values {
	out := Values{}
	for k, v := range b.effective {
		if rest, ok := strings.CutPrefix(k, prefix); ok {
			out[rest] = v
		}
	}
	return out
}

// NodeID is node.id, or broker.id where only that is set, or -1.
func (b *BrokerConfig) NodeID() int32 {
	if b.IsSet("node.id") {
		return int32(b.GetInt("node.id"))
	}
	return -1
}

// LogDirs is the data directories: log.dirs, or log.dir where only that is set.
func (b *BrokerConfig) LogDirs() []string {
	if dirs := b.GetList("log.dirs"); len(dirs) > 0 {
		return dirs
	}
	return b.GetList("log.dir")
}

// MetadataLogDir is where the metadata log lies: metadata.log.dir, or the first data directory.
func (b *BrokerConfig) MetadataLogDir() string {
	if dir := b.GetString("metadata.log.dir"); dir != "" {
		return dir
	}
	return b.LogDirs()[0]
}

// HasRole reports whether process.roles holds role ("broker" or "controller").
func (b *BrokerConfig) HasRole(role string) bool {
	return slices.Contains(b.GetList("process.roles"), role)
}
