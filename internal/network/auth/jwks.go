package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/moldau/moldau/internal/clock"
)

// Bounds of key sets.
const (
	maxKeySetBytes = 1 << 20
	maxKeys        = 256
	maxRedirects   = 5
	fetchTimeout   = 20 * time.Second
	// expediteAfter is how long the set is left alone at least before a key id that it has not makes it be fetched again:
	// strangers choose key ids, and must not make us ask the identity provider at their pace.
	expediteAfter = 10 * time.Second
)

// keySet is an identity provider's public keys (RFC 7517), from a file or by HTTP, fetched again from time to time.
type keySet struct {
	world    clock.World
	logger   *slog.Logger
	url      string
	fetch    func() ([]byte, error)
	refresh  time.Duration
	retry    time.Duration
	maxRetry time.Duration
	cancel   context.CancelFunc

	mu      sync.Mutex // guards what follows; never held while fetching
	keys    []jose.JSONWebKey
	running bool          // a fetch is under way
	begun   time.Duration // when the last one began
	failed  int           // how many failed since one did not
	timer   clock.Timer
	closed  bool
}

func newKeySet(o *Options, location string) (*keySet, error) {
	s := &keySet{world: o.World, logger: o.Logger, url: location, begun: o.World.Mono() - expediteAfter}
	if err := s.schedule(o); err != nil {
		return nil, err
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("it is no URL: write https://… or file:/…")
	}
	s.url = u.Redacted()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	switch strings.ToLower(u.Scheme) {
	case "file":
		path := u.Path
		if u.Opaque != "" {
			path = u.Opaque
		}
		s.fetch = func() ([]byte, error) { return o.read(path) }
		if err := s.load(); err != nil {
			cancel()
			return nil, err
		}
		s.mu.Lock()
		s.after(s.refresh)
		s.mu.Unlock()
		return s, nil
	case "https", "http":
		if u.Scheme == "http" {
			o.Logger.Warn("the keys that tokens are checked with come over plain HTTP: whoever is on the way can swap them", "url", s.url)
		}
		client, err := keyClient(o)
		if err != nil {
			cancel()
			return nil, err
		}
		s.fetch = func() ([]byte, error) { return get(ctx, client, location) }
		s.expedite()
		return s, nil
	}
	cancel()
	return nil, fmt.Errorf("its scheme is %q: write https://… or file:/…", u.Scheme)
}

func (s *keySet) schedule(o *Options) error {
	for _, t := range []struct {
		key    string
		preset int64
		to     *time.Duration
	}{
		{"sasl.oauthbearer.jwks.endpoint.refresh.ms", 3600000, &s.refresh},
		{"sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", 100, &s.retry},
		{"sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", 10000, &s.maxRetry},
	} {
		ms, err := o.number(OAuthBearer, t.key, t.preset, 1)
		if err != nil {
			return err
		}
		*t.to = time.Duration(ms) * time.Millisecond
	}
	return nil
}

// keyClient trusts the system's authorities, or those that the login's ssl.truststore options name in PEM.
func keyClient(o *Options) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	login, _, err := o.optionalLogin(OAuthBearer, oauthModule)
	if err != nil {
		return nil, err
	}
	pem := []byte(login.Options["ssl.truststore.certificates"])
	if path := login.Options["ssl.truststore.location"]; path != "" {
		if !strings.EqualFold(login.Options["ssl.truststore.type"], "PEM") {
			return nil, errors.New("the login's ssl.truststore.location must be a PEM file: say so with ssl.truststore.type=\"PEM\"")
		}
		if pem, err = o.read(path); err != nil {
			return nil, fmt.Errorf("ssl.truststore.location: %w", err)
		}
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("the login's trust store has no certificate in PEM")
		}
	}
	return &http.Client{
		Timeout: fetchTimeout,
		// Without idle connections nothing is left to close, and a fetch an hour has no use for them.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects || r.URL.Scheme != via[0].URL.Scheme {
				return errors.New("redirected too often or to another scheme")
			}
			return nil
		},
	}, nil
}

