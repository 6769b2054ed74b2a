package acl

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// plainly decides by looking at every rule.
func plainly(c Config, rules []*Rule, q Question) (allowed bool, why Reason) {
	if slices.Contains(c.SuperUsers, q.PrincipalType+":"+q.PrincipalName) {
		return true, SuperUser
	}
	touched, permitted := false, false
	for _, r := range rules {
		if !r.Touches(q.Type, q.Name) {
			continue
		}
		touched = true
		if !r.About(q.PrincipalType, q.PrincipalName) || !r.From(q.Host) || !r.Covers(q.Operation) {
			continue
		}
		if r.Permission != Allow {
			return false, Denied
		}
		permitted = true
	}
	switch {
	case permitted:
		return true, Permitted
	case !touched && c.AllowIfNoRule:
		return true, DefaultAllow
	}
	return false, DefaultDeny
}

// plainlyAny is Set.Any by looking at every rule.
func plainlyAny(c Config, rules []*Rule, q Question) bool {
	q.Name = "hardcode"
	if ok, _ := plainly(c, rules, q); ok {
		return true
	}
	var deny, allow []*Rule
	for _, r := range rules {
		if r.Type != q.Type || !r.About(q.PrincipalType, q.PrincipalName) || !r.From(q.Host) || r.Operation != q.Operation && r.Operation != All {
			continue
		}
		wild := r.Pattern == Literal && r.Name == Wildcard
		switch {
		case r.Pattern != Literal && r.Pattern != Prefixed:
		case r.Permission == Deny && wild:
			return false
		case r.Permission == Deny:
			deny = append(deny, r)
		case r.Permission == Allow:
			allow = append(allow, r)
		}
	}
	for _, a := range allow {
		if a.Pattern == Literal && a.Name == Wildcard {
			return true
		}
		if !slices.ContainsFunc(deny, func(d *Rule) bool {
			if d.Pattern == Prefixed {
				return d.Name != "" && strings.HasPrefix(a.Name, d.Name)
			}
			return a.Pattern == Literal && a.Name == d.Name
		}) {
			return true
		}
	}
	return false
}

// TestDecideAsByHand changes sets by and by and compares each with a look at all rules.
func TestDecideAsByHand(t *testing.T) {
	asked, answers := 0, map[Reason]int{}
	for seed := range uint64(60) {
		w := newWorld(seed)
		c, kept := w.config(), map[wire.UUID]*Rule{}
		s := NewSet(c, nil)
		for range 12 {
			var added []*wire.AccessControlEntryRecord
			var removed []wire.UUID
			for range w.IntN(1 + int(seed)) {
				added = append(added, w.rule(true))
			}
			for id := range kept {
				if w.IntN(6) == 0 {
					removed = append(removed, id)
				}
			}
			if len(removed) > 0 && w.IntN(3) == 0 { // a rule that takes the place of another
				r := w.rule(true)
				r.ID = removed[0]
				removed = removed[1:]
				added = append(added, r)
			}
			before := s
			s = s.With(added, removed)
			was := slices.Collect(maps.Values(kept))
			for _, id := range removed {
				delete(kept, id)
			}
			for _, r := range added {
				rule := RuleOf(r)
				kept[r.ID] = &rule
			}
			rules := slices.Collect(maps.Values(kept))
			for range 60 {
				q := w.question()
				compare(t, before, was, q)
				answers[compare(t, s, rules, q)]++
				asked++
			}
		}
	}
	for why := SuperUser; why <= DefaultDeny; why++ {
		if answers[why] < asked/200 {
			t.Errorf("of %d answers only %d are %s", asked, answers[why], why)
		}
	}
}

func compare(t *testing.T, s *Set, rules []*Rule, q Question) Reason {
	t.Helper()
	allowed, why := plainly(s.Config(), rules, q)
	got := s.Decide(q)
	if got.Allowed != allowed || got.Why != why {
		t.Fatalf("%s: %v, want %v %s; rules %v", q, got, allowed, why, rules)
	}
	if r := got.Rule; (r != nil) != (why == Denied || why == Permitted) || r != nil && (!r.Touches(q.Type, q.Name) || !r.Covers(q.Operation) ||
		!r.About(q.PrincipalType, q.PrincipalName) || !r.From(q.Host) || (r.Permission == Allow) != allowed) {
		t.Fatalf("%s: %s is said to decide", q, r)
	}
	if got, want := s.Any(q), plainlyAny(s.Config(), rules, q); got != want {
		t.Fatalf("any of %s: %v, want %v; rules %v", q, got, want, rules)
	}
	return why
}

func TestReason(t *testing.T) {
	allow := func(id byte, name string) *wire.AccessControlEntryRecord {
		r := Rule{ID: wire.UUID{id}, Type: Topic, Name: name, Pattern: Literal, Principal: "User:a", Host: Wildcard, Operation: Read, Permission: Allow}
		return r.Record()
	}
	s := NewSet(Config{}, []*wire.AccessControlEntryRecord{allow(1, "t")})
	d := s.Decide(Question{PrincipalType: "User", PrincipalName: "a", Operation: Describe, Type: Topic, Name: "t"})
	const want = "StandardAcl(resourceType=TOPIC, resourceName=t, patternType=LITERAL, principal=User:a, host=*, operation=READ, permissionType=ALLOW)"
	if !d.Allowed || d.Rule.String() != want || d.Why.String() != "MatchingAcl" {
		t.Errorf("%v", d)
	}
	if s.Len() != 1 || s.With(nil, []wire.UUID{{1}}).Len() != 0 || s.Len() != 1 {
		t.Error("a set changed")
	}
}

