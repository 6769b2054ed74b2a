package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

const (
	// maxEntries bounds the keys and certificates of one store.
	maxEntries = 4096
	// maxChain bounds the certificates that one key has.
	maxChain = 16
)

// entry is a private key with its certificates, the key's own first.
type entry struct {
	alias string
	key   crypto.Signer
	chain []*x509.Certificate
}

// entries are the content of a store.
type entries struct {
	keys    []entry
	trusted []*x509.Certificate
}

// authorities are the certificates that the store makes trusted: as in Java, also those of its own keys.
func (e *entries) authorities() []*x509.Certificate {
	all := e.trusted
	for _, k := range e.keys {
		all = append(all, k.chain[0])
	}
	return all
}

// parseKey reads a private key in PKCS#8.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("a private key cannot be read: %w", withoutContent(err))
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("a private key of type %T cannot be used for TLS: RSA, ECDSA and Ed25519 keys can", key)
}

// withoutContent is for errors of decoders that were given a secret: only their kind is told.
func withoutContent(err error) error {
	if bytes.Contains([]byte(err.Error()), []byte("ASN.1")) || bytes.Contains([]byte(err.Error()), []byte("asn1")) {
		return errors.New("it is not a key in PKCS#8")
	}
	return err
}

// belongs reports that the certificate has the key's public half.
func belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// check tells whether the key can be used with its chain.
func (e *entry) check() error {
	switch {
	case len(e.chain) == 0:
		return errors.New("there is no certificate for its private key")
	case len(e.chain) > maxChain:
		return fmt.Errorf("its chain has %d certificates: at most %d are taken", len(e.chain), maxChain)
	case !belongs(e.key, e.chain[0]):
		return fmt.Errorf("its private key does not belong to its first certificate (%s)", nameOf(e.chain[0].RawSubject, e.chain[0].Subject))
	}
	return nil
}

// chainOf finds the issuers of a certificate among others, up to the one that issued itself.
func chainOf(leaf *x509.Certificate, others []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for last := leaf; len(chain) < maxChain && !bytes.Equal(last.RawIssuer, last.RawSubject); {
		var issuer *x509.Certificate
		for _, c := range others {
			if bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil {
				issuer = c
				break
			}
		}
		if issuer == nil {
			break
		}
		chain, last = append(chain, issuer), issuer
	}
	return chain
}
