package acl

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/moldau/moldau/internal/format/wire"
)

// world draws rules and questions that meet each other often: few names that are prefixes of each other, few
// principals, few hosts.
type world struct {
	*rand.Rand
	names, hosts, principals []string
	last, settled            uint64
	kafka                    bool // draw nothing that Kafka's class does not survive
}

func newWorld(seed uint64) *world {
	return &world{
		Rand:  rand.New(rand.NewPCG(seed, 1)),
		names: []string{"*", "a", "ab", "abc", "abcd", "abd", "b", "ba", "*a", "hardcode", "hard", "kafka-cluster", "ä", "äö", "x.y", "x."},
		hosts: []string{
			"*", "*", "*", "10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.1.7", "0:0:0:0:0:0:0:1", "::1", "2001:db8:0:0:0:0:0:1", "2001:db8::1",
			"host.example", "10.0.0.0/8", "10.0.0.0/31", "10.1.0.0/16", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.0.0.1/32", "10.0.0.0/33", "",
			"[::1]/128", "010.000.0.9/08", "::ffff:10.0.0.0/104", "fe80::1/10", "::/1", "10.0.0.3/+8", "2001:db8:00000::/033", "::/8/8",
		},
		principals: []string{"User:a", "User:b", "User:*", "User:c:d", "Group:a", "User:ANONYMOUS", "Group:*", "User:"},
	}
}

func pick[T any](w *world, of []T) T { return of[w.IntN(len(of))] }

func (w *world) rule(wild bool) *wire.AccessControlEntryRecord {
	w.last++
	r := &wire.AccessControlEntryRecord{
		ResourceType: int8(2 + w.IntN(6)), ResourceName: pick(w, w.names), PatternType: int8(Literal) + int8(w.IntN(2)),
		Principal: pick(w, w.principals), Host: pick(w, w.hosts), Operation: int8(2 + w.IntN(14)), PermissionType: int8(Deny) + int8(min(1, w.IntN(4))),
	}
	if w.IntN(3) > 0 {
		r.ResourceType = int8(Topic)
	}
	for i := range 8 {
		r.ID[i] = byte(w.last >> (8 * i))
	}
	if wild && w.IntN(8) == 0 {
		code, principals := int8(w.IntN(256)), []string{":", ":x", "", "a", "User"}
		if w.kafka {
			code, principals = pick(w, []int8{0, 77, -1}), principals[:2]
		}
		switch w.IntN(6) {
		case 0:
			r.ResourceType = code
		case 1:
			r.PatternType = code
		case 2:
			r.Operation = code
		case 3:
			r.PermissionType = code
		case 4:
			r.Principal = pick(w, principals)
		case 5:
			r.ResourceName = ""
		}
	}
	return r
}

func (w *world) question() Question {
	kind, name, _ := SplitPrincipal(pick(w, w.principals))
	q := Question{
		PrincipalType: kind, PrincipalName: name, Operation: Operation(3 + w.IntN(13)), Type: ResourceType(2 + w.IntN(6)), Name: pick(w, w.names),
		Host: netip.MustParseAddr(pick(w, []string{"10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.1.7", "::1", "2001:db8::1", "fe80::1", "::ffff:10.0.0.1", "8.8.8.8"})),
	}
	if w.kafka && name == Wildcard && kind == "User" {
		q.PrincipalName = "a"
	}
	if w.IntN(3) > 0 {
		q.Type = Topic
	}
	if w.IntN(3) == 0 && (!w.kafka || q.Name != Wildcard) {
		q.Name += pick(w, w.names)
	}
	return q
}

func (w *world) config() Config {
	c := Config{AllowIfNoRule: w.IntN(2) == 0}
	if w.IntN(3) == 0 {
		c.SuperUsers = []string{"User:b", "Group:a"}
	}
	return c
}

func (q Question) String() string {
	return fmt.Sprintf("may %s:%s from %s %s %s %q", q.PrincipalType, q.PrincipalName, q.Host, q.Operation, q.Type, q.Name)
}
