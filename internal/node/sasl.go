package node

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/node/quorum"
)

const (
	// maxSASLFileBytes bounds the files that SASL's settings name.
	maxSASLFileBytes = 4 << 20
	// tokenIterations are those of the credentials made of delegation tokens: the least that SCRAM allows, as in Kafka.
	tokenIterations = 4096
	// maxTokenCredentials bounds the credentials of tokens that are kept, since making one takes a millisecond. When there are
	// more, all are forgotten.
	maxTokenCredentials = 10_000
)

// sasl is what the node keeps for its listeners with SASL.
type sasl struct {
	*Node
	// listeners are the names of the listeners with SASL; it never changes.
	listeners []string

	mu sync.Mutex // guards what follows
	// servers are those in use, by listener, and from which settings they were made
	servers map[string]*auth.Server
	from    map[string]config.Values
	closed  bool
	sweeper clock.Timer // nil: no tokens are removed

	tokens tokenCredentials
}

// openSASL makes the mechanisms of every listener with SASL, or says what its settings lack.
func openSASL(n *Node) error {
	s := &sasl{Node: n, servers: map[string]*auth.Server{}, from: map[string]config.Values{}}
	s.tokens.made = map[tokenKey]auth.Credential{}
	for _, l := range slices.Concat(n.listeners.Broker, n.listeners.Controller) {
		if l.SecurityProtocol.SASL() {
			s.listeners = append(s.listeners, l.Name)
		}
	}
	n.sasl = s
	for _, name := range s.listeners {
		server, err := s.make(n.static, name)
		if err != nil {
			s.close()
			return err
		}
		s.servers[name], s.from[name] = server, saslSettings(n.static, name)
	}
	return nil
}

// firstFrames bounds the frames of those who have not authenticated yet.
func (s *sasl) firstFrames() map[string]int32 {
	limits := make(map[string]int32, len(s.listeners))
	for _, name := range s.listeners {
		limits[name] = int32(s.static.GetInt("sasl.server.max.receive.size"))
	}
	return limits
}

// make makes the mechanisms of one listener.
func (s *sasl) make(cfg *config.BrokerConfig, listener string) (*auth.Server, error) {
	list, _ := cfg.ForListener(listener, "sasl.enabled.mechanisms")
	return auth.New(auth.Options{
		World: s.o.World, Logger: s.o.Logger, Listener: listener, Mechanisms: config.ParseList(list), Credentials: s,
		Setting:  func(mechanism, key string) (string, bool) { return saslSetting(cfg, listener, mechanism, key) },
		ReadFile: func(path string) ([]byte, error) { return vfs.ReadFile(s.o.FS, path, maxSASLFileBytes) },
	})
}

// saslSetting is a setting as it holds for a mechanism of a listener. sasl.jaas.config has no value but with the prefix of
// both, as in Kafka.
func saslSetting(cfg *config.BrokerConfig, listener, mechanism, key string) (string, bool) {
	if v, ok := cfg.ForListener(listener, strings.ToLower(mechanism)+"."+key); ok || key == "sasl.jaas.config" {
		return v, ok
	}
	if _, known := config.LookupBroker(key); !known {
		return "", false
	}
	return cfg.ForListener(listener, key)
}

// saslSettings are the settings that a listener's mechanisms are made from.
func saslSettings(cfg *config.BrokerConfig, listener string) config.Values {
	out := config.Values{}
	for prefix, values := range map[string]config.Values{
		"sasl.": cfg.Prefixed("sasl."), "": cfg.Prefixed(config.ListenerPrefix(listener)),
	} {
		for key, v := range values {
			if prefix != "" || strings.Contains(key, "sasl.") {
				out[prefix+" "+key] = v
			}
		}
	}
	return out
}

// check tells whether the mechanisms of every listener could work with other settings.
func (s *sasl) check(cfg *config.BrokerConfig) error {
	for _, name := range s.listeners {
		s.mu.Lock()
		changed := !maps.Equal(s.from[name], saslSettings(cfg, name))
		s.mu.Unlock()
		if !changed {
			continue
		}
		server, err := s.make(cfg, name)
		if err != nil {
			return err
		}
		server.Close()
	}
	return nil
}

