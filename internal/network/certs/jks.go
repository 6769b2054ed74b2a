package certs

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format's
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	jksMagic   = 0xFEEDFEED
	jceksMagic = 0xCECECECE
	// jksPepper is hashed into the check of a whole store.
	jksPepper = "Mighty Aphrodite"
	// oidJKSProtection is the algorithm of private keys in JKS.
	oidJKSProtection = "1.3.6.1.4.1.42.2.17.1.1"

	jksKeyEntry  = 1
	jksCertEntry = 2
)

var errJKSShort = errors.New("it ends too early: the file is damaged")

// jksReader walks over a store. After an error all that it gives is empty.
type jksReader struct {
	rest []byte
	err  error
}

func (r *jksReader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.rest)) {
		r.err = errJKSShort
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *jksReader) int32() int {
	if b := r.take(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

func (r *jksReader) text() string {
	if b := r.take(2); b != nil {
		return string(r.take(int(binary.BigEndian.Uint16(b))))
	}
	return ""
}

// parseJKS reads a store in Java's own old format. Without a password its integrity is not checked, as in Java.
func parseJKS(data []byte, store, key password) (*entries, error) {
	if len(data) < sha1.Size {
		return nil, errJKSShort
	}
	body := data[:len(data)-sha1.Size]
	if store.given {
		h := sha1.New() //nolint:gosec // the format's
		h.Write(utf16BE(store.text))
		h.Write([]byte(jksPepper))
		h.Write(body)
		if subtle.ConstantTimeCompare(h.Sum(nil), data[len(body):]) != 1 {
			return nil, errWrongPassword
		}
	}
	r := &jksReader{rest: body}
	r.take(4)
	version, count := r.int32(), r.int32()
	if r.err == nil && version != 1 && version != 2 {
		return nil, fmt.Errorf("it is JKS of version %d: versions 1 and 2 are known", version)
	}
	if count < 0 || count > maxEntries {
		return nil, fmt.Errorf("it claims to have %d entries: at most %d are read", count, maxEntries)
	}
	out := &entries{}
	for range count {
		if err := r.entry(out, version, key); err != nil {
			return nil, err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return out, nil
}

// entry reads one entry into out.
func (r *jksReader) entry(out *entries, version int, p password) error {
	tag, alias := r.int32(), r.text()
	r.take(8) // when it was made
	switch {
	case r.err != nil:
		return r.err
	case tag == jksCertEntry:
		c, err := r.certificate(version)
		if err != nil {
			return err
		}
		out.trusted = append(out.trusted, c)
		return nil
	case tag != jksKeyEntry:
		return fmt.Errorf("its entry %q has the unknown kind %d", alias, tag)
	}
	e := entry{alias: alias}
	protected := r.take(r.int32())
	n := r.int32()
	if n > maxChain {
		return fmt.Errorf("its entry %q has %d certificates: at most %d are taken", alias, n, maxChain)
	}
	for range n {
		c, err := r.certificate(version)
		if err != nil {
			return err
		}
		e.chain = append(e.chain, c)
	}
	if r.err != nil {
		return r.err
	}
	plain, err := unprotect(protected, p)
	if err != nil {
		return fmt.Errorf("the private key of its entry %q cannot be decrypted: %w", alias, err)
	}
	if e.key, err = parseKey(plain); err != nil {
		return fmt.Errorf("its entry %q: %w", alias, err)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("its entry %q: %w", alias, err)
	}
	out.keys = append(out.keys, e)
	return nil
}

func (r *jksReader) certificate(version int) (*x509.Certificate, error) {
	if version == 2 {
		if kind := r.text(); r.err == nil && kind != "X.509" {
			return nil, fmt.Errorf("it has a certificate of the unknown type %q", kind)
		}
	}
	der := r.take(r.int32())
	if r.err != nil {
		return nil, r.err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("a certificate in it cannot be read: %w", err)
	}
	return c, nil
}

// unprotect undoes the protection of a private key: a stream of hashes over the password and what came before.
func unprotect(der []byte, p password) ([]byte, error) {
	var e encryptedKey
	if err := whole(der, &e); err != nil {
		return nil, errors.New("it is not in the form of JKS")
	}
	if oid := e.Algorithm.Algorithm.String(); oid != oidJKSProtection {
		return nil, fmt.Errorf("it is encrypted with the algorithm %s, which JKS does not have", oid)
	}
	if len(e.Data) < 2*sha1.Size {
		return nil, errJKSShort
	}
	pass := utf16BE(p.text)
	digest := e.Data[:sha1.Size]
	hidden := e.Data[sha1.Size : len(e.Data)-sha1.Size]
	plain := make([]byte, 0, len(hidden))
	for len(plain) < len(hidden) {
		sum := sha1.Sum(append(bytes.Clone(pass), digest...)) //nolint:gosec // the format's
		for i := 0; i < len(sum) && len(plain) < len(hidden); i++ {
			plain = append(plain, hidden[len(plain)]^sum[i])
		}
		digest = sum[:]
	}
	check := sha1.Sum(append(bytes.Clone(pass), plain...)) //nolint:gosec // the format's
	if subtle.ConstantTimeCompare(check[:], e.Data[len(e.Data)-sha1.Size:]) != 1 {
		return nil, errWrongPassword
	}
	return plain, nil
}
