package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func topicCommand(e env) *cobra.Command {
	c := &connection{env: e}
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, change and delete topics",
		Example: `  moldau topic create orders --partitions 3 --config retention.ms=86400000
  moldau topic list
  moldau topic describe orders
  moldau topic alter orders --partitions 6
  moldau topic delete orders`,
		Args: noArgs,
		RunE: help,
	}
	c.flags(cmd)
	cmd.AddCommand(topicCreate(c), topicList(c), topicDescribe(c), topicAlter(c), topicDelete(c))
	return cmd
}

// names demands one or more arguments.
func names(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs the name of a %s: `%s --help` shows examples", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// oneName demands exactly one argument.
func oneName(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s needs the name of one %s, and got %d: `%s --help` shows examples", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// keyValues parses key=value pairs.
func keyValues(flag string, pairs []string) (map[string]*string, error) {
	out := make(map[string]*string, len(pairs))
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, usagef("%s %q: write it as key=value", flag, p)
		}
		out[key] = &value
	}
	return out, nil
}

func topicCreate(c *connection) *cobra.Command {
	var partitions int32
	var factor int16
	var configs []string
	var ifNotExists, validateOnly bool
	cmd := &cobra.Command{
		Use:   "create TOPIC…",
		Short: "Create topics",
		Example: `  moldau topic create orders
  moldau topic create clicks --partitions 12 --config compression.type=zstd
  moldau topic create bulk --config ack.durability=written`,
		Args: names("topic"),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := keyValues("--config", configs)
			if err != nil {
				return err
			}
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				create := a.CreateTopics
				if validateOnly {
					create = a.ValidateCreateTopics
				}
				got, err := create(ctx, partitions, factor, set, args...)
				if err != nil {
					return err
				}
				return c.created(got.Sorted(), ifNotExists, validateOnly)
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1 takes the node's num.partitions")
	f.Int16VarP(&factor, "replication-factor", "r", -1, "number of replicas; -1 takes the node's default")
	f.StringArrayVar(&configs, "config", nil, "a setting of the topic as key=value; may be repeated")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "a topic that is there already is no error")
	f.BoolVar(&validateOnly, "validate-only", false, "check the request and create nothing")
	return cmd
}

type createdTopic struct {
	Topic             string `json:"topic"`
	TopicID           string `json:"topicId,omitempty"`
	Partitions        int32  `json:"partitions,omitempty"`
	ReplicationFactor int16  `json:"replicationFactor,omitempty"`
	Error             string `json:"error,omitempty"`
}

// topicID is an id as Kafka writes it: URL-safe base64 without padding.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// created prints what became of each topic.
func (c *connection) created(got []kadm.CreateTopicResponse, ifNotExists, validateOnly bool) error {
	var rows []createdTopic
	var errs []error
	for _, t := range got {
		row := createdTopic{Topic: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
		if !validateOnly && t.Err == nil {
			row.TopicID = topicID(t.ID)
		}
		exists := errors.Is(t.Err, kerr.TopicAlreadyExists)
		if t.Err != nil && !(exists && ifNotExists) {
			err := ofTopic(t.Topic, t.Err, t.ErrMessage)
			row.Error = err.Error()
			errs = append(errs, err)
		}
		rows = append(rows, row)
	}
	err := c.print(rows, func(w io.Writer) {
		for _, r := range rows {
			switch {
			case r.Error != "":
			case validateOnly:
				fmt.Fprintf(w, "topic %s could be created\n", r.Topic)
			case r.TopicID == "":
				fmt.Fprintf(w, "topic %s is there already\n", r.Topic)
			default:
				fmt.Fprintf(w, "created topic %s with %s\n", r.Topic, count(int(r.Partitions), "partition"))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func topicList(c *connection) *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Example: `  moldau topic list
  moldau topic list --internal --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				list := a.ListTopics
				if internal {
					list = a.ListTopicsWithInternal
				}
				topics, err := list(ctx)
				if err != nil {
					return err
				}
				type row struct {
					Topic             string `json:"topic"`
					TopicID           string `json:"topicId"`
					Partitions        int    `json:"partitions"`
					ReplicationFactor int    `json:"replicationFactor"`
				}
				rows := []row{}
				for _, t := range topics.Sorted() {
					rows = append(rows, row{t.Topic, topicID(t.ID), len(t.Partitions), t.Partitions.NumReplicas()})
				}
				return c.print(rows, func(w io.Writer) {
					columns(w, "TOPIC\tPARTITIONS\tREPLICAS", func(line func(string, ...any)) {
						for _, r := range rows {
							line("%s\t%d\t%d", r.Topic, r.Partitions, r.ReplicationFactor)
						}
					})
				})
			})
		},
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "also list Kafka's own topics")
	return cmd
}

// describedPartition is one partition as `topic describe` shows it.
type describedPartition struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"startOffset"`
	End         int64   `json:"endOffset"`
	Error       string  `json:"error,omitempty"`
}

// describedTopic is one topic as `topic describe` shows it.
type describedTopic struct {
	Topic      string               `json:"topic"`
	TopicID    string               `json:"topicId"`
	Partitions []describedPartition `json:"partitions"`
	Configs    map[string]string    `json:"configs"`
}

func topicDescribe(c *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "describe TOPIC…",
		Short: "Show topics' partitions, offsets and own settings",
		Example: `  moldau topic describe orders
  moldau topic describe orders clicks --json`,
		Args: names("topic"),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				rows, err := describeTopics(ctx, a, args)
				return errors.Join(c.print(rows, func(w io.Writer) { printTopics(w, rows) }), err)
			})
		},
	}
}

func describeTopics(ctx context.Context, a *kadm.Client, args []string) ([]describedTopic, error) {
	topics, err := a.ListTopicsWithInternal(ctx, args...)
	if err != nil {
		return nil, err
	}
	starts, err := a.ListStartOffsets(ctx, args...)
	if err != nil {
		return nil, err
	}
	ends, err := a.ListEndOffsets(ctx, args...)
	if err != nil {
		return nil, err
	}
	configs, err := a.DescribeTopicConfigs(ctx, args...)
	if err != nil {
		return nil, err
	}
	var errs []error
	rows := []describedTopic{}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			errs = append(errs, ofTopic(t.Topic, t.Err, ""))
			continue
		}
		d := describedTopic{Topic: t.Topic, TopicID: topicID(t.ID), Configs: map[string]string{}}
		for _, p := range t.Partitions.Sorted() {
			row := describedPartition{Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR}
			start, _ := starts.Lookup(t.Topic, p.Partition)
			end, _ := ends.Lookup(t.Topic, p.Partition)
			row.Start, row.End = start.Offset, end.Offset
			if err := cmpErr(p.Err, start.Err, end.Err); err != nil {
				row.Error = explain(err).Error()
			}
			d.Partitions = append(d.Partitions, row)
		}
		if rc, err := configs.On(t.Topic, nil); err == nil {
			for _, k := range rc.Configs {
				if k.Source == 1 { // DYNAMIC_TOPIC_CONFIG: set for the topic itself
					d.Configs[k.Key] = k.MaybeValue()
				}
			}
		}
		rows = append(rows, d)
	}
	return rows, errors.Join(errs...)
}

