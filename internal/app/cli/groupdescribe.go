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

// describedGroup is one group of any type as `group describe` shows it.
type describedGroup struct {
	listedGroup
	CoordinatorAddress string         `json:"coordinatorAddress,omitempty"`
	Assignor           string         `json:"assignor,omitempty"`
	Epoch              *int32         `json:"epoch,omitempty"`
	AssignmentEpoch    *int32         `json:"assignmentEpoch,omitempty"`
	TopologyEpoch      *int32         `json:"topologyEpoch,omitempty"`
	Members            []groupMember  `json:"members"`
	Offsets            []groupOffset  `json:"offsets"`
	Lag                int64          `json:"lag"`
	owners             map[tp]string  // who reads a partition
	subtopologies      []subtopology  // of a streams group
	tasks              map[string]int // subtopologies by id
}

type tp struct {
	topic     string
	partition int32
}

type subtopology struct {
	ID     string
	Topics []string
}

// groupMember is one member of a group of any type.
type groupMember struct {
	Member     string            `json:"member"`
	Instance   *string           `json:"instance,omitempty"`
	Client     string            `json:"client"`
	Host       string            `json:"host"`
	Rack       *string           `json:"rack,omitempty"`
	Epoch      *int32            `json:"epoch,omitempty"`
	Protocol   string            `json:"protocol,omitempty"` // classic in a consumer group that migrates
	Subscribed []string          `json:"subscribed,omitempty"`
	Regex      *string           `json:"regex,omitempty"`
	Assigned   []topicPartitions `json:"assigned"`
	Target     []topicPartitions `json:"target,omitempty"` // where it is on its way, if that differs
	Standby    []topicPartitions `json:"standby,omitempty"`
	Warmup     []topicPartitions `json:"warmup,omitempty"`
}

// topicPartitions are partitions of one topic; in a streams group, tasks of one subtopology.
type topicPartitions struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

// groupOffset is where a group is in one partition.
type groupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // -1: nothing committed
	Start     int64  `json:"startOffset"`
	End       int64  `json:"endOffset"`
	Lag       int64  `json:"lag"` // -1: unknown
	Member    string `json:"member,omitempty"`
	Metadata  string `json:"metadata,omitempty"`
	Error     string `json:"error,omitempty"`
	told      bool   // the coordinator has told the lag
}

func (g *grouping) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "describe GROUP…",
		Short: "Show " + g.noun() + "s: state, members, assignments, offsets and lag",
		Example: strings.ReplaceAll(`  moldau GROUP describe billing
  moldau GROUP describe billing --json`, "GROUP", g.command),
		Args: names(g.command),
		RunE: func(_ *cobra.Command, args []string) error {
			return g.described(args, printGroups)
		},
	}
}

func (g *grouping) lag() *cobra.Command {
	return &cobra.Command{
		Use:   "lag [GROUP…]",
		Short: "Show how far groups are behind, all of them without names",
		Example: `  moldau group lag
  moldau group lag billing --json`,
		RunE: func(_ *cobra.Command, args []string) error {
			return g.described(args, printLag)
		},
	}
}

// described shows the named groups, or all.
func (g *grouping) described(args []string, show func(io.Writer, []describedGroup)) error {
	return g.ask(func(ctx context.Context, cl *kgo.Client) error {
		found, err := g.find(ctx, cl, args)
		errs := []error{err}
		a := kadm.NewClient(cl)
		rows := []describedGroup{}
		for _, l := range found {
			d := describedGroup{listedGroup: l, Members: []groupMember{}, owners: map[tp]string{}, tasks: map[string]int{}, Offsets: []groupOffset{}}
			if err := cmp.Or(d.load(ctx, cl), d.loadOffsets(ctx, a)); err != nil {
				errs = append(errs, g.ofGroup(l.Group, err))
				continue
			}
			rows = append(rows, d)
		}
		return errors.Join(append(errs, g.print(rows, func(w io.Writer) { show(w, rows) }))...)
	})
}

// load describes the group's members, as its type has it.
func (d *describedGroup) load(ctx context.Context, cl *kgo.Client) error {
	a := kadm.NewClient(cl)
	switch d.Type {
	case classicGroup:
		return d.loadClassic(ctx, a)
	case consumerGroup:
		return d.loadConsumer(ctx, a)
	case shareGroup:
		return d.loadShare(ctx, a)
	case streamsGroup:
		return d.loadStreams(ctx, cl)
	default:
		return fmt.Errorf("it is of the type %q, which this program does not know: take a newer one", d.Type)
	}
}

