package auth

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/moldau/moldau/internal/clock"
)

// seeds gives the cases of one kind of verdicts.txt, from argument n on.
func seeds(f *testing.F, kind string, n int) {
	text, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		_, c, _ := strings.Cut(line, " : ")
		if fields := strings.Fields(c); fields[0] == kind && len(fields) > n {
			f.Add([]byte(unhex(fields[n])))
		}
	}
}

func FuzzJAAS(f *testing.F) {
	seeds(f, "jaas", 2)
	f.Add([]byte("KafkaServer { m required a=b; }; x.KafkaServer { };"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseJAAS(string(text))
		if err == nil && (l.Module == "" || l.Flag == "") {
			t.Errorf("%q", l)
		}
		if _, err := ParseJAASFile(string(text)); err != nil && len(err.Error()) > 200 {
			t.Errorf("the error repeats the text: %v", err)
		}
	})
}

// fuzzExchange runs first and second through a mechanism: nothing that was not proved may come out.
func fuzzExchange(t *testing.T, s *Server, mechanism string, tokens ...[]byte) {
	x := begin(t, s, mechanism)
	for _, token := range tokens {
		_, done, err := x.Step(token)
		if done == (x.Identity() == Identity{}) {
			t.Fatalf("done %t as %+v", done, x.Identity())
		}
		if err != nil || done {
			return
		}
	}
}

func FuzzPlain(f *testing.F) {
	seeds(f, "plain", 2)
	s := newServer(f, testOptions(clock.NewHand(1), nil, Plain))
	f.Fuzz(func(t *testing.T, token []byte) {
		x := begin(t, s, Plain)
		if _, done, _ := x.Step(token); done && !strings.HasSuffix(string(token), "-secret") {
			t.Fatalf("%q is %v", token, x.Identity())
		}
	})
}

func FuzzScramFirst(f *testing.F) {
	seeds(f, "scram", 4)
	s := newServer(f, testOptions(clock.NewHand(1), nil, ScramSHA256))
	f.Fuzz(func(t *testing.T, token []byte) {
		fuzzExchange(t, s, ScramSHA256, token)
		if m, err := parseClientFirst(string(token)); err == nil && m.gs2+m.bare != string(token) {
			t.Fatalf("%q is not %q and %q", token, m.gs2, m.bare)
		}
	})
}

func FuzzScramFinal(f *testing.F) {
	for _, seed := range []string{"c=biws,r=nonce,p=AAAA", "c=biws,r=nonce,x=y,p=AAAA", "c=,r=,p=", "c=biws,r=nonce"} {
		f.Add([]byte(seed))
	}
	s := newServer(f, testOptions(clock.NewHand(1), nil, ScramSHA256))
	f.Fuzz(func(t *testing.T, token []byte) {
		x := begin(t, s, ScramSHA256)
		if _, _, err := x.Step([]byte("n,,n=alice,r=nonce")); err != nil {
			t.Fatal(err)
		}
		if _, done, err := x.Step(token); done || err == nil {
			t.Fatalf("%q passes", token)
		}
	})
}

func FuzzBearer(f *testing.F) {
	seeds(f, "bearer", 2)
	seeds(f, "unsecured", 2)
	s := newJudge(f)
	f.Fuzz(func(t *testing.T, token []byte) { fuzzExchange(t, s.unsecured, OAuthBearer, token, []byte{1}) })
}

func FuzzJWT(f *testing.F) {
	seeds(f, "jwt", 2)
	s := newJudge(f)
	f.Fuzz(func(t *testing.T, token []byte) { fuzzExchange(t, s.signed, OAuthBearer, token, []byte{1}) })
}

func FuzzClaims(f *testing.F) {
	for _, c := range jwtCases() {
		f.Add([]byte(c.claims))
		f.Add([]byte(c.header))
	}
	v := &jwtValidator{clock: clock.NewHand(1), scopeClaim: "scope", subClaim: "sub"}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaims(text)
		if (err == nil) && !json.Valid(text) {
			t.Fatalf("%q is no JSON", text)
		}
		if b, err := v.judge(c); err == nil && (b.name == "" || b.expiresMs <= 0) {
			t.Fatalf("%q gives %+v", text, b)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	text, err := os.ReadFile("testdata/jwks.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""},{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := parseKeySet(text)
		for _, k := range keys {
			if err != nil || !k.IsPublic() || fits(k.Key, jose.HS256) {
				t.Fatalf("%v %v", k.KeyID, err)
			}
		}
	})
}

func FuzzKerberosRules(f *testing.F) {
	text, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if _, c, _ := strings.Cut(line, " : "); strings.HasPrefix(c, "kerberos ") {
			fields := strings.Fields(c)
			f.Add(unhex(strings.ReplaceAll(fields[3], ",", "2c")), unhex(fields[4]))
		}
	}
	f.Fuzz(func(t *testing.T, rules, name string) {
		k, err := parseKerberosRules("REALM", rules)
		if err != nil {
			return
		}
		if n, err := parseKerberosName(name); err == nil && n.hasRealm {
			if short, err := k.short(n); err == nil && strings.ContainsAny(short, "/@") {
				t.Fatalf("%q makes %q of %q", rules, short, name)
			}
		}
	})
}

func FuzzGSS(f *testing.F) {
	r := newRealm(f, etypeID.AES256_CTS_HMAC_SHA1_96)
	s := newServer(f, r.options(nil))
	for _, k := range []ticket{goodTicket(), {client: "a/b", clientRealm: "R", service: "kafka/broker.example", kind: etypeID.AES256_CTS_HMAC_SHA1_96}} {
		c := r.client(f, k)
		f.Add(c.token, c.choice(f, "\x01\x00\x00\x00"))
	}
	f.Fuzz(func(t *testing.T, first, last []byte) {
		fuzzExchange(t, s, GSSAPI, first, nil, last)
		c := &gssExchange{state: gssLayer, gss: &gss{}, key: r.keys.Entries[0].Key}
		if _, done, _ := c.step(last); done {
			t.Fatalf("%x passes", last)
		}
	})
}

func FuzzKeytab(f *testing.F) {
	f.Add(newRealm(f, strong...).file)
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = guarded(func() error { return keytab.New().Unmarshal(data) })
	})
}
