package certs

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// table reads a file of lines whose columns are separated by tabs.
func table(t testing.TB, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		rows = append(rows, strings.Split(s.Text(), "\t"))
	}
	return rows
}

func unquote(t testing.TB, text string) string {
	t.Helper()
	out, err := strconv.Unquote(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// TestRenderName compares with what Java 17's X500Principal.getName() made of the same names; names.tsv has them.
func TestRenderName(t *testing.T) {
	for i, row := range table(t, "testdata/names.tsv") {
		der, err := hex.DecodeString(row[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := RenderName(der)
		if want := unquote(t, row[1]); err != nil || got != want {
			t.Errorf("line %d: got %q, %v, Java gives %q (%s)", i+1, got, err, want, row[0])
		}
	}
}

// TestMappingRules compares with what SslPrincipalMapper of Kafka 4.3.1 made of the same rules and names; rules.tsv has them.
func TestMappingRules(t *testing.T) {
	var rules *Rules
	var text string
	for i, row := range table(t, "testdata/rules.tsv") {
		if row[0] == "rule" {
			text = unquote(t, row[1])
			rules = checkRule(t, i+1, text, row)
			continue
		}
		if rules == nil {
			continue
		}
		dn := unquote(t, row[1])
		got, err := rules.Principal(dn)
		var none *NoRuleError
		switch {
		case row[2] == "none":
			if !errors.As(err, &none) || err.Error() != unquote(t, row[3]) {
				t.Errorf("line %d: %s of %s: got %q, %v, Kafka says %s", i+1, text, dn, got, err, row[3])
			}
		case row[2] == "error":
			if err == nil || errors.As(err, &none) {
				t.Errorf("line %d: %s of %s: got %q, %v, Kafka fails", i+1, text, dn, got, err)
			}
		case err != nil || got != unquote(t, row[2]):
			t.Errorf("line %d: %s of %s: got %q, %v, Kafka gives %s", i+1, text, dn, got, err, row[2])
		}
	}
}

// checkRule compares the parsing of a rule; nil when there is nothing to apply.
func checkRule(t *testing.T, line int, text string, row []string) *Rules {
	rules, err := ParseMappingRules(text)
	switch {
	case row[2] == "pattern":
		if err == nil {
			t.Errorf("line %d: %s passed, Java cannot compile its pattern", line, text)
		}
	case row[2] != "ok":
		if err == nil || err.Error() != unquote(t, row[2]) {
			t.Errorf("line %d: %s: got %v, Kafka says %s", line, text, err, row[2])
		}
	case strings.Contains(text, "(?="):
		if err == nil || !strings.Contains(err.Error(), "lookahead") {
			t.Errorf("line %d: %s: got %v", line, text, err)
		}
	case err != nil:
		t.Errorf("line %d: %s: %v", line, text, err)
	default:
		if want := unquote(t, row[3]); "SslPrincipalMapper(rules = "+rules.String()+")" != want {
			t.Errorf("line %d: %s: got %s, want %s", line, text, rules, want)
		}
		return rules
	}
	return nil
}

func TestMappingRulesAreBounded(t *testing.T) {
	if _, err := ParseMappingRules(strings.Repeat("DEFAULT,", maxRulesBytes)); err == nil {
		t.Error("a setting without end passed")
	}
	rules, err := ParseMappingRules("RULE:(.*)/$1/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Principal(strings.Repeat("x", maxNameBytes+1)); err == nil {
		t.Error("a name without end passed")
	}
}

func FuzzMappingRules(f *testing.F) {
	for _, row := range table(f, "testdata/rules.tsv") {
		if row[0] == "rule" {
			f.Add(unquote(f, row[1]), "CN=node,OU=x")
		}
	}
	f.Fuzz(func(_ *testing.T, text, dn string) {
		if rules, err := ParseMappingRules(text); err == nil {
			rules.Principal(dn) //nolint:errcheck // it must only come back
		}
	})
}

func FuzzRenderName(f *testing.F) {
	for _, row := range table(f, "testdata/names.tsv") {
		if der, err := hex.DecodeString(row[0]); err == nil {
			f.Add(der)
		}
	}
	f.Fuzz(func(_ *testing.T, der []byte) {
		RenderName(der) //nolint:errcheck // it must only come back
	})
}
