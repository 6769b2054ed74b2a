package edge

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/metric"
)

// timedOneIn is how many Produce or Fetch requests of a connection there are for
// each one that is timed, the first being one. All other requests are timed.
// A clock is read five times for a timed request, which costs as much as a tenth of a small Produce.
const timedOneIn = 8

// traffic counts requests and bytes, by API, and times requests.
type traffic struct {
	counters *metric.Counters
	// at is where the counters of an API begin: bytes of requests, bytes of
	// responses, then one for each version.
	at    [len(wire.APIs)]int
	times [len(wire.APIs)]atomic.Pointer[apiTimes]
}

// Numbers of counters.
const (
	countBytesIn = iota
	countBytesOut
	countsOfAPIs // the first that belongs to an API

	ofRequestBytes  = 0
	ofResponseBytes = 1
	ofVersions      = 2
)

// apiTimes are the stages of an API's requests, as Kafka has them.
type apiTimes struct {
	queue, local, remote, responseQueue, send, total metric.Histogram
}

func newTraffic() *traffic {
	t := &traffic{}
	next := countsOfAPIs
	for key := range wire.APIs {
		t.at[key] = next
		next += ofVersions + max(int(wire.APIs[key].Max), 0) + 1
	}
	t.counters = metric.NewCounters(next)
	return t
}

// request counts a request that came in.
func (t *traffic) request(s metric.Shard, key, version int16, bytes int) {
	at := t.at[key]
	s.Add(at+ofRequestBytes, uint64(bytes))
	s.Add(at+ofVersions+int(min(max(version, 0), max(wire.APIs[key].Max, 0))), 1)
}

// timesOf gives the histograms of an API; those of APIs that nobody uses are never made.
func (t *traffic) timesOf(key int16) *apiTimes {
	p := &t.times[key]
	if times := p.Load(); times != nil {
		return times
	}
	p.CompareAndSwap(nil, new(apiTimes))
	return p.Load()
}

// requests is how many there were of an API, in all versions.
func (t *traffic) requests(key int) (n uint64) {
	for v := range max(int(wire.APIs[key].Max), 0) + 1 {
		n += t.counters.Sum(t.at[key] + ofVersions + v)
	}
	return n
}

// timing is when a timed request came to each stage.
type timing struct {
	on                       bool
	arrived, began, answered time.Duration
}

// wantsTime decides whether the next request is timed.
func (in *reader) wantsTime(key int16) bool {
	if key != wire.KeyProduce && key != wire.KeyFetch {
		return true
	}
	in.untimed++
	return in.untimed%timedOneIn == 1
}

// serve hands a request to the handler, and takes the time.
func (c *Conn) serve(q *Request) {
	if !q.timing.on {
		c.handler.Serve(q)
		return
	}
	key, began := q.Key, c.server.world.Mono()
	q.timing.began = began
	c.handler.Serve(q) // the request may be somebody else's from here on
	end := c.server.world.Mono()
	c.served.Store(int64(end))
	c.server.traffic.timesOf(key).local.Observe(end - began)
}

// observe takes down the times of a request whose answer was sent.
func (w *writer) observe(q *Request, now time.Duration) {
	t := w.conn.server.traffic.timesOf(q.Key)
	t.queue.Observe(q.timing.began - q.timing.arrived)
	// What came after the handler returned is waiting: for the disk, for data, for other members.
	if served := time.Duration(w.conn.served.Load()); served > q.timing.began {
		t.remote.Observe(q.timing.answered - served)
	} else {
		t.remote.Observe(0)
	}
	t.responseQueue.Observe(w.began - q.timing.answered)
	t.send.Observe(now - w.began)
	t.total.Observe(now - q.timing.arrived)
}

// sentAll takes down the times of a batch that is out.
func (w *writer) sentAll() {
	if w.began == 0 {
		return
	}
	now := w.conn.server.world.Mono()
	for q := w.batch; q != nil; q = q.next {
		if q.timing.on {
			w.observe(q, now)
		}
	}
}

