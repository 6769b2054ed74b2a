package certs

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what old stores are checked with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"unicode/utf16"
)

// Object identifiers of PKCS#12 (RFC 7292).
const (
	oidData          = "1.2.840.113549.1.7.1"
	oidEncryptedData = "1.2.840.113549.1.7.6"
	oidKeyBag        = "1.2.840.113549.1.12.10.1.1"
	oidShroudedBag   = "1.2.840.113549.1.12.10.1.2"
	oidCertBag       = "1.2.840.113549.1.12.10.1.3"
	oidX509          = "1.2.840.113549.1.9.22.1"
	oidFriendlyName  = "1.2.840.113549.1.9.20"
	oidLocalKeyID    = "1.2.840.113549.1.9.21"
	oidJavaTrusted   = "2.16.840.1.113894.746875.1.1"
)

var macHashes = map[string]func() hash.Hash{
	"1.3.14.3.2.26": sha1.New, "2.16.840.1.101.3.4.2.1": sha256.New, "2.16.840.1.101.3.4.2.4": sha256.New224,
	"2.16.840.1.101.3.4.2.2": sha512.New384, "2.16.840.1.101.3.4.2.3": sha512.New,
}

type pfx struct {
	Version int
	Content contentInfo
	MAC     macData `asn1:"optional"`
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type macData struct {
	Digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Salt       []byte
	Iterations int `asn1:"optional,default:1"`
}

type encryptedData struct {
	Version int
	Content struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte `asn1:"tag:0,optional"`
	}
}

type safeBag struct {
	ID         asn1.ObjectIdentifier
	Value      asn1.RawValue  `asn1:"tag:0,explicit"`
	Attributes []bagAttribute `asn1:"set,optional"`
}

type bagAttribute struct {
	ID     asn1.ObjectIdentifier
	Values asn1.RawValue `asn1:"set"`
}

type certBag struct {
	ID   asn1.ObjectIdentifier
	Data []byte `asn1:"tag:0,explicit"`
}

// bagged is a key or a certificate with what is said of it.
type bagged struct {
	key     entry
	cert    *x509.Certificate
	name    string
	localID []byte
	trusted bool
}

// parsePKCS12 reads a store as Java and OpenSSL write it. Without a password the parts that are not encrypted are read.
func parsePKCS12(data []byte, store, key password) (*entries, error) {
	var p pfx
	if err := whole(data, &p); err != nil {
		return nil, fmt.Errorf("it is not PKCS#12 in DER (%w): rewrite it with `keytool -importkeystore -deststoretype PKCS12`, or as PEM", err)
	}
	if p.Version != 3 || p.Content.Type.String() != oidData {
		return nil, fmt.Errorf("it is PKCS#12 of version %d, protected by %s: version 3, protected by a password, is known", p.Version, p.Content.Type)
	}
	var content []byte
	if err := whole(p.Content.Content.Bytes, &content); err != nil {
		return nil, fmt.Errorf("its content cannot be read: %w", err)
	}
	if store.given {
		if err := p.MAC.check(content, store); err != nil {
			return nil, err
		}
	}
	var safes []contentInfo
	if err := whole(content, &safes); err != nil {
		return nil, fmt.Errorf("its list of parts cannot be read: %w", err)
	}
	var all []bagged
	for _, s := range safes {
		var err error
		if all, err = openSafe(all, s, store, key); err != nil {
			return nil, err
		}
	}
	return assemble(all)
}

// check verifies the MAC over the store.
func (m *macData) check(content []byte, p password) error {
	if len(m.Digest.Algorithm.Algorithm) == 0 {
		return nil // made without
	}
	newHash := macHashes[m.Digest.Algorithm.Algorithm.String()]
	if newHash == nil {
		return fmt.Errorf("its integrity is protected with the algorithm %s, which is not known: rewrite it with `keytool -importkeystore -deststoretype PKCS12`",
			m.Digest.Algorithm.Algorithm)
	}
	if err := checkIterations(m.Iterations); err != nil {
		return err
	}
	h := hmac.New(newHash, deriveOld(newHash, 3, p.bmp(), m.Salt, m.Iterations, newHash().Size()))
	h.Write(content)
	if subtle.ConstantTimeCompare(h.Sum(nil), m.Digest.Digest) != 1 {
		return errWrongPassword
	}
	return nil
}

