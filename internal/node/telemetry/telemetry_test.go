package telemetry

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/wire"
)

type conn struct{ closed bool }

func (c *conn) Closed() bool { return c.closed }

var java = Client{ID: "cmp", SoftwareName: "apache-kafka-java", SoftwareVersion: "4.3.1", Address: "127.0.0.1", Port: "4711"}

func instanceID(last byte) wire.UUID {
	return wire.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, last}
}

// TestSubscriptionIDsAreKafkas compares with what Kafka 4.3.1 answered.
func TestSubscriptionIDsAreKafkas(t *testing.T) {
	for _, c := range []struct {
		metrics  string
		instance byte
		first    string
		id       int32
	}{
		{"org.apache.kafka.producer.,org.apache.kafka.consumer.coordinator.rebalance.latency.max", 17, "", 1248744769},
		{"org.apache.kafka.producer.,org.apache.kafka.consumer.coordinator.rebalance.latency.max,a.b.c,d.e.f,zzz,kk,ll,mm,nn,oo,pp,qq,rr,ss,tt,uu,vv,ww",
			19, "ll", -1848248206},
	} {
		all := []subscription{newSubscription(map[string]string{"metrics": c.metrics, "interval.ms": "1000"})}
		metrics, interval, id := wanted(all, &java, instanceID(c.instance))
		if id != c.id || interval != 1000 || c.first != "" && metrics[0] != c.first {
			t.Errorf("%d, interval %d, %v; want %d", id, interval, metrics, c.id)
		}
	}
}

func TestMatch(t *testing.T) {
	for match, want := range map[string]bool{
		"": true, "client_id=cm.*": true, "client_id=m": false, "client_id=c.*, client_source_port=4712": false,
		"client_software_name=.*java, client_software_version=4\\.[0-9]\\.1,client_source_address=127.*": true,
		"client_instance_id=" + instanceID(1).String():                                                   true,
		"client_source_port=47.": false,
	} {
		s := newSubscription(map[string]string{"match": match})
		if got := s.matches(&java, instanceID(1)); got != want {
			t.Errorf("%q: %v", match, got)
		}
	}
	all := []subscription{
		newSubscription(map[string]string{"metrics": "a,b", "interval.ms": "2000"}),
		newSubscription(map[string]string{"metrics": "b,*", "interval.ms": "9000", "match": "client_id=cmp"}),
		newSubscription(map[string]string{"metrics": "c", "interval.ms": "100", "match": "client_id=other"}),
	}
	if metrics, interval, _ := wanted(all, &java, instanceID(1)); !slices.Equal(metrics, []string{"*"}) || interval != 2000 {
		t.Errorf("%v every %d ms", metrics, interval)
	}
	if metrics, interval, _ := wanted(nil, &java, instanceID(1)); len(metrics) != 0 || interval != defaultIntervalMs {
		t.Errorf("%v every %d ms", metrics, interval)
	}
}

