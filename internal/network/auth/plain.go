package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/clock"
)

const plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule"

// plainUsers knows passwords only as MACs under a key of this process, so that comparing takes the same time for
// passwords of any length, and for users that there are not.
type plainUsers struct {
	key    [32]byte
	users  map[string][32]byte
	nobody [32]byte
}

func newPlain(o *Options) (func() method, error) {
	login, err := o.login(Plain, plainModule, "user_alice=\"…\"")
	if err != nil {
		return nil, err
	}
	u := &plainUsers{key: randomKey(o.World), nobody: randomKey(o.World), users: map[string][32]byte{}}
	for option, password := range login.Options {
		if name, ok := strings.CutPrefix(option, "user_"); ok {
			u.users[name] = u.mac([]byte(password))
		}
	}
	if len(u.users) == 0 {
		o.Logger.Warn("the login of PLAIN names no user: nobody can log in by it", "listener", o.Listener, "add", "user_NAME=\"PASSWORD\"")
	}
	return func() method { return &plainExchange{users: u} }, nil
}

func randomKey(r clock.Rand) (key [32]byte) {
	for i := range 4 {
		for j, n := 0, r.Uint64(); j < 8; j, n = j+1, n>>8 {
			key[8*i+j] = byte(n)
		}
	}
	return key
}

func (u *plainUsers) mac(password []byte) (out [32]byte) {
	h := hmac.New(sha256.New, u.key[:])
	h.Write(password)
	h.Sum(out[:0])
	return out
}

func (u *plainUsers) check(name string, password []byte) bool {
	want, ok := u.users[name]
	if !ok {
		want = u.nobody
	}
	got := u.mac(password)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}

// plainExchange is RFC 4616 with the rules and words of Kafka's PlainSaslServer.
type plainExchange struct {
	users *plainUsers
	name  string
}

func (p *plainExchange) identity() Identity {
	return Identity{Principal: Principal{Type: UserType, Name: p.name}}
}

func (p *plainExchange) step(token []byte) ([]byte, bool, error) {
	if n := bytes.Count(token, []byte{0}); n != 2 {
		return nil, false, refuse(fmt.Sprintf("Invalid SASL/PLAIN response: expected 3 tokens, got %d", min(n+1, 4)))
	}
	authorization, rest, _ := bytes.Cut(token, []byte{0})
	user, password, _ := bytes.Cut(rest, []byte{0})
	if len(user) == 0 {
		return nil, false, refuse("Authentication failed: username not specified")
	}
	if len(password) == 0 {
		return nil, false, refuse("Authentication failed: password not specified")
	}
	name := string(user)
	p.name = name // it counts only once the exchange is done
	if !p.users.check(name, password) {
		return nil, false, refuse("Authentication failed: Invalid username or password")
	}
	if len(authorization) > 0 && string(authorization) != name {
		return nil, false, refuse("Authentication failed: Client requested an authorization id that is different from username")
	}
	return nil, true, nil
}
