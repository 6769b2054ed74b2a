package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func configCommand(e env) *cobra.Command {
	c := &connection{env: e}
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change settings of topics, brokers, groups and client metrics",
		Example: `  moldau config describe topic orders
  moldau config describe broker 1 --all
  moldau config set topic orders retention.ms=3600000
  moldau config unset broker 1 log.cleaner.threads
  moldau config set broker default log.retention.ms=86400000`,
		Args: noArgs,
		RunE: help,
	}
	c.flags(cmd)
	cmd.AddCommand(configDescribe(c), configChange(c, "set", "KEY=VALUE…"), configChange(c, "unset", "KEY…"))
	return cmd
}

// resourceTypes are the kinds of resources by the names people use.
var resourceTypes = map[string]kmsg.ConfigResourceType{
	"topic": kmsg.ConfigResourceTypeTopic, "broker": kmsg.ConfigResourceTypeBroker,
	"group": kmsg.ConfigResourceTypeGroupConfig, "client-metrics": kmsg.ConfigResourceTypeClientMetrics,
}

// resource reads "topic NAME", "broker ID" or "broker default".
func resource(cmd *cobra.Command, args []string) (kmsg.ConfigResourceType, string, error) {
	if len(args) < 2 {
		return 0, "", usagef("%s needs a kind of resource and its name, as in `topic orders` or `broker 1`", cmd.CommandPath())
	}
	kind, ok := resourceTypes[args[0]]
	if !ok {
		return 0, "", usagef("%q is no kind of resource: it is one of topic, broker, group, client-metrics", args[0])
	}
	name := args[1]
	if kind == kmsg.ConfigResourceTypeBroker {
		if name == "default" {
			return kind, "", nil
		}
		if _, err := strconv.Atoi(name); err != nil {
			return 0, "", usagef("broker %q: give its number, or `default` for all brokers", name)
		}
	}
	return kind, name, nil
}

// describedConfig is one setting as `config describe` shows it.
type describedConfig struct {
	Key           string `json:"key"`
	Value         string `json:"value"`
	Source        string `json:"source"`
	ReadOnly      bool   `json:"readOnly,omitempty"`
	Sensitive     bool   `json:"sensitive,omitempty"`
	Documentation string `json:"documentation,omitempty"`
}

