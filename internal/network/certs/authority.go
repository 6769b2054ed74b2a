package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	// authorityYears and leafYears are how long what an Authority makes is valid: it is for trying out and for
	// networks of one owner, where nobody renews by machine.
	authorityYears = 10
	leafYears      = 2
	// backdated is how far clocks may be behind ours.
	backdated = time.Hour
)

// Authority issues certificates.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// Pair is a certificate with its private key, both as PEM. The key is PKCS#8, which Java reads, too.
type Pair struct {
	Certificate, Key []byte
}

// NewAuthority makes an authority of the given name that is valid from now on.
func NewAuthority(name string, now time.Time) (*Authority, Pair, error) {
	form, key, err := newForm(name, now, authorityYears)
	if err != nil {
		return nil, Pair{}, err
	}
	form.IsCA, form.BasicConstraintsValid, form.MaxPathLenZero = true, true, true
	form.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	pair, err := sign(form, form, key, key)
	if err != nil {
		return nil, Pair{}, err
	}
	a, err := ParseAuthority(pair)
	return a, pair, err
}

// ParseAuthority takes up an authority that was made before.
func ParseAuthority(p Pair) (*Authority, error) {
	store, err := parsePEMStore(p.Key, p.Certificate, password{})
	if err != nil {
		return nil, err
	}
	e := store.keys[0]
	if !e.chain[0].IsCA {
		return nil, errors.New("its certificate is not that of an authority")
	}
	return &Authority{e.chain[0], e.key}, nil
}

// Expires is when the authority's certificate ends.
func (a *Authority) Expires() time.Time { return a.certificate.NotAfter }

// Server issues a certificate for a node that is reached under the given names and addresses. It may also be shown
// as a client's, to other nodes.
func (a *Authority) Server(name string, hosts []string, now time.Time) (Pair, error) {
	form, key, err := newForm(name, now, leafYears)
	if err != nil {
		return Pair{}, err
	}
	form.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			form.IPAddresses = append(form.IPAddresses, ip)
		} else {
			form.DNSNames = append(form.DNSNames, h)
		}
	}
	return a.issue(form, key)
}

// Client issues a certificate for a client of the given name.
func (a *Authority) Client(name string, now time.Time) (Pair, error) {
	form, key, err := newForm(name, now, leafYears)
	if err != nil {
		return Pair{}, err
	}
	form.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(form, key)
}

func (a *Authority) issue(form *x509.Certificate, key crypto.Signer) (Pair, error) {
	form.KeyUsage = x509.KeyUsageDigitalSignature
	if form.NotAfter.After(a.certificate.NotAfter) {
		form.NotAfter = a.certificate.NotAfter
	}
	return sign(form, a.certificate, key, a.key)
}

// newForm begins a certificate with a new key.
func newForm(name string, now time.Time, years int) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be made: %w", err)
	}
	const serialBits = 120
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, nil, fmt.Errorf("no serial number can be made: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: now.AddDate(years, 0, 0),
	}, key, nil
}

func sign(form, issuer *x509.Certificate, key, issuerKey crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, form, issuer, key.Public(), issuerKey)
	if err != nil {
		return Pair{}, fmt.Errorf("no certificate can be made for %s: %w", form.Subject.CommonName, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("the key of %s cannot be written: %w", form.Subject.CommonName, err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, nil
}

// HostsOf are the names and addresses that the first certificate in a PEM file is for.
func HostsOf(text []byte) ([]string, error) {
	blocks, err := splitPEM(text)
	if err != nil {
		return nil, err
	}
	all, err := parsePEMCertificates(blocks)
	if err != nil {
		return nil, err
	}
	hosts := all[0].DNSNames
	for _, ip := range all[0].IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts, nil
}
