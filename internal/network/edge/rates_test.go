package edge_test

import (
	"crypto/tls"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/network/edge"
)

// TestArrivals: a listener at its rate pauses, and a connection of an address at its rate is kept for a while and closed.
func TestArrivals(t *testing.T) {
	var wait, refused atomic.Int64
	b := start(t, echo, func(o *edge.Options) {
		o.Arrive = func(listener string, ip netip.Addr) (time.Duration, time.Duration) {
			if listener != "PLAINTEXT" || !ip.IsLoopback() {
				t.Error(listener, ip)
			}
			return time.Duration(wait.Load()), time.Duration(refused.Load())
		}
	})
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, "a"))
	p.expect(1, "a")

	wait.Store(int64(time.Second))
	p = b.dial()
	p.send(frame(fetch, fetchVersion, 2, "b"))
	if n := b.Stats().Connections; n != 1 {
		t.Fatal(n)
	}
	until(t, "the connection is served when the pause is over", func() bool {
		b.world.pass(1)
		return b.Stats().Connections == 2
	})
	p.expect(2, "b")

	wait.Store(0)
	refused.Store(int64(time.Second))
	late := b.dial()
	until(t, "the connection is refused", func() bool { return b.Stats().Refused[edge.TooFastFromAddress] == 1 })
	if n := b.Stats().Connections; n != 2 {
		t.Fatal(n)
	}
	b.world.pass(1)
	late.expectEnd()
	b.dial() // closed by the end of the server
	until(t, "one more is refused", func() bool { return b.Stats().Refused[edge.TooFastFromAddress] == 2 })
}

// TestLimitsOfListeners: one listener's limit is its own, and the brokers' listener finds room where there is none.
func TestLimitsOfListeners(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) {
		o.Limits = edge.ConnectionLimits{Total: 3, Listeners: map[string]int{"SMALL": 1}, Protected: "BROKERS"}
	})
	listen := func(name string) string {
		addr, err := b.Listen(name, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return addr.String()
	}
	plain, small, brokers := b.addr, listen("SMALL"), listen("BROKERS")
	say := func(addr string) *peer {
		b.addr = addr
		p := b.dial()
		p.send(frame(fetch, fetchVersion, 7, "x"))
		return p
	}
	say(small).expect(7, "x")
	if said := say(small).expectEnd(); said != "" {
		t.Fatalf("%q", said)
	}
	quiet := say(plain)
	quiet.expect(7, "x")
	b.world.pass(2)
	say(plain).expect(7, "x")
	say(plain).expectEnd()
	say(brokers).expect(7, "x")
	until(t, "somebody made room", func() bool { return b.Stats().Connections == 3 })
}

// TestGuests: who does not authenticate in time is sent away, who does stays.
func TestGuests(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		if q.CorrelationID == 1 {
			q.Conn().SetFrameLimit(1 << 20) // it has authenticated
		}
		echo(q)
	}, func(o *edge.Options) {
		o.FirstFrameBytes = map[string]int32{"PLAINTEXT": 1 << 16}
		o.GuestTime, o.IdleTimeout = 20*time.Second, -1
	})
	known, guest, silent := b.dial(), b.dial(), b.dial()
	known.send(frame(fetch, fetchVersion, 1, "a"))
	known.expect(1, "a")
	guest.send(frame(fetch, fetchVersion, 2, "b"))
	guest.expect(2, "b")
	until(t, "all are there", func() bool { return b.Stats().Connections == 3 })
	b.world.pass(6)
	guest.expectEnd()
	silent.expectEnd()
	known.send(frame(fetch, fetchVersion, 3, "c"))
	known.expect(3, "c")
	// They are counted after their sockets are shut.
	until(t, "both are counted", func() bool { return b.Stats().Refused[edge.NotAuthenticated] == 2 })
}