func (d *describedGroup) at(b kadm.BrokerDetail) {
	d.Coordinator, d.CoordinatorAddress = b.NodeID, fmt.Sprintf("%s:%d", b.Host, b.Port)
}

func (d *describedGroup) loadClassic(ctx context.Context, a *kadm.Client) error {
	got, err := a.DescribeGroups(ctx, d.Group)
	if err != nil {
		return err
	}
	r, err := got.On(d.Group, nil)
	if err != nil {
		return withMessage(err, r.ErrMessage)
	}
	d.at(r.Coordinator)
	d.State, d.Assignor, d.Protocol = r.State, r.Protocol, r.ProtocolType
	for _, m := range r.Members {
		row := groupMember{Member: m.MemberID, Instance: m.InstanceID, Client: m.ClientID, Host: m.ClientHost, Assigned: []topicPartitions{}}
		if joined, ok := m.Join.AsConsumer(); ok {
			row.Subscribed = joined.Topics
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				row.Assigned = append(row.Assigned, topicPartitions{t.Topic, t.Partitions})
			}
		}
		d.join(row)
	}
	return nil
}

// described is the error of a question about one group: the question's, or that the answer has no such group, or the group's.
func described(err error, found bool, own error) error {
	if err == nil && !found {
		err = kerr.GroupIDNotFound
	}
	return cmp.Or(err, own)
}

func (d *describedGroup) loadConsumer(ctx context.Context, a *kadm.Client) error {
	got, err := a.DescribeConsumerGroups(ctx, d.Group)
	r, ok := got[d.Group]
	if err = described(err, ok, r.Err); err != nil {
		return err
	}
	d.at(r.Coordinator)
	d.State, d.Assignor, d.Epoch, d.AssignmentEpoch = r.State, r.AssignorName, &r.Epoch, &r.AssignmentEpoch
	for _, m := range r.Members {
		row := groupMember{
			Member: m.MemberID, Instance: m.InstanceID, Client: m.ClientID, Host: m.ClientHost, Rack: m.RackID, Epoch: &m.MemberEpoch,
			Subscribed: m.SubscribedTopics, Regex: m.SubscribedTopicRegex, Assigned: ofSet(m.Assignment), Target: ofSet(m.TargetAssignment),
		}
		if m.MemberType == 0 {
			row.Protocol = classicGroup
		}
		d.join(row)
	}
	return nil
}

func (d *describedGroup) loadShare(ctx context.Context, a *kadm.Client) error {
	got, err := a.DescribeShareGroups(ctx, d.Group)
	r, ok := got[d.Group]
	if err = described(err, ok, r.Err); err != nil {
		return err
	}
	d.at(r.Coordinator)
	d.State, d.Assignor, d.Epoch, d.AssignmentEpoch = r.GroupState, r.Assignor, &r.GroupEpoch, &r.AssignmentEpoch
	for _, m := range r.Members {
		d.join(groupMember{
			Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Rack: m.RackID, Epoch: &m.MemberEpoch,
			Subscribed: m.SubscribedTopicNames, Assigned: ofSet(m.Assignment),
		})
	}
	d.owners = nil // several members read one partition
	return nil
}

func (d *describedGroup) loadStreams(ctx context.Context, cl *kgo.Client) error {
	req := kmsg.NewPtrStreamsGroupDescribeRequest()
	req.Groups = []string{d.Group}
	// The client does not route this request by itself; who coordinates the group was told with the list.
	resp, err := req.RequestWith(ctx, cl.Broker(int(d.Coordinator)))
	if err != nil {
		return err
	}
	if len(resp.Groups) == 0 {
		return kerr.GroupIDNotFound
	}
	r := &resp.Groups[0]
	if err := codeError(r.ErrorCode, r.ErrorMessage); err != nil {
		return err
	}
	if m, err := kadm.NewClient(cl).BrokerMetadata(ctx); err == nil {
		for _, b := range m.Brokers {
			if b.NodeID == d.Coordinator {
				d.at(b)
			}
		}
	}
	d.State, d.Epoch, d.AssignmentEpoch = r.State, &r.Epoch, &r.AssignmentEpoch
	if r.AssignorName != nil {
		d.Assignor = *r.AssignorName
	}
	if t := r.Topology; t != nil {
		d.TopologyEpoch = &t.Epoch
		for _, s := range t.Subtopologies {
			topics := slices.Clone(s.SourceTopics)
			for _, internal := range s.RepartitionSourceTopics {
				topics = append(topics, internal.Topic)
			}
			d.tasks[s.SubtopologyID] = len(d.subtopologies)
			d.subtopologies = append(d.subtopologies, subtopology{s.SubtopologyID, topics})
		}
	}
	for i := range r.Members {
		m := &r.Members[i]
		row := groupMember{
			Member: m.MemberID, Instance: m.InstanceID, Client: m.ClientID, Host: m.ClientHost, Rack: m.RackID, Epoch: &m.MemberEpoch,
			Assigned: ofTasks(m.Assignment.ActiveTasks), Target: ofTasks(m.TargetAssignment.ActiveTasks),
			Standby: ofTasks(m.Assignment.StandbyTasks), Warmup: ofTasks(m.Assignment.WarmupTasks),
		}
		if m.IsClassic {
			row.Protocol = classicGroup
		}
		d.join(row)
	}
	return nil
}

