package acl

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "0:0:0:0:0:0:0:1": "::1/128", "2001:db8:0:0:0:0:0:1": "2001:db8::1/128",
		"10.1.2.3/8": "10.0.0.0/8", "010.001.0.0/08": "10.0.0.0/8", "2001:DB8::1/32": "2001:db8::/32", "::/0": "::/0", "::1.2.3.4/128": "::102:304/128",
		"fe80::1%eth0/64": "fe80::/64", "::1/+7": "::/7", "::1/-0": "::/0", "[::1]/128": "::1/128", "00001::/16": "1::/16",
		// Kafka would never meet these.
		"::1": "", "2001:DB8:0:0:0:0:0:1": "", "010.0.0.1": "", "host": "", "": "", "0:0:0:0:0:ffff:a00:1": "", "10.0.0.1 ": "",
	} {
		p, ok := ParseHost(text)
		if got := p.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s %v, want %q", text, got, ok, want)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.0/33": "Value [33] not in range [0,32]", "10.0.0.256/8": "Value [256] not in range [0,255]", "10.0.0.0/": "Could not parse [10.0.0.0/]",
		"10.0.0/8": "Could not parse [10.0.0/8]", "10.0.0.0/123": "Could not parse [10.0.0.0/123]", "host/8": "Could not parse [host/8]", "10.0.0.0/8/9": "Could not parse [10.0.0.0/8/9]",
		"::/129": "Could not parse [::/129] - prefix length must be between 0 and 128", "::/x": "Could not parse [::/x] - invalid prefix length",
		"::ffff:10.0.0.0/104": "Could not parse [::ffff:10.0.0.0] - not an IPv6 address", ":x/8": "Could not parse [:x]", "12345::/8": "Could not parse [12345::]", "[::1/8": "Could not parse [[::1]",
	} {
		if _, err := ParseNetwork(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "2001:db8::/32", "*", "0:0:0:0:0:0:0:1", "::ffff:1.2.3.4/96", "fe80::1%1/10", "1.2.3.4/", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := ParseHost(text)
		if !ok {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" {
			t.Fatalf("%q gives %v", text, p)
		}
		if again, ok := ParseHost(HostText(p.Addr())); !strings.Contains(text, "/") && (!ok || again != p) {
			t.Fatalf("%q gives %v, and that %v", text, p, again)
		}
		if p.Addr().Is4() && strings.Contains(text, ":") {
			t.Fatalf("%q gives %v", text, p)
		}
	})
}

// FuzzRule: whatever a record holds, it may be added and removed, and only a whole ALLOW allows something.
func FuzzRule(f *testing.F) {
	f.Add(int8(2), "t", int8(3), "User:a", "*", int8(3), int8(3), "User", "a", "t", int8(2), int8(8))
	f.Add(int8(2), "t", int8(4), "User:*", "10.0.0.0/8", int8(2), int8(2), "User", "a", "tt", int8(2), int8(3))
	f.Add(int8(-1), "", int8(99), "a", "/", int8(-7), int8(0), "", "", "", int8(0), int8(77))
	f.Fuzz(func(t *testing.T, kind int8, name string, pattern int8, who, host string, op, permission int8, askType, askName, resource string, askKind, askOp int8) {
		r := &wire.AccessControlEntryRecord{
			ID: wire.UUID{1}, ResourceType: kind, ResourceName: name, PatternType: pattern, Principal: who, Host: host, Operation: op, PermissionType: permission,
		}
		q := Question{
			PrincipalType: askType, PrincipalName: askName, Host: netip.MustParseAddr("10.1.2.3"), Type: ResourceType(askKind), Operation: Operation(askOp), Name: resource,
		}
		s := NewSet(Config{SuperUsers: []string{who[:len(who)/2]}}, nil).With([]*wire.AccessControlEntryRecord{r}, nil)
		rule := RuleOf(r)
		d := s.Decide(q)
		if allowed, why := plainly(s.Config(), []*Rule{&rule}, q); allowed != d.Allowed || why != d.Why {
			t.Fatalf("%s: %v, want %v %v", q, d, allowed, why)
		}
		if d.Allowed && d.Why != SuperUser && permission != int8(Allow) {
			t.Fatalf("%s allows", &rule)
		}
		s.Any(q)
		if s = s.With(nil, []wire.UUID{{1}}); s.Len() != 0 || s.Decide(q).Why == Denied {
			t.Fatal("a rule stays")
		}
		if rule.Record().ID != r.ID {
			t.Fatal("another record")
		}
	})
}

func FuzzParseSuperUsers(f *testing.F) {
	f.Add("User:a;User:b")
	f.Add("User:CN=a\\;b;:;")
	f.Fuzz(func(t *testing.T, text string) {
		users, bad := ParseSuperUsers(text)
		for _, u := range users {
			if !strings.Contains(u, ":") || strings.Contains(u, ";") || bad != "" {
				t.Fatalf("%q gives %q and %q", text, users, bad)
			}
		}
	})
}
