package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
)

// levelTrace is where what was only probed is logged, as in Kafka.
const levelTrace = slog.LevelDebug - 4

// Bounds of what is logged of refusals: so many lines at once, and one more each interval. A client that is refused a
// million times a second must not fill the disk.
const (
	auditBurst    = 200
	auditInterval = 50 * time.Millisecond
)

// audit logs decisions.
//
// Differs from Kafka: denials beyond 200 at once and 20 a second are counted instead of logged; the next line tells how many
// there were.
type audit struct {
	clock clock.World
	log   *slog.Logger

	mu sync.Mutex // guards what follows
	// used is how many lines of the burst are used up, as of since.
	used       time.Duration
	since      time.Duration
	suppressed uint64
}

// auditLevel is where a decision is logged: refusals at INFO, what was allowed at DEBUG, probes at TRACE.
func auditLevel(allowed bool, how int) slog.Level {
	switch {
	case how == probed:
		return levelTrace
	case allowed:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

func (a *audit) logs(level slog.Level) bool { return a.log.Enabled(context.Background(), level) }

// admit says whether one more line may be written, and how many were not since the last. Lines that nobody gets unless they
// lower the level are not bounded.
func (a *audit) admit(level slog.Level) (ok bool, suppressed uint64) {
	if level < slog.LevelInfo {
		return true, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Mono()
	a.used = max(a.used-(now-a.since), 0)
	a.since = now
	if a.used > (auditBurst-1)*auditInterval {
		a.suppressed++
		return false, 0
	}
	a.used += auditInterval
	suppressed, a.suppressed = a.suppressed, 0
	return true, suppressed
}

// write logs one decision.
func (a *audit) write(q *edge.Request, level slog.Level, ask *acl.Question, d *acl.Decision) {
	ok, suppressed := a.admit(level)
	if !ok {
		return
	}
	verdict, host := "denied", host(q)
	if d.Allowed {
		verdict = "allowed"
	}
	rule := fmt.Sprint(d.Why)
	if d.Rule != nil {
		rule = fmt.Sprint(d.Rule)
	}
	attrs := []slog.Attr{
		slog.String("principal", bounded(ask.PrincipalType+":"+ask.PrincipalName)), slog.String("host", host),
		slog.String("operation", ask.Operation.String()), slog.String("type", ask.Type.String()), slog.String("name", bounded(ask.Name)),
		slog.String("api", wire.APIName(q.Key)), slog.String("rule", rule),
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Uint64("suppressed", suppressed))
	}
	a.log.LogAttrs(context.Background(), level, verdict, attrs...)
}
