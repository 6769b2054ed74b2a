package auth

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/moldau/moldau/internal/clock"
)

func bearerFirst(token string) []byte { return []byte("n,,\x01auth=Bearer " + token + "\x01\x01") }

// oauthSettings are those that a listener with a key set needs at least.
func oauthSettings(url string, more ...string) settings {
	s := settings{"sasl.oauthbearer.jwks.endpoint.url": url, "sasl.oauthbearer.expected.issuer": "https://issuer.example", "sasl.oauthbearer.expected.audience": "kafka"}
	for i := 0; i < len(more); i += 2 {
		s[more[i]] = more[i+1]
	}
	return s
}

// provider is an identity provider's key set by HTTP.
type provider struct {
	*httptest.Server
	asked  int
	answer func(http.ResponseWriter, *http.Request)
}

func newProvider(t *testing.T, set jose.JSONWebKeySet) *provider {
	p := &provider{}
	p.serve(t, set)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked++
		p.answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(t *testing.T, set jose.JSONWebKeySet) {
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	p.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }
}

// bearerVerdict is the outcome of a whole exchange.
func bearerVerdict(t *testing.T, s *Server, token string) string {
	x := begin(t, s, OAuthBearer)
	v, answer := verdict(x, bearerFirst(token))
	if v == "more" {
		end, _ := verdict(x, []byte{1})
		if !strings.HasPrefix(end, string(answer)+" | ") {
			t.Errorf("answered %s and then refused with %s", answer, end)
		}
		return end
	}
	return v
}

func TestKeysByHTTP(t *testing.T) {
	world := clock.NewHand(1)
	keys, later := newSigner(t), signers[1]()
	p := newProvider(t, keys.set)
	s := newServer(t, testOptions(world, oauthSettings(p.URL), OAuthBearer))
	good := keys.token(t, jwtCases()[0])
	if v := bearerVerdict(t, s, good); !strings.Contains(v, "unable to find a suitable verification key") {
		t.Errorf("before the keys came: %s", v)
	}
	world.Run()
	if v := bearerVerdict(t, s, good); v != "User:alice" || p.asked != 1 {
		t.Errorf("%s, asked %d times", v, p.asked)
	}
	// The provider changes its keys: the next token of theirs makes us ask, but not at a stranger's pace.
	renamed := jose.JSONWebKeySet{Keys: slices.Clone(later.set.Keys)}
	for i := range renamed.Keys {
		renamed.Keys[i].KeyID += "-new"
	}
	p.serve(t, renamed)
	fresh := later.token(t, jwtCase{"", `{"alg":"RS256","kid":"r1-new"}`, goodClaims, "r1"})
	for range 50 {
		bearerVerdict(t, s, fresh)
		world.Run()
	}
	if p.asked != 1 {
		t.Errorf("asked %d times within %v", p.asked, expediteAfter)
	}
	world.Advance(expediteAfter)
	bearerVerdict(t, s, fresh)
	world.Run()
	if v := bearerVerdict(t, s, fresh); v != "User:alice" || p.asked != 2 {
		t.Errorf("%s, asked %d times", v, p.asked)
	}
	if v := bearerVerdict(t, s, good); !strings.HasPrefix(v, `{"status":"invalid_token"}`) {
		t.Errorf("a key that the provider took back: %s", v)
	}
	world.Advance(time.Hour)
	if p.asked != 3 {
		t.Errorf("after an hour asked %d times", p.asked)
	}
	s.Close()
	world.Advance(24 * time.Hour)
	if p.asked != 3 {
		t.Errorf("after the end asked %d times", p.asked)
	}
}

