package cli

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/machine/acl"
)

// aclFlags are the flags that say which rules are meant: Kafka's.
type aclFlags struct {
	topics, groups, transactionalIDs, tokens, users []string
	cluster                                         bool
	pattern                                         string

	allow, deny, allowHosts, denyHosts, operations []string
	producer, consumer, idempotent                 bool
	force                                          bool
}

// resources declares the flags that name resources.
func (f *aclFlags) resources(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringArrayVar(&f.topics, "topic", nil, "a topic, '*' for all; may be repeated")
	s.StringArrayVar(&f.groups, "group", nil, "a group, '*' for all; may be repeated")
	s.BoolVar(&f.cluster, "cluster", false, "the cluster")
	s.StringArrayVar(&f.transactionalIDs, "transactional-id", nil, "a transactional id, '*' for all; may be repeated")
	s.StringArrayVar(&f.tokens, "delegation-token", nil, "a delegation token, '*' for all; may be repeated")
	s.StringArrayVar(&f.users, "user-principal", nil, "a user as a resource, as User:alice, for CreateTokens and DescribeTokens; may be repeated")
	s.StringVar(&f.pattern, "resource-pattern-type", "literal", "how names are meant: literal or prefixed; to list and remove also any (the name, whatever the pattern) or match (all rules about the resource)")
}

// entries declares the flags that say who may do what.
func (f *aclFlags) entries(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringArrayVar(&f.allow, "allow-principal", nil, "who is allowed, as User:alice, User:* for everybody; may be repeated")
	s.StringArrayVar(&f.deny, "deny-principal", nil, "who is denied; may be repeated")
	s.StringArrayVar(&f.allowHosts, "allow-host", nil, "from where those who are allowed are: an address, a network as 10.0.0.0/8, or '*', which it is without this flag")
	s.StringArrayVar(&f.denyHosts, "deny-host", nil, "from where those who are denied are")
	s.StringArrayVar(&f.operations, "operation", nil, "what may be done: "+strings.Join(operationWords(), ", ")+"; All without this flag; may be repeated")
	s.BoolVar(&f.producer, "producer", false, "what a producer needs: Write, Describe and Create on topics, Write and Describe on transactional ids")
	s.BoolVar(&f.consumer, "consumer", false, "what a consumer needs: Read and Describe on topics, Read on groups")
	s.BoolVar(&f.idempotent, "idempotent", false, "with --producer: IdempotentWrite on the cluster too")
}

// operationWords are the operations as Kafka's tools write them.
func operationWords() []string {
	var words []string
	for o := acl.All; o <= acl.TwoPhaseCommit; o++ {
		words = append(words, operationWord(o))
	}
	return words
}

// operationWord is an operation as Kafka's tools write it, as in DescribeConfigs.
func operationWord(o acl.Operation) string {
	var b strings.Builder
	for part := range strings.SplitSeq(o.String(), "_") {
		b.WriteString(part[:1] + strings.ToLower(part[1:]))
	}
	return b.String()
}

// possible are the operations that mean something for each type of resources, beside All.
var possible = map[acl.ResourceType][]acl.Operation{
	acl.Topic:           {acl.Read, acl.Write, acl.Create, acl.Describe, acl.Delete, acl.Alter, acl.DescribeConfigs, acl.AlterConfigs},
	acl.Group:           {acl.Read, acl.Describe, acl.Delete, acl.DescribeConfigs, acl.AlterConfigs},
	acl.Cluster:         {acl.Create, acl.ClusterAction, acl.DescribeConfigs, acl.AlterConfigs, acl.IdempotentWrite, acl.Alter, acl.Describe},
	acl.TransactionalID: {acl.Describe, acl.Write, acl.TwoPhaseCommit},
	acl.DelegationToken: {acl.Describe},
	acl.User:            {acl.CreateTokens, acl.DescribeTokens},
}

