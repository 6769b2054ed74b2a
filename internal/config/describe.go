package config

import (
	"maps"
	"slices"
	"strings"
)

// Source says which layer a value comes from, numbered as DescribeConfigs writes it (KIP-226).
type Source int8

// The sources of values.
const (
	SourceUnknown              Source = 0
	SourceDynamicTopic         Source = 1
	SourceDynamicBroker        Source = 2
	SourceDynamicDefaultBroker Source = 3
	SourceStaticBroker         Source = 4
	SourceDefault              Source = 5
	SourceDynamicBrokerLogger  Source = 6
	SourceDynamicClientMetrics Source = 7
	SourceDynamicGroup         Source = 8
)

// Layered is one value of a key or of its synonym, and its layer.
type Layered struct {
	Name   string
	Value  string
	Null   bool // there is no value, or it must not be shown
	Source Source
}

// Entry is all that DescribeConfigs answers on one key.
type Entry struct {
	Name      string
	Value     string
	Null      bool // there is no value, or it must not be shown
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Doc       string
	// Undocumented entries have no text even where one is asked for.
	Undocumented bool
	// Synonyms is where the value comes from and what it would be otherwise, the strongest first.
	Synonyms []Layered
}

// DescribeTopic answers on the keys of a topic: on those named, or on all when names is nil. Unknown names get no answer.
func DescribeTopic(b *BrokerConfig, overrides Values, names []string) []Entry {
	return describeOverlay(b, ScopeTopic, SourceDynamicTopic, overrides, names)
}

// DescribeGroup answers on the keys of a group (KIP-848), as [DescribeTopic] does for topics.
func DescribeGroup(b *BrokerConfig, overrides Values, names []string) []Entry {
	return describeOverlay(b, ScopeGroup, SourceDynamicGroup, overrides, names)
}

// DescribeClientMetrics answers on the keys of a client metrics subscription (KIP-714).
func DescribeClientMetrics(b *BrokerConfig, overrides Values, names []string) []Entry {
	return describeOverlay(b, ScopeClientMetrics, SourceDynamicClientMetrics, overrides, names)
}

func describeOverlay(b *BrokerConfig, scope Scope, own Source, overrides Values, names []string) []Entry {
	var out []Entry
	for i := range Table(scope) {
		d := &Table(scope)[i]
		if d.Internal || names != nil && !slices.Contains(names, d.Name) {
			continue
		}
		e := d.entry(false)
		value, ok := resolveThrough(d, b, overrides)
		e.setValue(d, value, ok)
		if v, ok := overrides[d.Name]; ok {
			e.Synonyms = append(e.Synonyms, d.layered(d.Name, d.Show(v), own))
		}
		if len(d.Synonyms) > 0 {
			if base, ok := LookupBroker(d.Synonyms[0].Name); ok {
				e.Synonyms = append(e.Synonyms, b.layers(base.Name, base)...)
			}
		} else if text, ok := d.DefaultValue(); ok && scope == ScopeGroup {
			e.Synonyms = append(e.Synonyms, d.layered(d.Name, text, SourceDefault))
		}
		e.Source = sourceOf(e.Synonyms)
		out = append(out, e)
	}
	return out
}

// DescribeBroker answers on the keys of this broker: on those named, or on all
// when names is nil, with the settings that carry a listener's prefix.
//
// Differs from Kafka: super.users and allow.everyone.if.no.acl.found are settings like others, shown and not to be changed while nodes
// run; Kafka takes them for a plugin's, hides them, and stores changes that nothing comes of.
func DescribeBroker(b *BrokerConfig, names []string) []Entry {
	keys := names
	if names == nil {
		for i := range brokerTable {
			keys = append(keys, brokerTable[i].Name)
		}
		for _, key := range slices.Sorted(maps.Keys(b.effective)) {
			if _, _, ok := LookupListener(key); ok {
				keys = append(keys, key)
			}
		}
	}
	var out []Entry
	for i, key := range keys {
		if slices.Contains(names[:min(i, len(names))], key) {
			continue
		}
		if e, ok := b.describe(key, false); ok {
			out = append(out, e)
		}
	}
	return out
}

// DescribeCluster answers on the dynamic defaults of all brokers: the keys that are set there, and no others.
func DescribeCluster(b *BrokerConfig, names []string) []Entry {
	var out []Entry
	for _, key := range slices.Sorted(maps.Keys(b.dynamicCluster)) {
		if names != nil && !slices.Contains(names, key) {
			continue
		}
		if e, ok := b.describe(key, true); ok {
			out = append(out, e)
		} else if _, known := LookupBroker(key); !known {
			// A plugin's key, as far as anybody knows: it is kept, and its value not shown.
			hidden := Layered{Name: key, Null: true, Source: SourceDynamicDefaultBroker}
			out = append(out, Entry{Name: key, Null: true, Sensitive: true, Source: hidden.Source, Synonyms: []Layered{hidden}})
		}
	}
	return out
}

