package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// rows reads a fact file: lines of fields parted by tabs.
func rows(t *testing.T, path string) [][]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(line, "\t"))
		}
	}
	return out
}

func scopes() []Scope { return []Scope{ScopeBroker, ScopeTopic, ScopeGroup, ScopeClientMetrics} }

func scopeNamed(t *testing.T, name string) Scope {
	t.Helper()
	for _, s := range scopes() {
		if s.String() == name {
			return s
		}
	}
	t.Fatalf("no scope %q", name)
	return 0
}

// ownOrPlugin are the keys that Kafka's own table does not have: Moldau's, and those of its authorizer.
func ownOrPlugin(d *Def) bool {
	return d.Own || d.Name == "super.users" || d.Name == "allow.everyone.if.no.acl.found"
}

func TestTablesHaveKafkasKeys(t *testing.T) {
	found := map[Scope]int{}
	for _, f := range rows(t, "testdata/kafka-4.4.0-keys.txt") {
		scope := scopeNamed(t, f[0])
		d, ok := Lookup(scope, f[1])
		if !ok {
			t.Errorf("%s key %s is missing", f[0], f[1])
			continue
		}
		found[scope]++
		want := strings.Join(f[2:], " ")
		value := d.Default
		switch d.Preset {
		case PresetNull:
			value = "<null>"
		case PresetNone:
			value = "<none>"
		case PresetValue:
		}
		got := strings.Join([]string{d.Type.String(), value, d.Importance.String(), d.Update.String()}, " ")
		if got != want {
			t.Errorf("%s key %s is %q, Kafka's is %q", f[0], f[1], got, want)
		}
	}
	for _, s := range scopes() {
		extra := 0
		for i := range Table(s) {
			if ownOrPlugin(&Table(s)[i]) {
				extra++
			}
		}
		if len(Table(s)) != found[s]+extra {
			t.Errorf("%s table has %d keys; Kafka has %d and %d are ours", s, len(Table(s)), found[s], extra)
		}
	}
}

func TestTablesAreSound(t *testing.T) {
	for _, s := range scopes() {
		table := Table(s)
		if !slices.IsSortedFunc(table, func(a, b Def) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s table is not sorted", s)
		}
		for i := range table {
			d := &table[i]
			if got, ok := Lookup(s, d.Name); !ok || got != d {
				t.Errorf("%s key %s is not found: is it there twice?", s, d.Name)
			}
			if !strings.HasSuffix(d.Doc, ".") || d.Doc[:1] != strings.ToUpper(d.Doc[:1]) {
				t.Errorf("%s key %s: its documentation %q is no sentence", s, d.Name, d.Doc)
			}
			for _, syn := range d.Synonyms {
				if _, ok := LookupBroker(syn.Name); !ok {
					t.Errorf("%s key %s: its synonym %s is no broker key", s, d.Name, syn.Name)
				}
			}
			checkDefault(t, s, d)
		}
	}
}

// checkDefault tells whether a default keeps its own rule, and a topic's default is that of the broker key behind it.
func checkDefault(t *testing.T, s Scope, d *Def) {
	t.Helper()
	value, ok := d.DefaultValue()
	if !ok {
		return
	}
	if err := d.Check(value); err != nil {
		t.Errorf("%s key %s: %v", s, d.Name, err)
	}
	if s == ScopeBroker || len(d.Synonyms) == 0 {
		return
	}
	b, err := NewBroker(Values{})
	if err != nil {
		t.Fatal(err)
	}
	if behind, _ := b.Lookup(d.Synonyms[0].Name); behind != value {
		t.Errorf("%s key %s defaults to %s, the broker's %s to %s", s, d.Name, value, d.Synonyms[0].Name, behind)
	}
}

func TestCheckAnswersAsKafka(t *testing.T) {
	path := "testdata/kafka-4.4.0-answers.txt"
	for _, f := range rows(t, path) {
		d, ok := Lookup(scopeNamed(t, f[0]), f[1])
		if !ok {
			t.Errorf("%s key %s is missing", f[0], f[1])
			continue
		}
		answer := "ok"
		value := strings.Trim(f[2], `"`)
		if err := d.Check(value); err != nil {
			answer = err.Error()
		}
		if answer != f[3] {
			t.Errorf("%s key %s value %q:\n got %s\nwant %s", f[0], f[1], value, answer, f[3])
		}
	}
}

func TestLookupListener(t *testing.T) {
	for _, c := range []struct{ name, key, listener string }{
		{"listener.name.internal.ssl.keystore.location", "ssl.keystore.location", "internal"},
		{"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config", "sasl.jaas.config", "sasl_ssl"},
		{"listener.name.x.max.connections", "max.connections", "x"},
		{"listener.name.x.plain.ssl.keystore.location", "", ""},
		{"listener.name.x", "", ""},
		{"listener.name..ssl.keystore.location", "", ""},
		{"ssl.keystore.location", "", ""},
	} {
		d, listener, ok := LookupListener(c.name)
		if ok != (c.key != "") || ok && (d.Name != c.key || listener != c.listener) {
			t.Errorf("%s: got %v %q %v, want %q %q", c.name, d, listener, ok, c.key, c.listener)
		}
	}
}
