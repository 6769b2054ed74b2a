package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// settings are a listener's, with Kafka's defaults below them.
type settings map[string]string

var defaults = settings{
	"ssl.keystore.type": "JKS", "ssl.truststore.type": "JKS", "ssl.protocol": "TLSv1.3", "ssl.enabled.protocols": "TLSv1.2,TLSv1.3", "ssl.client.auth": "none",
}

func (s settings) options() Options {
	return Options{
		Name: "SSL",
		Setting: func(key string) (string, bool) {
			if v, ok := s[key]; ok {
				return v, true
			}
			v, ok := defaults[key]
			return v, ok
		},
		ReadFile: os.ReadFile,
	}
}

// with is s and more, from "key=value" lines; "key=" takes a key away.
func (s settings) with(lines ...string) settings {
	out := settings{}
	for k, v := range s {
		out[k] = v
	}
	for _, l := range lines {
		k, v, _ := strings.Cut(l, "=")
		if out[k] = v; v == "" {
			delete(out, k)
		}
	}
	return out
}

const stores = "testdata/stores/"

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(stores + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStores reads what keytool and openssl have written. All have the same key; the passwords are "storepw",
// "otherkeypw" (the key in java17.jks) and "keypw" (keys in PEM).
func TestStores(t *testing.T) {
	inline := func(key string) settings {
		return settings{"ssl.keystore.type": "PEM", "ssl.keystore.key": read(t, key), "ssl.keystore.certificate.chain": read(t, "node.pem"), "ssl.key.password": "keypw"}
	}
	store := func(name string) settings {
		return settings{"ssl.keystore.location": stores + name, "ssl.keystore.password": "storepw"}
	}
	for _, c := range []struct {
		what string
		s    settings
		want string // in the error; empty for none
	}{
		{"PKCS12 of Java 17", store("java17.p12"), ""},
		{"PKCS12 of Java 17, named", store("java17.p12").with("ssl.keystore.type=PKCS12"), ""},
		{"PKCS12 of Java 8", store("java8.p12"), ""},
		{"PKCS12 of OpenSSL 3", store("openssl3.p12"), ""},
		{"PKCS12 of OpenSSL 1", store("openssl1.p12"), ""},
		{"PKCS12, wrong password", store("java17.p12").with("ssl.keystore.password=storepx"), "password is wrong"},
		{"PKCS12, wrong key password", store("java17.p12").with("ssl.key.password=x"), "password is wrong"},
		{"PKCS12 without a password", store("java17.p12").with("ssl.keystore.password="), "SSL key store is specified, but key store password is not specified."},
		{"JKS", store("java17.jks").with("ssl.key.password=otherkeypw"), ""},
		{"JKS declared as PKCS12", store("java17.jks").with("ssl.key.password=otherkeypw", "ssl.keystore.type=PKCS12"), ""},
		{"JKS, the key's password missing", store("java17.jks"), "cannot be decrypted: the password is wrong"},
		{"JKS, wrong password", store("java17.jks").with("ssl.keystore.password=x"), "password is wrong"},
		{"JCEKS", store("x.jceks"), "JCEKS, which is not read"},
		{"only certificates", store("trust.jks"), "it has no private key"},
		{"no file", store("none"), "cannot be read"},
		{"PEM in a file that is declared as JKS", settings{"ssl.keystore.location": stores + "ed25519.pem"}, ""},
		{"PEM with a store password", store("ed25519.pem"), "SSL key store password cannot be specified with PEM format"},
		{"a PEM file without a key", settings{"ssl.keystore.location": stores + "node.pem"}, "it has no private key (a block"},
		{"a plain key", inline("key.pem"), ""},
		{"PBES2, AES-256, SHA-256", inline("key-aes256.pem"), ""},
		{"PBES2, AES-128, SHA-1", inline("key-aes128-sha1.pem"), ""},
		{"PBES2, triple DES", inline("key-des3.pem"), ""},
		{"PBE, triple DES", inline("key-pbe3des.pem"), ""},
		{"PKCS1", inline("key-pkcs1.pem"), ""},
		{"scrypt", inline("key-scrypt.pem"), "only PBKDF2 is known"},
		{"wrong key password", inline("key-aes256.pem").with("ssl.key.password=x"), "password is wrong"},
		{"no key password", inline("key-aes256.pem").with("ssl.key.password="), "set ssl.key.password"},
		{"a key and no chain", inline("key.pem").with("ssl.keystore.certificate.chain="), "but certificate chain is not specified."},
		{"a chain and no key", inline("key.pem").with("ssl.keystore.key="), "but private key is not specified"},
		{"a key in JKS", inline("key.pem").with("ssl.keystore.type=JKS"), "can be specified only for PEM, but key store type is JKS."},
		{"a key and a file", inline("key.pem").with("ssl.keystore.location=x"), "Both SSL key store location and separate private key are specified."},
		{"a key and a store password", inline("key.pem").with("ssl.keystore.password=x"), "only key password may be specified."},
		{"another's certificate", inline("key.pem").with("ssl.keystore.certificate.chain=" + read(t, "ed25519.pem")), "does not belong to its first certificate"},
		{"nothing", settings{}, "moldau tls init"},
		{"a password alone", settings{"ssl.keystore.password": "x"}, "SSL key store is not specified, but key store password is specified."},
	} {
		checkStore(t, c.what, c.s, c.want)
	}
}

// checkStore loads a listener, and shakes hands with it if it loads.
func checkStore(t *testing.T, what string, s settings, want string) {
	t.Helper()
	store, err := Load(s.options())
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want == "":
		if _, _, err := shake(store.ServerConfig(), &tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Errorf("%s: shaking hands: %v", what, err)
		}
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
	if err != nil {
		for _, secret := range []string{"storepw", "otherkeypw", "keypw", "MII"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error has a secret: %v", what, err)
			}
		}
	}
}

