package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
)

const (
	// maxRecordSize bounds --size.
	maxRecordSize = 64 << 20
	// perfReport is how often a run tells how far it is.
	perfReport = time.Second
	// idempotentInFlight is how many requests an idempotent producer has on their way.
	idempotentInFlight = 5
	// perfPool is how many random bytes there are beyond one record, which the records begin in at different places.
	perfPool = 1 << 20
)

// perf is one run of `moldau perf`.
type perf struct {
	*connection
	clock      clock.Real
	topic      string
	records    int64
	size       int
	rate       float64
	duration   time.Duration
	partitions int32
	producing  *producing
	batchBytes int32
	inFlight   int

	began       time.Duration
	done, bytes atomic.Int64
}

func perfCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "perf",
		Short: "Measure a node: produce, consume, latency",
		Long: `Measure a node with the Go client franz-go. How far it is goes to the error output each
second, the result to the output. Ctrl-C ends a run early and shows what was measured.`,
		Example: `  moldau perf produce bench --records 1000000 --size 1000
  moldau perf produce bench --records 0 --duration 30s --rate 5000 --acks leader
  moldau perf consume bench
  moldau perf latency bench --rate 1000 --duration 10s`,
		Args: noArgs,
		RunE: help,
	}
	c := &connection{env: e}
	c.flags(cmd)
	cmd.AddCommand(perfProduce(c), perfConsume(c), perfLatency(c))
	return cmd
}

func newPerf(c *connection) *perf { return &perf{connection: c, producing: &producing{connection: c}} }

// writeFlags declares the flags of runs that write.
func (p *perf) writeFlags(cmd *cobra.Command, records int64, size int, linger time.Duration) {
	f := cmd.Flags()
	f.Int64VarP(&p.records, "records", "n", records, "how many records to write; 0 for as many as --duration lasts")
	f.DurationVar(&p.duration, "duration", 0, "how long to write at most; 0 for as long as --records takes")
	f.IntVarP(&p.size, "size", "s", size, "bytes of a record's value")
	f.StringVar(&p.producing.acks, "acks", "all", "all, leader or none")
	f.StringVarP(&p.producing.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&p.producing.linger, "linger", linger, "how long to wait for a fuller batch")
	f.Int32Var(&p.partitions, "partitions", -1, "partitions of the topic, if it is made for the run; -1 for the node's default")
}

func perfProduce(c *connection) *cobra.Command {
	p := newPerf(c)
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Measure how fast records are written",
		Example: `  moldau perf produce bench --records 1000000 --size 1000
  moldau perf produce bench --records 100000 --size 100 --compression lz4 --batch-bytes 100000 --json`,
		Args: oneName("topic"),
		RunE: func(_ *cobra.Command, args []string) error { return p.run(args[0], p.produce) },
	}
	p.writeFlags(cmd, 1_000_000, 1_000, 5*time.Millisecond)
	cmd.Flags().Float64Var(&p.rate, "rate", 0, "records a second; 0 for as many as go")
	cmd.Flags().Int32Var(&p.batchBytes, "batch-bytes", 1_000_000, "the largest batch")
	cmd.Flags().IntVar(&p.inFlight, "in-flight", idempotentInFlight, "requests on their way at a time; any other number turns idempotence off")
	return cmd
}

func perfConsume(c *connection) *cobra.Command {
	p := newPerf(c)
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Measure how fast records are read",
		Example: `  moldau perf consume bench
  moldau perf consume bench --records 100000 --json`,
		Args: oneName("topic"),
		RunE: func(_ *cobra.Command, args []string) error { return p.run(args[0], p.consume) },
	}
	cmd.Flags().Int64VarP(&p.records, "records", "n", 0, "how many records to read; 0 for all there are at the start")
	return cmd
}

func perfLatency(c *connection) *cobra.Command {
	p := newPerf(c)
	cmd := &cobra.Command{
		Use:   "latency TOPIC",
		Short: "Measure how long a record takes: to its acknowledgement, and to a consumer",
		Example: `  moldau perf latency bench
  moldau perf latency bench --rate 5000 --duration 30s --records 0 --acks leader`,
		Args: oneName("topic"),
		RunE: func(_ *cobra.Command, args []string) error { return p.run(args[0], p.latency) },
	}
	p.writeFlags(cmd, 10_000, 100, 0)
	cmd.Flags().Float64Var(&p.rate, "rate", 1_000, "records a second")
	p.batchBytes, p.inFlight = 1_000_000, idempotentInFlight
	return cmd
}