// cmpErr is the first error there is.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func printTopics(w io.Writer, rows []describedTopic) {
	for i, t := range rows {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (id %s)\n", t.Topic, t.TopicID)
		keys := make([]string, 0, len(t.Configs))
		for k := range t.Configs {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintf(w, "  %s=%s\n", k, t.Configs[k])
		}
		columns(w, "  PARTITION\tLEADER\tEPOCH\tREPLICAS\tISR\tSTART\tEND\t", func(line func(string, ...any)) {
			for _, p := range t.Partitions {
				line("  %d\t%d\t%d\t%s\t%s\t%d\t%d\t%s", p.Partition, p.Leader, p.LeaderEpoch, ids(p.Replicas), ids(p.ISR), p.Start, p.End, p.Error)
			}
		})
	}
}

func ids(list []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}

func topicAlter(c *connection) *cobra.Command {
	var partitions int
	var set, unset []string
	cmd := &cobra.Command{
		Use:   "alter TOPIC",
		Short: "Change a topic's settings or add partitions",
		Example: `  moldau topic alter orders --set retention.ms=3600000 --unset segment.ms
  moldau topic alter orders --partitions 6`,
		Args: oneName("topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := alterations("--set", set, unset)
			if err != nil {
				return err
			}
			if len(changes) == 0 && partitions == 0 {
				return usagef("%s changes nothing: give --set, --unset or --partitions", cmd.CommandPath())
			}
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				return c.alterTopic(ctx, a, args[0], partitions, changes)
			})
		},
	}
	f := cmd.Flags()
	f.IntVarP(&partitions, "partitions", "p", 0, "raise the number of partitions to this")
	f.StringArrayVar(&set, "set", nil, "set a setting, key=value; may be repeated")
	f.StringArrayVar(&unset, "unset", nil, "let a setting fall back to its default; may be repeated")
	return cmd
}

// alterations are the changes that --set and --unset ask for.
func alterations(flag string, set, unset []string) ([]kadm.AlterConfig, error) {
	values, err := keyValues(flag, set)
	if err != nil {
		return nil, err
	}
	var out []kadm.AlterConfig
	for k, v := range values {
		out = append(out, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: v})
	}
	for _, k := range unset {
		out = append(out, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
	}
	slices.SortFunc(out, func(a, b kadm.AlterConfig) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *connection) alterTopic(ctx context.Context, a *kadm.Client, topic string, partitions int, changes []kadm.AlterConfig) error {
	if len(changes) > 0 {
		got, err := a.AlterTopicConfigs(ctx, changes, topic)
		if err != nil {
			return err
		}
		for _, r := range got {
			if r.Err != nil {
				return ofTopic(topic, r.Err, r.ErrMessage)
			}
		}
	}
	if partitions > 0 {
		got, err := a.UpdatePartitions(ctx, partitions, topic)
		if err != nil {
			return err
		}
		for _, r := range got {
			if r.Err != nil {
				return ofTopic(topic, r.Err, r.ErrMessage)
			}
		}
	}
	return c.print(map[string]string{"topic": topic}, func(w io.Writer) { fmt.Fprintf(w, "changed topic %s\n", topic) })
}

func topicDelete(c *connection) *cobra.Command {
	var ifExists bool
	cmd := &cobra.Command{
		Use:     "delete TOPIC…",
		Short:   "Delete topics and their records",
		Example: `  moldau topic delete orders clicks`,
		Args:    names("topic"),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				got, err := a.DeleteTopics(ctx, args...)
				if err != nil {
					return err
				}
				var errs []error
				deleted := []string{}
				for _, t := range got.Sorted() {
					missing := errors.Is(t.Err, kerr.UnknownTopicOrPartition)
					switch {
					case t.Err == nil:
						deleted = append(deleted, t.Topic)
					case missing && ifExists:
					default:
						errs = append(errs, ofTopic(t.Topic, t.Err, t.ErrMessage))
					}
				}
				err = c.print(map[string][]string{"deleted": deleted}, func(w io.Writer) {
					for _, name := range deleted {
						fmt.Fprintf(w, "deleted topic %s\n", name)
					}
				})
				return errors.Join(append(errs, err)...)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that is not there is no error")
	return cmd
}
