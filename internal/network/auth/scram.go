package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strconv"

	"github.com/moldau/moldau/internal/clock"
)

const scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule"

// minIterations is the least that a credential may have (RFC 7677, 4; Kafka's ScramMechanism).
const minIterations = 4096

// scram is one SCRAM mechanism (RFC 5802, 7677) as Kafka's ScramSaslServer speaks it.
//
// The code is our own and not xdg-go/scram, because a server for Kafka needs what that library has no place for: the
// extension tokenauth that picks another store of credentials, names that are looked up as they are and not after
// SASLprep, Kafka's rule on authorization ids, and an exchange that goes on with a made-up credential when there is no such user.
type scram struct {
	name        string
	hash        func() hash.Hash
	credentials Credentials
	world       clock.World
	// secret makes up the same salt for the same unknown name: on all nodes and for ever if there is a delegation.token.secret.key, else
	// as long as the process lives.
	secret []byte
}

func newScram(o *Options, mechanism string) (func() method, error) {
	// Differs from Kafka: a listener with SCRAM needs no sasl.jaas.config, as there is nothing to tell it; Kafka's broker
	// does not start without.
	if text, ok := o.Setting(mechanism, "sasl.jaas.config"); ok && text != "" {
		if _, err := ParseJAAS(text); err != nil {
			return nil, fmt.Errorf("sasl.jaas.config: %w", err)
		}
	}
	if o.Credentials == nil {
		return nil, errors.New("there is no store of credentials for SCRAM")
	}
	s := &scram{name: mechanism, hash: sha256.New, credentials: o.Credentials, world: o.World}
	if mechanism == ScramSHA512 {
		s.hash = sha512.New
	}
	random := randomKey(o.World)
	s.secret = random[:]
	if shared, ok := o.Setting(mechanism, "delegation.token.secret.key"); ok && shared != "" {
		s.secret = s.mac([]byte(shared), "users that there are not")
	}
	return func() method { return &scramExchange{mechanism: s} }, nil
}

func (s *scram) mac(key []byte, parts ...string) []byte {
	h := hmac.New(s.hash, key)
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// NewSalt draws a salt as Kafka's tools do. Whoever makes credentials should take it: the salts that unknown users are shown look the same.
func NewSalt(r clock.Rand) []byte {
	random := randomKey(r)
	return []byte(base36(random[:]))
}

// base36 writes the first 130 bits of random, as Kafka writes nonces and salts.
func base36(random []byte) string {
	n := new(big.Int).SetBytes(random[:17])
	return n.Rsh(n, 6).Text(36)
}

// unknown makes up a credential that nobody can have proved. Its salt looks like one that Kafka's tools make.
func (s *scram) unknown(kind, name string) Credential {
	salt := s.mac(s.secret, "salt", kind, name)
	key := s.mac(s.secret, "key", kind, name)
	return Credential{Salt: []byte(base36(salt)), StoredKey: key, ServerKey: key, Iterations: minIterations}
}

// scramExchange is one exchange: client first, server first, client final, server final.
type scramExchange struct {
	mechanism   *scram
	credential  Credential
	doubt       error // why the credential is made up; nil for a real one
	who         Identity
	nonce       string // the client's and ours
	gs2         string
	clientFirst string // without the GS2 header
	serverFirst string
}

func (x *scramExchange) identity() Identity { return x.who }

func (x *scramExchange) step(token []byte) ([]byte, bool, error) {
	if x.serverFirst == "" {
		answer, err := x.first(token)
		return answer, false, err
	}
	answer, err := x.final(token)
	return answer, err == nil, err
}

func (x *scramExchange) first(token []byte) ([]byte, error) {
	m := x.mechanism
	first, err := parseClientFirst(string(token))
	if err != nil {
		return nil, hide(m.name, "%w", err)
	}
	// This comes before the credential is looked for, so that it tells nothing about whether there is one.
	if first.authorization != "" && first.authorization != first.name {
		return nil, refuse("Authentication failed: Client requested an authorization id that is different from username")
	}
	x.lookup(first)
	random := randomKey(m.world)
	x.gs2, x.clientFirst = first.gs2, first.bare
	ours := base36(random[:])
	x.serverFirst = "r=" + first.nonce + ours + ",s=" + base64.StdEncoding.EncodeToString(x.credential.Salt) + ",i=" + strconv.Itoa(x.credential.Iterations)
	x.nonce = x.serverFirst[len("r=") : len("r=")+len(first.nonce)+len(ours)]
	return []byte(x.serverFirst), nil
}

// lookup finds the credential, or makes one up and notes why.
//
// Differs from Kafka: SCRAM refuses an unknown user at the end like a wrong password, not at the beginning, so that nobody
// can tell one from the other.
func (x *scramExchange) lookup(first clientFirst) {
	m := x.mechanism
	kind, ok := "user", false
	if first.tokenAuth {
		kind = "token"
		var expires int64
		var owner Principal
		x.credential, owner, expires, ok = m.credentials.Token(m.name, first.name)
		owner.Token = true
		x.who = Identity{Principal: owner, ExpiresMs: expires, TokenID: first.name}
		if ok && expires > 0 && expires <= clock.Millis(m.world.Now()) {
			x.doubt = errors.New("Token Authentication failed: the delegation token has expired")
		}
	} else {
		x.credential, ok = m.credentials.User(m.name, first.name)
		x.who = Identity{Principal: Principal{Type: UserType, Name: first.name}}
	}
	switch {
	case !ok && first.tokenAuth:
		x.doubt = errors.New("Token Authentication failed: Invalid tokenId")
	case !ok:
		x.doubt = errors.New("Authentication failed: Invalid user credentials")
	case x.credential.Iterations < minIterations:
		x.doubt = fmt.Errorf("Iterations %d is less than the minimum %d for %s", x.credential.Iterations, minIterations, m.name)
	}
	if x.doubt != nil {
		x.credential = m.unknown(kind, first.name)
	}
}

func (x *scramExchange) final(token []byte) ([]byte, error) {
	m := x.mechanism
	final, err := parseClientFinal(string(token))
	if err != nil {
		return nil, hide(m.name, "%w", err)
	}
	if subtle.ConstantTimeCompare([]byte(final.nonce), []byte(x.nonce)) != 1 {
		return nil, hide(m.name, "Invalid client nonce in the final client message.")
	}
	// Differs from Kafka: the channel binding of SCRAM's last message must repeat the header of its first (RFC 5802, 5.1);
	// Kafka does not look at it.
	if final.binding != x.gs2 {
		return nil, hide(m.name, "the final client message binds the exchange to another channel than the first")
	}
	authMessage := x.clientFirst + "," + x.serverFirst + "," + final.bare
	signature := m.mac(x.credential.StoredKey, authMessage)
	good := len(final.proof) == len(signature)
	if !good {
		final.proof = signature
	}
	key := make([]byte, len(signature))
	subtle.XORBytes(key, signature, final.proof)
	h := m.hash()
	h.Write(key)
	good = subtle.ConstantTimeCompare(h.Sum(nil), x.credential.StoredKey) == 1 && good
	verifier := m.mac(x.credential.ServerKey, authMessage)
	x.credential = Credential{}
	if x.doubt != nil {
		return nil, hide(m.name, "%w", x.doubt)
	}
	if !good {
		return nil, hide(m.name, "Invalid client credentials")
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(verifier)), nil
}
