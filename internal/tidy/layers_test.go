package tidy

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers is, for each package, the packages of ours that it may import.
type layers map[string][]string

// parseLayers reads testdata/layers.txt.
func parseLayers(t *testing.T, text string) layers {
	t.Helper()
	groups := map[string][]string{}
	out := layers{}
	expand := func(words string) []string {
		var list []string
		for w := range strings.FieldsSeq(words) {
			if group, ok := groups[w]; ok {
				list = append(list, group...)
				continue
			}
			if w[0] == '@' {
				t.Errorf("layers.txt: nothing is called %s", w)
			}
			list = append(list, w)
		}
		return list
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, words, ok := strings.Cut(line, "="); ok && line[0] == '@' {
			groups[strings.TrimSpace(name)] = expand(words)
			continue
		}
		name, words, ok := strings.Cut(line, ":")
		if !ok || out[name] != nil {
			t.Errorf("layers.txt: %q: write it once, as package: what it may import", line)
		}
		out[name] = append([]string{}, expand(words)...)
	}
	for name, list := range out {
		for _, target := range list {
			if out[target] == nil {
				t.Errorf("layers.txt: %s may import %s, which has no line", name, target)
			}
		}
	}
	return out
}

// checkImports finds imports that the layers do not allow.
func checkImports(l layers, s *source) []finding {
	allowed, known := l[s.dir()]
	for parent := s.dir(); !known && parent != "."; parent = path.Dir(parent) {
		allowed, known = l[parent+"/..."]
	}
	if !known {
		return []finding{{kind: "layer", key: s.dir(), at: s.path, say: "package " + s.dir() + " has no line in internal/tidy/testdata/layers.txt: find its layer, then say what it may import"}}
	}
	var found []finding
	for _, i := range s.syntax.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		if p != module && !strings.HasPrefix(p, module+"/") {
			continue
		}
		target := path.Clean(strings.TrimPrefix(strings.TrimPrefix(p, module), "/"))
		if target == s.dir() || slices.Contains(allowed, target) {
			continue
		}
		found = append(found, finding{
			kind: "layer", key: s.dir() + ">" + target, at: s.at(i),
			say: s.dir() + " must not import " + target + ": take what is needed as a parameter or a small interface declared here, or move the shared part down a layer (internal/tidy/testdata/layers.txt)",
		})
	}
	return found
}

func TestLayers(t *testing.T) {
	text, err := os.ReadFile("testdata/layers.txt")
	if err != nil {
		t.Fatal(err)
	}
	l := parseLayers(t, string(text))
	checkAcyclic(t, l)
	var found []finding
	for _, s := range repo(t) {
		found = append(found, checkImports(l, s)...)
	}
	report(t, found, "layer")
}

// checkAcyclic keeps the rules themselves from allowing a circle.
func checkAcyclic(t *testing.T, l layers) {
	t.Helper()
	state := map[string]int{}
	var visit func(name string)
	visit = func(name string) {
		if state[name] == 1 {
			t.Errorf("layers.txt lets %s import itself, by way of others", name)
		}
		if state[name] != 0 {
			return
		}
		state[name] = 1
		for _, target := range l[name] {
			visit(target)
		}
		state[name] = 2
	}
	for name := range l {
		visit(name)
	}
}
