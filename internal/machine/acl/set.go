package acl

import (
	"maps"
	"net/netip"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Config is what the settings say.
type Config struct {
	SuperUsers    []string // super.users, each "User:alice"
	AllowIfNoRule bool     // allow.everyone.if.no.acl.found
}

// Set is all rules of one moment. It never changes and may be used by many goroutines.
type Set struct {
	config Config
	supers map[principal]struct{}
	rules  map[wire.UUID]*Rule
	types  [User + 1]typed
}

// Question is what is asked.
type Question struct {
	PrincipalType, PrincipalName string
	Host                         netip.Addr // a zone is not looked at
	Operation                    Operation
	Type                         ResourceType
	Name                         string // ignored by [Set.Any]
}

// Decision is the answer to a question.
type Decision struct {
	Allowed bool
	Rule    *Rule // nil: none decided
	Why     Reason
}

type principal struct{ kind, name string }

// everybody is what rules call all principals; it is not a principal of that name.
var everybody = principal{"User", Wildcard}

// ParseSuperUsers divides the setting super.users: principals between semicolons. The first that is none is returned as bad.
func ParseSuperUsers(text string) (users []string, bad string) {
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if _, _, ok := SplitPrincipal(part); !ok {
			return nil, part
		}
		users = append(users, part)
	}
	return users, ""
}

// NewSet makes a set of the rules that records hold.
func NewSet(c Config, rules []*wire.AccessControlEntryRecord) *Set {
	s := &Set{config: c, supers: map[principal]struct{}{}, rules: map[wire.UUID]*Rule{}}
	for _, text := range c.SuperUsers {
		if kind, name, ok := SplitPrincipal(text); ok {
			s.supers[principal{kind, name}] = struct{}{}
		}
	}
	return s.With(rules, nil)
}

// SetOf makes a set of rules whose ids do not matter.
func SetOf(c Config, rules []Rule) *Set {
	records := make([]*wire.AccessControlEntryRecord, len(rules))
	for i := range rules {
		records[i] = rules[i].Record()
		records[i].ID = wire.UUID{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
	}
	return NewSet(c, records)
}

// With is the set with rules added and others, named by their ids, removed. A rule whose id is there already takes the place
// of the old one; an id that is not there is no error.
func (s *Set) With(added []*wire.AccessControlEntryRecord, removed []wire.UUID) *Set {
	n := &Set{config: s.config, supers: s.supers, rules: maps.Clone(s.rules), types: s.types}
	e := edit{touched: map[subjectKey][]change{}}
	for _, id := range removed {
		n.drop(id, &e)
	}
	for _, r := range added {
		n.drop(r.ID, &e)
		rule := RuleOf(r)
		n.rules[r.ID] = &rule
		e.note(&rule, false)
	}
	e.apply(&n.types)
	return n
}

// drop takes a rule out.
func (s *Set) drop(id wire.UUID, e *edit) {
	if old := s.rules[id]; old != nil {
		delete(s.rules, id)
		e.note(old, true)
	}
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Config is what the set was made with.
func (s *Set) Config() Config { return s.config }

// Decide answers a question.
//
// Differs from Kafka: a rule for "*" holds for all names. StandardAuthorizer goes wrong with longer names that begin with "*", for which it
// overlooks such rules, and with names that begin with a character below, as "!": they make it fail, or search for ever. A
// rule whose principal has no colon makes it fail every question about the resource; here such a rule is about nobody.
func (s *Set) Decide(q Question) Decision {
	if len(s.supers) > 0 {
		if _, ok := s.supers[principal{q.PrincipalType, q.PrincipalName}]; ok {
			return Decision{Allowed: true, Why: SuperUser}
		}
	}
	t := &s.types[q.Type.Known()]
	a := asked{name: q.Name, host: plain(q.Host), bit: 1 << q.Operation.Known()}
	own := t.own[principal{q.PrincipalType, q.PrincipalName}]
	if own.scan(&a) || t.everybody.scan(&a) {
		return Decision{Rule: a.deny, Why: Denied}
	}
	switch {
	case a.allow != nil:
		return Decision{Allowed: true, Rule: a.allow, Why: Permitted}
	case s.config.AllowIfNoRule && !t.names.touches(q.Name):
		return Decision{Allowed: true, Why: DefaultAllow}
	}
	return Decision{Why: DefaultDeny}
}

// Any says whether there may be some resource of q.Type for which the answer is yes, as Kafka's authorizeByResourceType: some ALLOW, of
// the very operation or of ALL, is not taken back by a DENY of its name, of a prefix of it or of all names. Unlike Decide it
// looks at all rules of a principal in the worst case.
func (s *Set) Any(q Question) bool {
	if q.Type.Known() <= AnyResource || q.Operation.Known() <= AnyOperation {
		return false
	}
	q.Name = "hardcode" // what Kafka asks about
	if s.Decide(q).Allowed {
		return true
	}
	t := &s.types[q.Type.Known()]
	of := [2]*subject{t.own[principal{q.PrincipalType, q.PrincipalName}], t.everybody}
	a := asked{host: plain(q.Host), bit: 1 << q.Operation.Known()}
	all := false
	for _, u := range of {
		deny, allow := u.literal(Wildcard).anywhere(&a)
		if deny {
			return false
		}
		all = all || allow
	}
	return all || of[0].grantsSome(&a, of) || of[1].grantsSome(&a, of)
}
