package node

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
)

func arrivalsWith(t *testing.T, hand *clock.Hand, more config.Values) *arrivals {
	t.Helper()
	values := config.Values{"node.id": "1", "quota.window.num": "2", "quota.window.size.seconds": "1"}
	for key, v := range more {
		values[key] = v
	}
	cfg, err := config.NewBroker(values)
	if err != nil {
		t.Fatal(err)
	}
	return newArrivals(hand, cfg, "BROKERS", []string{"CLIENTS", "BROKERS"})
}

var (
	somebody = netip.MustParseAddr("192.0.2.1")
	another  = netip.MustParseAddr("192.0.2.2")
)

func TestConnectionRates(t *testing.T) {
	hand := clock.NewHand(1)
	a := arrivalsWith(t, hand, config.Values{"max.connection.creation.rate": "5", "listener.name.clients.max.connection.creation.rate": "3"})
	// Three a second over a window that counts as one second from the beginning.
	for i := range 3 {
		if wait, refused := a.arrive("CLIENTS", somebody); wait != 0 || refused != 0 {
			t.Fatal(i, wait, refused)
		}
	}
	// The fourth: (4-3)/3 of a second.
	if wait, _ := a.arrive("CLIENTS", somebody); wait != 333*time.Millisecond {
		t.Fatal(wait)
	}
	// No delay is longer than a sample.
	for range 20 {
		a.arrive("CLIENTS", somebody)
	}
	if wait, _ := a.arrive("CLIENTS", somebody); wait != time.Second {
		t.Fatal(wait)
	}
	// The brokers' listener does not suffer from the others.
	if wait, refused := a.arrive("BROKERS", somebody); wait != 0 || refused != 0 {
		t.Fatal(wait, refused)
	}
	hand.Advance(3 * time.Second)
	if wait, _ := a.arrive("CLIENTS", somebody); wait != 0 {
		t.Fatal(wait)
	}
}

func TestConnectionRateOfAnAddress(t *testing.T) {
	hand := clock.NewHand(1)
	a := arrivalsWith(t, hand, nil)
	var unknown []string
	a.setAddresses(map[string]float64{"192.0.2.2": 4, "host.example": 1}, 2, func(host string) { unknown = append(unknown, host) })
	if fmt.Sprint(unknown) != "[host.example]" {
		t.Fatal(unknown)
	}
	count := func(ip netip.Addr) (opened int, last time.Duration) {
		for {
			_, refused := a.arrive("CLIENTS", ip)
			if refused > 0 {
				return opened, refused
			}
			opened++
		}
	}
	if n, d := count(somebody); n != 2 || d != 500*time.Millisecond {
		t.Fatal(n, d)
	}
	if n, d := count(another); n != 4 || d != 250*time.Millisecond {
		t.Fatal(n, d)
	}
	// Who was refused was not counted.
	if _, d := count(somebody); d != 500*time.Millisecond {
		t.Fatal(d)
	}
	a.setAddresses(nil, 0, nil)
	if _, refused := a.arrive("CLIENTS", somebody); refused != 0 {
		t.Fatal(refused)
	}
}

func TestRememberedAddressesAreBounded(t *testing.T) {
	hand := clock.NewHand(1)
	a := arrivalsWith(t, hand, nil)
	a.setAddresses(nil, 1, nil)
	ip := somebody
	for range maxArrivalAddresses + 100 {
		ip = ip.Next()
		a.arrive("CLIENTS", ip)
	}
	if len(a.addresses) > maxArrivalAddresses {
		t.Fatal(len(a.addresses))
	}
}
