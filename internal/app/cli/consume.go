package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consuming is what `moldau consume` was asked to do.
type consuming struct {
	*connection
	topic      string
	from       string
	partitions []int32
	group      string
	count      int
	follow     bool
	committed  bool
	format     string

	left       map[int32]int64 // by partition: the offset to stop at, without --follow
	next       map[int32]int64 // by partition: the first offset that was not printed
	printedAny map[int32]bool
	assigned   *assignment // in a group
	progress   *progress
}

// quiet is how long nothing comes before it is asked whether anything will.
const quiet = time.Second

// assignment is the partitions that a group gave us. It is filled from the client's goroutines.
type assignment struct {
	mu         sync.Mutex // guards partitions
	partitions map[int32]bool
}

func (a *assignment) has(p int32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.partitions[p]
}

// known tells whether the group has settled so far that we got something.
func (a *assignment) known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.partitions != nil
}

func (a *assignment) set(assigned map[string][]int32, topic string, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.partitions == nil {
		a.partitions = map[int32]bool{}
	}
	for _, p := range assigned[topic] {
		a.partitions[p] = mine
	}
}

func consumeCommand(e env) *cobra.Command {
	c := &consuming{connection: &connection{env: e}}
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Read records and print them, one a line",
		Long: `Read records and print them, one a line.

Without --follow the command reads what is there and ends; with it, it waits for more.
--format knows %k key, %v value, %h headers, %t topic, %p partition, %o offset, %d timestamp
in ms, \n, \t and %%.`,
		Example: `  moldau consume orders
  moldau consume orders --follow --from end
  moldau consume orders --from 2026-01-31T12:00:00Z --partition 0 --count 10
  moldau consume orders --group billing --follow --json
  moldau consume orders --format '%p:%o %k=%v\n'`,
		Args: oneName("topic"),
		RunE: func(_ *cobra.Command, args []string) error {
			c.topic = args[0]
			return c.run()
		},
	}
	c.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "start", "start, end, an offset, -n for the last n of each partition, or a time (RFC 3339)")
	f.Int32SliceVarP(&c.partitions, "partition", "p", nil, "partitions to read; none means all")
	f.StringVarP(&c.group, "group", "g", "", "read as a member of this consumer group and commit")
	f.IntVarP(&c.count, "count", "n", 0, "stop after this many records; 0 means no limit")
	f.BoolVarP(&c.follow, "follow", "f", false, "wait for more at the end")
	f.BoolVar(&c.committed, "read-committed", false, "skip records of transactions that are open or aborted")
	f.StringVarP(&c.format, "format", "o", `%v\n`, "how to print a record")
	return cmd
}

func (c *consuming) run() error {
	if c.count < 0 {
		return usagef("--count %d: it is a number from 0 on", c.count)
	}
	opts, err := c.options()
	if err != nil {
		return err
	}
	cl, err := c.client(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.assign(ctx, kadm.NewClient(cl), cl); err != nil {
		return c.topicError(err)
	}
	out := bufio.NewWriter(c.out)
	silent := io.Discard
	if !isTerminal(c.out) {
		silent = c.err // records do not go to the terminal: there is room for progress
	}
	c.progress = newProgress(silent)
	defer c.progress.clear()
	return errors.Join(c.read(ctx, cl, out), out.Flush())
}

// topicError says what is wrong with the topic.
func (c *consuming) topicError(err error) error {
	var wrong usageError
	if errors.As(err, &wrong) {
		return err
	}
	return ofTopic(c.topic, err, "")
}

func (c *consuming) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.FetchMaxWait(500 * time.Millisecond)}
	if c.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.group != "" {
		if len(c.partitions) > 0 {
			return nil, usagef("--group and --partition exclude each other: a group gives its members their partitions")
		}
		start := kgo.NewOffset().AtStart()
		switch c.from {
		case "start", "beginning", "earliest":
		case "end", "latest":
			start = kgo.NewOffset().AtEnd()
		default:
			return nil, usagef("--from %q: a group goes on where it has committed, and without that at start or end", c.from)
		}
		c.assigned = &assignment{}
		mine := func(mine bool) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				c.assigned.set(partitions, c.topic, mine)
			}
		}
		opts = append(opts, kgo.OnPartitionsAssigned(mine(true)), kgo.OnPartitionsRevoked(mine(false)), kgo.OnPartitionsLost(mine(false)))
		opts = append(opts, kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(c.topic), kgo.ConsumeResetOffset(start), kgo.DisableAutoCommit())
	}
	return opts, nil
}

