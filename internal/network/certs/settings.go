package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are where the settings of one listener, or of a client, come from.
type Options struct {
	// Name is the listener's, for messages.
	Name string
	// Setting gives a setting as it holds for the listener, and whether it has a value.
	Setting func(key string) (string, bool)
	// ReadFile reads a whole file. It bounds what it reads.
	ReadFile func(path string) ([]byte, error)
	// Now is the time, for a listener; without it no TLS session is resumed.
	Now func() time.Time
}

func (o *Options) text(key string) string {
	v, _ := o.Setting(key)
	return strings.TrimSpace(v)
}

// secret is a password as it is written: space around it was taken away by the settings already.
func (o *Options) secret(key string) password {
	v, ok := o.Setting(key)
	return password{v, ok && v != ""}
}

// LaxPermissions are the bits of a file's mode that let others than its owner read or change it. The group may
// read: that is how key files are handed to containers.
const LaxPermissions = 0o027

// format is how a store is written.
type format uint8

const (
	formatUnknown format = iota
	formatPEM
	formatPKCS12
	formatJKS
	formatJCEKS
)

// String is the format as ssl.keystore.type names it.
func (f format) String() string {
	return [...]string{"unknown", "PEM", "PKCS12", "JKS", "JCEKS"}[f]
}

// formatOf looks at a store's first bytes.
func formatOf(data []byte) format {
	switch {
	case bytes.HasPrefix(data, []byte{0xFE, 0xED, 0xFE, 0xED}):
		return formatJKS
	case bytes.HasPrefix(data, []byte{0xCE, 0xCE, 0xCE, 0xCE}):
		return formatJCEKS
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return formatPEM
	case len(data) > 1 && data[0] == 0x30 && (data[1] > 0x80 || int(data[1])+2 == len(data)):
		return formatPKCS12
	}
	return formatUnknown
}

// source is a store before it is parsed.
type source struct {
	kind     string // "keystore" or "truststore"
	path     string // empty when it is in the settings
	declared string // ssl.keystore.type
	format   format
	data     []byte
	key      []byte // a private key in the settings; data has the chain
	store    password
	keyPass  password
}

// readKeystore collects the private key's store; nil when none is set. The texts of contradictions are Kafka's.
func (o *Options) readKeystore() (*source, error) {
	s := &source{
		kind: "keystore", path: o.text("ssl.keystore.location"), declared: o.text("ssl.keystore.type"),
		store: o.secret("ssl.keystore.password"), keyPass: o.secret("ssl.key.password"),
	}
	key, chain := o.text("ssl.keystore.key"), o.text("ssl.keystore.certificate.chain")
	switch {
	case key != "" && !s.pem():
		return nil, fmt.Errorf("SSL private key can be specified only for PEM, but key store type is %s.", s.declared)
	case key != "" && chain == "":
		return nil, errors.New("SSL private key is specified, but certificate chain is not specified.")
	case key != "" && s.path != "":
		return nil, errors.New("Both SSL key store location and separate private key are specified.")
	case key != "" && s.store.given:
		return nil, errors.New("SSL key store password cannot be specified with PEM format, only key password may be specified.")
	case key == "" && chain != "":
		return nil, errors.New("SSL certificate chain is specified, but private key is not specified")
	case key != "":
		s.format, s.key, s.data = formatPEM, []byte(key), []byte(chain)
		return s, nil
	}
	if s.path == "" {
		if s.store.given {
			return nil, errors.New("SSL key store is not specified, but key store password is specified.")
		}
		return nil, nil
	}
	if err := o.read(s); err != nil {
		return nil, err
	}
	switch {
	case s.format == formatPEM && s.store.given:
		return nil, fmt.Errorf("SSL key store password cannot be specified with PEM format, only key password may be specified (%s is PEM: remove ssl.keystore.password)", s.path)
	case s.format != formatPEM && !s.store.given:
		return nil, errors.New("SSL key store is specified, but key store password is not specified.")
	}
	return s, nil
}