// perfResult is what a run has measured.
type perfResult struct {
	Topic            string        `json:"topic"`
	Records          int64         `json:"records"`
	Bytes            int64         `json:"bytes"`
	Seconds          float64       `json:"seconds"`
	RecordsPerSecond float64       `json:"recordsPerSecond"`
	MiBPerSecond     float64       `json:"mibPerSecond"`
	FirstRecordMs    float64       `json:"firstRecordMs,omitempty"`
	Acknowledged     *latencyTable `json:"acknowledgedMs,omitempty"`
	EndToEnd         *latencyTable `json:"endToEndMs,omitempty"`
}

// run checks the flags and runs one measurement until it is through or interrupted.
func (p *perf) run(topic string, measure func(context.Context) (*perfResult, error)) error {
	p.topic = topic
	switch {
	case p.records < 0:
		return usagef("--records %d: it is a number from 0 on", p.records)
	case p.producing.acks != "" && p.records == 0 && p.duration <= 0:
		return usagef("neither --records nor --duration says when to end")
	case p.size < 0 || p.size > maxRecordSize:
		return usagef("--size %d: it is a number of bytes from 0 to %d", p.size, maxRecordSize)
	case p.rate < 0:
		return usagef("--rate %v: it is a number of records a second, or 0 for as many as go", p.rate)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	result, err := measure(ctx)
	if err != nil {
		return explain(err)
	}
	return p.print(result, result.print)
}

// writer makes the topic if it is missing, and a client that writes to it.
func (p *perf) writer(ctx context.Context) (*kgo.Client, error) {
	p.producing.topic = p.topic
	opts, err := p.producing.options()
	if err != nil {
		return nil, err
	}
	if p.batchBytes <= 0 || p.inFlight <= 0 {
		return nil, usagef("--batch-bytes and --in-flight are numbers from 1 on")
	}
	opts = append(opts, kgo.ProducerBatchMaxBytes(max(p.batchBytes, int32(p.size)+1024)),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(int(p.batchBytes), false, false, nil)))
	if p.producing.acks != "all" || p.inFlight != idempotentInFlight {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(p.inFlight))
	}
	cl, err := p.client(opts...)
	if err != nil {
		return nil, err
	}
	got, err := kadm.NewClient(cl).CreateTopic(ctx, p.partitions, -1, nil, p.topic)
	if err = cmpErr(got.Err, err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		cl.Close()
		return nil, ofTopic(p.topic, err, got.ErrMessage)
	}
	return cl, nil
}

// payloads gives values of the wanted size, each a different part of some random letters.
func payloads(size int) (func(i int64) []byte, error) {
	pool := make([]byte, size+perfPool)
	if _, err := rand.Read(pool); err != nil {
		return nil, err
	}
	for i := range pool {
		pool[i] = 'A' + pool[i]%26
	}
	const stride = 7919 // prime, so that all beginnings come
	return func(i int64) []byte {
		at := int(i * stride % perfPool)
		return pool[at : at+size : at+size]
	}, nil
}

// each calls f for each record to be written, at the wanted rate, until the run is over.
func (p *perf) each(ctx context.Context, f func(i int64)) {
	for i := int64(0); p.records == 0 || i < p.records; i++ {
		now := p.clock.Mono() - p.began
		if ctx.Err() != nil || p.duration > 0 && now >= p.duration {
			return
		}
		if p.rate > 0 {
			if due := time.Duration(float64(i) / p.rate * float64(time.Second)); due > now && !p.wait(ctx, due-now) {
				return
			}
		}
		f(i)
	}
}

