package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseProperties(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a=b", "1 a=b"},
		{"a = b \r\nc:d\re f\n", "1 a=b |2 c=d|3 e=f"},
		{"# c\n ! d\n\n\t a\t=\tb", "4 a=b"},
		{"a", "1 a="},
		{"a=", "1 a="},
		{"=b", "1 =b"},
		{"a==b", "1 a==b"},
		{"a : = b", "1 a== b"},
		{"a b=c", "1 a=b=c"},
		{`a\ b\:c\=d=e`, "1 a b:c=d=e"},
		{"a=1,\\\n   2,\\\n\t3\nb=4", "1 a=1,2,3|4 b=4"},
		{"a=1\\\\\nb=2", `1 a=1\|2 b=2`},
		{"a=1\\", "1 a=1"},
		{"a=b\\\n# no comment", "1 a=b# no comment"},
		{`a=\t\n\r\f\q\\`, "1 a=\t\n\r\fq\\"},
		{`a=\u00e9\u20AC`, "1 a=é€"},
		{`a=\ud83d\ude00`, "1 a=😀"},
		{"a=\xe9", "1 a=é"},
		{"a=é", "1 a=é"},
		{"\ufeffa=b", "1 a=b"},
		{"a=1\na=2", "1 a=1|2 a=2"},
		{`a=\u12`, "error"},
		{`a=\uzzzz`, "error"},
		{`\u=1`, "error"},
		{"", ""},
		{"   ", ""},
	} {
		props, err := ParseProperties([]byte(c.text))
		var parts []string
		for _, p := range props {
			parts = append(parts, fmt.Sprintf("%d %s=%s", p.Line, p.Key, p.Value))
		}
		got := strings.Join(parts, "|")
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%q: got %q (%v), want %q", c.text, got, err, c.want)
		}
	}
}

func TestParsePropertiesIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("a=b\n", maxProperties+1), strings.Repeat("#", maxPropertiesBytes+1)} {
		if _, err := ParseProperties([]byte(text)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: got %v", len(text), err)
		}
	}
}

// escape writes a key or value so that ParseProperties gives it back.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch r {
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\f':
			b.WriteString(`\f`)
		case ' ', '=', ':', '#', '!', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func FuzzParseProperties(f *testing.F) {
	for _, seed := range []string{"a=b", "a\\\n b:c", `\u00e9=\ud83d\ude00`, "#x\n!y\nz", "a\\ b = c\\\\"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		props, err := ParseProperties(data)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range props {
			if p.Line < 1 {
				t.Fatalf("line %d", p.Line)
			}
			again.WriteString(escape(p.Key) + "=" + escape(p.Value) + "\n")
		}
		if again.Len() > maxPropertiesBytes {
			return
		}
		second, err := ParseProperties([]byte(again.String()))
		if err != nil || len(second) != len(props) {
			t.Fatalf("written anew: %d settings became %d, %v", len(props), len(second), err)
		}
		for i := range props {
			if props[i].Key != second[i].Key || props[i].Value != second[i].Value {
				t.Fatalf("%q=%q became %q=%q", props[i].Key, props[i].Value, second[i].Key, second[i].Value)
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "a,b", "1@h:1", "by_duration:P1DT1H1M1.5S", "PLAINTEXT://[::1]:9092", "*", "0:1,1:2", "1e308"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, value string) {
		for _, s := range scopes() {
			for i := range Table(s) {
				_ = Table(s)[i].Check(value)
			}
		}
		_, _ = ParseSecurityMap(value)
		_, _ = ParseListeners(value, map[string]SecurityProtocol{"PLAINTEXT": Plaintext})
		_, _ = ParseConnectionOverrides(value)
		_ = EnvironmentKey(value)
	})
}
