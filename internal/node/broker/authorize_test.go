package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
)

// asked gives a request of somebody.
func asked(t testing.TB, name string) *edge.Request {
	var q *edge.Request
	c := edge.NewDirect(takes(func(got *edge.Request) { q = got }), "PLAINTEXT")
	c.Conn().Identity().SetPrincipal(auth.Principal{Type: auth.UserType, Name: name})
	h := wire.RequestHeader{APIKey: wire.KeyProduce, APIVersion: 9}
	c.Send(wire.AppendRequestFrame(nil, &h, &wire.ProduceRequest{})[4:], func([]byte, error) {})
	if q == nil {
		t.Fatal("the request did not come")
	}
	return q
}

type takes func(q *edge.Request)

func (f takes) Serve(q *edge.Request) { f(q) }

func denyAll() *acl.Set { return acl.NewSet(acl.Config{SuperUsers: []string{"User:root"}}, nil) }

func TestRefusalsAreLoggedWithinBounds(t *testing.T) {
	hand := clock.NewHand(1)
	var log bytes.Buffer
	a := NewAuthorizer(hand, slog.New(slog.NewTextHandler(&log, nil)))
	a.SetRules(denyAll())
	q := asked(t, "mallory")
	lines := func() int { return strings.Count(log.String(), "\n") }
	for i := range 100_000 {
		if a.decide(q, acl.Write, acl.Topic, fmt.Sprint("t", i), wanted) {
			t.Fatal("allowed")
		}
	}
	if n := lines(); n != auditBurst {
		t.Errorf("%d lines at once, want %d", n, auditBurst)
	}
	hand.Advance(10 * auditInterval)
	log.Reset()
	for range 1000 {
		a.decide(q, acl.Write, acl.Topic, "t", wanted)
	}
	if n := lines(); n < 9 || n > 11 {
		t.Errorf("%d lines after a while, want 10", n)
	}
	if want := fmt.Sprintf("suppressed=%d", 100_000-auditBurst); !strings.Contains(log.String(), want) {
		t.Errorf("the first line does not tell %s: %.300s", want, log.String())
	}
	hand.Advance(time.Hour)
	log.Reset()
	if a.decide(q, acl.Write, acl.Topic, strings.Repeat("a\nlevel=ERROR", 3000), wanted); log.Len() > 1000 || lines() != 1 {
		t.Errorf("an endless name makes a line of %d bytes", log.Len())
	}
	log.Reset()
	a.decide(q, acl.Write, acl.Topic, "t", wanted)
	for _, want := range []string{"level=INFO", "logger=authorizer", "principal=User:mallory", "operation=WRITE", "type=TOPIC", "name=t", "api=Produce", "rule=DefaultDeny"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the line has no %s: %s", want, log.String())
		}
	}
	log.Reset()
	a.decide(q, acl.Write, acl.Topic, "t", probed)
	if a.decide(asked(t, "root"), acl.Write, acl.Topic, "t", wanted); log.Len() > 0 {
		t.Errorf("probes and what is allowed are logged: %s", log.String())
	}
	r := metric.NewRegistry()
	r.Collect(a.Emit)
	all, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "moldau_authorizer_denials_total" && m.GetMetric()[0].GetLabel()[0].GetValue() == "WRITE" && m.GetMetric()[0].GetCounter().GetValue() == 101_002 {
			return
		}
	}
	t.Errorf("the denials are not counted: %v", all)
}

func TestUsageIsRememberedWithinBounds(t *testing.T) {
	a := NewAuthorizer(clock.NewHand(1), slog.New(slog.DiscardHandler))
	alice := asked(t, "alice")
	for i := range 5 * maxUsageEntries {
		a.decide(alice, acl.Read, acl.Topic, fmt.Sprint("t", i), wanted)
		a.decide(alice, acl.Read, acl.Group, "often", wanted)
		a.decide(alice, acl.Describe, acl.Topic, "probe", probed)
	}
	list := a.Usage("User:alice")
	if len(list) != maxUsageEntries {
		t.Errorf("%d entries", len(list))
	}
	if want := (UsageEntry{"READ", "GROUP", "often", true, 5 * maxUsageEntries}); list[0] != want {
		t.Errorf("what is used all the time is %+v, want %+v", list[0], want)
	}
	if a.decide(alice, acl.Read, acl.Group, strings.Repeat("long", 1000), wanted); len(a.Usage("User:alice")) != maxUsageEntries || a.Usage("User:alice")[0].Name != "often" {
		t.Error("an overlong name made room for itself")
	}
	a.SetRules(denyAll())
	a.decide(alice, acl.Read, acl.Group, "often", wanted)
	if list = a.Usage("User:alice"); list[0].Allowed {
		t.Error("what is refused now still counts as allowed")
	}
	for i := range 3 * maxUsagePrincipals {
		a.usage.note(&acl.Question{PrincipalType: "User", PrincipalName: fmt.Sprint("u", i), Operation: acl.Read, Type: acl.Topic, Name: "t"}, true)
		a.usage.note(&acl.Question{PrincipalType: "User", PrincipalName: "alice", Operation: acl.Read, Type: acl.Group, Name: "often"}, true)
	}
	if n := len(a.usage.principals.all); n != maxUsagePrincipals {
		t.Errorf("%d principals", n)
	}
	if len(a.Usage("User:alice")) != maxUsageEntries || len(a.Usage("User:u0")) != 0 || len(a.Usage("nobody")) != 0 {
		t.Error("the wrong ones made room")
	}
}

// BenchmarkDecide is what a topic of a Produce or Fetch request costs with an authorizer, beside the rules themselves.
func BenchmarkDecide(b *testing.B) {
	a := NewAuthorizer(clock.NewHand(1), slog.New(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelInfo})))
	var records []*wire.AccessControlEntryRecord
	for i := range 10_000 {
		r := acl.Rule{ID: wire.UUID{byte(i), byte(i >> 8)}, Type: acl.Topic, Name: fmt.Sprint("t", i), Pattern: acl.Literal, Principal: "User:alice",
			Host: "*", Operation: acl.Write, Permission: acl.Allow}
		records = append(records, r.Record())
	}
	a.SetRules(acl.NewSet(acl.Config{}, records))
	q := asked(b, "alice")
	b.ReportAllocs()
	for b.Loop() {
		if !a.decide(q, acl.Write, acl.Topic, "t4711", wanted) {
			b.Fatal("refused")
		}
	}
}
