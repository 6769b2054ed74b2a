package acl

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// typed is the rules about one type of resources.
type typed struct {
	own       map[principal]*subject
	everybody *subject // rules about User:*
	names     *subject // which names have rules at all; its grants count them
}

// subject is the rules about one principal and one type of resources. nil has none.
type subject struct {
	literals map[string]*grants
	prefixes []prefix // sorted by name
}

// prefix is the rules of one prefix.
type prefix struct {
	name   string
	up     int32 // the longest other prefix of name, -1: none
	grants *grants
}

// grants is the rules of one name, or prefix, of a subject. nil has none.
type grants struct {
	rules      []*Rule // all of them, also those that nobody matches
	everywhere reach   // host *
	hosts      map[netip.Prefix]*reach
	lengths    []hostLength // of the networks in hosts
}

// hostLength is the length of networks of one family.
type hostLength struct {
	v6   bool
	bits uint8
}

// reach is the rules of one host or network: a bit for each operation.
type reach struct {
	deny, allow uint32 // with what is implied
	// anyDeny and anyAllow are what Set.Any looks at: nothing is implied, and only rules count that Kafka can write.
	anyDeny, anyAllow uint32
	rules             []*Rule
}

// asked is a question on its way through the index.
type asked struct {
	name        string
	host        netip.Addr
	bit         uint32
	deny, allow *Rule
}

// scan looks for rules that match, and stops at a DENY.
func (u *subject) scan(a *asked) bool {
	if u == nil {
		return false
	}
	if len(u.literals) > 0 {
		if u.literals[a.name].scan(a) || u.literals[Wildcard].scan(a) {
			return true
		}
	}
	for i := u.longest(a.name); i >= 0; i = u.prefixes[i].up {
		if u.prefixes[i].grants.scan(a) {
			return true
		}
	}
	return false
}

