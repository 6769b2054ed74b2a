// Package telemetry takes the metrics that clients push to the node (KIP-714).
//
// Duty: a [Table] knows the subscriptions of the cluster (CLIENT_METRICS resources), gives each client
// instance what it shall push and how often, checks what it pushes, and keeps the last value of each of
// its series, which [Table.Collect] tells.
//
// Invariants: at most [MaxInstances] clients and [MaxSeries] series each, [MaxAllSeries] together; a client whose connection
// is closed, or that was not heard of for three intervals, is forgotten with its series; a push is taken whole or not at all.
//
// Called by node/broker (Subscriptions, Push), by node when the metadata changes (SetSubscriptions) and by whoever exposes
// metrics (Collect). It does no I/O.
package telemetry

import (
	"iter"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/otlp"
	"github.com/moldau/moldau/internal/format/wire"
)

// Bounds of what is kept.
const (
	// MaxInstances is how many clients are known at a time; beyond it the one that was silent longest goes.
	MaxInstances = 16384
	// MaxSeries is how many series one client may have; what it pushes beyond is not kept.
	MaxSeries = 2048
	// MaxAllSeries is how many series all clients together may have.
	MaxAllSeries = 1 << 18
	// maxPushBytes is what a push may decompress to.
	maxPushBytes = 8 << 20

	leastExpiry = time.Minute
	sweepEvery  = time.Second
)

// Accepted are the codecs that pushes may be compressed with, the best first.
var Accepted = []int8{int8(compress.Zstd), int8(compress.LZ4), int8(compress.Gzip), int8(compress.Snappy)}

// Conn is a client's connection.
type Conn interface{ Closed() bool }

// Table is the clients that push metrics. All methods may be called from any goroutine.
type Table struct {
	world clock.World

	mu            sync.Mutex // guards all below
	subscriptions []subscription
	version       int // of subscriptions
	instances     map[wire.UUID]*instance
	series        int // of all instances
	swept         time.Duration
}

// instance is one client.
type instance struct {
	client     Client
	conn       Conn
	version    int // of the subscriptions that the fields below are from
	metrics    []string
	intervalMs int32
	id         int32

	getMs, pushMs int64 // when it asked and pushed last, wall
	heard         time.Duration
	terminating   bool
	last          wire.Code

	series map[string]*Sample
}

// Sample is the last value of one series of one client.
type Sample struct {
	Instance   wire.UUID
	Client     *Client
	Name       string
	Attributes []otlp.Attribute
	// Value is the last one, or the sum of those that were pushed as differences.
	Value float64
	// Monotonic: the value never goes down while the client lives.
	Monotonic bool
	// UnixMs is when the client took it, or when it came.
	UnixMs int64
}

// New makes a table without subscriptions.
func New(w clock.World) *Table {
	return &Table{world: w, instances: make(map[wire.UUID]*instance)}
}

// SetSubscriptions takes the settings of all client metrics resources. Clients are told when they ask next.
func (t *Table) SetSubscriptions(all []map[string]string) {
	next := make([]subscription, len(all))
	for i := range all {
		next[i] = newSubscription(all[i])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscriptions = next
	t.version++
}

// Subscriptions answers GetTelemetrySubscriptions. maxBytes is telemetry.max.bytes.
func (t *Table) Subscriptions(id wire.UUID, c Client, conn Conn, maxBytes int32) *wire.GetTelemetrySubscriptionsResponse {
	out := &wire.GetTelemetrySubscriptionsResponse{}
	out.SetDefaults()
	t.mu.Lock()
	defer t.mu.Unlock()
	for id.IsZero() || id.Reserved() && t.instances[id] == nil {
		if id = wire.UUID(clock.UUIDBits(t.world)); id.String()[0] == '-' || t.instances[id] != nil {
			id = wire.UUID{}
		}
	}
	in := t.instance(id, c, conn)
	now := clock.Millis(t.world.Now())
	soon := now-max(in.getMs, in.pushMs) < int64(in.intervalMs)
	if soon && in.last != wire.UnknownSubscriptionID && in.last != wire.UnsupportedCompressionType {
		out.ErrorCode = wire.ThrottlingQuotaExceeded
		return out
	}
	if !soon {
		in.getMs = now
	}
	in.last = wire.None
	out.ClientInstanceID, out.SubscriptionID = id, in.id
	out.AcceptedCompressionTypes = Accepted
	out.PushIntervalMs, out.TelemetryMaxBytes, out.DeltaTemporality = in.intervalMs, maxBytes, true
	out.RequestedMetrics = in.metrics
	return out
}

// Push answers PushTelemetry.
//
// Differs from Kafka: metrics that clients push are read, and refused if they cannot be; without a plugin Kafka looks at
// none of them.
func (t *Table) Push(m *wire.PushTelemetryRequest, c Client, conn Conn, maxBytes int32) wire.Code {
	if m.ClientInstanceID.Reserved() {
		return wire.InvalidRequest
	}
	t.mu.Lock()
	in := t.instance(m.ClientInstanceID, c, conn)
	code := in.check(m, clock.Millis(t.world.Now()), int(maxBytes))
	in.terminating = m.Terminating
	in.last = code
	t.mu.Unlock()
	if code != wire.None || len(m.Metrics) == 0 {
		return code
	}
	points, err := decode(m)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		in.last = wire.InvalidRecord
		return wire.InvalidRecord
	}
	if t.instances[m.ClientInstanceID] == in {
		t.keep(m.ClientInstanceID, in, points)
	}
	return wire.None
}

