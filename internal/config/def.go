package config

import (
	"math"
	"slices"
	"strings"
)

// Type is the type of a setting's value, numbered as DescribeConfigs writes it
// (KIP-569).
type Type int8

// The types of values.
const (
	TypeUnknown  Type = 0
	TypeBoolean  Type = 1
	TypeString   Type = 2
	TypeInt      Type = 3 // 32 bits
	TypeShort    Type = 4 // 16 bits
	TypeLong     Type = 5 // 64 bits
	TypeDouble   Type = 6
	TypeList     Type = 7 // comma separated
	TypeClass    Type = 8 // the name of a Java class
	TypePassword Type = 9 // never shown
)

// String is Kafka's name of the type, in capitals.
func (t Type) String() string {
	names := [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}
	if t < 0 || int(t) >= len(names) {
		return names[0]
	}
	return names[t]
}

// Importance says how likely it is that an operator needs to know a key.
type Importance int8

// The importances, from the most important.
const (
	High Importance = iota
	Medium
	Low
)

// String is Kafka's name of the importance, in capitals.
func (i Importance) String() string {
	switch i {
	case High:
		return "HIGH"
	case Medium:
		return "MEDIUM"
	default:
		return "LOW"
	}
}

// Scope is the kind of resource that a key belongs to.
type Scope int8

// The scopes.
const (
	ScopeBroker Scope = iota
	ScopeTopic
	ScopeGroup
	ScopeClientMetrics
)

// String is the scope as kafka-configs.sh names the entity.
func (s Scope) String() string {
	switch s {
	case ScopeBroker:
		return "broker"
	case ScopeTopic:
		return "topic"
	case ScopeGroup:
		return "group"
	default:
		return "client-metrics"
	}
}

// Update says how a broker key can be changed while the node runs. Keys of
// the other scopes can be changed always.
type Update int8

// The ways of changing a broker key.
const (
	ReadOnly    Update = iota // by a restart
	PerBroker                 // for one broker
	ClusterWide               // for one broker or for all of them
)

// String is the mode as Kafka's documentation names it.
func (u Update) String() string {
	switch u {
	case PerBroker:
		return "per-broker"
	case ClusterWide:
		return "cluster-wide"
	default:
		return "read-only"
	}
}

// Preset says what a key has when nobody sets it.
type Preset int8

// The kinds of default.
const (
	PresetValue Preset = iota // Def.Default
	PresetNull                // no value
	PresetNone                // the key must be set by whoever needs it
)

// Support says what Moldau does with a key.
type Support int8

// The kinds of support.
const (
	Honoured Support = iota // does what it says
	Planned                 // accepted and checked; the part that it steers is not there yet
	JVMOnly                 // accepted with a notice; it steers something that only a JVM has
)

// RuleKind picks the check of a value beyond its type.
type RuleKind int8

// The kinds of rule, each as Kafka has it.
const (
	RuleNone              RuleKind = iota
	RuleRange                      // Min ≤ number ≤ Max
	RuleOneOf                      // text is one of Values
	RuleOneOfFold                  // the same, whatever the case
	RuleList                       // no element empty, each one of Values if there are any
	RuleNonEmpty                   // text with at least one character, if there is text
	RuleGzipLevel                  // 1 to 9, or -1
	RuleThrottledReplicas          // "*", or partition:broker pairs
	RuleVoters                     // id@host:port entries
	RuleServers                    // host:port entries
	RuleOffsetReset                // latest, earliest or by_duration:… (KIP-932)
)

// NoMax is the Max of a range that has no upper end.
const NoMax = math.MaxFloat64

// Rule is what a value must satisfy beyond its type.
type Rule struct {
	Kind     RuleKind
	Min, Max float64
	Values   []string
	// NotEmpty refuses the empty list.
	NotEmpty bool
}

// Synonym is another key that gives a value when the first is not set.
type Synonym struct {
	Name string
	// Factor turns the synonym's number into the unit of the first key: 60000 for minutes to milliseconds.
	// 0 and 1 mean that the value is taken as it is.
	Factor int64
}

// Def is all that is known of one key.
type Def struct {
	Name       string
	Type       Type
	Default    string // the text of the default, if Preset is PresetValue
	Preset     Preset
	Importance Importance
	Rule       Rule
	Update     Update
	// Synonyms are the broker keys that stand in for a topic or group key, in order; and for the three times of a
	// broker that exist in several units, the other units.
	Synonyms []Synonym
	// Internal keys work but are neither described nor documented.
	Internal bool
	Support  Support
	// Own keys are Moldau's; Kafka refuses or ignores them.
	Own bool
	// Doc is one sentence on what the key does.
	Doc string
}

// Sensitive reports whether the value must never be shown.
func (d *Def) Sensitive() bool { return d.Type == TypePassword }

// DefaultValue is the default as text, and whether there is one.
func (d *Def) DefaultValue() (string, bool) { return d.Default, d.Preset == PresetValue }

// LookupBroker finds a broker key by its whole name. Keys with a listener's prefix are found by [LookupListener].
func LookupBroker(name string) (*Def, bool) { return lookup(brokerTable, name) }

// LookupTopic finds a topic key.
func LookupTopic(name string) (*Def, bool) { return lookup(topicTable, name) }

// LookupGroup finds a group key (KIP-848, KIP-932, KIP-1071).
func LookupGroup(name string) (*Def, bool) { return lookup(groupTable, name) }

// LookupClientMetrics finds a key of a client metrics subscription (KIP-714).
func LookupClientMetrics(name string) (*Def, bool) { return lookup(clientMetricsTable, name) }

// Lookup finds a key of any scope.
func Lookup(s Scope, name string) (*Def, bool) { return lookup(Table(s), name) }

// Table is all keys of a scope in sorted order. It must not be changed.
func Table(s Scope) []Def {
	switch s {
	case ScopeBroker:
		return brokerTable
	case ScopeTopic:
		return topicTable
	case ScopeGroup:
		return groupTable
	default:
		return clientMetricsTable
	}
}

func lookup(table []Def, name string) (*Def, bool) {
	i, ok := slices.BinarySearchFunc(table, name, func(d Def, n string) int { return strings.Compare(d.Name, n) })
	if !ok {
		return nil, false
	}
	return &table[i], true
}

// LookupListener finds the broker key behind listener.name.<listener>.<key> or
// listener.name.<listener>.<mechanism>.<key> (KIP-226), and names that listener
// in lower case, as it was written.
func LookupListener(name string) (d *Def, listener string, ok bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return nil, "", false
	}
	listener, key, ok := strings.Cut(rest, ".")
	if !ok || listener == "" {
		return nil, "", false
	}
	if d, ok = LookupBroker(key); ok {
		return d, listener, true
	}
	if _, base, cut := strings.Cut(key, "."); cut {
		if d, ok = LookupBroker(base); ok && perMechanism(base) {
			return d, listener, true
		}
	}
	return nil, "", false
}

// perMechanism reports whether a key may be set per SASL mechanism of a listener.
func perMechanism(key string) bool {
	switch key {
	case "connections.max.reauth.ms", "sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class":
		return true
	}
	return strings.HasPrefix(key, "sasl.oauthbearer.")
}
