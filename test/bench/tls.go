package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// overTLS in front of an address says that connections to it are made with TLS 1.3.
const overTLS = "tls:"

// dialNet connects to an address of a server.
func dialNet(addr string) (net.Conn, error) {
	plain, secure := strings.CutPrefix(addr, overTLS)
	c, err := net.DialTimeout("tcp", plain, callTimeout)
	if err != nil || !secure {
		return c, err
	}
	// Who the server is is not the question here, and checking it would cost the client alone.
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true})
	if err := t.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := t.Handshake(); err != nil {
		return nil, errors.Join(fmt.Errorf("shake hands with %s: %w", addr, err), c.Close())
	}
	return t, t.SetDeadline(time.Time{})
}

// secured is the settings of a server whose clients use TLS, in the place of its plain listener. Both sides read the same
// file, with a key for ECDSA.
func (f *fleet) secured(text string) (string, error) {
	store := filepath.Join(f.dir, "tls.pem")
	if _, err := os.Stat(store); err != nil {
		if err := writeCertificate(store); err != nil {
			return "", err
		}
	}
	return strings.NewReplacer("PLAINTEXT://", "SSL://", "PLAINTEXT:PLAINTEXT", "SSL:SSL").Replace(text) + fmt.Sprintf(
		"inter.broker.listener.name=SSL\nssl.keystore.type=PEM\nssl.keystore.location=%s\nssl.truststore.type=PEM\nssl.truststore.location=%s\n", store, store), nil
}

// writeCertificate makes a certificate that signed itself.
func writeCertificate(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return os.WriteFile(path, append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), 0o600)
}

// tlsRows compare what the rows without TLS do over TLS 1.3.
func tlsRows() []*row {
	load, goals := produce(bulk(1)), goal{ratioMost, 0.6}
	return []*row{
		{
			name: "tls/produce", arms: twoArms(), secure: true, measure: load, warm: warmBy(load),
			lines: []line{
				{what: "TLS 1.3, 1 KB records in 100 KB batches: server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1, goal: goals},
				{what: "TLS 1.3, 1 KB records in 100 KB batches: rate", metric: "mb_per_s", unit: "MB/s", ours: 0, theirs: 1},
			},
		},
		{
			name: "tls/fetch", arms: twoArms(), secure: true, measure: fetchLarge, warm: warmBy(fetchLarge),
			lines: []line{
				{what: "TLS 1.3, fetch, 1 MB answers, from the page cache: server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1, goal: goals},
				{what: "TLS 1.3, fetch, 1 MB answers, from the page cache: rate", metric: "mb_per_s", unit: "MB/s", ours: 0, theirs: 1},
			},
		},
	}
}