// named is the resources that the flags name.
func (f *aclFlags) named(p acl.PatternType) []acl.Rule {
	var out []acl.Rule
	add := func(t acl.ResourceType, names []string) {
		for _, n := range names {
			out = append(out, acl.Rule{Type: t, Name: strings.TrimSpace(n), Pattern: p})
		}
	}
	add(acl.Topic, f.topics)
	add(acl.Group, f.groups)
	if f.cluster || f.idempotent {
		out = append(out, acl.Rule{Type: acl.Cluster, Name: acl.ClusterName, Pattern: acl.Literal})
	}
	add(acl.TransactionalID, f.transactionalIDs)
	add(acl.DelegationToken, f.tokens)
	add(acl.User, f.users)
	return out
}

func (f *aclFlags) patternType() (acl.PatternType, error) {
	p, ok := acl.ParsePatternType(f.pattern)
	if !ok {
		return 0, usagef("--resource-pattern-type %q: it is literal, prefixed, any or match", f.pattern)
	}
	return p, nil
}

// filters pick the rules about the resources that the flags name; none without names.
func (f *aclFlags) filters() ([]acl.Filter, error) {
	p, err := f.patternType()
	if err != nil {
		return nil, err
	}
	var out []acl.Filter
	for _, r := range f.named(p) {
		if p != acl.Literal { // whoever asks for the cluster and a pattern gets that
			r.Pattern = p
		}
		out = append(out, acl.Filter{Type: r.Type, Name: &r.Name, Pattern: r.Pattern, Operation: acl.AnyOperation, Permission: acl.AnyPermission})
	}
	return out, nil
}

// rules are what the flags stand for.
func (f *aclFlags) rules() ([]acl.Rule, error) {
	p, err := f.patternType()
	if err != nil {
		return nil, err
	}
	if p != acl.Literal && p != acl.Prefixed {
		return nil, usagef("--resource-pattern-type %s is for list and remove: a rule's is literal or prefixed", f.pattern)
	}
	return f.expand(p)
}

// expand makes rules of resources, principals, hosts and operations.
func (f *aclFlags) expand(p acl.PatternType) ([]acl.Rule, error) {
	if err := f.check(p); err != nil {
		return nil, err
	}
	operations, err := f.parsedOperations()
	if err != nil {
		return nil, err
	}
	var rules []acl.Rule
	for _, resource := range f.named(p) {
		for _, o := range f.operationsOn(resource.Type, operations) {
			if o != acl.All && !slices.Contains(possible[resource.Type], o) {
				return nil, usagef("--operation %s means nothing for a %s: it is one of All, %s", operationWord(o), strings.ToLower(resource.Type.String()), wordsOf(possible[resource.Type]))
			}
			for _, w := range f.who() {
				r := resource
				r.Operation, r.Principal, r.Host, r.Permission = o, w.Principal, w.Host, w.Permission
				rules = append(rules, r)
			}
		}
	}
	return sortRules(rules), nil
}

func wordsOf(operations []acl.Operation) string {
	var words []string
	for _, o := range operations {
		words = append(words, operationWord(o))
	}
	return strings.Join(words, ", ")
}

// check finds flags that do not go together.
func (f *aclFlags) check(p acl.PatternType) error {
	switch {
	case len(f.named(p)) == 0:
		return usagef("name at least one resource: --topic, --group, --cluster, --transactional-id, --delegation-token or --user-principal")
	case len(f.allow)+len(f.deny) == 0:
		return usagef("say who: --allow-principal User:alice or --deny-principal User:bob")
	case len(f.allowHosts) > 0 && len(f.allow) == 0, len(f.denyHosts) > 0 && len(f.deny) == 0:
		return usagef("--allow-host goes with --allow-principal, --deny-host with --deny-principal")
	case (f.producer || f.consumer) && (len(f.operations) > 0 || len(f.deny) > 0 || len(f.denyHosts) > 0):
		return usagef("--producer and --consumer say which operations are allowed: leave --operation, --deny-principal and --deny-host away")
	case f.idempotent && !f.producer:
		return usagef("--idempotent goes with --producer")
	case f.producer && len(f.topics) == 0:
		return usagef("--producer needs a --topic")
	case f.consumer && (len(f.topics) == 0 || len(f.groups) == 0 || !f.producer && (f.cluster || len(f.transactionalIDs) > 0)):
		return usagef("--consumer needs a --topic and a --group, and no --cluster or --transactional-id")
	}
	for _, who := range slices.Concat(f.allow, f.deny) {
		if _, _, ok := acl.SplitPrincipal(who); !ok {
			return usagef("%q is no principal: write it as Type:Name, for example User:alice", who)
		}
	}
	return nil
}