// begin takes the time if a request of the batch is timed.
func (w *writer) begin() {
	w.began = 0
	for q := w.batch; q != nil; q = q.next {
		if q.timing.on {
			w.began = w.conn.server.world.Mono()
			return
		}
	}
}

// Emit tells all figures of the server, by the names that Kafka's have behind
// the usual rules of the JMX exporter.
func (s *Server) Emit(out *metric.Sink) {
	stats := s.Stats()
	s.mu.Lock()
	open := make(map[string]int)
	for c := range s.conns {
		open[c.listener]++
	}
	for _, name := range s.names {
		out.Gauge("kafka_server_socket_server_metrics_connection_count", "Open connections.", float64(open[name]), "listener", name)
	}
	s.mu.Unlock()
	out.Counter("kafka_server_socket_server_metrics_connection_creation_total", "Connections accepted.", float64(stats.Accepted))
	out.Gauge("kafka_network_requestchannel_requestqueuesize", "Frames that are being read or handled, in bytes.", float64(stats.QueuedBytes))
	out.Counter("moldau_network_bytes_in_total", "Bytes read from clients.", float64(stats.BytesIn))
	out.Counter("moldau_network_bytes_out_total", "Bytes written to clients.", float64(stats.BytesOut))
	for why := none + 1; why < reasonCount; why++ {
		out.Counter("moldau_network_refused_total", "Connections that were ended, by reason.", float64(stats.Refused[why]), "reason", why.String())
	}
	mono := s.world.Mono()
	for key := range wire.APIs {
		if n := s.traffic.requests(key); n > 0 {
			s.traffic.emit(out, int16(key), n, mono)
		}
	}
}

// emit tells of one API.
func (t *traffic) emit(out *metric.Sink, key int16, n uint64, mono time.Duration) {
	name, at := wire.APIName(key), t.at[key]
	for v := range max(int(wire.APIs[key].Max), 0) + 1 {
		if of := t.counters.Sum(at + ofVersions + v); of > 0 {
			out.Counter("kafka_network_requestmetrics_requests_total", "Requests, by API and version.", float64(of), "request", name, "version", strconv.Itoa(v))
		}
	}
	out.Counter("kafka_network_requestmetrics_requestbytes_total", "Bytes of requests, by API.", float64(t.counters.Sum(at+ofRequestBytes)), "request", name)
	out.Counter("kafka_network_requestmetrics_responsebytes_total", "Bytes of responses, by API.", float64(t.counters.Sum(at+ofResponseBytes)), "request", name)
	times := t.times[key].Load()
	if times == nil {
		return
	}
	for _, stage := range []struct {
		name, help string
		h          *metric.Histogram
	}{
		{"requestqueuetimems", "Milliseconds a request waited for those before it on its connection.", &times.queue},
		{"localtimems", "Milliseconds a request was worked on.", &times.local},
		{"remotetimems", "Milliseconds a request waited for the disk, for data or for others.", &times.remote},
		{"responsequeuetimems", "Milliseconds an answer waited for those before it on its connection.", &times.responseQueue},
		{"responsesendtimems", "Milliseconds an answer took to be sent.", &times.send},
		{"totaltimems", "Milliseconds from a request's last byte to its answer's.", &times.total},
	} {
		quantiles := stage.h.Quantiles(mono, 0.5, 0.75, 0.95, 0.98, 0.99, 0.999)
		for i, q := range []string{"0.50", "0.75", "0.95", "0.98", "0.99", "0.999"} {
			out.Gauge("kafka_network_requestmetrics_"+stage.name, stage.help, milliseconds(quantiles[i]), "request", name, "quantile", q)
		}
		out.Counter("kafka_network_requestmetrics_"+stage.name+"_count", "How many: see the metric without _count.", float64(n), "request", name)
		if count, sum := stage.h.Count(); count > 0 {
			out.Gauge("kafka_network_requestmetrics_"+stage.name+"_mean", "The mean of the metric without _mean.",
				milliseconds(sum)/float64(count), "request", name)
		}
	}
	out.Histogram("moldau_request_duration_seconds", "Time from a request's last byte to its answer's; of Produce and Fetch a sample.", &times.total, "request", name)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
