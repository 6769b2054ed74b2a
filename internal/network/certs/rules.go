package certs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rules turn a distinguished name into a principal's name: ssl.principal.mapping.rules (KIP-371).
type Rules struct {
	rules []rule
}

// rule is DEFAULT, which takes the name as it is, or a pattern with its replacement.
type rule struct {
	pattern      *regexp.Regexp // nil for DEFAULT
	whole        *regexp.Regexp // pattern for all of a name
	text         string         // of the pattern
	replacement  string
	lower, upper bool
}

// Kafka's own patterns, which divide the setting into rules and a rule into its parts.
const rulePattern = `(DEFAULT)|RULE:((\\.|[^\\/])*)/((\\.|[^\\/])*)/([LU]?).*?|(.*?)`

var (
	ruleSplitter = regexp.MustCompile(`\s*(` + rulePattern + `)\s*(,\s*|$)`)
	ruleParser   = regexp.MustCompile(`\A(?:` + rulePattern + `)`)
)

const (
	// maxRulesBytes bounds ssl.principal.mapping.rules.
	maxRulesBytes = 64 << 10
	// maxNameBytes bounds a distinguished name that rules are applied to.
	maxNameBytes = 8 << 10
)

// ParseMappingRules reads ssl.principal.mapping.rules: DEFAULT and RULE:pattern/replacement/[LU], separated by
// commas. The texts of errors are Kafka's where it has one.
//
// Differs from Kafka: the patterns of ssl.principal.mapping.rules are those of Go's regular expressions, which cannot look
// ahead or behind nor refer back within a pattern, and therefore need time in proportion to the name. A pattern that needs
// more than that is refused.
func ParseMappingRules(text string) (*Rules, error) {
	if len(text) > maxRulesBytes {
		return nil, fmt.Errorf("ssl.principal.mapping.rules has %d bytes: at most %d are taken", len(text), maxRulesBytes)
	}
	out := &Rules{}
	for _, found := range ruleSplitter.FindAllStringSubmatch(strings.TrimSpace(text), -1) {
		one := found[1]
		at := ruleParser.FindStringSubmatchIndex(one)
		if at[1] != len(one) {
			return nil, fmt.Errorf("Invalid rule: `%s`, unmatched substring: `%s`", one, one[at[1]:])
		}
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return one[at[2*n]:at[2*n+1]]
		}
		switch {
		case at[2] >= 0:
			out.rules = append(out.rules, rule{})
		case at[4] >= 0:
			r, err := newRule(group(2), group(4), group(6))
			if err != nil {
				return nil, err
			}
			out.rules = append(out.rules, r)
		}
	}
	return out, nil
}

func newRule(pattern, replacement, letters string) (rule, error) {
	r := rule{text: pattern, replacement: replacement, lower: letters == "L", upper: letters == "U"}
	var err error
	if r.pattern, err = regexp.Compile(pattern); err == nil {
		r.whole, err = regexp.Compile(`\A(?:` + pattern + `)\z`)
	}
	if err != nil {
		return rule{}, fmt.Errorf("the pattern %q of ssl.principal.mapping.rules cannot be used: %w "+
			"(lookahead, lookbehind, possessive and back-reference parts of Java's expressions are not available)", pattern, err)
	}
	return r, nil
}

// NoRuleError says that no rule fits a name: the peer cannot be authenticated.
type NoRuleError struct {
	Name  string
	Rules string
}

// Error is Kafka's text.
func (e *NoRuleError) Error() string {
	return "No rules apply to " + e.Name + ", rules " + e.Rules
}

// Principal is the name that the first rule gives that fits the whole of dn; *NoRuleError if none does.
func (r *Rules) Principal(dn string) (string, error) {
	if len(dn) > maxNameBytes {
		return "", fmt.Errorf("a distinguished name has %d bytes: at most %d are taken", len(dn), maxNameBytes)
	}
	for i := range r.rules {
		name, fits, err := r.rules[i].apply(dn)
		if err != nil {
			return "", err
		}
		if fits {
			return name, nil
		}
	}
	return "", &NoRuleError{Name: dn, Rules: r.String()}
}

