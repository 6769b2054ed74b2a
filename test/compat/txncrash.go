package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// noHangs is how long after a crash no transaction may be open that its client has left.
	noHangs        = 10 * time.Second
	orphanTimeout  = 2 * time.Second
	copiers        = 2
	crashTxnInput  = "txncrash-in"
	crashTxnOutput = "txncrash-out"
	streamsKills   = 8
	streamsWords   = 6
)

// txnCrash is one run of copiers over a broker that is killed.
type txnCrash struct {
	b                  *broker
	ctx                context.Context
	stop               chan struct{}
	written            [txnPartitions]atomic.Int64 // numbers of the input that are acknowledged
	committed, aborted atomic.Int64
}

// txnCrashes kills Moldau while members of a group copy an input exactly once and producers go away in the middle of their
// transactions.
func (s txnSuite) txnCrashes(ctx context.Context) {
	c := &txnCrash{ctx: ctx, stop: make(chan struct{})}
	kills, err := c.run(s)
	s.report.check(fmt.Sprintf("%d kills under transactional load: every record is copied once, in order, and nothing hangs (%d transactions committed, %d aborted, %d records)",
		kills, c.committed.Load(), c.aborted.Load(), c.sum()), err)
}

func (c *txnCrash) sum() (n int64) {
	for p := range c.written {
		n += c.written[p].Load()
	}
	return n
}

func (c *txnCrash) run(s txnSuite) (kills int, err error) {
	b, err := s.brokerWith(moldauName, "txncrash", txnSettings)
	if err != nil {
		return 0, err
	}
	c.b = b
	if err := b.start(c.ctx); err != nil {
		return 0, err
	}
	defer b.kill()
	if err := c.create(); err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	errs := make(chan error, copiers+1)
	wg.Go(func() { errs <- c.write() })
	for i := range copiers {
		wg.Go(func() { errs <- c.copy(i) })
	}
	for kills < s.kills && err == nil && len(errs) == 0 {
		orphan, left := c.orphan(kills)
		pause(c.ctx, shortestLife+time.Duration(rand.Int63n(int64(longestLife-shortestLife))))
		b.kill()
		kills++
		orphan()
		if err = b.start(c.ctx); err == nil {
			err = left()
		}
	}
	if err == nil {
		pause(c.ctx, time.Second)
	}
	close(c.stop)
	wg.Wait()
	for range copiers + 1 {
		err = errors.Join(err, <-errs)
	}
	if err == nil {
		err = b.settled(c.ctx, 0)
	}
	if err == nil {
		err = b.copied(c.ctx, crashTxnInput, crashTxnOutput, true)
	}
	if err == nil && (c.committed.Load() == 0 || c.aborted.Load() == 0) {
		err = errors.New("nothing was committed or nothing aborted, so nothing is shown")
	}
	if err == nil {
		err = b.stop()
	}
	return kills, err
}

func (c *txnCrash) create() error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range []string{crashTxnInput, crashTxnOutput, "orphans"} {
		if _, err := kadm.NewClient(cl).CreateTopic(c.ctx, txnPartitions, 1, nil, t); err != nil {
			return err
		}
	}
	return nil
}

// patient are the options of clients that outlive their broker.
func (c *txnCrash) patient(more ...kgo.Opt) []kgo.Opt {
	return append(more, kgo.SeedBrokers(c.b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20*time.Millisecond),
		kgo.RecordRetries(1<<30), kgo.RequestRetries(1<<30), kgo.UnknownTopicRetries(-1))
}

// write fills the input until it is stopped.
func (c *txnCrash) write() error {
	cl, err := kgo.NewClient(c.patient()...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return nil
		case <-c.ctx.Done():
			return c.ctx.Err()
		default:
		}
		var records []*kgo.Record
		for p := range int32(txnPartitions) {
			records = append(records, &kgo.Record{Topic: crashTxnInput, Partition: p, Value: []byte(strconv.Itoa(n))})
		}
		if err := cl.ProduceSync(c.ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("writing the input: %w", err)
		}
		for p := range c.written {
			c.written[p].Add(1)
		}
		pause(c.ctx, time.Millisecond)
	}
}

// copy is a member of the group. After an error that ends its session it begins a new one, as an application would. Once the input
// has ended it goes on until all is copied.
func (c *txnCrash) copy(i int) error {
	for life := 0; ; life++ {
		done, err := c.session(i)
		if done || c.ctx.Err() != nil {
			return err
		}
	}
}

