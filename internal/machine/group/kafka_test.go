package group

import (
	"testing"
)

// TestVoteTie shows that a tie is decided as by Kafka, whose hash table has "range" before "roundrobin".
func TestVoteTie(t *testing.T) {
	for _, first := range []string{"range", "roundrobin"} {
		g := newGroup("g")
		for _, name := range []string{first, map[string]string{"range": "roundrobin", "roundrobin": "range"}[first]} {
			other := map[string]string{"range": "roundrobin", "roundrobin": "range"}[name]
			g.add(&member{id: "prefers " + name, protocols: []protocol{{name: name}, {name: other}}})
		}
		if got := g.vote(); got != "range" {
			t.Errorf("%s is first: %s wins", first, got)
		}
	}
}

// TestListTypes shows that blanks are removed from states and not from types.
func TestListTypes(t *testing.T) {
	m := New(DefaultConfig())
	m.create("g", 0)
	for _, c := range []struct {
		state, typ string
		want       int
	}{
		{" empty ", "Classic", 1}, {"Empty", " classic", 0}, {"Stable", "classic", 0}, {"", "classic", 0},
	} {
		if got := m.ListGroups([]string{c.state}, []string{c.typ}); len(got) != c.want {
			t.Errorf("state %q, type %q: %v", c.state, c.typ, got)
		}
	}
	if got := m.ListGroups(nil, []string{" consumer"}); got != nil {
		t.Errorf("other types: %v", got)
	}
}

// TestNotReady shows the two names of the state of a streams group whose topics are missing.
func TestNotReady(t *testing.T) {
	for _, c := range []struct {
		name, state string
		want        bool
	}{
		{"not_ready", notReady, true}, {"NOT_READY ", notReady, true}, {"NotReady", notReady, true}, {"not ready", notReady, false},
		{"not_ready", "Stable", false}, {"stable", "Stable", true},
	} {
		if got := namesState([]string{"dead", c.name}, c.state); got != c.want {
			t.Errorf("%q for a group that is %s: %v", c.name, c.state, got)
		}
	}
}