// readTruststore collects the trusted certificates; nil when none are set.
func (o *Options) readTruststore() (*source, error) {
	s := &source{
		kind: "truststore", path: o.text("ssl.truststore.location"), declared: o.text("ssl.truststore.type"),
		store: o.secret("ssl.truststore.password"),
	}
	inline := o.text("ssl.truststore.certificates")
	switch {
	case inline != "" && !s.pem():
		return nil, fmt.Errorf("SSL trust store certs can be specified only for PEM, but trust store type is %s.", s.declared)
	case inline != "" && s.path != "":
		return nil, errors.New("Both SSL trust store location and separate trust certificates are specified.")
	case inline != "" && s.store.given:
		return nil, errors.New("SSL trust store password cannot be specified for PEM format.")
	case inline != "":
		s.format, s.data = formatPEM, []byte(inline)
		return s, nil
	case s.path == "" && s.store.given:
		return nil, errors.New("SSL trust store is not specified, but trust store password is specified.")
	case s.path == "":
		return nil, nil
	}
	if err := o.read(s); err != nil {
		return nil, err
	}
	if s.format == formatPEM && s.store.given {
		return nil, fmt.Errorf("SSL trust store password cannot be specified for PEM format (%s is PEM: remove ssl.truststore.password)", s.path)
	}
	return s, nil
}

// pem says that the type is PEM, in whatever letters.
func (s *source) pem() bool { return strings.EqualFold(s.declared, "PEM") }

// read reads a store's file and finds out its format.
//
// Differs from Kafka: what a key or trust store is decides, not what ssl.keystore.type says it is; PEM that is declared as
// JKS, which is the default, is read as PEM.
func (o *Options) read(s *source) error {
	var err error
	if s.data, err = o.ReadFile(s.path); err != nil {
		return fmt.Errorf("ssl.%s.location: the file %s cannot be read: %w", s.kind, s.path, err)
	}
	if s.format = formatOf(s.data); s.format != formatUnknown && s.format != formatJCEKS {
		return nil
	}
	what := "neither PEM nor PKCS12 nor JKS"
	switch {
	case len(s.data) == 0:
		what = "empty"
	case s.format == formatJCEKS:
		what = "JCEKS, which is not read: convert it with `keytool -importkeystore -deststoretype PKCS12`"
	}
	return fmt.Errorf("ssl.%s.location: the file %s is %s (ssl.%s.type is %s)", s.kind, s.path, what, s.kind, s.declared)
}