// String writes the rules as Kafka's messages do.
func (r *Rules) String() string {
	texts := make([]string, len(r.rules))
	for i := range r.rules {
		texts[i] = r.rules[i].String()
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// String writes the rule as Kafka's messages do.
func (r *rule) String() string {
	if r.pattern == nil {
		return "DEFAULT"
	}
	text := "RULE:" + r.text + "/" + r.replacement
	if r.lower {
		text += "/L"
	}
	if r.upper {
		text += "/U"
	}
	return text
}

// apply is what the rule makes of dn, and whether it fits.
func (r *rule) apply(dn string) (name string, fits bool, err error) {
	if r.pattern == nil {
		return dn, true, nil
	}
	if !r.whole.MatchString(dn) {
		return "", false, nil
	}
	if name, err = r.replaceAll(dn); err != nil {
		return "", false, err
	}
	switch {
	case r.lower:
		name = lowerCase(name)
	case r.upper:
		name = upperCase(name)
	}
	return name, true, nil
}

// replaceAll replaces every match of the pattern in dn as Java's String.replaceAll does, in which an empty match may follow
// a match at once.
func (r *rule) replaceAll(dn string) (string, error) {
	template := r.escapeReferences(r.replacement)
	var b strings.Builder
	done := 0
	put := func(m []int) error {
		b.WriteString(dn[done:m[0]])
		done = m[1]
		return r.expand(&b, template, dn, m)
	}
	matches := r.pattern.FindAllStringSubmatchIndex(dn, -1)
	for i, m := range matches {
		if err := put(m); err != nil {
			return "", err
		}
		follows := i+1 < len(matches) && matches[i+1][0] == m[1]
		if m[1] > m[0] && !follows {
			if empty := r.emptyAt(dn, m[1]); empty != nil {
				if err := put(empty); err != nil {
					return "", err
				}
			}
		}
	}
	b.WriteString(dn[done:])
	return b.String(), nil
}

// maxRepeat is the largest count that a regular expression may repeat.
const maxRepeat = 1000

// emptyAt is the match of the pattern at exactly that place, if it is an empty one.
func (r *rule) emptyAt(dn string, at int) []int {
	before := utf8.RuneCountInString(dn[:at])
	if before > maxRepeat {
		return nil
	}
	pinned, err := regexp.Compile(`\A(?s:.{` + strconv.Itoa(before) + `})(` + r.text + `)`)
	if err != nil {
		return nil
	}
	m := pinned.FindStringSubmatchIndex(dn)
	if m == nil || m[2] != m[3] {
		return nil
	}
	return m[2:] // the group around the pattern stands for the whole match
}

var reference = regexp.MustCompile(`\$(\d+)`)

// escapeReferences makes "$n" literal where there is no n-th group, the way Kafka does.
func (r *rule) escapeReferences(template string) string {
	groups := r.pattern.NumSubexp()
	if groups == 0 {
		return template
	}
	value := template
	for _, at := range reference.FindAllStringSubmatchIndex(template, -1) {
		digits := template[at[2]:at[3]]
		n, err := strconv.Atoi(digits)
		if strings.HasPrefix(digits, "0") || err != nil {
			continue
		}
		for n > groups && n >= 10 {
			n /= 10
		}
		if n > groups {
			// Kafka looks for the place in the text that it has changed already, and one too far to the left.
			start := min(max(at[2]-1, 0), len(value))
			value = value[:start] + `\` + value[start:]
		}
	}
	return value
}

// expand writes a replacement as Java's Matcher.appendReplacement does: "$1" and "${name}" are groups, "\" escapes.
func (r *rule) expand(b *strings.Builder, template, dn string, m []int) error {
	group := func(n int) {
		if 2*n+1 < len(m) && m[2*n] >= 0 {
			b.WriteString(dn[m[2*n]:m[2*n+1]])
		}
	}
	for i := 0; i < len(template); {
		switch c := template[i]; {
		case c == '\\' && i+1 < len(template):
			b.WriteByte(template[i+1])
			i += 2
		case c == '\\':
			return r.badReplacement("it ends with an escape")
		case c != '$':
			b.WriteByte(c)
			i++
		case i+1 < len(template) && template[i+1] == '{':
			name, _, closed := strings.Cut(template[i+2:], "}")
			n := r.pattern.SubexpIndex(name)
			if !closed || n < 0 {
				return r.badReplacement("it names a group that is not in the pattern")
			}
			group(n)
			i += len("${}") + len(name)
		default:
			n, size := r.number(template[i+1:])
			if size == 0 {
				return r.badReplacement("it refers to a group that is not in the pattern")
			}
			group(n)
			i += 1 + size
		}
	}
	return nil
}

// number reads the number of a group: as many digits as there is a group for.
func (r *rule) number(text string) (n, size int) {
	for size < len(text) && text[size] >= '0' && text[size] <= '9' {
		next := 10*n + int(text[size]-'0')
		if next > r.pattern.NumSubexp() {
			break
		}
		n, size = next, size+1
	}
	return n, size
}

func (r *rule) badReplacement(why string) error {
	return fmt.Errorf("the replacement %q of ssl.principal.mapping.rules cannot be used: %s", r.replacement, why)
}
