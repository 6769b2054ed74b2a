package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/quota"
	"github.com/moldau/moldau/internal/network/edge"
)

// slowly answers requests after the time that each takes, on a hand-driven clock.
type slowly struct {
	b     *Broker
	hand  *clock.Hand
	takes time.Duration
	later bool // answer when the handler has returned
	wait  []int32
}

func (s *slowly) Serve(q *edge.Request) {
	h := func(b *Broker, q *edge.Request) {
		s.hand.Advance(s.takes)
		answer := func() {
			wait := b.tolls.Load().throttle(q)
			s.wait = append(s.wait, wait)
			q.Begin()
			q.Reply()
		}
		if s.later {
			s.hand.AfterFunc(time.Minute, answer)
			return
		}
		answer()
	}
	s.b.tolls.Load().serve(s.b, h, q)
}

func limited(hand *clock.Hand, key string, value float64) *Broker {
	b := &Broker{world: hand, sensors: &sensors{all: map[sensorKey]*sensor{}}}
	limits := quota.NewLimits([]*metadata.Quota{{
		Entity: []wire.ClientQuotaRecordEntityData{{EntityType: "client-id"}}, Values: map[string]float64{key: value},
	}})
	t := &tolls{world: hand, limits: limits, sensors: b.sensors, requests: limits.Any(quota.Request)}
	for k := range t.windows {
		t.windows[k] = quota.Window{Samples: 11, Ms: 1000}
	}
	b.tolls.Store(t)
	return b
}

func TestTimeIsCounted(t *testing.T) {
	hand := clock.NewHand(1)
	s := &slowly{b: limited(hand, "request_percentage", 10), hand: hand, takes: 600 * time.Millisecond}
	c := edge.NewDirect(s, "PLAINTEXT")
	send := func(client string) {
		h := wire.RequestHeader{APIKey: wire.KeyApiVersions, APIVersion: 1, CorrelationID: 1, ClientID: client}
		c.Send(wire.AppendRequestFrame(nil, &h, &wire.ApiVersionsRequest{})[4:], func([]byte, error) {})
		for hand.Run() > 0 {
		}
	}
	// Ten per cent of a processor for ten seconds is a second: the second request is too much. Delays end with a sample.
	send("a")
	send("a")
	if len(s.wait) != 2 || s.wait[0] != 0 || s.wait[1] != 1000 {
		t.Fatal(s.wait)
	}
	hand.Advance(time.Second)
	// Another client has a sensor of its own.
	send("b")
	if s.wait[2] != 0 {
		t.Fatal(s.wait)
	}
	// What waits for something else costs nothing.
	hand.Advance(time.Minute)
	s.later, s.takes = true, 0
	for range 5 {
		send("a")
		hand.Advance(time.Minute)
		hand.Run()
	}
	for _, w := range s.wait[3:] {
		if w != 0 {
			t.Fatal(s.wait)
		}
	}
}

func TestSensorsAreBounded(t *testing.T) {
	s := &sensors{all: map[sensorKey]*sensor{}}
	key := func(i int) sensorKey {
		return sensorKey{quota.Produce, quota.Entity{Client: fmt.Sprint(i)}}
	}
	first := s.get(key(0), 0)
	for i := range maxSensors + 1000 {
		s.get(key(i), int64(i))
	}
	if len(s.all) != maxSensors {
		t.Fatal(len(s.all))
	}
	s.expire(maxSensors + 1000 + sensorIdleMs)
	if n := len(s.all); n != 0 && n > 1 {
		t.Fatal(n)
	}
	if !first.gone {
		t.Fatal("a forgotten sensor does not know it")
	}
}

// TestForgottenSensor: a connection that holds a sensor that was forgotten counts for the one that all others use.
func TestForgottenSensor(t *testing.T) {
	hand := clock.NewHand(1)
	b := limited(hand, "producer_byte_rate", 10)
	var waits []int32
	c := edge.NewDirect(handle(func(q *edge.Request) {
		waits = append(waits, b.tolls.Load().produce(q, 80, 1))
		q.Begin()
		q.Reply()
	}), "PLAINTEXT")
	send := func() {
		client := "a"
		h := wire.RequestHeader{APIKey: wire.KeyApiVersions, APIVersion: 1, CorrelationID: 1, ClientID: client}
		c.Send(wire.AppendRequestFrame(nil, &h, &wire.ApiVersionsRequest{})[4:], func([]byte, error) {})
	}
	send()
	b.sensors.expire(b.tolls.Load().now() + sensorIdleMs + 1)
	send()
	send()
	if len(b.sensors.all) != 1 || waits[1] != 0 || waits[2] == 0 {
		t.Fatal(len(b.sensors.all), waits)
	}
}

type handle func(*edge.Request)

func (f handle) Serve(q *edge.Request) { f(q) }
