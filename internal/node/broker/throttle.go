package broker

import (
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/quota"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/edge"
)

const (
	// maxSensors bounds the entities whose use is counted; beyond it the one that was quiet longest, of a few, is forgotten.
	maxSensors = 50_000
	// sensorIdleMs is after how long without use a sensor is forgotten, as in Kafka.
	sensorIdleMs = 3_600_000
	// expireEveryMs is how often new entities have the idle ones looked for.
	expireEveryMs = 600_000
	// sensorLooks is how many sensors are compared when one must go.
	sensorLooks = 16
)

// Versions from which on requests know THROTTLING_QUOTA_EXCEEDED (KIP-599): earlier ones are carried out and muted.
const (
	strictCreateTopics     = 6
	strictDeleteTopics     = 5
	strictCreatePartitions = 3
)

// tolls is the client quotas that hold at a time: what clients use is counted, and who uses too much is muted. A broker
// without client quotas has none, and pays one look at a nil pointer for a request: a nil *tolls counts nothing.
type tolls struct {
	world    clock.World
	limits   *quota.Limits
	windows  [quota.Kinds]quota.Window
	sensors  *sensors
	requests bool // there are limits on time
}

// sensors is the use of all entities. They outlive the limits: a new limit is for what was used before, too.
type sensors struct {
	mu      sync.RWMutex // guards what follows
	all     map[sensorKey]*sensor
	expired int64 // when the idle ones were last looked for
}

type sensorKey struct {
	kind quota.Kind
	who  quota.Entity
}

// sensor is one entity's use of one kind.
type sensor struct {
	mu sync.Mutex // guards what follows
	quota.Sensor
	// gone tells that the sensor is forgotten: its holder looks for the new one.
	gone bool
	// waits and waitMs are how often and how long its clients were muted.
	waits, waitMs float64
}

// toll is the sensors of one connection's client, kept with the connection.
type toll struct {
	of           *tolls
	user, client string
	by           [quota.Kinds]ceiling
}

// ceiling is a sensor and the limit that holds; without a limit sensor is nil.
type ceiling struct {
	*sensor
	bound float64
}

// SetQuotas replaces the limits on clients.
func (b *Broker) SetQuotas(limits *quota.Limits) {
	t := &tolls{world: b.world, limits: limits, sensors: b.sensors, requests: limits.Any(quota.Request)}
	cfg := b.config()
	w := quota.Window{Samples: cfg.GetInt("quota.window.num"), Ms: 1000 * int64(cfg.GetInt("quota.window.size.seconds"))}
	t.windows = [quota.Kinds]quota.Window{quota.Produce: w, quota.Fetch: w, quota.Request: w, quota.Mutation: {
		Samples: cfg.GetInt("controller.quota.window.num"), Ms: 1000 * int64(cfg.GetInt("controller.quota.window.size.seconds")),
	}}
	for k := range quota.Kinds {
		if limits.Any(k) {
			b.tolls.Store(t)
			return
		}
	}
	b.tolls.Store(nil)
}

// serve has a request handled and counts the time that takes the connection's goroutine.
//
// Kafka counts the time of its network and handler threads; 100 per cent are one thread's whole time. Here they are one
// connection goroutine's whole time, and so one processor's: waiting for data, for the disk's round of somebody else, or
// for the controller is not counted. What is left of it after the answer counts for the next.
func (t *tolls) serve(b *Broker, h handler, q *edge.Request) {
	m, u := q.Mute(), t.toll(q)
	m.Begin(t.world.Mono())
	h(b, q)
	if spent := m.Spend(t.world.Mono()); spent > 0 {
		u.record(quota.Request, percent(spent))
	}
}

// percent is time as it is counted: per cent of a second.
func percent(d time.Duration) float64 { return float64(d) * 100 / float64(time.Second) }

