package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/clock"
)

// transactions is what `moldau txn` works with.
type transactions struct{ *connection }

func txnCommand(e env) *cobra.Command {
	t := &transactions{&connection{env: e}}
	cmd := &cobra.Command{
		Use:   "txn",
		Short: "List, describe and end transactions",
		Long: `List, describe and end transactions.

A transactional id has one transaction at a time. Readers of committed data wait behind
the first record of an open one, so a transaction that nobody ends holds them up.`,
		Example: `  moldau txn list
  moldau txn describe loader
  moldau txn find-hanging
  moldau txn abort --transactional-id loader
  moldau txn abort --topic orders --partition 3 --start-offset 1200`,
		Args: noArgs,
		RunE: help,
	}
	t.flags(cmd)
	cmd.AddCommand(t.list(), t.describe(), t.findHanging(), t.abort())
	return cmd
}

// listedTxn is one transactional id as `txn list` shows it.
type listedTxn struct {
	ID          string `json:"transactionalId"`
	Coordinator int32  `json:"coordinator"`
	ProducerID  int64  `json:"producerId"`
	State       string `json:"state"`
}

func (t *transactions) list() *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List transactional ids with their states",
		Example: `  moldau txn list
  moldau txn list --state Ongoing --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("--state", states, txnStates); err != nil {
				return err
			}
			return t.do(func(ctx context.Context, a *kadm.Client) error {
				all, err := a.ListTransactions(ctx, nil, states)
				if err != nil {
					return err
				}
				rows := []listedTxn{}
				for _, x := range all.Sorted() {
					rows = append(rows, listedTxn{x.TxnID, x.Coordinator, x.ProducerID, x.State})
				}
				return t.print(rows, func(w io.Writer) {
					columns(w, "TRANSACTIONAL ID\tSTATE\tPRODUCER ID\tCOORDINATOR", func(line func(string, ...any)) {
						for _, r := range rows {
							line("%s\t%s\t%d\t%d", r.ID, r.State, r.ProducerID, r.Coordinator)
						}
					})
				})
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only ids in these states, separated by commas: "+strings.Join(txnStates, ", "))
	return cmd
}

// txnStates are the states of transactional ids.
var txnStates = []string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "PrepareEpochFence", "Dead"}

// describedTxn is one transactional id as `txn describe` shows it.
type describedTxn struct {
	ID         string             `json:"transactionalId"`
	State      string             `json:"state"`
	ProducerID int64              `json:"producerId"`
	Epoch      int16              `json:"producerEpoch"`
	TimeoutMs  int32              `json:"timeoutMs"`
	StartMs    int64              `json:"startMs"`
	Partitions map[string][]int32 `json:"partitions"`
	// Coordinator is the node that keeps the id's state.
	Coordinator int32 `json:"coordinator"`
}

func (t *transactions) describe() *cobra.Command {
	return &cobra.Command{
		Use:     "describe ID…",
		Short:   "Show the transactions of transactional ids",
		Example: `  moldau txn describe loader`,
		Args:    names("transactional id"),
		RunE: func(_ *cobra.Command, ids []string) error {
			return t.do(func(ctx context.Context, a *kadm.Client) error {
				got, err := a.DescribeTransactions(ctx, ids...)
				if err != nil {
					return err
				}
				var errs []error
				rows := []describedTxn{}
				for _, x := range got.Sorted() {
					if x.Err != nil {
						errs = append(errs, ofTransactionalID(x.TxnID, x.Err))
						continue
					}
					r := describedTxn{x.TxnID, x.State, x.ProducerID, x.ProducerEpoch, x.TimeoutMillis, x.StartTimestamp, map[string][]int32{}, x.Coordinator}
					for _, p := range x.Topics.Sorted() {
						r.Partitions[p.Topic] = p.Partitions
					}
					rows = append(rows, r)
				}
				return errors.Join(t.print(rows, func(w io.Writer) { describeTxns(w, rows) }), errors.Join(errs...))
			})
		},
	}
}

// ofTransactionalID is an error about a transactional id.
func ofTransactionalID(id string, err error) error {
	if errors.Is(err, kerr.TransactionalIDNotFound) {
		return fmt.Errorf("there is no transactional id %s: `moldau txn list` lists those there are", id)
	}
	return fmt.Errorf("transactional id %s: %w", id, explain(err))
}

func describeTxns(w io.Writer, rows []describedTxn) {
	for _, r := range rows {
		fmt.Fprintf(w, "%s (%s)\n  producer %d, epoch %d, timeout %v, coordinator %d\n", r.ID, r.State, r.ProducerID, r.Epoch,
			time.Duration(r.TimeoutMs)*time.Millisecond, r.Coordinator)
		if r.StartMs >= 0 {
			fmt.Fprintf(w, "  last begun %s\n", time.UnixMilli(r.StartMs).UTC().Format(time.RFC3339))
		}
		var topics []string
		for topic := range r.Partitions {
			topics = append(topics, topic)
		}
		slices.Sort(topics)
		for _, topic := range topics {
			fmt.Fprintf(w, "  %s %s\n", topic, strings.Trim(fmt.Sprint(r.Partitions[topic]), "[]"))
		}
	}
}

// hangingTxn is an open transaction in a partition that no coordinator knows of.
type hangingTxn struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	ProducerID  int64  `json:"producerId"`
	Epoch       int16  `json:"producerEpoch"`
	StartOffset int64  `json:"startOffset"`
	// LastMs is when the producer last wrote there.
	LastMs int64 `json:"lastTimestampMs"`
	epoch  int32 // the coordinator's
}

// hangingAfter is how long an open transaction may be silent: Kafka's greatest transaction timeout, and five minutes.
const hangingAfter = 20 * time.Minute

func (t *transactions) findHanging() *cobra.Command {
	after := hangingAfter
	cmd := &cobra.Command{
		Use:   "find-hanging",
		Short: "Find open transactions that no coordinator will end",
		Long: `Find open transactions that no coordinator will end.

