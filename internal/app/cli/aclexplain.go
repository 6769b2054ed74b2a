package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/machine/acl"
)

// explained is what `acl explain` says.
type explained struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
	// Rule decided, or is the nearest to one that would have allowed it.
	Rule    *listedRule `json:"rule,omitempty"`
	Nearest *listedRule `json:"nearest,omitempty"`
	// Missing says why the nearest rule does not match.
	Missing []string `json:"missing,omitempty"`
	// Also are further words: what else matches, and what would allow it.
	Also []string `json:"also,omitempty"`
}

func (a *access) explain() *cobra.Command {
	var host string
	cmd := &cobra.Command{
		Use:   "explain PRINCIPAL OPERATION RESOURCE",
		Short: "Say whether somebody may do something, and which rule decides",
		Long: `Say whether somebody may do something, and which rule decides.

RESOURCE is topic:NAME, group:NAME, transactional-id:NAME, delegation-token:ID, user:NAME or cluster.
Without --host the question is about hosts that no rule names.`,
		Example: `  moldau acl explain User:alice Read topic:orders
  moldau acl explain User:bob Alter cluster --host 10.0.0.7`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 3 {
				return usagef("say who, what and on which resource: `moldau acl explain User:alice Read topic:orders`")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			q, err := question(args, host)
			if err != nil {
				return err
			}
			return a.ask(func(ctx context.Context, cl *kgo.Client) error {
				f := anyRule()
				f.Type = q.Type
				rules, err := pickRules(ctx, cl, []acl.Filter{f})
				if err != nil {
					return err
				}
				c, err := aclSettings(ctx, cl)
				if err != nil {
					return err
				}
				e := explainDecision(c, rules, q)
				return a.print(e, func(w io.Writer) { printExplained(w, &e) })
			})
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "the address that is asked from")
	return cmd
}

// question reads the arguments of explain.
func question(args []string, host string) (acl.Question, error) {
	var q acl.Question
	var ok bool
	if q.PrincipalType, q.PrincipalName, ok = acl.SplitPrincipal(args[0]); !ok {
		return q, usagef("%q is no principal: write it as Type:Name, for example User:alice", args[0])
	}
	if q.Operation, ok = acl.ParseOperation(args[1]); !ok || q.Operation < acl.All {
		return q, usagef("%q is no operation: it is one of %s", args[1], strings.Join(operationWords(), ", "))
	}
	kind, name, named := strings.Cut(args[2], ":")
	if q.Type, ok = acl.ParseResourceType(kind); !ok || q.Type < acl.Topic || named == (q.Type == acl.Cluster) || named && name == "" {
		return q, usagef("%q is no resource: write topic:NAME, group:NAME, transactional-id:NAME, delegation-token:ID, user:NAME or cluster", args[2])
	}
	if q.Name = name; q.Type == acl.Cluster {
		q.Name = acl.ClusterName
	}
	if q.Type == acl.User && !strings.Contains(name, ":") {
		q.Name = "User:" + name
	}
	if host != "" {
		var err error
		if q.Host, err = netip.ParseAddr(host); err != nil {
			return q, usagef("--host %q is no address: rules are about addresses, as 10.0.0.7", host)
		}
	}
	return q, nil
}

// aclSettings asks a node for the settings that decide beside rules.
func aclSettings(ctx context.Context, cl *kgo.Client) (acl.Config, error) {
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{}
	brokers, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return acl.Config{}, err
	}
	if len(brokers.Brokers) == 0 {
		return acl.Config{}, fmt.Errorf("the cluster names no broker to ask for super.users")
	}
	id := strconv.Itoa(int(brokers.Brokers[0].NodeID))
	rows, err := describeConfigs(ctx, cl, kmsg.ConfigResourceTypeBroker, id, nil, false)
	if err != nil {
		return acl.Config{}, fmt.Errorf("super.users of node %s: %w", id, err)
	}
	var c acl.Config
	for _, r := range rows {
		switch r.Key {
		case "super.users":
			c.SuperUsers, _ = acl.ParseSuperUsers(r.Value)
		case "allow.everyone.if.no.acl.found":
			c.AllowIfNoRule = strings.EqualFold(strings.TrimSpace(r.Value), "true")
		}
	}
	return c, nil
}

// explainDecision decides as a node does, and says why.
func explainDecision(c acl.Config, rules []acl.Rule, q acl.Question) explained {
	d := acl.SetOf(c, rules).Decide(q)
	asks := fmt.Sprintf("%s:%s %s on %s%s", q.PrincipalType, q.PrincipalName, operationWord(q.Operation), resourceWords(q.Type, q.Name, acl.Literal), fromWords(q.Host))
	e := explained{Allowed: d.Allowed}
	if d.Rule != nil {
		r := listed(d.Rule)
		e.Rule = &r
	}
	switch d.Why {
	case acl.SuperUser:
		e.Why = fmt.Sprintf("%s:%s is one of super.users, who may do everything", q.PrincipalType, q.PrincipalName)
	case acl.Permitted:
		e.Why = "a rule allows it" + implied(d.Rule, q.Operation)
	case acl.Denied:
		e.Why = "a rule denies it, and a denial wins over everything"
		e.Also = overruled(rules, q)
	case acl.DefaultAllow:
		e.Why = fmt.Sprintf("no rule is about %s, and allow.everyone.if.no.acl.found is true", resourceWords(q.Type, q.Name, acl.Literal))
	default:
		e.Why = "no rule allows " + asks
		nearest(&e, rules, q)
		if c.AllowIfNoRule {
			e.Also = append(e.Also, "allow.everyone.if.no.acl.found does not help, because there are rules about "+resourceWords(q.Type, q.Name, acl.Literal))
		}
		e.Also = append(e.Also, "this would allow it: "+addCommand(q))
	}
	return e
}