// toll finds the sensors of a request's client.
func (t *tolls) toll(q *edge.Request) *toll {
	m, user := q.Mute(), q.Conn().Identity().Principal().Name
	u, _ := m.Kept().(*toll)
	if u != nil && u.of == t && u.user == user && u.client == q.ClientID {
		return u
	}
	u = &toll{of: t, user: user, client: q.ClientID}
	for k := range quota.Kinds {
		if who, bound, ok := t.limits.Find(k, user, q.ClientID); ok {
			u.by[k] = ceiling{t.sensors.get(sensorKey{k, who}, t.now()), bound}
		}
	}
	m.Keep(u)
	return u
}

// now is the time for sensors: milliseconds that never go back, from an origin long ago so that buckets are full.
func (t *tolls) now() int64 { return origin + t.world.Mono().Milliseconds() }

const origin = 1 << 40

// get finds or makes a sensor.
func (s *sensors) get(key sensorKey, now int64) *sensor {
	s.mu.RLock()
	found := s.all[key]
	s.mu.RUnlock()
	if found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found = s.all[key]; found != nil {
		return found
	}
	if now-s.expired > expireEveryMs {
		s.expired = now
		s.expire(now)
	}
	if len(s.all) >= maxSensors {
		s.evict(now)
	}
	found = &sensor{}
	found.Touch(now)
	s.all[key] = found
	return found
}

// evict forgets the quietest of a few. mu is held.
func (s *sensors) evict(now int64) {
	var quietest sensorKey
	most, looks := int64(-1), 0
	for key, x := range s.all { // unordered: any few will do
		x.mu.Lock()
		idle := x.IdleMs(now)
		x.mu.Unlock()
		if idle > most {
			quietest, most = key, idle
		}
		if looks++; looks >= sensorLooks {
			break
		}
	}
	s.forget(quietest)
}

// expire forgets what has not been used for an hour. mu is held.
func (s *sensors) expire(now int64) {
	for key, x := range s.all { // unordered: each by itself
		x.mu.Lock()
		idle := x.IdleMs(now)
		x.mu.Unlock()
		if idle > sensorIdleMs {
			s.forget(key)
		}
	}
}

// forget drops a sensor. mu is held.
func (s *sensors) forget(key sensorKey) {
	x := s.all[key]
	delete(s.all, key)
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
}

// with runs f with the sensor of a kind, locked; it does nothing without a limit.
func (u *toll) with(k quota.Kind, f func(s *sensor, w quota.Window, bound float64, now int64)) {
	b, t := &u.by[k], u.of
	if b.sensor == nil {
		return
	}
	now, s := t.now(), b.sensor
	s.mu.Lock()
	if s.gone { // at most once: what get gives has just been touched
		s.mu.Unlock()
		who, _, _ := t.limits.Find(k, u.user, u.client)
		s = t.sensors.get(sensorKey{k, who}, now)
		s.mu.Lock()
	}
	f(s, t.windows[k], b.bound, now)
	s.mu.Unlock()
}

func (u *toll) record(k quota.Kind, quantity float64) {
	u.with(k, func(s *sensor, w quota.Window, _ float64, now int64) { s.Record(w, quantity, now) })
}

// use counts a quantity and tells how long the client has to wait.
func (u *toll) use(k quota.Kind, quantity float64) (waitMs int64) {
	u.with(k, func(s *sensor, w quota.Window, bound float64, now int64) { waitMs = s.Use(w, bound, quantity, now) })
	return waitMs
}

// time counts the time that a request has taken so far. Its delays end with one sample, as in Kafka.
func (u *toll) time(q *edge.Request) (waitMs int64) {
	if u.by[quota.Request].sensor == nil {
		return 0
	}
	return min(u.use(quota.Request, percent(q.Mute().Spend(u.of.world.Mono()))), u.of.windows[quota.Request].Ms)
}