func (b *BrokerConfig) describe(key string, clusterOnly bool) (Entry, bool) {
	d, known := LookupBroker(key)
	if !known {
		if d, _, known = LookupListener(key); !known || b.effective[key] == "" {
			return Entry{}, false
		}
	}
	if d.Internal {
		return Entry{}, false
	}
	e := d.entry(d.Update == ReadOnly)
	e.Name = key
	e.Synonyms = b.layers(key, d)
	if clusterOnly {
		e.Synonyms = slices.DeleteFunc(e.Synonyms, func(l Layered) bool { return l.Source != SourceDynamicDefaultBroker })
		value, ok := b.dynamicCluster[key]
		if e.Null = !ok || d.Sensitive(); !e.Null {
			e.Value = value // as it was written
		}
	} else if value, ok := b.effective[key]; ok {
		e.setValue(d, value, true)
	} else {
		// Kafka shows a broker key by itself; what a synonym would give is among the synonyms.
		value, ok := d.DefaultValue()
		e.setValue(d, value, ok)
	}
	if IsQuotaRate(key) {
		if e.Synonyms = slices.DeleteFunc(e.Synonyms, func(l Layered) bool { return l.Source == SourceDefault }); len(e.Synonyms) == 0 {
			return Entry{}, false
		}
		e.Undocumented = true
	}
	e.Source = sourceOf(e.Synonyms)
	return e, true
}

// IsQuotaRate tells whether a broker's key is one of the rates of replication, which Kafka does not count among its settings.
func IsQuotaRate(key string) bool { return slices.Contains(quotaRates, key) }

// quotaRates are described only where they are set, and without documentation: in Kafka they are no settings of a file.
var quotaRates = []string{
	"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second",
}

// entry is the part of an answer that the table knows.
func (d *Def) entry(readOnly bool) Entry {
	return Entry{Name: d.Name, Type: d.Type, Doc: d.Doc, Sensitive: d.Sensitive(), ReadOnly: readOnly, Source: SourceDefault}
}

func (e *Entry) setValue(d *Def, value string, ok bool) {
	e.Null = !ok || d.Sensitive()
	if !e.Null {
		e.Value = d.Show(value)
	}
}

// layered is a value as it may be shown: as it was written.
func (d *Def) layered(name, value string, source Source) Layered {
	if d.Sensitive() {
		return Layered{Name: name, Null: true, Source: source}
	}
	return Layered{Name: name, Value: value, Source: source}
}

// Show is value in the one form that Kafka shows it in: without space around it or its elements, true and false in small letters.
func (d *Def) Show(value string) string {
	value = strings.TrimSpace(value)
	switch d.Type {
	case TypeBoolean:
		return strings.ToLower(value)
	case TypeList:
		list := ParseList(value)
		if d.Rule.Kind == RuleList { // in which Kafka keeps each element once
			list = distinct(list)
		}
		return strings.Join(list, ",")
	case TypeDouble:
		if x, err := parseDouble(value); err == nil {
			return javaDouble(x)
		}
		return value
	default:
		return value
	}
}

func distinct(list []string) []string {
	var out []string
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func sourceOf(synonyms []Layered) Source {
	if len(synonyms) == 0 {
		return SourceDefault
	}
	return synonyms[0].Source
}

// layers is every value that bears on a broker key, the strongest first,
// beginning with the first that is set under the key's own name: as Kafka
// does it, so that a default in another unit does not show as a synonym.
func (b *BrokerConfig) layers(key string, d *Def) []Layered {
	names := []string{key}
	if key != d.Name {
		names = append(names, d.Name)
	} else {
		names = unitNames(d)
	}
	var all []Layered
	for _, layer := range []struct {
		values Values
		source Source
	}{{b.dynamicBroker, SourceDynamicBroker}, {b.dynamicCluster, SourceDynamicDefaultBroker}, {b.static, SourceStaticBroker}} {
		for _, name := range names {
			if v, ok := layer.values[name]; ok {
				all = append(all, d.layered(name, v, layer.source))
			}
		}
	}
	for _, name := range names {
		if n, ok := LookupBroker(name); ok && n.Preset == PresetValue {
			all = append(all, n.layered(name, n.Default, SourceDefault))
		}
	}
	first := slices.IndexFunc(all, func(l Layered) bool { return l.Name == key })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// unitNames is a key together with the keys that give the same time in other units, the finest unit first.
func unitNames(d *Def) []string {
	family := d
	for _, finest := range []string{"log.retention.ms", "log.roll.ms", "log.roll.jitter.ms"} {
		if f, ok := LookupBroker(finest); ok && slices.ContainsFunc(f.Synonyms, func(s Synonym) bool { return s.Name == d.Name }) {
			family = f
		}
	}
	names := []string{family.Name}
	for _, s := range family.Synonyms {
		names = append(names, s.Name)
	}
	return names
}
