package node

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/quota"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/edge"
)

const (
	// maxArrivalAddresses bounds the addresses whose new connections are counted; beyond it the one that was quiet longest, of
	// a few, is forgotten.
	maxArrivalAddresses = 10_000
	// arrivalLooks is how many are compared then.
	arrivalLooks = 16
	// arrivalOrigin is where the time of sensors begins.
	arrivalOrigin = 1 << 40
)

// limitClients takes over the client quotas of the metadata.
func limitClients(n *Node, img *metadata.Image, d *metadata.Delta) {
	if d != nil && !d.Changed().Quotas {
		return
	}
	limits := quota.NewLimits(img.Quotas())
	n.broker.SetQuotas(limits)
	single, fallback := limits.Addresses()
	n.arrivals.setAddresses(single, fallback, func(host string) {
		n.o.Logger.Warn("a limit on new connections is not used: only addresses are compared, not names of hosts", "ip", host)
	})
}

// limitConnections gives the server the limits on connections as they are now.
func (n *Node) limitConnections(cfg *config.BrokerConfig) {
	n.arrivals.setRates(cfg)
	if n.server != nil {
		n.server.SetConnectionLimits(connectionLimits(n, cfg))
	}
}

// connectionLimits is what of the settings concerns the number of connections.
func connectionLimits(n *Node, cfg *config.BrokerConfig) edge.ConnectionLimits {
	l := edge.ConnectionLimits{
		Total: cfg.GetInt("max.connections"), PerIP: cfg.GetInt("max.connections.per.ip"),
		Overrides: map[netip.Addr]int{}, Listeners: map[string]int{}, Protected: protectedListener(n.listeners),
	}
	for _, name := range namesOf(n.listeners) {
		if most, ok := listenerNumber(cfg, name, "max.connections"); ok {
			l.Listeners[name] = most
		}
	}
	for _, entry := range config.ParseList(cfg.GetString("max.connections.per.ip.overrides")) {
		if i := strings.LastIndexByte(entry, ':'); i > 0 {
			ip, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(entry[:i]), "[]"))
			most, notNumber := strconv.Atoi(strings.TrimSpace(entry[i+1:]))
			if err != nil || notNumber != nil {
				n.o.Logger.Warn("an entry of max.connections.per.ip.overrides is not used: write it as address:count", "entry", entry)
				continue
			}
			l.Overrides[ip.Unmap()] = most
		}
	}
	return l
}

// listenerNumber is a number that is set for one listener alone.
func listenerNumber(cfg *config.BrokerConfig, listener, key string) (int, bool) {
	text, ok := cfg.Prefixed(config.ListenerPrefix(listener))[key]
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil && n > 0
}

func namesOf(all *config.NodeListeners) []string {
	var names []string
	for _, l := range all.Broker {
		names = append(names, l.Name)
	}
	for _, l := range all.Controller {
		names = append(names, l.Name)
	}
	return names
}

// protectedListener is the one that max.connections does not close to the other brokers, as long as there are others.
func protectedListener(all *config.NodeListeners) string {
	if len(namesOf(all)) > 1 {
		return all.InterBroker
	}
	return ""
}

// arrivals counts new connections: of the node, of its listeners, and of addresses (KIP-306, KIP-612).
type arrivals struct {
	world     clock.World
	window    quota.Window
	protected string

	mu        sync.Mutex // guards what follows
	rate      float64    // of all listeners but the protected one
	rates     map[string]float64
	single    map[netip.Addr]float64
	fallback  float64 // 0: none
	total     quota.Sensor
	listeners map[string]*arrivalCounts
	addresses map[netip.Addr]*quota.Sensor
}

// arrivalCounts is what is counted of one listener.
type arrivalCounts struct {
	quota.Sensor
	waits, waitMs           float64 // of the listener
	addressWaits, addressMs float64 // of connections that were one too many of their address
}

func newArrivals(world clock.World, cfg *config.BrokerConfig, protected string, listeners []string) *arrivals {
	a := &arrivals{
		world: world, protected: protected, listeners: map[string]*arrivalCounts{}, addresses: map[netip.Addr]*quota.Sensor{},
		window: quota.Window{Samples: cfg.GetInt("quota.window.num"), Ms: 1000 * int64(cfg.GetInt("quota.window.size.seconds"))},
	}
	for _, name := range listeners {
		a.listeners[name] = &arrivalCounts{}
	}
	a.setRates(cfg)
	return a
}

