package certs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what old stores are encrypted with
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what old stores are encrypted with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"unicode/utf16"
)

// maxIterations bounds what a store may ask to derive a key from its password: Java's bound.
const maxIterations = 5_000_000

// errWrongPassword says that a password does not fit, without saying how that was found.
var errWrongPassword = errors.New("the password is wrong, or the file is damaged")

// Object identifiers of password based encryption (RFC 8018, RFC 7292).
const (
	oidPBES2          = "1.2.840.113549.1.5.13"
	oidPBKDF2         = "1.2.840.113549.1.5.12"
	oidDESEDE3CBC     = "1.2.840.113549.3.7"
	oidAES128CBC      = "2.16.840.1.101.3.4.1.2"
	oidAES192CBC      = "2.16.840.1.101.3.4.1.22"
	oidAES256CBC      = "2.16.840.1.101.3.4.1.42"
	oidSHA1And3DES    = "1.2.840.113549.1.12.1.3"
	oidSHA1And3DES2   = "1.2.840.113549.1.12.1.4"
	oidSHA1AndRC2     = "1.2.840.113549.1.12.1.5"
	oidSHA1AndRC2Weak = "1.2.840.113549.1.12.1.6"
)

// pseudoRandom are the functions of PBKDF2.
var pseudoRandom = map[string]func() hash.Hash{
	"1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.8": sha256.New224, "1.2.840.113549.2.9": sha256.New,
	"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
	"1.2.840.113549.2.12": sha512.New512_224, "1.2.840.113549.2.13": sha512.New512_256,
}

// password is a secret in the two forms that stores want it in.
type password struct {
	text  string
	given bool
}

// bmp is the password as PKCS#12 hashes it: UTF-16 with a NUL behind it.
func (p password) bmp() []byte {
	out := utf16BE(p.text)
	return append(out, 0, 0)
}

// utf16BE is text in UTF-16, the high byte first.
func utf16BE(text string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u>>8), byte(u))
	}
	return out
}

type pbes2Params struct {
	KeyDerivation pkix.AlgorithmIdentifier
	Encryption    pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type pbeParams struct {
	Salt       []byte
	Iterations int
}

// decrypt undoes password based encryption.
func decrypt(algorithm pkix.AlgorithmIdentifier, data []byte, p password) ([]byte, error) {
	var block cipher.Block
	var iv []byte
	var err error
	if oid := algorithm.Algorithm.String(); oid == oidPBES2 {
		block, iv, err = modernCipher(algorithm.Parameters.FullBytes, p)
	} else {
		block, iv, err = oldCipher(oid, algorithm.Parameters.FullBytes, p)
	}
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errors.New("an encrypted part has no whole number of blocks: the file is damaged")
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, data)
	pad := int(out[len(out)-1])
	if pad == 0 || pad > size || !bytes.Equal(out[len(out)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errWrongPassword
	}
	return out[:len(out)-pad], nil
}

// modernCipher is that of PBES2.
func modernCipher(der []byte, p password) (cipher.Block, []byte, error) {
	var params pbes2Params
	var derivation pbkdf2Params
	if err := whole(der, &params); err != nil {
		return nil, nil, fmt.Errorf("the parameters of its encryption cannot be read: %w", err)
	}
	if oid := params.KeyDerivation.Algorithm.String(); oid != oidPBKDF2 {
		return nil, nil, fmt.Errorf("it is encrypted with a key derived by the algorithm %s: only PBKDF2 is known", oid)
	}
	if err := whole(params.KeyDerivation.Parameters.FullBytes, &derivation); err != nil {
		return nil, nil, fmt.Errorf("the parameters of its key derivation cannot be read: %w", err)
	}
	if err := checkIterations(derivation.Iterations); err != nil {
		return nil, nil, err
	}
	prf := sha1.New
	if oid := derivation.PRF.Algorithm.String(); len(derivation.PRF.Algorithm) > 0 {
		if prf = pseudoRandom[oid]; prf == nil {
			return nil, nil, fmt.Errorf("it is encrypted with a key derived by the unknown function %s", oid)
		}
	}
	var iv []byte
	if err := whole(params.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, nil, fmt.Errorf("the start of its encryption cannot be read: %w", err)
	}
	size, oid := 0, params.Encryption.Algorithm.String()
	switch oid {
	case oidAES128CBC:
		size = 16
	case oidAES192CBC, oidDESEDE3CBC:
		size = 24
	case oidAES256CBC:
		size = 32
	default:
		return nil, nil, fmt.Errorf("it is encrypted with the algorithm %s: AES and triple DES in CBC mode are known", oid)
	}
	key, err := pbkdf2.Key(prf, p.text, derivation.Salt, derivation.Iterations, size)
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be derived from its password: %w", err)
	}
	var block cipher.Block
	if oid == oidDESEDE3CBC {
		block, err = des.NewTripleDESCipher(key) //nolint:gosec // what old stores are encrypted with
	} else {
		block, err = aes.NewCipher(key)
	}
	return block, iv, err
}