func fromWords(host netip.Addr) string {
	if !host.IsValid() {
		return ""
	}
	return " from " + acl.HostText(host)
}

// implied says so when a rule allows something by allowing more.
func implied(r *acl.Rule, o acl.Operation) string {
	if r.Operation == o || r.Operation == acl.All {
		return ""
	}
	return fmt.Sprintf(": who may %s may %s too", operationWord(r.Operation), operationWord(o))
}

// overruled names rules that would allow what is denied.
func overruled(rules []acl.Rule, q acl.Question) []string {
	n, first := 0, ""
	for i := range rules {
		if r := &rules[i]; r.Permission == acl.Allow && len(mismatches(r, q)) == 0 {
			if n++; n == 1 {
				first = ruleWords(r)
			}
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return []string{"without the denial this rule would allow it: " + first}
	default:
		return []string{fmt.Sprintf("without the denial %d rules would allow it, the first: %s", n, first)}
	}
}

// ruleWords is a whole rule in a line, as in "allows User:alice Read on topic orders".
func ruleWords(r *acl.Rule) string {
	return fmt.Sprintf("%s on %s%s", deedWords(r), resourceWords(r.Type, r.Name, r.Pattern), hostWords(r))
}

// mismatches are the reasons why a rule does not match a question.
func mismatches(r *acl.Rule, q acl.Question) []string {
	var out []string
	if !r.Touches(q.Type, q.Name) {
		out = append(out, "is about "+resourceWords(r.Type, r.Name, r.Pattern))
	}
	if !r.About(q.PrincipalType, q.PrincipalName) {
		out = append(out, "is for "+r.Principal)
	}
	if !r.Covers(q.Operation) {
		out = append(out, "is for "+operationWord(r.Operation))
	}
	if !r.From(q.Host) {
		text := "is for hosts " + r.Host
		if _, ok := acl.ParseHost(r.Host); !ok {
			text += ", which no peer's address ever is (an address is written as Kafka does, like 10.0.0.1 or 2001:db8:0:0:0:0:0:1)"
		}
		out = append(out, text)
	}
	return out
}

// nearest finds the rule that fails in the fewest respects; among equals one for the principal, then one about the resource.
func nearest(e *explained, rules []acl.Rule, q acl.Question) {
	far := func(r *acl.Rule) int {
		score := 10 * len(mismatches(r, q))
		if !r.About(q.PrincipalType, q.PrincipalName) {
			score += 3
		}
		if !r.Touches(q.Type, q.Name) {
			score += 2
			if shared(r.Name, q.Name) > 0 {
				score--
			}
		}
		return score
	}
	var allows []*acl.Rule
	for i := range rules {
		if rules[i].Permission == acl.Allow {
			allows = append(allows, &rules[i])
		}
	}
	if len(allows) == 0 {
		return
	}
	best := slices.MinFunc(allows, func(a, b *acl.Rule) int {
		return cmp.Or(cmp.Compare(far(a), far(b)), cmp.Compare(shared(b.Name, q.Name), shared(a.Name, q.Name)))
	})
	r := listed(best)
	e.Nearest, e.Missing = &r, mismatches(best, q)
}

// shared is how many bytes two names have in common at their beginning.
func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// addCommand is what would allow a question.
func addCommand(q acl.Question) string {
	r := acl.Rule{Type: q.Type, Name: q.Name, Pattern: acl.Literal}
	words := []string{"moldau acl add --allow-principal", quote(q.PrincipalType + ":" + q.PrincipalName)}
	if q.Host.IsValid() {
		words = append(words, "--allow-host", acl.HostText(q.Host))
	}
	words = append(words, "--operation", operationWord(q.Operation), resourceFlag(&r))
	return strings.Join(words, " ")
}

// resourceFlag is the flag that names a rule's resource.
func resourceFlag(r *acl.Rule) string {
	if r.Type == acl.Cluster {
		return "--cluster"
	}
	flag := map[acl.ResourceType]string{
		acl.Topic: "--topic", acl.Group: "--group", acl.TransactionalID: "--transactional-id", acl.DelegationToken: "--delegation-token", acl.User: "--user-principal",
	}[r.Type]
	return flag + " " + quote(r.Name)
}

// quote writes a word so that a shell takes it as it is.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/=,@+") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func printExplained(w io.Writer, e *explained) {
	verdict := "denied"
	if e.Allowed {
		verdict = "allowed"
	}
	fmt.Fprintf(w, "%s: %s\n", verdict, e.Why)
	if e.Rule != nil {
		fmt.Fprintf(w, "  rule: %s\n", listedWords(e.Rule))
	}
	if e.Nearest != nil {
		fmt.Fprintf(w, "  the nearest rule: %s\n    but it %s\n", listedWords(e.Nearest), strings.Join(e.Missing, ", and "))
	}
	for _, line := range e.Also {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

// listedWords is ruleWords of what was listed.
func listedWords(l *listedRule) string {
	t, _ := acl.ParseResourceType(l.ResourceType)
	p, _ := acl.ParsePatternType(l.Pattern)
	o, _ := acl.ParseOperation(l.Operation)
	r := acl.Rule{Type: t, Name: l.Name, Pattern: p, Principal: l.Principal, Host: l.Host, Operation: o, Permission: acl.Deny}
	if l.Permission == acl.Allow.String() {
		r.Permission = acl.Allow
	}
	return ruleWords(&r)
}
