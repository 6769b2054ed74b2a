package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/machine/acl"
)

// sharing is how many names make a prefix of theirs a rule.
const sharing = 3

// usageEntry is what a principal did to a resource, as a node tells it.
type usageEntry struct {
	Operation    string `json:"operation"`
	ResourceType string `json:"resourceType"`
	Name         string `json:"name"`
	Allowed      bool   `json:"allowed"`
	Count        uint64 `json:"count"`
}

// learned is what `acl learn` proposes.
type learned struct {
	Principal string       `json:"principal"`
	Rules     []listedRule `json:"rules"`
	Commands  []string     `json:"commands"`
	// Denied is how many different things the principal wanted and could not do; without --denied no rule is proposed for them.
	Denied int `json:"denied"`
	// Wider are topics that a prefix covers although the principal did nothing to them.
	Wider []string `json:"wider,omitempty"`
}

func (a *access) learn() *cobra.Command {
	var addresses []string
	var denied, exact bool
	cmd := &cobra.Command{
		Use:   "learn PRINCIPAL",
		Short: "Propose the least rules for what a principal did",
		Long: `Propose the least rules for what a principal did: commands to read, to change and to run.

Nodes remember of late what every principal was allowed and denied: those that have an
authorizer, and others with moldau.acl.learn=true. They are asked by HTTP; their setting
moldau.http.listener says where. Three or more names that share a beginning up to a separator
become one rule for the prefix; rights that others imply are left out.`,
		Example: `  moldau acl learn User:app
  moldau acl learn User:app --exact
  moldau acl learn User:app --http broker1:9644 --http broker2:9644`,
		Args: oneName("principal"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, _, ok := acl.SplitPrincipal(args[0]); !ok {
				return usagef("%q is no principal: write it as Type:Name, for example User:alice", args[0])
			}
			return a.ask(func(ctx context.Context, cl *kgo.Client) error {
				entries, err := a.usage(ctx, cl, addresses, args[0])
				if err != nil {
					return err
				}
				l := learnRules(args[0], entries, denied, exact)
				if err := l.compare(ctx, kadm.NewClient(cl), entries); err != nil {
					return err
				}
				return a.print(l, func(w io.Writer) { printLearned(w, &l, denied) })
			})
		},
	}
	s := cmd.Flags()
	s.StringArrayVar(&addresses, "http", nil, "a node's HTTP address, host:port; by default the nodes are asked for theirs; may be repeated")
	s.BoolVar(&denied, "denied", false, "also propose rules for what was denied")
	s.BoolVar(&exact, "exact", false, "propose no prefixes")
	return cmd
}

// usage asks all nodes what the principal did there.
func (a *access) usage(ctx context.Context, cl *kgo.Client, addresses []string, principal string) ([]usageEntry, error) {
	if len(addresses) == 0 {
		var err error
		if addresses, err = httpListeners(ctx, kadm.NewClient(cl)); err != nil {
			return nil, err
		}
	}
	var all []usageEntry
	for _, at := range addresses {
		body, status, err := getHTTP(ctx, at, "/acls/usage?principal="+url.QueryEscape(principal))
		if err != nil {
			return nil, err
		}
		if status == http.StatusNotFound {
			return nil, fmt.Errorf("the node at %s remembers nothing: it has no authorizer; set moldau.acl.learn=true there to see what rules it would need", at)
		}
		var entries []usageEntry
		if err := json.Unmarshal(body, &entries); status != http.StatusOK || err != nil {
			return nil, fmt.Errorf("the node at %s does not tell what %s did (HTTP status %d): %s", at, principal, status, strings.TrimSpace(string(body[:min(len(body), 200)])))
		}
		all = append(all, entries...)
	}
	return all, nil
}

// httpListeners are the HTTP endpoints of all nodes.
func httpListeners(ctx context.Context, a *kadm.Client) ([]string, error) {
	brokers, err := a.ListBrokers(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range brokers {
		got, err := a.DescribeBrokerConfigs(ctx, b.NodeID)
		if err != nil {
			return nil, err
		}
		found := ""
		for _, r := range got {
			for _, k := range r.Configs {
				if k.Key == httpListenerSetting {
					found = k.MaybeValue()
				}
			}
		}
		if found == "" {
			return nil, fmt.Errorf("node %d has no HTTP listener to ask what principals did: start it with --set %s=localhost:9644", b.NodeID, httpListenerSetting)
		}
		out = append(out, httpAddress(found, b.Host))
	}
	return out, nil
}

// learnRules works out the least rules for entries.
func learnRules(principal string, entries []usageEntry, denied, exact bool) learned {
	l := learned{Principal: principal, Rules: []listedRule{}, Commands: []string{}}
	did := map[learnKey]map[string]bool{}
	refused := map[usageEntry]bool{}
	for _, e := range entries {
		t, known := acl.ParseResourceType(e.ResourceType)
		o, ok := acl.ParseOperation(e.Operation)
		if !known || !ok {
			continue // of a release that knows more
		}
		if !e.Allowed {
			e.Count = 0
			refused[e] = true
			if !denied {
				continue
			}
		}
		k := learnKey{t, o}
		if did[k] == nil {
			did[k] = map[string]bool{}
		}
		did[k][e.Name] = true
	}
	l.Denied = len(refused)
	rules := minimal(principal, did, exact)
	for i := range rules {
		l.Rules = append(l.Rules, listed(&rules[i]))
	}
	l.Commands = commands(rules)
	return l
}

// compare finds topics that prefixes cover beside those that the principal used.
func (l *learned) compare(ctx context.Context, a *kadm.Client, entries []usageEntry) error {
	var prefixes []string
	for _, r := range l.Rules {
		if r.Pattern == acl.Prefixed.String() && r.ResourceType == acl.Topic.String() {
			prefixes = append(prefixes, r.Name)
		}
	}
	if len(prefixes) == 0 {
		return nil
	}
	topics, err := a.ListTopics(ctx)
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, e := range entries {
		used[e.Name] = used[e.Name] || e.ResourceType == acl.Topic.String()
	}
	for _, name := range topics.Names() {
		if !used[name] && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			l.Wider = append(l.Wider, name)
		}
	}
	return nil
}

