package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/certs"
)

// maxStoreBytes bounds the files of certificates and keys that a command reads.
const maxStoreBytes = 8 << 20

// security is how a command proves to a node who it is, and makes sure of the node.
type security struct {
	file               string // Kafka's client properties
	tls                bool
	ca, cert, key      string
	login, loginSecret string
	mechanism          string
}

// flags declares them on cmd.
func (s *security) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&s.file, "command-config", "", "a Kafka client's properties (security.protocol, ssl.…, sasl.…) to connect with")
	f.BoolVar(&s.tls, "tls", false, "connect with TLS; the system's authorities are trusted, or those of --tls-ca")
	f.StringVar(&s.ca, "tls-ca", "", "the certificates of the authorities to trust, PEM; means --tls")
	f.StringVar(&s.cert, "tls-cert", "", "the client certificate to show, PEM; means --tls")
	f.StringVar(&s.key, "tls-key", "", "the client certificate's key, PEM; none if it is in --tls-cert")
	f.StringVar(&s.login, "login", "", "the user to log in as with SASL")
	f.StringVar(&s.loginSecret, "login-password", "", "a file whose first line is that user's password (or token); - is what is piped in")
	f.StringVar(&s.mechanism, "login-mechanism", "", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER (default SCRAM-SHA-512)")
}

// clientSettings are a Kafka client's properties.
type clientSettings map[string]string

// clientDefaults are Kafka's defaults of what is used here.
var clientDefaults = clientSettings{
	"security.protocol": "PLAINTEXT", "sasl.mechanism": "GSSAPI", "ssl.keystore.type": "JKS", "ssl.truststore.type": "JKS",
	"ssl.enabled.protocols": "TLSv1.2,TLSv1.3", "ssl.protocol": "TLSv1.3", "ssl.endpoint.identification.algorithm": "https",
}

// get is a setting or its default.
func (c clientSettings) get(key string) (string, bool) {
	if v, ok := c[key]; ok {
		return strings.TrimSpace(v), true
	}
	v, ok := clientDefaults[key]
	return v, ok
}

func (c clientSettings) text(key string) string {
	v, _ := c.get(key)
	return v
}

// settings reads --command-config, and lays what the other flags say over it.
func (s *security) settings(in io.Reader) (clientSettings, error) {
	c := clientSettings{}
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			return nil, fmt.Errorf("--command-config: %w", err)
		}
		props, err := config.ParseProperties(text)
		if err != nil {
			return nil, fmt.Errorf("--command-config %s: %w", s.file, err)
		}
		for _, p := range props {
			c[p.Key] = p.Value
		}
	}
	if err := s.overlay(c, in); err != nil {
		return nil, err
	}
	return c, nil
}

// overlay puts what the short flags say into the settings.
func (s *security) overlay(c clientSettings, in io.Reader) error {
	protocol := strings.ToUpper(c.text("security.protocol"))
	encrypted, login := strings.HasSuffix(protocol, "SSL"), strings.HasPrefix(protocol, "SASL_")
	if protocol != protocolOf(encrypted, login) {
		return usagef("--command-config %s: security.protocol is %s: it must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", s.file, protocol)
	}
	if s.ca != "" {
		c["ssl.truststore.location"] = s.ca
		delete(c, "ssl.truststore.password")
	}
	switch {
	case s.key != "" && s.cert == "":
		return usagef("--tls-key needs the certificate that the key belongs to: give --tls-cert, too")
	case s.cert != "":
		if err := s.ownCertificate(c); err != nil {
			return err
		}
	}
	bearer := strings.EqualFold(s.mechanism, "OAUTHBEARER")
	switch {
	case s.login != "" || bearer:
		if err := s.ownLogin(c, in); err != nil {
			return err
		}
		login = true
	case s.loginSecret != "" || s.mechanism != "":
		return usagef("--login-password and --login-mechanism need --login, the user to log in as")
	}
	c["security.protocol"] = protocolOf(encrypted || s.tls || s.ca != "" || s.cert != "", login)
	return nil
}

