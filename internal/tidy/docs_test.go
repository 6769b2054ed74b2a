package tidy

import (
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checkPackageComments finds packages with no comment or several, and comments that say next to nothing.
func checkPackageComments(all []*source) []finding {
	comments := map[string][]*source{}
	for _, s := range all {
		if s.test {
			continue
		}
		if _, ok := comments[s.dir()]; !ok {
			comments[s.dir()] = nil
		}
		if s.syntax.Doc != nil && !isDirectives(s.syntax.Doc) {
			comments[s.dir()] = append(comments[s.dir()], s)
		}
	}
	var found []finding
	for dir, list := range comments {
		say := func(at, text string) {
			found = append(found, finding{kind: "doc", key: dir, at: at, say: text})
		}
		switch {
		case len(list) == 0:
			say(dir, "the package has no comment: say its duty, its invariants, who calls it and what it must never do, in doc.go or its only file")
		case len(list) > 1:
			say(list[1].path, "the package has a second package comment (the first is in "+list[0].path+"): leave one")
		default:
			doc := list[0].syntax.Doc.Text()
			name := list[0].syntax.Name.Name
			want := "Package " + name + " "
			if name == "main" {
				want = "Command " + path.Base(dir) + " "
			}
			if !strings.HasPrefix(doc, want) {
				say(list[0].path, "the package comment must begin with \""+strings.TrimSpace(want)+"\"")
			}
		}
	}
	return found
}

// isDirectives reports whether a comment holds nothing for readers.
func isDirectives(g *ast.CommentGroup) bool { return strings.TrimSpace(g.Text()) == "" }

func TestPackageComments(t *testing.T) {
	report(t, checkPackageComments(repo(t)), "doc")
}

// listedPackages gives the packages that the tables of ARCHITECTURE.md list: the code spans of each row's first cell
// that look like a path.
func listedPackages(text string) []string {
	span := regexp.MustCompile("`((?:internal|cmd|test|moldautest|schema|connect|streams)(?:/[a-z0-9]+)*)/?`")
	var out []string
	for line := range strings.Lines(text) {
		cell, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !ok {
			continue
		}
		cell, _, _ = strings.Cut(cell, "|")
		for _, m := range span.FindAllStringSubmatch(cell, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// testKind is the directory below test/ that stands for all below it.
var testKind = regexp.MustCompile(`^(test/[^/]+)/.*$`)

func TestArchitectureListsEveryPackage(t *testing.T) {
	text, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := listedPackages(string(text))
	present := map[string]bool{}
	for _, s := range repo(t) {
		if dir := s.dir(); dir != "." {
			present[testKind.ReplaceAllString(dir, "$1")] = true
		}
	}
	for dir := range present {
		if !slices.Contains(listed, dir) {
			t.Errorf("ARCHITECTURE.md does not list `%s`: add a row for it to the table of packages, its path first", dir)
		}
	}
	for i, dir := range listed {
		if !present[dir] {
			t.Errorf("ARCHITECTURE.md lists `%s`, which holds no Go: delete the row, or keep the path out of the first cell", dir)
		}
		if slices.Contains(listed[:i], dir) {
			t.Errorf("ARCHITECTURE.md lists `%s` twice", dir)
		}
	}
}
