package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
)

// resetting is what `group reset` was asked to do.
type resetting struct {
	*grouping
	group     string
	topics    []string
	allTopics bool
	execute   bool
	dryRun    bool

	earliest, latest, current bool
	offset, shift             int64
	datetime, duration, file  string
	target                    string // the name of the one flag that says where to
}

// targets are the flags that say where to, of which one is given.
var targets = []string{"to-earliest", "to-latest", "to-current", "to-offset", "to-datetime", "by-duration", "shift-by", "from-file"}

func (g *grouping) reset() *cobra.Command {
	r := &resetting{grouping: g}
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Move a " + g.noun() + "'s offsets; shows the plan unless --execute is given",
		Long: strings.ReplaceAll(`Move a GROUP's offsets.

The group must have no members. Without --execute it is only shown what would change. An
offset outside of what the partition holds becomes its nearest end.`, "GROUP", g.command),
		Example: g.resetExamples(),
		Args:    oneName(g.command),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.group = args[0]
			for _, name := range targets {
				if f := cmd.Flags().Lookup(name); f == nil || !f.Changed {
					continue
				}
				if r.target != "" {
					return usagef("--%s and --%s exclude each other: where should the offsets go?", r.target, name)
				}
				r.target = name
			}
			return r.run()
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&r.topics, "topic", "t", nil, "a topic, or TOPIC:0,3 for some of its partitions; may be repeated")
	f.BoolVar(&r.allTopics, "all-topics", false, "all topics in which the group has offsets")
	f.BoolVar(&r.earliest, "to-earliest", false, "to the first record there is")
	f.BoolVar(&r.latest, "to-latest", false, "behind the last record")
	f.StringVar(&r.datetime, "to-datetime", "", "to the first record at or after a time, 2026-01-31T12:00:00Z; without a zone it is UTC")
	if g.only == "" {
		f.BoolVar(&r.current, "to-current", false, "where it is, so that the offsets stay known for longer")
		f.Int64Var(&r.offset, "to-offset", 0, "to this offset")
		f.StringVar(&r.duration, "by-duration", "", "to the first record of the last 2h30m, or P3DT2H30M as Kafka's tools write it")
		f.Int64Var(&r.shift, "shift-by", 0, "forward by so many records, or back with a minus sign")
		f.StringVar(&r.file, "from-file", "", "to the offsets in a file of lines TOPIC,PARTITION,OFFSET, or GROUP,TOPIC,PARTITION,OFFSET")
	}
	f.BoolVar(&r.execute, "execute", false, "do it")
	f.BoolVar(&r.dryRun, "dry-run", false, "only show what would change (the default)")
	return cmd
}

func (g *grouping) resetExamples() string {
	if g.only != "" {
		return `  moldau share-group reset workers --topic orders --to-earliest
  moldau share-group reset workers --all-topics --to-datetime 2026-01-31T12:00:00Z --execute`
	}
	return `  moldau group reset billing --all-topics --to-earliest
  moldau group reset billing --topic orders:0,3 --to-offset 1000 --execute
  moldau group reset billing --topic orders --by-duration 2h --execute
  moldau group reset billing --topic orders --shift-by -10 --execute`
}

// movedOffset is one partition's old and new offset.
type movedOffset struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Old       int64  `json:"oldOffset"` // -1: none
	New       int64  `json:"newOffset"`
	Error     string `json:"error,omitempty"`
	epoch     int32
}

func (r *resetting) run() error {
	switch {
	case r.target == "":
		return usagef("reset needs to know where to: one of --%s", strings.Join(targets, ", --"))
	case r.execute && r.dryRun:
		return usagef("--execute and --dry-run exclude each other")
	case r.target != "from-file" && r.allTopics == (len(r.topics) > 0):
		return usagef("reset needs to know which topics: either --topic, or --all-topics")
	}
	return r.ask(func(ctx context.Context, cl *kgo.Client) error {
		a := kadm.NewClient(cl)
		if err := r.resettable(ctx, cl); err != nil {
			return err
		}
		rows, err := r.plan(ctx, a)
		if err != nil {
			return err
		}
		if r.execute {
			err = r.commit(ctx, a, rows)
		}
		return errors.Join(err, r.print(rows, func(w io.Writer) { r.printMoves(w, rows) }))
	})
}