// protocolOf is Kafka's name of a way to connect.
func protocolOf(encrypted, login bool) string {
	switch {
	case encrypted && login:
		return "SASL_SSL"
	case login:
		return "SASL_PLAINTEXT"
	case encrypted:
		return "SSL"
	default:
		return "PLAINTEXT"
	}
}

// ownCertificate puts --tls-cert and --tls-key into the settings.
func (s *security) ownCertificate(c clientSettings) error {
	chain, err := readStore(s.cert)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	key := chain
	if s.key != "" {
		if key, err = readStore(s.key); err != nil {
			return fmt.Errorf("--tls-key: %w", err)
		}
	}
	for _, k := range []string{"ssl.keystore.location", "ssl.keystore.password"} {
		delete(c, k)
	}
	c["ssl.keystore.type"], c["ssl.keystore.certificate.chain"], c["ssl.keystore.key"] = "PEM", string(chain), string(key)
	return nil
}

// ownLogin puts --login and what belongs to it into the settings.
func (s *security) ownLogin(c clientSettings, in io.Reader) error {
	if s.loginSecret == "" {
		return usagef("--login %s: give the file with its password as --login-password FILE (- for what is piped in)", s.login)
	}
	secret, err := readSecret(s.loginSecret, in)
	if err != nil {
		return fmt.Errorf("--login-password: %w", err)
	}
	mechanism := strings.ToUpper(s.mechanism)
	if mechanism == "" {
		mechanism = "SCRAM-SHA-512"
	}
	c["sasl.mechanism"] = mechanism
	c[ownUser], c[ownSecret] = s.login, secret
	return nil
}

// Where ownLogin leaves what was given by flags: no names of Kafka's.
const (
	ownUser   = "moldau.login"
	ownSecret = "moldau.login.secret"
)

// readSecret is the first line of a file, or of what is piped in.
func readSecret(path string, in io.Reader) (string, error) {
	var b []byte
	var err error
	if path == "-" {
		if b, err = io.ReadAll(io.LimitReader(in, maxStoreBytes+1)); err == nil && len(b) > maxStoreBytes {
			err = fmt.Errorf("what is piped in has more than %d bytes: it is no password and no token", maxStoreBytes)
		}
	} else {
		b, err = readStore(path)
	}
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("%s has no password in its first line", path)
	}
	return line, nil
}

// readStore reads a file of at most maxStoreBytes.
func readStore(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStoreBytes+1))
	if err == nil && len(b) > maxStoreBytes {
		err = fmt.Errorf("%s has more than %d bytes: it is no file of certificates", path, maxStoreBytes)
	}
	return b, err
}

