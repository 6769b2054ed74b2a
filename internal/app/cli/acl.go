package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/machine/acl"
)

// errNoAuthorizer is what becomes of a question about rules when a node has none.
var errNoAuthorizer = errors.New("the node has no authorizer, so everybody may do everything and there are no rules: " +
	"start it with authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer, and name those who may change rules in super.users")

// access is what `moldau acl` works with.
type access struct{ *connection }

func aclCommand(e env) *cobra.Command {
	a := &access{&connection{env: e}}
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "List, add, remove and explain rules of who may do what",
		Long: `List, add, remove and explain rules of who may do what.

A rule allows or denies a principal, from a host, an operation on a resource. A denial that
matches wins over everything; who is not allowed by a rule is denied. The flags are those of
Kafka's kafka-acls.`,
		Example: `  moldau acl list
  moldau acl add --allow-principal User:alice --operation Read --topic orders
  moldau acl add --allow-principal User:app --consumer --topic app- --group app- --resource-pattern-type prefixed
  moldau acl remove --allow-principal User:alice --operation Read --topic orders
  moldau acl explain User:alice Read topic:orders
  moldau acl learn User:alice`,
		Args: noArgs,
		RunE: help,
	}
	a.flags(cmd)
	cmd.AddCommand(a.list(), a.add(), a.remove(), a.explain(), a.learn())
	return cmd
}

// listedRule is a rule as the commands show it.
type listedRule struct {
	ResourceType string `json:"resourceType"`
	Name         string `json:"name"`
	Pattern      string `json:"patternType"`
	Principal    string `json:"principal"`
	Host         string `json:"host"`
	Operation    string `json:"operation"`
	Permission   string `json:"permission"`
}

func listed(r *acl.Rule) listedRule {
	return listedRule{r.Type.String(), r.Name, r.Pattern.String(), r.Principal, r.Host, r.Operation.String(), r.Permission.String()}
}