// resettable refuses groups with members, whose next commit would undo it all.
// A group that is not there yet may be given offsets to begin with.
func (r *resetting) resettable(ctx context.Context, cl *kgo.Client) error {
	of := &grouping{connection: r.connection, command: r.command} // also of the other types, to say so
	all, err := of.listed(ctx, cl, nil, nil)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(l listedGroup) bool { return l.Group == r.group })
	switch {
	case i < 0 && r.only == "":
		return nil
	case i < 0:
		return r.missing(r.group)
	case all[i].Type == shareGroup && r.only == "":
		return fmt.Errorf("%s is a share group: `moldau share-group reset %s` moves its offsets", r.group, r.group)
	case r.only != "" && all[i].Type != r.only:
		return fmt.Errorf("%s is a %s group: `moldau group reset %s` moves its offsets", r.group, all[i].Type, r.group)
	case all[i].State != "Empty" && all[i].State != "Dead":
		return fmt.Errorf("group %s is %s, and only a group without members can be reset: stop them first, `moldau %s describe %s` shows them",
			r.group, all[i].State, r.command, r.group)
	}
	return nil
}

// plan settles every partition's new offset.
func (r *resetting) plan(ctx context.Context, a *kadm.Client) ([]movedOffset, error) {
	d := describedGroup{listedGroup: listedGroup{Group: r.group, Type: cmp.Or(r.only, classicGroup)}}
	at := map[tp]groupOffset{}
	load := d.committed
	if r.only != "" {
		load = d.shared
	}
	if err := load(ctx, a, at); err != nil {
		return nil, r.ofGroup(r.group, err)
	}
	wanted, err := r.wanted(ctx, a, at)
	if err != nil {
		return nil, err
	}
	rows := make([]movedOffset, 0, len(wanted))
	topics := map[string]bool{}
	for key := range wanted {
		old := int64(-1)
		if o, ok := at[key]; ok {
			old = o.Offset
		}
		rows = append(rows, movedOffset{Group: r.group, Topic: key.topic, Partition: key.partition, Old: old, epoch: -1})
		topics[key.topic] = true
	}
	slices.SortFunc(rows, func(a, b movedOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	list := make([]string, 0, len(topics))
	for topic := range topics {
		list = append(list, topic)
	}
	if err := r.place(ctx, a, list, rows, wanted); err != nil {
		return nil, err
	}
	return rows, nil
}

// wanted lists the partitions to move; the value is what a file says.
func (r *resetting) wanted(ctx context.Context, a *kadm.Client, at map[tp]groupOffset) (map[tp]int64, error) {
	out := map[tp]int64{}
	switch {
	case r.target == "from-file":
		return r.readFile()
	case r.allTopics:
		for key := range at {
			out[key] = -1
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("group %s has no offsets yet: name the topics with --topic", r.group)
		}
		return out, nil
	}
	for _, spec := range r.topics {
		topic, list, some := strings.Cut(spec, ":")
		if some {
			for _, text := range strings.Split(list, ",") {
				p, err := strconv.ParseInt(text, 10, 32)
				if err != nil || p < 0 {
					return nil, usagef("--topic %q: write it as TOPIC or TOPIC:0,3", spec)
				}
				out[tp{topic, int32(p)}] = -1
			}
			continue
		}
		got, err := a.ListTopicsWithInternal(ctx, topic)
		if err != nil {
			return nil, err
		}
		if err := got[topic].Err; err != nil {
			return nil, ofTopic(topic, err, "")
		}
		for p := range got[topic].Partitions {
			out[tp{topic, p}] = -1
		}
	}
	return out, nil
}

// maxOffsetsFile bounds a file of offsets.
const maxOffsetsFile = 64 << 20

func (r *resetting) readFile() (map[tp]int64, error) {
	text, err := os.ReadFile(r.file)
	if err != nil {
		return nil, fmt.Errorf("the offsets cannot be read: %w", err)
	}
	if len(text) > maxOffsetsFile {
		return nil, fmt.Errorf("%s has %s of offsets; at most %s are taken", r.file, size(int64(len(text))), size(maxOffsetsFile))
	}
	lines := csv.NewReader(bytes.NewReader(text))
	lines.FieldsPerRecord, lines.TrimLeadingSpace, lines.Comment = -1, true, '#'
	out := map[tp]int64{}
	for {
		f, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		n, _ := lines.FieldPos(0)
		if len(f) == 4 {
			if f[0] != r.group {
				continue
			}
			f = f[1:]
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("%s line %d: %q is not TOPIC,PARTITION,OFFSET", r.file, n, strings.Join(f, ","))
		}
		p, perr := strconv.ParseInt(f[1], 10, 32)
		o, oerr := strconv.ParseInt(f[2], 10, 64)
		if perr != nil || oerr != nil || p < 0 || o < 0 {
			return nil, fmt.Errorf("%s line %d: %q is not TOPIC,PARTITION,OFFSET", r.file, n, strings.Join(f, ","))
		}
		out[tp{f[0], int32(p)}] = o
	}
}

// place fills in the new offsets, each within what its partition holds.
func (r *resetting) place(ctx context.Context, a *kadm.Client, topics []string, rows []movedOffset, wanted map[tp]int64) error {
	if len(topics) == 0 {
		return nil
	}
	starts, err := a.ListStartOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	ends, err := a.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	var since kadm.ListedOffsets
	if r.target == "to-datetime" || r.target == "by-duration" {
		ms, err := r.since()
		if err != nil {
			return err
		}
		if since, err = a.ListOffsetsAfterMilli(ctx, ms, topics...); err != nil {
			return err
		}
	}
	for i := range rows {
		row := &rows[i]
		start, found := starts.Lookup(row.Topic, row.Partition)
		end, _ := ends.Lookup(row.Topic, row.Partition)
		if err := cmpErr(start.Err, end.Err); err != nil {
			return ofTopic(row.Topic, err, "")
		}
		if !found {
			return fmt.Errorf("topic %s has no partition %d: `moldau topic describe %s` shows them", row.Topic, row.Partition, row.Topic)
		}
		after, _ := since.Lookup(row.Topic, row.Partition)
		row.New = r.goal(row, start.Offset, end.Offset, after.Offset, wanted[tp{row.Topic, row.Partition}])
	}
	return nil
}

// goal is one partition's new offset.
func (r *resetting) goal(row *movedOffset, start, end, after, listed int64) int64 {
	var to int64
	switch r.target {
	case "to-earliest":
		to = start
	case "to-latest":
		to = end
	case "to-current":
		if to = row.Old; to < 0 {
			to = end // as Kafka's tool does for a partition without an offset
		}
	case "to-offset":
		to = r.offset
	case "to-datetime", "by-duration":
		to = after
	case "shift-by":
		to = max(row.Old, 0) + r.shift
		if row.Old < 0 {
			to = start + r.shift
		}
	case "from-file":
		to = listed
	}
	return min(max(to, start), end)
}

// since is the time that --to-datetime or --by-duration names, in milliseconds.
func (r *resetting) since() (int64, error) {
	if r.target == "by-duration" {
		d, err := duration(r.duration)
		if err != nil {
			return 0, err
		}
		return clock.Millis((&clock.Real{}).Now().Add(-d)), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, r.datetime); err == nil {
			return clock.Millis(t), nil
		}
	}
	return 0, usagef("--to-datetime %q: write it like 2026-01-31T12:00:00Z", r.datetime)
}

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// duration reads 2h30m, and P3DT2H30M15S.
func duration(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	m := isoDuration.FindStringSubmatch(strings.ToUpper(text))
	if m == nil || len(text) < 3 {
		return 0, usagef("--by-duration %q: write it like 2h30m or P3DT2H30M", text)
	}
	var out time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseInt(m[i+1], 10, 32)
		if err != nil {
			return 0, usagef("--by-duration %q: %s is too much", text, m[i+1])
		}
		out += time.Duration(n) * unit
	}
	return out, nil
}