// options are the client's.
func (c clientSettings) options() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	protocol := c["security.protocol"]
	if strings.HasSuffix(protocol, "SSL") {
		t, err := certs.LoadClient(certs.Options{Setting: c.get, ReadFile: readStore})
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if strings.HasPrefix(protocol, "SASL_") {
		m, err := c.saslMechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// saslMechanism makes the login of sasl.mechanism and sasl.jaas.config.
func (c clientSettings) saslMechanism() (sasl.Mechanism, error) {
	name := strings.ToUpper(c.text("sasl.mechanism"))
	login := auth.Login{Options: map[string]string{"username": c[ownUser], "password": c[ownSecret]}}
	if c[ownSecret] == "" && (name != "OAUTHBEARER" || c["sasl.jaas.config"] != "") {
		text, ok := c["sasl.jaas.config"]
		if !ok {
			return nil, usagef("sasl.jaas.config is not set: it holds the user and the password for sasl.mechanism=%s", name)
		}
		var err error
		if login, err = auth.ParseJAAS(text); err != nil {
			return nil, fmt.Errorf("sasl.jaas.config: %w", err)
		}
	}
	user, secret := login.Options["username"], login.Options["password"]
	if name != "OAUTHBEARER" && (user == "" || secret == "") {
		return nil, usagef("the login has no user or no password: give --login and --login-password, or username=\"…\" password=\"…\" in sasl.jaas.config")
	}
	switch name {
	case "PLAIN":
		return plain.Auth{User: user, Pass: secret}.AsMechanism(), nil
	case "SCRAM-SHA-256", "SCRAM-SHA-512":
		a := scram.Auth{User: user, Pass: secret, IsToken: strings.EqualFold(login.Options["tokenauth"], "true")}
		if name == "SCRAM-SHA-256" {
			return a.AsSha256Mechanism(), nil
		}
		return a.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		return c.bearer(login, secret)
	}
	return nil, usagef("sasl.mechanism is %s: these commands know PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER", name)
}

// bearer makes the login with a token: the one given by flags, or the content of a file as Kafka's
// sasl.oauthbearer.token.endpoint.url names it.
func (c clientSettings) bearer(login auth.Login, secret string) (sasl.Mechanism, error) {
	extensions := map[string]string{}
	for k, v := range login.Options {
		if name, ok := strings.CutPrefix(k, "extension_"); ok {
			extensions[name] = v
		}
	}
	path, isFile := strings.CutPrefix(c.text("sasl.oauthbearer.token.endpoint.url"), "file://")
	switch {
	case c[ownSecret] != "":
		secret = c[ownSecret]
	case !isFile:
		return nil, usagef("OAUTHBEARER needs a token: set sasl.oauthbearer.token.endpoint.url=file:///path/of/the/token, or give --login-mechanism OAUTHBEARER --login-password FILE " +
			"(asking a server for tokens is not a thing of these commands)")
	}
	return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		token := secret
		if c[ownSecret] == "" {
			var err error
			if token, err = readSecret(path, nil); err != nil {
				return oauth.Auth{}, err
			}
		}
		return oauth.Auth{Token: strings.TrimSpace(token), Extensions: extensions}, nil
	}), nil
}

// explainSecurity says what a failure of TLS or of a login means, or gives nil.
func explainSecurity(address string, err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	var hungUp *kgo.ErrFirstReadEOF
	text := err.Error()
	switch {
	case errors.As(err, &hungUp):
		return fmt.Errorf("the node at %s hangs up before it has answered: does the listener on that port want TLS (--tls), a login (--login), or neither? Its log says why", address)
	case errors.As(err, &authority):
		return fmt.Errorf("the node at %s shows a certificate of an authority that is not trusted here (%w): give that authority's certificate with --tls-ca, or as ssl.truststore.* in --command-config", address, err)
	case errors.As(err, &host):
		return fmt.Errorf("the certificate of the node at %s is not for that address (%w): connect by a name that is in it, or make one with this name (`moldau tls init --host NAME`)", address, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of the node at %s is not valid now (%w): renew it, or set this machine's clock", address, err)
	case errors.As(err, &header):
		return fmt.Errorf("the node at %s does not speak TLS on that port: leave --tls away, or name the port of a listener with TLS", address)
	case strings.Contains(text, "certificate required"), strings.Contains(text, "remote error: tls: bad certificate"), strings.Contains(text, "remote error: tls: unknown certificate"):
		return fmt.Errorf("the node at %s did not accept our certificate, or wants one (%w): give --tls-cert and --tls-key of an authority that it trusts", address, err)
	case strings.Contains(text, "remote error: tls: "):
		return fmt.Errorf("the node at %s broke the TLS handshake off (%w): its log says why", address, err)
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("the node at %s did not accept the login: see to the user, the password and the mechanism (%w)", address, err)
	case strings.Contains(text, "unexpected data in oauth response"): // the client's words for an answer that refuses
		return fmt.Errorf("the node at %s did not accept the token: see to its expiry, issuer and audience, and to who signed it; the node's log says why", address)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("the node at %s has not enabled this mechanism on that listener (sasl.enabled.mechanisms): choose another with --login-mechanism (%w)", address, err)
	case errors.Is(err, kerr.IllegalSaslState):
		return fmt.Errorf("the node at %s wants, or does not want, a login on that port: --login and --login-password log in (%w)", address, err)
	}
	return nil
}
