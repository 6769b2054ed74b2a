package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Shape of the topics that transactional clients copy.
const (
	txnPartitions  = 3
	txnNumbers     = 300 // in PREFIX-in, as the scripts expect
	txnClientLimit = 3 * time.Minute
	transactionsOf = "org.apache.kafka.tools.TransactionsCommand"
)

// txnSettings go to both brokers beside the common ones: what takes too long is aborted within a second.
const txnSettings = "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n"

// txnChecks are what every script reports, goclients/txn among them.
var txnChecks = []string{"commit", "abort", "again", "fence", "copy"}

// txnPart runs transactions: with four clients, with Kafka's own copier, with Kafka Streams, over kills and over an exchange
// of directories.
func (s *suite) txnPart(ctx context.Context) error { return txnSuite{s}.run(ctx) }

// txnSuite is the suite as this part uses it.
type txnSuite struct{ *suite }

func (s txnSuite) run(ctx context.Context) error {
	if err := s.txnInstall(ctx); err != nil {
		return err
	}
	if err := s.txnClients(ctx); err != nil {
		return err
	}
	s.txnTools(ctx)
	s.report.check("transactions that Moldau has left are served by Kafka 4.3.1, and back", s.txnSwap(ctx, moldauName, kafkaName))
	s.report.check("transactions that Kafka 4.3.1 has left are served by Moldau, and back", s.txnSwap(ctx, kafkaName, moldauName))
	if slices.Contains(s.brokers, moldauName) {
		s.txnCrashes(ctx)
		s.txnStreams(ctx)
	}
	return nil
}

// txnInstall builds the scripts.
func (s txnSuite) txnInstall(ctx context.Context) error {
	steps := []step{
		{"txn", nil, func(ctx context.Context, dir string) error {
			return command(ctx, filepath.Join(s.source, "goclients"), "go", "build", "-o", filepath.Join(dir, "txn"), "./txn")
		}},
		{"txnjava", []string{"java/pom.xml", "java/Client.java", "java/Txn.java", "java/TxnStreams.java"}, func(ctx context.Context, _ string) error {
			dir := s.dir("java")
			return command(ctx, filepath.Join(s.source, "java"), "javac", "-cp", filepath.Join(dir, "classes")+":"+filepath.Join(dir, "lib", "*"),
				"-d", filepath.Join(dir, "classes"), "Txn.java", "TxnStreams.java")
		}},
	}
	for _, st := range s.clientSteps() {
		if st.name == "python" {
			steps = append(steps, st)
		}
	}
	for _, st := range steps {
		if err := s.step(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

// txnScripts are the clients with how their script is started.
var txnScripts = []client{
	{"java", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return s.java(ctx, "Txn", addr, prefix)
	}},
	pythonClient("confluent-kafka", "txn.py"),
	{"franz-go", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(s.dir("txn"), "txn"), "franz-go", addr, prefix)
	}},
	{"sarama", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(s.dir("txn"), "txn"), "sarama", addr, prefix)
	}},
}

