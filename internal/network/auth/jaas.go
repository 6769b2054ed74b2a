package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxJAASBytes bounds a value or file of logins; maxJAASOptions the options of one login.
const (
	maxJAASBytes   = 1 << 20
	maxJAASOptions = 100_000
)

// Login is one login module with its options: MODULE FLAG KEY=VALUE …;
type Login struct {
	Module string
	// Flag is required, requisite, sufficient or optional, in lower case. It means nothing here: there is one module.
	Flag    string
	Options map[string]string
}

// String names the module and its options, never a value: most are secrets.
func (l Login) String() string {
	return l.Module + " " + l.Flag + " " + strings.Join(slices.Sorted(maps.Keys(l.Options)), " ")
}

// GoString is String.
func (l Login) GoString() string { return l.String() }

// JAASError says where a login is malformed. It holds no word of the text, which may be a password in the wrong place.
type JAASError struct {
	Line, Column int // from 1; columns are in characters
	Message      string
}

func (e *JAASError) Error() string {
	return fmt.Sprintf("%s in JAAS config (line %d, column %d)", e.Message, e.Line, e.Column)
}

// ParseJAAS reads the value of sasl.jaas.config by the grammar of Kafka's JaasConfig: exactly one login. The text of a
// static file may stand there too: then the login is the one of its section KafkaServer.
func ParseJAAS(text string) (Login, error) {
	if len(text) > maxJAASBytes {
		return Login{}, fmt.Errorf("JAAS config of %d bytes is longer than the %d that are allowed", len(text), maxJAASBytes)
	}
	p := newJAASParser(text)
	if p.sectioned() {
		sections, err := ParseJAASFile(text)
		if err != nil {
			return Login{}, err
		}
		return oneLogin(sections["KafkaServer"])
	}
	var logins []Login
	for p.next(); p.token.kind != jaasEnd; p.next() {
		l, err := p.login()
		if err != nil {
			return Login{}, err
		}
		logins = append(logins, l)
	}
	return oneLogin(logins)
}

func oneLogin(logins []Login) (Login, error) {
	switch len(logins) {
	case 0:
		return Login{}, errors.New("Login module not specified in JAAS config")
	case 1:
		return logins[0], nil
	}
	return Login{}, fmt.Errorf("JAAS config property contains %d login modules, should be 1 module", len(logins))
}

// ParseJAASFile reads a static file, what java.security.auth.login.config names: SECTION { LOGIN… };
// Sections of servers are KafkaServer and, with the name of a listener in lower case, LISTENER.KafkaServer.
func ParseJAASFile(text string) (map[string][]Login, error) {
	if len(text) > maxJAASBytes {
		return nil, fmt.Errorf("JAAS file of %d bytes is longer than the %d that are allowed", len(text), maxJAASBytes)
	}
	p := newJAASParser(text)
	sections := map[string][]Login{}
	for p.next(); p.token.kind != jaasEnd; p.next() {
		name := p.token
		if name.kind != jaasWord || name.text == "" {
			return nil, p.fail("The name of a section is missing")
		}
		if p.next(); !p.token.is('{') {
			return nil, p.fail("A section's '{' is missing")
		}
		if _, twice := sections[name.text]; twice {
			return nil, p.fail("A section stands twice")
		}
		sections[name.text] = nil
		for p.next(); !p.token.is('}'); p.next() {
			l, err := p.login()
			if err != nil {
				return nil, err
			}
			sections[name.text] = append(sections[name.text], l)
		}
		if p.next(); !p.token.is(';') {
			return nil, p.fail("A section is not terminated by semi-colon")
		}
	}
	return sections, nil
}

type jaasKind int8

const (
	jaasEnd  jaasKind = iota
	jaasWord          // a word or a quoted string
	jaasSign          // one character
)

type jaasToken struct {
	kind jaasKind
	text string
	sign byte
	at   int
}

func (t jaasToken) is(sign byte) bool { return t.kind == jaasSign && t.sign == sign }

// jaasParser cuts text into tokens as Java's StreamTokenizer does with the settings of Kafka's JaasConfig: a word begins with a
// letter, _ or $, and goes on with these, digits, dots and dashes; a number is no word; every other sign stands for itself; '/' alone begins a comment that
// runs to the end of the line, as // does; and quoted strings know Java's escapes.
type jaasParser struct {
	text  string
	at    int
	token jaasToken
}

func newJAASParser(text string) *jaasParser { return &jaasParser{text: text} }

// sectioned says that the second token is a '{'.
func (p *jaasParser) sectioned() bool {
	look := jaasParser{text: p.text}
	look.next()
	if look.token.kind != jaasWord {
		return false
	}
	look.next()
	return look.token.is('{')
}