// join takes a member in.
func (d *describedGroup) join(m groupMember) {
	if slices.EqualFunc(m.Assigned, m.Target, func(a, b topicPartitions) bool {
		return a.Topic == b.Topic && slices.Equal(a.Partitions, b.Partitions)
	}) {
		m.Target = nil
	}
	for _, t := range m.Assigned {
		topics := []string{t.Topic}
		if d.Type == streamsGroup {
			topics = nil
			if i, ok := d.tasks[t.Topic]; ok {
				topics = d.subtopologies[i].Topics
			}
		}
		for _, topic := range topics {
			for _, p := range t.Partitions {
				d.owners[tp{topic, p}] = m.Member
			}
		}
	}
	d.Members = append(d.Members, m)
}

func ofSet(set kadm.TopicsSet) []topicPartitions {
	out := []topicPartitions{}
	for _, t := range set.Sorted() {
		out = append(out, topicPartitions{t.Topic, t.Partitions})
	}
	return out
}

func ofTasks(tasks []kmsg.TaskIDs) []topicPartitions {
	out := []topicPartitions{}
	for _, t := range tasks {
		out = append(out, topicPartitions{t.SubtopologyID, slices.Sorted(slices.Values(t.Partitions))})
	}
	return out
}

// loadOffsets finds where the group is in each partition that it has read or
// that is assigned to one of its members.
func (d *describedGroup) loadOffsets(ctx context.Context, a *kadm.Client) error {
	at := map[tp]groupOffset{}
	for key := range d.owners {
		at[key] = groupOffset{Topic: key.topic, Partition: key.partition, Offset: -1}
	}
	load := d.committed
	if d.Type == shareGroup {
		load = d.shared
	}
	if err := load(ctx, a, at); err != nil {
		return err
	}
	if len(at) == 0 {
		return nil
	}
	topics := map[string]bool{}
	for key := range at {
		topics[key.topic] = true
	}
	list := make([]string, 0, len(topics))
	for topic := range topics {
		list = append(list, topic)
	}
	starts, err := a.ListStartOffsets(ctx, list...)
	if err != nil {
		return err
	}
	ends, err := a.ListEndOffsets(ctx, list...)
	if err != nil {
		return err
	}
	for key, row := range at {
		d.Offsets = append(d.Offsets, row.completed(d.owners[key], starts, ends))
	}
	slices.SortFunc(d.Offsets, func(a, b groupOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, row := range d.Offsets {
		d.Lag += max(row.Lag, 0)
	}
	return nil
}

func (d *describedGroup) committed(ctx context.Context, a *kadm.Client, at map[tp]groupOffset) error {
	got, err := a.FetchOffsets(ctx, d.Group)
	if err != nil {
		return err
	}
	got.Each(func(o kadm.OffsetResponse) {
		row := groupOffset{Topic: o.Topic, Partition: o.Partition, Offset: o.At, Metadata: o.Metadata}
		if o.Err != nil {
			row.Error = explain(o.Err).Error()
		}
		at[tp{o.Topic, o.Partition}] = row
	})
	return nil
}

func (d *describedGroup) shared(ctx context.Context, a *kadm.Client, at map[tp]groupOffset) error {
	got, err := a.DescribeShareGroupOffsets(ctx, d.Group)
	if err != nil {
		return err
	}
	if err := got[d.Group].Err; err != nil {
		return err
	}
	got[d.Group].Offsets.Each(func(o kadm.ShareOffset) {
		// Records behind the start offset may be done with, too: only the coordinator knows how many.
		row := groupOffset{Topic: o.Topic, Partition: o.Partition, Offset: o.StartOffset, told: true, Lag: o.Lag}
		if o.Err != nil {
			row.Error = explain(o.Err).Error()
		}
		at[tp{o.Topic, o.Partition}] = row
	})
	return nil
}

// completed adds what the partition's log says. Without a committed offset the lag is everything there is.
func (o groupOffset) completed(member string, starts, ends kadm.ListedOffsets) groupOffset {
	start, _ := starts.Lookup(o.Topic, o.Partition)
	end, _ := ends.Lookup(o.Topic, o.Partition)
	o.Member, o.Start, o.End = member, start.Offset, end.Offset
	err := cmpErr(start.Err, end.Err)
	if err != nil {
		o.Error = cmp.Or(o.Error, explain(err).Error())
	}
	switch {
	case o.told:
	case err != nil:
		o.Lag = -1
	default:
		o.Lag = max(o.End-max(o.Offset, o.Start), 0)
	}
	return o
}

func printGroups(w io.Writer, rows []describedGroup) {
	for i := range rows {
		if i > 0 {
			fmt.Fprintln(w)
		}
		rows[i].print(w)
	}
}

func (d *describedGroup) print(w io.Writer) {
	fmt.Fprintf(w, "%s (%s group, %s)\n", d.Group, d.Type, d.State)
	fmt.Fprintf(w, "  coordinator %d", d.Coordinator)
	if d.CoordinatorAddress != "" {
		fmt.Fprintf(w, " (%s)", d.CoordinatorAddress)
	}
	for _, field := range []struct {
		name  string
		value *int32
	}{{"epoch", d.Epoch}, {"assignment epoch", d.AssignmentEpoch}, {"topology epoch", d.TopologyEpoch}} {
		if field.value != nil {
			fmt.Fprintf(w, ", %s %d", field.name, *field.value)
		}
	}
	if d.Assignor != "" {
		fmt.Fprintf(w, ", assignor %s", d.Assignor)
	}
	fmt.Fprintf(w, ", %s, lag %d\n", count(len(d.Members), "member"), d.Lag)
	if len(d.Members) > 0 {
		columns(w, "  MEMBER\tCLIENT\tHOST\tASSIGNED\t", func(line func(string, ...any)) {
			for i := range d.Members {
				m := &d.Members[i]
				line("  %s\t%s\t%s\t%s\t", m.name(), m.Client, m.Host, m.holds())
			}
		})
	}
	if len(d.Offsets) > 0 {
		columns(w, "  TOPIC\tPARTITION\tOFFSET\tEND\tLAG\tMEMBER\t", func(line func(string, ...any)) {
			for _, o := range d.Offsets {
				line("  %s\t%d\t%s\t%d\t%s\t%s\t%s", o.Topic, o.Partition, known(o.Offset), o.End, known(o.Lag), o.Member, o.Error)
			}
		})
	}
}

// known is a number, or a dash for what is not known.
func known(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func (m *groupMember) name() string {
	name := m.Member
	if m.Instance != nil {
		name = fmt.Sprintf("%s [%s]", m.Member, *m.Instance)
	}
	if m.Protocol != "" {
		name += " (" + m.Protocol + ")"
	}
	return name
}

// holds tells what is a member's in one line.
func (m *groupMember) holds() string {
	parts := []string{short(m.Assigned)}
	if m.Target != nil {
		parts = append(parts, "on its way to "+short(m.Target))
	}
	if len(m.Standby) > 0 {
		parts = append(parts, "standby "+short(m.Standby))
	}
	if len(m.Warmup) > 0 {
		parts = append(parts, "warming up "+short(m.Warmup))
	}
	return strings.Join(parts, "; ")
}

// short writes partitions as topic:0-2,5.
func short(list []topicPartitions) string {
	if len(list) == 0 {
		return "-"
	}
	var out []string
	for _, t := range list {
		out = append(out, t.Topic+":"+ranges(t.Partitions))
	}
	return strings.Join(out, " ")
}

func ranges(numbers []int32) string {
	sorted := slices.Sorted(slices.Values(numbers))
	var out []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(sorted[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", sorted[i], sorted[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

func printLag(w io.Writer, rows []describedGroup) {
	if len(rows) == 0 {
		return
	}
	columns(w, "GROUP\tSTATE\tTOPIC\tPARTITION\tOFFSET\tEND\tLAG", func(line func(string, ...any)) {
		for _, d := range rows {
			for _, o := range d.Offsets {
				line("%s\t%s\t%s\t%d\t%s\t%d\t%s", d.Group, d.State, o.Topic, o.Partition, known(o.Offset), o.End, known(o.Lag))
			}
			line("%s\t%s\tall\t\t\t\t%d", d.Group, d.State, d.Lag)
		}
	})
}