// learnKey is a kind of thing that was done; the names follow.
type learnKey struct {
	kind      acl.ResourceType
	operation acl.Operation
}

// minimal makes rules of what was done: prefixes of names, then without what other rules allow already.
func minimal(principal string, did map[learnKey]map[string]bool, exact bool) []acl.Rule {
	var rules []acl.Rule
	for k, names := range did {
		list := slices.Sorted(maps.Keys(names))
		var prefixes []string
		if !exact && (k.kind == acl.Topic || k.kind == acl.Group || k.kind == acl.TransactionalID) {
			prefixes, list = commonPrefixes(list)
		}
		rule := acl.Rule{Type: k.kind, Principal: principal, Host: acl.Wildcard, Operation: k.operation, Permission: acl.Allow}
		for _, p := range prefixes {
			rule.Name, rule.Pattern = p, acl.Prefixed
			rules = append(rules, rule)
		}
		for _, n := range list {
			rule.Name, rule.Pattern = n, acl.Literal
			rules = append(rules, rule)
		}
	}
	writes := slices.ContainsFunc(rules, func(r acl.Rule) bool { return r.Type == acl.Topic && r.Operation == acl.Write })
	out := slices.DeleteFunc(slices.Clone(rules), func(r acl.Rule) bool {
		// Whoever may write to some topic may do so idempotently.
		if r.Operation == acl.IdempotentWrite && writes {
			return true
		}
		return slices.ContainsFunc(rules, func(other acl.Rule) bool { return other != r && covers(&other, &r) })
	})
	return sortRules(out)
}

// covers says whether a rule allows all that another allows.
func covers(r, other *acl.Rule) bool {
	if r.Type != other.Type || !r.Covers(other.Operation) {
		return false
	}
	if r.Pattern == acl.Literal {
		return other.Pattern == acl.Literal && r.Name == other.Name
	}
	return strings.HasPrefix(other.Name, r.Name)
}

// commonPrefixes finds beginnings, up to and with a separator, that so many names share that a rule for the prefix
// is due: the longest ones, to allow as little as can be. The rest are the names without such a beginning.
func commonPrefixes(names []string) (prefixes, rest []string) {
	having := map[string][]string{}
	for _, n := range names {
		for i := 1; i < len(n); i++ {
			if strings.IndexByte("._-:/", n[i-1]) >= 0 && i > 1 {
				having[n[:i]] = append(having[n[:i]], n)
			}
		}
	}
	candidates := slices.SortedFunc(maps.Keys(having), func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	taken := map[string]bool{}
	for _, p := range candidates {
		free := 0
		for _, n := range having[p] {
			if !taken[n] {
				free++
			}
		}
		if free < sharing {
			continue
		}
		prefixes = append(prefixes, p)
		for _, n := range having[p] {
			taken[n] = true
		}
	}
	slices.Sort(prefixes)
	// A prefix below another one is not needed.
	prefixes = slices.DeleteFunc(prefixes, func(p string) bool {
		return slices.ContainsFunc(prefixes, func(other string) bool { return other != p && strings.HasPrefix(p, other) })
	})
	return prefixes, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return taken[n] })
}

// commands writes rules as calls of `moldau acl add`: one for all resources of a type, a pattern and a set of operations.
func commands(rules []acl.Rule) []string {
	type resource struct {
		kind    acl.ResourceType
		name    string
		pattern acl.PatternType
	}
	operations := map[resource]string{}
	var order []resource
	for _, r := range rules {
		k := resource{r.Type, r.Name, r.Pattern}
		if operations[k] == "" {
			order = append(order, k)
		}
		operations[k] += " --operation " + operationWord(r.Operation)
	}
	calls := map[string]int{}
	out := []string{}
	for _, k := range order {
		call := "moldau acl add --allow-principal " + quote(rules[0].Principal) + operations[k]
		if k.pattern == acl.Prefixed {
			call += " --resource-pattern-type prefixed"
		}
		flag := resourceFlag(&acl.Rule{Type: k.kind, Name: k.name})
		group := fmt.Sprint(k.kind, call)
		if at, ok := calls[group]; ok {
			out[at] += " " + flag
			continue
		}
		calls[group] = len(out)
		out = append(out, call+" "+flag)
	}
	return out
}

func printLearned(w io.Writer, l *learned, denied bool) {
	if len(l.Commands) == 0 {
		fmt.Fprintf(w, "# %s did nothing of late that needs a rule.\n", l.Principal)
	} else {
		fmt.Fprintf(w, "# %s for what %s did.\n", plural(len(l.Rules), "rule"), l.Principal)
	}
	for _, c := range l.Commands {
		fmt.Fprintln(w, c)
	}
	if n := len(l.Wider); n > 0 {
		fmt.Fprintf(w, "# Prefixes also cover %s that it did not use, as %s: --exact proposes names alone.\n", plural(n, "topic"), l.Wider[0])
	}
	if l.Denied > 0 && !denied {
		fmt.Fprintf(w, "# %s that it wanted and may not do: --denied proposes rules for that too.\n", plural(l.Denied, "thing"))
	}
}
