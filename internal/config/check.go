package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// InvalidError is a value that its key does not take. Its text is Kafka's, as
// clients show it.
type InvalidError struct {
	Key    string
	Value  string
	Reason string
	// Bare leaves the value out of the text.
	Bare bool
}

// Error says which value, which key and why.
func (e *InvalidError) Error() string {
	if e.Bare {
		return e.Reason
	}
	return "Invalid value " + e.Value + " for configuration " + e.Key + ": " + e.Reason
}

func (d *Def) invalid(value, format string, args ...any) error {
	if d.Sensitive() {
		value = "[hidden]"
	}
	return &InvalidError{Key: d.Name, Value: value, Reason: fmt.Sprintf(format, args...)}
}

func (d *Def) bare(format string, args ...any) error {
	return &InvalidError{Key: d.Name, Reason: fmt.Sprintf(format, args...), Bare: true}
}

// Check tells whether value has the key's type and keeps its rule. Space
// around it does not count, as in Kafka.
func (d *Def) Check(value string) error {
	written := value
	value = strings.TrimSpace(value)
	number, reason := d.parseNumber(value)
	if reason != "" {
		return d.invalid(written, "%s", reason)
	}
	switch d.Rule.Kind {
	case RuleRange:
		return d.checkRange(value, number)
	case RuleGzipLevel:
		if number != -1 && (number < 1 || number > 9) {
			return d.invalid(value, "Value must be between 1 and 9 or equal to -1")
		}
	case RuleOneOf, RuleOneOfFold:
		return d.checkOneOf(value)
	case RuleList:
		return d.checkList(value)
	case RuleNonEmpty:
		if value == "" {
			return d.invalid(value, "String must be non-empty")
		}
	case RuleThrottledReplicas:
		return d.checkThrottled(value)
	case RuleVoters:
		_, err := ParseVoters(value)
		return err
	case RuleServers:
		_, err := ParseServers(value)
		return err
	case RuleOffsetReset:
		return d.checkOffsetReset(value)
	case RuleNone:
	}
	return nil
}

// parseNumber checks the type and says what is wrong with it. The number is
// exact below 2^53, far beyond any bound in a rule.
func (d *Def) parseNumber(value string) (number float64, reason string) {
	var err error
	switch d.Type {
	case TypeBoolean:
		if _, err = ParseBool(value); err != nil {
			return 0, "Expected value to be either true or false"
		}
	case TypeInt, TypeShort, TypeLong:
		var n int64
		n, err = strconv.ParseInt(value, 10, d.bits())
		number = float64(n)
	case TypeDouble:
		number, err = parseDouble(value)
	case TypeUnknown, TypeString, TypeList, TypeClass, TypePassword:
	}
	if err != nil {
		return 0, "Not a number of type " + d.Type.String()
	}
	return number, ""
}

// bits is how many bits a whole number of the key's type has.
func (d *Def) bits() int {
	switch d.Type {
	case TypeShort:
		return 16
	case TypeInt:
		return 32
	default:
		return 64
	}
}

var errNotBoolean = errors.New("neither true nor false")

// ParseBool reads true or false in any case, and nothing else.
func ParseBool(value string) (bool, error) {
	switch {
	case strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, errNotBoolean
}

// parseDouble reads a number as Java writes it; a trailing d or f is allowed there.
func parseDouble(value string) (float64, error) {
	body := strings.TrimRight(value, "dDfF")
	if len(value)-len(body) > 1 || body == "" {
		body = value
	}
	x, err := strconv.ParseFloat(body, 64)
	if errors.Is(err, strconv.ErrRange) {
		return x, nil
	}
	return x, err
}

func (d *Def) checkRange(value string, number float64) error {
	switch {
	case math.IsNaN(number):
		// Differs from Kafka: NaN is no value of a setting; Kafka lets it pass every range.
		return d.invalid(value, "Value must be a number")
	case d.Type == TypeDouble:
		value = javaDouble(number)
	default:
		value = strings.TrimPrefix(value, "+")
	}
	if number < d.Rule.Min {
		return d.invalid(value, "Value must be at least %s", plain(d.Rule.Min))
	}
	if number > d.Rule.Max {
		return d.invalid(value, "Value must be no more than %s", plain(d.Rule.Max))
	}
	return nil
}

// javaDouble is x as Java writes it: with a point always, and with an exponent outside 0.001 to 10,000,000.
func javaDouble(x float64) string {
	switch {
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 0):
		return strings.TrimPrefix(strings.Replace(strconv.FormatFloat(x, 'f', -1, 64), "Inf", "Infinity", 1), "+")
	}
	if a := math.Abs(x); a != 0 && (a < 1e-3 || a >= 1e7) {
		text := strings.Replace(strconv.FormatFloat(x, 'E', -1, 64), "E+", "E", 1)
		mantissa, exponent, _ := strings.Cut(text, "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		sign := strings.HasPrefix(exponent, "-")
		exponent = strings.TrimLeft(exponent, "-0")
		if sign {
			exponent = "-" + exponent
		}
		return mantissa + "E" + exponent
	}
	text := plain(x)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func (d *Def) checkOneOf(value string) error {
	fold := d.Rule.Kind == RuleOneOfFold
	for _, v := range d.Rule.Values {
		if v == value || fold && strings.EqualFold(v, value) {
			return nil
		}
	}
	how := ""
	if fold {
		how = " (case insensitive)"
	}
	return d.invalid(value, "String must be one of%s: %s", how, strings.Join(d.Rule.Values, ", "))
}

func (d *Def) checkList(value string) error {
	list := ParseList(value)
	if len(list) == 0 {
		if !d.Rule.NotEmpty {
			return nil
		}
		valid := "any non-empty value"
		if len(d.Rule.Values) > 0 {
			valid = "[" + strings.Join(d.Rule.Values, ", ") + "]"
		}
		return d.bare("Configuration '%s' must not be empty. Valid values include: %s", d.Name, valid)
	}
	for _, v := range list {
		switch {
		case v == "":
			return d.bare("Configuration '%s' values must not be empty.", d.Name)
		case len(d.Rule.Values) > 0 && !slices.Contains(d.Rule.Values, v):
			return d.invalid(v, "String must be one of: %s", strings.Join(d.Rule.Values, ", "))
		}
	}
	return nil
}

// ParseList splits a list at its commas and drops the space around the
// elements. The empty text is the empty list.
func ParseList(value string) []string {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func (d *Def) checkThrottled(value string) error {
	list := ParseList(value)
	if len(list) == 1 && list[0] == "*" {
		return nil
	}
	for _, pair := range list {
		if pair == "" {
			continue // as in Kafka
		}
		partition, broker, ok := strings.Cut(pair, ":")
		if !ok || !digits(partition) || !digits(broker) {
			return d.invalid("["+strings.Join(list, ", ")+"]", "%s must be the literal '*' or a list of replicas in the following format: "+
				"[partitionId]:[brokerId],[partitionId]:[brokerId],...", d.Name)
		}
	}
	return nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (d *Def) checkOffsetReset(value string) error {
	if value == "latest" || value == "earliest" {
		return nil
	}
	if text, ok := strings.CutPrefix(value, "by_duration:"); ok {
		if ms, err := parseISODuration(text); err == nil && ms >= 0 {
			return nil
		}
	}
	return d.invalid(value, "Invalid value `%s` for configuration %s. The value must be either 'earliest', 'latest' or of the format "+
		"'by_duration:<PnDTnHnMn.nS>'.", value, d.Name)
}
