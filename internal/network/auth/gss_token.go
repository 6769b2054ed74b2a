package auth

import (
	"bytes"
	"crypto/hmac"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/types"
)

// The GSS-API tokens of Kerberos (RFC 4121). A context token is 0x60 LENGTH OID KIND MESSAGE; a wrap token is
//
//	05 04 | flags | FF | EC (2) | RRC (2) | sequence (8) | payload, checksum: rotated right by RRC bytes
const (
	wrapHeader   = 16
	fromAcceptor = 0x01
	sealed       = 0x02
	ownSubkey    = 0x04

	acceptorSeal  = 22 // key usages, RFC 4121, 2
	initiatorSeal = 24
)

var (
	kerberosOID = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}
	apReqKind   = []byte{1, 0}
	apRepKind   = []byte{2, 0}
)

// openContextToken gives the message in a context token of a kind.
func openContextToken(token, kind []byte) ([]byte, error) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(token, &outer)
	if err != nil || len(rest) > 0 || outer.Class != asn1.ClassApplication || outer.Tag != 0 || !outer.IsCompound {
		return nil, errors.New("defective GSS token")
	}
	message, ok := bytes.CutPrefix(outer.Bytes, kerberosOID)
	if !ok {
		return nil, errors.New("the GSS token is of another mechanism than Kerberos")
	}
	if message, ok = bytes.CutPrefix(message, kind); !ok {
		return nil, errors.New("the GSS token holds another message than is awaited")
	}
	return message, nil
}

func contextToken(kind, message []byte) []byte {
	body := append(append(append([]byte{}, kerberosOID...), kind...), message...)
	return applicationTag(0, body)
}

// applicationTag puts DER's [APPLICATION n] around body.
func applicationTag(n int, body []byte) []byte {
	out, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: n, IsCompound: true, Bytes: body})
	if err != nil {
		return nil // A raw value always marshals.
	}
	return out
}

// wrap signs a payload as the acceptor; there is no confidentiality.
func wrap(key types.EncryptionKey, sequence uint64, payload []byte) ([]byte, error) {
	return wrapToken(key, acceptorSeal, fromAcceptor, sequence, payload)
}

func wrapToken(key types.EncryptionKey, usage uint32, flags byte, sequence uint64, payload []byte) ([]byte, error) {
	header := [wrapHeader]byte{0x05, 0x04, flags, 0xff}
	binary.BigEndian.PutUint64(header[8:], sequence)
	sum, err := wrapChecksum(key, usage, header, payload)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(header[4:], uint16(len(sum)))
	return append(append(append([]byte{}, header[:]...), payload...), sum...), nil
}

// wrapChecksum covers the payload and the header with EC and RRC zero.
func wrapChecksum(key types.EncryptionKey, usage uint32, header [wrapHeader]byte, payload []byte) ([]byte, error) {
	clear(header[4:8])
	kind, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	return kind.GetChecksumHash(key.KeyValue, append(append([]byte{}, payload...), header[:]...), usage)
}

// unwrap checks a token of the initiator and gives its payload.
func unwrap(key types.EncryptionKey, token []byte) ([]byte, error) {
	if len(token) < wrapHeader || token[0] != 0x05 || token[1] != 0x04 || token[3] != 0xff {
		return nil, errors.New("defective wrap token")
	}
	header := [wrapHeader]byte(token)
	if flags := header[2]; flags&(fromAcceptor|sealed|ownSubkey) != 0 {
		return nil, fmt.Errorf("wrap token with flags %#x: it must come from the initiator, signed and not sealed", flags)
	}
	body := append([]byte{}, token[wrapHeader:]...)
	size, rotation := int(binary.BigEndian.Uint16(header[4:])), int(binary.BigEndian.Uint16(header[6:]))
	if size == 0 || size > len(body) {
		return nil, errors.New("defective wrap token: its checksum has another length than it says")
	}
	rotation %= len(body)
	body = append(body[rotation:], body[:rotation]...)
	payload, sum := body[:len(body)-size], body[len(body)-size:]
	want, err := wrapChecksum(key, initiatorSeal, header, payload)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, want) {
		return nil, errors.New("the wrap token's checksum does not match")
	}
	return payload, nil
}