func TestSuperUsers(t *testing.T) {
	users, bad := ParseSuperUsers(" User:a ; ;User:CN=x,O=y;Group:b:c;")
	if want := []string{"User:a", "User:CN=x,O=y", "Group:b:c"}; !slices.Equal(users, want) || bad != "" {
		t.Errorf("%q %q", users, bad)
	}
	if _, bad := ParseSuperUsers("User:a;b"); bad != "b" {
		t.Errorf("%q", bad)
	}
	s := NewSet(Config{SuperUsers: users}, nil)
	for _, name := range []string{"a", "CN=x,O=y"} {
		if d := s.Decide(Question{PrincipalType: "User", PrincipalName: name, Operation: Alter, Type: Cluster, Name: ClusterName}); d.Why != SuperUser {
			t.Errorf("%s: %v", name, d)
		}
	}
}

func TestNames(t *testing.T) {
	if o, ok := ParseOperation("describe-configs"); !ok || o != DescribeConfigs {
		t.Error(o, ok)
	}
	if r, ok := ParseResourceType("TransactionalId"); !ok || r != TransactionalID {
		t.Error(r, ok)
	}
	if p, ok := ParsePatternType("prefixed"); !ok || p != Prefixed {
		t.Error(p, ok)
	}
	if _, ok := ParseOperation("unknown"); ok {
		t.Error("unknown is an operation")
	}
	if got := fmt.Sprint(Operation(-1), Operation(99), ResourceType(8), PatternType(5), Permission(4), Reason(0)); got != "UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN Reason(0)" {
		t.Error(got)
	}
}

// many is 10,000 rules: of a hundred principals, half of them with a common beginning, some for hosts, some denials.
func many() ([]*wire.AccessControlEntryRecord, []Question) {
	w := newWorld(7)
	var rules []*wire.AccessControlEntryRecord
	for i := range 10_000 {
		r := w.rule(false)
		r.ResourceType, r.ResourceName = int8(Topic), fmt.Sprintf("team-%d.topic-%d", w.IntN(200), w.IntN(500))
		r.Principal, r.Host, r.Operation, r.PermissionType = fmt.Sprintf("User:u%d", i%100), Wildcard, int8(Read), int8(Allow)
		switch w.IntN(10) {
		case 0:
			r.PermissionType, r.Operation = int8(Deny), int8(All)
		case 1:
			r.Host = fmt.Sprintf("10.%d.0.0/16", w.IntN(200))
		case 2:
			r.Principal = "User:*"
		}
		if w.IntN(2) == 0 {
			r.PatternType, r.ResourceName = int8(Prefixed), r.ResourceName[:5+w.IntN(len(r.ResourceName)-5)]
		}
		rules = append(rules, r)
	}
	var questions []Question
	for range 1024 {
		questions = append(questions, Question{
			PrincipalType: "User", PrincipalName: fmt.Sprintf("u%d", w.IntN(120)), Host: netip.AddrFrom4([4]byte{10, byte(w.IntN(250)), 1, 1}),
			Operation: Read, Type: Topic, Name: fmt.Sprintf("team-%d.topic-%d", w.IntN(200), w.IntN(500)),
		})
	}
	return rules, questions
}

// BenchmarkDecide reports what a decision costs, over questions: the median and the dearest hundredth.
func BenchmarkDecide(b *testing.B) {
	rules, questions := many()
	for _, c := range []Config{{}, {AllowIfNoRule: true, SuperUsers: []string{"User:admin"}}} {
		b.Run(fmt.Sprintf("everyone=%v", c.AllowIfNoRule), func(b *testing.B) {
			s := NewSet(c, rules)
			b.ReportAllocs()
			costs, allowed := make([]float64, 0, len(questions)), 0
			const times = 64
			for i := 0; b.Loop(); i++ {
				if i%times == 0 && len(costs) < cap(costs) { // each of the questions by itself, for a while
					q, before := questions[len(costs)], b.Elapsed()
					for range times {
						if s.Decide(q).Allowed {
							allowed++
						}
					}
					costs = append(costs, float64((b.Elapsed()-before).Nanoseconds())/times)
				}
				s.Decide(questions[i&1023])
			}
			slices.Sort(costs)
			b.ReportMetric(costs[len(costs)/2], "p50-ns")
			b.ReportMetric(costs[len(costs)*99/100], "p99-ns")
			b.ReportMetric(100*float64(allowed)/float64(len(costs)*times), "%allowed")
		})
	}
}

func BenchmarkWith(b *testing.B) {
	rules, _ := many()
	s, w := NewSet(Config{}, rules), newWorld(1)
	for b.Loop() {
		r := w.rule(false)
		s.With([]*wire.AccessControlEntryRecord{r}, nil)
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	rules, questions := many()
	s, i := NewSet(Config{AllowIfNoRule: true, SuperUsers: []string{"User:admin"}}, rules), 0
	if n := testing.AllocsPerRun(2000, func() {
		s.Decide(questions[i&1023])
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