// wait waits, unless ctx ends first.
func (p *perf) wait(ctx context.Context, d time.Duration) bool {
	over := make(chan struct{})
	timer := p.clock.AfterFunc(d, func() { close(over) })
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

// report tells each second how far the run is, until stop is called.
func (p *perf) report(l *latencies) (stop func()) {
	p.began = p.clock.Mono()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.clock.Go("report", func() {
		defer close(ended)
		var records, bytes int64
		for p.wait(ctx, perfReport) {
			r, b := p.done.Load(), p.bytes.Load()
			fmt.Fprintf(p.err, "%4.0f s  %12d records  %10d records/s  %9.1f MiB/s", (p.clock.Mono() - p.began).Seconds(), r, r-records, mib(b-bytes))
			if l != nil {
				t := l.table()
				fmt.Fprintf(p.err, "  p50 %.2f ms  p99 %.2f ms", t.P50, t.P99)
			}
			fmt.Fprintln(p.err)
			records, bytes = r, b
		}
	})
	return func() { cancel(); <-ended }
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// result sums up.
func (p *perf) result() *perfResult {
	took := (p.clock.Mono() - p.began).Seconds()
	r := &perfResult{Topic: p.topic, Records: p.done.Load(), Bytes: p.bytes.Load(), Seconds: took}
	if took > 0 {
		r.RecordsPerSecond, r.MiBPerSecond = float64(r.Records)/took, mib(r.Bytes)/took
	}
	return r
}

func (p *perf) produce(ctx context.Context) (*perfResult, error) {
	value, err := payloads(p.size)
	if err != nil {
		return nil, err
	}
	cl, err := p.writer(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var acked latencies
	var failed atomic.Pointer[error]
	stop := p.report(&acked)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.each(ctx, func(i int64) {
		sent := p.clock.Mono()
		cl.Produce(context.Background(), &kgo.Record{Value: value(i)}, func(r *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				cancel()
				return
			}
			acked.add(p.clock.Mono() - sent)
			p.done.Add(1)
			p.bytes.Add(int64(len(r.Value)))
		})
	})
	err = cl.Flush(context.Background())
	stop()
	if f := failed.Load(); f != nil {
		return nil, ofTopic(p.topic, *f, "")
	}
	r, table := p.result(), acked.table()
	r.Acknowledged = &table
	return r, err
}

func (p *perf) consume(ctx context.Context) (*perfResult, error) {
	cl, err := p.client(kgo.ConsumeTopics(p.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(10<<20))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, ofTopic(p.topic, err, "")
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, p.topic)
	if err != nil {
		return nil, err
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Offset >= left[o.Partition] {
			delete(left, o.Partition)
		}
	})
	stop := p.report(nil)
	first := time.Duration(0)
	for len(left) > 0 && (p.records == 0 || p.done.Load() < p.records) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			break // interrupted
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			stop()
			return nil, ofTopic(p.topic, errs[0].Err, "")
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) == 0 {
				return
			}
			if first == 0 {
				first = p.clock.Mono() - p.began
			}
			for _, r := range f.Records {
				p.bytes.Add(int64(len(r.Key) + len(r.Value)))
			}
			p.done.Add(int64(len(f.Records)))
			if end, ok := left[f.Partition]; ok && f.Records[len(f.Records)-1].Offset >= end-1 {
				delete(left, f.Partition)
			}
		})
	}
	stop()
	r := p.result()
	r.FirstRecordMs = toMs(first)
	return r, nil
}

func (r *perfResult) print(w io.Writer) {
	fmt.Fprintf(w, "%d records, %s in %.2f s: %.0f records/s, %.1f MiB/s\n", r.Records, size(r.Bytes), r.Seconds, r.RecordsPerSecond, r.MiBPerSecond)
	if r.FirstRecordMs > 0 {
		fmt.Fprintf(w, "first record after %.1f ms\n", r.FirstRecordMs)
	}
	if r.Acknowledged == nil && r.EndToEnd == nil {
		return
	}
	aligned(w, "LATENCY IN MS\tMEAN\tP50\tP95\tP99\tP99.9\tMAX\t", tabwriter.AlignRight, func(line func(string, ...any)) {
		for _, row := range []struct {
			name string
			t    *latencyTable
		}{{"acknowledged", r.Acknowledged}, {"end to end", r.EndToEnd}} {
			if t := row.t; t != nil {
				line("%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t", row.name, t.Mean, t.P50, t.P95, t.P99, t.P999, t.Max)
			}
		}
	})
}