// parse reads the entries of the store.
func (s *source) parse() (*entries, error) {
	var out *entries
	var err error
	key := s.keyPass
	if !key.given {
		key = s.store
	}
	switch {
	case s.format == formatPEM && s.kind == "keystore":
		private := s.key
		if private == nil {
			private = s.data
		}
		out, err = parsePEMStore(private, s.data, s.keyPass)
	case s.format == formatPEM:
		out = &entries{}
		if blocks, splitErr := splitPEM(s.data); splitErr != nil {
			err = splitErr
		} else {
			out.trusted, err = parsePEMCertificates(blocks)
		}
	case s.format == formatJKS:
		out, err = parseJKS(s.data, s.store, key)
	default:
		out, err = parsePKCS12(s.data, s.store, key)
	}
	if err == nil && s.kind == "keystore" && len(out.keys) == 0 {
		err = errors.New("it has no private key")
	}
	if err == nil && s.kind == "truststore" && len(out.authorities()) == 0 {
		err = errors.New("it has no trusted certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.place(), err)
	}
	return out, nil
}

// place names the store in messages.
func (s *source) place() string {
	switch {
	case s.path != "":
		return fmt.Sprintf("ssl.%s.location (%s, %v)", s.kind, s.path, s.format)
	case s.key != nil:
		return "ssl.keystore.key and ssl.keystore.certificate.chain"
	default:
		return "ssl.truststore.certificates"
	}
}

// digest stands for all that a store is made of.
func (s *source) digest() [sha256.Size]byte {
	if s == nil {
		return [sha256.Size]byte{}
	}
	h := sha256.New()
	for _, part := range [][]byte{s.data, s.key, []byte(s.path), []byte(s.store.text), []byte(s.keyPass.text)} {
		fmt.Fprintf(h, "%d ", len(part)) //nolint:errcheck // a hash takes everything
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// pool makes a set of authorities.
func pool(all []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range all {
		p.AddCert(c)
	}
	return p
}

// applyProtocols sets the versions and cipher suites that may be used.
func (o *Options) applyProtocols(c *tls.Config) error {
	if p := o.text("ssl.protocol"); p != "" && !slices.Contains([]string{"TLS", "TLSv1.2", "TLSv1.3"}, p) {
		return fmt.Errorf("ssl.protocol is %s: it must be TLSv1.3, TLSv1.2 or TLS; older protocols are not secure any more and not available", p)
	}
	c.MinVersion, c.MaxVersion = 0, 0
	for _, name := range split(o.text("ssl.enabled.protocols")) {
		var v uint16
		switch name {
		case "TLSv1.2":
			v = tls.VersionTLS12
		case "TLSv1.3":
			v = tls.VersionTLS13
		default:
			return fmt.Errorf("ssl.enabled.protocols has %s: only TLSv1.2 and TLSv1.3 are available; older protocols are not secure any more", name)
		}
		if c.MinVersion == 0 || v < c.MinVersion {
			c.MinVersion = v
		}
		c.MaxVersion = max(c.MaxVersion, v)
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	return o.applySuites(c)
}

// applySuites sets ssl.cipher.suites.
//
// Differs from Kafka: the cipher suites of TLS 1.3 can be allowed or forbidden only together, which is all that Go's TLS
// can do; a list with some of them is refused.
func (o *Options) applySuites(c *tls.Config) error {
	modern := 0
	for _, name := range split(o.text("ssl.cipher.suites")) {
		id, versions, err := suiteOf(name)
		if err != nil {
			return err
		}
		if slices.Contains(versions, tls.VersionTLS13) {
			modern++
			continue
		}
		c.CipherSuites = append(c.CipherSuites, id)
	}
	switch {
	case modern == 0 && len(c.CipherSuites) == 0:
		return nil
	case modern == 0 && c.MinVersion == tls.VersionTLS13:
		return errors.New("ssl.cipher.suites has no cipher suite of TLS 1.3, and ssl.enabled.protocols has nothing but TLSv1.3")
	case modern == 0:
		c.MaxVersion = tls.VersionTLS12
	case modern < len(modernSuites):
		return fmt.Errorf("ssl.cipher.suites has some of TLS 1.3's cipher suites: they can be allowed only together, write all of %s, or none",
			strings.Join(modernSuites, ", "))
	case len(c.CipherSuites) == 0 && c.MaxVersion == tls.VersionTLS12:
		return errors.New("ssl.cipher.suites has no cipher suite of TLS 1.2, and ssl.enabled.protocols has nothing but TLSv1.2")
	case len(c.CipherSuites) == 0:
		c.MinVersion = tls.VersionTLS13
	}
	return nil
}

// modernSuites are those of TLS 1.3.
var modernSuites = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}

// suiteOf finds a cipher suite by its IANA name.
func suiteOf(name string) (id uint16, versions []uint16, err error) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.Name == name || s.Name == strings.Replace(name, "SSL_", "TLS_", 1) {
			return s.ID, s.SupportedVersions, nil
		}
	}
	why := "it is not known"
	switch {
	case strings.Contains(name, "_DHE_"), strings.Contains(name, "_DH_"):
		why = "key exchange by finite fields (DH, DHE) is not available, ECDHE is"
	case strings.Contains(name, "_ECDH_"):
		why = "key exchange without forward secrecy (ECDH) is not available, ECDHE is"
	case strings.Contains(name, "_CCM"):
		why = "CCM is not available, GCM is"
	case strings.Contains(name, "_anon_"), strings.Contains(name, "_NULL_"), strings.Contains(name, "_EXPORT_"):
		why = "it does not protect"
	case strings.HasSuffix(name, "_SCSV"):
		why = "it is not a cipher suite but a signal"
	case name != "":
		why = "it is not known or not available"
	}
	return 0, nil, fmt.Errorf("ssl.cipher.suites has %s: %s", name, why)
}

func split(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
