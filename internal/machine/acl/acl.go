// Package acl decides who may do what, as Kafka's StandardAuthorizer does, and says which rule decided.
//
// Duty: it keeps the rules (AccessControlEntryRecord) of a metadata image in an index by resource type, principal and
// name, and answers questions from it: super users first, then any DENY that matches, then any ALLOW, then, for a resource that no
// rule touches, what allow.everyone.if.no.acl.found says.
//
// Invariants: a [Set] never changes; With makes another that shares what did not change. A rule that cannot be understood
// never allows anything. Decide allocates nothing, and its time does not grow with the number of rules, but with
// how deep prefixes of a name are nested and how many lengths of networks there are.
//
// Called by node/broker for every request's checks, by machine/controller for what a rule may look like, and by the
// command line, which explains decisions. It must never change rules, log, or look at a clock.
package acl

import "strconv"

// ClusterName is the name of the one resource of type [Cluster].
const ClusterName = "kafka-cluster"

// Wildcard stands for every name in a rule of pattern [Literal], for every host, and in "User:*" for every principal.
const Wildcard = "*"

// Operation is what somebody wants to do; numbers and names are those of Kafka's protocol.
type Operation int8

// The operations.
const (
	UnknownOperation Operation = iota
	AnyOperation
	All
	Read
	Write
	Create
	Delete
	Alter
	Describe
	ClusterAction
	DescribeConfigs
	AlterConfigs
	IdempotentWrite
	CreateTokens
	DescribeTokens
	TwoPhaseCommit
)

var operationNames = [...]string{
	"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS",
	"ALTER_CONFIGS", "IDEMPOTENT_WRITE", "CREATE_TOKENS", "DESCRIBE_TOKENS", "TWO_PHASE_COMMIT",
}

// ResourceType is the kind of thing that is protected.
type ResourceType int8

// The types of resources.
const (
	UnknownResource ResourceType = iota
	AnyResource
	Topic
	Group
	Cluster
	TransactionalID
	DelegationToken
	User
)

var resourceNames = [...]string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"}

// PatternType is how a rule's name is compared with a resource's (KIP-290).
type PatternType int8

// The types of patterns; rules have [Literal] or [Prefixed], filters any.
const (
	UnknownPattern PatternType = iota
	AnyPattern
	Match
	Literal
	Prefixed
)

var patternNames = [...]string{"UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"}

// Permission is what a rule does with what it matches.
type Permission int8

// The permissions; rules have [Deny] or [Allow].
const (
	UnknownPermission Permission = iota
	AnyPermission
	Deny
	Allow
)

var permissionNames = [...]string{"UNKNOWN", "ANY", "DENY", "ALLOW"}

// String is Kafka's name, UNKNOWN for a number that has none.
func (o Operation) String() string { return nameOf(operationNames[:], int8(o)) }

// String is Kafka's name, UNKNOWN for a number that has none.
func (t ResourceType) String() string { return nameOf(resourceNames[:], int8(t)) }

// String is Kafka's name, UNKNOWN for a number that has none.
func (t PatternType) String() string { return nameOf(patternNames[:], int8(t)) }

// String is Kafka's name, UNKNOWN for a number that has none.
func (p Permission) String() string { return nameOf(permissionNames[:], int8(p)) }

// Known is the value itself, or UnknownOperation for a number without a name.
func (o Operation) Known() Operation { return Operation(known(operationNames[:], int8(o))) }

// Known is the value itself, or UnknownResource for a number without a name.
func (t ResourceType) Known() ResourceType { return ResourceType(known(resourceNames[:], int8(t))) }

// Known is the value itself, or UnknownPattern for a number without a name.
func (t PatternType) Known() PatternType { return PatternType(known(patternNames[:], int8(t))) }

// Known is the value itself, or UnknownPermission for a number without a name.
func (p Permission) Known() Permission { return Permission(known(permissionNames[:], int8(p))) }

func nameOf(names []string, code int8) string { return names[known(names, code)] }

func known(names []string, code int8) int8 {
	if code < 0 || int(code) >= len(names) {
		return 0
	}
	return code
}

// ParseOperation reads Kafka's name of an operation in any case, with or without underscores.
func ParseOperation(text string) (Operation, bool) {
	code, ok := parse(operationNames[:], text)
	return Operation(code), ok
}

// ParseResourceType reads Kafka's name of a type of resources in any case, with or without underscores.
func ParseResourceType(text string) (ResourceType, bool) {
	code, ok := parse(resourceNames[:], text)
	return ResourceType(code), ok
}

// ParsePatternType reads Kafka's name of a type of patterns in any case.
func ParsePatternType(text string) (PatternType, bool) {
	code, ok := parse(patternNames[:], text)
	return PatternType(code), ok
}

// parse finds the name that text is but for case, underscores and hyphens; UNKNOWN is not found.
func parse(names []string, text string) (int8, bool) {
	for i := 1; i < len(names); i++ {
		if fold(names[i]) == fold(text) {
			return int8(i), true
		}
	}
	return 0, false
}

// fold is text in upper case without underscores and hyphens.
func fold(text string) string {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_' || c == '-':
		case c >= 'a' && c <= 'z':
			out = append(out, c-'a'+'A')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// Reason is why a question was decided as it was.
type Reason int8

// The reasons, in the order in which they are looked at.
const (
	// SuperUser: the principal is one of super.users.
	SuperUser Reason = iota + 1
	// Denied: a DENY matches; Decision.Rule is it.
	Denied
	// Permitted: an ALLOW matches, and no DENY; Decision.Rule is it.
	Permitted
	// DefaultAllow: no rule touches the resource, and allow.everyone.if.no.acl.found is true.
	DefaultAllow
	// DefaultDeny: no rule matches.
	DefaultDeny
)

var reasonNames = [...]string{1: "SuperUser", "MatchingAcl", "MatchingAcl", "DefaultAllow", "DefaultDeny"}

// String is the word of Kafka's audit log.
func (r Reason) String() string {
	if r < SuperUser || r > DefaultDeny {
		return "Reason(" + strconv.Itoa(int(r)) + ")"
	}
	return reasonNames[r]
}