// decode reads what was pushed.
func decode(m *wire.PushTelemetryRequest) ([]otlp.Point, error) {
	b := m.Metrics
	if codec := compress.Codec(m.CompressionType); codec != compress.None {
		var err error
		if b, err = compress.Decompress(nil, b, codec, maxPushBytes); err != nil {
			return nil, err
		}
	}
	return otlp.Decode(b)
}

// check is what Kafka checks of a push, in its order.
func (in *instance) check(m *wire.PushTelemetryRequest, now int64, maxBytes int) wire.Code {
	if in.terminating {
		return wire.InvalidRequest
	}
	// Right after it asked what to push a client may push: it spreads its pushes over time.
	may := in.getMs > in.pushMs || now-in.pushMs >= int64(in.intervalMs)
	if may {
		in.pushMs = now
	}
	switch {
	case !may && !m.Terminating:
		return wire.ThrottlingQuotaExceeded
	case m.SubscriptionID != in.id:
		return wire.UnknownSubscriptionID
	case !compress.Codec(m.CompressionType).Valid():
		return wire.UnsupportedCompressionType
	case len(m.Metrics) > maxBytes:
		return wire.TelemetryTooLarge
	}
	return wire.None
}

// instance finds a client or makes it known, with the present subscriptions. The caller holds mu.
func (t *Table) instance(id wire.UUID, c Client, conn Conn) *instance {
	t.sweep()
	in := t.instances[id]
	if in != nil && in.gone(t.world.Mono()) {
		t.forget(id, in)
		in = nil
	}
	if in == nil {
		if len(t.instances) >= MaxInstances {
			t.forgetOldest()
		}
		in = &instance{version: -1, client: c, conn: conn}
		t.instances[id] = in
	}
	if in.version != t.version { // as if it were new, but its series go on
		*in = instance{version: t.version, client: in.client, conn: in.conn, series: in.series}
		in.metrics, in.intervalMs, in.id = wanted(t.subscriptions, &in.client, id)
	}
	in.heard = t.world.Mono()
	return in
}

// gone tells whether nothing is to be expected of a client any more.
func (in *instance) gone(now time.Duration) bool {
	silence := max(leastExpiry, 3*time.Duration(in.intervalMs)*time.Millisecond)
	return in.conn.Closed() || now-in.heard > silence
}

func (t *Table) forget(id wire.UUID, in *instance) {
	t.series -= len(in.series)
	delete(t.instances, id)
}

// sweep forgets clients that are gone. The caller holds mu.
func (t *Table) sweep() {
	now := t.world.Mono()
	if now-t.swept < sweepEvery {
		return
	}
	t.swept = now
	for id, in := range t.instances { // unordered: each by itself
		if in.gone(now) {
			t.forget(id, in)
		}
	}
}

func (t *Table) forgetOldest() {
	var oldest wire.UUID
	var found *instance
	for id, in := range t.instances { // unordered: of equals any may go
		if found == nil || in.heard < found.heard {
			oldest, found = id, in
		}
	}
	t.forget(oldest, found)
}

// keep takes points into a client's series. The caller holds mu.
func (t *Table) keep(id wire.UUID, in *instance, points []otlp.Point) {
	if in.series == nil {
		in.series = make(map[string]*Sample, min(len(points), MaxSeries))
	}
	now := clock.Millis(t.world.Now())
	var key []byte
	for i := range points {
		p := &points[i]
		key = appendKey(key[:0], p)
		s := in.series[string(key)]
		if s == nil {
			if len(in.series) == MaxSeries || t.series == MaxAllSeries {
				continue
			}
			s = &Sample{Instance: id, Client: &in.client, Name: p.Name, Attributes: p.Attributes}
			in.series[string(key)] = s
			t.series++
		}
		if !p.Delta {
			s.Value = 0
		}
		s.Value += p.Value
		s.Monotonic, s.UnixMs = p.Monotonic, now
		if p.UnixNano > 0 {
			s.UnixMs = int64(p.UnixNano / uint64(time.Millisecond))
		}
	}
}

// appendKey makes a series' identity of its name and attributes.
func appendKey(b []byte, p *otlp.Point) []byte {
	b = append(b, p.Name...)
	for _, a := range p.Attributes {
		b = append(b, 0)
		b = append(b, a.Key...)
		b = append(b, 1)
		b = append(b, a.Value...)
	}
	return b
}

// Instances is how many clients are known.
func (t *Table) Instances() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	return len(t.instances)
}

// Collect gives the last value of every series, in no order. The table is locked meanwhile: who takes them must not block.
func (t *Table) Collect() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.sweep()
		for _, in := range t.instances { // unordered: callers are told
			for _, s := range in.series {
				if !yield(*s) {
					return
				}
			}
		}
	}
}
