package certs

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// splitPEM divides text into its blocks. What stands between them is left out, as Java does.
func splitPEM(text []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return blocks, nil
		}
		if blocks = append(blocks, b); len(blocks) > maxEntries {
			return nil, fmt.Errorf("it has more than %d entries", maxEntries)
		}
	}
}

// parsePEMKey finds the private key among the blocks.
func parsePEMKey(blocks []*pem.Block, p password) (crypto.Signer, error) {
	var key crypto.Signer
	for _, b := range blocks {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if key != nil {
			return nil, errors.New("it has two private keys: leave the one that belongs to the first certificate")
		}
		var err error
		if key, err = parseKeyBlock(b, p); err != nil {
			return nil, err
		}
	}
	if key == nil {
		return nil, errors.New("it has no private key (a block that begins with -----BEGIN PRIVATE KEY-----)")
	}
	return key, nil
}

func parseKeyBlock(b *pem.Block, p password) (crypto.Signer, error) {
	switch b.Type {
	case "PRIVATE KEY":
		return parseKey(b.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		if !p.given {
			return nil, errors.New("its private key is encrypted: set ssl.key.password")
		}
		return parseEncryptedKey(b.Bytes, p)
	case "RSA PRIVATE KEY":
		if b.Headers["DEK-Info"] != "" {
			return nil, errors.New("its private key is encrypted in an old way: convert it with `openssl pkcs8 -topk8`")
		}
		key, err := x509.ParsePKCS1PrivateKey(b.Bytes)
		if err != nil {
			return nil, errors.New("its private key cannot be read: it is not an RSA key in PKCS#1")
		}
		return key, nil
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(b.Bytes)
		if err != nil {
			return nil, errors.New("its private key cannot be read: it is not an EC key that is plain and of a known curve")
		}
		return key, nil
	}
	return nil, fmt.Errorf("its private key is a block of type %q, which is not known: convert it with `openssl pkcs8 -topk8`", b.Type)
}

// parseEncryptedKey reads EncryptedPrivateKeyInfo of PKCS#8.
func parseEncryptedKey(der []byte, p password) (crypto.Signer, error) {
	var e encryptedKey
	if err := whole(der, &e); err != nil {
		return nil, errors.New("an encrypted private key cannot be read: it is not PKCS#8")
	}
	plain, err := decrypt(e.Algorithm, e.Data, p)
	if err != nil {
		return nil, fmt.Errorf("a private key cannot be decrypted: %w", err)
	}
	key, err := parseKey(plain)
	if err != nil {
		return nil, fmt.Errorf("%w, once it is decrypted: %w", err, errWrongPassword)
	}
	return key, nil
}

// parsePEMCertificates reads all certificates among the blocks.
func parsePEMCertificates(blocks []*pem.Block) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" && b.Type != "X509 CERTIFICATE" && b.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its certificate %d cannot be read: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("it has no certificate (a block that begins with -----BEGIN CERTIFICATE-----)")
	}
	return out, nil
}

// parsePEMStore reads a key with its chain.
func parsePEMStore(key, chain []byte, p password) (*entries, error) {
	keyBlocks, err := splitPEM(key)
	if err != nil {
		return nil, err
	}
	chainBlocks, err := splitPEM(chain)
	if err != nil {
		return nil, err
	}
	e := entry{alias: "kafka"}
	if e.key, err = parsePEMKey(keyBlocks, p); err != nil {
		return nil, err
	}
	if e.chain, err = parsePEMCertificates(chainBlocks); err != nil {
		return nil, err
	}
	return &entries{keys: []entry{e}}, e.check()
}