// mute has the connection muted after the answer, and notes it with the kind that asked for it.
func (u *toll) mute(q *edge.Request, k quota.Kind, waitMs int64) int32 {
	if waitMs <= 0 {
		return 0
	}
	u.with(k, func(s *sensor, _ quota.Window, _ float64, _ int64) {
		s.waits++
		s.waitMs += float64(waitMs)
	})
	q.Throttle(u.of.world, time.Duration(waitMs)*time.Millisecond)
	return int32(min(waitMs, math.MaxInt32))
}

// greater mutes for the longer of the delays of a kind and of the time.
func (u *toll) greater(q *edge.Request, k quota.Kind, waitMs, timeMs int64) int32 {
	if waitMs > timeMs {
		return u.mute(q, k, waitMs)
	}
	return u.mute(q, quota.Request, timeMs)
}

// exempt tells the APIs that are never muted: those of brokers, and those before a client is known.
func exempt(key int16) bool {
	return key == wire.KeyWriteTxnMarkers || key == wire.KeySaslHandshake || key == wire.KeySaslAuthenticate
}

// throttleField is where a type of answer has its throttle time, -1 if nowhere.
func throttleField(t reflect.Type) int {
	if f, ok := t.FieldByName("ThrottleTimeMs"); ok && f.Type.Kind() == reflect.Int32 {
		return f.Index[0]
	}
	return -1
}

// answer counts the time of a request that is about to be answered with m, and puts the delay into it.
func (t *tolls) answer(q *edge.Request, field int, m any) {
	if !t.requests || exempt(q.Key) {
		return
	}
	u := t.toll(q)
	if wait := u.mute(q, quota.Request, u.time(q)); wait > 0 && field >= 0 {
		at := reflect.ValueOf(m).Elem().Field(field)
		at.SetInt(max(at.Int(), int64(wait)))
	}
}

// throttle counts the time of a request that is about to be answered, and gives the answer's throttle time.
func (t *tolls) throttle(q *edge.Request) int32 {
	if t == nil || !t.requests {
		return 0
	}
	u := t.toll(q)
	return u.mute(q, quota.Request, u.time(q))
}

// produce counts a Produce request of size bytes. The time of one that wants no answer is not counted.
func (t *tolls) produce(q *edge.Request, size int, acks int16) int32 {
	if t == nil {
		return 0
	}
	u := t.toll(q)
	waitMs, timeMs := u.use(quota.Produce, float64(size)), int64(0)
	if acks != 0 {
		timeMs = u.time(q)
	} else if t.requests {
		q.Mute().Spend(0)
	}
	return u.greater(q, quota.Produce, waitMs, timeMs)
}

// fetch counts an answer of size bytes to a Fetch. If the client must wait the answer is to be an empty one,
// which is not counted; with deliver it goes out nevertheless.
func (t *tolls) fetch(q *edge.Request, size int, deliver bool) int32 {
	if t == nil {
		return 0
	}
	u := t.toll(q)
	timeMs, waitMs := u.time(q), u.use(quota.Fetch, float64(size))
	if max(waitMs, timeMs) > 0 && !deliver {
		u.record(quota.Fetch, -float64(size))
	}
	return u.greater(q, quota.Fetch, waitMs, timeMs)
}

// fetchable is how many bytes an answer to a Fetch may have: more would be refused even to a client that has fetched
// nothing for a whole window.
func (t *tolls) fetchable(q *edge.Request) int32 {
	if t == nil {
		return math.MaxInt32
	}
	by := &t.toll(q).by[quota.Fetch]
	if by.sensor == nil {
		return math.MaxInt32
	}
	w := t.windows[quota.Fetch]
	return int32(min(by.bound*float64(w.Samples-1)*float64(w.Ms/1000), math.MaxInt32))
}

// leave counts the partitions that one request makes and deletes (KIP-599). Nil, it counts nothing.
type leave struct {
	u *toll
	// strict: what exceeds the quota is refused, before it is carried out and the client muted.
	strict bool
	waitMs atomic.Int64
	at     atomic.Int64
}