// reconfigure takes over settings that were changed while the node runs: connections from now on have the new ones. What
// cannot work is not taken over.
//
// Differs from Kafka: SASL mechanisms and logins of a listener that is there can change while the node runs; Kafka asks for
// a restart or another listener.
func (s *sasl) reconfigure(cfg *config.BrokerConfig) {
	for _, name := range s.listeners {
		next := saslSettings(cfg, name)
		s.mu.Lock()
		changed := !s.closed && !maps.Equal(s.from[name], next)
		s.mu.Unlock()
		if !changed {
			continue
		}
		server, err := s.make(cfg, name)
		if err != nil {
			s.o.Logger.Error("changed SASL settings are not used", "listener", name, "error", err)
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			server.Close()
			return
		}
		old := s.servers[name]
		s.servers[name], s.from[name] = server, next
		s.mu.Unlock()
		s.broker.SetSASL(name, server)
		old.Close()
		s.o.Logger.Info("changed SASL settings are used for new connections", "listener", name, "mechanisms", server.Mechanisms())
	}
}

// close ends the background work of mechanisms.
func (s *sasl) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	for _, server := range s.servers {
		server.Close()
	}
}

// scramNumbers are the mechanisms as records number them (KIP-554).
var scramNumbers = map[string]int8{auth.ScramSHA256: 1, auth.ScramSHA512: 2}

// scramHashes are their hashes.
var scramHashes = map[string]func() hash.Hash{auth.ScramSHA256: sha256.New, auth.ScramSHA512: sha512.New}

// User is a SCRAM user's credential, as the metadata have it.
func (s *sasl) User(mechanism, name string) (auth.Credential, bool) {
	r := s.quorum.Image().ScramCredential(metadata.ScramKey{Mechanism: scramNumbers[mechanism], Name: name})
	if r == nil {
		return auth.Credential{}, false
	}
	return auth.Credential{Salt: r.Salt, StoredKey: r.StoredKey, ServerKey: r.ServerKey, Iterations: int(r.Iterations)}, true
}

// Token is the credential of a delegation token: its HMAC in base 64 is the password (KIP-48).
func (s *sasl) Token(mechanism, id string) (c auth.Credential, owner auth.Principal, expiresMs int64, ok bool) {
	secret := s.static.GetString("delegation.token.secret.key")
	t := s.quorum.Image().Token(id)
	if t == nil || secret == "" {
		return c, owner, 0, false
	}
	owner, err := auth.ParsePrincipal(t.Owner)
	if err != nil {
		return c, owner, 0, false
	}
	c, err = s.tokens.get(s.Node, tokenKey{mechanism, t.TokenID}, secret)
	return c, owner, t.ExpirationTimestamp, err == nil
}

type tokenKey struct{ mechanism, id string }

// tokenCredentials keeps what was made of tokens.
type tokenCredentials struct {
	mu   sync.Mutex // guards what follows
	made map[tokenKey]auth.Credential
}

func (t *tokenCredentials) get(n *Node, k tokenKey, secret string) (auth.Credential, error) {
	t.mu.Lock()
	c, ok := t.made[k]
	t.mu.Unlock()
	if ok {
		return c, nil
	}
	password := base64.StdEncoding.EncodeToString(controller.TokenHMAC(secret, k.id))
	c, err := newCredential(n, k.mechanism, password)
	if err != nil {
		return c, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.made) >= maxTokenCredentials {
		clear(t.made)
	}
	t.made[k] = c
	return c, nil
}

// newCredential salts a password.
func newCredential(n *Node, mechanism, password string) (auth.Credential, error) {
	h := scramHashes[mechanism]
	if h == nil {
		return auth.Credential{}, fmt.Errorf("%s has no salted passwords", mechanism)
	}
	salt := auth.NewSalt(n.o.World)
	salted, err := pbkdf2.Key(h, password, salt, tokenIterations, h().Size())
	if err != nil {
		return auth.Credential{}, err
	}
	r := controller.ScramRecord("", scramNumbers[mechanism], salt, salted, tokenIterations)
	return auth.Credential{Salt: r.Salt, StoredKey: r.StoredKey, ServerKey: r.ServerKey, Iterations: tokenIterations}, nil
}

// removeTokens removes delegation tokens that have run out, now and again.
func (s *sasl) removeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.static.GetString("delegation.token.secret.key") == "" {
		return
	}
	const longest = math.MaxInt64 / int64(time.Millisecond) / 2
	every := time.Duration(min(s.static.GetLong("delegation.token.expiry.check.interval.ms"), longest)) * time.Millisecond
	s.sweeper = s.o.World.AfterFunc(every, func() {
		if s.quorum.Leader() != s.static.NodeID() || len(s.quorum.Image().Tokens()) == 0 {
			s.removeTokens()
			return
		}
		s.quorum.Propose(&controller.ExpireTokens{}, func(reply any, err error) {
			if count, ok := reply.(int); ok && count > 0 {
				s.o.Logger.Info("delegation tokens have run out and were removed", "tokens", count)
			}
			if !errors.Is(err, quorum.ErrClosed) {
				s.removeTokens()
			}
		})
	})
}
