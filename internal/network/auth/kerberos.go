package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// kerberosName is SERVICE[/HOST][@REALM].
type kerberosName struct {
	service, host, realm string
	hasHost, hasRealm    bool
}

var kerberosNamePattern = regexp.MustCompile(`^([^/@]*)(/([^/@]*))?@([^/@]*)$`)

// parseKerberosName reads a name as Kafka's KerberosName does: without a realm all of it is the service.
func parseKerberosName(text string) (kerberosName, error) {
	m := kerberosNamePattern.FindStringSubmatch(text)
	switch {
	case m != nil:
		return kerberosName{service: m[1], host: m[3], realm: m[4], hasHost: m[2] != "", hasRealm: true}, nil
	case strings.Contains(text, "@"):
		return kerberosName{}, fmt.Errorf("Malformed Kerberos name: %s", text)
	}
	return kerberosName{service: text}, nil
}

// kerberosRules turn names into short ones: sasl.kerberos.principal.to.local.rules.
type kerberosRules struct {
	realm string // what DEFAULT takes off
	rules []kerberosRule
}

// kerberosRule is DEFAULT, or RULE:[COUNT:FORMAT](MATCH)s/FROM/TO/g/L.
type kerberosRule struct {
	text       string
	preset     bool
	components int
	format     string
	match      *regexp.Regexp // nil: any
	from       *regexp.Regexp // nil: nothing is replaced
	to         []replacement
	repeat     bool
	fold       string // "L", "U" or nothing
}

// replacement is one piece of what a match is replaced by: text, or a group of the match if group is not negative.
type replacement struct {
	text  string
	group int
}

var kerberosRulePattern = regexp.MustCompile(`^(?:(DEFAULT)|RULE:\[(\d*):([^\]]*)\](\(([^)]*)\))?(s/([^/]*)/([^/]*)/(g)?)?/?(L|U)?)`)

// parseKerberosRules reads the rules of a setting, divided by commas, by the grammar of Kafka's KerberosShortNamer.
//
// Differs from Kafka: the patterns of sasl.kerberos.principal.to.local.rules are those of Go (RE2), which take time in
// proportion to the name; look-ahead and back references are refused.
func parseKerberosRules(realm, text string) (*kerberosRules, error) {
	k := &kerberosRules{realm: realm}
	for rule := range strings.SplitSeq(text, ",") {
		rule = strings.TrimSpace(rule)
		r, err := parseKerberosRule(rule)
		if err != nil {
			return nil, err
		}
		k.rules = append(k.rules, r)
	}
	return k, nil
}

func parseKerberosRule(rule string) (kerberosRule, error) {
	r := kerberosRule{text: rule}
	m := kerberosRulePattern.FindStringSubmatch(rule)
	if m == nil {
		return r, fmt.Errorf("Invalid rule: %s", rule)
	}
	if rest := rule[len(m[0]):]; rest != "" {
		return r, fmt.Errorf("Invalid rule: `%s`, unmatched substring: `%s`", rule, rest)
	}
	if r.preset = m[1] != ""; r.preset {
		return r, nil
	}
	var err error
	if r.components, err = strconv.Atoi(m[2]); err != nil {
		return r, fmt.Errorf("Invalid rule: %s: the number of components is missing: write RULE:[1:$1]", rule)
	}
	r.format, r.repeat, r.fold = m[3], m[9] != "", m[10]
	if m[4] != "" {
		if r.match, err = regexp.Compile(`^(?:` + m[5] + `)$`); err != nil {
			return r, fmt.Errorf("Invalid rule: %s: %w", rule, err)
		}
	}
	if m[6] != "" {
		if r.from, err = regexp.Compile(m[7]); err != nil {
			return r, fmt.Errorf("Invalid rule: %s: %w", rule, err)
		}
		if r.to, err = parseReplacement(m[8], r.from.NumSubexp()); err != nil {
			return r, fmt.Errorf("Invalid rule: %s: %w", rule, err)
		}
	}
	return r, nil
}

// parseReplacement reads Java's notation: $1 is a group, as many digits as make a group that there is; a backslash takes the next character as it is.
func parseReplacement(text string, groups int) (out []replacement, err error) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i == len(text) {
				return nil, errors.New("the replacement ends in a backslash")
			}
			out = append(out, replacement{text: text[i : i+1], group: -1})
		case c == '$':
			i++
			if i == len(text) || text[i] < '0' || text[i] > '9' {
				return nil, errors.New("a group in the replacement has no number")
			}
			group := int(text[i] - '0')
			if group > groups {
				return nil, fmt.Errorf("the replacement names group %d, the pattern has %d", group, groups)
			}
			for i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9' {
				next := group*10 + int(text[i+1]-'0')
				if next > groups {
					break
				}
				group = next
				i++
			}
			out = append(out, replacement{group: group})
		default:
			out = append(out, replacement{text: text[i : i+1], group: -1})
		}
	}
	return out, nil
}

// short is the first rule's answer that there is. Its errors fail the authentication.
func (k *kerberosRules) short(name kerberosName) (string, error) {
	params := []string{name.realm, name.service}
	if name.hasHost {
		params = append(params, name.host)
	} else if !name.hasRealm {
		return name.service, nil
	}
	for i := range k.rules {
		result, ok, err := k.rules[i].apply(k.realm, params)
		if err != nil || ok {
			return result, err
		}
	}
	return "", fmt.Errorf("no rule of sasl.kerberos.principal.to.local.rules applies to %q", strings.Join(params, " "))
}

func (r *kerberosRule) apply(realm string, params []string) (string, bool, error) {
	result := params[1]
	if r.preset {
		if realm != params[0] {
			return "", false, nil
		}
	} else {
		if len(params)-1 != r.components {
			return "", false, nil
		}
		var err error
		if result, err = expandFormat(r.format, params); err != nil {
			return "", false, err
		}
		if r.match != nil && !r.match.MatchString(result) {
			return "", false, nil
		}
		if r.from != nil {
			result = r.replace(result)
		}
	}
	if strings.ContainsAny(result, "/@") {
		return "", false, fmt.Errorf("Non-simple name %s after auth_to_local rule %s", result, r.text)
	}
	switch r.fold {
	case "L":
		result = strings.ToLower(result)
	case "U":
		result = strings.ToUpper(result)
	}
	return result, true, nil
}

// expandFormat puts parameters in for $0, $1 and $2.
func expandFormat(format string, params []string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(format, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		if err != nil {
			return "", fmt.Errorf("bad format in username mapping in %q", rest[:digits])
		}
		if n >= len(params) {
			return "", fmt.Errorf("index %d from %s is outside of the valid range 0 to %d", n, format, len(params)-1)
		}
		out.WriteString(params[n])
		format = rest[digits:]
	}
}

func (r *kerberosRule) replace(text string) string {
	count := 1
	if r.repeat {
		count = -1
	}
	var out strings.Builder
	at := 0
	for _, m := range r.from.FindAllStringSubmatchIndex(text, count) {
		out.WriteString(text[at:m[0]])
		for _, piece := range r.to {
			switch {
			case piece.group < 0:
				out.WriteString(piece.text)
			case m[2*piece.group] >= 0:
				out.WriteString(text[m[2*piece.group]:m[2*piece.group+1]])
			}
		}
		at = m[1]
	}
	out.WriteString(text[at:])
	return out.String()
}