func get(ctx context.Context, client *http.Client, location string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxKeySetBytes+1))
}

// load fetches once and, if that went well, takes the new keys.
func (s *keySet) load() error {
	data, err := s.fetch()
	if err != nil {
		return err
	}
	keys, passed, err := parseKeySet(data)
	if err != nil {
		return err
	}
	if passed > 0 {
		s.logger.Warn("keys that no token may be signed with are passed over", "url", s.url, "keys", passed)
	}
	s.mu.Lock()
	s.keys = keys
	s.mu.Unlock()
	return nil
}

// parseKeySet reads a key set. Keys that do not fit any allowed algorithm are passed over and counted: secret ones, encryption's, small
// ones. Without one that fits there is an error.
func parseKeySet(data []byte) (keys []jose.JSONWebKey, passed int, err error) {
	if len(data) > maxKeySetBytes {
		return nil, 0, fmt.Errorf("the key set is longer than %d bytes", maxKeySetBytes)
	}
	if err := boundJSON(data); err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, 0, errors.New("the key set is malformed JSON")
	}
	if len(set.Keys) > maxKeys {
		return nil, 0, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	for _, raw := range set.Keys {
		if key, ok := parseKey(raw); ok {
			keys = append(keys, key)
		} else {
			passed++
		}
	}
	if len(keys) == 0 {
		return nil, passed, fmt.Errorf("of the %d keys in the set none is a public key to check signatures with", len(set.Keys))
	}
	return keys, passed, nil
}

func parseKey(raw json.RawMessage) (jose.JSONWebKey, bool) {
	var purpose struct {
		Operations []string `json:"key_ops"`
	}
	var key jose.JSONWebKey
	if json.Unmarshal(raw, &purpose) != nil || key.UnmarshalJSON(raw) != nil {
		return key, false
	}
	if key.Use != "" && key.Use != "sig" || purpose.Operations != nil && !slices.Contains(purpose.Operations, "verify") {
		return key, false
	}
	return key, key.IsPublic() && slices.ContainsFunc(signatures, func(a jose.SignatureAlgorithm) bool { return fits(key.Key, a) })
}

// find is the keys that may have made a signature, at most maxKeysTried. If there is none, the set is fetched again soon.
func (s *keySet) find(id string, algorithm jose.SignatureAlgorithm) (found []any) {
	s.mu.Lock()
	for _, k := range s.keys {
		if (id == "" || k.KeyID == "" || k.KeyID == id) && (k.Algorithm == "" || k.Algorithm == string(algorithm)) && fits(k.Key, algorithm) && len(found) < maxKeysTried {
			found = append(found, k.Key)
		}
	}
	s.mu.Unlock()
	if found == nil {
		s.expedite()
	}
	return found
}

// expedite fetches now unless that is under way or was a moment ago.
func (s *keySet) expedite() {
	s.mu.Lock()
	now := s.world.Mono()
	recent := now-s.begun < expediteAfter
	s.mu.Unlock()
	if !recent {
		s.start()
	}
}

func (s *keySet) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.closed {
		return
	}
	s.running, s.begun = true, s.world.Mono()
	s.world.Go("jwks", s.run)
}

func (s *keySet) run() {
	err := s.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if err == nil {
		s.failed = 0
		s.after(s.refresh)
		return
	}
	wait := s.maxRetry
	if s.failed < 30 {
		wait = min(s.retry<<s.failed, s.maxRetry)
	}
	s.failed++
	s.after(max(wait, s.retry))
	if !s.closed {
		s.logger.Warn("the keys that tokens are checked with could not be fetched; those known stay in use", "url", s.url, "error", err, "known", len(s.keys), "again", wait)
	}
}

// after starts a fetch later; mu is held.
func (s *keySet) after(d time.Duration) {
	if s.closed {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = s.world.AfterFunc(d, s.start)
}

func (s *keySet) close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.cancel()
}