func configDescribe(c *connection) *cobra.Command {
	var all, docs bool
	cmd := &cobra.Command{
		Use:   "describe KIND NAME [KEY…]",
		Short: "Show settings: those that somebody set, or with --all every one",
		Long: `Show settings: those that somebody set, or with --all every one.

KIND is topic, broker, group or client-metrics. The name of a broker is its number, or default for what
holds for all brokers.`,
		Example: `  moldau config describe topic orders
  moldau config describe broker default
  moldau config describe broker 1 log.retention.ms --docs`,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := resource(cmd, args)
			if err != nil {
				return err
			}
			return c.ask(func(ctx context.Context, a *kgo.Client) error {
				rows, err := describeConfigs(ctx, a, kind, name, args[2:], docs)
				if err != nil {
					return err
				}
				if !all && len(args) == 2 {
					rows = slices.DeleteFunc(rows, func(r describedConfig) bool { return r.Source == "DEFAULT_CONFIG" })
				}
				return c.print(rows, func(w io.Writer) { printConfigs(w, rows, docs) })
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also show settings that have their default")
	cmd.Flags().BoolVar(&docs, "docs", false, "also tell what each setting means")
	return cmd
}

// describeConfigs asks for the settings of one resource. It uses the plain
// request because that carries documentation.
func describeConfigs(ctx context.Context, a *kgo.Client, kind kmsg.ConfigResourceType, name string, keys []string, docs bool) ([]describedConfig, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeDocumentation = docs
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	if len(keys) > 0 {
		r.ConfigNames = keys
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return nil, unknownBroker(kind, name, err)
	}
	rows := []describedConfig{}
	for _, res := range resp.Resources {
		if err := codeError(res.ErrorCode, res.ErrorMessage); err != nil {
			return nil, ofResource(kind, name, res.ErrorCode, err)
		}
		for _, k := range res.Configs {
			row := describedConfig{Key: k.Name, Source: k.Source.String(), ReadOnly: k.ReadOnly, Sensitive: k.IsSensitive}
			if k.Value != nil {
				row.Value = *k.Value
			}
			if k.Documentation != nil {
				row.Documentation = *k.Documentation
			}
			rows = append(rows, row)
		}
	}
	for _, key := range keys {
		if !slices.ContainsFunc(rows, func(r describedConfig) bool { return r.Key == key }) {
			return nil, fmt.Errorf("there is no setting %q: `moldau config describe %s %s --all` lists them", key, kindWord(kind), cmp.Or(name, "default"))
		}
	}
	return rows, nil
}

// ofResource is an error about the settings of a resource; the code is the node's.
func ofResource(kind kmsg.ConfigResourceType, name string, code int16, err error) error {
	if kind == kmsg.ConfigResourceTypeTopic {
		if known := kerr.ErrorForCode(code); errors.Is(known, kerr.UnknownTopicOrPartition) {
			err = known
		}
		return ofTopic(name, err, "")
	}
	return fmt.Errorf("%s %s: %w", kindWord(kind), cmp.Or(name, "default"), err)
}

// unknownBroker tells of a broker that there is not; the client finds out by itself.
func unknownBroker(kind kmsg.ConfigResourceType, name string, err error) error {
	if kind == kmsg.ConfigResourceTypeBroker && err.Error() == "unknown broker" {
		return fmt.Errorf("there is no broker %s: `moldau cluster describe` lists those there are", name)
	}
	return err
}

// kindWord is what the commands call a kind of resource.
func kindWord(kind kmsg.ConfigResourceType) string {
	for word, k := range resourceTypes {
		if k == kind {
			return word
		}
	}
	return strings.ToLower(kind.String())
}

func printConfigs(w io.Writer, rows []describedConfig, docs bool) {
	columns(w, "KEY\tVALUE\tFROM", func(line func(string, ...any)) {
		for _, r := range rows {
			value := r.Value
			if r.Sensitive {
				value = "(hidden)"
			}
			line("%s\t%s\t%s", r.Key, value, strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(r.Source, "_CONFIG"), "_", " ")))
			if docs && r.Documentation != "" {
				line("    %s\t\t", r.Documentation)
			}
		}
	})
}

func configChange(c *connection, verb, what string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " KIND NAME " + what,
		Short: map[string]string{"set": "Set settings", "unset": "Let settings fall back to their defaults"}[verb],
		Example: map[string]string{
			"set": `  moldau config set topic orders retention.ms=3600000 cleanup.policy=compact,delete
  moldau config set broker default log.retention.ms=86400000
  moldau config set group workers share.auto.offset.reset=earliest
  moldau config set client-metrics all-clients metrics=* interval.ms=60000`,
			"unset": `  moldau config unset topic orders retention.ms
  moldau config unset broker 1 log.cleaner.threads`,
		}[verb],
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := resource(cmd, args)
			if err != nil {
				return err
			}
			set, unset := args[2:], []string(nil)
			if verb == "unset" {
				set, unset = nil, args[2:]
			}
			changes, err := alterations("setting", set, unset)
			if err != nil {
				return err
			}
			if len(changes) == 0 {
				return usagef("%s needs at least one setting", cmd.CommandPath())
			}
			return c.ask(func(ctx context.Context, a *kgo.Client) error {
				if err := alterConfigs(ctx, a, kind, name, changes); err != nil {
					return err
				}
				return c.print(map[string]string{"changed": args[0] + " " + args[1]}, func(w io.Writer) { fmt.Fprintf(w, "changed %s %s\n", args[0], args[1]) })
			})
		},
	}
}

func alterConfigs(ctx context.Context, a *kgo.Client, kind kmsg.ConfigResourceType, name string, changes []kadm.AlterConfig) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, ch := range changes {
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name, k.Value = ch.Name, ch.Value
		if ch.Op == kadm.DeleteConfig {
			k.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, k)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return unknownBroker(kind, name, err)
	}
	var errs []error
	for _, res := range resp.Resources {
		if err := codeError(res.ErrorCode, res.ErrorMessage); err != nil {
			errs = append(errs, ofResource(kind, name, res.ErrorCode, err))
		}
	}
	return errors.Join(errs...)
}
