package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// storePassword protects every key store of this part.
const storePassword = "store-secret"

// certificate is a certificate with its key, in the files that clients and brokers of all languages read: NAME.crt,
// NAME.key, NAME.pem (both, for brokers), NAME.p12 and NAME.jks.
type certificate struct {
	path string // without the ending
	cert *x509.Certificate
	key  crypto.Signer
	by   *certificate // nil for an authority
}

// authorities are what the part's certificates come from: one that brokers and clients trust, and one that nobody does.
type authorities struct {
	dir            string
	ca, other      *certificate
	server, fresh  *certificate // of the brokers; fresh takes server's place while the brokers run
	rsa            *certificate // of the brokers too, with the other kind of key
	alice, bob     *certificate // clients: one whose name a rule maps, and one whose name is its distinguished name
	stranger, late *certificate // clients that must be refused: of the other authority, and expired
}

// newAuthorities makes them all, and their key stores with a program of Java's.
func (s *suite) newAuthorities(ctx context.Context, dir string) (*authorities, error) {
	a := &authorities{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	client := func(cn string, rest ...string) pkix.Name {
		n := pkix.Name{CommonName: cn}
		if len(rest) > 0 {
			n.OrganizationalUnit = rest
		}
		n.Organization = []string{"Moldau"}
		return n
	}
	hour := time.Hour
	for _, c := range []struct {
		to   **certificate
		by   **certificate
		file string
		name pkix.Name
		ends time.Duration
	}{
		{&a.ca, nil, "ca", client("Authority"), hour},
		{&a.other, nil, "other", client("Another authority"), hour},
		{&a.server, &a.ca, "server", client("broker"), hour},
		{&a.fresh, &a.ca, "fresh", client("broker"), hour},
		{&a.rsa, &a.ca, "rsa", client("broker"), hour},
		{&a.alice, &a.ca, "alice", client("Alice", "clients"), hour},
		{&a.bob, &a.ca, "bob", client("bob"), hour},
		{&a.stranger, &a.other, "stranger", client("Alice", "clients"), hour},
		{&a.late, &a.ca, "late", client("Alice", "clients"), -time.Minute},
	} {
		var by *certificate
		if c.by != nil {
			by = *c.by
		}
		made, err := a.issue(c.file, c.name, by, c.ends)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", c.file, err)
		}
		*c.to = made
	}
	return a, s.stores(ctx, a)
}

// issue makes one certificate; by itself if by is nil.
func (a *authorities) issue(file string, name pkix.Name, by *certificate, ends time.Duration) (*certificate, error) {
	var key crypto.Signer
	var err error
	if file == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	made := &certificate{path: filepath.Join(a.dir, file), key: key, by: by}
	shape := &x509.Certificate{SerialNumber: serial, Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	signer, parent := key, shape
	if by == nil {
		shape.IsCA, shape.KeyUsage, shape.ExtKeyUsage, shape.DNSNames, shape.IPAddresses = true, x509.KeyUsageCertSign, nil, nil, nil
	} else {
		signer, parent = by.key, by.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, shape, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	if made.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for ending, text := range map[string][]byte{".crt": crt, ".key": pkcs8, ".pem": append(pkcs8, crt...)} {
		if err := os.WriteFile(made.path+ending, text, 0o600); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// stores has java/Stores.java put the certificates into key stores, and the authority into trust stores.
func (s *suite) stores(ctx context.Context, a *authorities) error {
	var in strings.Builder
	for _, c := range []*certificate{a.ca, a.other} {
		fmt.Fprintf(&in, "trust\t%s\t%s\n", c.path, storePassword)
	}
	for _, c := range []*certificate{a.server, a.fresh, a.rsa, a.alice, a.bob, a.stranger, a.late} {
		fmt.Fprintf(&in, "key\t%s\t%s\t%s\n", c.path, storePassword, c.by.path)
	}
	cmd := s.java(ctx, "Stores")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("key stores: %w\n%s", err, out)
	}
	return nil
}