// commit writes the new offsets and notes on each row what was refused.
func (r *resetting) commit(ctx context.Context, a *kadm.Client, rows []movedOffset) error {
	offsets := kadm.Offsets{}
	for _, row := range rows {
		offsets.AddOffset(row.Topic, row.Partition, row.New, row.epoch)
	}
	result := map[tp]error{}
	if r.only != "" {
		got, err := a.AlterShareGroupOffsets(ctx, r.group, offsets)
		if err != nil {
			return r.ofGroup(r.group, err)
		}
		for topic, ps := range got {
			for p, err := range ps {
				result[tp{topic, p}] = err
			}
		}
	} else {
		got, err := a.CommitOffsets(ctx, r.group, offsets)
		if err != nil {
			return r.ofGroup(r.group, err)
		}
		got.Each(func(o kadm.OffsetResponse) { result[tp{o.Topic, o.Partition}] = o.Err })
	}
	var errs []error
	for i := range rows {
		if err := result[tp{rows[i].Topic, rows[i].Partition}]; err != nil {
			rows[i].Error = explain(err).Error()
			errs = append(errs, fmt.Errorf("%s-%d: %w", rows[i].Topic, rows[i].Partition, r.ofGroup(r.group, err)))
		}
	}
	return errors.Join(errs...)
}

func (r *resetting) printMoves(w io.Writer, rows []movedOffset) {
	columns(w, "TOPIC\tPARTITION\tOLD\tNEW\t", func(line func(string, ...any)) {
		for _, row := range rows {
			line("%s\t%d\t%s\t%d\t%s", row.Topic, row.Partition, known(row.Old), row.New, row.Error)
		}
	})
	if !r.execute {
		fmt.Fprintln(w, "nothing was changed: add --execute to do it")
	}
}
