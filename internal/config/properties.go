package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a properties file: a megabyte holds every key of Kafka a dozen times over.
const (
	maxPropertiesBytes = 1 << 20
	maxProperties      = 10_000
)

// ErrTooLarge means that a properties file is beyond what a settings file can sensibly be.
var ErrTooLarge = errors.New("settings file is too large")

// Property is one setting of a file.
type Property struct {
	Key   string
	Value string
	Line  int // the line its key begins on, from 1
}

// ParseProperties reads the format of java.util.Properties: one setting a
// line; key and value parted by '=', ':' or space; '#' and '!' begin a
// comment; a backslash at the end continues the line and otherwise escapes
// (\t \n \r \f \uXXXX, any other letter for itself). Bytes are UTF-8, and
// Latin-1 where they are not valid UTF-8. A key that comes twice is returned
// twice; in Java the last one counts.
func ParseProperties(data []byte) ([]Property, error) {
	if len(data) > maxPropertiesBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), maxPropertiesBytes)
	}
	var props []Property
	lines := propertyLines{rest: decodeText(data)}
	for {
		line, number, ok := lines.next()
		if !ok {
			return props, nil
		}
		if len(props) == maxProperties {
			return nil, fmt.Errorf("%w: more than %d settings", ErrTooLarge, maxProperties)
		}
		key, value := splitProperty(line)
		p := Property{Line: number}
		var err error
		if p.Key, err = unescape(key); err == nil {
			p.Value, err = unescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		props = append(props, p)
	}
}

// decodeText is the bytes as UTF-8 text.
func decodeText(data []byte) string {
	text := strings.TrimPrefix(string(data), "\ufeff")
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, c := range data {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// propertyLines gives logical lines: comments and blank lines left out, continued lines joined.
type propertyLines struct {
	rest   string
	number int
}

// natural takes the next line as it stands in the text.
func (l *propertyLines) natural() (string, bool) {
	if l.rest == "" {
		return "", false
	}
	l.number++
	i := strings.IndexAny(l.rest, "\r\n")
	if i < 0 {
		line := l.rest
		l.rest = ""
		return line, true
	}
	line := l.rest[:i]
	if strings.HasPrefix(l.rest[i:], "\r\n") {
		i++
	}
	l.rest = l.rest[i+1:]
	return line, true
}

const propertySpace = " \t\f"

func (l *propertyLines) next() (line string, number int, ok bool) {
	for {
		line, ok = l.natural()
		if !ok {
			return "", 0, false
		}
		line = strings.TrimLeft(line, propertySpace)
		if line != "" && line[0] != '#' && line[0] != '!' {
			break
		}
	}
	number = l.number
	if !continued(line) {
		return line, number, true
	}
	var joined strings.Builder
	for continued(line) {
		joined.WriteString(line[:len(line)-1])
		if line, ok = l.natural(); !ok {
			return joined.String(), number, true
		}
		line = strings.TrimLeft(line, propertySpace)
	}
	joined.WriteString(line)
	return joined.String(), number, true
}

// continued reports whether the line ends in a backslash that is not itself escaped.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// splitProperty parts key and value, both still escaped.
func splitProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=:"+propertySpace, line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], propertySpace)
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], propertySpace)
	}
	return line[:end], rest
}

func unescape(text string) (string, error) {
	if strings.IndexByte(text, '\\') < 0 {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			break
		}
		switch c := text[i]; c {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, used, err := unescapeUnicode(text[i+1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += used
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// unescapeUnicode reads the four digits after \u, and a second escape where the two make one character.
func unescapeUnicode(text string) (r rune, used int, err error) {
	first, err := fourHex(text)
	if err != nil {
		return 0, 0, err
	}
	if utf16.IsSurrogate(first) && strings.HasPrefix(text[4:], `\u`) {
		if second, err := fourHex(text[6:]); err == nil {
			if joined := utf16.DecodeRune(first, second); joined != utf8.RuneError {
				return joined, 10, nil
			}
		}
	}
	return first, 4, nil
}

func fourHex(text string) (rune, error) {
	if len(text) < 4 {
		return 0, fmt.Errorf(`\u is followed by %q: write four hexadecimal digits`, text)
	}
	n, err := strconv.ParseUint(text[:4], 16, 16)
	if err != nil {
		return 0, fmt.Errorf(`\u is followed by %q: write four hexadecimal digits`, text[:4])
	}
	return rune(n), nil
}
