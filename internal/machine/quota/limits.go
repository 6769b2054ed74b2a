package quota

import (
	"strings"

	"github.com/moldau/moldau/internal/machine/metadata"
)

// Kind is what a quota limits.
type Kind uint8

// The kinds of client quotas, in the order of Key.
const (
	Produce  Kind = iota // bytes of Produce requests a second
	Fetch                // bytes of Fetch responses a second
	Request              // time of the node's processors, in per cent of one
	Mutation             // partitions created and deleted a second
	Kinds
)

// Key is the name of the kind in the metadata and in kafka-configs.
func (k Kind) Key() string {
	return [...]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}[k]
}

// ConnectionRate is the name of the limit on new connections of an address (KIP-612).
const ConnectionRate = "connection_creation_rate"

// Types of the parts of an entity.
const (
	typeUser   = "user"
	typeClient = "client-id"
	typeIP     = "ip"
)

// part is a user or a client id in a limit: absent, the default one, or a name.
type part struct {
	set  partKind
	name string
}

type partKind uint8

const (
	absent partKind = iota
	byDefault
	named
)

func partOf(name *string) part {
	if name == nil {
		return part{set: byDefault}
	}
	return part{set: named, name: *name}
}

// level is one of the eight levels with its names.
type level struct{ user, client part }

// Entity is whose use is counted together: a user, a client id, or both. What is empty does not matter.
type Entity struct{ User, Client string }

// Limits is all limits of the cluster, immutable.
type Limits struct {
	kinds [Kinds]map[level]float64
	// addresses are limits on new connections; fallback is that of all others, 0 for none.
	addresses map[string]float64
	fallback  float64
}

// NewLimits takes the limits out of the metadata.
func NewLimits(all []*metadata.Quota) *Limits {
	l := &Limits{addresses: map[string]float64{}}
	for k := range l.kinds {
		l.kinds[k] = map[level]float64{}
	}
	for _, q := range all {
		l.add(q)
	}
	return l
}

func (l *Limits) add(q *metadata.Quota) {
	var at level
	for i := range q.Entity {
		switch p := partOf(q.Entity[i].EntityName); q.Entity[i].EntityType {
		case typeUser:
			at.user = p
		case typeClient:
			at.client = p
		case typeIP:
			if rate, ok := q.Values[ConnectionRate]; ok && p.set == named {
				l.addresses[p.name] = rate
			} else if ok {
				l.fallback = rate
			}
			return
		}
	}
	for k := range Kinds {
		if bound, ok := q.Values[k.Key()]; ok {
			l.kinds[k][at] = bound
		}
	}
}

// Any tells whether there is a limit of the kind at all.
func (l *Limits) Any(k Kind) bool { return len(l.kinds[k]) > 0 }

// Addresses are the limits on new connections by address, and that of all others, 0 for none.
func (l *Limits) Addresses() (single map[string]float64, fallback float64) {
	return l.addresses, l.fallback
}

// Find gives the limit that holds for a user and a client id, and whose use it bounds; ok is false without one.
//
// The most specific level that is set decides: user and client id, user and any client id, user, any user and client id,
// any user and any client id, any user, client id, any client id (KIP-55). As in Kafka, a client without an id that is
// found by a level with client ids has the limit of its user, if there is one.
func (l *Limits) Find(k Kind, user, client string) (who Entity, bound float64, ok bool) {
	set := l.kinds[k]
	if len(set) == 0 {
		return Entity{}, 0, false
	}
	u, c, anyone := part{named, user}, part{named, client}, part{set: byDefault}
	has := func(user, client part) bool { _, ok := set[level{user, client}]; return ok }
	switch {
	case has(u, c), has(u, anyone):
		who = Entity{user, client}
	case has(u, part{}):
		who = Entity{User: user}
	case has(anyone, c), has(anyone, anyone):
		who = Entity{user, client}
	case has(anyone, part{}):
		who = Entity{User: user}
	default:
		who = Entity{Client: client}
	}
	bound, ok = l.bound(set, who)
	return who, bound, ok
}

// bound is the limit of an entity.
func (l *Limits) bound(set map[level]float64, who Entity) (float64, bool) {
	u, c, anyone := part{named, who.User}, part{named, who.Client}, part{set: byDefault}
	var order []level
	switch {
	case who.User != "" && who.Client != "":
		order = []level{{u, c}, {u, anyone}, {anyone, c}, {anyone, anyone}}
	case who.User != "":
		order = []level{{u, part{}}, {anyone, part{}}}
	case who.Client != "":
		order = []level{{part{}, c}, {part{}, anyone}}
	}
	for _, at := range order {
		if bound, ok := set[at]; ok {
			return bound, true
		}
	}
	return 0, false
}

// Sanitize is a user's name as Kafka's metrics show it: what is not a letter, a digit or one of -._ is encoded as in a URL.
func Sanitize(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
