package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
)

// credentials is a store for tests: users and tokens by mechanism and name.
type credentials struct {
	users  map[string]Credential
	tokens map[string]tokenCredential
}

type tokenCredential struct {
	Credential
	owner   Principal
	expires int64
}

func (c credentials) User(mechanism, name string) (Credential, bool) {
	u, ok := c.users[mechanism+" "+name]
	return u, ok
}

func (c credentials) Token(mechanism, id string) (Credential, Principal, int64, bool) {
	t, ok := c.tokens[mechanism+" "+id]
	return t.Credential, t.owner, t.expires, ok
}

func hashOf(mechanism string) func() hash.Hash {
	if mechanism == ScramSHA512 {
		return sha512.New
	}
	return sha256.New
}

// credentialOf is what a server keeps of a password.
func credentialOf(mechanism, password, salt string, iterations int) Credential {
	h := hashOf(mechanism)
	salted, err := pbkdf2.Key(h, password, []byte(salt), iterations, h().Size())
	if err != nil {
		panic(err)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := h()
	stored.Write(mac(salted, "Client Key"))
	return Credential{Salt: []byte(salt), StoredKey: stored.Sum(nil), ServerKey: mac(salted, "Server Key"), Iterations: iterations}
}

const plainLogin = plainModule + ` required username="admin" password="admin-secret" user_admin="admin-secret" user_alice="alice-secret" user_eve="";`

// settings are those of a listener for tests: "PLAIN sasl.jaas.config", or without a mechanism for all.
type settings map[string]string

func (s settings) lookup(mechanism, key string) (string, bool) {
	if v, ok := s[mechanism+" "+key]; ok {
		return v, true
	}
	v, ok := s[key]
	return v, ok
}

func testOptions(world clock.World, set settings, mechanisms ...string) Options {
	c := credentials{users: map[string]Credential{}, tokens: map[string]tokenCredential{}}
	for _, m := range []string{ScramSHA256, ScramSHA512} {
		c.users[m+" alice"] = credentialOf(m, "alice-secret", "alicesalt", 4096)
		c.users[m+" a,b=c"] = credentialOf(m, "odd-secret", "oddsalt", 4096)
		c.users[m+" weak"] = credentialOf(m, "weak-secret", "weaksalt", 4095)
		c.tokens[m+" token1"] = tokenCredential{credentialOf(m, "token-hmac", "tokensalt", 4096), Principal{Type: UserType, Name: "owner"}, 1_600_000_000_000}
		c.tokens[m+" stale"] = tokenCredential{credentialOf(m, "token-hmac", "tokensalt", 4096), Principal{Type: UserType, Name: "owner"}, 1_500_000_000_000}
	}
	if set == nil {
		set = settings{"PLAIN sasl.jaas.config": plainLogin}
	}
	return Options{World: world, Listener: "CLIENT", Mechanisms: mechanisms, Setting: set.lookup, Credentials: c, ReadFile: os.ReadFile}
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func begin(t testing.TB, s *Server, mechanism string) Exchange {
	t.Helper()
	x, err := s.Begin(mechanism)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// verdict is what a step came to, in one line: "more", "User:alice", or the message and the cause.
func verdict(x Exchange, token []byte) (string, []byte) {
	answer, done, err := x.Step(token)
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return fmt.Sprintf("%s | %v", r.Message, r.Cause), nil
	case err != nil:
		return "error " + err.Error(), nil
	case done:
		return x.Identity().Principal.String(), answer
	}
	return "more", answer
}

const hidden = "Authentication failed during authentication due to invalid credentials with SASL mechanism "

func TestPlain(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, Plain))
	for _, c := range []struct{ token, want string }{
		{"\x00alice\x00alice-secret", "User:alice"},
		{"alice\x00alice\x00alice-secret", "User:alice"},
		{"\x00alice\x00wrong", "Authentication failed: Invalid username or password"},
		{"\x00alice\x00alice-secre", "Authentication failed: Invalid username or password"},
		{"\x00mallory\x00alice-secret", "Authentication failed: Invalid username or password"},
		{"admin\x00alice\x00alice-secret", "Authentication failed: Client requested an authorization id that is different from username"},
		{"admin\x00alice\x00wrong", "Authentication failed: Invalid username or password"},
		{"\x00\x00alice-secret", "Authentication failed: username not specified"},
		{"\x00alice\x00", "Authentication failed: password not specified"},
		{"\x00eve\x00", "Authentication failed: password not specified"},
		{"", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"},
		{"\x00alice\x00alice-secret\x00more", "Invalid SASL/PLAIN response: expected 3 tokens, got 4"},
		{"\x00alice\x00" + strings.Repeat("x", MaxTokenBytes), hidden + "PLAIN | a token of"},
		{"\x00al\xffice\x00alice-secret", "Authentication failed: Invalid username or password"},
	} {
		got, _ := verdict(begin(t, s, Plain), []byte(c.token))
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %s, want %s", c.token[:min(40, len(c.token))], got, c.want)
		}
	}
}

func TestNothingAfterTheEnd(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, Plain))
	for _, token := range []string{"\x00alice\x00alice-secret", "\x00alice\x00wrong"} {
		x := begin(t, s, Plain)
		verdict(x, []byte(token))
		if _, _, err := x.Step([]byte("\x00alice\x00alice-secret")); !errors.Is(err, ErrOutOfOrder) {
			t.Errorf("after %q: %v", token, err)
		}
	}
	if _, err := s.Begin(ScramSHA256); !errors.Is(err, ErrUnsupportedMechanism) {
		t.Error(err)
	}
}

func hmacOf(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