// TestGuestsWithoutABoundOfTheirOwn: whoever has authenticated stays, even where guests may send frames of any size.
func TestGuestsWithoutABoundOfTheirOwn(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		q.Conn().SetFrameLimit(math.MaxInt32) // it has authenticated
		echo(q)
	}, func(o *edge.Options) {
		o.FirstFrameBytes = map[string]int32{"PLAINTEXT": math.MaxInt32}
		o.GuestTime, o.IdleTimeout = 20*time.Second, -1
	})
	known := b.dial()
	known.send(frame(fetch, fetchVersion, 1, "a"))
	known.expect(1, "a")
	b.world.pass(6)
	known.send(frame(fetch, fetchVersion, 2, "b"))
	known.expect(2, "b")
}

// TestGuestsAreBounded, however fast they come: each that comes beyond the bound has another one leave.
func TestGuestsAreBounded(t *testing.T) {
	const most, more = 2_000, 200
	b := start(t, echo, func(o *edge.Options) { o.FirstFrameBytes, o.Guests = map[string]int32{"PIPE": 1 << 16}, most })
	for range most + more {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		b.ServeConn("PIPE", theirs)
	}
	until(t, "as many as came too many are gone", func() bool {
		return b.Stats().Refused[edge.NotAuthenticated] == more && b.Stats().Connections == most
	})
}

// dialFrom connects from another address of the loopback.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Skipf("there is no %s here: %v", from, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestGuestsOfOneAddress: an address that opens connections without end, or has much unfinished, costs itself.
func TestGuestsOfOneAddress(t *testing.T) {
	const most, more = 100, 300
	b := start(t, echo, func(o *edge.Options) { o.FirstFrameBytes, o.Guests = map[string]int32{"PLAINTEXT": 8 << 20}, most })
	body := strings.Repeat("x", 20_000)
	first := frame(metadata, metadataVersion, 1, body)
	patient := newPeer(t, dialFrom(t, "127.0.0.1", b.addr))
	patient.send(first[:len(first)/2])
	until(t, "it has come", func() bool { return b.Stats().Connections == 1 })
	half := frame(metadata, metadataVersion, 1, string(make([]byte, 4<<20)))[:2<<20]
	for i := range most + more {
		c := dialFrom(t, "127.0.0.2", b.addr)
		if i < 80 {
			c.Write(half)
		}
	}
	until(t, "the flood costs its address", func() bool { return b.Stats().Refused[edge.NotAuthenticated] >= more })
	patient.send(first[len(first)/2:])
	patient.expect(1, body)
}

// TestGuestsHoldLittle: unfinished requests of those who have not authenticated have a bound of their own, and whoever
// came first makes room; the last comer's request gets through.
func TestGuestsHoldLittle(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) { o.FirstFrameBytes = map[string]int32{"PLAINTEXT": 512 << 10} })
	const sent, whole, bound = 60 << 10, 300 << 10, 96 << 20 // of each unfinished request, its length, the bound
	part := frame(fetch, fetchVersion, 1, string(make([]byte, whole)))[:sent]
	const count = bound/sent + 50 // each holds that at least, and half as much again at most
	for range count {
		b.dial().send(part)
	}
	until(t, "the first ones are gone", func() bool { return b.Stats().Refused[edge.NotAuthenticated] >= 50 })
	p := b.dial()
	body := string(make([]byte, 20<<10))
	p.send(frame(fetch, fetchVersion, 2, body))
	p.expect(2, body)
	if n := b.Stats().Refused[edge.NotAuthenticated]; n > count/3+60 {
		t.Fatal(n)
	}
}

// TestGuestsHoldRecords: a TLS record that is announced and does not come counts as what the peer holds.
func TestGuestsHoldRecords(t *testing.T) {
	const bound = 10 * 17 << 10
	b := start(t, echo, func(o *edge.Options) { o.FirstFrameBytes, o.GuestBytes = map[string]int32{"SSL": 1 << 16}, bound })
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		raw, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		if err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
			t.Fatal(err)
		}
		raw.Write([]byte{23, 3, 3, 0x40, 0, 1})
	}
	until(t, "some have made room", func() bool { return b.Stats().Refused[edge.NotAuthenticated] >= 10 })
	p, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	guest := newPeer(t, p)
	guest.send(frame(metadata, metadataVersion, 1, "x"))
	guest.expect(1, "x")
	guest.Close()
	if n := b.Stats().Refused[edge.NotAuthenticated]; n > 11 {
		t.Errorf("%d were sent away", n)
	}
}