func (p *jaasParser) fail(message string) error {
	before := p.text[:min(p.token.at, len(p.text))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &JAASError{Line: line, Column: column, Message: message}
}

// login reads a login whose first token is the present one.
func (p *jaasParser) login() (Login, error) {
	module := p.token
	if module.kind != jaasWord || module.text == "" {
		return Login{}, p.fail("Login module not specified")
	}
	if p.next(); p.token.kind == jaasEnd {
		return Login{}, p.fail("Login module control flag not specified")
	}
	if p.token.kind != jaasWord {
		return Login{}, p.fail("Login module control flag is not available")
	}
	l := Login{Module: module.text, Flag: strings.ToLower(p.token.text), Options: map[string]string{}}
	if !slices.Contains([]string{"required", "requisite", "sufficient", "optional"}, l.Flag) {
		return Login{}, p.fail("Invalid login module control flag: write required, requisite, sufficient or optional")
	}
	for p.next(); p.token.kind != jaasEnd && !p.token.is(';'); p.next() {
		key := p.token
		if key.kind != jaasWord {
			return Login{}, p.fail("The name of an option is missing")
		}
		if p.next(); !p.token.is('=') {
			return Login{}, p.fail("Value not specified for an option: '=' is missing")
		}
		if p.next(); p.token.kind != jaasWord {
			return Login{}, p.fail("Value not specified for an option, or not quoted though it is no plain word")
		}
		if len(l.Options) == maxJAASOptions {
			return Login{}, p.fail("Too many options")
		}
		l.Options[key.text] = p.token.text
	}
	if p.token.kind == jaasEnd {
		return Login{}, p.fail("Entry not terminated by semi-colon")
	}
	return l, nil
}

// next moves to the next token.
func (p *jaasParser) next() {
	p.skip()
	t := jaasToken{at: p.at}
	switch {
	case p.at >= len(p.text):
	case p.text[p.at] == '"' || p.text[p.at] == '\'':
		t.kind, t.text = jaasWord, p.quoted()
	case p.part(true) > 0:
		for size := p.part(true); size > 0; size = p.part(false) {
			p.at += size
		}
		t.kind, t.text = jaasWord, p.text[t.at:p.at]
	default:
		t.kind, t.sign = jaasSign, p.text[p.at]
		_, size := utf8.DecodeRuneInString(p.text[p.at:])
		p.at += size
	}
	p.token = t
}

// part is the size of the character here if a word may begin with it, or go on with it, and 0 otherwise.
func (p *jaasParser) part(first bool) int {
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	switch {
	case size == 0:
		return 0
	case r >= '0' && r <= '9', r == '.', r == '-':
		if first {
			return 0
		}
	case r < 0xa0 && r != '_' && r != '$' && (r|0x20 < 'a' || r|0x20 > 'z'):
		return 0
	}
	return size
}

// skip passes over white space and comments. A /* that does not end takes all the rest.
func (p *jaasParser) skip() {
	for p.at < len(p.text) {
		switch {
		case p.text[p.at] <= ' ':
			p.at++
		case strings.HasPrefix(p.text[p.at:], "/*"):
			end := strings.Index(p.text[p.at+2:], "*/")
			if end < 0 {
				p.at = len(p.text)
				return
			}
			p.at += 2 + end + 2
		case p.text[p.at] == '/':
			// What follows a single '/' is not looked at, be it the end of the line.
			p.at = min(p.at+2, len(p.text))
			end := strings.IndexAny(p.text[p.at:], "\r\n")
			if end < 0 {
				p.at = len(p.text)
				return
			}
			p.at += end
		default:
			return
		}
	}
}

// quoted reads a string. As in Java the end of the line ends it too.
func (p *jaasParser) quoted() string {
	quote := p.text[p.at]
	p.at++
	var out strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch c {
		case quote:
			p.at++
			return out.String()
		case '\n', '\r':
			return out.String()
		case '\\':
			p.at++
			p.escape(&out)
		default:
			out.WriteByte(c)
			p.at++
		}
	}
	return out.String()
}

// escape reads what follows a backslash: up to three octal digits, a letter of Java's, or the character itself.
func (p *jaasParser) escape(out *strings.Builder) {
	if p.at >= len(p.text) {
		return
	}
	c := p.text[p.at]
	if c >= '0' && c <= '7' {
		n, digits := rune(0), 2
		if c <= '3' {
			digits = 3
		}
		for ; digits > 0 && p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '7'; digits-- {
			n = n<<3 + rune(p.text[p.at]-'0')
			p.at++
		}
		out.WriteRune(n)
		return
	}
	if i := strings.IndexByte("abfnrtv", c); i >= 0 {
		out.WriteByte("\a\b\f\n\r\t\v"[i])
		p.at++
		return
	}
	_, size := utf8.DecodeRuneInString(p.text[p.at:])
	out.WriteString(p.text[p.at : p.at+size])
	p.at += size
}
