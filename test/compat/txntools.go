package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// loadLimit is how long a broker that has just started may take to know its transactional ids: Kafka lists only those that are loaded.
const loadLimit = 15 * time.Second

// patience is how long a command asks for the leader of a partition that is not there, before it gives up. Kafka's is the minute that
// a tool is given to end.
const patience = "request.timeout.ms=10000\ndefault.api.timeout.ms=10000\n"

// openTransaction is a transaction that a client has left open; it is forgotten when the client is closed.
type openTransaction struct {
	cl *kgo.Client
	id string
}

// transact writes values to partitions 0 and 1 of a topic within a transaction.
func (b *broker) transact(ctx context.Context, id, topic string, values ...string) (*openTransaction, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	if err := cl.BeginTransaction(); err != nil {
		return nil, err
	}
	for i, v := range values {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(v)}).FirstErr(); err != nil {
			cl.Close()
			return nil, fmt.Errorf("transactional id %s: %w", id, err)
		}
	}
	return &openTransaction{cl, id}, nil
}

// end ends it, and the client.
func (t *openTransaction) end(ctx context.Context, commit bool) error {
	defer t.cl.Close()
	return t.cl.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}

// leave has the client go without a word.
func (t *openTransaction) leave() { t.cl.Close() }

// stages leaves one transaction committed, one aborted and one open.
func (b *broker) stages(ctx context.Context, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 2, 1, nil, topic); err != nil {
		return err
	}
	for _, stage := range []string{"committed", "aborted", "open"} {
		t, err := b.transact(ctx, stage, topic, stage+"-1", stage+"-2", stage+"-3")
		if err != nil {
			return err
		}
		if stage == "open" {
			t.leave()
		} else if err := t.end(ctx, stage == "committed"); err != nil {
			return err
		}
	}
	return b.settled(ctx, 1)
}

// settled waits until no more than so many transactions are open or about to end.
func (b *broker) settled(ctx context.Context, open int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := kadm.NewClient(cl).ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
		if err == nil && len(list) <= open {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after 10 s these transactions are open: %v (%v)", list.TransactionalIDs(), err)
		}
	}
}

// transactionCommands are what an administrator asks about transactions, and does.
func transactionCommands() []tool {
	command := func(args ...string) tool { return tool{class: transactionsOf, args: args, like: equalShapes} }
	return []tool{
		command("list"),
		command("list", "--duration-filter", "3600000"),
		command("list", "--transactional-id-pattern", "o.*"),
		command("list", "--transactional-id-pattern", "o(.*"),
		command("describe", "--transactional-id", "open"),
		command("describe", "--transactional-id", "committed"),
		command("describe", "--transactional-id", "absent"),
		command("describe-producers", "--topic", "stages", "--partition", "0"),
		command("describe-producers", "--topic", "stages", "--partition", "7"),
		command("find-hanging", "--topic", "stages"),
		command("find-hanging", "--broker-id", "7"),
		command("abort", "--topic", "stages", "--partition", "0", "--start-offset", "77"),
		command("abort", "--topic", "stages", "--partition", "0", "--start-offset", "6"),
		command("abort", "--topic", "stages", "--partition", "1", "--producer-id", "999999", "--producer-epoch", "0", "--coordinator-epoch", "0"),
		command("abort", "--topic", "stages", "--partition", "7", "--producer-id", "999999", "--producer-epoch", "0", "--coordinator-epoch", "0"),
		command("describe-producers", "--topic", "stages", "--partition", "0"),
		command("forceTerminateTransaction", "--transactional-id", "open"),
		command("forceTerminateTransaction", "--transactional-id", "absent"),
		command("list"),
		command("describe", "--transactional-id", "open"),
		command("describe-producers", "--topic", "stages", "--partition", "1"),
	}
}

// txnTools runs TransactionsCommand on both brokers.
func (s txnSuite) txnTools(ctx context.Context) {
	names := []string{moldauName, kafkaName}
	tools := transactionCommands()
	config := filepath.Join(s.work, "txntools.properties")
	if err := os.WriteFile(config, []byte(patience), 0o644); err != nil {
		s.report.check("TransactionsCommand", err)
		return
	}
	var results [2][]printed
	var errs [2]error
	var wg sync.WaitGroup
	for i, name := range names {
		b, err := s.brokerWith(name, "txntools-"+name, txnSettings)
		if err != nil {
			s.report.check("TransactionsCommand", err)
			return
		}
		wg.Go(func() {
			if errs[i] = b.start(ctx); errs[i] != nil {
				return
			}
			defer b.stop()
			if errs[i] = b.stages(ctx, "stages"); errs[i] != nil {
				return
			}
			at := slices.Clone(tools)
			for k := range at {
				at[k].args = append([]string{"--bootstrap-server", b.addr, "--command-config", config}, at[k].args...)
			}
			results[i], errs[i] = s.runTools(ctx, at)
		})
	}
	wg.Wait()
	for i, t := range tools {
		name := fmt.Sprintf("%s (%d)", t.name(), i+1)
		if i >= len(results[0]) || i >= len(results[1]) {
			s.report.check(name, fmt.Errorf("not run: %v, %v", errs[0], errs[1]))
			continue
		}
		s.report.check(name, samePrinted(t.like, results[0][i], results[1][i]))
	}
}

