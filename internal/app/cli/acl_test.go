package cli

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moldau/moldau/internal/machine/acl"
)

// TestLearn has cases of what was done, "READ TOPIC orders", and the calls that are proposed for it.
func TestLearn(t *testing.T) {
	for _, c := range []struct {
		name          string
		did           []string
		denied, exact bool
		want          []string
		refused       int
	}{
		{name: "nothing", want: []string{}},
		{
			name: "what is implied is left out",
			did:  []string{"DESCRIBE TOPIC orders", "READ TOPIC orders", "READ GROUP g", "DESCRIBE GROUP g", "DESCRIBE_CONFIGS TOPIC orders", "ALTER_CONFIGS TOPIC orders", "DESCRIBE TOPIC other"},
			want: []string{
				"moldau acl add --allow-principal User:a --operation Read --operation AlterConfigs --topic orders",
				"moldau acl add --allow-principal User:a --operation Describe --topic other",
				"moldau acl add --allow-principal User:a --operation Read --group g",
			},
		},
		{
			name: "an idempotent producer",
			did:  []string{"WRITE TOPIC orders", "DESCRIBE TOPIC orders", "IDEMPOTENT_WRITE CLUSTER kafka-cluster"},
			want: []string{"moldau acl add --allow-principal User:a --operation Write --topic orders"},
		},
		{
			name: "three names make a prefix, two do not",
			did:  []string{"READ TOPIC app.a", "READ TOPIC app.b", "READ TOPIC app.c", "DESCRIBE TOPIC app.d", "READ TOPIC x-1", "READ TOPIC x-2", "WRITE TOPIC app.a"},
			want: []string{
				"moldau acl add --allow-principal User:a --operation Read --resource-pattern-type prefixed --topic app.",
				"moldau acl add --allow-principal User:a --operation Write --topic app.a",
				"moldau acl add --allow-principal User:a --operation Read --topic x-1 --topic x-2",
			},
		},
		{
			name: "the longest prefix that suffices",
			did:  []string{"READ TOPIC a.b.1", "READ TOPIC a.b.2", "READ TOPIC a.b.3", "READ TOPIC a.c", "READ TOPIC a.d"},
			want: []string{
				"moldau acl add --allow-principal User:a --operation Read --resource-pattern-type prefixed --topic a.b.",
				"moldau acl add --allow-principal User:a --operation Read --topic a.c --topic a.d",
			},
		},
		{
			name: "no prefixes", exact: true,
			did:  []string{"READ TOPIC app.a", "READ TOPIC app.b", "READ TOPIC app.c"},
			want: []string{"moldau acl add --allow-principal User:a --operation Read --topic app.a --topic app.b --topic app.c"},
		},
		{
			name: "what was denied is not proposed", refused: 2,
			did:  []string{"READ TOPIC orders", "-DELETE TOPIC orders", "-ALTER CLUSTER kafka-cluster"},
			want: []string{"moldau acl add --allow-principal User:a --operation Read --topic orders"},
		},
		{
			name: "unless it is asked for", refused: 2, denied: true,
			did: []string{"READ TOPIC orders", "-DELETE TOPIC orders", "-ALTER CLUSTER kafka-cluster", "READ GROUP it's mine"},
			want: []string{
				"moldau acl add --allow-principal User:a --operation Read --operation Delete --topic orders",
				`moldau acl add --allow-principal User:a --operation Read --group 'it'\''s mine'`,
				"moldau acl add --allow-principal User:a --operation Alter --cluster",
			},
		},
		{name: "what a later release tells", did: []string{"FLY TOPIC orders", "READ CLOUD nine"}, want: []string{}},
	} {
		var entries []usageEntry
		for _, line := range c.did {
			f := strings.SplitN(strings.TrimPrefix(line, "-"), " ", 3)
			entries = append(entries, usageEntry{Operation: f[0], ResourceType: f[1], Name: f[2], Allowed: line[0] != '-', Count: 2})
		}
		l := learnRules("User:a", entries, c.denied, c.exact)
		if d := cmp.Diff(c.want, l.Commands); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if l.Denied != c.refused {
			t.Errorf("%s: %d refused, want %d", c.name, l.Denied, c.refused)
		}
		if again := learnRules("User:a", append(entries, entries...), c.denied, c.exact); !slices.Equal(again.Rules, l.Rules) {
			t.Errorf("%s: twice the same gives something else", c.name)
		}
	}
}

