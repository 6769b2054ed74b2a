package acl

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Rule is one ACL.
type Rule struct {
	ID         wire.UUID
	Type       ResourceType
	Name       string
	Pattern    PatternType
	Principal  string // "User:alice"
	Host       string // an address, a network or *
	Operation  Operation
	Permission Permission
}

// RuleOf is the rule that a record holds. Numbers that have no name become unknown ones, as in Kafka.
func RuleOf(r *wire.AccessControlEntryRecord) Rule {
	return Rule{
		ID: r.ID, Type: ResourceType(r.ResourceType).Known(), Name: r.ResourceName, Pattern: PatternType(r.PatternType).Known(),
		Principal: r.Principal, Host: r.Host, Operation: Operation(r.Operation).Known(), Permission: Permission(r.PermissionType).Known(),
	}
}

// Record is the record that holds the rule.
func (r *Rule) Record() *wire.AccessControlEntryRecord {
	return &wire.AccessControlEntryRecord{
		ID: r.ID, ResourceType: int8(r.Type), ResourceName: r.Name, PatternType: int8(r.Pattern), Principal: r.Principal,
		Host: r.Host, Operation: int8(r.Operation), PermissionType: int8(r.Permission),
	}
}

// String is how Kafka's audit log writes a rule.
func (r *Rule) String() string {
	return fmt.Sprintf("StandardAcl(resourceType=%s, resourceName=%s, patternType=%s, principal=%s, host=%s, operation=%s, permissionType=%s)",
		r.Type, r.Name, r.Pattern, r.Principal, r.Host, r.Operation, r.Permission)
}

// Touches says whether the rule is about the resource, whoever asks.
func (r *Rule) Touches(t ResourceType, name string) bool {
	if r.Type != t.Known() {
		return false
	}
	if r.Pattern == Literal {
		return r.Name == name || r.Name == Wildcard
	}
	return strings.HasPrefix(name, r.Name)
}

// Covers says whether the rule is about the operation: a right to READ, WRITE, DELETE or ALTER holds for DESCRIBE too, one to
// ALTER_CONFIGS for DESCRIBE_CONFIGS. What is denied implies nothing.
func (r *Rule) Covers(o Operation) bool { return r.mask()&(1<<o.Known()) != 0 }

// About says whether the rule is about the principal.
func (r *Rule) About(principalType, principalName string) bool {
	kind, name, ok := SplitPrincipal(r.Principal)
	return ok && (kind == principalType && name == principalName || kind == "User" && name == Wildcard)
}

// From says whether the rule is about peers at the host.
func (r *Rule) From(host netip.Addr) bool {
	if r.Host == Wildcard {
		return true
	}
	network, ok := ParseHost(r.Host)
	return ok && network.Contains(plain(host))
}

// mask has a bit for each operation that the rule is about.
func (r *Rule) mask() uint32 {
	if r.Operation == All {
		return ^uint32(0)
	}
	mask := uint32(1) << r.Operation
	if r.Permission != Allow {
		return mask
	}
	switch r.Operation {
	case Read, Write, Delete, Alter:
		mask |= 1 << Describe
	case AlterConfigs:
		mask |= 1 << DescribeConfigs
	}
	return mask
}

// SplitPrincipal divides "User:alice"; only text without a colon is no principal, as in Kafka.
func SplitPrincipal(text string) (kind, name string, ok bool) {
	return strings.Cut(text, ":")
}
