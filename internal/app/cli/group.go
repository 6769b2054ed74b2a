package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Types of groups as ListGroups names them.
const (
	classicGroup  = "classic"
	consumerGroup = "consumer"
	streamsGroup  = "streams"
	shareGroup    = "share"
)

// grouping is a command on groups: of all types for `moldau group`, of share groups for `moldau share-group`.
type grouping struct {
	*connection
	command string // "group" or "share-group"
	only    string // "" or the one type that the command is about
}

// noun is what the command is about, in words.
func (g *grouping) noun() string { return strings.ReplaceAll(g.command, "-", " ") }

func groupCommand(e env) *cobra.Command {
	g := &grouping{connection: &connection{env: e}, command: "group"}
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and delete groups, and tell why they rebalanced",
		Long: `List, describe, reset and delete groups, and tell why they rebalanced.

It shows every type of group: classic and consumer groups, groups of Kafka Streams, share
groups. What changes a share group's offsets is under 'moldau share-group'.`,
		Example: `  moldau group list
  moldau group describe billing
  moldau group lag
  moldau group reset billing --topic orders --to-earliest
  moldau group why billing`,
		Args: noArgs,
		RunE: help,
	}
	g.flags(cmd)
	cmd.AddCommand(g.list(), g.describe(), g.lag(), g.reset(), g.delete(), g.why())
	return cmd
}

// groupTypes and groupStates are what groups can be, of whatever type.
var (
	groupTypes  = []string{classicGroup, consumerGroup, streamsGroup, shareGroup}
	groupStates = []string{"Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "NotReady", "Stable", "Dead"}
)

// oneOf refuses values of a flag that mean nothing, in whatever case they are written.
func oneOf(flag string, values, known []string) error {
	for _, v := range values {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, v) }) {
			return usagef("%s %q: it is one of %s", flag, v, strings.Join(known, ", "))
		}
	}
	return nil
}

// listedGroup is one group as `group list` shows it.
type listedGroup struct {
	Group       string `json:"group"`
	Type        string `json:"type"`
	Protocol    string `json:"protocolType"`
	State       string `json:"state"`
	Coordinator int32  `json:"coordinator"`
}

func (g *grouping) list() *cobra.Command {
	var states, types []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List " + g.noun() + "s with their states",
		Example: strings.ReplaceAll(`  moldau GROUP list
  moldau GROUP list --state Stable,Empty --json`, "GROUP", g.command),
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := cmp.Or(oneOf("--state", states, groupStates), oneOf("--type", types, groupTypes)); err != nil {
				return err
			}
			return g.ask(func(ctx context.Context, cl *kgo.Client) error {
				rows, err := g.listed(ctx, cl, types, states)
				return errors.Join(g.print(rows, func(w io.Writer) {
					columns(w, "GROUP\tTYPE\tSTATE\tCOORDINATOR", func(line func(string, ...any)) {
						for _, r := range rows {
							line("%s\t%s\t%s\t%d", r.Group, r.Type, r.State, r.Coordinator)
						}
					})
				}), err)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states, separated by commas: "+strings.Join(groupStates, ", "))
	if g.only == "" {
		cmd.Flags().StringSliceVar(&types, "type", nil, "only groups of these types, separated by commas: "+strings.Join(groupTypes, ", "))
	}
	return cmd
}

// listed asks every node for its groups. What some of them said is returned
// together with the error of those that did not answer.
func (g *grouping) listed(ctx context.Context, cl *kgo.Client, types, states []string) ([]listedGroup, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	if g.only != "" {
		req.TypesFilter = []string{g.only}
	}
	rows := []listedGroup{}
	var errs []error
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			errs = append(errs, fmt.Errorf("node %d cannot be asked for its groups: %w", shard.Meta.NodeID, shard.Err))
			continue
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := codeError(resp.ErrorCode, nil); err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w", shard.Meta.NodeID, err))
			continue
		}
		for _, r := range resp.Groups {
			// A node that is too old to know types has classic groups only.
			row := listedGroup{r.Group, strings.ToLower(r.GroupType), r.ProtocolType, r.GroupState, shard.Meta.NodeID}
			if row.Type == "" {
				row.Type = classicGroup
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b listedGroup) int { return strings.Compare(a.Group, b.Group) })
	return rows, errors.Join(errs...)
}

// find gives the named groups, or all of them without names.
func (g *grouping) find(ctx context.Context, cl *kgo.Client, names []string) ([]listedGroup, error) {
	all, err := g.listed(ctx, cl, nil, nil)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var found []listedGroup
	var errs []error
	for _, name := range names {
		i := slices.IndexFunc(all, func(r listedGroup) bool { return r.Group == name })
		if i < 0 {
			errs = append(errs, g.missing(name))
			continue
		}
		found = append(found, all[i])
	}
	return found, errors.Join(errs...)
}

func (g *grouping) missing(name string) error {
	return fmt.Errorf("there is no %s %s: `moldau %s list` lists those there are", g.noun(), name, g.command)
}

// ofGroup is an error about a group.
func (g *grouping) ofGroup(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.GroupIDNotFound):
		return g.missing(name)
	case errors.Is(err, kerr.NonEmptyGroup):
		return fmt.Errorf("group %s has members: stop them first, `moldau %s describe %s` shows them", name, g.command, name)
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.StaleMemberEpoch):
		return fmt.Errorf("group %s has members, so only they may commit: stop them first, `moldau %s describe %s` shows them", name, g.command, name)
	default:
		return fmt.Errorf("group %s: %w", name, explain(err))
	}
}