// sockets are the two ends of a connection. A pipe would not do: it keeps nothing, so that both ends may wait to write.
func sockets() (near, far net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	near, err = l.Accept()
	return near, far, err
}

// shake lets a client and a server shake hands; the errors are both's.
func shake(server, client *tls.Config) (*tls.Conn, *tls.Conn, error) {
	near, far, err := sockets()
	if err != nil {
		return nil, nil, err
	}
	defer near.Close()
	s, c := tls.Server(near, server), tls.Client(far, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err != nil {
			near.Close()
		}
		done <- err
	}()
	err = c.Handshake()
	if err == nil && c.ConnectionState().Version == tls.VersionTLS13 {
		// The client is done before the server has seen its certificate.
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		var one [1]byte
		if _, readErr := c.Read(one[:]); readErr != nil && !errors.Is(readErr, os.ErrDeadlineExceeded) {
			err = readErr
		}
	}
	far.Close()
	return s, c, errors.Join(err, <-done)
}

func TestTruststores(t *testing.T) {
	base := settings{"ssl.keystore.location": stores + "java17.p12", "ssl.keystore.password": "storepw", "ssl.client.auth": "required"}
	trust := func(name, pass string) settings {
		return base.with("ssl.truststore.location="+stores+name, "ssl.truststore.password="+pass)
	}
	for _, c := range []struct {
		what string
		s    settings
		want string
	}{
		{"PKCS12 of Java 17", trust("trust.p12", "storepw"), ""},
		{"JKS", trust("trust.jks", "storepw"), ""},
		{"JKS without a password", trust("trust.jks", ""), ""},
		{"JKS, wrong password", trust("trust.jks", "x"), "password is wrong"},
		{"PKCS12 without a password", trust("trust.p12", ""), "set the password of the store"},
		{"certificates that nobody marked as trusted", trust("certs-only.p12", "storepw"), ""},
		{"a store with a key", trust("java17.p12", "storepw"), ""},
		{"a plain store", trust("plain.p12", ""), ""},
		{"PEM", trust("node.pem", ""), ""},
		{"PEM with a password", trust("node.pem", "x"), "SSL trust store password cannot be specified for PEM format"},
		{"PEM without certificates", trust("key.pem", ""), "it has no certificate"},
		{"inline", base.with("ssl.truststore.type=PEM", "ssl.truststore.certificates="+read(t, "node.pem")), ""},
		{"inline in JKS", base.with("ssl.truststore.certificates=" + read(t, "node.pem")), "SSL trust store certs can be specified only for PEM, but trust store type is JKS."},
		{"a password alone", base.with("ssl.truststore.password=x"), "SSL trust store is not specified, but trust store password is specified."},
	} {
		store, err := Load(c.s.options())
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.what, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		own := store.current.Load().config.Certificates
		if _, _, err := shake(store.ServerConfig(), &tls.Config{InsecureSkipVerify: true, Certificates: own}); err != nil {
			t.Errorf("%s: shaking hands with a trusted certificate: %v", c.what, err)
		}
		stranger, err := tls.X509KeyPair([]byte(read(t, "ed25519.pem")), []byte(read(t, "ed25519.pem")))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := shake(store.ServerConfig(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{stranger}}); err == nil {
			t.Errorf("%s: a stranger's certificate passed", c.what)
		}
	}
}

