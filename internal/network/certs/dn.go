package certs

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
)

// attributeNames are the attributes that RFC 2253 has a name for, as Java writes them.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// attribute is one type and value of a distinguished name, undecoded.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// RenderName writes a distinguished name, given as DER, as Java's
// X500Principal.getName() does: RFC 2253, the last part first, values of
// attributes that have no name there in hexadecimal.
func RenderName(der []byte) (string, error) {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 || outer.Tag != asn1.TagSequence || outer.Class != asn1.ClassUniversal {
		return "", fmt.Errorf("a distinguished name cannot be read: it is not a sequence of DER (%d bytes)", len(der))
	}
	var parts []string
	for rest := outer.Bytes; len(rest) > 0; {
		var set asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &set); err != nil || set.Tag != asn1.TagSet || set.Class != asn1.ClassUniversal {
			return "", fmt.Errorf("a distinguished name cannot be read: its part %d is not a set of DER", len(parts)+1)
		}
		text, err := renderSet(set.Bytes)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String(), nil
}

// renderSet writes a part that may have several attributes.
func renderSet(der []byte) (string, error) {
	var b strings.Builder
	for len(der) > 0 {
		var a attribute
		rest, err := asn1.Unmarshal(der, &a)
		if err != nil {
			return "", fmt.Errorf("a distinguished name cannot be read: %w", err)
		}
		der = rest
		if b.Len() > 0 {
			b.WriteByte('+')
		}
		if err := renderAttribute(&b, &a); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func renderAttribute(b *strings.Builder, a *attribute) error {
	name, named := attributeNames[a.Type.String()]
	text, readable := decodeString(a.Value)
	if !named || !readable {
		if !named {
			name = a.Type.String()
		}
		b.WriteString(name + "=#" + hex.EncodeToString(a.Value.FullBytes))
		return nil
	}
	b.WriteString(name + "=")
	escapeValue(b, text)
	return nil
}

// escapeValue writes a value with RFC 2253's escapes: special characters, NUL, and spaces at either end.
func escapeValue(b *strings.Builder, text string) {
	lead := len(text) - len(strings.TrimLeft(text, " \r"))
	tail := len(strings.TrimRight(text, " \r"))
	for i, r := range text {
		switch {
		case i < lead || i >= tail:
			b.WriteByte('\\')
			b.WriteRune(r)
		case strings.ContainsRune(",+<>#;\"\\=", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == 0:
			b.WriteString(`\00`)
		default:
			b.WriteRune(r)
		}
	}
}

// tagT61String is a kind of string that package asn1 has no constant for.
const tagT61String = 20

// decodeString decodes the kinds of string that Java shows as text. As Java does, it takes all of them for UTF-8, which
// is not what BMPString and T61String are.
func decodeString(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case asn1.TagPrintableString, asn1.TagIA5String, asn1.TagGeneralString, asn1.TagUTF8String, asn1.TagBMPString, tagT61String:
		return string([]rune(string(v.Bytes))), true
	}
	return "", false
}

// nameOf is RenderName of a subject that x509 has parsed already.
func nameOf(raw []byte, fallback pkix.Name) string {
	if text, err := RenderName(raw); err == nil {
		return text
	}
	return fallback.String()
}