// assign finds where to start and, without --follow, where to stop.
func (c *consuming) assign(ctx context.Context, a *kadm.Client, cl *kgo.Client) error {
	list := a.ListEndOffsets
	if c.committed {
		list = a.ListCommittedOffsets
	}
	ends, err := list(ctx, c.topic)
	if err != nil {
		return err
	}
	starts, err := c.starts(ctx, a, ends)
	if err == nil && c.group != "" {
		err = c.resume(ctx, a, starts)
	}
	if err != nil {
		return err
	}
	c.next, c.printedAny = make(map[int32]int64), make(map[int32]bool)
	if !c.follow {
		c.left = make(map[int32]int64)
	}
	at := make(map[int32]kgo.Offset)
	for p, end := range ends[c.topic] {
		if end.Err != nil {
			return end.Err
		}
		start, ok := starts.Lookup(c.topic, p)
		if !c.wanted(p) || !ok {
			continue
		}
		if start.Err != nil {
			return start.Err
		}
		at[p] = kgo.NewOffset().At(start.Offset)
		c.next[p] = start.Offset
		if !c.follow && start.Offset < end.Offset {
			c.left[p] = end.Offset
		}
	}
	for _, p := range c.partitions {
		if _, ok := at[p]; !ok {
			return fmt.Errorf("there is no partition %d, they are numbered from 0 to %d", p, len(ends[c.topic])-1)
		}
	}
	if c.group == "" {
		cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: at})
	}
	return nil
}

// resume puts the group's committed offsets where starts has what counts without them.
func (c *consuming) resume(ctx context.Context, a *kadm.Client, starts kadm.ListedOffsets) error {
	committed, err := a.FetchOffsetsForTopics(ctx, c.group, c.topic)
	if err != nil {
		return err
	}
	for p, start := range starts[c.topic] {
		if o, ok := committed.Lookup(c.topic, p); ok && o.Err == nil && o.At >= 0 {
			start.Offset = o.At
			starts[c.topic][p] = start
		}
	}
	return nil
}

func (c *consuming) wanted(partition int32) bool {
	if len(c.partitions) == 0 {
		return true
	}
	for _, p := range c.partitions {
		if p == partition {
			return true
		}
	}
	return false
}

// starts is where --from points in each partition.
func (c *consuming) starts(ctx context.Context, a *kadm.Client, ends kadm.ListedOffsets) (kadm.ListedOffsets, error) {
	switch c.from {
	case "start", "beginning", "earliest":
		return a.ListStartOffsets(ctx, c.topic)
	case "end", "latest":
		return ends, nil
	}
	if t, err := time.Parse(time.RFC3339, c.from); err == nil {
		return a.ListOffsetsAfterMilli(ctx, t.UnixMilli(), c.topic)
	}
	n, err := strconv.ParseInt(c.from, 10, 64)
	if err != nil {
		return nil, usagef("--from %q: it is start, end, an offset, -n, or a time like 2026-01-31T12:00:00Z", c.from)
	}
	floor, err := a.ListStartOffsets(ctx, c.topic)
	if err != nil {
		return nil, err
	}
	for p, start := range floor[c.topic] {
		end, _ := ends.Lookup(c.topic, p)
		want := n
		if n < 0 {
			want = end.Offset + n
		}
		start.Offset = min(max(want, start.Offset), end.Offset)
		floor[c.topic][p] = start
	}
	return floor, nil
}