// strictSince is the version from which on a request knows THROTTLING_QUOTA_EXCEEDED. Topics that are made on use are
// made by a request of the newest version.
func strictSince(key int16) (version int16, counts bool) {
	switch key {
	case wire.KeyCreateTopics:
		return strictCreateTopics, true
	case wire.KeyDeleteTopics:
		return strictDeleteTopics, true
	case wire.KeyCreatePartitions:
		return strictCreatePartitions, true
	default:
		return 0, key == wire.KeyMetadata
	}
}

// leave begins to count for a request; nil when it is not to be counted.
func (t *tolls) leave(q *edge.Request) *leave {
	since, counts := strictSince(q.Key)
	if t == nil || !counts || !t.limits.Any(quota.Mutation) {
		return nil
	}
	return &leave{u: t.toll(q), strict: q.Version >= since}
}

// meter is the request as the controller is to see it.
func (l *leave) meter(m any) any {
	if l == nil {
		return m
	}
	return &controller.Metered{Request: m, Permit: l.permit}
}

// permit tells whether n more partitions may be changed.
func (l *leave) permit(n int) bool {
	ok := true
	l.u.with(quota.Mutation, func(s *sensor, w quota.Window, bound float64, now int64) {
		wait := int64(0)
		if l.strict {
			wait, ok = s.TakeStrict(w, bound, float64(n), now)
		} else {
			wait = s.Take(w, bound, float64(n), now)
		}
		if wait > 0 {
			l.waitMs.Store(wait)
			l.at.Store(now)
		}
	})
	return ok
}

// mute has the client muted for what is left of the delay when the answer goes out.
func (l *leave) mute(q *edge.Request, resp any) {
	if l == nil {
		return
	}
	wait := l.u.mute(q, quota.Mutation, l.waitMs.Load()-(l.u.of.now()-l.at.Load()))
	switch m := resp.(type) {
	case *wire.CreateTopicsResponse:
		m.ThrottleTimeMs = wait
	case *wire.DeleteTopicsResponse:
		m.ThrottleTimeMs = wait
	case *wire.CreatePartitionsResponse:
		m.ThrottleTimeMs = wait
	}
}

// maxQuotaSeries bounds the entities that have series of their own in a scrape.
const maxQuotaSeries = 1_000

// quotaSeries are the names that the JMX exporter's usual rules give to Kafka's figures of client quotas.
var quotaSeries = [quota.Kinds]struct{ use, help, wait string }{
	quota.Produce:  {"kafka_server_produce_byte_rate", "Bytes of Produce requests a second of a client with a quota.", "kafka_server_produce_throttle_time"},
	quota.Fetch:    {"kafka_server_fetch_byte_rate", "Bytes of Fetch responses a second of a client with a quota.", "kafka_server_fetch_throttle_time"},
	quota.Request:  {"kafka_server_request_request_time", "Time of the node's processors, in per cent of one, of a client with a quota.", "kafka_server_request_throttle_time"},
	quota.Mutation: {"kafka_server_controllermutation_mutation_rate", "Partitions made and deleted a second by a client with a quota.", "kafka_server_controllermutation_throttle_time"},
}

// emit tells about the use of those who have quotas.
func (t *tolls) emit(out *metric.Sink) {
	if t == nil {
		return
	}
	t.sensors.mu.RLock()
	defer t.sensors.mu.RUnlock()
	now, left := t.now(), maxQuotaSeries
	for key, s := range t.sensors.all { // unordered: the sink sorts
		if left--; left < 0 {
			break
		}
		s.mu.Lock()
		use, waits, waitMs := s.Rate(t.windows[key.kind], now), s.waits, s.waitMs
		s.mu.Unlock()
		user, client := quota.Sanitize(key.who.User), key.who.Client
		names := &quotaSeries[key.kind]
		out.Gauge(names.use, names.help, use, "user", user, "client_id", client)
		mean := 0.0
		if waits > 0 {
			mean = waitMs / waits
		}
		out.Gauge(names.wait, "Mean time in ms that clients of an entity were muted.", mean, "user", user, "client_id", client)
	}
}
