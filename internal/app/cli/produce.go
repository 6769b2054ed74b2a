package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
)

// maxLine bounds one record read from the input.
const maxLine = 64 << 20

// producing is what `moldau produce` was asked to do.
type producing struct {
	*connection
	topic       string
	separator   string
	headers     []string
	partition   int32
	compression string
	acks        string
	linger      time.Duration
	patience    time.Duration
	transaction string
	verbose     bool
}

func produceCommand(e env) *cobra.Command {
	p := &producing{connection: &connection{env: e}}
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write records from the input, one a line",
		Long: `Write records from the input, one a line.

With --key-separator each line is a key, the separator, and a value. With --json each
line is an object {"key": …, "value": …, "headers": {…}, "partition": …, "timestamp": …} as
'moldau consume --json' prints it. A line is acknowledged before the command ends.`,
		Example: `  echo hello | moldau produce orders
  printf 'k1:v1\nk2:v2\n' | moldau produce orders --key-separator :
  moldau consume orders --from start --json | moldau produce copy --json
  moldau produce orders --header source=shell --compression zstd < lines.txt
  moldau produce orders --transactional-id loader < lines.txt`,
		Args: oneName("topic"),
		RunE: func(_ *cobra.Command, args []string) error {
			p.topic = args[0]
			return p.run()
		},
	}
	p.flags(cmd)
	cmd.PersistentFlags().Lookup("json").Usage = "take each line as a record in JSON"
	f := cmd.Flags()
	f.StringVarP(&p.separator, "key-separator", "k", "", "what stands between key and value in a line; none means that lines are values")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "a header for every record, key=value; may be repeated")
	f.Int32VarP(&p.partition, "partition", "p", -1, "partition to write to; -1 chooses by key")
	f.StringVarP(&p.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&p.acks, "acks", "all", "all, leader or none")
	f.DurationVar(&p.linger, "linger", 5*time.Millisecond, "how long to wait for a fuller batch")
	f.DurationVar(&p.patience, "timeout", 2*time.Minute, "give up when no record was acknowledged for this long; 0 for never")
	f.StringVar(&p.transaction, "transactional-id", "", "write all lines in one transaction of this id: readers of committed data see all of them or none")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "print where each record went")
	return cmd
}

var codecs = map[string]func() kgo.CompressionCodec{
	"none": kgo.NoCompression, "gzip": kgo.GzipCompression, "snappy": kgo.SnappyCompression,
	"lz4": kgo.Lz4Compression, "zstd": kgo.ZstdCompression,
}

func (p *producing) options() ([]kgo.Opt, error) {
	codec, ok := codecs[p.compression]
	if !ok {
		return nil, usagef("--compression %q: it is one of none, gzip, snappy, lz4, zstd", p.compression)
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(p.topic), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(p.linger),
		kgo.ProducerBatchCompression(codec()), kgo.UnknownTopicRetries(3),
		kgo.RecordPartitioner(&chosenPartition{kgo.StickyKeyPartitioner(nil)}),
	}
	if p.transaction != "" {
		if p.acks != "all" {
			return nil, usagef("--transactional-id needs --acks all")
		}
		opts = append(opts, kgo.TransactionalID(p.transaction))
	}
	switch p.acks {
	case "all":
	case "leader", "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none", "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usagef("--acks %q: it is one of all, leader, none", p.acks)
	}
	return opts, nil
}

// chosenPartition lets a record name its partition, and leaves the choice to
// the usual partitioner where it does not.
type chosenPartition struct{ kgo.Partitioner }

func (c *chosenPartition) ForTopic(topic string) kgo.TopicPartitioner {
	return &chosenTopicPartition{c.Partitioner.ForTopic(topic)}
}

type chosenTopicPartition struct{ kgo.TopicPartitioner }

func (c *chosenTopicPartition) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || c.TopicPartitioner.RequiresConsistency(r)
}

func (c *chosenTopicPartition) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return c.TopicPartitioner.Partition(r, n)
}

