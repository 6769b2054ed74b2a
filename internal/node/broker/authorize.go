package broker

import (
	"log/slog"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/edge"
)

// Authorizer decides what peers may do by the rules of the cluster, logs what it refuses, and remembers what principals
// did (for acl learn). It is safe for concurrent use. Nothing of what it decides is kept: a rule that is taken back
// counts from the next question on.
type Authorizer struct {
	// rules are those of the newest image; nil lets everybody do everything.
	rules   atomic.Pointer[acl.Set]
	audit   audit
	usage   *usage
	denials [acl.TwoPhaseCommit + 1]atomic.Uint64
}

// NewAuthorizer makes an authorizer that lets everybody do everything until it has rules. It logs to l, as "authorizer".
func NewAuthorizer(world clock.World, l *slog.Logger) *Authorizer {
	a := &Authorizer{usage: newUsage()}
	a.audit.clock, a.audit.log = world, l.With("logger", "authorizer")
	return a
}

// SetRules has the authorizer decide by other rules from now on.
func (a *Authorizer) SetRules(s *acl.Set) { a.rules.Store(s) }

// Rules are those that it decides by, nil when it lets everybody do everything.
func (a *Authorizer) Rules() *acl.Set { return a.rules.Load() }

// How a question is meant: what is asked because a client wants it is logged and remembered, what is only looked at on
// the way to an answer is not.
const (
	wanted = iota
	probed
)

// decide answers one question.
func (a *Authorizer) decide(q *edge.Request, op acl.Operation, t acl.ResourceType, name string, how int) bool {
	who := q.Conn().Identity().Principal()
	ask := acl.Question{PrincipalType: who.Type, PrincipalName: who.Name, Host: q.Conn().Host(), Operation: op, Type: t, Name: name}
	d := acl.Decision{Allowed: true}
	if s := a.rules.Load(); s != nil {
		d = s.Decide(ask)
	}
	if !d.Allowed && how == wanted && op >= 0 && int(op) < len(a.denials) {
		a.denials[op].Add(1)
	}
	if level := auditLevel(d.Allowed, how); a.audit.logs(level) {
		a.audit.write(q, level, &ask, &d)
	}
	if how == wanted {
		a.usage.note(&ask, d.Allowed)
	}
	return d.Allowed
}

// any tells whether the peer may do something to some resource of a type, whichever.
func (a *Authorizer) any(q *edge.Request, op acl.Operation, t acl.ResourceType) bool {
	s := a.rules.Load()
	if s == nil {
		return true
	}
	who := q.Conn().Identity().Principal()
	return s.Any(acl.Question{PrincipalType: who.Type, PrincipalName: who.Name, Host: q.Conn().Host(), Operation: op, Type: t})
}

// Usage is what a principal, written as User:alice, did of late: a JSON list with an entry for each operation on a resource.
func (a *Authorizer) Usage(principal string) []UsageEntry { return a.usage.of(principal) }

// Emit tells how often something was refused.
func (a *Authorizer) Emit(out *metric.Sink) {
	for op := range a.denials {
		if n := a.denials[op].Load(); n > 0 {
			out.Counter("moldau_authorizer_denials_total", "What clients wanted and may not do, by operation.", float64(n),
				"operation", acl.Operation(op).String())
		}
	}
}

// rights is what a broker asks about peers; the zero value lets everybody do everything.
type rights struct{ authorizer *Authorizer }

// allowed tells whether the peer may do what its request is for. A refusal is logged. Without an authorizer everything is allowed.
func (b rights) allowed(q *edge.Request, op acl.Operation, t acl.ResourceType, name string) bool {
	return b.authorizer == nil || b.authorizer.decide(q, op, t, name, wanted)
}

// visible tells whether the peer may know of something that it did not ask for by name; nothing of it is logged.
func (b rights) visible(q *edge.Request, op acl.Operation, t acl.ResourceType, name string) bool {
	return b.authorizer == nil || b.authorizer.decide(q, op, t, name, probed)
}

// onCluster tells whether the peer may do something to the cluster.
func (b rights) onCluster(q *edge.Request, op acl.Operation) bool {
	return b.allowed(q, op, acl.Cluster, acl.ClusterName)
}

// everywhere tells whether the peer has a right on the cluster that spares it those on single resources. It is not
// logged, nor remembered, since those would do.
func (b rights) everywhere(q *edge.Request, op acl.Operation) bool {
	return b.visible(q, op, acl.Cluster, acl.ClusterName)
}

// part divides a list by what the peer may do to the resource that an element names.
func part[T any](b rights, q *edge.Request, op acl.Operation, t acl.ResourceType, list []T, name func(*T) string) (may, mayNot []T) {
	if b.authorizer == nil {
		return list, nil
	}
	may = make([]T, 0, len(list))
	for i := range list {
		if b.allowed(q, op, t, name(&list[i])) {
			may = append(may, list[i])
		} else {
			mayNot = append(mayNot, list[i])
		}
	}
	return may, mayNot
}

// operations are the bits of what the peer may do to a resource, out of those that its kind supports.
func (b rights) operations(q *edge.Request, supported int32, t acl.ResourceType, name string) int32 {
	if b.authorizer == nil {
		return supported
	}
	var bits int32
	for op := acl.Operation(0); op < 31; op++ {
		if supported&(1<<op) != 0 && b.visible(q, op, t, name) {
			bits |= 1 << op
		}
	}
	return bits
}

// clusterBits is operations of the cluster, for those who may describe it; others are told nothing.
func (b rights) clusterBits(q *edge.Request) int32 {
	if !b.onCluster(q, acl.Describe) {
		return 0
	}
	return b.operations(q, clusterOperations, acl.Cluster, acl.ClusterName)
}

// clusterRefusal is the message that goes with CLUSTER_AUTHORIZATION_FAILED. Kafka's says how its own code calls the request.
const clusterRefusal = "Cluster authorization failed."

// guarded makes a handler that asks for a right on the cluster before f; those who lack it get what refuse makes of the request.
func guarded[T any, P message[T], R response](op acl.Operation, refuse func(P) R, f func(b *Broker, q *edge.Request, m P, answer func(R))) handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) {
		if !b.onCluster(q, op) {
			answer(refuse(m))
			return
		}
		f(b, q, m, answer)
	})
}

// guardedNow is guarded for functions that answer at once.
func guardedNow[T any, P message[T], R response](op acl.Operation, refuse func(P) R, f func(b *Broker, q *edge.Request, m P) R) handler {
	return guarded(op, refuse, func(b *Broker, q *edge.Request, m P, answer func(R)) { answer(f(b, q, m)) })
}
