package acl

import (
	"maps"
	"net/netip"

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
}

// Question is what is asked.
type Question struct {
	PrincipalType, PrincipalName string
	Host                         netip.Addr
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

// With is the set with rules added and others, named by their ids, removed. A rule whose id is there already takes its place.
func (s *Set) With(added []*wire.AccessControlEntryRecord, removed []wire.UUID) *Set {
	n := &Set{config: s.config, supers: s.supers, rules: maps.Clone(s.rules)}
	for _, id := range removed {
		delete(n.rules, id)
	}
	for _, r := range added {
		rule := RuleOf(r)
		n.rules[r.ID] = &rule
	}
	return n
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Decide answers a question.
func (s *Set) Decide(q Question) Decision {
	if _, ok := s.supers[principal{q.PrincipalType, q.PrincipalName}]; ok {
		return Decision{Allowed: true, Why: SuperUser}
	}
	var allow *Rule
	touched := false
	for _, r := range s.rules {
		if !r.Touches(q.Type, q.Name) {
			continue
		}
		touched = true
		if !r.About(q.PrincipalType, q.PrincipalName) || !r.From(q.Host) || !r.Covers(q.Operation) {
			continue
		}
		if r.Permission != Allow {
			return Decision{Rule: r, Why: Denied}
		}
		allow = r
	}
	switch {
	case allow != nil:
		return Decision{Allowed: true, Rule: allow, Why: Permitted}
	case !touched && s.config.AllowIfNoRule:
		return Decision{Allowed: true, Why: DefaultAllow}
	}
	return Decision{Why: DefaultDeny}
}

// Any says whether there may be some resource of q.Type for which the answer is yes.
func (s *Set) Any(q Question) bool {
	q.Name = "hardcode"
	return s.Decide(q).Allowed
}