func checkIterations(n int) error {
	if n < 1 || n > maxIterations {
		return fmt.Errorf("it asks for %d rounds of key derivation: between 1 and %d are done", n, maxIterations)
	}
	return nil
}

// oldCipher is that of the schemes of PKCS#12.
func oldCipher(oid string, der []byte, p password) (cipher.Block, []byte, error) {
	size := map[string]int{oidSHA1And3DES: 24, oidSHA1And3DES2: 16, oidSHA1AndRC2: 16, oidSHA1AndRC2Weak: 5}[oid]
	if size == 0 {
		return nil, nil, fmt.Errorf("it is encrypted with the algorithm %s, which is not known: rewrite it with `keytool -importkeystore -deststoretype PKCS12`, or as PEM", oid)
	}
	var params pbeParams
	if err := whole(der, &params); err != nil {
		return nil, nil, fmt.Errorf("the parameters of its encryption cannot be read: %w", err)
	}
	if err := checkIterations(params.Iterations); err != nil {
		return nil, nil, err
	}
	key := deriveOld(sha1.New, 1, p.bmp(), params.Salt, params.Iterations, size)
	iv := deriveOld(sha1.New, 2, p.bmp(), params.Salt, params.Iterations, 8)
	var block cipher.Block
	var err error
	switch size {
	case 24:
		block, err = des.NewTripleDESCipher(key) //nolint:gosec // what old stores are encrypted with
	case 16:
		if oid == oidSHA1AndRC2 {
			block = newRC2(key, 8*size)
			break
		}
		block, err = des.NewTripleDESCipher(append(key, key[:8]...)) //nolint:gosec // what old stores are encrypted with
	default:
		block = newRC2(key, 8*size)
	}
	return block, iv, err
}

// deriveOld is the key derivation of PKCS#12 (RFC 7292, B.2); purpose is 1 for a key, 2 for the start, 3 for a MAC.
func deriveOld(newHash func() hash.Hash, purpose byte, pass, salt []byte, iterations, size int) []byte {
	h := newHash()
	v := h.BlockSize()
	fill := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		n := v * ((len(b) + v - 1) / v)
		return bytes.Repeat(b, n/len(b)+1)[:n]
	}
	mixed := append(fill(salt), fill(pass)...)
	var out []byte
	for len(out) < size {
		h.Reset()
		h.Write(bytes.Repeat([]byte{purpose}, v))
		h.Write(mixed)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		out = append(out, a...)
		addToEach(mixed, fill(a)[:v])
	}
	return out[:size]
}

// addToEach adds b and 1 to each block of the length of b, as numbers of that many bytes.
func addToEach(blocks, b []byte) {
	for at := 0; at < len(blocks); at += len(b) {
		carry := 1
		for i := len(b) - 1; i >= 0; i-- {
			sum := int(blocks[at+i]) + int(b[i]) + carry
			blocks[at+i], carry = byte(sum), sum>>8
		}
	}
}

// whole unmarshals DER that must end where the value ends.
func whole(der []byte, to any) error {
	rest, err := asn1.Unmarshal(der, to)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	return err
}
