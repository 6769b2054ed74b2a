package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is what a listener shows and demands in TLS. It changes under running listeners: connections that were made
// stay as they are, those that come find the new content, and none resumes a session of before.
type Store struct {
	name    string
	current atomic.Pointer[state]

	mu sync.Mutex // one reload at a time
}

// state is one content of a Store. It never changes.
type state struct {
	config *tls.Config
	rules  *Rules
	keys   []entry
	trust  bool // there is a trust store of its own
	digest [sha256.Size]byte
	notes  []string
}

// Load reads everything that the settings name. The error says which setting, which file and why.
func Load(o Options) (*Store, error) {
	next, err := load(o, nil)
	if err != nil {
		return nil, err
	}
	s := &Store{name: o.Name}
	s.current.Store(next)
	return s, nil
}

// load makes a state; it gives back last when nothing has changed.
func load(o Options, last *state) (*state, error) {
	keystore, err := o.readKeystore()
	if err != nil {
		return nil, err
	}
	truststore, err := o.readTruststore()
	if err != nil {
		return nil, err
	}
	next := &state{config: &tls.Config{Time: o.Now, SessionTicketsDisabled: o.Now == nil, DynamicRecordSizingDisabled: true}}
	if next.digest = o.digest(keystore, truststore); last != nil && last.digest == next.digest {
		return last, nil
	}
	if err := o.applyProtocols(next.config); err != nil {
		return nil, err
	}
	if next.rules, err = ParseMappingRules(o.rulesText()); err != nil {
		return nil, fmt.Errorf("ssl.principal.mapping.rules: %w", err)
	}
	if next.config.ClientAuth, err = clientAuth(o.text("ssl.client.auth")); err != nil {
		return nil, err
	}
	if keystore == nil {
		return nil, errors.New("there is no certificate to show: set ssl.keystore.location (and ssl.keystore.password), or ssl.keystore.key and " +
			"ssl.keystore.certificate.chain; `moldau tls init` makes what is needed for trying out")
	}
	if err := next.use(keystore, truststore); err != nil {
		return nil, err
	}
	return next, nil
}

// rulesText is ssl.principal.mapping.rules, or its default.
func (o *Options) rulesText() string {
	if v, ok := o.Setting("ssl.principal.mapping.rules"); ok {
		return v
	}
	return "DEFAULT"
}

