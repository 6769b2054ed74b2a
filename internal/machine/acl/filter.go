package acl

import (
	"cmp"
	"strings"
)

// Filter picks rules; every part of it must fit. Nil texts and ANY fit everything.
type Filter struct {
	Type       ResourceType
	Name       *string
	Pattern    PatternType // Match: rules that are about the resource Name, whatever their pattern
	Principal  *string
	Host       *string
	Operation  Operation
	Permission Permission
}

// UnknownPattern says whether the part of the filter about resources is one that this release does not know.
func (f *Filter) UnknownPattern() bool {
	return f.Type.Known() == UnknownResource || f.Pattern.Known() == UnknownPattern
}

// UnknownEntry says whether the rest of the filter is one that this release does not know.
func (f *Filter) UnknownEntry() bool {
	return f.Operation.Known() == UnknownOperation || f.Permission.Known() == UnknownPermission
}

// Matches says whether the filter picks the rule. An unknown operation or permission picks rules that have an unknown one, as in Kafka.
func (f *Filter) Matches(r *Rule) bool {
	return f.matchesResource(r) &&
		(f.Principal == nil || *f.Principal == r.Principal) &&
		(f.Host == nil || *f.Host == r.Host) &&
		(f.Operation == AnyOperation || f.Operation.Known() == r.Operation) &&
		(f.Permission == AnyPermission || f.Permission.Known() == r.Permission)
}

func (f *Filter) matchesResource(r *Rule) bool {
	if f.Type != AnyResource && f.Type.Known() != r.Type {
		return false
	}
	if f.Pattern != AnyPattern && f.Pattern != Match && f.Pattern.Known() != r.Pattern {
		return false
	}
	switch {
	case f.Name == nil:
		return true
	case f.Pattern != Match:
		return *f.Name == r.Name
	case r.Pattern == Literal:
		return *f.Name == r.Name || r.Name == Wildcard
	case r.Pattern == Prefixed:
		return strings.HasPrefix(*f.Name, r.Name)
	default:
		return false
	}
}

// Compare orders rules by resource, then principal, host, operation and permission; ids do not count, so that 0 means equal rules.
func Compare(a, b *Rule) int {
	return cmp.Or(CompareResource(a, b), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host),
		cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Permission, b.Permission))
}

// CompareResource orders rules by type, name and pattern of what they are about.
func CompareResource(a, b *Rule) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Pattern, b.Pattern))
}
