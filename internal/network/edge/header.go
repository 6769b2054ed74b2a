package edge

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// header is the request header (versions 1 and 2), as a view of the frame.
type header struct {
	key, version int16
	correlation  int32
	clientID     []byte // null and empty are the same to us
	size         int    // bytes of the header; the body follows
}

const (
	// headerPeekBytes is how much of a header names the API and its version.
	headerPeekBytes = 4
	// minHeaderBytes: key, version, correlation id, client id length.
	minHeaderBytes = 10
	// maxHeaderTags bounds the tagged fields of a header (Kafka defines none).
	maxHeaderTags = 1024
)

// peekHeader checks the API key and version in the first headerPeekBytes bytes:
// Kafka closes a connection that sends what it does not know, with the one
// exception of ApiVersions, whose answer tells the client what is known (KIP-511).
func peekHeader(b []byte) (key, version int16, why Reason) {
	key, version = int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:]))
	api, ok := wire.Lookup(key)
	switch {
	case !ok:
		return key, version, UnknownAPI
	case key == wire.KeyApiVersions && version >= 0:
	case version < api.Min || version > api.Max:
		return key, version, UnsupportedVersion
	}
	return key, version, none
}

// parseHeader reads the header of a whole frame.
func parseHeader(b []byte) (h header, why Reason) {
	if len(b) < headerPeekBytes {
		return h, BadHeader
	}
	if h.key, h.version, why = peekHeader(b); why != none {
		return h, why
	}
	if len(b) < minHeaderBytes {
		return h, BadHeader
	}
	h.correlation = int32(binary.BigEndian.Uint32(b[4:]))
	n := int(int16(binary.BigEndian.Uint16(b[8:])))
	h.size = minHeaderBytes
	if n < -1 || n > len(b)-minHeaderBytes {
		return h, BadHeader
	}
	if n > 0 {
		h.clientID = b[minHeaderBytes : minHeaderBytes+n]
		h.size += n
	}
	api, _ := wire.Lookup(h.key)
	if api.Flexible(h.version) {
		tags, ok := skipTags(b[h.size:])
		if !ok {
			return h, BadHeader
		}
		h.size += tags
	}
	return h, none
}

// skipTags returns the length of the tag section that b begins with.
func skipTags(b []byte) (size int, ok bool) {
	count, at := binary.Uvarint(b)
	if at <= 0 || count > maxHeaderTags {
		return 0, false
	}
	for range count {
		_, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return 0, false
		}
		at += n
		size, n := binary.Uvarint(b[at:])
		if n <= 0 || size > uint64(len(b)-at-n) {
			return 0, false
		}
		at += n + int(size)
	}
	return at, true
}

// Reason says why a connection or a frame was refused. It is counted in [Stats].
type Reason uint8

// Reasons.
const (
	none               Reason = iota
	TLSClient                 // a TLS handshake on a plaintext listener
	HTTPClient                // an HTTP request on a Kafka listener
	SSHClient                 // an SSH greeting on a Kafka listener
	FrameTooLarge             // above socket.request.max.bytes
	FrameNegative             // a negative length
	BadHeader                 // a frame too short for its own header
	UnknownAPI                // an API key that Kafka does not have
	UnsupportedVersion        // a version outside the API's range
	TooManyConnections        // max.connections
	TooManyFromAddress        // max.connections.per.ip
	IdleTooLong               // connections.max.idle.ms
	ReadTooSlow               // an unfinished frame gave way when memory ran out
	WriteTooSlow              // the peer does not take its replies
	FileShort                 // a file part had fewer bytes than the reply promised
	ReplyTooLarge             // a reply above 2 GiB
	PlaintextClient           // plaintext on a listener with TLS
	HandshakeTooSlow          // a TLS handshake took too long, or gave way to others
	NoCommonTLS               // no TLS version or cipher suite in common
	CertificateRefused        // a client's certificate is missing or not accepted
	RejectedByPeer            // the client did not accept our certificate, or broke off
	PeerUnknown               // no principal for the client's certificate
	HandshakeFailed           // anything else in a TLS handshake
	NotAuthenticated          // a peer that did not authenticate in time, or gave way to others
	TooFastFromAddress        // connection_creation_rate of its address
	reasonCount
)

var reasonNames = [reasonCount]string{
	"none", "tls-client", "http-client", "ssh-client", "frame-too-large", "frame-negative", "bad-header", "unknown-api",
	"unsupported-version", "too-many-connections", "too-many-connections-from-address", "idle", "read-too-slow",
	"write-too-slow", "file-short", "reply-too-large", "plaintext-client", "handshake-too-slow", "no-common-tls",
	"certificate-refused", "rejected-by-peer", "peer-unknown", "handshake-failed", "not-authenticated", "too-fast-from-address",
}

// String is the reason as metrics and logs name it.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// refusal is the error a connection ends with when the edge refuses its bytes.
type refusal struct {
	reason Reason
	detail string
}

func (r *refusal) Error() string { return r.detail }

func refuse(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}