// digest stands for everything that a state is made of.
func (o *Options) digest(keystore, truststore *source) [sha256.Size]byte {
	h := sha256.New()
	for _, d := range [][sha256.Size]byte{keystore.digest(), truststore.digest()} {
		h.Write(d[:])
	}
	for _, key := range []string{"ssl.client.auth", "ssl.protocol", "ssl.enabled.protocols", "ssl.cipher.suites", "ssl.principal.mapping.rules"} {
		fmt.Fprintf(h, "%q ", o.text(key)) //nolint:errcheck // a hash takes everything
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// use parses the stores.
func (s *state) use(keystore, truststore *source) error {
	own, err := keystore.parse()
	if err != nil {
		return err
	}
	s.keys = own.keys
	s.note(keystore)
	for i := range own.keys {
		s.config.Certificates = append(s.config.Certificates, own.keys[i].certificate())
	}
	if truststore == nil {
		return nil // the system's authorities, as in Java
	}
	trusted, err := truststore.parse()
	if err != nil {
		return err
	}
	s.trust = true
	s.note(truststore)
	s.config.ClientCAs = pool(trusted.authorities())
	return nil
}

// note remembers that a file was something else than the settings say.
func (s *state) note(from *source) {
	if from.path != "" && !strings.EqualFold(from.declared, from.format.String()) {
		s.notes = append(s.notes, fmt.Sprintf("%s is %v and is read as that, though ssl.%s.type is %s", from.path, from.format, from.kind, from.declared))
	}
}

func (e *entry) certificate() tls.Certificate {
	c := tls.Certificate{PrivateKey: e.key, Leaf: e.chain[0]}
	for i, x := range e.chain {
		if i > 0 && x.CheckSignatureFrom(x) == nil && string(x.RawSubject) == string(x.RawIssuer) {
			break // a peer that trusts the authority has it already
		}
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

// clientAuth maps ssl.client.auth. A certificate that is merely requested must be good all the same, as in Java.
func clientAuth(text string) (tls.ClientAuthType, error) {
	switch strings.ToLower(text) {
	case "none", "":
		return tls.NoClientCert, nil
	case "requested":
		return tls.VerifyClientCertIfGiven, nil
	case "required":
		return tls.RequireAndVerifyClientCert, nil
	}
	return 0, fmt.Errorf("ssl.client.auth is %s: it must be required, requested or none", text)
}

// ServerConfig is for a listener. Each connection finds what was loaded last, and sessions that began with something else
// are not resumed.
func (s *Store) ServerConfig() *tls.Config {
	c := s.current.Load().config.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load().connection(), nil }
	return c
}

// Notes are lines for the operator on what was found other than the settings say.
func (s *Store) Notes() []string { return s.current.Load().notes }

// Expires is when the first of its own certificates ends.
func (s *Store) Expires() time.Time {
	var end time.Time
	for _, k := range s.current.Load().keys {
		for _, c := range k.chain {
			if end.IsZero() || c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
	}
	return end
}

// Principal is the name of a peer by its certificate; empty when it showed none.
func (s *Store) Principal(t tls.ConnectionState) (string, error) {
	if len(t.PeerCertificates) == 0 {
		return "", nil
	}
	dn, err := RenderName(t.PeerCertificates[0].RawSubject)
	if err != nil {
		return "", err
	}
	return s.current.Load().rules.Principal(dn)
}

// Reload reads everything again and takes it over if it is good and the change is allowed; otherwise the old content
// stays. changed is false when nothing was different.
func (s *Store) Reload(o Options) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.current.Load()
	next, err := o.follow(last)
	if err != nil || next == last {
		return false, err
	}
	s.current.Store(next)
	return true, nil
}

// Check tells whether Reload would take the settings over.
func (s *Store) Check(o Options) error {
	_, err := o.follow(s.current.Load())
	return err
}

// follow makes the state after last, if the change from it is allowed.
func (o *Options) follow(last *state) (*state, error) {
	next, err := load(*o, last)
	if err != nil || next == last {
		return next, err
	}
	allows := func(key string) bool { return strings.EqualFold(o.text(key), "true") }
	if err := checkChange(last.keys, next.keys, allows("ssl.allow.dn.changes"), allows("ssl.allow.san.changes")); err != nil {
		return nil, err
	}
	if next.trust && !last.trust {
		return nil, errors.New("Cannot add SSL truststore to an existing listener for which no truststore was configured.")
	}
	return next, nil
}

// checkChange keeps a listener from becoming somebody else by mistake (KIP-978). The texts are Kafka's.
func checkChange(last, next []entry, dn, san bool) error {
	if dn && san {
		return nil
	}
	if len(last) != len(next) {
		return fmt.Errorf("Keystore entries do not match, existing store contains %d entries, new store contains %d entries", len(last), len(next))
	}
	for i := range last {
		was, is := last[i].chain[0], next[i].chain[0]
		old, fresh := nameOf(was.RawSubject, was.Subject), nameOf(is.RawSubject, is.Subject)
		if !dn && !strings.EqualFold(old, fresh) {
			return fmt.Errorf("Keystore DistinguishedName does not match:  existing={alias=%s, DN=%s}, new={alias=%s, DN=%s}",
				last[i].alias, old, next[i].alias, fresh)
		}
		if oldNames, names := alternatives(was), alternatives(is); !san && !containsAll(names, oldNames) {
			return fmt.Errorf("Keystore SubjectAltNames do not match:  existing={alias=%s, SAN=%v}, new={alias=%s, SAN=%v}",
				last[i].alias, oldNames, next[i].alias, names)
		}
	}
	return nil
}

func alternatives(c *x509.Certificate) []string {
	var out []string
	for _, name := range c.DNSNames {
		out = append(out, "DNS:"+name)
	}
	for _, ip := range c.IPAddresses {
		out = append(out, "IP:"+ip.String())
	}
	for _, mail := range c.EmailAddresses {
		out = append(out, "email:"+mail)
	}
	for _, u := range c.URIs {
		out = append(out, "URI:"+u.String())
	}
	return out
}

func containsAll(have, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(have, name) })
}