// txnClients runs all scripts, and Kafka's copier, on every chosen broker, the brokers side by side.
func (s txnSuite) txnClients(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.brokers))
	for _, name := range s.brokers {
		b, err := s.brokerWith(name, "txn-"+name, txnSettings)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := b.start(ctx); err != nil {
				errs <- err
				return
			}
			for _, c := range txnScripts {
				if slices.Contains(s.clients, c.name) {
					s.txnClient(ctx, c, b)
				}
			}
			s.report.check("TransactionalMessageCopier with random aborts copies exactly once on "+b.name, s.copier(ctx, b, false))
			s.report.check("TransactionalMessageCopier in a group, with its metadata, copies exactly once on "+b.name, s.copier(ctx, b, true))
			s.report.check(name+" stops in good order after transactions", b.stop())
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// txnClient runs one script and compares what it has copied with what there was.
func (s txnSuite) txnClient(ctx context.Context, c client, b *broker) {
	name := fmt.Sprintf("transactions of %s on %s", c.name, b.name)
	ctx, cancel := context.WithTimeout(ctx, txnClientLimit)
	defer cancel()
	prefix := "txn-" + c.name
	if err := b.numbers(ctx, prefix); err != nil {
		s.report.check(name, err)
		return
	}
	cmd := c.command(s.suite, ctx, b.addr, prefix)
	cmd.WaitDelay = 5 * time.Second
	errs, err := os.Create(filepath.Join(s.work, "txn-"+c.name+"-"+b.name+".err"))
	if err != nil {
		s.report.check(name, err)
		return
	}
	defer errs.Close()
	cmd.Stderr = errs
	out, err := cmd.Output()
	s.report.script(name, string(out), err, txnChecks...)
	s.report.check(name+": every record is copied once and in order", b.copied(ctx, prefix+"-in", prefix+"-copy", true))
}

// numbers makes PREFIX-in with numbered records, PREFIX-out and PREFIX-copy.
func (b *broker) numbers(ctx context.Context, prefix string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range []string{"-in", "-out", "-copy"} {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, txnPartitions, 1, nil, prefix+t); err != nil {
			return err
		}
	}
	var records []*kgo.Record
	for i := range txnNumbers {
		records = append(records, &kgo.Record{Topic: prefix + "-in", Partition: int32(i % txnPartitions), Value: []byte(strconv.Itoa(i))})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// committedValues are the values that a reader of committed records gets from each partition, up to its end.
func (b *broker) committedValues(ctx context.Context, topic string) ([][]string, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	values := make([][]string, len(ends[topic]))
	next := make([]int64, len(values))
	behind := func() bool {
		for p, e := range ends[topic] {
			if next[p] < e.Offset {
				return true
			}
		}
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for behind() {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, fmt.Errorf("%s: read up to %v of %v; a transaction hangs: %w", topic, next, ends[topic], err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if next[r.Partition] = r.Offset + 1; !r.Attrs.IsControl() {
				values[r.Partition] = append(values[r.Partition], string(r.Value))
			}
		})
	}
	return values, nil
}

// copied says whether a topic has every record of another once: in the same partitions and in order, if inPlace.
func (b *broker) copied(ctx context.Context, from, to string, inPlace bool) error {
	want, err := b.committedValues(ctx, from)
	if err != nil {
		return err
	}
	got, err := b.committedValues(ctx, to)
	if err != nil {
		return err
	}
	if !inPlace {
		want, got = [][]string{slices.Concat(want...)}, [][]string{slices.Concat(got...)}
		slices.Sort(want[0])
		slices.Sort(got[0])
	}
	for p := range want {
		if err := difference(got[p], want[p]); err != nil {
			return fmt.Errorf("%s, partition %d, has %d records where there were %d: %w", to, p, len(got[p]), len(want[p]), err)
		}
	}
	return nil
}

// copier runs Kafka's TransactionalMessageCopier: one for each partition, or members of a group.
func (s txnSuite) copier(ctx context.Context, b *broker, group bool) error {
	ctx, cancel := context.WithTimeout(ctx, txnClientLimit)
	defer cancel()
	prefix := fmt.Sprint("copier-", group)
	if err := b.numbers(ctx, prefix); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, txnPartitions)
	for p := range txnPartitions {
		args := []string{"org.apache.kafka.tools.TransactionalMessageCopier", "--broker-list", b.addr, "--input-topic", prefix + "-in", "--input-partition", strconv.Itoa(p),
			"--output-topic", prefix + "-copy", "--transactional-id", fmt.Sprint(prefix, p), "--transaction-size", "7", "--consumer-group", prefix, "--enable-random-aborts"}
		if group {
			if p > 0 {
				continue // it ends when its partitions have ended, and leaves the others'
			}
			args = append(args, "--group-mode", "--use-group-metadata")
		}
		wg.Go(func() {
			cmd := s.java(ctx, args...)
			cmd.WaitDelay = 5 * time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[p] = fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return b.copied(ctx, prefix+"-in", prefix+"-copy", false)
}

// pause lets time pass in which the load goes on.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