func (p *producing) run() error {
	if p.partition < -1 {
		return usagef("--partition %d: it is a number from 0 on, or -1 to choose by key", p.partition)
	}
	opts, err := p.options()
	if err != nil {
		return err
	}
	headers, err := p.fixedHeaders()
	if err != nil {
		return err
	}
	cl, err := p.client(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if p.transaction == "" {
		return p.send(cl, headers)
	}
	if err := cl.BeginTransaction(); err != nil {
		return explain(err)
	}
	err = p.send(cl, headers)
	return errors.Join(err, explain(cl.EndTransaction(context.Background(), kgo.TransactionEndTry(err == nil))))
}

// send reads the input and produces it.
func (p *producing) send(cl *kgo.Client, headers []kgo.RecordHeader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := newOutcomes(p, cancel)
	defer out.end()
	lines := bufio.NewScanner(p.in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	progress := newProgress(p.err)
	defer progress.clear()
	if f, ok := p.in.(*os.File); ok && isTerminal(f) {
		progress.out = nil // somebody is typing
	}
	n, sent := 0, int64(0)
	for lines.Scan() && out.failed() == nil {
		n++
		r, err := p.record(lines.Bytes())
		if err != nil {
			return errors.Join(fmt.Errorf("line %d of the input: %w", n, err), cl.Flush(ctx))
		}
		r.Headers = append(r.Headers, headers...)
		out.sent()
		cl.Produce(ctx, r, out.note)
		sent += int64(len(r.Key) + len(r.Value))
		progress.show(func(w io.Writer) { fmt.Fprintf(w, "%s sent, %s", count(n, "record"), size(sent)) })
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d of the input: %w", n+1, err)
	}
	err := cl.Flush(ctx)
	return cmp.Or(out.failed(), err)
}

func (p *producing) fixedHeaders() ([]kgo.RecordHeader, error) {
	var out []kgo.RecordHeader
	for _, h := range p.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, usagef("--header %q: write it as key=value", h)
		}
		out = append(out, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return out, nil
}

// record makes a record of one line.
func (p *producing) record(line []byte) (*kgo.Record, error) {
	r := &kgo.Record{Partition: p.partition}
	if p.json {
		return r, p.fromJSON(line, r)
	}
	text := string(line)
	if p.separator == "" {
		r.Value = []byte(text)
		return r, nil
	}
	key, value, ok := strings.Cut(text, p.separator)
	if !ok {
		return nil, fmt.Errorf("there is no separator %q in %q", p.separator, text)
	}
	r.Key, r.Value = []byte(key), []byte(value)
	return r, nil
}

func (p *producing) fromJSON(line []byte, r *kgo.Record) error {
	in := jsonRecord{}
	if err := json.Unmarshal(line, &in); err != nil {
		return fmt.Errorf("not a record in JSON: %w", err)
	}
	var err error
	if r.Key, err = in.Key.bytes(); err != nil {
		return err
	}
	if r.Value, err = in.Value.bytes(); err != nil {
		return err
	}
	for _, h := range in.Headers {
		value, err := h.Value.bytes()
		if err != nil {
			return err
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: value})
	}
	if in.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*in.Timestamp)
	}
	return nil
}

// outcomes gathers what became of the records, and ends a run in which nothing moves: a client tries for ever what a node refuses for now.
type outcomes struct {
	p       *producing
	mu      sync.Mutex // guards what follows, and the output
	err     error
	waiting int // records that were sent and not settled
	timer   clock.Timer
}

// newOutcomes calls giveUp when no record was settled for --timeout while some wait.
func newOutcomes(p *producing, giveUp func()) *outcomes {
	o := &outcomes{p: p}
	if p.patience > 0 {
		o.timer = (&clock.Real{}).AfterFunc(p.patience, func() {
			o.mu.Lock()
			if o.err == nil {
				o.err = fmt.Errorf("topic %s: no record was acknowledged for %v: the node is too slow, or refuses them for now, as with a full disk: see its log, or `moldau doctor`", p.topic, p.patience)
			}
			o.mu.Unlock()
			giveUp()
		})
		o.timer.Stop()
	}
	return o
}

// move restarts the timer while records wait. The caller holds mu.
func (o *outcomes) move(records int) {
	began := o.waiting == 0
	o.waiting += records
	switch {
	case o.timer == nil:
	case o.waiting == 0:
		o.timer.Stop()
	case began || records < 0:
		o.timer.Reset(o.p.patience)
	}
}

// sent notes that a record is about to be sent.
func (o *outcomes) sent() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.move(1)
}

// end ends the watch.
func (o *outcomes) end() {
	if o.timer != nil {
		o.timer.Stop()
	}
}

func (o *outcomes) note(r *kgo.Record, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.move(-1)
	switch {
	case err != nil && o.err == nil:
		o.err = fmt.Errorf("topic %s: %w", o.p.topic, explain(err))
	case err == nil && o.p.verbose:
		fmt.Fprintf(o.p.out, "%s-%d@%d\n", r.Topic, r.Partition, r.Offset)
	}
}

func (o *outcomes) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