// sum is a message with one sum of one point.
func sum(name string, value float64, delta bool) []byte {
	field := func(b []byte, n int, v []byte) []byte {
		b = binary.AppendUvarint(b, uint64(n)<<3|2)
		return append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	point := binary.LittleEndian.AppendUint64([]byte{4<<3 | 1}, math.Float64bits(value))
	s := field(nil, 1, point)
	if delta {
		s = append(s, 2<<3, 1)
	}
	metric := field(field(nil, 1, []byte(name)), 7, s)
	return field(nil, 1, field(nil, 2, field(nil, 2, metric)))
}

type rig struct {
	t     *testing.T
	hand  *clock.Hand
	table *Table
	conn  *conn
}

func newRig(t *testing.T) *rig {
	h := clock.NewHand(1)
	r := &rig{t: t, hand: h, table: New(h), conn: &conn{}}
	r.table.SetSubscriptions([]map[string]string{{"metrics": "*", "interval.ms": "1000"}})
	return r
}

func (r *rig) get(id wire.UUID) *wire.GetTelemetrySubscriptionsResponse {
	return r.table.Subscriptions(id, java, r.conn, 1000)
}

func (r *rig) push(id wire.UUID, subscription int32, codec int8, b []byte, last bool) wire.Code {
	return r.table.Push(&wire.PushTelemetryRequest{
		ClientInstanceID: id, SubscriptionID: subscription, CompressionType: codec, Metrics: b, Terminating: last,
	}, java, r.conn, 1000)
}

func (r *rig) expect(what string, got, want wire.Code) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPush(t *testing.T) {
	r := newRig(t)
	first := r.get(wire.UUID{})
	id, sub := first.ClientInstanceID, first.SubscriptionID
	if id.Reserved() || first.PushIntervalMs != 1000 || first.TelemetryMaxBytes != 1000 || !first.DeltaTemporality || first.ErrorCode != wire.None {
		t.Fatalf("%+v", first)
	}
	r.expect("asked twice", r.get(id).ErrorCode, wire.ThrottlingQuotaExceeded)
	r.expect("push", r.push(id, sub, 0, sum("a", 2, true), false), wire.None)
	r.expect("too soon", r.push(id, sub, 0, sum("a", 2, true), false), wire.ThrottlingQuotaExceeded)
	r.hand.Advance(time.Second)
	packed, err := compress.Compress(nil, sum("a", 3, true), compress.Zstd, 3)
	if err != nil {
		t.Fatal(err)
	}
	r.expect("compressed", r.push(id, sub, int8(compress.Zstd), packed, false), wire.None)
	r.hand.Advance(time.Second)
	r.expect("not compressed", r.push(id, sub, int8(compress.Gzip), []byte("nonsense"), false), wire.InvalidRecord)
	r.hand.Advance(time.Second)
	r.expect("no metrics", r.push(id, sub, 0, []byte{0x0a, 9}, false), wire.InvalidRecord)
	r.hand.Advance(time.Second)
	r.expect("codec", r.push(id, sub, 9, nil, false), wire.UnsupportedCompressionType)
	r.expect("asks after that", r.get(id).ErrorCode, wire.None)
	r.hand.Advance(time.Second)
	r.expect("large", r.push(id, sub, 0, make([]byte, 1001), false), wire.TelemetryTooLarge)
	r.hand.Advance(time.Second)
	r.expect("wrong subscription", r.push(id, sub+1, 0, nil, false), wire.UnknownSubscriptionID)
	r.expect("reserved id", r.push(wire.UUID{}, sub, 0, nil, false), wire.InvalidRequest)
	r.expect("last push comes early", r.push(id, sub, 0, sum("b", 7, false), true), wire.None)
	r.expect("after the last", r.push(id, sub, 0, nil, true), wire.InvalidRequest)
	values := map[string]float64{}
	for s := range r.table.Collect() {
		values[s.Name] = s.Value
		if s.Instance != id || s.Client.ID != "cmp" || s.UnixMs == 0 {
			t.Errorf("%+v", s)
		}
	}
	if len(values) != 2 || values["a"] != 5 || values["b"] != 7 {
		t.Errorf("kept %v", values)
	}
	r.conn.closed = true
	r.hand.Advance(2 * time.Second)
	if n := r.table.Instances(); n != 0 || r.table.series != 0 {
		t.Errorf("%d clients, %d series after the connection ended", n, r.table.series)
	}
}

func TestNewSubscriptionsAreToldAtOnce(t *testing.T) {
	r := newRig(t)
	id := instanceID(1)
	old := r.get(id)
	r.expect("push", r.push(id, old.SubscriptionID, 0, sum("a", 1, false), false), wire.None)
	r.table.SetSubscriptions([]map[string]string{{"metrics": "a", "interval.ms": "500"}})
	r.expect("old subscription", r.push(id, old.SubscriptionID, 0, nil, false), wire.UnknownSubscriptionID)
	next := r.get(id)
	if next.ErrorCode != wire.None || next.SubscriptionID == old.SubscriptionID || next.PushIntervalMs != 500 {
		t.Errorf("%+v", next)
	}
	if r.table.series != 1 {
		t.Errorf("%d series outlived the change", r.table.series)
	}
}

func TestBoundsOfTheTable(t *testing.T) {
	r := newRig(t)
	id := instanceID(1)
	sub := r.get(id).SubscriptionID
	for i := range MaxSeries + 10 {
		r.expect("push", r.push(id, sub, 0, sum(strconv.Itoa(i), 1, false), false), wire.None)
		r.hand.Advance(time.Second)
	}
	if r.table.series != MaxSeries {
		t.Errorf("%d series", r.table.series)
	}
	for range MaxInstances + 5 {
		r.get(wire.UUID{})
	}
	if n := r.table.Instances(); n != MaxInstances || r.table.series != 0 {
		t.Errorf("%d clients with %d series: the first should have gone", n, r.table.series)
	}
	r.hand.Advance(leastExpiry + time.Second)
	if n := r.table.Instances(); n != 0 {
		t.Errorf("%d clients after a long silence", n)
	}
}