func (c *txnCrash) session(i int) (done bool, err error) {
	s, err := kgo.NewGroupTransactSession(c.patient(kgo.TransactionalID(fmt.Sprint("txncrash-", i)), kgo.ConsumerGroup("txncrash"),
		kgo.ConsumeTopics(crashTxnInput), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.TransactionTimeout(10*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		return true, err
	}
	defer s.Close()
	random := rand.New(rand.NewSource(int64(i)))
	for idle := 0; ; {
		poll, cancel := context.WithTimeout(c.ctx, time.Second)
		fs := s.PollRecords(poll, 1+random.Intn(200))
		cancel()
		if fs.NumRecords() == 0 {
			select {
			case <-c.stop:
				if idle++; idle > 8 {
					return true, nil
				}
			case <-c.ctx.Done():
				return true, c.ctx.Err()
			default:
			}
			continue
		}
		idle = 0
		if err := s.Begin(); err != nil {
			return false, err
		}
		var failed atomic.Bool
		fs.EachRecord(func(r *kgo.Record) {
			s.Produce(c.ctx, &kgo.Record{Topic: crashTxnOutput, Partition: r.Partition, Value: r.Value}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
		})
		if err := s.Client().Flush(c.ctx); err != nil {
			return true, err
		}
		committed, err := s.End(c.ctx, kgo.TransactionEndTry(!failed.Load() && random.Intn(4) > 0))
		switch {
		case err != nil:
			return false, err
		case committed:
			c.committed.Add(1)
		default:
			c.aborted.Add(1)
		}
	}
}

// orphan begins a transaction that nobody ends. The first function lets its client go; the second says, once the broker is there
// again, whether readers wait for it longer than they should.
func (c *txnCrash) orphan(n int) (leave func(), left func() error) {
	cl, err := kgo.NewClient(c.patient(kgo.TransactionalID(fmt.Sprint("orphan-", n)), kgo.TransactionTimeout(orphanTimeout))...)
	if err == nil {
		err = cl.BeginTransaction()
	}
	if err == nil {
		err = cl.ProduceSync(c.ctx, &kgo.Record{Topic: "orphans", Partition: int32(n % txnPartitions), Value: []byte("never read")}).FirstErr()
	}
	leave = func() {
		if cl != nil {
			cl.Close()
		}
	}
	return leave, func() error {
		if err != nil || n%5 != 4 { // each fifth time all of them must be over
			return err
		}
		admin, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
		if err != nil {
			return err
		}
		defer admin.Close()
		for end := time.Now().Add(noHangs); ; pause(c.ctx, 100*time.Millisecond) {
			stable, err := kadm.NewClient(admin).ListCommittedOffsets(c.ctx, "orphans")
			if err != nil {
				return err
			}
			ends, err := kadm.NewClient(admin).ListEndOffsets(c.ctx, "orphans")
			if err != nil {
				return err
			}
			open := 0
			ends.Each(func(e kadm.ListedOffset) {
				if l, _ := stable.Lookup(e.Topic, e.Partition); l.Offset != e.Offset {
					open++
				}
			})
			if open == 0 {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("%v after kill %d a transaction hangs in %d partitions", noHangs, n+1, open)
			}
		}
	}
}

// txnStreams counts words exactly once with Kafka Streams while the application and Moldau are killed in turn.
func (s txnSuite) txnStreams(ctx context.Context) {
	lines, err := s.countWords(ctx)
	s.report.check(fmt.Sprintf("Kafka Streams with exactly_once_v2 counts right over %d kills of it and of moldau (%d lines)", streamsKills, lines), err)
}

func (s txnSuite) countWords(ctx context.Context) (lines int, err error) {
	b, err := s.brokerWith(moldauName, "txnstreams", txnSettings)
	if err != nil {
		return 0, err
	}
	if err := b.start(ctx); err != nil {
		return 0, err
	}
	defer b.kill()
	c := &txnCrash{b: b, ctx: ctx}
	cl, err := kgo.NewClient(c.patient()...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	for _, t := range []string{"eos-lines", "eos-counts"} {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, txnPartitions, 1, nil, t); err != nil {
			return 0, err
		}
	}
	out, err := os.Create(filepath.Join(s.work, "txnstreams.out"))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	app := func() (func(), error) {
		cmd := s.java(ctx, "TxnStreams", b.addr, "eos", filepath.Join(s.work, "txnstreams-state"))
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}, nil
	}
	kill, err := app()
	if err != nil {
		return 0, err
	}
	defer func() { kill() }()
	want := map[string]int{}
	for turn := 0; turn <= streamsKills; turn++ {
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); lines++ {
			words := []string{fmt.Sprint("w", lines%streamsWords), fmt.Sprint("w", lines*7%streamsWords), "all"}
			for _, w := range words {
				want[w]++
			}
			r := &kgo.Record{Topic: "eos-lines", Partition: int32(lines % txnPartitions), Value: []byte(strings.Join(words, " "))}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				return lines, err
			}
			pause(ctx, 2*time.Millisecond)
		}
		switch {
		case turn == streamsKills:
		case turn%2 == 0:
			b.kill()
			if err := b.start(ctx); err != nil {
				return lines, err
			}
		default:
			kill()
			if kill, err = app(); err != nil {
				return lines, err
			}
		}
	}
	return lines, b.counted(ctx, want)
}

// counted waits for the counts: each word's must be 1, 2, 3 and so on, up to what it should be.
func (b *broker) counted(ctx context.Context, want map[string]int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumeTopics("eos-counts"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	got, reached := map[string]int{}, 0
	for reached < len(want) {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("counts are %v, not %v", got, want)
		}
		var wrong error
		fs.EachRecord(func(r *kgo.Record) {
			word := string(r.Key)
			n, _ := strconv.Atoi(string(r.Value))
			if got[word]++; got[word] != n && wrong == nil {
				wrong = fmt.Errorf("the count of %q goes from %d to %d", word, got[word]-1, n)
			}
			if n == want[word] {
				reached++
			}
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}