func TestProtocolsAndSuites(t *testing.T) {
	base := settings{"ssl.keystore.location": stores + "java17.p12", "ssl.keystore.password": "storepw"}
	all := strings.Join(modernSuites, ",")
	const old = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	for _, c := range []struct {
		s       settings
		version uint16 // that a client which can do everything gets
		want    string // in the error
	}{
		{base, tls.VersionTLS13, ""},
		{base.with("ssl.enabled.protocols=TLSv1.2"), tls.VersionTLS12, ""},
		{base.with("ssl.enabled.protocols=TLSv1.3"), tls.VersionTLS13, ""},
		{base.with("ssl.protocol=TLSv1.2"), tls.VersionTLS13, ""}, // as in Kafka: ssl.enabled.protocols decides
		{base.with("ssl.protocol=TLSv1.1"), 0, "ssl.protocol is TLSv1.1"},
		{base.with("ssl.enabled.protocols=TLSv1.1,TLSv1.2"), 0, "ssl.enabled.protocols has TLSv1.1"},
		{base.with("ssl.cipher.suites=" + old), tls.VersionTLS12, ""},
		{base.with("ssl.cipher.suites=" + all), tls.VersionTLS13, ""},
		{base.with("ssl.cipher.suites=" + all + ", " + old), tls.VersionTLS13, ""},
		{base.with("ssl.cipher.suites=TLS_AES_256_GCM_SHA384"), 0, "only together"},
		{base.with("ssl.cipher.suites="+old, "ssl.enabled.protocols=TLSv1.3"), 0, "no cipher suite of TLS 1.3"},
		{base.with("ssl.cipher.suites="+all, "ssl.enabled.protocols=TLSv1.2"), 0, "no cipher suite of TLS 1.2"},
		{base.with("ssl.cipher.suites=TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"), 0, "ECDHE is"},
		{base.with("ssl.cipher.suites=TLS_NONE"), 0, "not known"},
		{base.with("ssl.client.auth=maybe"), 0, "ssl.client.auth is maybe"},
		{base.with("ssl.principal.mapping.rules=RULE:x"), 0, "ssl.principal.mapping.rules: Invalid rule"},
	} {
		store, err := Load(c.s.options())
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: got %v, want %q", c.s, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.s, err)
			continue
		}
		_, client, err := shake(store.ServerConfig(), &tls.Config{InsecureSkipVerify: true})
		if err != nil || client.ConnectionState().Version != c.version {
			t.Errorf("%v: got version %x, %v", c.s, client.ConnectionState().Version, err)
		}
	}
}

// files is a disk of certificates that change.
type files map[string][]byte

func (f files) options(s settings) Options {
	o := s.options()
	o.ReadFile = func(path string) ([]byte, error) {
		if b, ok := f[path]; ok {
			return b, nil
		}
		return nil, os.ErrNotExist
	}
	return o
}

