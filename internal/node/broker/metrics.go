package broker

import (
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// Numbers of a broker's counters, over all topics, those that are gone included.
const (
	countMessagesIn = iota
	countBytesIn
	countBytesOut
	countProduces
	countFailedProduces
	countFetches
	countFailedFetches
	countBytesRejected
	counterCount
)

const (
	// maxTopicSeries bounds the topics that have figures of their own: the first by name.
	maxTopicSeries = 1_000
	// maxCountedCodes bounds the error codes that are counted of one answer.
	maxCountedCodes = 10_000
	// leastCode and greatestCode are the error codes that are told apart.
	leastCode, greatestCode = -1, 254
)

// figures are what a broker counts.
type figures struct {
	totals *metric.Counters
	// errors are answers with a code other than none, by API; none is counted by nones.
	errors [len(wire.APIs)]atomic.Pointer[codeCounts]
	nones  *metric.Counters
}

type codeCounts [greatestCode - leastCode + 1]atomic.Uint64

func newFigures() *figures {
	return &figures{totals: metric.NewCounters(counterCount), nones: metric.NewCounters(len(wire.APIs))}
}

// code counts one error code of an answer.
func (f *figures) code(key int16, code wire.Code) {
	p := &f.errors[key]
	if p.Load() == nil {
		p.CompareAndSwap(nil, new(codeCounts))
	}
	p.Load()[min(max(int(code), leastCode), greatestCode)-leastCode].Add(1)
}

// codes counts the error codes of an answer.
func (f *figures) codes(q *edge.Request, w *codeWalk, m any) {
	if w == nil {
		return
	}
	c := codeCounter{figures: f, key: q.Key}
	w.walk(reflect.ValueOf(m).Elem(), &c)
	f.nones.Shard(q.Conn().ID()).Add(int(q.Key), c.nones)
}

// codeCounter counts the codes of one answer.
type codeCounter struct {
	*figures
	key         int16
	nones, seen uint64
}

// codeWalk says where in a message its error codes are.
type codeWalk struct {
	codes  []int // fields
	nested []nestedCodes
}

type nestedCodes struct {
	field int
	walk  *codeWalk
}

// codesIn finds the error codes of a type of message; nil if it has none.
func codesIn(t reflect.Type) *codeWalk {
	w := &codeWalk{}
	for i := range t.NumField() {
		f := t.Field(i).Type
		if f == reflect.TypeFor[wire.Code]() {
			w.codes = append(w.codes, i)
			continue
		}
		for f.Kind() == reflect.Slice || f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && t.Field(i).IsExported() {
			if below := codesIn(f); below != nil {
				w.nested = append(w.nested, nestedCodes{i, below})
			}
		}
	}
	if len(w.codes)+len(w.nested) == 0 {
		return nil
	}
	return w
}

func (w *codeWalk) walk(v reflect.Value, c *codeCounter) {
	for _, i := range w.codes {
		c.seen++
		if code := wire.Code(v.Field(i).Int()); code != wire.None {
			c.code(c.key, code)
		} else {
			c.nones++
		}
	}
	for _, n := range w.nested {
		f := v.Field(n.field)
		switch f.Kind() {
		case reflect.Slice:
			for i := 0; i < f.Len() && c.seen < maxCountedCodes; i++ {
				n.walk.walk(reflect.Indirect(f.Index(i)), c)
			}
		case reflect.Pointer:
			if !f.IsNil() {
				n.walk.walk(f.Elem(), c)
			}
		default:
			n.walk.walk(f, c)
		}
	}
}

// count notes what became of a produce request.
func (op *produce) count() {
	f := op.b.figures
	s := f.totals.Shard(op.q.Conn().ID())
	var messages, bytes, failed uint64
	for i := range op.appends {
		a := &op.appends[i]
		if a.part != nil {
			a.part.Counts.Produces.Add(1)
		}
		code, _ := a.outcome()
		switch {
		case code != wire.None:
			failed++
			f.code(wire.KeyProduce, code)
			if a.part != nil {
				a.part.Counts.FailedProduces.Add(1)
			}
			if code == wire.MessageTooLarge || code == wire.RecordListTooLarge {
				s.Add(countBytesRejected, uint64(a.size))
			}
		case !a.Duplicate:
			n, size := uint64(a.LastOffset-a.BaseOffset+1), uint64(len(a.Records))
			messages, bytes = messages+n, bytes+size
			a.part.Counts.MessagesIn.Add(n)
			a.part.Counts.BytesIn.Add(size)
		}
	}
	s.Add(countMessagesIn, messages)
	s.Add(countBytesIn, bytes)
	s.Add(countProduces, uint64(len(op.appends)))
	if failed > 0 {
		s.Add(countFailedProduces, failed)
	}
	f.nones.Shard(op.q.Conn().ID()).Add(int(wire.KeyProduce), uint64(len(op.appends))-failed)
}

// count notes what a fetch is answered with.
func (op *fetch) count() {
	f := op.b.figures
	s := f.totals.Shard(op.q.Conn().ID())
	var failed uint64
	for i := range op.reads {
		rd := &op.reads[i]
		switch part := rd.p.part; {
		case rd.code != wire.None:
			failed++
			f.code(wire.KeyFetch, rd.code)
			if part != nil {
				part.Counts.FailedFetches.Add(1)
			}
		case rd.view.Len > 0:
			part.Counts.Fetches.Add(1)
			part.Counts.BytesOut.Add(uint64(rd.view.Len))
		}
	}
	s.Add(countBytesOut, uint64(op.bytes))
	fetches := uint64(len(op.reads))
	if op.session != nil {
		fetches = uint64(len(op.session.parts)) // those without news were not looked at
	}
	s.Add(countFetches, fetches)
	if failed > 0 {
		s.Add(countFailedFetches, failed)
	}
	f.nones.Shard(op.q.Conn().ID()).Add(int(wire.KeyFetch), fetches-failed)
}

// topicFigures are the counters that there are for each topic: the name behind
// kafka_server_brokertopicmetrics_, the broker's counter, and the partition's.
var topicFigures = []struct {
	name, help string
	total      int
	of         func(c *partition.Counts) *atomic.Uint64
}{
	{"messagesin", "Records written by producers.", countMessagesIn, func(c *partition.Counts) *atomic.Uint64 { return &c.MessagesIn }},
	{"bytesin", "Bytes of records written by producers, as they came.", countBytesIn, func(c *partition.Counts) *atomic.Uint64 { return &c.BytesIn }},
	{"bytesout", "Bytes of records given to consumers.", countBytesOut, func(c *partition.Counts) *atomic.Uint64 { return &c.BytesOut }},
	{"totalproducerequests", "Produce requests, by partition.", countProduces, func(c *partition.Counts) *atomic.Uint64 { return &c.Produces }},
	{"failedproducerequests", "Produce requests that failed, by partition.", countFailedProduces, func(c *partition.Counts) *atomic.Uint64 { return &c.FailedProduces }},
	{"totalfetchrequests", "Fetch requests, by partition; for a topic only those that gave records.", countFetches, func(c *partition.Counts) *atomic.Uint64 { return &c.Fetches }},
	{"failedfetchrequests", "Fetch requests that failed, by partition.", countFailedFetches, func(c *partition.Counts) *atomic.Uint64 { return &c.FailedFetches }},
}

// Emit tells what the broker has counted, by the names that Kafka's figures have
// behind the usual rules of the JMX exporter: over all topics without a label, and by topic.
func (b *Broker) Emit(out *metric.Sink) {
	b.tolls.Load().emit(out)
	const prefix = "kafka_server_brokertopicmetrics_"
	topics := b.countedTopics()
	for _, m := range topicFigures {
		out.Counter(prefix+m.name+"_total", m.help, float64(b.figures.totals.Sum(m.total)))
		for _, t := range topics {
			var sum uint64
			for _, p := range t.Partitions {
				if p != nil {
					sum += m.of(&p.Counts).Load()
				}
			}
			out.Counter(prefix+m.name+"_total", m.help, float64(sum), "topic", t.Name)
		}
	}
	out.Counter(prefix+"bytesrejected_total", "Bytes of records that were refused because they were too large.", float64(b.figures.totals.Sum(countBytesRejected)))
	b.emitErrors(out)
	emitTransactions(b, out)
	b.door.emit(out)
}

// countedTopics are the topics that have figures of their own.
func (b *Broker) countedTopics() []*partition.Topic {
	var names []string
	for t := range b.image().Topics() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	var topics []*partition.Topic
	for _, name := range names[:min(len(names), maxTopicSeries)] {
		if t := b.table.ByName(name); t != nil {
			topics = append(topics, t)
		}
	}
	return topics
}

func (b *Broker) emitErrors(out *metric.Sink) {
	const name, help = "kafka_network_requestmetrics_errors_total", "Error codes in answers, by API, NONE included."
	for key := range wire.APIs {
		api := wire.APIName(int16(key))
		if n := b.figures.nones.Sum(key); n > 0 {
			out.Counter(name, help, float64(n), "request", api, "error", wire.None.String())
		}
		counts := b.figures.errors[key].Load()
		if counts == nil {
			continue
		}
		for i := range counts {
			if n := counts[i].Load(); n > 0 {
				out.Counter(name, help, float64(n), "request", api, "error", wire.Code(i+leastCode).String())
			}
		}
	}
}
