package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// LoadClient makes a client's configuration of the same settings: the key store is what it shows if it is asked, the
// trust store (the system's authorities, if none is set) decides which servers it talks to.
func LoadClient(o Options) (*tls.Config, error) {
	keystore, err := o.readKeystore()
	if err != nil {
		return nil, err
	}
	truststore, err := o.readTruststore()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{DynamicRecordSizingDisabled: true}
	if err := o.applyProtocols(c); err != nil {
		return nil, err
	}
	if keystore != nil {
		own, err := keystore.parse()
		if err != nil {
			return nil, err
		}
		for i := range own.keys {
			c.Certificates = append(c.Certificates, own.keys[i].certificate())
		}
	}
	if truststore != nil {
		trusted, err := truststore.parse()
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool(trusted.authorities())
	}
	switch check := o.text("ssl.endpoint.identification.algorithm"); {
	case check == "":
		c.InsecureSkipVerify = true // the chain is verified below, the name is not, as was asked for
		c.VerifyConnection = verifyChain(c.RootCAs)
	case !strings.EqualFold(check, "https"):
		return nil, fmt.Errorf("ssl.endpoint.identification.algorithm is %s: it must be https, or empty for no check of names", check)
	}
	return c, nil
}

// verifyChain checks a server's certificate, but not its name.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the server showed no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
}
