package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/metric"
)

const (
	// maxToldRefusals bounds the lines about failed authentications in one toldEvery; the others are counted in the next line.
	maxToldRefusals = 20
	toldEvery       = time.Second
	// maxToldText bounds what a peer can put into one attribute of a line.
	maxToldText = 160
)

// loginCounts is what became of the authentications on one listener.
type loginCounts struct {
	successes, failures               atomic.Uint64
	renewals, failedRenewals          atomic.Uint64
	withoutRenewal, expired           atomic.Uint64
	renewalNanos, longestRenewalNanos atomic.Uint64
}

// succeeded counts a login. A client is told apart by whether it can authenticate again.
func (c *loginCounts) succeeded(now time.Duration, l *login) {
	if !l.again {
		c.successes.Add(1)
		if !l.renews {
			c.withoutRenewal.Add(1)
		}
		return
	}
	c.renewals.Add(1)
	took := uint64(max(now-l.renewed, 0))
	c.renewalNanos.Add(took)
	for old := c.longestRenewalNanos.Load(); took > old && !c.longestRenewalNanos.CompareAndSwap(old, took); {
		old = c.longestRenewalNanos.Load()
	}
}

func (c *loginCounts) failed(l *login) {
	if l.again {
		c.failedRenewals.Add(1)
	} else {
		c.failures.Add(1)
	}
}

// emit tells what became of authentications, by the names of Kafka's socket-server-metrics.
func (d *door) emit(out *metric.Sink) {
	all := d.listeners.Load()
	if all == nil {
		return
	}
	const prefix = "kafka_server_socket_server_metrics_"
	for _, name := range slices.Sorted(maps.Keys(*all)) {
		c := (*all)[name].counts
		counter := func(what, help string, n *atomic.Uint64) {
			out.Counter(prefix+what, help, float64(n.Load()), "listener", name)
		}
		counter("successful_authentication_total", "Connections that were authenticated.", &c.successes)
		counter("failed_authentication_total", "Connections whose authentication failed.", &c.failures)
		counter("successful_reauthentication_total", "Authentications of connections that were authenticated before.", &c.renewals)
		counter("failed_reauthentication_total", "Failed authentications of connections that were authenticated before.", &c.failedRenewals)
		counter("successful_authentication_no_reauth_total", "Connections that were authenticated and cannot do so again: the client is older than Kafka 2.2.", &c.withoutRenewal)
		counter("expired_connections_killed_count", "Connections that were closed because their session was over.", &c.expired)
		mean := 0.0
		if n := c.renewals.Load(); n > 0 {
			mean = float64(c.renewalNanos.Load()) / float64(n) / 1e6
		}
		out.Gauge(prefix+"reauthentication_latency_avg", "Mean time of an authentication of a connection that was authenticated before, in ms.", mean, "listener", name)
		out.Gauge(prefix+"reauthentication_latency_max", "Longest time of such an authentication, in ms.", float64(c.longestRenewalNanos.Load())/1e6, "listener", name)
	}
}

// refusalLog keeps lines about failed authentications from flooding the log.
type refusalLog struct {
	mu      sync.Mutex // guards what follows
	since   time.Duration
	any     bool
	told    int
	skipped int
}

// allow says whether one more line may be written, and how many were not since the last one.
func (r *refusalLog) allow(now time.Duration) (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.any || now-r.since >= toldEvery {
		r.any, r.since, r.told = true, now, 0
	}
	if r.told == maxToldRefusals {
		r.skipped++
		return 0, false
	}
	r.told++
	skipped, r.skipped = r.skipped, 0
	return skipped, true
}

// bounded is what a peer sent, as it may stand in a log: short, and without control characters.
func bounded(s string) string {
	if len(s) > maxToldText {
		s = s[:maxToldText] + "..."
	}
	quoted := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