// setRates takes max.connection.creation.rate over, the broker's and those of listeners.
func (a *arrivals) setRates(cfg *config.BrokerConfig) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rate, a.rates = float64(cfg.GetInt("max.connection.creation.rate")), map[string]float64{}
	for name := range a.listeners {
		if rate, ok := listenerNumber(cfg, name, "max.connection.creation.rate"); ok {
			a.rates[name] = float64(rate)
		}
	}
}

// setAddresses takes the limits of addresses over; unknown is told of those that are not addresses.
func (a *arrivals) setAddresses(single map[string]float64, fallback float64, unknown func(string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.single, a.fallback = map[netip.Addr]float64{}, fallback
	for host, rate := range single {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			unknown(host)
			continue
		}
		a.single[ip.Unmap()] = rate
	}
}

// arrive counts a connection; see edge.Options.Arrive. A connection that its address may not open counts for nobody.
func (a *arrivals) arrive(listener string, ip netip.Addr) (wait, refused time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := arrivalOrigin + a.world.Mono().Milliseconds()
	waitMs := int64(0)
	if listener != a.protected {
		waitMs = a.use(&a.total, a.rate, now)
	}
	l := a.listeners[listener]
	rate := a.rates[listener]
	if rate == 0 {
		rate = math.MaxInt32
	}
	if waitMs = max(waitMs, a.use(&l.Sensor, rate, now)); waitMs > 0 {
		l.waits++
		l.waitMs += float64(waitMs)
	}
	if over := a.address(ip, now); over > 0 {
		refused = time.Duration(over) * time.Millisecond
		l.addressWaits++
		l.addressMs += float64(over)
		l.Record(a.window, -1, now)
		if listener != a.protected {
			a.total.Record(a.window, -1, now)
		}
	}
	return time.Duration(waitMs) * time.Millisecond, refused
}

// use counts one connection; no delay is longer than a sample.
func (a *arrivals) use(s *quota.Sensor, rate float64, now int64) (waitMs int64) {
	return min(s.Use(a.window, rate, 1, now), a.window.Ms)
}

// address counts one connection of an address, and takes it back if it is one too many.
func (a *arrivals) address(ip netip.Addr, now int64) (overMs int64) {
	rate, ok := a.single[ip]
	if !ok {
		rate = a.fallback
	}
	if rate == 0 || !ip.IsValid() {
		return 0
	}
	s := a.addresses[ip]
	if s == nil {
		if len(a.addresses) >= maxArrivalAddresses {
			a.forget(now)
		}
		s = &quota.Sensor{}
		a.addresses[ip] = s
	}
	if overMs = a.use(s, rate, now); overMs > 0 {
		s.Record(a.window, -1, now)
	}
	return overMs
}

// forget drops the quietest of a few addresses.
func (a *arrivals) forget(now int64) {
	var quietest netip.Addr
	most, looks := int64(-1), 0
	for ip, s := range a.addresses { // unordered: any few will do
		if idle := s.IdleMs(now); idle > most {
			quietest, most = ip, idle
		}
		if looks++; looks >= arrivalLooks {
			break
		}
	}
	delete(a.addresses, quietest)
}

// Emit tells about new connections, by the names that the JMX exporter's usual rules give to Kafka's.
func (a *arrivals) Emit(out *metric.Sink) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := arrivalOrigin + a.world.Mono().Milliseconds()
	const prefix = "kafka_server_socket_server_metrics_"
	out.Gauge(prefix+"broker_connection_accept_rate", "New connections a second.", a.total.Rate(a.window, now))
	for name, l := range a.listeners { // unordered: the sink sorts
		out.Gauge(prefix+"connection_accept_rate", "New connections a second, by listener.", l.Rate(a.window, now), "listener", name)
		out.Gauge(prefix+"connection_accept_throttle_time", "Mean time in ms that the listener accepted nothing when connections came too fast.",
			mean(l.waitMs, l.waits), "listener", name)
		out.Gauge(prefix+"ip_connection_accept_throttle_time", "Mean time in ms that connections were kept waiting before they were closed, as their address opens too many.",
			mean(l.addressMs, l.addressWaits), "listener", name)
	}
}

func mean(sum, count float64) float64 {
	if count == 0 {
		return 0
	}
	return sum / count
}