// TestLearnedRulesSuffice: whatever was done is allowed by the rules that are proposed for it, and none can be left out.
func TestLearnedRulesSuffice(t *testing.T) {
	var entries []usageEntry
	names := []string{"a", "a.b", "a.b.c", "a.b.d", "a.b.e", "a.x", "b-1", "b-2", "b-3", "b-3-4", "c_", "c_1", "c_2", "_", "__x"}
	for i, n := range names {
		for j, o := range []acl.Operation{acl.Read, acl.Write, acl.Describe, acl.Create, acl.DescribeConfigs} {
			if (i*7+j*3)%4 != 0 {
				entries = append(entries, usageEntry{Operation: o.String(), ResourceType: "TOPIC", Name: n, Allowed: true})
			}
		}
	}
	var rules []acl.Rule
	for _, l := range learnRules("User:a", entries, false, false).Rules {
		o, _ := acl.ParseOperation(l.Operation)
		p, _ := acl.ParsePatternType(l.Pattern)
		rules = append(rules, acl.Rule{Type: acl.Topic, Name: l.Name, Pattern: p, Principal: l.Principal, Host: l.Host, Operation: o, Permission: acl.Allow})
	}
	missing := func(rules []acl.Rule) int {
		s, n := acl.SetOf(acl.Config{}, rules), 0
		for _, e := range entries {
			o, _ := acl.ParseOperation(e.Operation)
			if !s.Decide(acl.Question{PrincipalType: "User", PrincipalName: "a", Operation: o, Type: acl.Topic, Name: e.Name}).Allowed {
				n++
			}
		}
		return n
	}
	if n := missing(rules); n != 0 {
		t.Errorf("%d things that were done would be denied", n)
	}
	for i := range rules {
		if missing(slices.Delete(slices.Clone(rules), i, i+1)) == 0 {
			t.Errorf("nobody needs %s", ruleWords(&rules[i]))
		}
	}
}

// TestExplain has what is said of a few questions.
func TestExplain(t *testing.T) {
	rule := func(name string, p acl.PatternType, who, host string, o acl.Operation, does acl.Permission) acl.Rule {
		return acl.Rule{Type: acl.Topic, Name: name, Pattern: p, Principal: who, Host: host, Operation: o, Permission: does}
	}
	rules := []acl.Rule{
		rule("orders", acl.Literal, "User:a", "*", acl.Write, acl.Allow),
		rule("pay", acl.Prefixed, "User:b", "10.0.0.1", acl.Read, acl.Allow),
		rule("pay", acl.Literal, "User:c", "::1", acl.Read, acl.Allow),
		rule("secret", acl.Literal, "User:*", "*", acl.All, acl.Deny),
		rule("*", acl.Literal, "User:d", "*", acl.All, acl.Allow),
	}
	host := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct {
		who  string
		o    acl.Operation
		name string
		host netip.Addr
		want string
	}{
		{"a", acl.Describe, "orders", host, "allowed: a rule allows it: who may Write may Describe too\n  rule: allows User:a Write on topic orders\n"},
		{"a", acl.Read, "orders", host, "denied: no rule allows User:a Read on topic orders from 10.0.0.1\n  the nearest rule: allows User:a Write on topic orders\n    but it is for Write\n" +
			"  this would allow it: moldau acl add --allow-principal User:a --allow-host 10.0.0.1 --operation Read --topic orders\n"},
		{"b", acl.Read, "payments", netip.Addr{}, "denied: no rule allows User:b Read on topic payments\n  the nearest rule: allows User:b Read on every topic whose name begins with pay from 10.0.0.1\n    but it is for hosts 10.0.0.1\n" +
			"  this would allow it: moldau acl add --allow-principal User:b --operation Read --topic payments\n"},
		{"c", acl.Read, "pay", netip.MustParseAddr("::1"), "denied: no rule allows User:c Read on topic pay from 0:0:0:0:0:0:0:1\n  the nearest rule: allows User:c Read on topic pay from ::1\n    but it is for hosts ::1, which no peer's address ever is (an address is written as Kafka does, like 10.0.0.1 or 2001:db8:0:0:0:0:0:1)\n" +
			"  this would allow it: moldau acl add --allow-principal User:c --allow-host 0:0:0:0:0:0:0:1 --operation Read --topic pay\n"},
		{"d", acl.Read, "secret", host, "denied: a rule denies it, and a denial wins over everything\n  rule: denies User:* All on topic secret\n  without the denial this rule would allow it: allows User:d All on every topic\n"},
		{"root", acl.Read, "secret", host, "allowed: User:root is one of super.users, who may do everything\n"},
	} {
		q := acl.Question{PrincipalType: "User", PrincipalName: c.who, Host: c.host, Operation: c.o, Type: acl.Topic, Name: c.name}
		e := explainDecision(acl.Config{SuperUsers: []string{"User:root"}}, rules, q)
		var b strings.Builder
		printExplained(&b, &e)
		if d := cmp.Diff(c.want, b.String()); d != "" {
			t.Errorf("%s %s: %s", c.who, c.name, d)
		}
	}
	q := acl.Question{PrincipalType: "User", PrincipalName: "x", Operation: acl.Read, Type: acl.Group, Name: "g"}
	if e := explainDecision(acl.Config{AllowIfNoRule: true}, rules, q); e.Why != "no rule is about group g, and allow.everyone.if.no.acl.found is true" {
		t.Error(e.Why)
	}
	if e := explainDecision(acl.Config{}, nil, q); e.Nearest != nil || len(e.Also) != 1 {
		t.Error(e)
	}
}