func (a *access) list() *cobra.Command {
	f := &aclFlags{}
	var principals []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rules: all, or those about resources and principals",
		Example: `  moldau acl list
  moldau acl list --topic orders --resource-pattern-type match
  moldau acl list --principal User:alice --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			filters, err := f.filters()
			if err != nil {
				return err
			}
			if len(filters) == 0 {
				filters = []acl.Filter{anyRule()}
			}
			return a.ask(func(ctx context.Context, cl *kgo.Client) error {
				rules, err := pickRules(ctx, cl, withPrincipals(filters, principals))
				if err != nil {
					return err
				}
				return a.print(listedRules(rules), func(w io.Writer) { printRules(w, rules) })
			})
		},
	}
	f.resources(cmd)
	cmd.Flags().StringArrayVar(&principals, "principal", nil, "only rules about this principal, as User:alice; may be repeated")
	return cmd
}

func listedRules(rules []acl.Rule) []listedRule {
	rows := []listedRule{}
	for i := range rules {
		rows = append(rows, listed(&rules[i]))
	}
	return rows
}

// printRules writes rules below the resources that they are about.
func printRules(w io.Writer, rules []acl.Rule) {
	if len(rules) == 0 {
		fmt.Fprintln(w, "No rules.")
	}
	for i := range rules {
		r := &rules[i]
		if i == 0 || acl.CompareResource(&rules[i-1], r) != 0 {
			fmt.Fprintln(w, resourceWords(r.Type, r.Name, r.Pattern))
		}
		fmt.Fprintf(w, "  %s\n", entryWords(r))
	}
}

// entryWords says what a rule does, without its resource.
func entryWords(r *acl.Rule) string { return deedWords(r) + hostWords(r) }

func deedWords(r *acl.Rule) string {
	does := "allows"
	if r.Permission != acl.Allow {
		does = "denies"
	}
	return fmt.Sprintf("%s %s %s", does, r.Principal, operationWord(r.Operation))
}

func hostWords(r *acl.Rule) string {
	if r.Host == acl.Wildcard {
		return ""
	}
	return " from " + r.Host
}

// resourceWords says what a rule is about.
func resourceWords(t acl.ResourceType, name string, p acl.PatternType) string {
	kind := strings.ToLower(strings.ReplaceAll(t.String(), "_", " "))
	switch {
	case t == acl.Cluster && p == acl.Literal:
		return "the cluster"
	case p == acl.Prefixed:
		return fmt.Sprintf("every %s whose name begins with %s", kind, name)
	case name == acl.Wildcard:
		return "every " + kind
	}
	return kind + " " + name
}

func (a *access) add() *cobra.Command {
	f := &aclFlags{}
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add rules: principals, operations and hosts for resources",
		Long: `Add rules: every principal given gets every operation given, on every resource given, from
every host given. Without --operation it is All, without hosts every host.`,
		Example: `  moldau acl add --allow-principal User:alice --operation Read --operation Describe --topic orders
  moldau acl add --allow-principal User:app --producer --topic orders
  moldau acl add --deny-principal User:mallory --deny-host 10.1.0.7 --topic '*'`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			rules, err := f.rules()
			if err != nil {
				return err
			}
			return a.ask(func(ctx context.Context, cl *kgo.Client) error {
				if err := createRules(ctx, cl, rules); err != nil {
					return err
				}
				return a.print(listedRules(rules), func(w io.Writer) {
					fmt.Fprintf(w, "Added %s:\n", plural(len(rules), "rule"))
					printRules(w, rules)
				})
			})
		},
	}
	f.resources(cmd)
	f.entries(cmd)
	return cmd
}

func (a *access) remove() *cobra.Command {
	f := &aclFlags{}
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Remove rules: those given, or all that are about resources",
		Long: `Remove rules. With principals those rules that add would make of the same flags: without
--operation the one for All. Without principals all rules about the resources.

With --resource-pattern-type match all rules go that are about the resources, whatever their pattern.`,
		Example: `  moldau acl remove --allow-principal User:alice --operation Read --topic orders
  moldau acl remove --topic orders --force`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			filters, err := f.removals()
			if err != nil {
				return err
			}
			return a.ask(func(ctx context.Context, cl *kgo.Client) error { return a.removePicked(ctx, cl, filters, f.force) })
		},
	}
	f.resources(cmd)
	f.entries(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "do not ask before rules are removed")
	return cmd
}

// removePicked shows what will go, asks, and removes it.
func (a *access) removePicked(ctx context.Context, cl *kgo.Client, filters []acl.Filter, force bool) error {
	rules, err := pickRules(ctx, cl, filters)
	if err != nil {
		return err
	}
	if len(rules) > 0 {
		if !force {
			printRules(a.err, rules)
			fmt.Fprintf(a.err, "Remove %s? (y/n) ", plural(len(rules), "rule"))
			answer, _ := bufio.NewReader(a.in).ReadString('\n')
			if strings.ToLower(strings.TrimSpace(answer)) != "y" {
				return errors.New("nothing was removed: answer y, or call with --force")
			}
		}
		if rules, err = deleteRules(ctx, cl, filters); err != nil {
			return err
		}
	}
	return a.print(listedRules(rules), func(w io.Writer) {
		if len(rules) == 0 {
			fmt.Fprintln(w, "Removed 0 rules: none is as the flags say (without --operation that is one for All). `moldau acl list` shows those there are.")
			return
		}
		fmt.Fprintf(w, "Removed %s:\n", plural(len(rules), "rule"))
		printRules(w, rules)
	})
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// anyRule picks every rule.
func anyRule() acl.Filter {
	return acl.Filter{Type: acl.AnyResource, Pattern: acl.AnyPattern, Operation: acl.AnyOperation, Permission: acl.AnyPermission}
}

// withPrincipals narrows filters to principals, if there are any.
func withPrincipals(filters []acl.Filter, principals []string) []acl.Filter {
	if len(principals) == 0 {
		return filters
	}
	var out []acl.Filter
	for _, f := range filters {
		for i := range principals {
			f.Principal = &principals[i]
			out = append(out, f)
		}
	}
	return out
}

// pickRules asks for the rules that any of the filters picks, each once and in order.
func pickRules(ctx context.Context, cl *kgo.Client, filters []acl.Filter) ([]acl.Rule, error) {
	var rules []acl.Rule
	for _, f := range filters {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName, req.ResourcePatternType = kmsg.ACLResourceType(f.Type), f.Name, kmsg.ACLResourcePatternType(f.Pattern)
		req.Principal, req.Host = f.Principal, f.Host
		req.Operation, req.PermissionType = kmsg.ACLOperation(f.Operation), kmsg.ACLPermissionType(f.Permission)
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return nil, err
		}
		if err := aclError(resp.ErrorCode, resp.ErrorMessage); err != nil {
			return nil, err
		}
		for _, resource := range resp.Resources {
			for _, e := range resource.ACLs {
				rules = append(rules, acl.Rule{
					Type: acl.ResourceType(resource.ResourceType), Name: resource.ResourceName, Pattern: acl.PatternType(resource.ResourcePatternType),
					Principal: e.Principal, Host: e.Host, Operation: acl.Operation(e.Operation), Permission: acl.Permission(e.PermissionType),
				})
			}
		}
	}
	return sortRules(rules), nil
}

// sortRules puts rules in order, each once.
func sortRules(rules []acl.Rule) []acl.Rule {
	slices.SortFunc(rules, func(a, b acl.Rule) int { return acl.Compare(&a, &b) })
	return slices.CompactFunc(rules, func(a, b acl.Rule) bool { return acl.Compare(&a, &b) == 0 })
}

// createRules has the cluster add rules; the error names those that it refused.
func createRules(ctx context.Context, cl *kgo.Client, rules []acl.Rule) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for i := range rules {
		r, c := &rules[i], kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceType(r.Type), r.Name, kmsg.ACLResourcePatternType(r.Pattern)
		c.Principal, c.Host, c.Operation, c.PermissionType = r.Principal, r.Host, kmsg.ACLOperation(r.Operation), kmsg.ACLPermissionType(r.Permission)
		req.Creations = append(req.Creations, c)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	var errs []error
	for i, result := range resp.Results {
		if err := aclError(result.ErrorCode, result.ErrorMessage); errors.Is(err, errNoAuthorizer) {
			return err
		} else if err != nil && i < len(rules) {
			errs = append(errs, fmt.Errorf("a rule that %s: %w", ruleWords(&rules[i]), err))
		}
	}
	return errors.Join(errs...)
}

// deleteRules has the cluster remove what filters pick, and tells what that was.
func deleteRules(ctx context.Context, cl *kgo.Client, filters []acl.Filter) ([]acl.Rule, error) {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, f := range filters {
		d := kmsg.NewDeleteACLsRequestFilter()
		d.ResourceType, d.ResourceName, d.ResourcePatternType = kmsg.ACLResourceType(f.Type), f.Name, kmsg.ACLResourcePatternType(f.Pattern)
		d.Principal, d.Host = f.Principal, f.Host
		d.Operation, d.PermissionType = kmsg.ACLOperation(f.Operation), kmsg.ACLPermissionType(f.Permission)
		req.Filters = append(req.Filters, d)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	var rules []acl.Rule
	var errs []error
	for _, result := range resp.Results {
		errs = append(errs, aclError(result.ErrorCode, result.ErrorMessage))
		for _, m := range result.MatchingACLs {
			rules = append(rules, acl.Rule{
				Type: acl.ResourceType(m.ResourceType), Name: m.ResourceName, Pattern: acl.PatternType(m.ResourcePatternType), Principal: m.Principal,
				Host: m.Host, Operation: acl.Operation(m.Operation), Permission: acl.Permission(m.PermissionType),
			})
		}
	}
	return sortRules(rules), errors.Join(errs...)
}

// aclError is what an answer's code and message mean.
func aclError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.SecurityDisabled):
		return errNoAuthorizer
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("CLUSTER_AUTHORIZATION_FAILED: rules are shown to those who may Describe the cluster, and changed by those who may Alter it; " +
			"`moldau acl add --allow-principal … --operation Alter --cluster`, run by one of super.users, allows it")
	case message != nil && strings.HasPrefix(*message, "CIDR-based ACL"):
		return fmt.Errorf("%s This cluster can be raised to it with Kafka's kafka-features upgrade, if all its nodes know it: `moldau cluster features`", *message)
	case message != nil && *message != "":
		return errors.New(*message)
	}
	return err
}