func TestKeysStayWhenTheProviderFails(t *testing.T) {
	world := clock.NewHand(1)
	keys := newSigner(t)
	p := newProvider(t, keys.set)
	s := newServer(t, testOptions(world, oauthSettings(p.URL, "sasl.oauthbearer.jwks.endpoint.refresh.ms", "60000"), OAuthBearer))
	world.Run()
	good := keys.token(t, jwtCases()[0])
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat(" ", maxKeySetBytes) + `{"keys":[]}`))
		},
		"many": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`))
		},
		"loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) },
		"other scheme": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
	} {
		p.answer = answer
		p.asked = 0
		world.Advance(time.Minute)
		if v := bearerVerdict(t, s, good); v != "User:alice" || p.asked == 0 {
			t.Errorf("%s: %s, asked %d times", name, v, p.asked)
		}
	}
	// Waits double from 100 ms to 10 s.
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	world.Advance(2 * time.Minute)
	p.asked = 0
	world.Advance(time.Minute)
	if p.asked != 6 {
		t.Errorf("in a minute asked %d times, want every 10 s", p.asked)
	}
}

// TestCloseEndsAFetch: a provider that does not answer holds nobody up.
func TestCloseEndsAFetch(t *testing.T) {
	asked := make(chan struct{})
	p := newProvider(t, jose.JSONWebKeySet{})
	p.answer = func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}
	world := new(clock.Real)
	s := newServer(t, testOptions(world, oauthSettings(p.URL), OAuthBearer))
	<-asked
	s.Close()
	world.Wait()
}

func TestKeysOverTLS(t *testing.T) {
	world := clock.NewHand(1)
	keys := newSigner(t)
	text, err := json.Marshal(keys.set)
	if err != nil {
		t.Fatal(err)
	}
	p := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.StartTLS()
	t.Cleanup(p.Close)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	for options, want := range map[string]string{
		"": "unable to find a suitable verification key",
		`ssl.truststore.certificates="` + strings.ReplaceAll(string(own), "\n", `\n`) + `"`: "User:alice",
		`ssl.truststore.type=PEM ssl.truststore.location="/trust.pem"`:                      "User:alice",
	} {
		o := testOptions(world, oauthSettings(p.URL, "OAUTHBEARER sasl.jaas.config", oauthModule+" required "+options+";"), OAuthBearer)
		o.ReadFile = func(string) ([]byte, error) { return own, nil }
		s := newServer(t, o)
		world.Run()
		if v := bearerVerdict(t, s, keys.token(t, jwtCases()[0])); !strings.Contains(v, want) {
			t.Errorf("%.40s: %s, want %s", options, v, want)
		}
	}
}

func TestKeysFromFile(t *testing.T) {
	world := clock.NewHand(1)
	keys, later := newSigner(t), signers[1]()
	text, err := json.Marshal(keys.set)
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(world, oauthSettings("file:///keys.json"), OAuthBearer)
	o.ReadFile = func(path string) ([]byte, error) {
		if path != "/keys.json" {
			t.Errorf("read %s", path)
		}
		return text, nil
	}
	s := newServer(t, o)
	if v := bearerVerdict(t, s, keys.token(t, jwtCases()[0])); v != "User:alice" {
		t.Error(v)
	}
	if text, err = json.Marshal(later.set); err != nil {
		t.Fatal(err)
	}
	world.Advance(time.Hour)
	if v := bearerVerdict(t, s, later.token(t, jwtCases()[0])); v != "User:alice" {
		t.Errorf("a new file: %s", v)
	}
}

func TestTokenTimes(t *testing.T) {
	world := clock.NewHand(1)
	keys := newSigner(t)
	p := newProvider(t, keys.set)
	s := newServer(t, testOptions(world, oauthSettings(p.URL, "sasl.oauthbearer.clock.skew.seconds", "60"), OAuthBearer))
	world.Run()
	now := world.Now().Unix()
	for _, c := range []struct {
		iat, exp, nbf int64
		want          string
	}{
		{now, now + 10, now, "User:alice"},
		{now - 100, now - 59, now, `{"status":"invalid_token"}`}, // it ends before nbf
		{now - 100, now - 59, now - 100, "User:alice"},
		{now - 100, now - 60, now - 100, "no longer valid"},
		{now, now + 100, now + 60, "User:alice"},
		{now, now + 100, now + 61, "not yet valid"},
		{now + 60, now + 100, now, "User:alice"},
		{now + 61, now + 100, now, "issued in the future"},
	} {
		claims := fmt.Sprintf(`{"sub":"alice","iss":"https://issuer.example","aud":["kafka"],"iat":%d,"exp":%d,"nbf":%d}`, c.iat, c.exp, c.nbf)
		token := keys.token(t, jwtCase{"", `{"alg":"RS256","kid":"r1"}`, claims, "r1"})
		if v := bearerVerdict(t, s, token); !strings.Contains(v, c.want) {
			t.Errorf("iat %+d exp %+d nbf %+d: %s, want %s", c.iat-now, c.exp-now, c.nbf-now, v, c.want)
		}
	}
	x := begin(t, s, OAuthBearer)
	verdict(x, bearerFirst(keys.token(t, jwtCases()[0])))
	if x.Identity().ExpiresMs != 4102444800000 {
		t.Errorf("%+v", x.Identity())
	}
}

func TestClaimNames(t *testing.T) {
	world := clock.NewHand(1)
	keys := newSigner(t)
	p := newProvider(t, keys.set)
	s := newServer(t, testOptions(world, settings{
		"sasl.oauthbearer.jwks.endpoint.url": p.URL, "sasl.oauthbearer.allow.unverified.issuer": "true", "sasl.oauthbearer.allow.unverified.audience": "true",
		"sasl.oauthbearer.sub.claim.name": "client_id", "sasl.oauthbearer.scope.claim.name": "scp",
	}, OAuthBearer))
	world.Run()
	token := keys.token(t, jwtCase{"", `{"alg":"RS256","kid":"r1"}`, `{"client_id":"svc","iss":"x","aud":"y","iat":1,"exp":4102444800,"scp":["a"],"scope":["b","b"]}`, "r1"})
	if v := bearerVerdict(t, s, token); v != "User:svc" {
		t.Error(v)
	}
}

// TestAfterTheErrorNothingPasses: a token that was refused cannot be followed by a good one in the same exchange.
func TestAfterTheErrorNothingPasses(t *testing.T) {
	world := clock.NewHand(1)
	keys := newSigner(t)
	p := newProvider(t, keys.set)
	s := newServer(t, testOptions(world, oauthSettings(p.URL), OAuthBearer))
	world.Run()
	x := begin(t, s, OAuthBearer)
	if v, answer := verdict(x, bearerFirst("abc")); v != "more" || string(answer) != `{"status":"invalid_token"}` {
		t.Fatalf("%s %s", v, answer)
	}
	if v, _ := verdict(x, bearerFirst(keys.token(t, jwtCases()[0]))); !strings.HasPrefix(v, `{"status":"invalid_token"}`) {
		t.Error(v)
	}
}

func TestOAuthRefusesToStart(t *testing.T) {
	keys := "file:testdata/jwks.json"
	for want, set := range map[string]settings{
		"there is no key to check tokens with":   {},
		"unsigned tokens: the login must have":   {unsecuredAllow: "true", "OAUTHBEARER sasl.jaas.config": oauthModule + " required;"},
		"no key to check tokens with: set":       {"OAUTHBEARER sasl.jaas.config": oauthModule + ` required unsecuredLoginStringClaim_sub="x";`},
		"there is no login":                      {unsecuredAllow: "true"},
		"AllowableClockSkewMs":                   {unsecuredAllow: "true", "OAUTHBEARER sasl.jaas.config": oauthModule + ` required unsecuredLoginStringClaim_sub="x" unsecuredValidatorAllowableClockSkewMs="-1";`},
		"set sasl.oauthbearer.expected.audience": {"sasl.oauthbearer.jwks.endpoint.url": keys, "sasl.oauthbearer.expected.issuer": "x"},
		"set sasl.oauthbearer.expected.issuer":   {"sasl.oauthbearer.jwks.endpoint.url": keys, "sasl.oauthbearer.expected.audience": "x"},
		"no such file":                           oauthSettings("file:/nowhere/jwks.json"),
		"malformed JSON":                         oauthSettings("file:testdata/Verdicts.java"),
		"its scheme is \"ftp\"":                  oauthSettings("ftp://x/y"),
		"its scheme is \"\"":                     oauthSettings("jwks.json"),
		"no URL":                                 oauthSettings("http://[::1"),
		"refresh.ms is \"0\"":                    oauthSettings(keys, "sasl.oauthbearer.jwks.endpoint.refresh.ms", "0"),
		"retry.backoff.ms is \"x\"":              oauthSettings(keys, "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "x"),
		"clock.skew.seconds is \"-1\"":           oauthSettings(keys, "sasl.oauthbearer.clock.skew.seconds", "-1"),
		"claim.name":                             oauthSettings(keys, "sasl.oauthbearer.sub.claim.name", " "),
		"another login module":                   oauthSettings(keys, "OAUTHBEARER sasl.jaas.config", plainLogin),
		"must be a PEM file":                     oauthSettings("https://x/y", "OAUTHBEARER sasl.jaas.config", oauthModule+` required ssl.truststore.location="/x.jks";`),
		"no certificate in PEM":                  oauthSettings("https://x/y", "OAUTHBEARER sasl.jaas.config", oauthModule+` required ssl.truststore.type="pem" ssl.truststore.location="testdata/jwks.json";`),
	} {
		s, err := New(testOptions(clock.NewHand(1), set, OAuthBearer))
		if err == nil {
			s.Close()
			t.Errorf("starts without: %s", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestLogsHoldNoSecret runs refusals and looks for what must not be written down.
func TestLogsHoldNoSecret(t *testing.T) {
	var log strings.Builder
	world := clock.NewHand(1)
	keys := newSigner(t)
	p := newProvider(t, keys.set)
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	o := testOptions(world, oauthSettings(strings.Replace(p.URL, "http://", "http://user:geheim@", 1), "PLAIN sasl.jaas.config", plainLogin), OAuthBearer, Plain)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := newServer(t, o)
	world.Advance(time.Minute)
	token := keys.token(t, jwtCases()[0])
	all := log.String() + bearerVerdict(t, s, token)
	v, _ := verdict(begin(t, s, Plain), []byte("\x00alice\x00some-secret"))
	all += v
	for _, secret := range []string{"geheim", "some-secret", "alice-secret", token[len(token)-20:]} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in %s", secret, all)
		}
	}
}
