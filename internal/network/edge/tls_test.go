package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"
)

// selfSigned is a certificate for localhost.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestOverTLS: a listener with TLS serves the same, with interrupted reads, file
// regions and answers from other goroutines.
func TestOverTLS(t *testing.T) {
	f, data := newShared(t, 4<<20)
	park := new(parking)
	b := start(t, park.Serve)
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, socket)
	for i := range int32(20) {
		ask, body := region{int(i) * 1000, 3 << 20}, strings.Repeat("large", 50_000)
		p.send(frame(fetch, fetchVersion, 3*i, regions(ask)), frame(produce, produceVersion, 3*i+1, body),
			frame(metadata, metadataVersion, 3*i+2, "small"))
		until(t, "the Fetch is served", func() bool { return park.count() == 1 })
		serveFile(f)(park.take(oldest))
		p.expect(3*i, wanted(data, ask))
		until(t, "the Produce is served", func() bool { return park.count() == 1 })
		echo(park.take(oldest))
		p.expect(3*i+1, body)
		until(t, "the Metadata is served", func() bool { return park.count() == 1 })
		echo(park.take(oldest))
		p.expect(3*i+2, "small")
	}
	p.Close()
	until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
}