They hold up readers of committed data for ever. 'moldau txn abort' ends one.`,
		Example: `  moldau txn find-hanging
  moldau txn find-hanging --silent-for 1h --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return t.do(func(ctx context.Context, a *kadm.Client) error {
				rows, err := hanging(ctx, a, after)
				if err != nil {
					return err
				}
				return t.print(rows, func(w io.Writer) {
					if len(rows) == 0 {
						fmt.Fprintln(w, "no transaction hangs")
						return
					}
					columns(w, "TOPIC\tPARTITION\tPRODUCER ID\tEPOCH\tSTART OFFSET\tLAST WRITE", func(line func(string, ...any)) {
						for _, r := range rows {
							line("%s\t%d\t%d\t%d\t%d\t%s", r.Topic, r.Partition, r.ProducerID, r.Epoch, r.StartOffset, time.UnixMilli(r.LastMs).UTC().Format(time.RFC3339))
						}
					})
				})
			})
		},
	}
	cmd.Flags().DurationVar(&after, "silent-for", hangingAfter, "only transactions in which nothing was written for this long; it should be above transaction.max.timeout.ms")
	return cmd
}

// hanging asks all partitions for open transactions, and coordinators whether they know of them.
func hanging(ctx context.Context, a *kadm.Client, silent time.Duration) ([]hangingTxn, error) {
	open, err := openTxns(ctx, a, nil)
	if err != nil {
		return nil, err
	}
	rows := []hangingTxn{}
	var ids []int64
	now := (&clock.Real{}).Now()
	for _, x := range open {
		if now.Sub(time.UnixMilli(x.LastMs)) >= silent {
			rows, ids = append(rows, x), append(ids, x.ProducerID)
		}
	}
	if len(rows) == 0 {
		return rows, nil
	}
	known, err := a.ListTransactions(ctx, ids, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return nil, err
	}
	alive := map[int64]bool{}
	for _, x := range known {
		alive[x.ProducerID] = true
	}
	return slices.DeleteFunc(rows, func(x hangingTxn) bool { return alive[x.ProducerID] }), nil
}

