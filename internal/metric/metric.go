// Package metric counts what a node does and writes it for Prometheus.
//
// Duty: [Counters] and [Histogram] take figures on the hot path, [Registry]
// gathers them, and everything else that somebody can tell, when it is asked.
// Names and meanings belong to those who count.
//
// Invariants: an increment is one add to memory that other cores rarely touch:
// no lock, no map, no allocation. Nothing is computed until somebody asks. What
// one scrape can cost is bounded by those who emit: a series for each topic,
// partition or group needs a named bound.
//
// Called by every part of a node that counts; network/httpd serves what is
// gathered. It must never know what Kafka is, start background work, or keep a
// figure that can be asked for.
package metric

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// maxShards bounds the copies of a set of counters.
const maxShards = 16

// Counters is a fixed set of counters by number, kept in several copies so that
// cores do not share cache lines. The sum of the copies is the counter.
type Counters struct {
	shards []Shard
}

// Shard is one copy of a set of counters. Several goroutines may use it.
type Shard []atomic.Uint64

// Add counts n on counter i.
func (s Shard) Add(i int, n uint64) { s[i].Add(n) }

// shardPad keeps what lies beside a shard in memory off its cache lines.
const shardPad = 16

// NewCounters makes n counters.
func NewCounters(n int) *Counters {
	copies := 1
	for copies < runtime.GOMAXPROCS(0) && copies < maxShards {
		copies *= 2
	}
	c := &Counters{shards: make([]Shard, copies)}
	for i := range c.shards {
		c.shards[i] = make(Shard, n+2*shardPad)[shardPad : shardPad+n]
	}
	return c
}

// Shard is the copy for somebody with this number, a connection for example.
func (c *Counters) Shard(number uint64) Shard { return c.shards[number&uint64(len(c.shards)-1)] }

// Sum is counter i.
func (c *Counters) Sum(i int) uint64 {
	var sum uint64
	for _, s := range c.shards {
		sum += s[i].Load()
	}
	return sum
}

// Registry gathers what its sources tell. The zero value is not usable; see
// [NewRegistry]. It may be used from any goroutine.
type Registry struct {
	prom *prometheus.Registry

	mu      sync.Mutex // guards what follows
	sources []func(*Sink)
}

// NewRegistry makes a registry that knows of the process and of Go's runtime.
func NewRegistry() *Registry {
	r := &Registry{prom: prometheus.NewRegistry()}
	r.prom.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), (*exposition)(r))
	return r
}

// Collect adds a source, which is called at each scrape, by one goroutine at a time for each scrape.
func (r *Registry) Collect(source func(*Sink)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, source)
}

// Gatherer gives everything to those who write it out.
func (r *Registry) Gatherer() prometheus.Gatherer { return r.prom }

// exposition is a registry as the Prometheus library sees it.
type exposition Registry

// Describe tells nothing beforehand: which series there are is known at the scrape.
func (e *exposition) Describe(chan<- *prometheus.Desc) {}

// Collect calls the sources.
func (e *exposition) Collect(out chan<- prometheus.Metric) {
	e.mu.Lock()
	sources := e.sources[:len(e.sources):len(e.sources)]
	e.mu.Unlock()
	s := &Sink{out: out}
	for _, source := range sources {
		source(s)
	}
}

// Sink takes the figures of one scrape.
type Sink struct {
	out chan<- prometheus.Metric
}

// Counter gives a figure that only grows. labels are names and values in turn.
func (s *Sink) Counter(name, help string, v float64, labels ...string) {
	s.value(prometheus.CounterValue, name, help, v, labels)
}

// Gauge gives a figure that goes up and down. labels are names and values in turn.
func (s *Sink) Gauge(name, help string, v float64, labels ...string) {
	s.value(prometheus.GaugeValue, name, help, v, labels)
}

func (s *Sink) value(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	desc, values := describe(name, help, labels)
	m, err := prometheus.NewConstMetric(desc, kind, v, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	s.out <- m
}

// Histogram gives a histogram in seconds, with its buckets.
func (s *Sink) Histogram(name, help string, h *Histogram, labels ...string) {
	desc, values := describe(name, help, labels)
	count, sum, buckets := h.cumulative()
	m, err := prometheus.NewConstHistogram(desc, count, sum.Seconds(), buckets, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	s.out <- m
}

func describe(name, help string, labels []string) (*prometheus.Desc, []string) {
	names, values := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.NewDesc(name, help, names, nil), values
}