func TestReload(t *testing.T) {
	now := time.Now()
	ca, caPair, err := NewAuthority("authority", now)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string, hosts ...string) []byte {
		p, err := ca.Server(name, hosts, now)
		if err != nil {
			t.Fatal(err)
		}
		return append(bytes.Clone(p.Certificate), p.Key...)
	}
	disk := files{"node.pem": issue("node", "a", "b"), "ca.pem": caPair.Certificate}
	base := settings{"ssl.keystore.location": "node.pem", "ssl.keystore.type": "PEM"}
	store, err := Load(disk.options(base))
	if err != nil {
		t.Fatal(err)
	}
	config := store.ServerConfig()
	serial := func() string {
		_, c, err := shake(config, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	for _, c := range []struct {
		what    string
		content []byte
		s       settings
		changed bool
		want    string
	}{
		{"nothing", disk["node.pem"], base, false, ""},
		{"garbage", []byte("-----BEGIN x"), base, false, "it has no private key"},
		{"another name", issue("other", "a", "b"), base, false, "Keystore DistinguishedName does not match:  existing={alias=kafka, DN=CN=node}, new={alias=kafka, DN=CN=other}"},
		{"fewer hosts", issue("node", "a"), base, false, "Keystore SubjectAltNames do not match:  existing={alias=kafka, SAN=[DNS:a DNS:b]}, new={alias=kafka, SAN=[DNS:a]}"},
		{"more hosts", issue("node", "a", "b", "127.0.0.1"), base, true, ""},
		{"fewer hosts, allowed", issue("node", "c"), base.with("ssl.allow.san.changes=true"), true, ""},
		{"another name, allowed", issue("other", "c"), base.with("ssl.allow.dn.changes=true"), true, ""},
		{"all else, allowed", issue("third", "d"), base.with("ssl.allow.dn.changes=true", "ssl.allow.san.changes=true"), true, ""},
		{"a first trust store", issue("third", "d"), base.with("ssl.truststore.location=ca.pem"), false, "Cannot add SSL truststore"},
		{"another setting", issue("third", "d"), base.with("ssl.enabled.protocols=TLSv1.2"), true, ""},
	} {
		disk["node.pem"] = c.content
		checkErr := store.Check(disk.options(c.s))
		if now := serial(); now != first {
			t.Fatalf("%s: the check changed the certificate", c.what)
		}
		changed, err := store.Reload(disk.options(c.s))
		for _, err := range []error{checkErr, err} {
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.what, err, c.want)
			}
		}
		if fresh := serial() != first; changed != c.changed || fresh != c.changed {
			t.Errorf("%s: changed %v, another certificate is shown: %v", c.what, changed, fresh)
		}
		first = serial()
	}
}

func TestPrincipal(t *testing.T) {
	now := time.Now()
	ca, caPair, err := NewAuthority("authority", now)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(p Pair, err error) tls.Certificate {
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.X509KeyPair(p.Certificate, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	node, err := ca.Server("node", []string{"localhost"}, now)
	if err != nil {
		t.Fatal(err)
	}
	base := settings{
		"ssl.keystore.type": "PEM", "ssl.keystore.key": string(node.Key), "ssl.keystore.certificate.chain": string(node.Certificate),
		"ssl.truststore.type": "PEM", "ssl.truststore.certificates": string(caPair.Certificate), "ssl.client.auth": "requested",
	}
	store, err := Load(base.options())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPair.Certificate)
	client := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for _, c := range []struct {
		rules, want string
		certificate bool
	}{
		{"DEFAULT", "CN=alice", true},
		{"RULE:^CN=(.*)$/$1/U", "ALICE", true},
		{"DEFAULT", "", false},
		{"RULE:^OU=(.*)$/$1/", "No rules apply to CN=alice, rules [RULE:^OU=(.*)$/$1]", true},
	} {
		if _, err := store.Reload(base.with("ssl.principal.mapping.rules=" + c.rules).options()); err != nil {
			t.Fatal(err)
		}
		client.Certificates = nil
		if c.certificate {
			client.Certificates = []tls.Certificate{pair(ca.Client("alice", now))}
		}
		server, _, err := shake(store.ServerConfig(), client)
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.Principal(server.ConnectionState())
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.rules, got, c.want)
		}
	}
}

func fuzzSeeds(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		f.Add([]byte(read(f, name)))
	}
}

func FuzzJKS(f *testing.F) {
	fuzzSeeds(f, "java17.jks", "trust.jks")
	f.Fuzz(func(_ *testing.T, data []byte) {
		parseJKS(data, password{}, password{"otherkeypw", true}) //nolint:errcheck // it must only come back
	})
}

func FuzzPKCS12(f *testing.F) {
	fuzzSeeds(f, "java17.p12", "java8.p12", "openssl3.p12", "openssl1.p12", "trust.p12", "plain.p12", "certs-only.p12")
	f.Fuzz(func(_ *testing.T, data []byte) {
		for _, p := range []password{{}, {"storepw", true}} {
			parsePKCS12(data, p, p) //nolint:errcheck // it must only come back
		}
	})
}

func FuzzPEM(f *testing.F) {
	fuzzSeeds(f, "ed25519.pem", "key-aes256.pem", "key-pbe3des.pem", "key-pkcs1.pem", "key-scrypt.pem", "node.pem")
	f.Fuzz(func(_ *testing.T, data []byte) {
		parsePEMStore(data, data, password{"keypw", true}) //nolint:errcheck // it must only come back
	})
}