// transactions is what a broker knows of transactional ids and what it serves of their records, as lines that can be compared.
func (b *broker) transactions(ctx context.Context, topic string) (out []string, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	all, err := kadm.NewClient(cl).DescribeTransactions(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range all.Sorted() {
		out = append(out, fmt.Sprintf("%s %s producer %d epoch %d timeout %d start %d %v %v", t.TxnID, t.State, t.ProducerID, t.ProducerEpoch, t.TimeoutMillis, t.StartTimestamp,
			t.Topics.Sorted(), t.Err))
	}
	for _, l := range []kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()} {
		values, err := b.upTo(ctx, topic, l)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("%v", values))
	}
	return out, nil
}

// upTo reads what an isolation level lets through, up to where it ends now.
func (b *broker) upTo(ctx context.Context, topic string, level kgo.IsolationLevel) (values []string, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if level == kgo.ReadCommitted() {
		ends, err = admin.ListCommittedOffsets(ctx, topic)
	}
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	left := len(ends[topic])
	for _, e := range ends[topic] {
		if e.Offset == 0 {
			left--
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for left > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, err
		}
		fs.EachRecord(func(r *kgo.Record) {
			value := string(r.Value)
			if r.Attrs.IsControl() {
				value = "marker"
			}
			values = append(values, fmt.Sprintf("%d/%d=%s", r.Partition, r.Offset, value))
			if r.Offset+1 == ends[topic][r.Partition].Offset {
				left--
			}
		})
	}
	slices.Sort(values)
	return values, nil
}

// txnSwap has one program leave transactions in every stage and stop, and the other serve them and go on; then back.
func (s txnSuite) txnSwap(ctx context.Context, first, second string) error {
	b, err := s.brokerWith(first, "txnswap-"+first, txnSettings)
	if err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	err = b.stages(ctx, "stages")
	var want []string
	if err == nil {
		want, err = b.transactions(ctx, "stages")
	}
	if err == nil && (len(want) != 5 || !strings.Contains(want[2], "Ongoing")) {
		err = fmt.Errorf("%s has %q", first, want)
	}
	for i := 0; err == nil && i < 2; i++ {
		if err = b.stop(); err != nil {
			return err
		}
		if b = b.as([]string{second, first}[i]); true {
			err = b.start(ctx)
		}
		if err != nil {
			return err
		}
		if want, err = b.goesOn(ctx, want, i); err != nil {
			err = fmt.Errorf("on %s: %w", b.name, err)
		}
	}
	if err != nil {
		b.kill()
		return err
	}
	return b.stop()
}

// goesOn compares what there is with what was there, ends the open transaction by taking its id over, and leaves another one open.
func (b *broker) goesOn(ctx context.Context, want []string, turn int) ([]string, error) {
	var differs error
	for end := time.Now().Add(loadLimit); ; pause(ctx, 100*time.Millisecond) {
		got, err := b.transactions(ctx, "stages")
		if differs = err; err == nil {
			differs = difference(got, want)
		}
		if differs == nil || time.Now().After(end) {
			break
		}
	}
	if differs != nil {
		return nil, differs
	}
	for _, id := range []string{"committed", "aborted", "open"} {
		t, err := b.transact(ctx, id, "stages", fmt.Sprint(id, turn, "a"), fmt.Sprint(id, turn, "b"))
		if err != nil {
			return nil, err
		}
		if id == "open" {
			t.leave()
		} else if err := t.end(ctx, id == "committed"); err != nil {
			return nil, err
		}
	}
	if err := b.settled(ctx, 1); err != nil {
		return nil, err
	}
	got, err := b.transactions(ctx, "stages")
	if err == nil && strings.Contains(got[3], "open-1") {
		err = fmt.Errorf("a transaction that was never committed is read: %s", got[3])
	}
	return got, err
}