func (g *grouping) delete() *cobra.Command {
	var topics []string
	cmd := &cobra.Command{
		Use:   "delete GROUP…",
		Short: "Delete " + g.noun() + "s without members, or their offsets in some topics",
		Example: strings.ReplaceAll(`  moldau GROUP delete billing
  moldau GROUP delete billing --topic orders`, "GROUP", g.command),
		Args: names(g.command),
		RunE: func(_ *cobra.Command, args []string) error {
			return g.do(func(ctx context.Context, a *kadm.Client) error {
				if len(topics) > 0 {
					return g.deleteOffsets(ctx, a, args, topics)
				}
				return g.deleteGroups(ctx, a, args)
			})
		},
	}
	cmd.Flags().StringSliceVarP(&topics, "topic", "t", nil, "delete only the offsets committed for this topic; may be repeated")
	return cmd
}

func (g *grouping) deleteGroups(ctx context.Context, a *kadm.Client, args []string) error {
	var errs []error
	if g.only != "" {
		cl, err := g.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		if _, err = g.find(ctx, cl, args); err != nil {
			return err // of another type, mostly: deleting is too final for a slip
		}
	}
	got, err := a.DeleteGroups(ctx, args...)
	if err != nil {
		errs = append(errs, err)
	}
	deleted := []string{}
	for _, r := range got.Sorted() {
		if r.Err != nil {
			errs = append(errs, g.ofGroup(r.Group, r.Err))
			continue
		}
		deleted = append(deleted, r.Group)
	}
	return errors.Join(append(errs, g.print(map[string][]string{"deleted": deleted}, func(w io.Writer) {
		for _, name := range deleted {
			fmt.Fprintf(w, "deleted group %s\n", name)
		}
	}))...)
}

// deletedOffsets is one row of what `group delete --topic` did.
type deletedOffsets struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (g *grouping) deleteOffsets(ctx context.Context, a *kadm.Client, groups, topics []string) error {
	var errs []error
	rows := []deletedOffsets{}
	add := func(group, topic string, partition *int32, err error) {
		row := deletedOffsets{Group: group, Topic: topic, Partition: partition}
		if errors.Is(err, kerr.GroupSubscribedToTopic) {
			err = fmt.Errorf("a member of group %s is subscribed to %s, so its offsets there are in use: stop it first", group, topic)
		} else if err != nil {
			err = ofTopic(topic, err, "")
		}
		if err != nil {
			row.Error = err.Error()
			errs = append(errs, err)
		}
		rows = append(rows, row)
	}
	for _, group := range groups {
		err := g.deleteOffsetsOf(ctx, a, group, topics, func(topic string, partition *int32, err error) { add(group, topic, partition, err) })
		if err != nil {
			errs = append(errs, g.ofGroup(group, err))
		}
	}
	return errors.Join(append(errs, g.print(rows, func(w io.Writer) {
		for _, r := range rows {
			switch {
			case r.Error != "":
			case r.Partition == nil:
				fmt.Fprintf(w, "deleted offsets of group %s in %s\n", r.Group, r.Topic)
			default:
				fmt.Fprintf(w, "deleted offset of group %s in %s-%d\n", r.Group, r.Topic, *r.Partition)
			}
		}
	}))...)
}

func (g *grouping) deleteOffsetsOf(ctx context.Context, a *kadm.Client, group string, topics []string, add func(string, *int32, error)) error {
	if g.only == shareGroup {
		got, err := a.DeleteShareGroupOffsets(ctx, group, topics...)
		for _, topic := range topics {
			if res, ok := got.Lookup(topic); ok {
				add(topic, nil, res)
			}
		}
		return err
	}
	committed, err := a.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	set := kadm.TopicsSet{}
	for _, topic := range topics {
		if len(committed[topic]) == 0 {
			return fmt.Errorf("group %s has committed nothing in topic %s: `moldau group describe %s` shows its offsets", group, topic, group)
		}
		for p := range committed[topic] {
			set.Add(topic, p)
		}
	}
	got, err := a.DeleteOffsets(ctx, group, set)
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			if res, ok := got.Lookup(t.Topic, p); ok {
				add(t.Topic, &p, res)
			}
		}
	}
	return err
}