// longest is the longest prefix of name that has rules, -1: none.
//
// All that lies between a prefix of name and name in the order of names begins with that prefix. So the longest prefix is what precedes
// name in the order, or one of its prefixes.
func (u *subject) longest(name string) int32 {
	low, high := 0, len(u.prefixes)
	for low < high {
		if mid := (low + high) / 2; u.prefixes[mid].name <= name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	i := int32(low) - 1
	for i >= 0 && !strings.HasPrefix(name, u.prefixes[i].name) {
		i = u.prefixes[i].up
	}
	return i
}

// touches says whether there is a rule about the name.
func (u *subject) touches(name string) bool {
	return u != nil && (u.literals[name] != nil || u.literals[Wildcard] != nil || u.longest(name) >= 0)
}

// literal is the rules of one name.
func (u *subject) literal(name string) *grants {
	if u == nil {
		return nil
	}
	return u.literals[name]
}

// grantsSome says whether some name or prefix is allowed that the subjects deny neither it nor a prefix of it.
func (u *subject) grantsSome(a *asked, of [2]*subject) bool {
	if u == nil {
		return false
	}
	for name, g := range u.literals { //unordered: the answer is whether there is one
		if _, allow := g.anywhere(a); !allow || name == Wildcard {
			continue
		}
		own, _ := of[0].literal(name).anywhere(a)
		all, _ := of[1].literal(name).anywhere(a)
		if !own && !all && !of[0].dominates(name, a) && !of[1].dominates(name, a) {
			return true
		}
	}
	for i := range u.prefixes {
		p := &u.prefixes[i]
		if _, allow := p.grants.anywhere(a); allow && !of[0].dominates(p.name, a) && !of[1].dominates(p.name, a) {
			return true
		}
	}
	return false
}

// dominates says whether a prefix of name is denied. The empty one does not count, as in Kafka.
func (u *subject) dominates(name string, a *asked) bool {
	if u == nil {
		return false
	}
	for i := u.longest(name); i >= 0; i = u.prefixes[i].up {
		if u.prefixes[i].name == "" {
			continue
		}
		if deny, _ := u.prefixes[i].grants.anywhere(a); deny {
			return true
		}
	}
	return false
}

// scan is subject.scan for one name.
func (g *grants) scan(a *asked) bool {
	if g == nil {
		return false
	}
	if g.everywhere.scan(a) {
		return true
	}
	for _, l := range g.lengths {
		if r := g.at(l, a.host); r != nil && r.scan(a) {
			return true
		}
	}
	return false
}

// at is the rules of the network of that length that the host is in.
func (g *grants) at(l hostLength, host netip.Addr) *reach {
	if l.v6 != host.Is6() {
		return nil
	}
	network, err := host.Prefix(int(l.bits))
	if err != nil {
		return nil
	}
	return g.hosts[network]
}

// anywhere says what rules that Set.Any looks at do for the host.
func (g *grants) anywhere(a *asked) (deny, allow bool) {
	if g == nil {
		return false, false
	}
	denied, allowed := g.everywhere.anyDeny, g.everywhere.anyAllow
	for _, l := range g.lengths {
		if r := g.at(l, a.host); r != nil {
			denied, allowed = denied|r.anyDeny, allowed|r.anyAllow
		}
	}
	return denied&a.bit != 0, allowed&a.bit != 0
}

// scan is subject.scan for one name and host.
func (r *reach) scan(a *asked) bool {
	if r.deny&a.bit != 0 {
		a.deny = r.first(a.bit, false)
		return true
	}
	if a.allow == nil && r.allow&a.bit != 0 {
		a.allow = r.first(a.bit, true)
	}
	return false
}

// first is the first rule that allows or denies the operation.
func (r *reach) first(bit uint32, allows bool) *Rule {
	for _, rule := range r.rules {
		if rule.mask()&bit != 0 && (rule.Permission == Allow) == allows {
			return rule
		}
	}
	return nil
}

// add counts a rule in.
func (r *reach) add(rule *Rule) {
	r.rules = append(r.rules, rule)
	mask, exact := rule.mask(), ^uint32(0)
	if rule.Operation != All {
		exact = 1 << rule.Operation
	}
	if rule.Pattern != Literal && rule.Pattern != Prefixed {
		exact = 0
	}
	switch rule.Permission {
	case Allow:
		r.allow |= mask
		r.anyAllow |= exact
	case Deny:
		r.deny |= mask
		r.anyDeny |= exact
	default:
		r.deny |= mask
	}
}

// settle computes what is looked up from the rules.
func (g *grants) settle() {
	g.everywhere, g.hosts, g.lengths = reach{}, nil, nil
	for _, rule := range g.rules {
		if rule.Host == Wildcard {
			g.everywhere.add(rule)
			continue
		}
		network, ok := ParseHost(rule.Host)
		if !ok {
			continue
		}
		if g.hosts == nil {
			g.hosts = map[netip.Prefix]*reach{}
		}
		r := g.hosts[network]
		if r == nil {
			r = &reach{}
			g.hosts[network] = r
			if l := (hostLength{network.Addr().Is6(), uint8(network.Bits())}); !slices.Contains(g.lengths, l) {
				g.lengths = append(g.lengths, l)
			}
		}
		r.add(rule)
	}
}

// subjectKey names a subject; whole is the one of all names of the type.
type subjectKey struct {
	kind  ResourceType
	who   principal
	whole bool
}

// change is a rule that comes or goes.
type change struct {
	rule *Rule
	gone bool
}

// edit is what one Set.With changes.
type edit struct {
	touched map[subjectKey][]change
}

// note remembers a change for the subjects that it is about.
func (e *edit) note(r *Rule, gone bool) {
	whole := subjectKey{kind: r.Type, whole: true}
	e.touched[whole] = append(e.touched[whole], change{r, gone})
	if kind, name, ok := SplitPrincipal(r.Principal); ok {
		of := subjectKey{kind: r.Type, who: principal{kind, name}}
		e.touched[of] = append(e.touched[of], change{r, gone})
	}
}

// apply makes the changed subjects anew and leaves the others as they are.
func (e *edit) apply(types *[User + 1]typed) {
	var cloned [User + 1]bool
	for k, changes := range e.touched { //unordered: each subject for itself
		t := &types[k.kind]
		switch {
		case k.whole:
			t.names = t.names.with(changes, true)
		case k.who == everybody:
			t.everybody = t.everybody.with(changes, false)
		default:
			if !cloned[k.kind] {
				t.own, cloned[k.kind] = cloneMap(t.own), true
			}
			if u := t.own[k.who].with(changes, false); u != nil {
				t.own[k.who] = u
			} else {
				delete(t.own, k.who)
			}
		}
	}
}

// with is the subject after changes, nil if it has no rules then. A subject that only knows names does not look at hosts.
func (u *subject) with(changes []change, namesOnly bool) *subject {
	n := &subject{literals: map[string]*grants{}}
	if u != nil {
		n.literals, n.prefixes = cloneMap(u.literals), slices.Clone(u.prefixes)
	}
	fresh := map[*grants]struct{}{}
	added := map[string]*grants{}
	for _, c := range changes {
		place := n.place(c.rule, added)
		if _, ok := fresh[*place]; !ok {
			g := &grants{}
			if *place != nil {
				g.rules = slices.Clone((*place).rules)
			}
			*place, fresh[g] = g, struct{}{}
		}
		(*place).change(c)
		if c.rule.Pattern == Literal {
			n.literals[c.rule.Name] = *place
		} else if _, ok := added[c.rule.Name]; ok {
			added[c.rule.Name] = *place
		}
	}
	for g := range fresh { //unordered: each for itself
		if !namesOnly {
			g.settle()
		}
	}
	n.order(added)
	if len(n.literals) == 0 && len(n.prefixes) == 0 {
		return nil
	}
	return n
}

// place is where the rules of the rule's name are kept: in prefixes, or in a new variable that the caller stores.
func (u *subject) place(r *Rule, added map[string]*grants) **grants {
	if r.Pattern == Literal {
		g := u.literals[r.Name]
		return &g
	}
	if i, ok := slices.BinarySearchFunc(u.prefixes, r.Name, func(p prefix, name string) int { return cmp.Compare(p.name, name) }); ok {
		return &u.prefixes[i].grants
	}
	g := added[r.Name]
	added[r.Name] = g
	return &g
}

// change takes one rule in or out.
func (g *grants) change(c change) {
	if !c.gone {
		g.rules = append(g.rules, c.rule)
		return
	}
	if i := slices.Index(g.rules, c.rule); i >= 0 {
		g.rules = slices.Delete(g.rules, i, i+1)
	}
}

// order drops names without rules, takes new prefixes in, and finds for each prefix the one above it.
func (u *subject) order(added map[string]*grants) {
	for name, g := range u.literals { //unordered: each for itself
		if len(g.rules) == 0 {
			delete(u.literals, name)
		}
	}
	for name, g := range added { //unordered: sorted below
		u.prefixes = append(u.prefixes, prefix{name: name, grants: g})
	}
	u.prefixes = slices.DeleteFunc(u.prefixes, func(p prefix) bool { return len(p.grants.rules) == 0 })
	if len(added) > 0 {
		slices.SortFunc(u.prefixes, func(a, b prefix) int { return cmp.Compare(a.name, b.name) })
	}
	for i := range u.prefixes {
		above := int32(i) - 1
		for above >= 0 && !strings.HasPrefix(u.prefixes[i].name, u.prefixes[above].name) {
			above = u.prefixes[above].up
		}
		u.prefixes[i].up = above
	}
}

// cloneMap is maps.Clone, which leaves nil nil, for a map that is about to be written.
func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}