// read prints records until all that was asked for is there.
func (c *consuming) read(ctx context.Context, cl *kgo.Client, out *bufio.Writer) error {
	printed := 0
	for c.follow || len(c.left) > 0 {
		fetches, err := c.poll(ctx, cl)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the user stopped the command
		}
		if err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			if end, ok := c.left[r.Partition]; !c.follow && (!ok || r.Offset >= end) {
				delete(c.left, r.Partition)
				continue
			}
			if err := c.printRecord(out, r); err != nil {
				return err
			}
			c.next[r.Partition], c.printedAny[r.Partition] = r.Offset+1, true
			if !c.follow && r.Offset+1 >= c.left[r.Partition] {
				delete(c.left, r.Partition)
			}
			if printed++; printed == c.count {
				return errors.Join(out.Flush(), c.commit(ctx, cl, r.Topic))
			}
		}
		c.progress.show(func(w io.Writer) { fmt.Fprintf(w, "%s read", count(printed, "record")) })
		if err := out.Flush(); err != nil {
			return err
		}
		if err := c.commit(ctx, cl, c.topic); err != nil {
			return err
		}
	}
	return nil
}

// poll waits for records. Without --follow it looks from time to time whether there can be any.
func (c *consuming) poll(ctx context.Context, cl *kgo.Client) (kgo.Fetches, error) {
	if c.follow {
		fetches := cl.PollFetches(ctx)
		return fetches, c.failure(fetches)
	}
	short, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	fetches := cl.PollFetches(short)
	if short.Err() == nil || fetches.NumRecords() > 0 {
		return fetches, c.failure(fetches)
	}
	if ctx.Err() != nil || c.group != "" && !c.assigned.known() {
		return nil, nil
	}
	return nil, c.dropEmpty(ctx, cl)
}

// failure is what went wrong with a poll.
func (c *consuming) failure(fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(t string, p int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			failed = errors.Join(failed, fmt.Errorf("%s-%d: %w", t, p, explain(err)))
		}
	})
	return failed
}

// commit commits in a group what was printed.
func (c *consuming) commit(ctx context.Context, cl *kgo.Client, topic string) error {
	if c.group == "" {
		return nil
	}
	at := map[int32]kgo.EpochOffset{}
	for p := range c.printedAny {
		at[p] = kgo.EpochOffset{Epoch: -1, Offset: c.next[p]}
	}
	if len(at) == 0 {
		return nil
	}
	var failed error
	cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: at}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err == nil {
			failed = commitFailure(resp)
		}
	})
	if failed != nil {
		return fmt.Errorf("committing for group %s: %w", c.group, explain(failed))
	}
	return nil
}

// commitFailure is the first error of an answer to a commit.
func commitFailure(resp *kmsg.OffsetCommitResponse) error {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

func (c *consuming) printRecord(out *bufio.Writer, r *kgo.Record) error {
	if c.json {
		ms := r.Timestamp.UnixMilli()
		j := jsonRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: &ms, Key: newJSONBytes(r.Key), Value: newJSONBytes(r.Value)}
		for _, h := range r.Headers {
			j.Headers = append(j.Headers, jsonHeader{Key: h.Key, Value: newJSONBytes(h.Value)})
		}
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(j)
	}
	_, err := out.WriteString(c.formatted(r))
	return err
}

// formatted fills the --format.
func (c *consuming) formatted(r *kgo.Record) string {
	var b strings.Builder
	for i := 0; i < len(c.format); i++ {
		ch := c.format[i]
		if (ch != '%' && ch != '\\') || i+1 == len(c.format) {
			b.WriteByte(ch)
			continue
		}
		i++
		switch string([]byte{ch, c.format[i]}) {
		case "%k":
			b.Write(r.Key)
		case "%v":
			b.Write(r.Value)
		case "%t":
			b.WriteString(r.Topic)
		case "%p":
			fmt.Fprint(&b, r.Partition)
		case "%o":
			fmt.Fprint(&b, r.Offset)
		case "%d":
			fmt.Fprint(&b, r.Timestamp.UnixMilli())
		case "%h":
			for k, h := range r.Headers {
				if k > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%s=%s", h.Key, h.Value)
			}
		case "%%", `\\`:
			b.WriteByte(ch)
		case `\n`:
			b.WriteByte('\n')
		case `\t`:
			b.WriteByte('\t')
		default:
			b.WriteByte(ch)
			b.WriteByte(c.format[i])
		}
	}
	return b.String()
}