// openTxns lists the open transactions of some partitions, or of all.
func openTxns(ctx context.Context, a *kadm.Client, of kadm.TopicsSet) ([]hangingTxn, error) {
	if of == nil {
		topics, err := a.ListTopicsWithInternal(ctx)
		if err != nil {
			return nil, err
		}
		of = topics.TopicsSet()
	}
	got, err := a.DescribeProducers(ctx, of)
	if err != nil {
		return nil, err
	}
	var rows []hangingTxn
	for _, p := range got.SortedPartitions() {
		if p.Err != nil {
			return nil, fmt.Errorf("partition %s-%d: %w", p.Topic, p.Partition, explain(p.Err))
		}
		for _, x := range p.ActiveProducers.Sorted() {
			if x.CurrentTxnStartOffset >= 0 {
				rows = append(rows, hangingTxn{p.Topic, p.Partition, x.ProducerID, x.ProducerEpoch, x.CurrentTxnStartOffset, x.LastTimestamp, x.CoordinatorEpoch})
			}
		}
	}
	return rows, nil
}

// aborting is what `txn abort` was asked to do.
type aborting struct {
	id        string
	topic     string
	partition int32
	start     int64
}

func (t *transactions) abort() *cobra.Command {
	var x aborting
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "End an open transaction",
		Long: `End an open transaction.

With --transactional-id its producer is fenced and its coordinator aborts the transaction.
With --topic, --partition and --start-offset an abort marker is written into one partition:
only for a transaction that hangs there ('moldau txn find-hanging').`,
		Example: `  moldau txn abort --transactional-id loader
  moldau txn abort --topic orders --partition 3 --start-offset 1200`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case x.id != "" && x.topic != "":
				return usagef("--transactional-id and --topic exclude each other")
			case x.id != "":
				return t.ask(func(ctx context.Context, cl *kgo.Client) error { return t.abortID(ctx, cl, x.id) })
			case x.topic == "" || x.partition < 0 || x.start < 0:
				return usagef("say which transaction: --transactional-id ID, or --topic, --partition and --start-offset as `moldau txn find-hanging` prints them")
			}
			return t.do(func(ctx context.Context, a *kadm.Client) error { return t.abortAt(ctx, a, &x) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&x.id, "transactional-id", "", "the id whose transaction is to be aborted")
	f.StringVar(&x.topic, "topic", "", "topic of a hanging transaction")
	f.Int32Var(&x.partition, "partition", -1, "its partition")
	f.Int64Var(&x.start, "start-offset", -1, "its first offset")
	return cmd
}

// abortID takes the id over, which aborts what is open.
func (t *transactions) abortID(ctx context.Context, cl *kgo.Client, id string) error {
	// Taking over an id that there is not would make one, and hide a slip of the pen.
	found, err := kadm.NewClient(cl).DescribeTransactions(ctx, id)
	if err != nil {
		return err
	}
	if err := found[id].Err; err != nil {
		return ofTransactionalID(id, err)
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &id, 60_000, -1, -1
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	const concurrentTransactions = 51 // the open one is being aborted: that is what was asked for
	if resp.ErrorCode != concurrentTransactions {
		if err := codeError(resp.ErrorCode, nil); err != nil {
			return fmt.Errorf("transactional id %s: %w", id, err)
		}
	}
	return t.print(map[string]string{"transactionalId": id, "result": "aborted"}, func(w io.Writer) {
		fmt.Fprintf(w, "the producer of %s is fenced; what it had open is aborted\n", id)
	})
}

// abortAt writes an abort marker behind an open transaction of one partition.
func (t *transactions) abortAt(ctx context.Context, a *kadm.Client, x *aborting) error {
	set := kadm.TopicsSet{}
	set.Add(x.topic, x.partition)
	open, err := openTxns(ctx, a, set)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(open, func(h hangingTxn) bool { return h.StartOffset == x.start })
	if i < 0 {
		return fmt.Errorf("no open transaction of %s-%d begins at offset %d: `moldau txn find-hanging` lists those that hang", x.topic, x.partition, x.start)
	}
	h := open[i]
	resp, err := a.WriteTxnMarkers(ctx, kadm.TxnMarkers{ProducerID: h.ProducerID, ProducerEpoch: h.Epoch, CoordinatorEpoch: max(h.epoch, 0), Topics: set})
	if err != nil {
		return err
	}
	for _, p := range resp.SortedPartitions() {
		if p.Err != nil {
			return fmt.Errorf("partition %s-%d: %w", p.Topic, p.Partition, explain(p.Err))
		}
	}
	return t.print(h, func(w io.Writer) {
		fmt.Fprintf(w, "the transaction of producer %d in %s-%d is aborted\n", h.ProducerID, h.Topic, h.Partition)
	})
}