// openSafe adds the bags of one part.
func openSafe(all []bagged, s contentInfo, store, key password) ([]bagged, error) {
	var data []byte
	switch s.Type.String() {
	case oidData:
		if err := whole(s.Content.Bytes, &data); err != nil {
			return nil, fmt.Errorf("a part of it cannot be read: %w", err)
		}
	case oidEncryptedData:
		var e encryptedData
		if err := whole(s.Content.Bytes, &e); err != nil {
			return nil, fmt.Errorf("an encrypted part of it cannot be read: %w", err)
		}
		if !store.given {
			return nil, errors.New("a part of it is encrypted: set the password of the store")
		}
		var err error
		if data, err = decrypt(e.Content.Algorithm, e.Content.Data, store); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("a part of it is protected by %s: passwords are known", s.Type)
	}
	var bags []safeBag
	if err := whole(data, &bags); err != nil {
		return nil, fmt.Errorf("a part of it cannot be read: %w", errWrongPassword)
	}
	for i := range bags {
		if len(all) >= maxEntries {
			return nil, fmt.Errorf("it has more than %d entries", maxEntries)
		}
		b, err := bags[i].open(key)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// open reads a bag; those of other kinds than keys and certificates come back empty.
func (s *safeBag) open(key password) (bagged, error) {
	b := s.described()
	var err error
	switch s.ID.String() {
	case oidKeyBag:
		b.key.key, err = parseKey(s.Value.Bytes)
	case oidShroudedBag:
		if !key.given {
			return bagged{}, errors.New("it has a private key: set the password of the store")
		}
		b.key.key, err = parseEncryptedKey(s.Value.Bytes, key)
	case oidCertBag:
		var c certBag
		if err := whole(s.Value.Bytes, &c); err != nil {
			return bagged{}, fmt.Errorf("a certificate in it cannot be read: %w", err)
		}
		if c.ID.String() != oidX509 {
			return b, nil
		}
		if b.cert, err = x509.ParseCertificate(c.Data); err != nil {
			return bagged{}, fmt.Errorf("a certificate in it cannot be read: %w", err)
		}
	}
	return b, err
}

// described reads a bag's attributes.
func (s *safeBag) described() bagged {
	var b bagged
	for _, a := range s.Attributes {
		var v asn1.RawValue
		if _, err := asn1.Unmarshal(a.Values.Bytes, &v); err != nil {
			continue
		}
		switch a.ID.String() {
		case oidFriendlyName:
			b.name = fromUTF16(v.Bytes)
		case oidLocalKeyID:
			b.localID = v.Bytes
		case oidJavaTrusted:
			b.trusted = true
		}
	}
	return b
}

func fromUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	return string(utf16.Decode(units))
}

// assemble finds the certificates of each key, and those that are trusted: as in Java those marked so. A store with
// nothing but certificates that nobody marked, which OpenSSL makes, is taken to be meant as one of trusted ones.
func assemble(all []bagged) (*entries, error) {
	out := &entries{}
	var loose []*x509.Certificate
	for _, b := range all {
		if b.cert != nil {
			loose = append(loose, b.cert)
			if b.trusted {
				out.trusted = append(out.trusted, b.cert)
			}
		}
	}
	for _, b := range all {
		if b.key.key == nil {
			continue
		}
		e := b.key
		e.alias = b.name
		if leaf := leafOf(b, all); leaf != nil {
			e.chain = chainOf(leaf, loose)
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("its entry %q: %w", e.alias, err)
		}
		out.keys = append(out.keys, e)
	}
	if len(out.keys) == 0 && len(out.trusted) == 0 {
		out.trusted = loose
	}
	return out, nil
}

// leafOf is the certificate of a key: the one with its id, or else the one with its public half.
func leafOf(key bagged, all []bagged) *x509.Certificate {
	for _, b := range all {
		if b.cert != nil && len(key.localID) > 0 && bytes.Equal(b.localID, key.localID) && belongs(key.key.key, b.cert) {
			return b.cert
		}
	}
	for _, b := range all {
		if b.cert != nil && belongs(key.key.key, b.cert) {
			return b.cert
		}
	}
	return nil
}