func (f *aclFlags) parsedOperations() ([]acl.Operation, error) {
	var out []acl.Operation
	for _, text := range f.operations {
		o, ok := acl.ParseOperation(strings.TrimSpace(text))
		if !ok || o < acl.All {
			return nil, usagef("--operation %q: it is one of %s", text, strings.Join(operationWords(), ", "))
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		out = []acl.Operation{acl.All}
	}
	return out, nil
}

// operationsOn are what is allowed or denied on a type of resources.
func (f *aclFlags) operationsOn(t acl.ResourceType, operations []acl.Operation) []acl.Operation {
	if !f.producer && !f.consumer {
		return operations
	}
	var out []acl.Operation
	if f.producer {
		out = append(out, map[acl.ResourceType][]acl.Operation{
			acl.Topic: {acl.Write, acl.Describe, acl.Create}, acl.TransactionalID: {acl.Write, acl.Describe},
		}[t]...)
		if t == acl.Cluster && f.idempotent {
			out = append(out, acl.IdempotentWrite)
		}
	}
	if f.consumer {
		out = append(out, map[acl.ResourceType][]acl.Operation{acl.Topic: {acl.Read, acl.Describe}, acl.Group: {acl.Read}}[t]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// who is every principal with every host.
func (f *aclFlags) who() []acl.Rule {
	var out []acl.Rule
	add := func(principals, hosts []string, p acl.Permission) {
		if len(hosts) == 0 {
			hosts = []string{acl.Wildcard}
		}
		for _, who := range principals {
			for _, h := range hosts {
				out = append(out, acl.Rule{Principal: strings.TrimSpace(who), Host: hostAsKafka(strings.TrimSpace(h)), Permission: p})
			}
		}
	}
	add(f.allow, f.allowHosts, acl.Allow)
	add(f.deny, f.denyHosts, acl.Deny)
	return out
}

// hostAsKafka writes an address as Kafka compares it, so that a rule for "::1" has an effect.
func hostAsKafka(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return acl.HostText(a)
	}
	return host
}

// removals pick the rules that the flags stand for; without principals all about the resources.
func (f *aclFlags) removals() ([]acl.Filter, error) {
	if len(f.allow)+len(f.deny) == 0 {
		if len(f.operations)+len(f.allowHosts)+len(f.denyHosts) > 0 || f.producer || f.consumer {
			return nil, usagef("say whose rules shall go: --allow-principal or --deny-principal; without, and without operations and hosts, all rules about the resources go")
		}
		filters, err := f.filters()
		if err == nil && len(filters) == 0 {
			return nil, usagef("name at least one resource: --topic, --group, --cluster, --transactional-id, --delegation-token or --user-principal")
		}
		return filters, err
	}
	p, err := f.patternType()
	if err != nil {
		return nil, err
	}
	rules, err := f.expand(p)
	var out []acl.Filter
	for i := range rules {
		r := &rules[i]
		if r.Type == acl.Cluster && p != acl.Prefixed {
			r.Pattern = p
		}
		out = append(out, acl.Filter{
			Type: r.Type, Name: &r.Name, Pattern: r.Pattern, Principal: &r.Principal, Host: &r.Host, Operation: r.Operation, Permission: r.Permission,
		})
	}
	return out, err
}
