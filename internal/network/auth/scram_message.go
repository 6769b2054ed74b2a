package auth

import (
	"encoding/base64"
	"errors"
	"strings"
)

// clientFirst is a client's first message (RFC 5802, 7) as far as Kafka understands it.
type clientFirst struct {
	gs2           string // "n,," or "n,a=NAME,"
	bare          string // what follows it
	authorization string
	name          string
	nonce         string
	tokenAuth     bool
}

var errClientFirst = errors.New("Invalid SCRAM client first message format")
var errClientFinal = errors.New("Invalid SCRAM client final message format")

// parseClientFirst reads n,[a=NAME],n=NAME,r=NONCE[,KEY=VALUE…]. As in Kafka channel binding is not offered, so that the flags
// y and p are refused, names are ASCII, and extensions are passed over but for tokenauth (KIP-48).
//
// Differs from Kafka: a mandatory extension of SCRAM (m=) is refused as RFC 5802 demands; Kafka drops it from what the proof
// covers.
func parseClientFirst(text string) (clientFirst, error) {
	var f clientFirst
	rest, ok := strings.CutPrefix(text, "n,")
	if !ok {
		return f, errClientFirst
	}
	authorization, rest, ok := strings.Cut(rest, ",")
	if !ok {
		return f, errClientFirst
	}
	if authorization != "" {
		name, found := strings.CutPrefix(authorization, "a=")
		if f.authorization, ok = saslName(name); !ok || !found {
			return f, errClientFirst
		}
	}
	f.gs2, f.bare = text[:len(text)-len(rest)], rest
	name, rest, ok := strings.Cut(rest, ",")
	if !ok || !strings.HasPrefix(name, "n=") {
		return f, errClientFirst
	}
	if f.name, ok = saslName(name[2:]); !ok {
		return f, errClientFirst
	}
	nonce, extensions, more := strings.Cut(rest, ",")
	if !strings.HasPrefix(nonce, "r=") || !printable(nonce[2:]) {
		return f, errClientFirst
	}
	f.nonce = nonce[2:]
	if more && !eachExtension(extensions, func(key, value string) {
		if key == "tokenauth" {
			f.tokenAuth = strings.EqualFold(value, "true")
		}
	}) {
		return f, errClientFirst
	}
	return f, nil
}

// clientFinal is a client's final message.
type clientFinal struct {
	bare    string // all but the proof
	binding string // decoded
	nonce   string
	proof   []byte
}

// parseClientFinal reads c=BASE64,r=NONCE[,KEY=VALUE…],p=BASE64.
func parseClientFinal(text string) (clientFinal, error) {
	var f clientFinal
	i := strings.LastIndex(text, ",p=")
	if i < 0 {
		return f, errClientFinal
	}
	f.bare = text[:i]
	var err error
	if f.proof, err = base64.StdEncoding.DecodeString(text[i+3:]); err != nil || strings.ContainsAny(text[i+3:], "\r\n") {
		return f, errClientFinal
	}
	binding, rest, ok := strings.Cut(f.bare, ",")
	if !ok || !strings.HasPrefix(binding, "c=") || strings.ContainsAny(binding, "\r\n") {
		return f, errClientFinal
	}
	decoded, err := base64.StdEncoding.DecodeString(binding[2:])
	if err != nil {
		return f, errClientFinal
	}
	f.binding = string(decoded)
	nonce, extensions, more := strings.Cut(rest, ",")
	if !strings.HasPrefix(nonce, "r=") || !printable(nonce[2:]) {
		return f, errClientFinal
	}
	f.nonce = nonce[2:]
	if more && !eachExtension(extensions, func(string, string) {}) {
		return f, errClientFinal
	}
	return f, nil
}

// eachExtension calls f for KEY=VALUE,… and reports whether all of it is well formed.
func eachExtension(text string, f func(key, value string)) bool {
	for e := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(e, "=")
		if !ok || !letters(key) || !ascii(value) {
			return false
		}
		f(key, value)
	}
	return true
}

// saslName decodes =2C and =3D.
func saslName(text string) (string, bool) {
	if !ascii(text) {
		return "", false
	}
	if !strings.Contains(text, "=") {
		return text, true
	}
	var out strings.Builder
	for text != "" {
		before, rest, found := strings.Cut(text, "=")
		out.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(rest, "2C"):
			out.WriteByte(',')
		case strings.HasPrefix(rest, "3D"):
			out.WriteByte('=')
		default:
			return "", false
		}
		text = rest[2:]
	}
	return out.String(), true
}

// ascii says that text is not empty and of bytes 1 to 127.
func ascii(text string) bool {
	for i := range len(text) {
		if text[i] == 0 || text[i] > 0x7f {
			return false
		}
	}
	return text != ""
}

// printable says that text is not empty and of visible ASCII.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7e {
			return false
		}
	}
	return text != ""
}

// letters says that text is not empty and of ASCII letters.
func letters(text string) bool {
	for i := range len(text) {
		if c := text[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return text != ""
}
